"""Two gateways over one etcd count as one: limits, sessions, conferences, acts of operators."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.counting.pool import Pool
from gateway.edge.api.pro import pro_pool
from tests.cluster.conftest import ClusterHouse, Join, Shifted
from tests.conftest import until

pytestmark = pytest.mark.debian


async def pair(join: Join, **overrides: object) -> tuple[ClusterHouse, ClusterHouse]:
    """Two gateways, `a` and `b`."""
    return await join("a", **overrides), await join("b", **overrides)


def same(a: ClusterHouse, b: ClusterHouse) -> bool:
    """Whether both have applied the same entries, and have come to the same."""
    return (a.node.replica.version, a.node.replica.digest) == (b.node.replica.version, b.node.replica.digest)


async def test_a_seat_is_given_once_whichever_gateway_is_asked(join: Join) -> None:
    a, b = await pair(join, license__epop__users=1)
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    denied = await bob.ask("join", conference="other")
    assert (denied["type"], denied["reason"], denied["used"]) == ("denied", "pool_full", 1)
    assert [await each.used("concurrent") for each in (a, b)] == [1, 1]
    assert (await ann.ask("leave", conference="room"))["type"] == "left"
    assert (await bob.ask("join", conference="other"))["type"] == "joined"
    assert [await each.used("concurrent") for each in (a, b)] == [1, 1]
    await until(lambda: same(a, b))


async def test_a_device_takes_over_from_its_session_at_another_gateway(join: Join) -> None:
    a, b = await pair(join)
    older = await a.welcomed(account="ann", device="d")
    await b.welcomed(account="ann", device="d")
    assert [each["reason"] for each in await older.gone()] == ["replaced"]
    assert len(a.runtime.state.sessions) == len(b.runtime.state.sessions) == 1


async def test_of_many_that_come_as_one_device_at_once_all_but_the_last_are_told_that_they_were_replaced(
    join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    a = await join("a")
    wires = [await a.connect() for _ in range(20)]
    heard = await asyncio.gather(*(wire.hello(account="ann", device="d") for wire in wires))
    assert {each["type"] for each in heard} == {"welcome"}
    assert len({each["session"] for each in heard}) == len(wires)
    await until(lambda: sum(len(each.connections) for each in a.runtime.client_listeners) == 1)
    (number,) = a.runtime.state.sessions.by_number
    last = heard.index(next(each for each in heard if a.runtime.sign_in.number(each["session"]) == number))
    for place, wire in enumerate(wires):
        if place != last:
            assert [each["reason"] for each in await wire.gone()] == ["replaced"]
    assert (await wires[last].ask("join", conference="room"))["type"] == "joined"
    assert not a.runtime.pending_replies.deferred_input
    assert not [each for each in caplog.records if each.exc_info]


async def test_a_session_goes_on_at_another_gateway(join: Join) -> None:
    a, b = await pair(join, heartbeat__resume_window="30s")
    wire = await a.connect()
    welcome = await wire.hello(account="ann", device="d")
    assert (await wire.ask("join", conference="room"))["type"] == "joined"
    other = await b.connect()
    again = await other.hello(account="ann", device="d", resume=welcome["resume"])
    assert (again["session"], again["conferences"]) == (welcome["session"], ["room"])
    assert [each["reason"] for each in await wire.gone()] == ["replaced"]
    assert (await other.ask("leave", conference="room"))["type"] == "left"
    late = await a.connect()
    anew = await late.hello(account="ann", device="d", resume=welcome["resume"])
    assert anew["session"] != welcome["session"], "a token that was used is none"


async def test_who_waits_at_one_gateway_is_admitted_by_a_start_at_another(join: Join) -> None:
    a, b = await pair(join, license__model="nefsis-concurrent")
    host, guest = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await host.ask("join", conference="room", host=True, scheduled=True))["type"] == "waiting"
    assert (await guest.ask("join", conference="room"))["type"] == "waiting"
    assert (await host.ask("start", conference="room"))["type"] == "started"
    assert (await guest.hear())["type"] == "joined"


async def test_an_operator_of_any_gateway_acts_upon_all(join: Join) -> None:
    a, b = await pair(join)
    ann = await a.welcomed(account="ann", device="d")
    status, told = await b.http("DELETE", "/api/accounts/ann/connections?ban=60s")
    assert (status, told) == (200, {"kicked": 1})
    assert [each["reason"] for each in await ann.gone()] == ["kicked"]
    refused = await (await a.connect()).hello(account="ann", device="d")
    assert (refused["type"], refused["reason"]) == ("denied", "banned")


async def test_seats_of_a_gateway_that_is_stopped_are_free_at_once(
    join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await pair(join, license__epop__users=1)
    incarnations = [each.node.incarnation for each in (a, b)]
    assert f"b ({incarnations[1]}) has come in: the cluster is a, b; a leads" in caplog.text
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await a.gateway.close(drain=0)
    assert [each["reason"] for each in await ann.gone()] == ["drained"]
    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    assert [each.name for each in b.node.replica.nodes] == ["b"]
    assert f"a ({incarnations[0]}) is over: the cluster is b; b leads" in caplog.text


async def test_a_node_that_saw_nothing_of_its_own_in_time_sends_everybody_away_and_comes_in_anew(join: Join) -> None:
    clocks = Shifted()
    a, b = await join("a", clocks=clocks, license__epop__users=1), await join("b", license__epop__users=1)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    before = a.node.incarnation
    clocks.boot_offset += 26.0
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert a.gateway.ports()["tcp"] is None or a.node.incarnation != before
    await until(lambda: a.node.entered)
    await a.come_in()
    assert a.node.incarnation != before
    assert (await bob.ask("join", conference="room"))["type"] == "joined", "the seat went with the incarnation"
    assert (await (await a.connect()).hello(account="ann"))["type"] == "welcome"
    await until(lambda: same(a, b))


async def test_two_gateways_of_one_name_do_not_both_come_in(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    a = await join("a")
    second = await join("a", enters=False, store__path=str(a.gateway.settings.store.path) + "2")
    waits = "this node waits to join the cluster: another node of this name lives"
    await until(lambda: waits in caplog.text)
    assert not second.node.entered
    assert a.node.entered
    await a.gateway.close(drain=0)
    await second.come_in()
    assert caplog.text.count(waits) == 1


async def test_a_standby_follows_and_serves_when_it_is_made_active(join: Join) -> None:
    a = await join("a", license__epop__users=1)
    standby = await join("b", enters=False, license__epop__users=1, cluster__role="standby")
    ann = await a.welcomed(account="ann")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await until(lambda: same(a, standby))
    assert standby.gateway.ports()["tcp"] is None
    settings = standby.gateway.settings
    standby.gateway.reload(replace(settings, cluster=replace(settings.cluster, role="active")))
    await standby.come_in()
    bob = await standby.welcomed(account="bob")
    assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"


async def test_who_is_banned_costs_the_cluster_nothing(join: Join) -> None:
    a, b = await pair(join)
    assert (await a.http("PUT", "/api/bans/ann", json={"for": "60s"}))[0] in {200, 201, 204}
    await until(lambda: same(a, b))
    before = b.node.replica.state.numbers.sessions.last, b.node.proposer.put_failures
    refused = await (await b.connect()).hello(account="ann", device="d")
    assert (refused["type"], refused["reason"]) == ("denied", "banned")
    assert b.runtime.dispatcher.refusals["banned"] == 1
    assert a.runtime.dispatcher.refusals.get("banned", 0) == 0
    assert (b.node.replica.state.numbers.sessions.last, b.node.proposer.put_failures) == before


async def test_a_license_that_is_revoked_at_one_gateway_is_gone_at_all(join: Join) -> None:
    a, b = await pair(join, license__model="trueconf", license__trueconf__pro=1)
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await ann.ask("leave", conference="room"))["type"] == "left"
    assert (await bob.ask("join", conference="other"))["reason"] == "pool_full"
    assert (await b.http("DELETE", "/api/pro/ann"))[0] in {200, 204}
    assert (await bob.ask("join", conference="other"))["type"] == "joined"
    assert (await ann.ask("join", conference="room"))["reason"] == "pool_full"
    assert [await each.used("pro", "trueconf") for each in (a, b)] == [1, 1]
    await until(lambda: same(a, b))


def _pro(house: ClusterHouse) -> Pool:
    pool = pro_pool(house.runtime)
    assert pool is not None
    return pool


async def test_a_group_that_is_made_at_one_gateway_has_its_licenses_at_all(join: Join) -> None:
    terms = {"license__trueconf__pro": 1, "license__trueconf__redistribute_every": "2s"}
    a, b = await pair(join, license__model="trueconf", **terms)
    group = {"accounts": ["ann"], "permanent": True}
    assert (await a.http("PUT", "/api/groups/board", json=group))[0] in {200, 201}
    await until(lambda: all("ann" in _pro(each).reservations for each in (a, b)))
    assert (await b.http("GET", "/api/groups"))[1] == (await a.http("GET", "/api/groups"))[1]
    bob = await b.welcomed(account="bob", device="d")
    assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"
    ann = await b.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
