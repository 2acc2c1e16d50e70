"""One conversation of the reference client: what it believes of the gateway, and how often it beats."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import Any

import pytest

from gateway.client import Client, Transport
from gateway.client_connection import ClientConnection
from gateway.client_conversation import (
    LONGEST_INTERVAL,
    SHORTEST_INTERVAL,
    USUAL_INTERVAL,
    Denied,
    heartbeat_interval,
)
from gateway.core.wire.answers import DeniedAnswer, Welcome
from gateway.core.wire.backoff import Backoff
from tests.conftest import Serve

PATIENCE = 10.0
NO_TIME: list[Any] = [None, "soon", "5", True, -1, math.inf, math.nan, 10**400, [], {}]
"""What a field with seconds may hold that is no length of time."""


def welcome(seconds: Any) -> Welcome:
    return {
        "type": "welcome",
        "session": "s-1",
        "resume": "r-1",
        "heartbeat_seconds": seconds,
        "timeout_seconds": 75.0,
        "model": "epop",
        "seats": [],
    }


@pytest.mark.parametrize("stated", [0.1, 0.25, 1, 30, 3600.0])
def test_the_interval_is_the_one_that_the_gateway_states(stated: float) -> None:
    assert heartbeat_interval(welcome(stated)) == stated


@pytest.mark.parametrize("stated", [*NO_TIME, 0], ids=repr)
def test_what_is_no_interval_is_the_usual_one(stated: Any) -> None:
    assert heartbeat_interval(welcome(stated)) == USUAL_INTERVAL


@pytest.mark.parametrize(("stated", "taken"), [(1e-9, SHORTEST_INTERVAL), (1e300, LONGEST_INTERVAL)])
def test_an_interval_that_cannot_be_meant_is_bounded(stated: float, taken: float) -> None:
    assert heartbeat_interval(welcome(stated)) == taken


@pytest.mark.parametrize("stated", NO_TIME, ids=repr)
def test_a_refusal_with_no_usable_time_names_none(stated: Any) -> None:
    message: DeniedAnswer = {"type": "denied", "request": "hello", "reason": "banned", "retry_after_seconds": stated}
    assert Denied(message).retry_after is None


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_there_is_one_beat_in_each_interval_after_reconnects_too(
    serve: Serve, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    interval, enough = 0.02, 12
    loop, send = asyncio.get_running_loop(), ClientConnection.beat
    beats: list[float] = []
    beaten = asyncio.Event()

    def beat(connection: ClientConnection) -> None:
        beats.append(loop.time())
        send(connection)
        if len(beats) == enough:
            beaten.set()

    monkeypatch.setattr(ClientConnection, "beat", beat)
    house = await serve(listen__message_rate=0)
    port, quick = (house.tcp, house.websocket)[transport == "websocket"], Backoff(base=0.0)
    async with Client(port=port, transport=transport, heartbeat=interval, backoff=quick) as client:
        for _ in range(3):
            client.abort()
            async with asyncio.timeout(PATIENCE):
                message = await anext(client)
            assert message["type"] == "welcome"
        beats.clear()
        beaten.clear()
        async with asyncio.timeout(PATIENCE):
            await beaten.wait()
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    assert min(gaps) > 0.9 * interval
