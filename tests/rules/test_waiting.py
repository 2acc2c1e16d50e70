"""Waiting in line for a seat, over the wire (PROTOCOL.md, Waiting)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import House, Serve, until
from tests.rules.said import Forward, denied, full, said, silent
from tests.wire_client import Wire

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


async def floating(serve: Serve, limit: int = 1, **more: Any) -> House:
    return await serve(license__model="floating", license__floating__limit=limit, **more)


async def waiting(
    house: House, transport: str = "tcp", seconds: int = 60, address: str = "127.0.0.1", **hello: Any
) -> Wire:
    """A connection whose `hello` waits in line."""
    wire = await house.connect(transport, address=address)
    said(await wire.hello(wait=seconds, **hello), "queued", request="hello")
    return wire


@BOTH
async def test_a_hello_waits_and_is_welcomed_when_a_seat_is_free(serve: Serve, transport: str) -> None:
    house = await floating(serve)
    ann = await house.welcomed(transport)
    bob = await house.connect(transport)
    told = await bob.hello(wait=60, id="h")
    said(told, "queued", id="h", pool="seats", position=1, used=1, limit=1, wait_seconds=60)
    assert (told["heartbeat_seconds"], told["timeout_seconds"]) == (30, 75)
    said(await bob.ask("heartbeat", seq=3), "ack", seq=3)
    for message in ({"type": "join", "conference": "c"}, {"type": "hello", "protocol": 1}, {"type": "leave"}):
        await bob.say(**message)
        said(await bob.hear(), "error", code="queued")
    assert len(house.runtime.state.sessions) == 1
    await ann.say("bye")
    welcome = said(await bob.hear(), "welcome", id="h", seats=["seats"])
    assert welcome["resume"]
    said(await bob.ask("join", conference="c"), "joined")


async def test_those_in_line_are_pending_and_do_not_shut_the_door_for_others(serve: Serve) -> None:
    house = await floating(serve, listen__max_pending=2)
    await house.welcomed()
    for _ in range(3):
        await waiting(house)
    _, text = await house.http("GET", "/metrics")
    assert 'tallygate_connections{state="pending",transport="tcp"} 3.0' in text
    assert 'tallygate_connections{state="open",transport="tcp"} 1.0' in text
    full(await (await house.connect()).hello(), "seats", 1, 1, "hello")


@BOTH
async def test_a_wait_that_is_over_closes_the_connection(serve: Serve, transport: str) -> None:
    time_ = Forward()
    house = await floating(serve, clock=time_.clock)
    await house.welcomed()
    bob = await waiting(house, transport, 5)
    time_.pass_(house, 5.5)
    full(said(await bob.hear(), "denied", waited_seconds=5), "seats", 1, 1, "hello")
    await bob.gone()


async def test_a_position_that_changes_is_told_once_a_second_and_newest(serve: Serve) -> None:
    time_ = Forward()
    house = await floating(serve, limit=2, clock=time_.clock)
    ann, bob = await house.welcomed(), await house.welcomed()
    for _ in range(2):
        await waiting(house)
    cid = await house.connect()
    said(await cid.hello(wait=60, id=9), "queued", position=3)
    for wire in (ann, bob):
        await wire.say("bye")
        await wire.gone()
    await silent(cid)
    time_.pass_(house, 0.5)
    await silent(cid)
    time_.pass_(house, 0.6)
    said(await cid.hear(), "queued", id=9, position=1)
    time_.pass_(house, 2.0)
    await silent(cid)


async def test_a_join_waits_and_leave_gives_it_up(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    ann, bob, cid = [await house.welcomed() for _ in range(3)]
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("join", conference="c", wait=60, id=1), "queued", id=1, conference="c", position=1)
    said(await cid.ask("join", conference="d", wait=60, id=2), "queued", id=2, conference="d", position=2)
    said(await bob.ask("leave", conference="c"), "left", conference="c")
    await ann.say("leave", conference="c")
    said(await ann.hear(), "left")
    said(await cid.hear(), "joined", id=2, conference="d")
    await silent(bob)


async def test_a_join_that_waits_survives_a_resume(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    ann = await house.welcomed()
    bob = await house.connect()
    welcome = await bob.hello()
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("join", conference="c", wait=60, id=1), "queued")
    again = await house.connect("websocket")
    said(await again.hello(resume=welcome["resume"]), "welcome", session=welcome["session"])
    await ann.say("bye")
    said(await again.hear(), "joined", id=1)


async def test_a_client_that_hangs_up_gives_its_place_to_the_next(serve: Serve) -> None:
    house = await floating(serve)
    await house.welcomed()
    first, second = await waiting(house), await waiting(house)
    await first.say("bye")
    await first.gone()
    await second.drop()
    await until(lambda: not house.runtime.state.lines)
    (pool,) = (each for each in house.runtime.snapshot().pools if each.model == "floating")
    assert pool.left == {"granted": 0, "timed_out": 0, "gave_up": 2, "refused": 0}


async def test_who_is_silent_in_line_is_lost(serve: Serve) -> None:
    house = await floating(serve, heartbeat__interval="1s", heartbeat__timeout="2s")
    said(await (await house.welcomed()).ask("sleep"), "asleep")  # who sleeps may be silent for longer
    bob = await waiting(house)
    house.runtime.advance(40)
    said(await bob.hear(), "closing", reason="heartbeat_timeout", code=4408)
    assert not house.runtime.state.lines


async def test_a_kick_of_the_account_closes_who_waits_to_be_welcomed(serve: Serve) -> None:
    house = await floating(serve)
    await house.welcomed(account="ann")
    bob = await waiting(house, account="bob")
    assert (await house.http("DELETE", "/api/accounts/bob/connections"))[0] == 200
    said(await bob.hear(), "closing", reason="kicked", code=4503)


@pytest.mark.parametrize("subject", ["cyd", "127.0.2.7", "127.0.2.0%2F24"])
async def test_a_ban_refuses_whom_it_binds_wherever_they_stand_in_line(serve: Serve, subject: str) -> None:
    house = await floating(serve)
    await house.welcomed(account="ann")
    bob = await waiting(house, account="bob", address="127.0.1.7")
    cyd = await waiting(house, account="cyd", address="127.0.2.7")
    assert (await house.http("PUT", f"/api/bans/{subject}", json={"for": "5m"}))[0] == 200
    denied(await cyd.hear(), "banned", "hello")
    await cyd.gone()
    await silent(bob)
    assert len(house.runtime.state.lines) == 1


async def test_who_waits_is_told_when_the_gateway_ends(serve: Serve) -> None:
    house = await floating(serve)
    ann = await house.welcomed()
    bob = await waiting(house)
    closing = asyncio.ensure_future(house.gateway.close(drain=0))
    denied(await bob.hear(), "draining", "hello")
    for wire in (ann, bob):
        await wire.gone()
        await wire.close()
    await closing


@pytest.mark.parametrize("wait", [0, 86_401, -1, 1.5, "60", True])
@BOTH
async def test_a_wait_is_a_number_of_seconds(serve: Serve, transport: str, wait: Any) -> None:
    house = await floating(serve)
    wire = await house.connect(transport)
    said(await wire.hello(wait=wait), "error", code="bad_field")
    said(await wire.hello(wait=None), "welcome")
    for verb in ("join", "wake", "request_pro"):
        said(await wire.ask(verb, conference="c", wait=wait), "error", code="bad_field")


async def test_a_join_of_one_asleep_that_waits_wakes_it(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=2)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("sleep"), "asleep")
    said(await bob.ask("join", conference="c", wait=60, id=1), "queued", pool="pro")
    await house.http("DELETE", "/api/pro/ann")
    said(await bob.hear(), "joined", id=1, seats=["online", "pro"])
    assert (await house.http("GET", "/api/connections?account=bob"))[1]["items"][0]["presence"] == "awake"


async def test_the_api_shows_who_waits(serve: Serve) -> None:
    house = await floating(serve)
    await house.welcomed(account="ann")
    await waiting(house, account="bob", device="pc")
    await waiting(house)
    status, shown = await house.http("GET", "/api/queue?limit=1")
    assert (status, shown["next"]) == (200, "1")
    (first,) = shown["items"]
    assert first.pop("since").endswith("Z")
    assert first == {
        "place": "1",
        "pool": "seats",
        "rule": None,
        "position": 1,
        "request": "hello",
        "conference": None,
        "session": None,
        "account": "bob",
        "device": "pc",
        "kind": "app",
        "address": "127.0.0.1",
        "wait_seconds": 60,
    }
    rest = (await house.http("GET", "/api/queue?cursor=1"))[1]
    assert [(each["place"], each["position"], each["account"]) for each in rest["items"]] == [("2", 2, None)]
    assert (await house.http("GET", "/api/queue?cursor=x"))[0] == 422
    license = (await house.http("GET", "/api/license"))[1]
    assert license["models"]["floating"]["pools"]["seats"]["waiting"] == 2
