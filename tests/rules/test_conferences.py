"""What is the same for every model: live and scheduled conferences, calls, declarations, the order of checks."""

from __future__ import annotations

import pytest

from tests.conftest import Serve
from tests.rules.said import conferences, denied, full, pools, said, silent

MODELS = pytest.mark.parametrize("model", ["epop", "nefsis-concurrent", "nefsis-named", "trueconf", "floating"])
POOLS = {"nefsis-named": "participants", "trueconf": "pro", "floating": "seats"}


@MODELS
async def test_waiting_in_a_scheduled_conference_takes_no_seat_of_a_conference(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    pool = POOLS.get(model, "concurrent")
    ann = await house.welcomed(account="ann", device="pc")
    bob = await house.welcomed(account="bob", device="pc")
    before = await house.used(pool)
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting", state="scheduled")
    said(await bob.ask("join", conference="m"), "waiting", state="scheduled")
    assert await house.used(pool) == before
    denied(await bob.ask("start", conference="m"), "not_allowed", "start", conference="m")
    said(await ann.ask("start", conference="m"), "started", conference="m")
    for wire in (ann, bob):
        said(await wire.hear(), "joined", conference="m", state="live")
    assert await house.used(pool) == 2
    said(await ann.ask("start", conference="m"), "started", conference="m")
    denied(await bob.ask("start", conference="m"), "not_allowed", "start", conference="m")
    for wire in (ann, bob):
        await silent(wire)


@MODELS
async def test_a_call_has_two_members_under_every_model(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    wires = [await house.welcomed(account=name, device="pc") for name in ("ann", "bob", "cat")]
    said(await wires[0].ask("join", conference="c", mode="call", host=True), "joined", mode="call")
    said(await wires[1].ask("join", conference="c"), "joined", mode="call")
    denied(await wires[2].ask("join", conference="c"), "conference_full", conference="c", used=2, limit=2)
    said(await wires[1].ask("leave", conference="c"), "left")
    said(await wires[2].ask("join", conference="c"), "joined", mode="call")


@MODELS
async def test_a_call_may_be_scheduled_for_two(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    ann, bob, cat = [await house.welcomed(account=name, device="pc") for name in ("ann", "bob", "cat")]
    said(await ann.ask("join", conference="c", mode="call", scheduled=True, host=True), "waiting", mode="call")
    said(await bob.ask("join", conference="c"), "waiting")
    denied(await cat.ask("join", conference="c"), "conference_full", conference="c")
    said(await ann.ask("start", conference="c"), "started")
    said(await ann.hear(), "joined")
    said(await bob.hear(), "joined")


@MODELS
async def test_a_session_is_in_so_many_conferences_and_in_another_when_it_left_one(model: str, serve: Serve) -> None:
    house = await serve(license__model=model, conferences__max_per_session=2)
    ann = await house.welcomed("websocket", account="ann", device="pc")
    said(await ann.ask("join", conference="a", host=True), "joined")
    said(await ann.ask("join", conference="b", scheduled=True), "waiting")
    denied(await ann.ask("join", conference="c", scheduled=True), "conference_limit", conference="c", used=2, limit=2)
    assert set(await conferences(house)) == {"a", "b"}
    said(await ann.ask("leave", conference="a"), "left")
    said(await ann.ask("join", conference="c", scheduled=True), "waiting")


async def test_only_the_join_that_creates_a_conference_decides_what_it_is(serve: Serve) -> None:
    house = await serve()
    first, second = await house.welcomed(), await house.welcomed()
    said(await first.ask("join", conference="m", access="public"), "joined", access="public", mode="group")
    answer = await second.ask("join", conference="m", access="internal", mode="call", scheduled=True, server="x")
    said(answer, "joined", access="public", mode="group", state="live")
    said(await first.ask("leave", conference="m"), "left")
    assert list(await conferences(house)) == ["m"]
    said(await second.ask("leave", conference="m"), "left")
    assert await conferences(house) == {}
    said(await first.ask("join", conference="m"), "joined", access="internal")


async def test_a_refused_join_leaves_no_trace_of_the_conference_it_would_have_created(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=0)
    wire = await house.welcomed()
    full(await wire.ask("join", conference="m", access="public", mode="call"), "concurrent", 0, 0)
    assert await conferences(house) == {}
    said(await wire.ask("join", conference="m", scheduled=True), "waiting", access="internal", mode="group")
    assert (await conferences(house))["m"]["members"] == 1


async def test_a_connection_in_two_conferences_counts_once_and_needs_no_second_line(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    wire = await house.welcomed()
    said(await wire.ask("join", conference="a"), "joined")
    said(await wire.ask("join", conference="b"), "joined")
    await pools(house, concurrent=1)
    said(await wire.ask("leave", conference="a"), "left", seats=["concurrent"])
    said(await wire.ask("leave", conference="b"), "left", seats=[])
    await pools(house, concurrent=0)


async def test_a_conference_goes_on_without_its_host_and_ends_with_its_last_member(serve: Serve) -> None:
    house = await serve(license__model="epop")
    host, guest = await house.welcomed(), await house.welcomed()
    said(await host.ask("join", conference="m", host=True), "joined")
    said(await guest.ask("join", conference="m"), "joined")
    await host.say("bye")
    await host.gone()
    assert (await conferences(house))["m"]["state"] == "live"
    await guest.close()
    assert await conferences(house) == {}


async def test_a_scheduled_conference_that_everybody_left_is_forgotten(serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed()
    said(await wire.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await wire.ask("leave", conference="m"), "left")
    denied(await wire.ask("start", conference="m"), "not_member", "start")
    said(await wire.ask("join", conference="m"), "joined")


async def test_the_operator_declares_what_a_conference_is(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    body = {"access": "public", "mode": "group", "scheduled": True}
    assert (await house.http("PUT", "/api/conferences/m", json=body))[0] == 200
    assert (await conferences(house))["m"]["state"] == "scheduled"
    guest = await house.welcomed()
    said(await guest.ask("join", conference="m", access="internal"), "waiting", access="public", state="scheduled")
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("join", conference="m", host=True), "waiting", access="public")
    said(await ann.ask("start", conference="m"), "started")
    said(await guest.hear(), "joined", seats=["guest"])
    assert (await house.http("DELETE", "/api/conferences/m"))[0] == 204
    removed = said(await guest.hear(), "removed", conference="m", reason="conference_ended", seats=[])
    assert set(removed) == {"type", "conference", "reason", "seats", "rights", "pro_expires"}
    denied(await guest.ask("join", conference="m"), "no_such_conference")
    assert (await house.http("DELETE", "/api/conferences/m"))[0] == 404
    await pools(house, online=1, pro=1, guest=0)


async def test_an_ended_conference_is_left_by_those_who_waited_too(serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed()
    said(await wire.ask("join", conference="m", scheduled=True), "waiting")
    assert (await house.http("DELETE", "/api/conferences/m"))[0] == 204
    assert await wire.hear() == {"type": "removed", "conference": "m", "reason": "conference_ended", "seats": []}


async def test_only_declared_conferences_may_be_joined_where_the_operator_says_so(serve: Serve) -> None:
    house = await serve(conferences__declared_only="true", license__model="trueconf")
    ann = await house.welcomed(account="ann", device="pc")
    denied(await ann.ask("join", conference="m"), "no_such_conference", conference="m")
    assert (await house.http("PUT", "/api/conferences/m", json={}))[0] == 200
    said(await ann.ask("join", conference="m", access="public"), "joined", access="internal")


async def test_rules_are_checked_before_the_conference_and_the_conference_before_the_pools(serve: Serve) -> None:
    house = await serve(
        license__model="trueconf",
        license__trueconf__pro=1,
        license__trueconf__online=9,
        license__trueconf__guest=0,
        license__trueconf__max_conferences=1,
        license__trueconf__max_participants=1,
    )
    ann, bob = [await house.welcomed(account=name, device="pc") for name in ("ann", "bob")]
    guest = await house.welcomed()
    said(await ann.ask("join", conference="m"), "joined")
    denied(await guest.ask("join", conference="m"), "not_allowed")
    denied(await guest.ask("join", conference="n", access="public"), "no_such_conference")
    denied(await bob.ask("join", conference="n"), "conference_limit", used=1, limit=1)
    denied(await bob.ask("join", conference="m"), "conference_full", used=1, limit=1)
    assert list(await conferences(house)) == ["m"]
    said(await ann.ask("leave", conference="m"), "left")
    full(await bob.ask("join", conference="n"), "pro", 1, 1)
    assert await conferences(house) == {}


async def test_a_host_who_is_busy_hears_so_even_where_the_call_is_full(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named")
    ann, bob, cat = [await house.welcomed(account=name, device="pc") for name in ("ann", "bob", "cat")]
    said(await ann.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="c", mode="call", host=True), "joined")
    said(await cat.ask("join", conference="c"), "joined")
    denied(await ann.ask("join", conference="c", host=True), "host_busy")


async def test_shrinking_a_limit_drops_nobody_and_grants_nothing_until_use_falls(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=3)
    wires = [await house.welcomed() for _ in range(4)]
    for wire in wires[:3]:
        said(await wire.ask("join", conference="m"), "joined")
    smaller = await serve(license__model="epop", license__epop__users=2)
    house.runtime.apply_settings(smaller.runtime.settings)
    seen = await pools(house, concurrent=3)
    assert (seen["concurrent"]["limit"], seen["concurrent"]["available"]) == (2, 0)
    full(await wires[3].ask("join", conference="m"), "concurrent", 3, 2)
    said(await wires[0].ask("join", conference="n"), "joined")
    for wire in wires[:2]:
        for conference in ("m", "n"):
            await wire.ask("leave", conference=conference)
    said(await wires[3].ask("join", conference="m"), "joined")
    await pools(house, concurrent=2)


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_conference_on_a_server_that_is_not_listed_is_refused_as_its_visitors_are(
    transport: str, serve: Serve
) -> None:
    house = await serve(license__model="trueconf", accounts__home="here.org", federation__homes=["there.org"])
    wire = await house.connect(transport)
    said(await wire.hello(account="ann"), "welcome")
    denied(await wire.ask("join", conference="m", server="elsewhere.org"), "not_allowed", conference="m")
    assert (await house.http("GET", "/api/conferences"))[1]["items"] == []
    said(await wire.ask("join", conference="m", server="There.ORG"), "joined")
    said(await wire.ask("join", conference="n", server="HERE.org"), "joined")
    other = await house.welcomed(account="bob")
    said(await other.ask("join", conference="m", server="elsewhere.org"), "joined")  # it is there already
    status, told = await house.http("PUT", "/api/conferences/o", json={"server": "elsewhere.org"})
    assert (status, told["error"]) == (409, "not_allowed")
    assert (await house.http("PUT", "/api/conferences/o", json={"server": "there.org"}))[0] == 200
