"""Conferences: they begin with their first member, and end with their last."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.conferences import Conferences, Declaration
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.session import Conference, Session
from gateway.licensing.epop import Epop
from gateway.licensing.nefsis import NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness


def none_yet() -> Conferences:
    return Conferences(NumberSequence())


def person(number: int, account: str | None = None) -> Session:
    return Session(number, account=account)


def entered(conferences: Conferences, id: str, *members: Session, **terms: bool) -> Conference:
    conference = conferences.create(id, Declaration(scheduled=terms.get("scheduled", False)))
    for member in members:
        conferences.enter(conference, member, host=False, now=5.0)
    return conference


def test_a_conference_nobody_entered_leaves_no_trace() -> None:
    conferences = none_yet()
    conferences.create("m", Declaration())
    assert not conferences.by_id
    assert not conferences.live


def test_the_first_member_makes_it_live_and_dates_it() -> None:
    conferences, ann = none_yet(), person(1)
    conference = entered(conferences, "m", ann)
    assert conference.state == "live"
    assert conference.since == 5.0
    assert conferences.live == conferences.live_groups == conferences.by_id == {"m": conference}
    assert list(conferences.taking_part) == [ann]
    assert ann.takes_part


def test_a_scheduled_one_has_members_that_wait() -> None:
    conferences, ann = none_yet(), person(1)
    conference = entered(conferences, "m", ann, scheduled=True)
    assert conference.state == "scheduled"
    assert conferences.scheduled == {"m": conference}
    assert not conferences.live
    assert list(conferences.waiting) == [ann]
    assert not ann.takes_part


def test_it_ends_with_its_last_member() -> None:
    conferences, ann, bob = none_yet(), person(1), person(2)
    conference = entered(conferences, "m", ann, bob)
    conferences.leave(conference, ann)
    assert list(conferences.taking_part) == [bob]
    conferences.leave(conference, bob)
    assert not conferences.by_id
    assert not conferences.live
    assert not conferences.live_groups
    assert not conferences.taking_part
    assert ann.conferences == bob.conferences == ()


def test_an_id_can_be_used_again_after_the_end() -> None:
    conferences, ann = none_yet(), person(1)
    conferences.leave(entered(conferences, "m", ann), ann)
    again = entered(conferences, "m", ann, scheduled=True)
    assert conferences.by_id == {"m": again}
    assert conferences.scheduled == {"m": again}


def test_each_has_a_number_of_its_own_whatever_its_id() -> None:
    conferences, ann = none_yet(), person(1)
    first, other = entered(conferences, "m", ann), entered(conferences, "n", ann)
    conferences.leave(first, ann)
    again = entered(conferences, "m", ann)
    assert [each.number for each in (first, other, again)] == [1, 2, 3]


def test_the_end_of_one_leaves_the_next_of_its_id_alone() -> None:
    conferences, ann, bob = none_yet(), person(1), person(2)
    gone = entered(conferences, "m", ann)
    conferences.leave(gone, ann)
    again = entered(conferences, "m", bob)
    conferences.end(gone)
    assert conferences.by_id == conferences.live == conferences.live_groups == {"m": again}


def test_one_that_is_scheduled_again_is_the_same_and_nobody_hosts_it() -> None:
    conferences, ann, bob = none_yet(), person(1, "ann"), person(2, "bob")
    conference = entered(conferences, "m", ann, scheduled=True)
    conferences.start(conference)
    conferences.enter(conference, bob, host=True, now=6.0)
    number = conference.number
    conferences.leave(conference, bob)
    conferences.reschedule(conference)
    assert (conference.state, conference.hosted, conference.implied_host) == ("scheduled", False, None)
    assert not conferences.by_id
    conferences.enter(conference, ann, host=False, now=7.0)
    assert conferences.by_id == conferences.scheduled == {"m": conference}
    assert not conferences.live
    assert not conferences.live_groups
    assert conference.number == number


def test_a_start_hands_out_who_waited_in_order_of_arrival() -> None:
    conferences, ann, bob = none_yet(), person(2), person(1)
    conference = entered(conferences, "m", ann, scheduled=True)
    conferences.enter(conference, bob, host=True, now=6.0)
    assert conferences.start(conference) == [(ann, False), (bob, True)]
    assert conference.live
    assert conferences.live_groups == {"m": conference}
    assert not conferences.scheduled
    assert not conferences.waiting
    assert not conference.members
    conferences.enter(conference, bob, host=True, now=7.0)
    assert list(conferences.taking_part) == [bob]
    assert conference.since == 5.0


def test_a_member_of_two_takes_part_until_it_left_both() -> None:
    conferences, ann = none_yet(), person(1)
    first, second = entered(conferences, "a", ann), entered(conferences, "b", ann)
    waiting = entered(conferences, "c", ann, scheduled=True)
    assert ann.conferences == (first, second, waiting)
    conferences.leave(first, ann)
    assert list(conferences.taking_part) == list(conferences.waiting) == [ann]
    conferences.leave(second, ann)
    assert not conferences.taking_part
    assert list(conferences.waiting) == [ann]


def test_a_call_is_no_group_conference() -> None:
    conferences, ann = none_yet(), person(1)
    conference = conferences.create("m", Declaration(mode="call"))
    conferences.enter(conference, ann, host=False, now=0.0)
    assert not conference.group
    assert conferences.live == {"m": conference}
    assert not conferences.live_groups


def test_what_the_operator_declared_wins_over_what_a_client_says() -> None:
    conferences = none_yet()
    conferences.declare("m", Declaration("public", "call", scheduled=True, server="far"))
    conference = conferences.create("m", Declaration())
    assert (conference.access, conference.mode, conference.state, conference.server) == (
        "public",
        "call",
        "scheduled",
        "far",
    )


def test_the_first_member_with_an_account_stands_in_where_nobody_hosts() -> None:
    conferences, guest, ann, bob = none_yet(), person(1), person(2, "ann"), person(3, "bob")
    conference = entered(conferences, "m", guest)
    assert conference.has_no_host
    for member in (ann, bob):
        conferences.enter(conference, member, host=False, now=0.0)
    assert conference.implied_host is ann
    assert not conference.has_no_host


def test_nobody_stands_in_for_a_declared_host() -> None:
    conferences, ann, bob = none_yet(), person(1, "ann"), person(2, "bob")
    conference = conferences.create("m", Declaration())
    conferences.enter(conference, ann, host=True, now=0.0)
    conferences.enter(conference, bob, host=False, now=0.0)
    assert conference.implied_host is None
    assert conference.hosted


def test_a_session_is_in_no_more_conferences_than_it_may_and_in_another_when_it_left_one() -> None:
    harness = LicensedHarness("epop", {"epop": Epop(users=9)}, max_memberships=3)
    ann = harness.hello("ann")
    harness.joined(ann, "a")
    harness.joined(ann, "b")
    harness.joined(ann, "waits", scheduled=True)
    denied = harness.join(ann, "d")
    assert (denied["type"], denied["reason"], denied["used"], denied["limit"]) == ("denied", "conference_limit", 3, 3)
    assert "d" not in harness.state.conferences.by_id
    assert sum(harness.denied("concurrent").values()) == 0  # the license refused nobody
    assert harness.join(ann, "a")["reason"] == "already_member"
    harness.leave(ann, "a")
    harness.joined(ann, "d")
    harness.joined(harness.hello("bob"), "d")


def test_fewer_conferences_for_a_session_take_it_out_of_none() -> None:
    harness = LicensedHarness("epop", {"epop": Epop(users=9)})
    ann = harness.hello("ann")
    for name in "abc":
        harness.joined(ann, name)
    harness.change_terms(max_memberships=1)
    assert [each.id for each in ann.conferences] == ["a", "b", "c"]
    harness.leave(ann, "a")
    assert harness.join(ann, "a")["reason"] == "conference_limit"


@pytest.mark.parametrize("how", ["end", "kick", "takeover", "delete", "resumable", "revoke"])
def test_the_end_of_all_memberships_looks_at_each_conference_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    many = 400
    harness = LicensedHarness(
        "trueconf", {"trueconf": TrueConf(), "nefsis-named": NefsisNamed(), "epop": Epop()}, max_memberships=many,
        resume_window=9.0 if how == "resumable" else 0.0,
    )  # fmt: skip
    ann = harness.hello("ann", "pc")
    for number in range(many):
        harness.joined(ann, f"room-{number}")
    asked = 0
    live: Any = vars(Conference)["live"]

    def count(conference: Conference) -> bool:
        nonlocal asked
        asked += 1
        return bool(live.__get__(conference))

    monkeypatch.setattr(Conference, "live", property(count, live.__set__))
    match how:
        case "end":
            harness.end(ann)
        case "kick":
            harness.apply(c.KickAccount("ann"))
        case "takeover":
            harness.hello("ann", "pc")
        case "delete":
            harness.forget("ann")
        case "resumable":
            harness.end(ann)
            harness.wait(10.0)
        case "revoke":
            harness.revoke("ann")
    assert not ann.conferences
    assert not harness.state.conferences.by_id
    assert asked <= 20 * many
