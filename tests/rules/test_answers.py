"""Every answer has exactly the fields that the protocol gives it, on both transports."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Serve
from tests.rules.said import denied, full, said, silent

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])
STANDING = {"seats", "rights", "pro_expires"}
WELCOME = {"type", "id", "session", "resume", "heartbeat_seconds", "timeout_seconds", "model", "seats"}
ROOM = {"type", "id", "conference", "access", "mode", "state", "seats"}
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").fullmatch

ONLINE = [
    "p2p_call",
    "p2p_collaboration",
    "messenger",
    "finished_conference_chat",
    "address_book",
    "schedule_conference",
    "prepare_slides",
]
GUEST = [
    "join_public_conference",
    "public_conference_chat",
    "public_conference_collaboration",
    "moderate_public_conference",
]
INTERNAL = [
    "internal_conference_chat",
    "join_internal_conference",
    "moderate_internal_conference",
    "internal_conference_collaboration",
    "instant_conference",
]
PRO = sorted(ONLINE + GUEST + INTERNAL)


@BOTH
async def test_answers_of_a_model_without_rights_have_the_common_fields(transport: str, serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.connect(transport)
    welcome = said(await wire.hello(), "welcome", model="epop", seats=[], heartbeat_seconds=30, timeout_seconds=75)
    assert set(welcome) == WELCOME
    joined = said(
        await wire.ask("join", conference="m"),
        "joined",
        conference="m",
        access="internal",
        mode="group",
        state="live",
        seats=["concurrent"],
    )
    assert set(joined) == ROOM
    left = said(await wire.ask("leave", conference="m"), "left", conference="m", seats=[])
    assert set(left) == {"type", "id", "conference", "seats"}
    assert await wire.ask("sleep", id=1) == {"type": "asleep", "id": 1, "seats": []}
    assert await wire.ask("wake", id="w") == {"type": "awake", "id": "w", "seats": []}
    assert await wire.ask("request_pro", id=0) == {
        "type": "denied",
        "id": 0,
        "request": "request_pro",
        "reason": "not_allowed",
    }


@BOTH
async def test_trueconf_answers_tell_rights_and_when_pro_expires(transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.connect(transport)
    welcome = said(await ann.hello(account="ann", device="pc"), "welcome", seats=["online"], pro_expires=None)
    assert set(welcome) == WELCOME | STANDING
    assert sorted(welcome["rights"]) == sorted(ONLINE)
    joined = said(await ann.ask("join", conference="m", access="public"), "joined", access="public", pro_expires=None)
    assert set(joined) == ROOM | STANDING
    assert joined["seats"] == ["online", "pro"]
    assert sorted(joined["rights"]) == PRO
    guest = await house.connect(transport)
    assert sorted((await guest.hello())["rights"]) == sorted(GUEST)
    said(await guest.ask("join", conference="m"), "joined", access="public", seats=["guest"], pro_expires=None)
    left = said(await ann.ask("leave", conference="m"), "left", conference="m", seats=["online", "pro"])
    assert set(left) == {"type", "id", "conference"} | STANDING
    assert UTC(left["pro_expires"])
    assert sorted(left["rights"]) == PRO
    asleep = said(await ann.ask("sleep"), "asleep", seats=["pro"])
    assert set(asleep) == {"type", "id", "seats"}
    assert said(await ann.ask("wake"), "awake", seats=["online", "pro"]).keys() == {"type", "id", "seats"}


@BOTH
async def test_started_comes_first_then_what_became_of_every_member_in_order_of_arrival(
    transport: str, serve: Serve
) -> None:
    house = await serve(license__model="epop", license__epop__users=2)
    names = ["one", "two", "three"]
    wires = {name: await house.welcomed(transport) for name in names}
    for name in names:
        waiting = await wires[name].ask("join", conference="m", scheduled=True, host=name == "two")
        said(waiting, "waiting", conference="m", state="scheduled", access="internal", mode="group", seats=[])
        assert set(waiting) == ROOM
    await wires["two"].say("start", conference="m", id=5)
    assert await wires["two"].hear() == {"type": "started", "id": 5, "conference": "m", "seats": ["concurrent"]}
    joined = {"type": "joined", "conference": "m", "access": "internal", "mode": "group", "state": "live"}
    assert await wires["two"].hear() == {**joined, "seats": ["concurrent"]}
    assert await wires["one"].hear() == {**joined, "seats": ["concurrent"]}
    assert await wires["three"].hear() == {
        "type": "denied",
        "request": "join",
        "conference": "m",
        "reason": "pool_full",
        "pool": "concurrent",
        "used": 2,
        "limit": 2,
    }
    denied(await wires["three"].ask("leave", conference="m"), "not_member", "leave", conference="m")


@BOTH
async def test_acks_carry_the_seq_and_the_id_that_came(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed(transport)
    await wire.send('{"type":"heartbeat"}')
    assert await wire.hear() == {"type": "ack"}
    await wire.send('{"type":"heartbeat","seq":0}')
    assert await wire.hear() == {"type": "ack", "seq": 0}
    assert await wire.ask("heartbeat", seq=7, id="x") == {"type": "ack", "id": "x", "seq": 7}
    said(await wire.ask("heartbeat", seq="7"), "error", code="bad_field")
    await silent(wire)


@BOTH
async def test_errors_echo_the_id_and_say_why(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.connect(transport)
    early = said(await wire.ask("hello", protocol=1, kind="toaster", id=9), "error", id=9, code="bad_field")
    assert set(early) == {"type", "id", "code", "detail"}
    said(await wire.hello(), "welcome")
    said(await wire.ask("dance", id=1), "error", id=1, code="unknown_type")
    said(await wire.ask("join", id="a" * 64), "error", id="a" * 64, code="bad_field")
    said(await wire.ask("join", conference="..", id=2), "error", id=2, code="bad_field")
    said(await wire.ask("join", conference="m", host="yes", id=3), "error", id=3, code="bad_field")
    said(await wire.ask("hello", protocol=1, id=4), "error", id=4, code="already_welcomed")
    await wire.say("heartbeat", id="a" * 65)
    refused = await wire.hear()
    said(refused, "error", code="bad_field")
    assert "id" not in refused
    await silent(wire)


@BOTH
async def test_a_refusal_by_a_pool_names_pool_use_and_limit_and_leaves_the_socket_usable(
    transport: str, serve: Serve
) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    first = await house.welcomed(transport)
    said(await first.ask("join", conference="m"), "joined")
    second = await house.welcomed(transport)
    refused = full(await second.ask("join", conference="m", id=3), "concurrent", 1, 1)
    assert set(refused) == {"type", "id", "request", "reason", "conference", "pool", "used", "limit"}
    await silent(second)
    said(await first.ask("leave", conference="m"), "left")
    said(await second.ask("join", conference="m"), "joined", seats=["concurrent"])


@BOTH
async def test_accounts_are_told_apart_without_case_and_unknown_keys_are_ignored(transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    old = await house.welcomed(transport, account="Ann@Example.org", device="pc")
    new = await house.connect(transport)
    said(await new.hello(account="ann@example.ORG", device="pc", shoe_size=42), "welcome")
    said(await old.hear(), "closing", reason="replaced")


async def test_answers_keep_the_order_of_what_came_in_one_piece(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect()
    pieces = (
        '{"type":"hello","protocol":1}\r',
        '{"type":"heartbeat"}',
        '{"type":"join","conference":"m"}',
        '{"type":"join","conference":"m"}',
        '{"type":"heartbeat","seq":1}\r',
        '{"type":"leave","conference":"m"}',
        '{"type":"bye"}',
        '{"type":"heartbeat"}',
    )
    await wire.send("\n".join(pieces))
    heard = [message["type"] for message in await wire.gone()]
    assert heard == ["welcome", "ack", "joined", "denied", "ack", "left"]


async def test_who_was_refused_at_hello_is_not_heard_again(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    wire = await house.connect()
    await wire.send('{"type":"hello","protocol":1,"account":"ann"}\n{"type":"hello","protocol":1}')
    heard = await wire.gone()
    assert [message["type"] for message in heard] == ["denied"]
    _, counted = await house.http("GET", "/api/connections/count")
    assert counted == {"count": 0, "asleep": 0, "idle": 0}
