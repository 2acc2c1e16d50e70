"""Every state has an answer for every message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Serve
from tests.rules.said import denied, full, pools, said, silent, uses

TYPES = ["heartbeat", "join", "start", "leave", "sleep", "wake", "request_pro", "bye"]


@pytest.mark.parametrize("type", [*TYPES, "dance"])
async def test_the_first_message_must_be_hello(type: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.connect()
    fields = {"conference": "m"} if type in {"join", "start", "leave"} else {}
    await wire.say(type, id=1, **fields)
    heard = await wire.gone()
    assert [(each["type"], each["code"], each["id"]) for each in heard] == [("error", "hello_expected", 1)]


@pytest.mark.parametrize(
    "fields", [{"protocol": 1}, {"protocol": 2}, {}, {"protocol": 1, "account": ""}, {"protocol": 1, "account": "bob"}]
)
@pytest.mark.parametrize("asleep", [False, True])
async def test_a_second_hello_changes_nothing_whatever_it_says(
    fields: dict[str, Any], asleep: bool, serve: Serve
) -> None:
    house = await serve(license__model="trueconf")
    wire = await house.welcomed(account="ann", device="pc")
    if asleep:
        said(await wire.ask("sleep"), "asleep")
    said(await wire.ask("hello", **fields), "error", code="already_welcomed")
    await silent(wire)
    await pools(house, online=0 if asleep else 1)


@pytest.mark.parametrize("model", ["epop", "trueconf", "floating"])
async def test_messages_out_of_place_change_nothing(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    wire = await house.welcomed(account="ann", device="pc")
    said(await wire.ask("wake"), "awake")
    denied(await wire.ask("leave", conference="m"), "not_member", "leave", conference="m")
    denied(await wire.ask("start", conference="m"), "not_member", "start", conference="m")
    said(await wire.ask("sleep"), "asleep")
    said(await wire.ask("sleep"), "asleep")
    denied(await wire.ask("leave", conference="m"), "not_member", "leave", conference="m")
    denied(await wire.ask("start", conference="m"), "not_member", "start", conference="m")
    said(await wire.ask("heartbeat"), "ack")
    said(await wire.ask("wake"), "awake")
    joined = said(await wire.ask("join", conference="m", host=True), "joined")
    denied(await wire.ask("join", conference="m"), "already_member", conference="m")
    said(await wire.ask("start", conference="m"), "started", conference="m", seats=joined["seats"])
    await silent(wire)


@pytest.mark.parametrize("scheduled", [False, True])
async def test_who_goes_to_sleep_leaves_its_conferences(scheduled: bool, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    wire, other = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    for conference in ("m", "n"):
        said(await wire.ask("join", conference=conference, scheduled=scheduled), "waiting" if scheduled else "joined")
    said(await other.ask("join", conference="m"), "waiting" if scheduled else "joined")
    said(await wire.ask("sleep"), "asleep", seats=[] if scheduled else ["pro"])
    denied(await wire.ask("leave", conference="m"), "not_member", "leave", conference="m")
    assert set(house.runtime.state.conferences.by_id) == {"m"}
    said(await wire.ask("wake"), "awake", seats=["online"] if scheduled else ["online", "pro"])
    said(await wire.ask("join", conference="m"), "waiting" if scheduled else "joined")


async def test_the_seat_of_one_that_goes_to_sleep_in_a_conference_is_free(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    ann, bob = await house.welcomed(), await house.welcomed()
    said(await ann.ask("join", conference="m"), "joined")
    said(await ann.ask("sleep"), "asleep", seats=[])
    said(await bob.ask("join", conference="m"), "joined")
    assert house.runtime.state.primary.pools["concurrent"].releases["asleep"] == 1


async def test_a_join_wakes_up_all_seats_or_none(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=2)
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("sleep"), "asleep", seats=[])
    bob = await house.welcomed(account="bob", device="pc")
    said(await bob.ask("join", conference="m"), "joined")
    full(await ann.ask("join", conference="m"), "pro", 1, 1)
    await pools(house, online=1, pro=1)
    cat = await house.welcomed(account="cat", device="pc")
    full(await ann.ask("join", conference="m"), "online", 2, 2)
    full(await ann.ask("wake"), "online", 2, 2, "wake")
    said(await cat.ask("sleep"), "asleep")
    said(await ann.ask("join", conference="call", mode="call"), "joined", seats=["online"])
    await pools(house, online=2, pro=1)
    _, listed = await house.http("GET", "/api/connections?account=ann")
    assert listed["items"][0]["presence"] == "awake"


async def test_a_join_that_waits_wakes_up_too(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("sleep"), "asleep")
    said(await ann.ask("join", conference="m", scheduled=True), "waiting", seats=["online"])


async def test_visitors_may_not_join_and_take_no_seat_in_any_model(serve: Serve) -> None:
    house = await serve(license__model="floating", license__floating__limit=1)
    await house.welcomed(account="ann", device="pc")
    used = await uses(house)
    assert {("floating", "seats"): 1, ("trueconf", "online"): 1}.items() <= used.items()
    for kind in ("welcome", "console"):
        wire = await house.welcomed(kind=kind, account="boss", device=kind)
        denied(await wire.ask("join", conference="m"), "not_allowed", conference="m")
        said(await wire.ask("sleep"), "asleep", seats=[])
        said(await wire.ask("wake"), "awake", seats=[])
    assert await uses(house) == used
