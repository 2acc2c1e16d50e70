"""Seats that are kept for those who come back: who takes them over, how they end, and what they begin from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.bans import BanSubject, account_subject
from gateway.core.admission.decision import Decision
from gateway.core.admission.returning import HeldSeat, keep_seats
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import answer

MINUTE = 60.0
ENDS = pytest.mark.parametrize("cause", ["drained", "node_lost"])


def epop(users: int = 1, **terms: Any) -> LicensedHarness:
    return LicensedHarness("epop", {"epop": Epop(users=users)}, **{"returning": MINUTE, **terms})


def floating(limit: int = 1, key: Any = "account", linger: float = 0.0, **terms: Any) -> LicensedHarness:
    licenses = {"floating": Floating(limit=limit, key=key, linger=linger)}
    return LicensedHarness("floating", licenses, **{"returning": MINUTE, **terms})


def trueconf(returning: float = MINUTE, **terms: Any) -> LicensedHarness:
    return LicensedHarness("trueconf", {"trueconf": TrueConf(**terms)}, returning=returning)


def named(returning: float = MINUTE, **terms: Any) -> LicensedHarness:
    return LicensedHarness("nefsis-named", {"nefsis-named": NefsisNamed(**terms)}, returning=returning)


def member(harness: LicensedHarness, account: str | None, device: str | None = None, **facts: Any) -> Session:
    """A session that takes part in a conference."""
    session = harness.hello(account, device, **facts)
    harness.joined(session, host=True, access="public")
    return session


def refusal(decision: Decision) -> tuple[str, int | None, int | None] | None:
    refused = decision.refused
    return None if refused is None else (refused.reason, refused.used, refused.limit)


def figures(harness: LicensedHarness, pool: str) -> tuple[int, int]:
    """Use of a pool, and how much of it is kept."""
    view = harness.view(pool)
    assert view.grants - sum(view.releases.values()) == view.used
    return view.used, view.returning


def released(harness: LicensedHarness, pool: str) -> dict[str, int]:
    return {cause: count for cause, count in harness.view(pool).releases.items() if count}


# -- who takes a seat over ---------------------------------------------------------------------------------------------


@ENDS
def test_who_held_a_seat_comes_back_to_it_and_nobody_else(cause: str) -> None:
    harness = epop()
    harness.end(member(harness, "ann", "pc"), cause)
    assert figures(harness, "concurrent") == (1, 1)
    stranger = harness.hello("bob", "pc")
    assert refusal(harness.decide_join(stranger)) == ("pool_full", 1, 1)
    assert refusal(harness.decide_join(harness.hello("ann", "phone"))) == ("pool_full", 1, 1)
    assert refusal(harness.decide_join(harness.hello("ann"))) == ("pool_full", 1, 1)
    harness.joined(harness.hello("ann", "pc"))
    assert figures(harness, "concurrent") == (1, 0)
    assert harness.view("concurrent").grants == 1
    assert released(harness, "concurrent") == {}


@pytest.mark.parametrize("cause", ["bye", "closed", "heartbeat_timeout", "kicked", "store_unavailable"])
def test_a_seat_that_ends_otherwise_is_not_kept(cause: str) -> None:
    harness = epop()
    harness.end(member(harness, "ann"), cause)
    assert figures(harness, "concurrent") == (0, 0)


@ENDS
def test_by_default_nothing_is_kept(cause: str) -> None:
    harness = epop(returning=0.0)
    harness.end(member(harness, "ann"), cause)
    assert (figures(harness, "concurrent"), released(harness, "concurrent")) == ((0, 0), {cause: 1})


def test_only_the_model_that_decides_keeps_seats() -> None:
    licenses = {"epop": Epop(users=1), "floating": Floating(key="connection")}
    harness = LicensedHarness("epop", licenses, returning=MINUTE)
    harness.end(member(harness, "ann"), "drained")
    assert (harness.used("concurrent"), harness.used("seats", "floating")) == (1, 0)
    harness = LicensedHarness("epop", licenses, returning=MINUTE, enforce=False)
    harness.end(member(harness, "ann"), "drained")
    assert (harness.used("concurrent"), harness.used("seats", "floating")) == (0, 0)


def test_a_seat_is_released_when_its_time_is_over_and_not_before() -> None:
    harness = epop()
    harness.end(member(harness, "ann"), "drained")
    harness.wait(MINUTE - 0.5)
    assert figures(harness, "concurrent") == (1, 1)
    harness.wait(0.5)
    assert (figures(harness, "concurrent"), released(harness, "concurrent")) == ((0, 0), {"not_returned": 1})
    assert harness.denied("concurrent") == {}
    harness.joined(harness.hello("bob"))


@ENDS
def test_an_account_without_a_device_comes_back_by_its_name_and_a_guest_by_its_address(cause: str) -> None:
    harness = epop(users=2)
    for session in (member(harness, "ann"), member(harness, None, "kiosk", address="192.0.2.7")):
        harness.end(session, cause)
    named_so = harness.hello("192.0.2.7")
    assert refusal(harness.decide_join(named_so)) == ("pool_full", 2, 2)
    assert refusal(harness.decide_join(harness.hello("ann", home=""))) is None
    assert refusal(harness.decide_join(harness.hello(None, address="192.0.2.8"))) == ("pool_full", 2, 2)
    assert refusal(harness.decide_join(harness.hello(None, address="192.0.2.7"))) is None
    assert figures(harness, "concurrent") == (2, 0)


def test_an_account_of_another_server_is_another_one() -> None:
    harness = epop(homes=("far",))
    harness.end(member(harness, "ann"), "drained")
    assert refusal(harness.decide_join(harness.hello("ann", home="far"))) == ("pool_full", 1, 1)


def test_ten_guests_of_one_address_come_back_to_ten_seats_and_the_eleventh_finds_none() -> None:
    harness = epop(users=10)
    for session in [member(harness, None, address="192.0.2.7") for _ in range(10)]:
        harness.end(session, "node_lost")
    assert figures(harness, "concurrent") == (10, 10)
    for left in range(9, -1, -1):
        harness.joined(harness.hello(None, address="192.0.2.7"))
        assert figures(harness, "concurrent") == (10, left)
    assert refusal(harness.decide_join(harness.hello(None, address="192.0.2.7"))) == ("pool_full", 10, 10)


def test_guests_who_count_by_their_address_share_the_one_seat_that_is_kept() -> None:
    harness = floating(key="address")
    guests = [harness.hello(None, address="192.0.2.7") for _ in range(3)]
    for session in guests:
        harness.end(session, "drained")
    assert figures(harness, "seats") == (1, 1)
    assert refusal(harness.knock(None, address="192.0.2.8")[1]) == ("pool_full", 1, 1)
    first = harness.hello("ann", address="192.0.2.7")
    assert figures(harness, "seats") == (1, 0)
    harness.hello(None, address="192.0.2.7")
    harness.end(first, "bye")
    assert figures(harness, "seats") == (1, 0)


def test_a_seat_that_others_hold_too_stays_theirs_when_nobody_comes_back() -> None:
    harness = floating(limit=2)
    lost, there = harness.hello("ann", "pc"), harness.hello("ann", "phone")
    harness.end(lost, "node_lost")
    assert figures(harness, "seats") == (1, 1)
    harness.wait(MINUTE)
    assert (figures(harness, "seats"), released(harness, "seats")) == ((1, 0), {})
    harness.end(there, "bye")
    assert figures(harness, "seats") == (0, 0)


def test_a_seat_that_others_held_too_is_kept_when_they_go() -> None:
    harness = floating()
    lost, there = harness.hello("ann", "pc"), harness.hello("ann", "phone")
    harness.end(lost, "node_lost")
    harness.end(there, "bye")
    assert figures(harness, "seats") == (1, 1)
    harness.hello("ann", "pc")
    assert figures(harness, "seats") == (1, 0)


def test_who_takes_over_from_its_own_device_takes_what_is_kept_for_it_too() -> None:
    harness = floating(key="device", on_duplicate="allow")
    one, other = harness.hello("ann", "pc"), harness.hello("ann", "pc")
    harness.end(one, "node_lost")
    assert figures(harness, "seats") == (1, 1)
    harness.change_terms(on_duplicate="takeover")
    harness.hello("ann", "pc")
    assert figures(harness, "seats") == (1, 0)
    assert other.number not in harness.state.sessions.by_number


def test_rules_come_before_a_seat_that_is_kept() -> None:
    harness = epop(users=1)
    harness.end(member(harness, "ann"), "drained")
    ann, bob, cid = harness.hello("ann"), harness.hello("bob"), harness.hello("cid")
    harness.change_terms({"epop": Epop(users=3)})
    for each in (bob, cid):
        harness.joined(each, "call", mode="call")
    assert refusal(harness.decide_join(ann, "call")) == ("conference_full", 2, 2)
    assert figures(harness, "concurrent") == (3, 1)
    harness.change_terms({"epop": Epop(users=1)})
    harness.joined(ann, "own")
    assert figures(harness, "concurrent") == (3, 0)


# -- the models --------------------------------------------------------------------------------------------------------


def test_a_leased_seat_is_kept_by_its_lease_and_counts_once() -> None:
    harness = trueconf(pro=1, online=2)
    session = member(harness, "ann", "pc")
    harness.end(session, "node_lost")
    assert (figures(harness, "online"), figures(harness, "pro")) == ((1, 1), (1, 0))
    assert harness.expires("ann") == 24 * 3600.0
    harness.wait(MINUTE)
    assert (figures(harness, "online"), figures(harness, "pro")) == ((0, 0), (1, 0))


def test_a_device_comes_back_to_its_own_online_license() -> None:
    harness = trueconf(pro=2, online=2)
    for session in (harness.hello("ann", "pc"), harness.hello("bob")):
        harness.end(session, "node_lost")
    assert refusal(harness.knock("ann", "phone")[1]) == ("pool_full", 2, 2)
    assert refusal(harness.knock("bob", "phone")[1]) == ("pool_full", 2, 2)
    harness.hello("bob")
    harness.hello("ann", "pc")
    assert figures(harness, "online") == (2, 0)


def test_a_guest_and_an_endpoint_come_back_to_the_conference() -> None:
    harness = trueconf(pro=1, online=1, guest=1, gateway=1)
    ann = member(harness, "ann")
    for session in (harness.hello(None, address="192.0.2.5"), harness.hello(None, kind="sip", address="192.0.2.6")):
        harness.joined(session)
        harness.end(session, "node_lost")
    assert (figures(harness, "guest"), figures(harness, "gateway")) == ((1, 1), (1, 1))
    assert refusal(harness.decide_join(harness.hello(None, address="192.0.2.6"))) == ("pool_full", 1, 1)
    harness.joined(harness.hello(None, address="192.0.2.5"))
    harness.joined(harness.hello(None, kind="sip", address="192.0.2.6"))
    assert (figures(harness, "guest"), figures(harness, "gateway")) == ((1, 0), (1, 0))
    assert ann.number in harness.state.sessions.by_number


def test_a_seat_in_a_conference_is_kept_in_that_conference() -> None:
    harness = named(hosts=2, participants=2)
    ann, bob = member(harness, "ann"), harness.hello("bob")
    harness.joined(bob)
    for session in (ann, bob):
        harness.end(session, "node_lost")
    assert (figures(harness, "hosts"), figures(harness, "participants")) == ((1, 0), (2, 2))
    dan = harness.hello("dan")
    assert refusal(harness.decide_join(dan, host=True)) == ("conference_full", 2, 2)
    back = harness.hello("bob")
    harness.joined(dan, "another", host=True)
    harness.joined(back, "another")
    assert figures(harness, "participants") == (4, 2)
    harness.joined(harness.hello("ann"), host=True)
    assert figures(harness, "participants") == (4, 1)
    harness.joined(back)
    assert figures(harness, "participants") == (4, 0)


def test_who_waits_is_served_when_nobody_comes_back() -> None:
    harness = epop()
    harness.end(member(harness, "ann"), "drained")
    bob = harness.hello("bob")
    assert answer(harness.apply(c.Wait(c.Join(bob.number, "room"), 3600, "b")))["type"] == "queued"
    assert harness.served == []
    harness.wait(MINUTE)
    assert [(each.id, answer(each.decision)["type"]) for each in harness.served] == [("b", "joined")]


def test_who_comes_back_does_not_wait_and_overtakes_nobody() -> None:
    harness = epop()
    harness.end(member(harness, "ann"), "drained")
    bob, ann = harness.hello("bob"), harness.hello("ann")
    harness.apply(c.Wait(c.Join(bob.number, "room"), 3600, "b"))
    assert answer(harness.apply(c.Wait(c.Join(ann.number, "room"), 3600, "a")))["type"] == "joined"
    assert harness.view("concurrent").waiting == 1


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        account_subject("ann"),
        BanSubject("address", "192.0.2.1"),
        BanSubject("network", "192.0.2.0/28"),
    ],
)
def test_nothing_is_kept_for_who_is_banned(subject: BanSubject) -> None:
    harness = epop(users=2)
    for session in (member(harness, "ann"), member(harness, None, address="192.0.2.99")):
        harness.end(session, "drained")
    harness.apply(c.PutBan(subject, 30.0))
    assert (figures(harness, "concurrent"), released(harness, "concurrent")) == ((1, 1), {"kicked": 1})


def test_nothing_is_kept_for_guests_who_are_banned() -> None:
    harness = epop(users=2)
    for session in (member(harness, "ann"), member(harness, None)):
        harness.end(session, "drained")
    harness.apply(c.PutBan(BanSubject("guests", "192.0.2.1"), 30.0))
    assert figures(harness, "concurrent") == (1, 1)
    harness.joined(harness.hello("ann", address="192.0.2.3"))


@pytest.mark.parametrize("ban", [None, 30.0])
def test_nothing_is_kept_for_an_account_that_is_kicked(ban: float | None) -> None:
    harness = epop(users=2)
    for session in (member(harness, "ann"), member(harness, "bob")):
        harness.end(session, "drained")
    harness.apply(c.KickAccount("ann", ban))
    assert (figures(harness, "concurrent"), released(harness, "concurrent")) == ((1, 1), {"kicked": 1})


def test_nothing_is_kept_for_an_account_that_is_deleted() -> None:
    harness = epop(users=1)
    harness.end(member(harness, "ann"), "drained")
    assert harness.forget("ann").refused is None
    assert (figures(harness, "concurrent"), released(harness, "concurrent")) == ((0, 0), {"account_deleted": 1})
    assert harness.forget("ann").refused is not None


def test_a_shorter_time_bounds_what_is_kept_and_none_ends_it() -> None:
    harness = epop()
    harness.end(member(harness, "ann"), "drained")
    harness.change_terms(returning=2 * MINUTE)
    harness.wait(MINUTE - 30)
    harness.change_terms(returning=10.0)
    harness.wait(9)
    assert figures(harness, "concurrent") == (1, 1)
    harness.wait(1)
    assert figures(harness, "concurrent") == (0, 0)
    harness.end(member(harness, "ann"), "drained")
    harness.change_terms(returning=0.0)
    assert figures(harness, "concurrent") == (0, 0)
    assert released(harness, "concurrent") == {"not_returned": 2}


def test_a_model_that_decides_no_more_keeps_nothing() -> None:
    licenses = {"epop": Epop(users=1), "floating": Floating(key="connection")}
    harness = LicensedHarness("epop", licenses, returning=MINUTE)
    harness.end(member(harness, "ann"), "drained")
    harness.change_terms(model="floating")
    assert harness.used("concurrent", "epop") == 0


def test_a_lowered_limit_takes_nothing_from_who_comes_back() -> None:
    harness = epop(users=3)
    for session in [member(harness, name) for name in ("ann", "bob", "cid")]:
        harness.end(session, "drained")
    harness.change_terms({"epop": Epop(users=1)})
    harness.joined(harness.hello("ann"))
    assert figures(harness, "concurrent") == (3, 2)
    assert refusal(harness.decide_join(harness.hello("dan"))) == ("pool_full", 3, 1)
    harness.wait(MINUTE)
    assert figures(harness, "concurrent") == (1, 0)


def test_a_wait_of_who_comes_back_is_neither_a_denial_nor_its_end_one() -> None:
    harness = floating()
    harness.end(harness.hello("ann"), "drained")
    assert refusal(harness.knock("bob")[1]) == ("pool_full", 1, 1)
    harness.hello("ann")
    assert harness.view("seats").denials == {"pool_full": 1}
    assert harness.view("seats").true_denials == {"pool_full": 0}


def test_use_is_charged_to_who_held_the_seat() -> None:
    harness = epop()
    harness.end(member(harness, "ann", "pc"), "drained")
    harness.wait(10)
    harness.joined(harness.hello("ann", "pc"))
    harness.wait(10)
    shares = harness.ledger().pools["concurrent"].shares
    row = shares.row(("ann", "", "pc", ""), harness.now.mono)
    assert (row.seat_seconds, row.grants, row.peak) == (20.0, 1, 1)


# -- a commit that fails -----------------------------------------------------------------------------------------------


def test_a_grant_that_is_undone_gives_back_the_seat_that_was_kept() -> None:
    harness = named(hosts=1, participants=1)
    harness.name_host("bob")
    harness.unname("bob")
    harness.end(member(harness, "ann"), "node_lost")
    harness.unname("ann")
    decision = harness.decide_join(harness.hello("ann"), host=True)
    assert figures(harness, "participants") == (1, 0)
    harness.withdraw(decision)
    assert figures(harness, "participants") == (1, 1)
    harness.wait(30)
    bob = harness.hello("bob")
    assert refusal(harness.decide_join(bob, host=True)) == ("conference_full", 1, 1)
    harness.joined(harness.hello("ann"), host=True)
    assert figures(harness, "participants") == (1, 0)


def test_a_seat_that_is_given_back_is_kept_until_it_was() -> None:
    harness = named(hosts=1, participants=1)
    harness.end(member(harness, "ann"), "node_lost")
    harness.unname("ann")
    harness.wait(MINUTE - 5)
    decision = harness.decide_join(harness.hello("ann"), host=True)
    harness.withdraw(decision)
    harness.wait(5)
    assert figures(harness, "participants") == (0, 0)


# -- after a restart ---------------------------------------------------------------------------------------------------


def held(
    pool: str, key: Any, account: str = "", device: str = "", left: float | None = None, model: str = "epop"
) -> HeldSeat:
    return HeldSeat(model, pool, key, account, "", device, "192.0.2.1", left)


def test_a_run_begins_with_the_seats_that_were_held() -> None:
    harness = epop(users=3)
    seats = [held("concurrent", number, name) for number, name in ((1, "ann"), (2, "bob"), (7, "bob"))]
    keep_seats(harness.state, seats, harness.now)
    assert figures(harness, "concurrent") == (3, 3)
    first = harness.hello("cid")
    assert first.number == 1
    assert refusal(harness.decide_join(first)) == ("pool_full", 3, 3)
    for name in ("bob", "ann", "bob"):
        harness.joined(harness.hello(name))
    assert figures(harness, "concurrent") == (3, 0)


def test_what_was_left_of_its_time_is_left_and_never_more_than_the_setting_says() -> None:
    harness = epop(users=3)
    seats = [held("concurrent", 1, "ann", left=10.0), held("concurrent", 2, "bob", left=500.0), held("concurrent", 3)]
    keep_seats(harness.state, [*seats, held("concurrent", 4, "cid", left=0.0)], harness.now)
    assert figures(harness, "concurrent") == (3, 3)
    harness.wait(10)
    assert figures(harness, "concurrent") == (2, 2)
    harness.wait(MINUTE - 10)
    assert figures(harness, "concurrent") == (0, 0)


def test_what_another_model_or_pool_held_is_not_kept() -> None:
    harness = epop(users=9)
    seats = [held("concurrent", 1, "ann", model="floating"), held("seats", 2, "ann")]
    keep_seats(harness.state, seats, harness.now)
    assert figures(harness, "concurrent") == (0, 0)
    for returning, enforce in ((0.0, True), (MINUTE, False)):
        harness.change_terms(returning=returning, enforce=enforce)
        keep_seats(harness.state, [held("concurrent", 1, "ann")], harness.now)
        assert figures(harness, "concurrent") == (0, 0)


def test_what_is_leased_is_not_kept_beside_its_lease() -> None:
    harness = trueconf(pro=1)
    keep_seats(harness.state, [held("pro", "ann", "ann", model="trueconf")], harness.now)
    assert figures(harness, "pro") == (0, 0)


def test_a_seat_that_is_reserved_anyway_counts_once() -> None:
    licenses = {"floating": Floating(limit=2, key="account", reserve=("ann",))}
    harness = LicensedHarness("floating", licenses, returning=MINUTE)
    seats = [held("seats", name, name, model="floating") for name in ("ann", "bob")]
    keep_seats(harness.state, seats, harness.now)
    assert figures(harness, "seats") == (2, 2)
    harness.hello("ann")
    assert figures(harness, "seats") == (2, 1)
    harness.wait(MINUTE)
    assert figures(harness, "seats") == (1, 0)


def test_who_is_banned_begins_with_no_seat() -> None:
    harness = epop(users=2)
    harness.apply(c.PutBan(account_subject("ann"), 100.0))
    keep_seats(harness.state, [held("concurrent", 1, "ann"), held("concurrent", 2, "bob")], harness.now)
    assert figures(harness, "concurrent") == (1, 1)


@pytest.mark.parametrize(
    ("key", "expected"),
    [("connection", 3), ("device", 3), ("account", 2), ("address", 1)],
)
def test_seats_are_kept_by_what_counts_now(key: str, expected: int) -> None:
    harness = floating(limit=9, key=key)
    seats = [
        held("seats", 5, "ann", "pc", model="floating"),
        held("seats", 6, "ann", "phone", model="floating"),
        held("seats", ("bob", "pc"), "bob", "pc", model="floating"),
    ]
    keep_seats(harness.state, seats, harness.now)
    assert figures(harness, "seats") == (expected, expected)
    for name, device in (("ann", "phone"), ("bob", "pc"), ("ann", "pc")):
        harness.hello(name, device)
    assert figures(harness, "seats") == (expected, 0)


def test_terms_say_how_long() -> None:
    harness = epop()
    assert harness.terms.changed("license.returning", 5.0) == replace(harness.terms, returning=5.0)
