"""What stands still for a while, and wakes: a gateway that the others have given up, the leader of etcd, a disk."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.conftest import Join
from tests.cluster.gateway_process import GatewayProcess
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.etcd import Members, write_secret
from tests.wire_client import TcpWire, Wire

pytestmark = [pytest.mark.debian, pytest.mark.slow]
SLOWER = 0.3
"""Seconds that a disk takes longer to have written something for good."""
FROZEN = 9.0
"""Seconds for which a leader stands still, in which another one is elected."""


async def test_a_gateway_that_wakes_after_the_others_gave_it_up_grants_nothing(
    tmp_path: Path, members: Members
) -> None:
    secret, terms = write_secret(tmp_path), {"license__epop__users": 1, "cluster__patience": "10s"}
    frozen, other = (
        GatewayProcess(name, tmp_path, members.urls, secret, "frozen", store__deadline="60s", **terms)
        for name in ("a", "b")
    )
    try:
        async with aiohttp.ClientSession() as session:
            for each in (frozen, other):
                await each.start()
                await _come_in(session, each)
            ann, late = await TcpWire.to(frozen.tcp), await TcpWire.to(frozen.tcp)
            bob = await TcpWire.to(other.tcp)
            async with ann, late, bob:
                assert (await ann.hello(account="ann", device="d"))["type"] == "welcome"
                assert (await late.hello(account="late", device="d"))["type"] == "welcome"
                assert (await bob.hello(account="bob", device="d"))["type"] == "welcome"
                assert (await ann.ask("join", conference="room"))["type"] == "joined"
                frozen.send(signal.SIGSTOP)
                await late.say("join", conference="other")
                await _be_let_in(bob, "room", "pool_full")  # until the others have given it up
                frozen.send(signal.SIGCONT)
                for wire in (ann, late):
                    assert [each["reason"] for each in await wire.gone()] == ["store_unavailable"]
                await _come_in(session, frozen)
                again = await TcpWire.to(frozen.tcp)
                async with again:
                    assert (await again.hello(account="ann", device="d"))["type"] == "welcome"
                    assert (await again.ask("join", conference="room"))["reason"] == "pool_full"
    finally:
        for each in (frozen, other):
            each.send(signal.SIGCONT)
            await each.end()


async def _be_let_in(wire: Wire, conference: str, meanwhile: str) -> None:
    """Ask until it may join; what it is told meanwhile must be that."""
    async with asyncio.timeout(30.0):
        while True:
            answer = await wire.ask("join", conference=conference)
            if answer["type"] == "joined":
                return
            assert (answer["type"], answer["reason"]) == ("denied", meanwhile)
            await asyncio.sleep(0.2)


async def _come_in(session: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
    async with asyncio.timeout(30.0):
        while not await gateway.is_ready(session):
            assert gateway.exit_code is None, gateway.said()
            await asyncio.sleep(0.1)  # it has no event to wait on


async def test_a_leader_that_wakes_after_another_one_was_elected_ends_nobody(join: Join, members: Members) -> None:
    a, b = await join("a"), await join("b")
    wires = [await house.welcomed(account=f"user{number}") for number, house in enumerate((a, b, a, b))]
    incarnations = [each.node.incarnation for each in (a, b)]
    leader = await asyncio.to_thread(members.leader)
    members.signal(signal.SIGSTOP, leader)
    await asyncio.sleep(FROZEN)
    assert await asyncio.to_thread(members.leader) != leader
    members.signal(signal.SIGCONT, leader)
    seen = a.node.replica.version
    await until(lambda: a.node.replica.version > seen + 6)
    assert [each.node.incarnation for each in (a, b)] == incarnations
    assert (a.node.fences, b.node.fences) == (0, 0)
    for number, wire in enumerate(wires):
        assert (await wire.ask("join", conference=f"room{number}"))["type"] == "joined"
    await until(lambda: same(a, b))
    assert len(a.runtime.state.sessions) == len(wires)


@pytest.mark.parametrize("of_leader", [False, True])
async def test_a_member_with_a_slow_disk_ends_nobody(join: Join, members: Members, of_leader: bool) -> None:
    a, b = await join("a"), await join("b")
    wires = [await house.welcomed(account=f"user{number}") for number, house in enumerate((a, b))]
    leader = await asyncio.to_thread(members.leader)
    members.slow_down(leader if of_leader else (leader + 1) % 3, SLOWER)
    try:
        for turn in range(5):
            for number, wire in enumerate(wires):
                await _be_let_in(wire, f"room{turn}-{number}", "store_unavailable")
    finally:
        await asyncio.to_thread(members.speed_up)
    assert (a.node.fences, b.node.fences) == (0, 0)
    await until(lambda: same(a, b))
