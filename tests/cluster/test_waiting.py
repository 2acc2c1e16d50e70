"""Waiting in line at gateways of a cluster: one line, whichever gateway is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.admission.commands import Command, GiveUp
from tests.cluster.conftest import ClusterHouse, Join
from tests.cluster.test_two_gateways import pair, same
from tests.conftest import until
from tests.wire_client import Wire

pytestmark = pytest.mark.debian

ONE = {"license__model": "floating", "license__floating__limit": 1, "license__shadow": "[]"}


def waiting(house: ClusterHouse) -> int:
    return len(house.runtime.state.lines)


async def queued(house: ClusterHouse, account: str) -> Wire:
    """A client that waits to be welcomed."""
    wire = await house.connect()
    told = await wire.hello(account=account, device="d", wait=600)
    assert told["type"] == "queued", told
    return wire


async def decided(wire: Wire) -> dict[str, Any]:
    """What a client that waits hears when its turn has come."""
    told = await wire.hear()
    while told["type"] == "queued":
        told = await wire.hear()
    return told


async def test_who_waits_at_one_gateway_is_welcomed_when_a_seat_is_free_at_another(join: Join) -> None:
    a, b = await pair(join, **ONE)
    ann = await a.welcomed(account="ann", device="d")
    bob = await queued(b, "bob")
    cid = await queued(a, "cid")
    await bob.say("heartbeat", seq=1)
    assert (await bob.hear())["seq"] == 1
    await ann.say("bye")
    welcome = await bob.hear()
    assert (welcome["type"], "resume" in welcome) == ("welcome", True)
    told = await cid.hear()
    assert (told["type"], told["position"]) == ("queued", 1)
    _, shown = await b.http("GET", "/api/queue")
    assert [each["account"] for each in shown["items"]] == ["cid"]
    await bob.drop()
    assert (await decided(cid))["type"] == "welcome"
    await until(lambda: same(a, b))
    (session,) = a.runtime.state.sessions.by_number.values()
    assert session.node == a.node.incarnation


async def test_a_request_that_waits_is_granted_at_the_gateway_of_its_session(join: Join) -> None:
    a, b = await pair(join, license__epop__users=1)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    assert (await ann.ask("join", conference="one"))["type"] == "joined"
    told = await bob.ask("join", conference="two", wait=60, id="w")
    assert (told["type"], told["position"], told["id"]) == ("queued", 1, "w")
    assert (await ann.ask("leave", conference="one"))["type"] == "left"
    granted = await bob.hear()
    assert (granted["type"], granted["id"]) == ("joined", "w")


async def test_who_hangs_up_in_line_leaves_it(join: Join) -> None:
    a, b = await pair(join, **ONE)
    await a.welcomed(account="ann", device="d")
    bob, cid = await queued(b, "bob"), await queued(b, "cid")
    await bob.drop()
    await cid.say("bye")
    await until(lambda: waiting(a) == waiting(b) == 0)


async def test_who_was_gone_when_its_turn_came_leaves_no_session(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await pair(join, **ONE)
    ann = await a.welcomed(account="ann", device="d")
    bob = await queued(b, "bob")
    submit = b.runtime.sequencer.submit

    def too_late(command: Command, *rest: Any, **more: Any) -> Any:
        return None if isinstance(command, GiveUp) else submit(command, *rest, **more)

    monkeypatch.setattr(b.runtime.sequencer, "submit", too_late)
    await bob.drop()
    await until(lambda: not any(listener.connections for listener in b.runtime.client_listeners))
    await ann.say("bye")
    await until(lambda: a.runtime.state.numbers.sessions.last == 2 and not a.runtime.state.sessions.by_number)


async def test_the_end_of_a_gateway_ends_the_waiting_of_its_clients(join: Join) -> None:
    a, b = await pair(join, **ONE)
    ann = await a.welcomed(account="ann", device="d")
    bob = await queued(b, "bob")
    cid = await queued(a, "cid")
    await b.gateway.close(drain=0)
    assert (await asyncio.wait_for(bob.gone(), 10.0)) != []
    await until(lambda: waiting(a) == 1)
    await ann.say("bye")
    assert (await decided(cid))["type"] == "welcome"


async def test_a_gateway_that_is_fenced_has_nobody_in_line(join: Join) -> None:
    a, b = await pair(join, **ONE)
    await a.welcomed(account="ann", device="d")
    bob = await queued(b, "bob")
    b.node._fence("a test says so")
    assert [each["reason"] for each in await bob.gone()] == ["store_unavailable"]
    await until(lambda: waiting(a) == 0)


async def test_a_request_waits_on_when_its_session_moves(join: Join) -> None:
    a, b = await pair(join, license__epop__users=1, heartbeat__resume_window="30s")
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="one"))["type"] == "joined"
    bob = await a.connect()
    welcome = await bob.hello(account="bob", device="d")
    assert (await bob.ask("join", conference="two", wait=60))["type"] == "queued"
    again = await b.connect()
    assert (await again.hello(account="bob", device="d", resume=welcome["resume"]))["type"] == "welcome"
    assert (await ann.ask("leave", conference="one"))["type"] == "left"
    assert (await decided(again))["type"] == "joined"
