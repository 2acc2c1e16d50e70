"""TrueConf PRO: permanent licenses, and what a redistribution does to whom."""

from __future__ import annotations

from typing import Any

from tests.conftest import House, Serve, redistribute
from tests.rules.said import DAY, Forward, Hands, denied, full, pools, said, silent
from tests.wire_client import Wire

HOUR = 3600.0


async def serving(serve: Serve, hands: Hands | Forward | None = None, **terms: Any) -> House:
    """A gateway with a TrueConf license and room for many devices, redistributing when told."""
    given = {f"license__trueconf__{key}": value for key, value in {"online": 20, **terms}.items()}
    return await serve(clock=hands.clock if hands else None, license__model="trueconf", **given)


async def users(house: House, *names: str) -> list[Wire]:
    """One connection for each account."""
    return [await house.welcomed(account=name, device="pc") for name in names]


async def group(house: House, name: str, *accounts: str, permanent: bool = True) -> None:
    """Configure a group."""
    body = {"accounts": list(accounts), "permanent": permanent}
    assert (await house.http("PUT", f"/api/groups/{name}", json=body))[0] == 200


async def holders(house: House) -> dict[str, str]:
    """Who holds PRO, and how."""
    _, listed = await house.http("GET", "/api/pro")
    return {each["account"]: each["kind"] for each in listed["items"]}


async def test_a_group_waits_for_the_next_redistribution_which_comes_by_itself(serve: Serve) -> None:
    time = Forward()
    house = await serving(serve, time, redistribute_every="1h")
    (ann,) = await users(house, "ann")
    await group(house, "vip", "Ann", "bob")
    time.pass_(house, HOUR)
    said(await ann.hear(), "status", seats=["online", "pro"], pro_expires=None)
    seen = await pools(house, online=1, pro=2)
    assert seen["pro"]["reserved"] == 2
    assert await holders(house) == {"ann": "permanent", "bob": "permanent"}
    await group(house, "vip", "bob")
    time.pass_(house, HOUR)
    status = said(await ann.hear(), "status", seats=["online", "pro"])
    assert status["pro_expires"] is not None
    assert await holders(house) == {"ann": "temporary", "bob": "permanent"}


async def test_until_the_redistribution_a_new_member_follows_the_temporary_rules(serve: Serve) -> None:
    house = await serving(serve, pro=1)
    ann, bob = await users(house, "ann", "bob")
    said(await bob.ask("join", conference="m"), "joined")
    await group(house, "vip", "ann")
    full(await ann.ask("join", conference="m"), "pro", 1, 1)
    assert await holders(house) == {"bob": "temporary"}
    redistribute(house)
    removed = said(await bob.hear(), "removed", conference="m", reason="license_withdrawn", seats=["online"])
    assert removed["pro_expires"] is None
    assert "instant_conference" not in removed["rights"]
    said(await ann.hear(), "status", seats=["online", "pro"], pro_expires=None)
    said(await ann.ask("join", conference="m"), "joined", pro_expires=None)
    said(await ann.ask("leave", conference="m"), "left", pro_expires=None)
    full(await bob.ask("join", conference="m"), "pro", 1, 1)
    for wire in (ann, bob):
        await silent(wire)


async def test_temporaries_lose_theirs_shortest_remaining_time_first_and_idle_ones_before_who_confers(
    serve: Serve,
) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=4, allow_pro_requests="true")
    first, second, third, busy = await users(house, "first", "second", "third", "busy")
    said(await busy.ask("join", conference="m"), "joined")
    for wire in (first, second, third):
        hands.forward(house, 60)
        said(await wire.ask("request_pro"), "granted")
    hands.forward(house, 60)
    said(await first.ask("request_pro"), "granted")
    await group(house, "vip", "boss", "chief")
    redistribute(house)
    assert await holders(house) == {
        "boss": "permanent",
        "busy": "temporary",
        "chief": "permanent",
        "first": "temporary",
    }
    for wire in (second, third):
        said(await wire.hear(), "status", seats=["online"], pro_expires=None)
    for wire in (first, busy):
        await silent(wire)


async def test_of_equal_remaining_time_the_later_grant_loses_first(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=2)
    ann, bob = await users(house, "ann", "bob")
    said(await bob.ask("join", conference="m"), "joined")
    hands.forward(house, 60)
    said(await ann.ask("join", conference="m"), "joined")
    await group(house, "vip", "boss")
    redistribute(house)
    said(await ann.hear(), "removed", reason="license_withdrawn")
    assert await holders(house) == {"boss": "permanent", "bob": "temporary"}
    await silent(bob)


async def test_who_left_the_permanent_set_gets_a_lease_of_a_day_if_one_is_free(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=2)
    await group(house, "vip", "ann", "bob")
    redistribute(house)
    ann, bob, cat = await users(house, "ann", "bob", "cat")
    said(await ann.ask("join", conference="m"), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    full(await cat.ask("join", conference="m"), "pro", 2, 2)
    await group(house, "vip", "cat")
    redistribute(house)
    held = await holders(house)
    assert held.pop("cat") == "permanent"
    assert list(held.values()) == ["temporary"]
    lost = bob if "ann" in held else ann
    said(await lost.hear(), "removed", conference="m", reason="license_withdrawn", seats=["online"])
    assert (await house.http("DELETE", f"/api/pro/{next(iter(held))}"))[0] == 204
    await group(house, "vip")
    redistribute(house)
    assert await holders(house) == {"cat": "temporary"}
    hands.forward(house, DAY + 1)
    assert await holders(house) == {}


async def test_more_permanents_than_the_pool_holds_are_served_by_group_then_name(serve: Serve) -> None:
    house = await serving(serve, pro=3)
    await group(house, "b", "ann", "dan")
    await group(house, "a", "zoe", "cat")
    redistribute(house)
    assert await holders(house) == {"ann": "permanent", "cat": "permanent", "zoe": "permanent"}
    (dan,) = await users(house, "dan")
    full(await dan.ask("join", conference="m"), "pro", 3, 3)


async def test_a_temporary_holder_who_becomes_permanent_counts_once(serve: Serve) -> None:
    house = await serving(serve, pro=1)
    ann, bob = await users(house, "ann", "bob")
    said(await ann.ask("join", conference="m"), "joined")
    await group(house, "vip", "ann")
    redistribute(house)
    await pools(house, pro=1)
    said(await ann.ask("leave", conference="m"), "left", pro_expires=None)
    assert await holders(house) == {"ann": "permanent"}
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 409
    full(await bob.ask("join", conference="m"), "pro", 1, 1)


async def test_a_request_by_a_permanent_holder_is_granted_without_an_end(serve: Serve) -> None:
    house = await serving(serve, pro=1, allow_pro_requests="true")
    await group(house, "vip", "ann")
    redistribute(house)
    (ann,) = await users(house, "ann")
    said(await ann.ask("request_pro"), "granted", pool="pro", expires=None)


async def test_a_deleted_permanent_holder_keeps_its_place_for_a_day(serve: Serve) -> None:
    hands = Hands()
    house = await serving(serve, hands, pro=1)
    await group(house, "vip", "boss")
    redistribute(house)
    (ann,) = await users(house, "ann")
    assert (await house.http("DELETE", "/api/accounts/boss"))[0] == 204
    redistribute(house)
    full(await ann.ask("join", conference="m"), "pro", 1, 1)
    assert (await house.http("DELETE", "/api/pro/boss"))[0] == 409
    denied(await (await house.connect()).hello(account="boss"), "account_unknown", "hello")
    hands.forward(house, DAY + 1)
    said(await ann.ask("join", conference="m"), "joined")


async def test_nobody_else_is_removed_from_a_conference(serve: Serve) -> None:
    house = await serving(serve, pro=2, guest=1, gateway=1)
    ann, bob = await users(house, "ann", "bob")
    guest, sip = await house.welcomed(), await house.welcomed(kind="sip")
    said(await ann.ask("join", conference="m", access="public"), "joined")
    for wire in (bob, guest, sip):
        said(await wire.ask("join", conference="m"), "joined")
    await group(house, "vip", "boss", "bob")
    redistribute(house)
    said(await ann.hear(), "removed", reason="license_withdrawn")
    for wire in (bob, guest, sip):
        await silent(wire)
    await pools(house, online=2, pro=2, guest=1, gateway=1)


async def test_overdrawn_or_lowered_limits_take_nothing_from_anybody_who_is_in_nobodys_way(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1, license__overdraft=1)
    ann, bob = await users(house, "ann", "bob")
    for wire in (ann, bob):
        said(await wire.ask("join", conference="m"), "joined")
    redistribute(house)
    for wire in (ann, bob):
        await silent(wire)
    lower = await serve(license__model="trueconf", license__trueconf__pro=1)
    house.runtime.apply_settings(lower.runtime.settings)
    redistribute(house)
    for wire in (ann, bob):
        await silent(wire)
    await pools(house, pro=2)


async def test_in_shadow_a_redistribution_evicts_nobody(serve: Serve) -> None:
    house = await serve(license__model="epop", license__trueconf__pro=1)
    ann, bob = await users(house, "ann", "bob")
    for wire in (ann, bob):
        said(await wire.ask("join", conference="m"), "joined")
    await group(house, "vip", "boss", "chief")
    redistribute(house)
    for wire in (ann, bob):
        await silent(wire)
    await pools(house, "trueconf", pro=4)
