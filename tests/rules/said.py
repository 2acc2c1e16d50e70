"""What the tests of the rules share: reading a message, and a clock that can be put forward."""

from __future__ import annotations

import time
from typing import Any

from gateway.edge.machine import Clock
from tests.conftest import House
from tests.wire_client import Message, Wire

DAY = 24 * 3600.0


def said(message: Message, type: str, **fields: Any) -> Message:
    """Assert that a message is of a type and has these fields with these values."""
    expected = {"type": type, **fields}
    assert {key: message.get(key) for key in expected} == expected, message
    return message


def full(message: Message, pool: str, used: int, limit: int, request: str = "join") -> Message:
    """Assert that a message refuses a request because a pool is full."""
    return said(message, "denied", request=request, reason="pool_full", pool=pool, used=used, limit=limit)


def denied(message: Message, reason: str, request: str = "join", **fields: Any) -> Message:
    """Assert that a message refuses a request by a rule: it names no pool."""
    assert "pool" not in message, message
    return said(message, "denied", request=request, reason=reason, **fields)


async def silent(wire: Wire) -> None:
    """Assert that a connection is usable and has been told nothing that it did not ask for."""
    said(await wire.ask("heartbeat"), "ack")
    assert wire._unasked == []


async def pools(house: House, model: str | None = None, **used: int) -> dict[str, Any]:
    """Assert the use of pools as `GET /api/license` says it; returns the pools of the model."""
    _, license = await house.http("GET", "/api/license")
    found: dict[str, Any] = license["models"][model or license["model"]]["pools"]
    assert {name: found[name]["used"] for name in used} == used
    return found


async def uses(house: House) -> dict[tuple[str, str], int]:
    """The use of every pool of every model that has any, as `GET /api/license` says it."""
    _, license = await house.http("GET", "/api/license")
    every = [(model, *each) for model, views in license["models"].items() for each in views["pools"].items()]
    return {(model, pool): view["used"] for model, pool, view in every if view["used"]}


async def conferences(house: House) -> dict[str, Any]:
    """What `GET /api/conferences` lists, by id."""
    _, listed = await house.http("GET", "/api/conferences")
    return {each["id"]: each for each in listed["items"]}


class Hands:
    """The hands of the gateway's clock: they go with real time and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.clock = Clock(mono=time.monotonic, wall=lambda: time.time() + self.ahead)

    def forward(self, house: House, seconds: float) -> None:
        """Put the wall clock forward, and let the gateway see it."""
        self.ahead += seconds
        house.runtime.advance(4)


class Forward:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.clock = Clock(lambda: time.monotonic() + self.ahead, lambda: time.time() + self.ahead)

    def pass_(self, house: House, seconds: float) -> None:
        """Let seconds pass, and let the gateway do what is due in a second."""
        self.ahead += seconds
        house.runtime._every_second()
