"""Nefsis: concurrent users, and named hosts with so many participants each."""

from __future__ import annotations

from typing import Any

from gateway.core.admission.commands import PutConference
from gateway.core.admission.conferences import Declaration
from gateway.core.counting.license_model import Refusal
from gateway.licensing.epop import Epop, epop
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed, nefsis_concurrent, nefsis_named
from tests.core_harness import DAY, CoreHarness


def harness(**terms: Any) -> CoreHarness:
    return CoreHarness(nefsis_named(NefsisNamed(**{"hosts": 2, "participants": 3, **terms})))


def shadow(**terms: Any) -> CoreHarness:
    return CoreHarness(epop(Epop(users=99)), nefsis_named(NefsisNamed(**{"hosts": 1, "participants": 2, **terms})))


# -- concurrent --------------------------------------------------------------------------------------------------------


def test_concurrent_hosts_and_participants_total_at_most_the_users() -> None:
    house = CoreHarness(nefsis_concurrent(NefsisConcurrent(users=25)))
    for place in range(25):
        house.joined(house.hello(), f"meeting-{place // 5}", host=place % 5 == 0)
    late = house.hello()
    assert house.join(late, "meeting-0")["reason"] == "pool_full"
    assert house.used("concurrent") == 25


# -- naming ------------------------------------------------------------------------------------------------------------


def test_an_account_is_named_when_it_first_hosts_and_keeps_the_name() -> None:
    house = harness()
    ann = house.hello("ann")
    assert house.used("hosts") == 0
    house.joined(ann, host=True)
    assert house.used("hosts") == 1
    house.end(ann)
    house.wait(100 * DAY)
    assert house.used("hosts") == 1


def test_a_named_host_hosts_again_without_another_name() -> None:
    house = harness(hosts=1)
    ann = house.hello("ann", "pc")
    house.joined(ann, "a", host=True)
    house.leave(ann, "a")
    house.joined(house.hello("ann", "phone"), "b", host=True)
    assert house.used("hosts") == 1


def test_when_all_names_are_taken_a_new_host_is_refused() -> None:
    house = harness()
    for name in ("ann", "bob"):
        house.joined(house.hello(name), name, host=True)
    answer = house.join(house.hello("cid"), "c", host=True)
    assert (answer["reason"], answer["pool"], answer["used"], answer["limit"]) == ("pool_full", "hosts", 2, 2)
    assert "c" not in house.state.conferences.by_id


def test_others_cannot_make_a_conference_live() -> None:
    house = harness()
    assert house.join(house.hello("ann"))["reason"] == "host_not_named"
    assert house.join(house.hello(), host=True)["reason"] == "host_not_named"
    assert not house.state.conferences.by_id
    house.joined(house.hello("bob"), host=True)
    house.joined(house.hello())


def test_listed_names_are_given_by_the_operator_only() -> None:
    house = harness(naming="listed")
    ann = house.hello("ann")
    assert house.join(ann, host=True)["reason"] == "host_not_named"
    assert house.name_host("ann").refused is None
    house.joined(ann, host=True)
    assert house.used("hosts") == 1


def test_naming_a_named_host_changes_nothing() -> None:
    house = harness(hosts=1)
    house.name_host("ann")
    first = house.ledger().pools["hosts"].leases["ann"]
    house.wait(10)
    assert house.name_host("ann").refused is None
    assert house.ledger().pools["hosts"].leases == {"ann": first}
    assert len(house.changes) == 1


def test_naming_above_the_limit_is_refused() -> None:
    house = harness(hosts=1)
    house.name_host("ann")
    assert house.name_host("bob").refused == Refusal("pool_full", "hosts", 1, 1)


def test_removing_a_name_while_its_owner_hosts_frees_the_name_and_the_members_stay() -> None:
    house = harness(hosts=1)
    ann, guest = house.hello("ann", "pc"), house.hello()
    house.joined(ann, "a", host=True)
    house.joined(guest, "a")
    house.unname("ann")
    assert house.used("hosts") == 0
    assert house.used("participants") == 2
    house.joined(house.hello("bob"), "b", host=True)
    house.leave(ann, "a")
    assert list(house.state.conferences.by_id["a"].members) == [guest]


def test_who_lost_the_name_is_no_longer_busy() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc, "a", host=True)
    house.unname("ann")
    house.joined(phone, "b", host=True)
    assert house.used("hosts") == 1


def test_a_name_that_hosts_on_many_devices_is_noted_once_for_each_and_nothing_is_copied() -> None:
    house = harness(participants=9)
    devices = [house.hello("ann", f"device-{number}") for number in range(5)]
    for device in devices:
        house.joined(device, "a", host=True)
    conference = house.state.conferences.by_id["a"]
    released = conference.released_hosts
    house.unname("ann")
    assert conference.released_hosts is released
    assert list(released) == devices
    house.leave(devices[1], "a")
    house.end(devices[0])
    assert conference.released_hosts is released
    assert list(released) == devices[2:]


# -- one meeting for each host -----------------------------------------------------------------------------------------


def test_a_host_runs_one_live_conference_at_a_time() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc, "a", host=True)
    assert house.join(phone, "b", host=True)["reason"] == "host_busy"
    assert house.join(pc, "b", host=True)["reason"] == "host_busy"
    house.joined(phone, "a", host=True)
    house.joined(house.hello("bob"), "b", host=True)
    house.joined(pc, "b")


def test_a_host_that_left_is_no_longer_busy_and_its_conference_goes_on() -> None:
    house = harness()
    ann, guest = house.hello("ann"), house.hello()
    house.joined(ann, "a", host=True)
    house.joined(guest, "a")
    house.leave(ann, "a")
    assert house.state.conferences.by_id["a"].live
    house.joined(ann, "b", host=True)
    house.joined(house.hello(), "a")
    house.leave(guest, "a")


def test_a_conference_without_members_ends() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann, host=True)
    house.leave(ann)
    assert house.join(house.hello())["reason"] == "host_not_named"


def test_a_host_whose_name_was_taken_stays_without_one_when_others_leave() -> None:
    house = harness(hosts=1)
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, host=True)
    house.joined(bob)
    house.unname("ann")
    house.leave(bob)
    house.joined(bob, "other", host=True)
    house.joined(ann, "other")
    assert house.used("hosts") == 1


def test_a_second_host_of_a_live_conference_needs_a_name_of_its_own() -> None:
    house = harness(hosts=1)
    house.joined(house.hello("ann"), host=True)
    bob = house.hello("bob")
    assert house.join(bob, host=True)["pool"] == "hosts"
    assert house.join(house.hello(), host=True)["reason"] == "host_not_named"
    house.joined(bob)


def test_a_host_may_wait_in_a_scheduled_conference_while_it_hosts_another() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc, "a", host=True)
    house.joined(phone, "b", host=True, scheduled=True)
    refused = house.start(phone, "b").refused
    assert refused is not None
    assert refused.reason == "host_busy"
    house.leave(pc, "a")
    assert house.start(phone, "b").refused is None


def test_at_a_start_the_starters_name_is_checked_first_then_the_members_in_order() -> None:
    house = harness(hosts=2)
    first, starter, last = house.hello("ann"), house.hello("bob"), house.hello("cid")
    house.joined(first, host=True, scheduled=True)
    house.joined(starter, host=True)
    house.joined(last, host=True)
    outcome = house.start(starter)
    assert [message["type"] for _, message in outcome.notices] == ["joined", "joined", "denied"]
    house = harness(hosts=1)
    first, starter = house.hello("ann"), house.hello("bob")
    house.joined(first, host=True, scheduled=True)
    house.joined(starter, host=True)
    outcome = house.start(starter)
    assert [(each, message["type"]) for each, message in outcome.notices] == [
        (first.number, "denied"),
        (starter.number, "joined"),
    ]
    assert list(house.ledger().pools["hosts"].leases) == ["bob"]


def test_a_start_that_no_name_is_left_for_changes_nothing() -> None:
    house = harness(hosts=1)
    house.name_host("boss")
    ann = house.hello("ann")
    house.joined(ann, host=True, scheduled=True)
    refused = house.start(ann).refused
    assert refused is not None
    assert (refused.reason, refused.pool) == ("pool_full", "hosts")
    assert house.state.conferences.by_id["room"].state == "scheduled"
    assert house.denied("hosts") == {"pool_full": 1}


# -- participants ------------------------------------------------------------------------------------------------------


def test_the_limit_of_participants_holds_in_each_conference_apart() -> None:
    house = harness()
    for name in ("ann", "bob"):
        house.joined(house.hello(name), name, host=True)
        house.joined(house.hello(), name)
    house.joined(house.hello(), "ann")
    answer = house.join(house.hello(), "ann")
    assert (answer["reason"], answer["used"], answer["limit"]) == ("conference_full", 3, 3)
    house.joined(house.hello(), "bob")
    view = house.view("participants")
    assert (view.used, view.limit) == (6, 6)


def test_hosts_do_not_share_what_another_does_not_use() -> None:
    house = harness(hosts=5, participants=2)
    house.joined(house.hello("ann"), host=True)
    house.joined(house.hello())
    assert house.join(house.hello())["reason"] == "conference_full"


def test_a_connection_counts_in_each_of_its_conferences() -> None:
    house = harness()
    guest = house.hello()
    for name in ("ann", "bob"):
        house.joined(house.hello(name), name, host=True)
        house.joined(guest, name)
    assert house.used("participants") == 4


def test_a_host_may_stand_outside_the_participants() -> None:
    house = harness(participants=1, host_is_participant=False)
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, host=True)
    assert house.used("participants") == 0
    house.joined(house.hello("cid"))
    assert house.join(house.hello())["reason"] == "conference_full"
    house.joined(bob, host=True)
    assert house.used("participants") == 1
    house.unname("bob")
    assert house.used("participants") == 1


def test_waiting_members_are_no_participants_and_a_start_admits_as_many_as_fit() -> None:
    house = harness(participants=2)
    host, *others = [house.hello(f"u{place}") for place in range(4)]
    for session in others:
        house.joined(session, scheduled=True)
    house.joined(host, host=True)
    assert house.used("participants") == 0
    outcome = house.start(host)
    assert [message["type"] for _, message in outcome.notices] == ["joined", "joined", "denied", "denied"]
    assert outcome.notices[-1][1]["reason"] == "conference_full"


# -- in shadow ---------------------------------------------------------------------------------------------------------


def test_in_shadow_the_first_member_with_an_account_is_taken_for_the_host() -> None:
    house = shadow()
    house.joined(house.hello())
    assert house.denied("hosts", "nefsis-named") == {"host_not_named": 1}
    for name in ("ann", "bob"):
        house.joined(house.hello(name))
    assert list(house.ledger("nefsis-named").pools["hosts"].leases) == ["ann"]


def test_in_shadow_a_declared_host_is_the_host() -> None:
    house = shadow()
    house.joined(house.hello("ann"), host=True)
    house.joined(house.hello("bob"))
    assert list(house.ledger("nefsis-named").pools["hosts"].leases) == ["ann"]


def test_in_shadow_use_goes_above_the_limit_and_the_denials_are_counted() -> None:
    house = shadow()
    for place, name in enumerate(("ann", "bob")):
        for _ in range(3):
            house.joined(house.hello(name), f"room-{place}")
    assert house.used("hosts", "nefsis-named") == 2
    assert house.used("participants", "nefsis-named") == 6
    assert house.denied("hosts", "nefsis-named") == {"pool_full": 1}
    assert house.denied("participants", "nefsis-named") == {"conference_full": 2}


def test_in_shadow_a_busy_host_is_recorded_and_admitted() -> None:
    house = shadow()
    ann = house.hello("ann")
    house.joined(ann, "a", host=True)
    house.joined(ann, "b", host=True)
    assert house.denied("hosts", "nefsis-named") == {"host_busy": 1}
    assert house.used("participants", "nefsis-named") == 2


def test_a_conference_nobody_could_have_opened_is_recorded_once() -> None:
    house = shadow(participants=9)
    for _ in range(3):
        house.joined(house.hello())
    assert house.denied("hosts", "nefsis-named") == {"host_not_named": 1}
    assert house.used("participants", "nefsis-named") == 3


def test_removing_a_name_in_shadow_changes_nothing_for_the_enforced_license() -> None:
    house = shadow()
    ann = house.hello("ann")
    house.joined(ann, host=True)
    house.joined(ann, "later", host=True, scheduled=True)
    house.unname("ann")
    assert house.used("hosts", "nefsis-named") == 0
    assert house.start(ann, "later").refused is None
    assert house.used("concurrent", "epop") == 1


def test_a_declared_conference_still_needs_its_host() -> None:
    house = harness()
    house.apply(PutConference("room", Declaration("public")))
    assert house.join(house.hello("ann"))["reason"] == "host_not_named"
