"""Seats that are kept for somebody, or denied to somebody, over the wire (COUNTING.md, Rules for seats)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from config.faults import ConfigError
from config.loader import load
from config.values import quote
from gateway.edge.machine import Clock
from tests.conftest import FREE_PORTS, House, Serve, settings_of
from tests.rules.said import denied, full, pools, said, silent
from tests.wire_client import Message, Wire

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


def rules_text(*rules: dict[str, Any]) -> str:
    """Rules as TOML, on one line."""
    written = (
        ", ".join(f"{key} = {quote(each) if isinstance(each, str) else each}" for key, each in rule.items())
        for rule in rules
    )
    return "[" + ", ".join(f"{{ {rule} }}" for rule in written) + "]"


async def floating(serve: Serve, *rules: dict[str, Any], limit: int = 4, **more: Any) -> House:
    """A gateway with floating seats; rules are of its pool."""
    text = rules_text(*({"pool": "seats"} | rule for rule in rules))
    return await serve(license__model="floating", license__floating__limit=limit, license__rule=text, **more)


def reloaded(house: House, *rules: dict[str, Any], **more: Any) -> None:
    """Let the gateway read its configuration again, with other rules."""
    text = rules_text(*({"pool": "seats"} | rule for rule in rules))
    limit = house.gateway.settings.license.terms["floating"].limit
    given = {"license__floating__limit": limit, "license__floating__key": "connection"} | more
    house.gateway.reload(settings_of(license__model="floating", license__rule=text, **given))


async def group(house: House, name: str, *accounts: str) -> None:
    """Say who is in a group."""
    assert (await house.http("PUT", f"/api/groups/{name}", json={"accounts": accounts}))[0] == 200


async def refused(house: House, transport: str = "tcp", address: str = "127.0.0.1", **hello: Any) -> Message:
    """The answer to a `hello` that is not welcomed."""
    return await (await house.connect(transport, address)).hello(**hello)


def short(message: Message, rule: str, used: int, limit: int, request: str = "hello", pool: str = "seats") -> Message:
    """Assert that a rule has no room."""
    return full(said(message, "denied", rule=rule), pool, used, limit, request)


async def rules_of(house: House, pool: str = "seats") -> dict[str, Any]:
    """The rules of a pool as `GET /api/license` says them, by name."""
    license = (await house.http("GET", "/api/license"))[1]
    return {each["name"]: each for each in license["models"][license["model"]]["pools"][pool]["rules"]}


# -- at most -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_beyond_most_a_request_is_denied_with_the_rule_and_its_use_and_limit(
    serve: Serve, transport: str
) -> None:
    house = await floating(serve, {"network": "127.9.0.0/16", "most": 1}, {"kind": "sip", "most": 0, "name": "no sip"})
    await house.welcomed(transport, "127.9.0.1")
    short(await refused(house, transport, "127.9.0.2"), "1", 1, 1)
    short(await refused(house, transport, kind="sip"), "no sip", 0, 0)
    await house.welcomed(transport, "127.0.0.3")
    await pools(house, seats=2)


async def test_a_rule_without_a_condition_is_of_everybody(serve: Serve) -> None:
    house = await floating(serve, {"most": 1})
    await house.welcomed()
    short(await refused(house), "1", 1, 1)


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        ({"account": "Ann@Example.org"}, {"account": "ANN@example.ORG"}, {"account": "ann@example.com"}),
        ({"account": "ann/Far"}, {"account": "ann", "home": "far"}, {"account": "ann"}),
        ({"group": "team"}, {"account": "Ann"}, {"account": "bob"}),
        ({"kind": "sip"}, {"kind": "sip"}, {"kind": "app"}),
        ({"network": "127.1.0.0/16"}, {"address": "127.1.2.3"}, {"address": "127.2.2.3"}),
        ({"network": "::ffff:127.1.0.0/112"}, {"address": "127.1.2.3"}, {"address": "127.2.2.3"}),
        ({"network": "127.1.2.3"}, {"address": "127.1.2.3"}, {"address": "127.1.2.4"}),
        ({"network": "127.1.0.0/16", "kind": "sip"}, {"address": "127.1.2.3", "kind": "sip"}, {"kind": "sip"}),
        ({"group": "team", "account": "ann"}, {"account": "ann"}, {"account": "cid"}),
        ({"group": "team", "kind": "tv"}, {"account": "cid", "kind": "tv"}, {"account": "cid"}),
    ],
)
async def test_of_all_conditions_each_must_hold(
    serve: Serve, rule: dict[str, Any], matching: dict[str, Any], other: dict[str, Any]
) -> None:
    house = await floating(serve, rule | {"most": 0}, federation__homes='["far"]')
    await group(house, "team", "ann", "cid")
    short(await refused(house, **matching), "1", 0, 0)
    await house.welcomed(**other)


async def test_a_session_that_matches_several_rules_is_bound_by_all(serve: Serve) -> None:
    house = await floating(serve, {"kind": "sip", "most": 2}, {"network": "127.1.0.0/16", "most": 1})
    await house.welcomed(address="127.1.0.1", kind="sip")
    short(await refused(house, address="127.1.0.2", kind="sip"), "2", 1, 1)
    await house.welcomed(kind="sip")
    short(await refused(house, address="127.1.0.2", kind="sip"), "1", 2, 2)
    assert {name: each["used"] for name, each in (await rules_of(house)).items()} == {"1": 2, "2": 1}


@pytest.mark.parametrize(
    ("each", "second", "other"),
    [
        ("account", {"account": "ann", "device": "tv"}, {"account": "bob"}),
        ("address", {"account": "bob"}, {"account": "ann", "address": "127.0.0.2"}),
    ],
)
async def test_each_counts_everybody_apart(
    serve: Serve, each: str, second: dict[str, Any], other: dict[str, Any]
) -> None:
    house = await floating(serve, {"most": 1, "each": each})
    await house.welcomed(account="ann", device="pc")
    short(await refused(house, **second), "1", 1, 1)
    await house.welcomed(**other)
    assert (await rules_of(house))["1"] == {
        "name": "1", "used": 1, "limit": 1, "each": each, "reserve": 0, "kept": 0,
    }  # fmt: skip


async def test_a_device_has_so_many_conferences_and_guests_are_apart(serve: Serve) -> None:
    text = rules_text({"pool": "participants", "most": 1, "each": "device"})
    house = await serve(license__model="nefsis-named", license__rule=text)
    host = await house.welcomed(account="ann", device="pc")
    guest, other = await house.welcomed(), await house.welcomed()
    said(await host.ask("join", conference="a", host=True), "joined")
    for wire in (guest, other):
        said(await wire.ask("join", conference="a"), "joined")
    bob = await house.welcomed(account="bob", device="pc")
    said(await bob.ask("join", conference="b", host=True), "joined")
    short(await guest.ask("join", conference="b"), "1", 1, 1, "join", "participants")
    short(await host.ask("join", conference="b"), "1", 1, 1, "join", "participants")
    said(await guest.ask("leave", conference="a"), "left")
    said(await guest.ask("join", conference="b"), "joined")


async def test_a_key_that_others_hold_is_one_more_of_the_rule(serve: Serve) -> None:
    more: dict[str, Any] = {"license__floating__key": "account"}
    house = await floating(serve, {"network": "127.1.0.0/16", "most": 1}, **more)
    await house.welcomed(address="127.1.0.1", account="ann")
    await house.welcomed(address="127.1.0.2", account="ann")
    await house.welcomed(account="bob")
    short(await refused(house, address="127.1.0.1", account="bob"), "1", 1, 1)
    await pools(house, seats=2)


# -- kept for somebody -------------------------------------------------------------------------------------------------


@BOTH
async def test_others_see_the_pool_smaller_by_what_is_reserved_and_not_used(serve: Serve, transport: str) -> None:
    house = await floating(serve, {"group": "team", "reserve": 2})
    await group(house, "team", "ann", "bob", "cid")
    strangers = [await house.welcomed(transport) for _ in range(2)]
    told = full(await refused(house, transport), "seats", 2, 2, "hello")
    assert "rule" not in told
    ann = await house.welcomed(transport, account="ann")
    full(await refused(house, transport), "seats", 3, 3, "hello")
    await house.welcomed(transport, account="bob")
    full(await refused(house, transport, account="cid"), "seats", 4, 4, "hello")
    await ann.say("bye")
    await ann.gone()
    full(await refused(house, transport), "seats", 3, 3, "hello")
    assert (await rules_of(house))["1"]["kept"] == 1
    await strangers[0].say("bye")
    await strangers[0].gone()
    await house.welcomed(transport)
    await house.welcomed(transport, account="cid")


async def test_who_matches_several_rules_uses_a_seat_of_each(serve: Serve) -> None:
    house = await floating(
        serve,
        {"kind": "sip", "reserve": 2},
        {"account": "ann", "reserve": 1},
        {"network": "127.1.0.0/16", "reserve": 1},
    )
    full(await refused(house), "seats", 0, 0, "hello")
    await house.welcomed(kind="sip", account="ann")
    assert {name: each["kept"] for name, each in (await rules_of(house)).items()} == {"1": 1, "2": 0, "3": 1}
    await house.welcomed()
    full(await refused(house), "seats", 2, 2, "hello")
    await house.welcomed(kind="sip")
    full(await refused(house, kind="sip"), "seats", 3, 3, "hello")
    await house.welcomed(address="127.1.0.1")


async def test_an_overdraft_is_part_of_the_pool_and_moves_no_most(serve: Serve) -> None:
    house = await floating(
        serve, {"kind": "sip", "reserve": 1}, {"kind": "tv", "most": 0}, limit=1, license__overdraft=1
    )
    await house.welcomed()
    full(await refused(house), "seats", 1, 0, "hello")
    short(await refused(house, kind="tv"), "2", 0, 0)
    await house.welcomed(kind="sip")


async def test_reserved_keys_of_the_license_are_refused_by_no_rule(serve: Serve) -> None:
    more: dict[str, Any] = {"license__floating__key": "account", "license__floating__reserve": '["boss"]'}
    house = await floating(serve, {"account": "boss", "most": 0, "name": "x"}, {"account": "ann", "reserve": 2}, **more)
    assert (await rules_of(house))["x"]["used"] == 1
    await house.welcomed(account="boss")
    await pools(house, seats=1)
    await house.welcomed()
    full(await refused(house), "seats", 2, 2, "hello")


# -- what stays and what changes ---------------------------------------------------------------------------------------


async def test_rules_are_read_again_and_a_lowered_most_drops_nobody(serve: Serve) -> None:
    house = await floating(serve)
    wires = [await house.welcomed(kind="sip") for _ in range(3)]
    reloaded(house, {"kind": "sip", "most": 1})
    for wire in wires:
        await silent(wire)
    short(await refused(house, kind="sip"), "1", 3, 1)
    for wire in wires[:2]:
        await wire.say("bye")
        await wire.gone()
    short(await refused(house, kind="sip"), "1", 1, 1)
    reloaded(house, {"kind": "sip", "most": 2})
    await house.welcomed(kind="sip")
    reloaded(house)
    await house.welcomed(kind="sip")
    assert await rules_of(house) == {}


async def test_members_of_a_group_are_those_of_the_moment(serve: Serve) -> None:
    house = await floating(serve, {"group": "team", "most": 1, "name": "t"}, {"group": "team", "reserve": 2})
    ann, _ = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    assert (await rules_of(house))["t"]["used"] == 0
    await group(house, "team", "ann", "bob")
    assert (await rules_of(house))["t"]["used"] == 2
    await silent(ann)
    await group(house, "team", "ann", "cid")
    assert (await rules_of(house))["t"]["used"] == 1
    short(await refused(house, account="cid"), "t", 1, 1)
    assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204
    assert (await rules_of(house))["t"]["used"] == 0
    await house.welcomed(account="cid")
    assert (await house.http("DELETE", "/api/groups/team"))[0] == 204
    assert [each["used"] for each in (await rules_of(house)).values()] == [0, 0]
    assert [each["kept"] for each in (await rules_of(house)).values()] == [0, 2]


async def test_a_takeover_and_a_resume_need_no_room_that_they_give_back(serve: Serve) -> None:
    house = await floating(serve, {"kind": "app", "most": 1}, {"kind": "tv", "reserve": 3})
    await house.welcomed(account="ann", device="pc")
    old = await house.connect()
    await house.welcomed(account="ann", device="pc")
    short(await refused(house, account="bob", device="pc"), "1", 1, 1)
    short(await old.hello(account="ann", device="tv"), "1", 1, 1)
    again = await house.connect()
    welcome = await again.hello(account="ann", device="pc")
    resumed = await house.connect("websocket", "127.9.0.1")
    said(await resumed.hello(resume=welcome["resume"]), "welcome", session=welcome["session"])
    assert (await rules_of(house))["1"]["used"] == 1


async def test_a_lingering_seat_counts_as_that_of_the_session_that_let_go(serve: Serve) -> None:
    more: dict[str, Any] = {"license__floating__key": "account", "license__floating__linger": "60s"}
    house = await floating(serve, {"network": "127.1.0.0/16", "most": 1, "reserve": 1}, **more)
    ann = await house.welcomed(address="127.1.0.1", account="ann")
    await ann.drop()
    await pools(house, seats=1)
    short(await refused(house, address="127.1.0.1", account="bob"), "1", 1, 1)
    assert (await rules_of(house))["1"]["kept"] == 0
    await house.welcomed(account="ann")
    await house.welcomed(address="127.1.0.1", account="bob")


async def test_sleep_and_wake_ask_the_rules(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 1}, license__floating__asleep_counts="false")
    ann = await house.welcomed(kind="tv")
    said(await ann.ask("sleep"), "asleep", seats=[])
    bob = await house.welcomed(kind="tv")
    short(await ann.ask("wake"), "1", 1, 1, "wake")
    said(await ann.ask("wake", wait=60), "queued", request="wake", pool="seats", rule="1", position=1, used=1, limit=1)
    await bob.say("bye")
    said(await ann.hear(), "awake", seats=["seats"])


# -- the other models --------------------------------------------------------------------------------------------------


async def test_rules_of_pro_leave_permanent_licenses_as_they_are(serve: Serve) -> None:
    text = rules_text(
        {"pool": "pro", "network": "127.1.0.0/16", "most": 1, "name": "hall"},
        {"pool": "pro", "account": "cid", "reserve": 1},
    )
    house = await serve(
        license__model="trueconf", license__trueconf__pro=4, license__trueconf__allow_pro_requests="true",
        license__rule=text,
    )  # fmt: skip
    await house.http("PUT", "/api/groups/board", json={"accounts": ["boss"], "permanent": True})
    house.runtime.state.redistribute_at = -1.0
    house.runtime.tick()
    ann = await house.welcomed(address="127.1.0.1", account="ann")
    said(await ann.ask("join", conference="c"), "joined", seats=["online", "pro"])
    said(await ann.ask("leave", conference="c"), "left")
    assert (await rules_of(house, "pro"))["hall"]["used"] == 1  # her license is still hers
    bob = await house.welcomed(address="127.1.0.1", account="bob")
    short(await bob.ask("join", conference="c"), "hall", 1, 1, "join", "pro")
    short(await bob.ask("request_pro"), "hall", 1, 1, "request_pro", "pro")
    boss = await house.welcomed(address="127.1.0.1", account="boss")
    said(await boss.ask("join", conference="c"), "joined", seats=["online", "pro"])
    dan, eve = await house.welcomed(account="dan"), await house.welcomed(account="eve")
    said(await dan.ask("request_pro"), "granted")
    full(await eve.ask("join", conference="c"), "pro", 3, 3)
    cid = await house.welcomed(account="cid")
    said(await cid.ask("join", conference="c"), "joined")


async def test_a_scheduled_conference_admits_as_far_as_the_rules_let(serve: Serve) -> None:
    text = rules_text({"pool": "concurrent", "kind": "tv", "most": 1})
    house = await serve(license__model="epop", license__rule=text)
    host, one, two = [await house.welcomed(kind=kind) for kind in ("app", "tv", "tv")]
    said(await host.ask("join", conference="c", host=True, scheduled=True), "waiting")
    for wire in (one, two):
        said(await wire.ask("join", conference="c"), "waiting")
    said(await host.ask("start", conference="c"), "started")
    said(await one.hear(), "joined")
    short(await two.hear(), "1", 1, 1, "join", "concurrent")


async def test_a_name_of_a_host_that_the_operator_gives_is_bound_by_the_rules_of_its_account(serve: Serve) -> None:
    text = rules_text({"pool": "hosts", "account": "ann", "reserve": 1}, {"pool": "hosts", "account": "eve", "most": 0})
    house = await serve(**{"license__model": "nefsis-named", "license__nefsis-named__hosts": 2, "license__rule": text})
    assert (await house.http("PUT", "/api/hosts/bob"))[0] == 200
    status, told = await house.http("PUT", "/api/hosts/cid")
    assert (status, told["error"]) == (409, "pool_full")
    assert (await house.http("PUT", "/api/hosts/eve"))[0] == 409
    assert (await house.http("PUT", "/api/hosts/ann"))[0] == 200


async def test_models_in_shadow_have_no_rules_and_see_what_was_admitted(serve: Serve) -> None:
    text = rules_text({"pool": "concurrent", "kind": "tv", "most": 0})
    house = await serve(license__model="epop", license__rule=text)
    tv = await house.welcomed(kind="tv")
    short(await tv.ask("join", conference="c"), "1", 0, 0, "join", "concurrent")
    app = await house.welcomed()
    said(await app.ask("join", conference="c"), "joined")
    await pools(house, "nefsis-concurrent", concurrent=1)
    license = (await house.http("GET", "/api/license"))[1]
    assert license["models"]["nefsis-concurrent"]["pools"]["concurrent"]["rules"] == []


async def test_a_model_that_refuses_nobody_counts_what_rules_would_have_refused(serve: Serve) -> None:
    text = rules_text({"pool": "concurrent", "kind": "tv", "most": 0})
    house = await serve(license__model="epop", license__enforce="false", license__rule=text)
    tv = await house.welcomed(kind="tv")
    said(await tv.ask("join", conference="c"), "joined")
    seen = await pools(house, concurrent=1)
    assert (seen["concurrent"]["denied"], seen["concurrent"]["rules"][0]["used"]) == (1, 1)


# -- in line -----------------------------------------------------------------------------------------------------------


async def waiting(house: House, *, address: str = "127.0.0.1", **hello: Any) -> Wire:
    """A connection whose `hello` waits in line."""
    wire = await house.connect(address=address)
    said(await wire.hello(wait=60, **hello), "queued", request="hello")
    return wire


async def test_who_is_short_of_a_rule_waits_in_its_line_and_keeps_nobody_from_the_pool(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 1})
    first = await house.welcomed(kind="tv")
    second, third = await house.connect(), await house.connect()
    told = said(await second.hello(wait=60, kind="tv"), "queued", pool="seats", rule="1", position=1, used=1, limit=1)
    assert told["wait_seconds"] == 60
    said(await third.hello(wait=60, kind="tv"), "queued", rule="1", position=2)
    await house.welcomed()
    short(await refused(house, kind="tv"), "1", 1, 1)
    assert [each["rule"] for each in (await house.http("GET", "/api/queue"))[1]["items"]] == ["1", "1"]
    await first.say("bye")
    said(await second.hear(), "welcome")
    await second.say("bye")
    assert (await third.hear())["type"] in {"queued", "welcome"}
    seen = await pools(house)
    assert seen["seats"]["left"]["granted"] == 2


async def test_what_a_rule_lets_nobody_have_is_not_waited_for(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 0})
    short(await refused(house, kind="tv", wait=60), "1", 0, 0)
    assert not house.runtime.state.lines


async def test_a_rule_that_denies_everything_from_now_on_ends_the_wait(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 1})
    await house.welcomed(kind="tv")
    wire = await waiting(house, kind="tv")
    reloaded(house, {"kind": "tv", "most": 0})
    short(await wire.hear(), "1", 1, 0)
    await wire.gone()


async def test_a_raised_most_and_a_rule_that_is_gone_serve_its_line(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 1})
    await house.welcomed(kind="tv")
    one, two = await waiting(house, kind="tv"), await waiting(house, kind="tv")
    reloaded(house, {"kind": "tv", "most": 2})
    said(await one.hear(), "welcome")
    reloaded(house)
    while (told := await two.hear())["type"] == "queued":
        pass
    said(told, "welcome")


async def test_a_seat_that_is_kept_goes_past_who_waits_for_others(serve: Serve) -> None:
    house = await floating(serve, {"group": "team", "reserve": 2}, limit=3)
    await group(house, "team", "ann", "bob", "cid")
    await house.welcomed()
    stranger = await waiting(house)
    ann = await house.welcomed(account="ann")
    await house.welcomed(account="bob")
    cid = await waiting(house, account="cid")
    await ann.say("bye")
    said(await cid.hear(), "welcome")
    await silent(stranger)
    full(await refused(house), "seats", 3, 3, "hello")


async def test_of_seats_that_are_kept_for_nobody_the_first_in_line_has_the_next(serve: Serve) -> None:
    house = await floating(serve, {"group": "team", "reserve": 1}, limit=2)
    await group(house, "team", "ann", "bob")
    one, _ = await house.welcomed(), await house.welcomed(account="ann")
    stranger, bob = await waiting(house), await waiting(house, account="bob")
    await one.say("bye")
    said(await stranger.hear(), "welcome")
    await silent(bob)


async def test_who_has_room_by_its_rule_and_none_in_the_pool_waits_for_the_pool(serve: Serve) -> None:
    house = await floating(serve, {"kind": "tv", "most": 1}, limit=2)
    tv, app = await house.welcomed(kind="tv"), await house.welcomed()
    second = await waiting(house, kind="tv")
    third = await waiting(house)
    reloaded(house, {"kind": "tv", "most": 2})
    items = (await house.http("GET", "/api/queue"))[1]["items"]
    assert [(each["rule"], each["position"]) for each in items] == [(None, 1), (None, 2)]
    await app.say("bye")
    while (told := await second.hear())["type"] == "queued":
        pass
    said(told, "welcome")
    await tv.say("bye")
    while (told := await third.hear())["type"] == "queued":
        pass
    said(told, "welcome")


async def test_each_account_has_a_line_of_its_own(serve: Serve) -> None:
    house = await floating(serve, {"each": "account", "most": 1})
    await house.welcomed(account="ann", device="1")
    bob = await house.welcomed(account="bob", device="1")
    ann2, bob2 = await house.connect(), await house.connect()
    said(await ann2.hello(wait=60, account="ann", device="2"), "queued", rule="1", position=1, used=1)
    said(await bob2.hello(wait=60, account="bob", device="2"), "queued", rule="1", position=1, used=1)
    await house.welcomed(account="cid")
    await bob.say("bye")
    said(await bob2.hear(), "welcome")
    await silent(ann2)


async def test_who_comes_into_a_group_while_waiting_waits_as_its_member(serve: Serve) -> None:
    house = await floating(serve, {"group": "team", "reserve": 1}, limit=1)
    wire = await waiting(house, account="ann")
    await group(house, "team", "ann")
    said(await wire.hear(), "welcome")


async def test_a_wait_for_a_rule_that_is_over_is_denied_with_it(serve: Serve) -> None:
    ahead = [0.0]
    clock = Clock(lambda: time.monotonic() + ahead[0], lambda: time.time() + ahead[0])
    house = await floating(serve, {"kind": "tv", "most": 1}, clock=clock)
    await house.welcomed(kind="tv")
    wire = await house.connect()
    said(await wire.hello(wait=5, kind="tv"), "queued")
    ahead[0] = 5.5
    house.runtime._every_second()
    short(said(await wire.hear(), "denied", waited_seconds=5), "1", 1, 1)


# -- what people see ---------------------------------------------------------------------------------------------------


async def test_the_metrics_have_a_series_for_each_rule(serve: Serve) -> None:
    house = await floating(
        serve, {"kind": "tv", "most": 2, "reserve": 1, "name": "wall"}, {"kind": "sip", "reserve": 1}
    )
    await house.welcomed(kind="tv")
    _, text = await house.http("GET", "/metrics")
    at = 'model="floating",pool="seats"'
    assert f'tallygate_license_rule_used{{{at},rule="wall"}} 1.0' in text
    assert f'tallygate_license_rule_limit{{{at},rule="wall"}} 2.0' in text
    assert f'tallygate_license_rule_kept{{{at},rule="2"}} 1.0' in text
    assert f'tallygate_license_rule_limit{{{at},rule="2"}}' not in text


async def test_a_lease_counts_on_under_its_rules_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    text = rules_text({"pool": "pro", "group": "team", "most": 1}, {"pool": "pro", "kind": "app", "most": 1})
    given = {"license__model": "trueconf", "license__rule": text, "store__path": str(tmp_path / "s.db")}
    house = await serve(**given)
    await group(house, "team", "ann")
    ann = await house.welcomed(account="ann")
    said(await ann.ask("join", conference="c"), "joined")
    assert [each["used"] for each in (await rules_of(house, "pro")).values()] == [1, 1]
    await house.end()
    house = await serve(**given)
    assert [each["used"] for each in (await rules_of(house, "pro")).values()] == [1, 1]
    await group(house, "team")
    assert [each["used"] for each in (await rules_of(house, "pro")).values()] == [0, 1]


# -- a configuration that is at fault ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([{"pool": "seets", "most": 1}], 'item 1: there is no pool "seets", only seats (did you mean "seats"?)'),
        ([{"most": 1}], "item 1: pool is missing, only seats"),
        ([{"pool": "seats"}], "item 1: says neither reserve nor most"),
        ([{"pool": "seats", "reserve": 1}], "item 1: reserve keeps seats for nobody: group, account, network or kind"),
        ([{"pool": "seats", "kind": "tv", "reserve": 1, "each": "device"}], "item 1: each is of most, which"),
        ([{"pool": "seats", "kind": "tv", "reserve": 2, "most": 1}], "item 1: reserve keeps 2 seats for them"),
        ([{"pool": "seats", "most": 1, "name": "2"}, {"pool": "seats", "most": 1}], '"2" is the name of item 1'),
        ([{"pool": "seats", "kind": "tv", "reserve": 2}, {"pool": "seats", "kind": "sip", "reserve": 3}],
         "item 2: 5 seats of seats are kept up to here, of 4"),
        ([{"pool": "seats", "mosst": 1}], 'item 1: mosst: unknown key (did you mean "most"?)'),
        ([{"pool": "seats", "most": -1}], "item 1: most: must be at least 0, is -1"),
        ([{"pool": "seats", "most": 1, "kind": "console"}], "item 1: kind: expected one of"),
        ([{"pool": "seats", "most": 1, "network": "10.0.0.1/8"}], '(did you mean "10.0.0.0/8"?)'),
        ([{"pool": "seats", "most": 1, "network": "ten"}], "item 1: network: expected a network"),
        ([{"pool": "seats", "most": 1, "account": "a/b/c"}], "item 1: account: expected an account"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_with_its_place_and_what_there_is(rules: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings_of(license__model="floating", license__floating__limit=4, license__rule=rules_text(*rules))
    assert str(refusal.value).startswith("license.rule: item ")
    assert why in str(refusal.value)


def test_reserved_keys_and_rules_together_are_no_more_than_the_pool() -> None:
    given = {"license__model": "floating", "license__floating__limit": 3, "license__floating__key": "account"}
    rule = rules_text({"pool": "seats", "kind": "tv", "reserve": 2})
    settings_of(**given, license__floating__reserve='["ann"]', license__rule=rule)
    with pytest.raises(ConfigError, match="item 1: 2 seats of seats are kept up to here beside 2 reserved keys, of 3"):
        settings_of(**given, license__floating__reserve='["ann", "bob"]', license__rule=rule)


def test_rules_are_tables_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    text = (
        '[license]\nmodel = "floating"\n[[license.rule]]\npool = "seats"\nmost = 3\n[[license.rule]]\npool = "seats"\n'
    )
    path.write_text(text + 'kind = "tv"\nmost = 2\nname = "wall"\n')
    first, second = load(path, FREE_PORTS).license.rule
    assert (first.most, second.kind, second.name) == (3, "tv", "wall")
    path.write_text('[license]\nmodel = "floating"\n[license.rule]\npool = "seats"\nmost = 3\n')
    with pytest.raises(ConfigError, match=r"license\.rule: is a list of tables"):
        load(path, FREE_PORTS)


def test_a_reserve_of_the_participants_of_each_conference_is_a_fault() -> None:
    rule = rules_text({"pool": "participants", "kind": "tv", "reserve": 1})
    with pytest.raises(ConfigError, match="item 1: the limit of participants is that of each conference"):
        settings_of(license__model="nefsis-named", license__rule=rule)


async def test_waiting_does_not_mean_denied_by_another_rule(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__rule=rules_text({"pool": "guest", "most": 0}))
    guest = await house.welcomed()
    denied(await guest.ask("join", conference="nowhere", wait=60), "no_such_conference")
