"""What pools note of their seats, for whoever tells it on: as much as is counted, and no more than is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.counting.seat_events import SeatEvents
from gateway.licensing.floating import Floating, floating
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import CoreHarness


def watched(core: CoreHarness, most: int = 100) -> SeatEvents:
    """The events of the enforced model from now on."""
    events = SeatEvents(most)
    for pool in core.ledger().pools.values():
        pool.events = events
    return events


def test_a_seat_is_granted_denied_and_released_with_who_it_was_and_why() -> None:
    core = CoreHarness(floating(Floating(limit=1)))
    events = watched(core)
    ann = core.hello("ann", "laptop")
    assert core.knock("bob", "phone")[0] is None
    core.wait(2.0)
    core.end(ann, "heartbeat_timeout")
    granted, denied, released = events.take()
    assert granted == ("granted", "seats", ("ann", "", "laptop", ""), ann.number, 1000.0, 1, 1, ())
    assert denied == ("denied", "seats", ("bob", "", "phone", ""), None, 1000.0, 1, 1, (("reason", "pool_full"),))
    assert released == (
        "released", "seats", ("ann", "", "laptop", ""), ann.number, 1002.0, 0, 1, (("cause", "heartbeat_timeout"),),
    )  # fmt: skip
    assert events.take() == []


@pytest.mark.parametrize("key", ["connection", "device", "account"])
def test_a_seat_that_lingered_is_released_with_who_held_it(key: Any) -> None:
    core = CoreHarness(floating(Floating(limit=3, key=key, linger=5.0)))
    events = watched(core)
    sessions = core.hello("ann", "laptop"), core.hello("bob"), core.hello(address="192.0.2.7")
    for session in sessions:
        core.end(session, "reset")
    core.wait(6.0)
    assert [each.person for each in events.take() if each.name == "released"] == [
        ("ann", "", "laptop", ""),
        ("bob", "", "", ""),
        ("", "", "", "192.0.2.7"),
    ]


def test_who_a_model_that_refuses_nobody_would_have_refused_was_admitted() -> None:
    core = CoreHarness(floating(Floating(limit=1)), enforce=False)
    events = watched(core)
    core.hello("ann")
    core.hello("bob")
    assert [(each.name, dict(each.detail)) for each in events.take()] == [
        ("granted", {}),
        ("denied", {"reason": "pool_full", "admitted": True}),
        ("granted", {}),
    ]


def test_a_wait_begins_and_ends_with_the_seat_or_without() -> None:
    core = CoreHarness(floating(Floating(limit=1)), queue_limit=5)
    ann = core.hello("ann")
    events = watched(core)
    for name, seconds in (("bob", 10), ("eve", 3)):
        core.apply(c.Wait(c.Hello("app", name, None, "", "", "192.0.2.1", "tcp"), seconds))
    core.wait(4.0)
    core.end(ann)
    told = [(each.name, each.person[0], each.session is not None, dict(each.detail)) for each in events.take()]
    assert told == [
        ("queue.queued", "bob", False, {"request": "hello", "position": 1}),
        ("queue.queued", "eve", False, {"request": "hello", "position": 2}),
        ("queue.ended", "eve", False, {"request": "hello", "outcome": "timed_out", "waited_seconds": 4.0}),
        ("released", "ann", True, {"cause": "closed"}),
        ("granted", "bob", True, {}),
        ("queue.granted", "bob", False, {"request": "hello", "waited_seconds": 4.0}),
    ]


def test_events_agree_with_what_is_counted_over_leases_and_takeovers() -> None:
    core = CoreHarness(trueconf(TrueConf(pro=2, online=6)))
    events = watched(core, most=1000)
    for name in ("ann", "bob", "zoe"):
        session = core.hello(name, "laptop")
        core.join(session)
    core.hello("ann", "laptop")  # takes over
    core.wait(25 * 3600.0)
    taken = events.take()
    for name, pool in core.ledger().pools.items():
        of_pool = [each.name for each in taken if each.pool == name]
        assert of_pool.count("granted") == pool.grants
        assert of_pool.count("released") == sum(pool.releases.values())
        assert of_pool.count("denied") == sum(pool.denial_counts.values())
        assert of_pool.count("granted") - of_pool.count("released") == pool.used
    assert any(each.name == "denied" for each in taken)


def test_no_more_wait_than_the_bound_and_what_did_not_fit_is_counted() -> None:
    core = CoreHarness(floating(Floating(limit=0)))
    events = watched(core, most=3)
    for number in range(5):
        core.hello(f"u{number}")
    assert [each.person[0] for each in events.take()] == ["u0", "u1", "u2"]
    assert events.dropped == 2
    core.hello("u9")
    assert [each.person[0] for each in events.take()] == ["u9"]
