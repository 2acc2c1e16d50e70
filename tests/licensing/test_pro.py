"""TrueConf PRO leases: how they begin, how long they last, who loses them, and to whom."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission.commands import RequestPro
from gateway.core.admission.replies import entitlements
from gateway.core.counting.leases import LeaseChange
from gateway.core.formats import utc
from gateway.licensing.trueconf import USER_RIGHTS, TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import DAY, HOUR, CoreHarness, told


def harness(pro: int = 10, *, overdraft: int = 0, enforce: bool = True, **terms: Any) -> LicensedHarness:
    licenses = {"trueconf": TrueConf(pro=pro, online=99, **terms)}
    return LicensedHarness("trueconf", licenses, overdraft=overdraft, enforce=enforce)


def held(house: CoreHarness, *accounts: str) -> None:
    """Each account gets a temporary license that runs out, an hour after the one before."""
    for account in accounts:
        house.wait(HOUR)
        session = house.hello(account)
        house.joined(session, f"of-{account}")
        house.end(session)


def endings(house: CoreHarness, account: str) -> list[str]:
    """Why the temporary leases of an account ended, in order."""
    ends = [change for change in house.lease_changes if change.key == account and change.ended is not None]
    return [change.ended or "" for change in ends if change.kind == "temporary"]


def lowered(house: LicensedHarness, pro: int) -> None:
    house.change_terms({"trueconf": TrueConf(pro=pro, online=99)})


# -- temporary ---------------------------------------------------------------------------------------------------------


def test_a_temporary_license_ends_24_hours_after_the_last_leave() -> None:
    house = harness()
    ann = house.hello("ann")
    answer = house.joined(ann)
    assert answer["pro_expires"] is None
    house.wait(3 * DAY)
    answer = house.leave(ann)
    assert answer["pro_expires"] == utc(house.now.wall + DAY)
    house.wait(DAY - 1)
    assert house.pro() == {"ann": "temporary"}
    house.wait(1)
    assert house.pro() == {}
    assert endings(house, "ann") == ["expired"]
    assert house.view("pro").releases["expired"] == 1


def test_the_last_leave_is_that_of_all_devices_and_conferences() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc, "a")
    house.joined(pc, "b")
    house.joined(phone, "b")
    house.leave(pc, "a")
    house.wait(HOUR)
    house.end(pc, "reset")
    house.wait(2 * DAY)
    assert house.expires("ann") is None
    house.leave(phone, "b")
    assert house.expires("ann") == DAY


def test_joining_again_resets_the_clock() -> None:
    house = harness()
    held(house, "ann")
    house.wait(23 * HOUR)
    ann = house.hello("ann")
    house.joined(ann)
    assert house.expires("ann") is None
    house.wait(10 * DAY)
    house.leave(ann)
    assert house.expires("ann") == DAY


def test_the_duration_is_a_setting() -> None:
    house = harness(pro_lease=60.0)
    held(house, "ann")
    assert house.expires("ann") == 60.0
    house.wait(60)
    assert house.pro() == {}


def test_when_the_pool_is_full_permanent_and_unexpired_holders_enter_and_others_do_not() -> None:
    house = harness(pro=2)
    house.redistribute(["boss"])
    held(house, "ann")
    for account in ("boss", "ann"):
        house.joined(house.hello(account))
    late = house.hello("late")
    answer = house.join(late)
    assert (answer["reason"], answer["pool"], answer["used"], answer["limit"]) == ("pool_full", "pro", 2, 2)
    assert entitlements(house.state, late)["seats"] == ["online"]
    house.joined(late, "call", mode="call")


def test_an_expired_license_is_free_for_the_next() -> None:
    house = harness(pro=1)
    held(house, "ann")
    bob = house.hello("bob")
    assert house.join(bob)["reason"] == "pool_full"
    house.wait(DAY)
    house.joined(bob)
    assert house.join(house.hello("ann"), "other")["reason"] == "pool_full"


# -- request -----------------------------------------------------------------------------------------------------------


def test_a_user_may_ask_without_joining_if_the_operator_allows_it() -> None:
    house = harness(allow_pro_requests=True)
    ann = house.hello("ann")
    answer = house.request_pro(ann)
    assert answer == {"type": "granted", "pool": "pro", "expires": utc(house.now.wall + DAY)}
    assert entitlements(house.state, ann)["seats"] == ["online", "pro"]
    house.wait(DAY)
    assert house.pro() == {}


def test_asking_is_not_allowed_by_default_nor_to_guests_endpoints_and_visitors() -> None:
    house = harness()
    assert house.request_pro(house.hello("ann"))["reason"] == "not_allowed"
    house = harness(allow_pro_requests=True)
    for facts in ({}, {"account": "ann", "kind": "sip"}, {"account": "ann", "kind": "console"}):
        assert house.request_pro(house.hello(**facts))["reason"] == "not_allowed"


def test_asking_again_renews_and_of_a_permanent_license_has_no_end() -> None:
    house = harness(pro=2, allow_pro_requests=True)
    house.redistribute(["boss"])
    ann, boss = house.hello("ann"), house.hello("boss")
    house.request_pro(ann)
    house.wait(HOUR)
    assert house.request_pro(ann)["expires"] == utc(house.now.wall + DAY)
    assert house.request_pro(boss)["expires"] is None
    assert house.request_pro(house.hello("late"))["pool"] == "pro"


def test_asking_in_a_conference_starts_no_clock() -> None:
    house = harness(allow_pro_requests=True)
    ann = house.hello("ann")
    house.joined(ann)
    assert house.request_pro(ann)["expires"] is None
    house.wait(2 * DAY)
    assert house.used("pro") == 1


def test_asking_works_asleep() -> None:
    house = harness(allow_pro_requests=True)
    ann = house.hello("ann")
    house.sleep(ann)
    assert house.request_pro(ann)["type"] == "granted"
    assert not ann.awake


def test_the_other_devices_hear_of_what_one_asked_for() -> None:
    house = harness(allow_pro_requests=True)
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    outcome = house.apply(RequestPro(pc.number))
    assert [message["type"] for message in told(outcome, phone)] == ["status"]
    assert told(outcome, pc) == []


def test_without_enforcement_asking_is_granted_above_the_limit_and_recorded() -> None:
    house = harness(pro=0, enforce=False, allow_pro_requests=True)
    assert house.request_pro(house.hello("ann"))["type"] == "granted"
    assert house.used("pro") == 1
    assert house.denied("pro") == {"pool_full": 1}


# -- permanent ---------------------------------------------------------------------------------------------------------


def test_permanent_licenses_are_reserved_though_nobody_is_connected() -> None:
    house = harness()
    house.redistribute(["a", "b", "c"])
    house.joined(house.hello("ann"))
    view = house.view("pro")
    assert (view.used, view.reserved, view.available) == (4, 3, 6)
    house.wait(100 * DAY)
    assert set(house.pro()) == {"a", "b", "c", "ann"}


def test_a_permanent_holder_comes_and_goes_without_a_lease() -> None:
    house = harness()
    house.redistribute(["boss"])
    assert [(change.kind, change.expires) for change in house.lease_changes] == [("permanent", None)]
    boss = house.hello("boss")
    assert house.joined(boss)["pro_expires"] is None
    assert house.leave(boss)["pro_expires"] is None
    assert len(house.changes) == 1


def test_the_configured_act_only_at_the_next_redistribution() -> None:
    house = harness()
    held(house, "ann")
    assert house.pro() == {"ann": "temporary"}
    house.redistribute(["ann"])
    assert house.pro() == {"ann": "permanent"}


def test_a_temporary_holder_who_becomes_permanent_counts_once() -> None:
    house = harness(pro=1)
    ann = house.hello("ann")
    house.joined(ann)
    outcome, beyond = house.redistribute(["ann"])
    assert (outcome.notices, beyond) == ([], [])
    view = house.view("pro")
    assert (view.used, view.grants, sum(view.releases.values())) == (1, 1, 0)
    assert ann.takes_part


def test_more_permanents_than_the_pool_holds_are_reserved_in_order_and_the_rest_reported() -> None:
    house = harness(pro=2)
    _, beyond = house.redistribute(["a", "b", "a", "c", "d"])
    assert beyond == ["c", "d"]
    assert house.pro() == {"a": "permanent", "b": "permanent"}
    assert house.join(house.hello("c"))["reason"] == "pool_full"


def test_who_is_beyond_follows_the_temporary_rules() -> None:
    house = harness(pro=2)
    ann = house.hello("ann")
    house.joined(ann)
    outcome, beyond = house.redistribute(["a", "ann"])
    assert beyond == []
    outcome, beyond = house.redistribute(["a", "b", "ann"])
    assert beyond == ["ann"]
    assert house.pro() == {"a": "permanent", "b": "permanent"}
    assert [message["reason"] for message in told(outcome, ann) if message["type"] == "removed"] == [
        "license_withdrawn"
    ]


# -- 5.1: temporaries make room ----------------------------------------------------------------------------------------


def test_temporaries_with_the_shortest_time_left_lose_first() -> None:
    house = harness(pro=3)
    held(house, "first", "second", "third")
    house.redistribute(["boss"])
    assert house.pro() == {"second": "temporary", "third": "temporary", "boss": "permanent"}
    assert endings(house, "first") == ["redistributed"]
    assert house.view("pro").releases["redistributed"] == 1


def test_holders_in_a_conference_have_the_full_time_left_and_go_last() -> None:
    house = harness(pro=2)
    ann = house.hello("ann")
    house.joined(ann)
    held(house, "idle")
    outcome, _ = house.redistribute(["boss"])
    assert house.pro() == {"ann": "temporary", "boss": "permanent"}
    assert outcome.notices == []
    assert ann.takes_part


def test_of_equal_remaining_time_the_later_grant_loses_first() -> None:
    house = harness(pro=2)
    first, second = house.hello("first"), house.hello("second")
    house.joined(second, "b")
    house.wait(1)
    house.joined(first, "a")
    house.wait(HOUR)
    house.leave(first, "a")
    house.leave(second, "b")
    house.redistribute(["boss"])
    assert set(house.pro()) == {"second", "boss"}


def test_of_those_admitted_by_one_start_the_last_to_arrive_loses_first() -> None:
    house = harness(pro=3)
    members = [house.hello(name) for name in ("ann", "bob", "cid")]
    for session in members:
        house.joined(session, scheduled=True, host=True)
    house.start(members[0])
    house.redistribute(["boss"])
    assert set(house.pro()) == {"ann", "bob", "boss"}


def test_a_lost_member_is_removed_from_all_its_group_conferences_and_nobody_else_is() -> None:
    house = harness(pro=2)
    pc, phone, other = house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob")
    house.joined(other, "a", access="public")
    guest = house.hello()
    house.joined(guest, "a")
    house.wait(1)
    house.joined(pc, "call", mode="call")
    house.joined(pc, "later", scheduled=True)
    house.joined(pc, "a")
    house.joined(phone, "b")
    outcome, _ = house.redistribute(["boss"])
    removed = [(each, message["conference"]) for each, message in outcome.notices if message["type"] == "removed"]
    assert removed == [(pc.number, "a"), (phone.number, "b")]
    assert [room.id for room in pc.conferences] == ["call", "later"]
    assert phone.conferences == ()
    assert other.takes_part
    assert guest.takes_part
    assert "b" not in house.state.conferences.by_id


def test_the_removed_are_told_what_they_have_left() -> None:
    house = harness(pro=1)
    ann = house.hello("ann")
    house.joined(ann)
    outcome, _ = house.redistribute(["boss"])
    assert told(outcome, ann) == [
        {
            "type": "removed",
            "conference": "room",
            "reason": "license_withdrawn",
            "seats": ["online"],
            "rights": list(USER_RIGHTS),
            "pro_expires": None,
        }
    ]


def test_idle_losers_hear_a_status() -> None:
    house = harness(pro=1)
    ann = house.hello("ann")
    house.joined(ann)
    house.leave(ann)
    outcome, _ = house.redistribute(["boss"])
    assert told(outcome, ann) == [
        {"type": "status", "seats": ["online"], "rights": list(USER_RIGHTS), "pro_expires": None}
    ]


def test_no_more_lose_than_the_permanents_need() -> None:
    house = harness(pro=4)
    held(house, "a", "b", "c")
    house.redistribute(["p", "q"])
    assert house.pro() == {"b": "temporary", "c": "temporary", "p": "permanent", "q": "permanent"}


def test_where_the_pool_holds_all_nobody_loses() -> None:
    house = harness(pro=4)
    held(house, "a", "b")
    outcome, _ = house.redistribute(["p", "q"])
    assert outcome.notices == []
    assert house.used("pro") == 4


def test_a_lowered_limit_alone_takes_no_license_from_anybody() -> None:
    house = harness(pro=3)
    house.redistribute(["boss"])
    ann, bob = house.hello("ann"), house.hello("bob")
    for session in (ann, bob):
        house.joined(session)
    lowered(house, 2)
    outcome, beyond = house.redistribute(["boss"])
    assert (outcome.notices, beyond) == ([], [])
    assert house.used("pro") == 3


def test_licenses_in_overdraft_are_kept() -> None:
    house = harness(pro=2, overdraft=1)
    held(house, "a", "b", "c")
    house.redistribute([])
    assert house.used("pro") == 3
    house.redistribute(["boss"])
    assert set(house.pro()) == {"b", "c", "boss"}


# -- 5.2: who left the permanent set -----------------------------------------------------------------------------------


def test_who_left_the_permanent_set_gets_24_hours_if_one_is_free() -> None:
    house = harness(pro=1)
    house.redistribute(["boss"])
    house.wait(DAY)
    outcome, _ = house.redistribute([])
    assert house.pro() == {"boss": "temporary"}
    assert house.expires("boss") == DAY
    number = house.ledger().pools["pro"].leases["boss"].number
    granted = LeaseChange("trueconf", "pro", "boss", house.now.wall, house.now.wall + DAY, False, None, number=number)
    changes = [change for change in outcome.changes if isinstance(change, LeaseChange)]
    assert changes == outcome.changes
    assert [change for change in changes if change.kind == "temporary"][-1] == granted
    assert [change.ended for change in changes if change.kind == "permanent"] == ["redistributed"]
    view = house.view("pro")
    assert (view.used, sum(view.releases.values())) == (1, 0)
    house.wait(DAY)
    assert house.pro() == {}


def test_who_left_the_set_and_sits_in_a_conference_keeps_the_license_until_24_hours_after_leaving() -> None:
    house = harness(pro=1)
    house.redistribute(["boss"])
    boss = house.hello("boss")
    house.joined(boss)
    outcome, _ = house.redistribute([])
    assert outcome.notices == []
    assert house.expires("boss") is None
    house.wait(2 * DAY)
    house.leave(boss)
    assert house.expires("boss") == DAY


def test_who_left_the_set_loses_where_none_is_free() -> None:
    house = harness(pro=2)
    house.redistribute(["old"])
    held(house, "ann")
    old = house.hello("old")
    house.joined(old)
    outcome, _ = house.redistribute(["new"])
    assert house.pro() == {"ann": "temporary", "new": "permanent"}
    assert [message["type"] for message in told(outcome, old)] == ["removed"]
    assert not old.takes_part


def test_step_one_comes_before_step_two() -> None:
    house = harness(pro=2)
    house.redistribute(["old"])
    held(house, "ann")
    house.redistribute(["p", "q"])
    assert house.pro() == {"p": "permanent", "q": "permanent"}


def test_a_former_permanent_hears_that_its_license_has_an_end_now() -> None:
    house = harness()
    house.redistribute(["boss"])
    boss = house.hello("boss")
    outcome, _ = house.redistribute([])
    assert [message["pro_expires"] for message in told(outcome, boss)] == [utc(house.now.wall + DAY)]
    outcome, _ = house.redistribute(["boss"])
    assert [message["pro_expires"] for message in told(outcome, boss)] == [None]


def test_redistributing_the_same_set_again_changes_nothing() -> None:
    house = harness(pro=2)
    house.redistribute(["boss"])
    held(house, "ann")
    changes = list(house.changes)
    outcome, beyond = house.redistribute(["boss"])
    assert (outcome.notices, outcome.changes, beyond) == ([], [], [])
    assert house.changes == changes


# -- revoke ------------------------------------------------------------------------------------------------------------


def test_revoking_ends_a_temporary_license_at_once() -> None:
    house = harness(pro=1)
    held(house, "ann")
    house.revoke("ann")
    assert house.pro() == {}
    assert endings(house, "ann") == ["revoked"]
    house.joined(house.hello("bob"))


def test_a_holder_in_a_live_conference_is_removed_from_it_and_stays_online() -> None:
    house = harness()
    ann, other = house.hello("ann"), house.hello("bob")
    for session in (ann, other):
        house.joined(session)
    outcome = house.revoke("ann")
    (message,) = told(outcome, ann)
    assert (message["type"], message["reason"]) == ("removed", "license_withdrawn")
    assert (message["seats"], message["rights"], message["pro_expires"]) == (["online"], list(USER_RIGHTS), None)
    assert told(outcome, other) == []
    assert house.pro() == {"bob": "temporary"}
    house.joined(ann)


# -- deleted accounts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["temporary", "permanent", "in conference"])
def test_the_license_of_a_deleted_account_ends_24_hours_after_the_deletion(kind: str) -> None:
    house = harness()
    if kind == "permanent":
        house.redistribute(["ann"])
    elif kind == "temporary":
        held(house, "ann")
        house.wait(20 * HOUR)
    else:
        house.joined(house.hello("ann"))
    house.forget("ann")
    assert house.pro() == {"ann": "deleted"}
    assert house.state.is_deleted("ann")
    house.wait(DAY - 1)
    assert house.used("pro") == 1
    house.wait(1)
    assert house.used("pro") == 0
    assert not house.state.is_deleted("ann")
    assert house.view("pro").releases["account_deleted"] == 1
    assert endings(house, "ann") == ["account_deleted"]


def test_the_sessions_of_a_deleted_account_are_closed() -> None:
    house = harness()
    pc, phone, other = house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob")
    house.joined(pc)
    outcome = house.forget("ann")
    assert outcome.closings == [(pc.number, "account_deleted"), (phone.number, "account_deleted")]
    assert list(house.state.sessions.by_number.values()) == [other]
    assert house.view("online").releases["account_deleted"] == 2


def test_deleting_who_holds_nothing_reserves_nothing() -> None:
    house = harness()
    house.hello("ann")
    house.forget("ann")
    assert house.pro() == {}
    assert not house.state.is_deleted("ann")


def test_a_deleted_account_keeps_its_license_through_a_redistribution_even_as_permanent() -> None:
    house = harness(pro=2)
    held(house, "ann")
    house.forget("ann")
    _, beyond = house.redistribute(["ann", "p", "q"])
    assert house.pro() == {"ann": "deleted", "p": "permanent"}
    assert beyond == ["q"]
    assert house.used("pro") == 2


# -- the record -------------------------------------------------------------------------------------------------------


def test_every_loss_has_its_reason() -> None:
    house = harness(pro=2)
    held(house, "expired", "deleted")
    house.wait(DAY - HOUR)
    house.forget("deleted")
    held(house, "revoked")
    house.revoke("revoked")
    held(house, "redistributed")
    house.redistribute(["p"])
    house.wait(DAY)
    for reason, account in (
        ("expired", "expired"),
        ("account_deleted", "deleted"),
        ("revoked", "revoked"),
        ("redistributed", "redistributed"),
    ):
        assert endings(house, account) == [reason]
    assert {cause: count for cause, count in house.view("pro").releases.items() if count} == {
        "expired": 1,
        "account_deleted": 1,
        "revoked": 1,
        "redistributed": 1,
    }
