"""Nefsis, named users: N hosts, each with one live conference at a time of M connections."""

from __future__ import annotations

import pytest

from tests.conftest import House, Serve
from tests.rules.said import denied, full, pools, said, silent
from tests.wire_client import Wire


async def people(house: House, *names: str) -> list[Wire]:
    """One connection for each account."""
    return [await house.welcomed(account=name, device="pc") for name in names]


async def test_only_a_host_makes_a_conference_live(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named")
    ann, bob = await people(house, "ann", "bob")
    guest = await house.welcomed()
    denied(await ann.ask("join", conference="m"), "host_not_named", conference="m")
    denied(await guest.ask("join", conference="m", host=True), "host_not_named")
    await pools(house, hosts=0, participants=0)
    said(await bob.ask("join", conference="m", host=True), "joined", seats=["hosts", "participants"])
    said(await ann.ask("join", conference="m"), "joined", seats=["participants"])
    said(await guest.ask("join", conference="m"), "joined", seats=["participants"])
    await pools(house, hosts=1, participants=3)


async def test_a_name_stays_taken_until_the_operator_removes_it(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 1})
    ann, bob = await people(house, "ann", "bob")
    said(await ann.ask("join", conference="m", host=True), "joined")
    await ann.say("bye")
    await ann.gone()
    await pools(house, hosts=1, participants=0)
    full(await bob.ask("join", conference="m", host=True), "hosts", 1, 1)
    _, hosts = await house.http("GET", "/api/hosts")
    assert [each["account"] for each in hosts["items"]] == ["ann"]
    assert (await house.http("DELETE", "/api/hosts/Ann"))[0] == 204
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 404
    said(await bob.ask("join", conference="m", host=True), "joined")


async def test_where_hosts_are_listed_only_the_operator_names_them(serve: Serve) -> None:
    house = await serve(
        license__model="nefsis-named",
        **{"license__nefsis-named__naming": "listed", "license__nefsis-named__hosts": 1},
    )
    ann, bob = await people(house, "ann", "bob")
    denied(await ann.ask("join", conference="m", host=True), "host_not_named")
    assert (await house.http("PUT", "/api/hosts/Ann"))[0] == 200
    assert (await house.http("PUT", "/api/hosts/ann"))[0] == 200
    assert (await house.http("PUT", "/api/hosts/bob"))[0] == 409
    await pools(house, hosts=1)
    said(await ann.ask("join", conference="m", host=True), "joined")
    denied(await bob.ask("join", conference="m", host=True), "host_not_named")
    said(await bob.ask("join", conference="m"), "joined")


async def test_a_second_host_of_a_conference_needs_a_name_of_its_own(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 1})
    ann, bob = await people(house, "ann", "bob")
    guest = await house.welcomed()
    said(await ann.ask("join", conference="m", host=True), "joined")
    full(await bob.ask("join", conference="m", host=True), "hosts", 1, 1)
    denied(await guest.ask("join", conference="m", host=True), "host_not_named")
    phone = await house.welcomed(account="ann", device="phone")
    said(await phone.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="m"), "joined", seats=["participants"])


async def test_a_host_that_left_is_no_longer_busy_though_its_conference_goes_on(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named")
    ann, bob = await people(house, "ann", "bob")
    said(await ann.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    denied(await ann.ask("join", conference="n", host=True), "host_busy")
    denied(await ann.ask("join", conference="n"), "host_not_named")
    said(await ann.ask("join", conference="n", scheduled=True, host=True), "waiting")
    denied(await ann.ask("start", conference="n"), "host_busy", "start", conference="n")
    said(await ann.ask("leave", conference="m"), "left", seats=[])
    said(await ann.ask("start", conference="n"), "started")
    said(await ann.hear(), "joined", conference="n")
    await pools(house, hosts=1, participants=2)


async def test_the_conference_is_full_at_m_and_the_limit_of_the_pool_is_n_times_m(serve: Serve) -> None:
    house = await serve(
        license__model="nefsis-named",
        **{"license__nefsis-named__hosts": 2, "license__nefsis-named__participants": 2},
    )
    ann, bob, cat = await people(house, "ann", "bob", "cat")
    said(await ann.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    denied(await cat.ask("join", conference="m"), "conference_full", used=2, limit=2)
    seen = await pools(house, participants=2)
    assert seen["participants"]["limit"] == 4


async def test_where_the_host_is_no_participant_only_who_joined_as_host_is_outside_m(serve: Serve) -> None:
    house = await serve(
        license__model="nefsis-named",
        **{"license__nefsis-named__host_is_participant": "false", "license__nefsis-named__participants": 1},
    )
    ann, bob, cat = await people(house, "ann", "bob", "cat")
    said(await ann.ask("join", conference="m", host=True), "joined", seats=["hosts"])
    said(await bob.ask("join", conference="m"), "joined")
    phone = await house.welcomed(account="ann", device="phone")
    denied(await phone.ask("join", conference="m"), "conference_full", used=1, limit=1)
    said(await cat.ask("join", conference="m", host=True), "joined", seats=["hosts"])
    await pools(house, hosts=2, participants=1)
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 204
    await pools(house, hosts=1, participants=1)


async def test_removing_the_name_of_a_host_at_work_frees_it_and_leaves_everybody_where_they_are(
    serve: Serve,
) -> None:
    house = await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 1})
    ann, bob = await people(house, "ann", "bob")
    said(await ann.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="m"), "joined")
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 204
    await pools(house, hosts=0, participants=2)
    for wire in (ann, bob):
        await silent(wire)
    said(await bob.ask("join", conference="n", host=True), "joined")
    await pools(house, hosts=1, participants=3)
    said(await ann.ask("join", conference="later", scheduled=True), "waiting", seats=["participants"])
    await pools(house, hosts=1, participants=3)
    said(await ann.ask("leave", conference="m"), "left")
    await pools(house, hosts=1)


@pytest.mark.parametrize("model", ["nefsis-named", "epop"])
async def test_who_lost_its_name_still_starts_what_it_scheduled(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    (ann,) = await people(house, "ann")
    assert (await house.http("PUT", "/api/hosts/ann"))[0] == 200
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting")
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 204
    said(await ann.ask("start", conference="m"), "started")
    said(await ann.hear(), "joined")
    await pools(house, "nefsis-named", hosts=1)
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 204
    said(await ann.ask("start", conference="m"), "started")
    await pools(house, "nefsis-named", hosts=0)


async def test_at_the_start_the_starter_is_named_first_then_the_members_in_order_of_arrival(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 2})
    first, second, starter, plain = await people(house, "first", "second", "starter", "plain")
    for wire in (first, second, starter):
        said(await wire.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await plain.ask("join", conference="m"), "waiting")
    await pools(house, hosts=0)
    said(await starter.ask("start", conference="m"), "started", seats=["hosts", "participants"])
    said(await starter.hear(), "joined")
    said(await first.hear(), "joined", seats=["hosts", "participants"])
    refused = full(await second.hear(), "hosts", 2, 2)
    assert "id" not in refused
    said(await plain.hear(), "joined", seats=["participants"])
    await pools(house, hosts=2, participants=3)


async def test_a_start_for_which_there_is_no_name_leaves_everybody_waiting(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 0})
    ann, bob = await people(house, "ann", "bob")
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await bob.ask("join", conference="m"), "waiting")
    full(await ann.ask("start", conference="m"), "hosts", 0, 0, "start")
    denied(await ann.ask("join", conference="m"), "already_member")
    await silent(bob)


async def test_hosts_and_participants_total_the_limit_of_concurrent_use(serve: Serve) -> None:
    house = await serve(license__model="nefsis-concurrent", **{"license__nefsis-concurrent__users": 2})
    ann, bob, cat = await people(house, "ann", "bob", "cat")
    said(await ann.ask("join", conference="m", host=True), "joined")
    said(await bob.ask("join", conference="n"), "joined")
    full(await cat.ask("join", conference="m"), "concurrent", 2, 2)
