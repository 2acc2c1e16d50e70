"""e/pop: a connection in conference is one concurrent user, like a line of a telephone exchange."""

from __future__ import annotations

import pytest

from gateway.licensing.epop import Epop, epop
from tests.core.harnesses import prove, proven_hello
from tests.core_harness import CoreHarness


def harness(users: int = 10) -> CoreHarness:
    return CoreHarness(epop(Epop(users=users)))


def test_connected_is_not_concurrent() -> None:
    house = harness()
    for _ in range(20):
        house.hello()
    assert house.used("concurrent") == 0


@pytest.mark.parametrize("kind", ["welcome", "console"])
def test_visitors_take_nothing_and_may_not_join(kind: str) -> None:
    house = harness()
    assert house.join(house.hello(kind=kind))["reason"] == "not_allowed"
    assert house.used("concurrent") == 0


def test_who_waits_in_a_scheduled_conference_is_not_counted() -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    assert house.joined(ann, scheduled=True, host=True)["type"] == "waiting"
    house.joined(bob)
    assert house.used("concurrent") == 0
    house.start(ann)
    assert house.used("concurrent") == 2


def test_one_connection_counts_once_however_many_conferences() -> None:
    house = harness()
    ann = house.hello("ann")
    for conference in "abc":
        house.joined(ann, conference)
    assert house.used("concurrent") == 1
    house.leave(ann, "a")
    house.leave(ann, "b")
    assert house.used("concurrent") == 1
    house.leave(ann, "c")
    assert house.used("concurrent") == 0


def test_two_connections_of_one_account_count_twice() -> None:
    house = harness()
    for device in ("pc", "phone"):
        house.joined(house.hello("ann", device))
    assert house.used("concurrent") == 2


def test_many_users_behind_one_address_are_many() -> None:
    house = harness()
    for _ in range(3):
        house.joined(house.hello(address="192.0.2.1"))
    assert house.used("concurrent") == 3


def test_the_eleventh_join_is_refused_and_nobody_else_is_touched() -> None:
    house = harness()
    inside = [house.hello() for _ in range(10)]
    for place, session in enumerate(inside):
        house.joined(session, f"room-{place % 2}")
    late = house.hello()
    assert house.join(late) == {
        "type": "denied",
        "request": "join",
        "reason": "pool_full",
        "conference": "room",
        "pool": "concurrent",
        "used": 10,
        "limit": 10,
    }
    assert late.conferences == ()
    assert "room" not in house.state.conferences.by_id
    assert house.used("concurrent") == 10
    house.leave(inside[0], "room-0")
    house.joined(late)


def test_who_is_in_already_may_join_more_at_the_limit() -> None:
    house = harness(users=1)
    ann = house.hello("ann")
    house.joined(ann, "a")
    house.joined(ann, "b")
    assert house.used("concurrent") == 1


def test_a_start_admits_in_order_of_arrival_until_the_pool_is_full() -> None:
    house = harness(users=2)
    first, host, last = house.hello("a"), house.hello("b"), house.hello("c")
    house.joined(first, scheduled=True)
    house.joined(host, host=True)
    house.joined(last)
    outcome = house.start(host)
    assert [(number, message["type"]) for number, message in outcome.notices] == [
        (first.number, "joined"),
        (host.number, "joined"),
        (last.number, "denied"),
    ]
    refused = outcome.notices[2][1]
    assert (refused["request"], refused["conference"], refused["used"]) == ("join", "room", 2)
    assert outcome.answer is not None
    assert outcome.answer["seats"] == ["concurrent"]
    assert last.conferences == ()
    assert house.denied("concurrent") == {"pool_full": 1}


@pytest.mark.parametrize("cause", ["bye", "closed", "reset", "heartbeat_timeout", "kicked", "drained"])
def test_the_end_of_a_connection_releases_at_once_for_its_cause(cause: str) -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann)
    house.end(ann, cause)
    view = house.view("concurrent")
    assert view.used == 0
    assert {name for name, count in view.releases.items() if count} == {cause}


def test_a_takeover_is_a_fresh_session_whose_memberships_ended() -> None:
    house = harness()
    old = house.hello("ann", "pc")
    house.joined(old)
    new, outcome = house.knock("ann", "pc")
    assert outcome.closings == [(old.number, "replaced")]
    assert new is not None
    assert new.conferences == ()
    assert house.used("concurrent") == 0
    assert house.view("concurrent").releases["replaced"] == 1


def test_a_device_without_an_account_is_never_taken_over() -> None:
    house = harness()
    house.hello(None, "pc")
    house.hello(None, "pc")
    assert len(house.state.sessions) == 2


def test_where_claims_are_not_proven_nobody_is_replaced_from_another_address() -> None:
    house = harness()
    old = house.hello("ann", "pc", address="192.0.2.1")
    _, outcome = house.knock("ann", "pc", address="192.0.2.2")
    assert outcome.refused is not None
    assert outcome.refused.reason == "duplicate"
    assert house.state.sessions.of_account("ann") == (old,)


@pytest.mark.parametrize(("policy", "sessions"), [("takeover", 1), ("reject", 1), ("allow", 2)])
def test_a_second_connection_of_a_device_is_treated_as_the_setting_says(policy: str, sessions: int) -> None:
    house = CoreHarness(epop(Epop()), on_duplicate=policy, accounts_mode="token")
    prove(house, "ann")
    assert house.apply(proven_hello("ann", "pc")).refused is None
    refused = house.apply(proven_hello("ann", "pc", "192.0.2.2")).refused
    assert (refused and refused.reason) == ("duplicate" if policy == "reject" else None)
    assert len(house.state.sessions.of_account("ann")) == sessions


def test_only_two_are_in_a_call_whatever_the_license() -> None:
    house = harness()
    ann, bob, cid = house.hello("ann"), house.hello("bob"), house.hello("cid")
    house.joined(ann, mode="call")
    house.joined(bob)
    assert house.join(cid)["reason"] == "conference_full"
    assert house.used("concurrent") == 2


def test_only_declared_conferences_are_joined_where_the_setting_says_so() -> None:
    house = CoreHarness(epop(Epop()), declared_only=True)
    ann = house.hello("ann")
    assert house.join(ann)["reason"] == "no_such_conference"


def test_a_seat_in_use_is_the_sum_of_distinct_connections_over_time() -> None:
    house = harness(users=2)
    ann, bob = house.hello(), house.hello()
    house.joined(ann)
    house.wait(10)
    house.joined(bob)
    house.wait(5)
    house.end(ann)
    house.wait(1)
    view = house.view("concurrent")
    assert view.seat_seconds == 10 + 2 * 5 + 1
    assert view.full_seconds == 5
    assert view.high_water == 2
