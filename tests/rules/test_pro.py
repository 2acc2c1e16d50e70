"""TrueConf PRO: temporary leases, requests, revocation, deleted accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import House, Serve
from tests.rules.said import DAY, Hands, conferences, denied, full, pools, said, silent
from tests.wire_client import Message, Wire


async def serving(serve: Serve, hands: Hands | None = None, **terms: Any) -> House:
    """A gateway with a TrueConf license and room for many devices."""
    given = {f"license__trueconf__{key}": value for key, value in {"online": 20, **terms}.items()}
    return await serve(clock=hands.clock if hands else None, license__model="trueconf", **given)


async def users(house: House, *names: str, device: str = "pc") -> list[Wire]:
    """One connection for each account."""
    return [await house.welcomed(account=name, device=device) for name in names]


async def meet(wire: Wire, conference: str = "m") -> None:
    """Join and leave a group conference: what is left is a temporary lease."""
    said(await wire.ask("join", conference=conference), "joined", pro_expires=None)
    said(await wire.ask("leave", conference=conference), "left", seats=["online", "pro"])


def hours(message: Message, field: str = "pro_expires", *, ahead: float = 0.0) -> float:
    """Hours from now (put forward by `ahead` seconds) until the instant in a message."""
    until = datetime.strptime(message[field], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return round((until.timestamp() - ahead - datetime.now(UTC).timestamp()) / 3600, 2)


async def test_a_lease_runs_24_hours_from_the_last_leave_of_all_devices_and_conferences(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands)
    pc = await house.welcomed(account="ann", device="pc")
    phone = await house.welcomed(account="ann", device="phone")
    said(await pc.ask("join", conference="a"), "joined")
    said(await phone.hear(), "status", seats=["online", "pro"], pro_expires=None)
    said(await phone.ask("join", conference="b"), "joined")
    said(await pc.ask("join", conference="b"), "joined")
    hands.forward(house, 2 * DAY)
    await pools(house, online=2, pro=1)
    said(await pc.ask("leave", conference="a"), "left", pro_expires=None)
    said(await pc.ask("leave", conference="b"), "left", pro_expires=None)
    left = said(await phone.ask("leave", conference="b"), "left")
    assert hours(left, ahead=hands.ahead) == 24
    hands.forward(house, DAY - 60)
    await pools(house, pro=1)
    said(await pc.ask("join", conference="a"), "joined", pro_expires=None)
    said(await pc.ask("leave", conference="a"), "left")
    hands.forward(house, DAY - 60)
    await pools(house, pro=1)
    hands.forward(house, 120)
    await pools(house, online=2, pro=0)
    for wire in (pc, phone):
        status = said(await wire.hear(), "status", seats=["online"], pro_expires=None)
        assert set(status) == {"type", "seats", "rights", "pro_expires"}
        assert "join_internal_conference" not in status["rights"]


async def test_a_grant_is_told_to_the_other_devices_only(serve: Serve) -> None:
    house = await serving(serve)
    pc = await house.welcomed(account="ann", device="pc")
    phone = await house.welcomed(account="ann", device="phone")
    (bob,) = await users(house, "bob")
    said(await pc.ask("join", conference="m"), "joined")
    status = said(await phone.hear(), "status", seats=["online", "pro"])
    assert "instant_conference" in status["rights"]
    for wire in (pc, phone, bob):
        await silent(wire)


async def test_a_lease_outlives_the_session_and_welcomes_its_holder(serve: Serve) -> None:
    house = await serving(serve, pro=1)
    (ann,) = await users(house, "ann")
    said(await ann.ask("join", conference="m"), "joined")
    await ann.close()
    (bob,) = await users(house, "bob")
    refused = full(await bob.ask("join", conference="m"), "pro", 1, 1)
    assert 23 * 3600 < refused["retry_after_seconds"] <= DAY
    again = await house.connect()
    welcome = said(await again.hello(account="ann", device="pc"), "welcome", seats=["online", "pro"])
    assert hours(welcome) == 24
    said(await again.ask("join", conference="m"), "joined", pro_expires=None)
    refused = full(await bob.ask("join", conference="m"), "pro", 1, 1)
    assert "retry_after_seconds" not in refused


async def test_the_soonest_lease_to_end_says_when_to_ask_again_at_a_start_too(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=2)
    ann, bob, cat = await users(house, "ann", "bob", "cat")
    await meet(ann)
    hands.forward(house, 3600)
    await meet(bob)
    said(await ann.ask("join", conference="m"), "joined")
    said(await cat.ask("join", conference="n", scheduled=True, host=True), "waiting")
    refused = full(await cat.ask("start", conference="n"), "pro", 2, 2, "start")
    assert 23 * 3600 + 1800 < refused["retry_after_seconds"] <= DAY


async def test_who_cannot_take_part_is_not_told_that_it_has_started_anything(serve: Serve) -> None:
    house = await serving(serve, Hands(), pro=1)
    ann, bob, cat = await users(house, "ann", "bob", "cat")
    said(await bob.ask("join", conference="n", scheduled=True, host=True), "waiting")
    said(await cat.ask("join", conference="n"), "waiting")
    said(await ann.ask("join", conference="m"), "joined")
    full(await bob.ask("start", conference="n"), "pro", 1, 1, "start")
    _, conferences = await house.http("GET", "/api/conferences")
    assert [(each["id"], each["state"], each["members"]) for each in conferences["items"]] == [
        ("m", "live", 1),
        ("n", "scheduled", 2),
    ]
    said(await bob.ask("leave", conference="n"), "left")
    said(await ann.ask("join", conference="n", host=True), "waiting")
    said(await ann.ask("start", conference="n"), "started")
    full(await cat.hear(), "pro", 1, 1)


async def test_pro_may_be_requested_without_a_conference_where_the_operator_allows_it(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=1, allow_pro_requests="true")
    pc = await house.welcomed(account="ann", device="pc")
    phone = await house.welcomed(account="ann", device="phone")
    said(await pc.ask("sleep"), "asleep", seats=[])
    granted = said(await pc.ask("request_pro", id=1), "granted", pool="pro")
    assert set(granted) == {"type", "id", "pool", "expires"}
    assert hours(granted, "expires") == 24
    said(await phone.hear(), "status", seats=["online", "pro"], pro_expires=granted["expires"])
    hands.forward(house, 12 * 3600)
    assert hours(await pc.ask("request_pro"), "expires", ahead=hands.ahead) == 24
    (bob,) = await users(house, "bob")
    refused = full(await bob.ask("request_pro"), "pro", 1, 1, "request_pro")
    assert refused["retry_after_seconds"] > 0
    for kind in ({"kind": "sip", "account": "cat"}, {}, {"kind": "console", "account": "dan"}):
        denied(await (await house.welcomed(**kind)).ask("request_pro"), "not_allowed", "request_pro")
    hands.forward(house, DAY + 1)
    said(await bob.ask("request_pro"), "granted")


async def test_pro_is_not_given_on_request_by_default(serve: Serve) -> None:
    house = await serving(serve)
    (ann,) = await users(house, "ann")
    denied(await ann.ask("request_pro"), "not_allowed", "request_pro")


async def test_a_revoked_holder_is_removed_from_its_group_conferences_and_told_what_is_left(serve: Serve) -> None:
    house = await serving(serve, pro=2)
    pc = await house.welcomed(account="ann", device="pc")
    phone = await house.welcomed(account="ann", device="phone")
    (bob,) = await users(house, "bob")
    for conference in ("a", "b"):
        said(await pc.ask("join", conference=conference), "joined")
    said(await phone.hear(), "status")
    said(await pc.ask("join", conference="call", mode="call"), "joined")
    said(await pc.ask("join", conference="later", scheduled=True), "waiting")
    said(await bob.ask("join", conference="a"), "joined")
    assert (await house.http("DELETE", "/api/pro/Ann"))[0] == 204
    for conference in ("a", "b"):
        removed = said(await pc.hear(), "removed", conference=conference, reason="license_withdrawn", seats=["online"])
        assert set(removed) == {"type", "conference", "reason", "seats", "rights", "pro_expires"}
        assert removed["pro_expires"] is None
        assert "instant_conference" not in removed["rights"]
    said(await phone.hear(), "status", seats=["online"], pro_expires=None)
    await pools(house, online=3, pro=1)
    for wire in (pc, phone, bob):
        await silent(wire)
    for conference in ("call", "later"):
        denied(await pc.ask("join", conference=conference), "already_member")
    said(await pc.ask("join", conference="a"), "joined", seats=["online", "pro"])


async def test_a_lease_that_is_not_in_use_is_revoked_with_a_status(serve: Serve) -> None:
    house = await serving(serve)
    (ann,) = await users(house, "ann")
    await meet(ann)
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
    said(await ann.hear(), "status", seats=["online"], pro_expires=None)
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 404
    assert (await house.http("DELETE", "/api/pro/nobody"))[0] == 404


async def test_in_shadow_nobody_is_removed_by_a_revocation(serve: Serve) -> None:
    house = await serve(license__model="epop")
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("join", conference="m"), "joined")
    for _ in range(2):
        assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
        await silent(ann)
        await pools(house, "trueconf", pro=1)
    said(await ann.ask("leave", conference="m"), "left")
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
    await pools(house, "trueconf", pro=0)


async def test_the_lease_of_a_deleted_account_ends_a_day_later_and_cannot_be_revoked(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=2)
    ann, bob, cat = await users(house, "ann", "bob", "cat")
    said(await ann.ask("join", conference="m"), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    assert (await house.http("DELETE", "/api/accounts/ANN"))[0] == 204
    said(await ann.hear(), "closing", reason="account_deleted", code=4503, reconnect=False)
    await pools(house, online=2, pro=2)
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 409
    _, listed = await house.http("GET", "/api/pro")
    assert [(each["account"], each["kind"], each["deleted"]) for each in listed["items"]] == [
        ("ann", "temporary", True),
        ("bob", "temporary", False),
    ]
    full(await cat.ask("join", conference="m"), "pro", 2, 2)
    denied(await (await house.connect()).hello(account="Ann", device="pc"), "account_unknown", "hello")
    hands.forward(house, DAY - 60)
    denied(await (await house.connect()).hello(account="ann", device="pc"), "account_unknown", "hello")
    hands.forward(house, 61)
    await pools(house, pro=1)
    said(await (await house.connect()).hello(account="ann", device="pc"), "welcome", seats=["online"])


async def test_a_deleted_account_without_a_lease_leaves_nothing_behind(serve: Serve) -> None:
    house = await serving(serve)
    await users(house, "ann")
    assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204
    await pools(house, online=0, pro=0)
    await users(house, "ann")


async def test_a_shadow_refuses_no_name(serve: Serve) -> None:
    house = await serve(license__model="epop")
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("join", conference="m"), "joined")
    assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204
    await pools(house, "trueconf", pro=1)
    await house.welcomed(account="ann", device="pc")


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_start_by_somebody_for_whom_no_license_is_free_starts_nothing(serve: Serve, transport: str) -> None:
    house = await serving(serve, pro=1)
    ann, bob, cid = [await house.welcomed(transport, account=name) for name in ("ann", "bob", "cid")]
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("join", conference="m", host=True, scheduled=True), "waiting")
    said(await cid.ask("join", conference="m"), "waiting")
    full(await bob.ask("start", conference="m"), "pro", 1, 1, "start")
    for wire in (bob, cid):
        await silent(wire)
    assert (await conferences(house))["m"]["state"] == "scheduled"


async def test_the_day_of_a_license_begins_when_its_holder_goes_to_sleep_in_a_conference(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=1)
    (ann,) = await users(house, "ann")
    assert said(await ann.ask("join", conference="m"), "joined")["pro_expires"] is None
    hands.forward(house, 3600)
    said(await ann.ask("sleep"), "asleep", seats=["pro"])
    (held,) = (await house.http("GET", "/api/pro"))[1]["items"]
    assert hours(held, "expires", ahead=hands.ahead) == 24
    hands.forward(house, DAY)
    await pools(house, pro=0)
