"""Seats of a gateway that was killed are kept at the others for those who had them, and then for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.gateway_process import GatewayProcess
from tests.etcd import Members, write_secret
from tests.wire_client import TcpWire

pytestmark = [pytest.mark.debian, pytest.mark.slow]
PATIENCE = 10.0
"""Seconds of `cluster.patience`."""
RETURNING = 25.0
"""Seconds of `license.returning`."""


async def until_pool(
    session: aiohttp.ClientSession, gateway: GatewayProcess, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Wait until the pool is like that as a gateway shows it; returns it."""
    async with asyncio.timeout(40.0):
        while True:
            if await gateway.is_ready(session):
                license = await gateway.get(session, "/api/license")
                pool: dict[str, Any] = license["models"]["epop"]["pools"]["concurrent"]
                if holds(pool):
                    return pool
            await asyncio.sleep(0.1)  # it has no event to wait on


async def test_seats_of_a_gateway_that_was_killed_are_kept_for_those_who_had_them(
    members: Members, tmp_path: Path
) -> None:
    terms = {"license__epop__users": 2, "license__returning": f"{RETURNING:g}s", "cluster__patience": f"{PATIENCE:g}s"}
    secret = write_secret(tmp_path)
    killed, other = (GatewayProcess(name, tmp_path, members.urls, secret, "returning", **terms) for name in "ab")
    try:
        async with aiohttp.ClientSession() as session:
            for each in (killed, other):
                await each.start()
                await until_pool(session, each, lambda pool: pool["limit"] == 2)
            ann, eve, bob = await TcpWire.to(killed.tcp), await TcpWire.to(killed.tcp), await TcpWire.to(other.tcp)
            async with ann, eve, bob:
                for wire, account in ((ann, "ann"), (eve, "eve"), (bob, "bob")):
                    assert (await wire.hello(account=account, device="d"))["type"] == "welcome"
                for wire in (ann, eve):
                    assert (await wire.ask("join", conference="room"))["type"] == "joined"
                await killed.end()
                kept = await until_pool(session, other, lambda pool: pool["returning"] > 0)
                assert (kept["used"], kept["returning"]) == (2, 2)
                assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"
                again = await TcpWire.to(other.tcp)
                async with again:
                    assert (await again.hello(account="ann", device="d"))["type"] == "welcome"
                    assert (await again.ask("join", conference="room"))["type"] == "joined"
                    one = await until_pool(session, other, lambda pool: pool["returning"] == 1)
                    assert one["used"] == 2
                    assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"
                    await killed.start()
                    back = await until_pool(session, killed, lambda pool: pool["used"] == 2)
                    assert back["returning"] == 1, "who comes in later knows of them too"
                    await until_pool(session, other, lambda pool: (pool["used"], pool["returning"]) == (1, 0))
                    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    finally:
        for each in (killed, other):
            await each.end()
