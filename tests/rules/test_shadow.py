"""One model decides, the others watch; overdraft, and a model that only counts."""

from __future__ import annotations

from typing import Any

from tests.conftest import House, Serve
from tests.rules.said import denied, full, pools, said, silent
from tests.wire_client import Wire

NAMED = "nefsis-named"


async def users(house: House, *names: str) -> list[Wire]:
    """One connection for each account."""
    return [await house.welcomed(account=name, device="pc") for name in names]


async def denials(house: House, model: str) -> dict[str, int]:
    """What a model has refused, or would have: by pool, where there was something."""
    seen = await pools(house, model)
    return {pool: view["denied"] for pool, view in seen.items() if view["denied"]}


async def test_a_shadow_counts_above_its_limit_and_records_what_it_would_have_refused(serve: Serve) -> None:
    house = await serve(license__model="epop", license__trueconf__pro=1, license__trueconf__online=1)
    ann, bob = await users(house, "ann", "bob")
    assert await denials(house, "trueconf") == {"online": 1}
    for wire in (ann, bob):
        said(await wire.ask("join", conference="m"), "joined", seats=["concurrent"])
    assert await denials(house, "trueconf") == {"online": 1, "pro": 1}
    await pools(house, "trueconf", online=2, pro=2)
    await pools(house, "nefsis-concurrent", concurrent=2)
    await pools(house, "floating", seats=2)
    said(await bob.ask("leave", conference="m"), "left", seats=[])
    await pools(house, "trueconf", online=2, pro=2)
    await pools(house, "nefsis-concurrent", concurrent=1)
    said(await bob.ask("join", conference="m"), "joined")
    assert await denials(house, "trueconf") == {"online": 1, "pro": 1}
    for wire in (ann, bob):
        await silent(wire)


async def test_a_shadow_sees_admitted_traffic_only(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=0)
    (ann,) = await users(house, "ann")
    full(await ann.ask("join", conference="m"), "concurrent", 0, 0)
    await pools(house, "trueconf", online=1, pro=0)
    await pools(house, "nefsis-concurrent", concurrent=0)
    await pools(house, NAMED, hosts=0, participants=0)
    assert await denials(house, "epop") == {"concurrent": 1}


async def test_where_nobody_said_to_be_host_a_shadow_takes_the_first_with_an_account_for_it(serve: Serve) -> None:
    house = await serve(license__model="epop")
    guest = await house.welcomed()
    ann, bob = await users(house, "ann", "bob")
    said(await guest.ask("join", conference="m"), "joined")
    await pools(house, NAMED, hosts=0, participants=1)
    assert await denials(house, NAMED) == {"hosts": 1}
    said(await ann.ask("join", conference="m"), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    await pools(house, NAMED, hosts=1, participants=3)
    assert await denials(house, NAMED) == {"hosts": 1}
    said(await ann.ask("join", conference="n"), "joined")
    assert await denials(house, NAMED) == {"hosts": 2}
    await pools(house, NAMED, hosts=1, participants=4)


async def test_a_declared_host_is_the_host_of_the_shadow_too(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann, bob = await users(house, "ann", "bob")
    said(await ann.ask("join", conference="m", scheduled=True), "waiting")
    said(await bob.ask("join", conference="m", host=True), "waiting")
    await pools(house, NAMED, hosts=0, participants=0)
    said(await bob.ask("start", conference="m"), "started")
    said(await ann.hear(), "joined")
    said(await bob.hear(), "joined")
    await pools(house, NAMED, hosts=1, participants=2)
    _, hosts = await house.http("GET", "/api/hosts")
    assert [each["account"] for each in hosts["items"]] == ["bob"]
    assert await denials(house, NAMED) == {}


async def test_full_conferences_of_a_shadow_are_recorded_and_filled(serve: Serve) -> None:
    house = await serve(license__model="epop", **{"license__nefsis-named__participants": 1})
    ann, bob = await users(house, "ann", "bob")
    for wire in (ann, bob):
        said(await wire.ask("join", conference="m"), "joined")
    await pools(house, NAMED, participants=2)
    assert await denials(house, NAMED) == {"participants": 1}


async def test_what_the_shadow_forbids_is_recorded_once_and_counted_by_its_facts(serve: Serve) -> None:
    house = await serve(license__model="epop", license__trueconf__guest=5)
    guest = await house.welcomed()
    said(await guest.ask("join", conference="own", access="public"), "joined")
    await pools(house, "trueconf", guest=1)
    assert await denials(house, "trueconf") == {"guest": 1}
    sdk = await house.welcomed(kind="sdk", account="ann", device="pc")
    assert await denials(house, "trueconf") == {"guest": 1, "online": 1}
    said(await sdk.ask("join", conference="own"), "joined")
    await pools(house, "trueconf", guest=1, online=1, pro=1)
    assert await denials(house, "trueconf") == {"guest": 1, "online": 1}


async def test_who_waited_is_not_recorded_again_at_the_start(serve: Serve) -> None:
    house = await serve(license__model="epop")
    (ann,) = await users(house, "ann")
    guest = await house.welcomed()
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await guest.ask("join", conference="m"), "waiting")
    assert await denials(house, "trueconf") == {"guest": 1}
    said(await ann.ask("start", conference="m"), "started")
    said(await guest.hear(), "joined")
    assert await denials(house, "trueconf") == {"guest": 1}
    await pools(house, "trueconf", pro=1, guest=0)


async def test_a_guest_of_its_own_scheduled_conference_is_seated_once_it_is_live(serve: Serve) -> None:
    house = await serve(license__model="epop")
    guest = await house.welcomed()
    said(await guest.ask("join", conference="own", access="public", scheduled=True, host=True), "waiting")
    await pools(house, "trueconf", guest=0)
    assert await denials(house, "trueconf") == {"guest": 1}
    said(await guest.ask("start", conference="own"), "started")
    said(await guest.hear(), "joined")
    await pools(house, "trueconf", guest=1)
    await pools(house, NAMED, hosts=0, participants=1)
    assert await denials(house, "trueconf") == {"guest": 1}
    assert await denials(house, NAMED) == {"hosts": 1}


async def test_waking_in_a_full_shadow_is_recorded(serve: Serve) -> None:
    house = await serve(license__model="floating", license__trueconf__online=1)
    (ann,) = await users(house, "ann")
    said(await ann.ask("sleep"), "asleep")
    await users(house, "bob")
    assert await denials(house, "trueconf") == {}
    said(await ann.ask("wake"), "awake")
    assert await denials(house, "trueconf") == {"online": 1}
    await pools(house, "trueconf", online=2)


async def test_shadows_may_be_chosen(serve: Serve) -> None:
    house = await serve(license__model="epop", license__shadow='["trueconf"]')
    _, license = await house.http("GET", "/api/license")
    assert list(license["models"]) == ["epop", "trueconf"]


async def test_overdraft_admits_that_many_more_and_reports_them_apart(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1, license__overdraft=1)
    first, second, third = [await house.welcomed() for _ in range(3)]
    for wire in (first, second):
        said(await wire.ask("join", conference="m"), "joined")
    full(await third.ask("join", conference="m"), "concurrent", 2, 1)
    seen = await pools(house, concurrent=2)
    pool = seen["concurrent"]
    assert (pool["limit"], pool["available"], pool["overdraft_used"]) == (1, 0, 1)
    assert await denials(house, "epop") == {"concurrent": 1}


async def unenforced(serve: Serve, model: str, **terms: Any) -> House:
    """A gateway whose model only counts."""
    return await serve(license__model=model, license__enforce="false", **terms)


async def test_without_enforcement_everybody_is_admitted_and_refusals_are_counted(serve: Serve) -> None:
    house = await unenforced(serve, "epop", license__epop__users=1)
    wires = [await house.welcomed() for _ in range(3)]
    for wire in wires:
        said(await wire.ask("join", conference="m"), "joined", seats=["concurrent"])
    seen = await pools(house, concurrent=3)
    assert (seen["concurrent"]["limit"], seen["concurrent"]["available"]) == (1, 0)
    assert await denials(house, "epop") == {"concurrent": 2}
    _, license = await house.http("GET", "/api/license")
    assert license["enforce"] is False


async def test_without_enforcement_trueconf_signs_in_wakes_joins_and_grants_above_its_limits(serve: Serve) -> None:
    house = await unenforced(
        serve,
        "trueconf",
        license__trueconf__pro=0,
        license__trueconf__online=1,
        license__trueconf__max_conferences=1,
        license__trueconf__allow_pro_requests="true",
    )
    ann, bob = await users(house, "ann", "bob")
    phone = await house.welcomed(account="ann", device="phone")
    assert await denials(house, "trueconf") == {"online": 2}
    said(await bob.ask("sleep"), "asleep")
    said(await bob.ask("wake"), "awake")
    assert await denials(house, "trueconf") == {"online": 3}
    said(await ann.ask("join", conference="m"), "joined", seats=["online", "pro"])
    said(await phone.hear(), "status", seats=["online", "pro"])
    assert await denials(house, "trueconf") == {"online": 3, "pro": 1}
    said(await bob.ask("request_pro"), "granted")
    assert await denials(house, "trueconf") == {"online": 3, "pro": 2}
    said(await bob.ask("join", conference="n"), "joined")
    assert await denials(house, "trueconf") == {"online": 3, "pro": 3}
    guest = await house.welcomed()
    said(await guest.ask("join", conference="m"), "joined", seats=[])
    await pools(house, online=3, pro=2, guest=0)


async def test_without_enforcement_the_gateways_own_rules_still_hold(serve: Serve) -> None:
    house = await unenforced(serve, "epop")
    wires = [await house.welcomed() for _ in range(3)]
    said(await wires[0].ask("join", conference="c", mode="call"), "joined")
    said(await wires[1].ask("join", conference="c"), "joined")
    denied(await wires[2].ask("join", conference="c"), "conference_full", conference="c")
    visitor = await house.welcomed(kind="console")
    denied(await visitor.ask("join", conference="m"), "not_allowed")


async def test_without_enforcement_a_start_is_never_refused(serve: Serve) -> None:
    house = await unenforced(serve, NAMED, **{"license__nefsis-named__hosts": 0})
    (ann,) = await users(house, "ann")
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await ann.ask("start", conference="m"), "started")
    said(await ann.hear(), "joined", seats=["hosts", "participants"])
    assert await denials(house, NAMED) == {"hosts": 1}
