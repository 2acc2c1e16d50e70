"""Where a gateway stands with its license, over time, by both of its clocks."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registration.authentication import canonical, mac
from gateway.core.registration.grant import Grant, LicensableModel
from gateway.core.registration.license_status import (
    GRANTING,
    PACE,
    SHUT,
    ClockReading,
    LicenseState,
    LicenseStatus,
    skew,
)
from gateway.licensing import OFFERS

KEY = bytes(range(32))
GRACE = 43_200.0
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
BOOT = 5000.0
FREE = Grant("trueconf", "free", {"pro": 7}, (), True, None)
PAID = Grant("trueconf", "server", {"pro": 7}, ("sdk",), False, None)


def at(seconds: float = 0.0, *, ahead: float = 0.0, life: str = "a") -> ClockReading:
    """An instant after noon, with a wall clock that is ahead of what has passed."""
    return ClockReading(NOON + seconds + ahead, BOOT + seconds, life)


def accepted(grant: Grant = FREE, *, interval: int = 60, grace: float = GRACE, connected: bool = True) -> LicenseStatus:
    """A gateway whose license was confirmed at noon."""
    standing = LicenseStatus(grace, needed=True)
    standing.accept(grant, interval, "t1", at())
    if not connected:
        standing.lose()
    return standing


def restored(standing: LicenseStatus, moment: ClockReading) -> LicenseStatus:
    """The same gateway after a restart."""
    again = LicenseStatus(standing.grace, needed=standing.needed)
    kept = json.loads(json.dumps(standing.to_json("DEMO-1", KEY, "a")))
    assert again.restore(kept, "DEMO-1", KEY, OFFERS, moment)
    return again


# -- the states --------------------------------------------------------------------------------------------------------


def test_every_state_grants_or_not_and_is_shut_or_not() -> None:
    assert [state for state in LicenseState if state in GRANTING] == [
        LicenseState.OFF,
        LicenseState.REGISTERED,
        LicenseState.GRACE,
    ]
    assert [state for state in LicenseState if state in SHUT] == [LicenseState.EXPIRED, LicenseState.REVOKED]


def test_who_needs_no_license_is_off_whatever_happens() -> None:
    standing = LicenseStatus(GRACE, needed=False)
    assert standing.state(at()) is LicenseState.OFF
    assert standing.reason(at()) is None
    assert standing.left(at()) == math.inf


def test_who_was_never_confirmed_is_unregistered() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    assert standing.state(at(10 * GRACE)) is LicenseState.UNREGISTERED
    assert standing.shutdown_at(at()) is None
    assert standing.reason(at()) == "no registration server has confirmed the license yet"


@pytest.mark.parametrize("interval", [1, 10, 11, 60, 600])
def test_an_answer_is_good_for_its_interval_and_ten_seconds_at_least(interval: int) -> None:
    standing, window = accepted(interval=interval), max(10, interval)
    assert standing.window == window
    assert standing.state(at(window - 0.001)) is LicenseState.REGISTERED
    assert standing.state(at(window)) is LicenseState.GRACE
    assert standing.pause == pytest.approx(PACE * interval)


@pytest.mark.parametrize(("interval", "grace"), [(1, 5.0), (60, 5.0), (86_400, 43_200.0)])
def test_no_answer_outlives_the_grace_and_the_next_is_asked_for_before(interval: int, grace: float) -> None:
    standing = accepted(interval=interval, grace=grace)
    assert standing.state(at(grace - 0.001)) is LicenseState.REGISTERED
    assert standing.state(at(grace)) is LicenseState.EXPIRED
    assert standing.pause < grace
    assert accepted(PAID, interval=interval, grace=grace).state(at(grace)) in GRANTING


def test_a_lost_connection_begins_the_grace_at_once_which_counts_from_the_last_answer() -> None:
    standing = accepted()
    assert standing.shutdown_at(at(5)) is None
    assert standing.left(at(5)) == math.inf
    standing.lose()
    assert standing.state(at(5)) is LicenseState.GRACE
    assert standing.shutdown_at(at(5)) == NOON + GRACE
    assert standing.left(at(5)) == GRACE - 5
    assert standing.reason(at(5)) == "no answer of the registration server since 2026-11-21T12:00:00Z"


def test_grace_is_over_exactly_at_its_end() -> None:
    standing = accepted(connected=False)
    assert standing.state(at(GRACE - 0.001)) is LicenseState.GRACE
    assert standing.left(at(GRACE - 0.5)) == 0.5
    assert standing.state(at(GRACE)) is LicenseState.EXPIRED
    assert standing.left(at(GRACE + 9)) == 0.0
    assert standing.shutdown_at(at(GRACE)) == NOON + GRACE
    assert (standing.reason(at(GRACE)) or "").endswith("since 2026-11-21T12:00:00Z, and the grace is over")


def test_a_connection_that_says_nothing_is_a_lost_one() -> None:
    assert accepted().state(at(GRACE)) is LicenseState.EXPIRED


def test_a_verified_answer_begins_it_all_anew() -> None:
    standing = accepted(connected=False)
    assert standing.state(at(2 * GRACE)) is LicenseState.EXPIRED
    standing.confirm("t2", at(2 * GRACE))
    assert standing.ticket == "t2"
    assert standing.state(at(2 * GRACE + 59)) is LicenseState.REGISTERED
    standing.lose()
    assert standing.state(at(3 * GRACE - 1)) is LicenseState.GRACE
    assert standing.state(at(3 * GRACE)) is LicenseState.EXPIRED


def test_a_paid_license_stays_in_grace_without_end() -> None:
    standing = accepted(PAID, connected=False)
    assert standing.state(at(1000 * GRACE)) is LicenseState.GRACE
    assert standing.shutdown_at(at(GRACE)) is None
    assert standing.left(at(GRACE)) == math.inf


@pytest.mark.parametrize("grant", [FREE, PAID])
@pytest.mark.parametrize("how", ["connected", "lost", "offline"])
def test_any_license_ends_after_its_last_second(grant: Grant, how: str) -> None:
    ended = grant._replace(not_after=NOON + 50)
    standing = accepted(ended, connected=how == "connected")
    if how == "offline":
        standing.install(ended, NOON, at())
    assert standing.state(at(50)) in GRANTING
    assert standing.state(at(50.001)) is LicenseState.EXPIRED
    assert standing.reason(at(51)) == "the license ended at 2026-11-21T12:00:50Z"


def test_a_revoked_license_is_so_at_once_until_a_registration_says_otherwise() -> None:
    standing = accepted()
    standing.revoke("expired")
    assert standing.state(at(1)) is LicenseState.REVOKED
    assert standing.reason(at(1)) == "the registration server refuses the license: expired"
    assert standing.shutdown_at(at(1)) is None
    standing.confirm("t2", at(2))
    assert standing.state(at(2)) is LicenseState.REVOKED
    standing.accept(FREE, 60, "t3", at(3))
    assert standing.state(at(3)) is LicenseState.REGISTERED


def test_who_is_refused_before_anything_was_granted_is_told_why() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    standing.revoke("revoked")
    assert standing.state(at()) is LicenseState.REVOKED
    assert standing.reason(at()) == "the registration server refuses the license: revoked"


@pytest.mark.parametrize("grant", [FREE, PAID])
def test_a_license_installed_offline_needs_no_connection(grant: Grant) -> None:
    standing = accepted(connected=False)
    standing.revoke("revoked")
    standing.install(grant, NOON - 60, at(GRACE))
    assert standing.state(at(1000 * GRACE)) is LicenseState.REGISTERED
    assert standing.state(at(GRACE, ahead=-GRACE)) is LicenseState.REGISTERED
    assert standing.shutdown_at(at(2 * GRACE)) is None
    assert standing.issued == NOON - 60
    standing.accept(FREE, 60, "t2", at(2 * GRACE))
    standing.lose()
    assert standing.state(at(3 * GRACE)) is LicenseState.REGISTERED, "an answer takes nothing away"


def test_a_license_installed_offline_that_has_ended_leaves_what_the_registrar_said_last() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    standing.install(FREE._replace(not_after=NOON + 100), NOON, at())
    standing.accept(FREE, 60, "t2", at(50))
    standing.lose()
    assert standing.state(at(100)) is LicenseState.REGISTERED
    assert standing.state(at(101)) is LicenseState.GRACE
    assert standing.shutdown_at(at(101)) == NOON + 50 + GRACE
    assert standing.state(at(50 + GRACE)) is LicenseState.EXPIRED


def test_a_clock_set_back_before_an_answer_makes_no_license_longer() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    year = 365 * 86_400.0
    standing.accept(PAID._replace(not_after=NOON + 100), 60, "t1", at(ahead=-year), NOON)
    assert standing.state(at(20, ahead=-year)) is LicenseState.REGISTERED
    standing.lose()
    again = restored(standing, at(60, ahead=-year))
    assert again.state(at(100, ahead=-year)) is LicenseState.GRACE
    assert again.state(at(101, ahead=-year)) is LicenseState.EXPIRED


def test_an_answer_that_was_held_back_makes_no_license_longer() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    standing.install(PAID._replace(not_after=NOON + 1000), NOON, at())
    standing.install(PAID._replace(not_after=NOON + 1000), NOON + 10, at(500, ahead=-490))
    assert standing.state(at(1000, ahead=-490)) is LicenseState.REGISTERED
    assert standing.state(at(1001, ahead=-490)) is LicenseState.EXPIRED


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "state"),
    [(299.0, LicenseState.GRACE), (300.0, LicenseState.GRACE), (300.001, LicenseState.CLOCK_ROLLBACK)],
)
def test_a_wall_clock_may_be_five_minutes_behind_its_high_water_mark(behind: float, state: LicenseState) -> None:
    standing = accepted(connected=False)
    standing.record_time(ClockReading(NOON + 7200, BOOT + 3600, "a"))  # an hour ahead: the mark is 14:00
    assert standing.wall_high_water == NOON + 7200
    moment = ClockReading(NOON + 7200 - behind, BOOT + 3600, "a")
    assert standing.state(moment) is state
    assert (standing.reason(moment) or "").startswith(
        "the clock was set back: it has been 2026-11-21T14:00:00Z"
        if state is LicenseState.CLOCK_ROLLBACK
        else "no answer"
    )


def test_a_clock_that_was_set_back_grants_again_when_it_catches_up() -> None:
    standing = accepted(connected=False)
    standing.record_time(at(3600))
    assert standing.state(at(3600, ahead=-1000)) is LicenseState.CLOCK_ROLLBACK
    standing.record_time(at(3600, ahead=-1000))
    assert standing.state(at(4299, ahead=-1000)) is LicenseState.CLOCK_ROLLBACK
    assert standing.state(at(4300, ahead=-1000)) is LicenseState.GRACE


@pytest.mark.parametrize("connected", [True, False])
def test_a_verified_answer_sets_the_mark_anew(connected: bool) -> None:
    standing = accepted(connected=connected)
    standing.record_time(at(30))
    assert standing.state(at(31, ahead=-9000)) is LicenseState.CLOCK_ROLLBACK
    standing.confirm("t2", at(31, ahead=-9000))
    assert standing.wall_high_water == NOON + 31 - 9000
    assert standing.state(at(32, ahead=-9000)) is LicenseState.REGISTERED


def test_a_clock_set_back_only_warns_where_no_connection_is_needed() -> None:
    standing = accepted(PAID, connected=False)
    standing.record_time(at(3600))
    assert standing.rolled_back(at(3600, ahead=-9000))
    assert standing.state(at(3600, ahead=-9000)) is LicenseState.GRACE


def test_the_end_of_grace_is_stronger_than_a_clock_that_was_set_back() -> None:
    assert accepted(connected=False).state(at(GRACE, ahead=-9000)) is LicenseState.EXPIRED


@pytest.mark.parametrize("ahead", [-GRACE, -9000.0, -299.0, 0.0])
def test_setting_the_wall_clock_back_delays_nothing(ahead: float) -> None:
    standing = accepted(connected=False)
    assert standing.left(at(GRACE - 60, ahead=ahead)) == 60
    assert standing.state(at(GRACE, ahead=ahead)) is LicenseState.EXPIRED


def test_setting_the_wall_clock_back_again_and_again_delays_nothing_after_a_time_off_that_it_told() -> None:
    standing = accepted(connected=False)
    standing.record_time(at(3600))
    standing = restored(standing, ClockReading(NOON + 4 * 3600, 10.0, "b"))  # three hours off
    standing.record_time(ClockReading(NOON + 4 * 3600, 10.0, "b"))
    for run in range(0, 8 * 3600, 290):
        moment = ClockReading(NOON + 4 * 3600 - 290, 10.0 + run, "b")
        assert standing.state(moment) is LicenseState.GRACE
        assert standing.left(moment) == 8 * 3600 - run
        standing.record_time(moment)
    assert standing.state(ClockReading(NOON + 4 * 3600 - 290, 10.0 + 8 * 3600, "b")) is LicenseState.EXPIRED


def test_setting_the_wall_clock_forward_ends_the_grace_but_not_a_living_connection() -> None:
    standing = accepted()
    assert standing.state(at(30, ahead=GRACE)) is LicenseState.REGISTERED
    standing.lose()
    assert standing.state(at(30, ahead=GRACE)) is LicenseState.EXPIRED
    standing.confirm("t2", at(31, ahead=GRACE))
    assert standing.state(at(31, ahead=GRACE)) is LicenseState.REGISTERED


def test_a_machine_that_slept_has_aged() -> None:
    standing = accepted()
    assert standing.state(at(GRACE - 1)) is LicenseState.GRACE
    standing.record_time(at(GRACE - 1))
    assert standing.state(ClockReading(NOON, BOOT + GRACE, "a")) is LicenseState.EXPIRED


@pytest.mark.parametrize(("told", "differs"), [(300.0, None), (-300.0, None), (301.0, 301), (-4000.4, -4000)])
def test_clocks_that_differ_by_more_than_five_minutes_are_worth_a_report(told: float, differs: int | None) -> None:
    assert skew(NOON + told, NOON) == differs


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_restart_goes_on_with_the_grace_and_knows_the_time_that_nobody_noted() -> None:
    standing = accepted()
    standing.record_time(at(100))
    again = restored(standing, at(3600))
    assert again.state(at(3600)) is LicenseState.GRACE
    assert (again.ticket, again.interval, again.grant) == ("t1", 60, FREE)
    assert again.left(at(3600, ahead=-299)) == GRACE - 3600
    assert again.state(at(GRACE, ahead=-299)) is LicenseState.EXPIRED


def test_after_another_start_of_the_machine_the_wall_clock_tells_how_long_it_was_off() -> None:
    standing = accepted()
    standing.record_time(at(100))
    again = restored(standing, ClockReading(NOON + 3600, 10.0, "b"))
    assert again.left(ClockReading(NOON + 3600, 10.0, "b")) == GRACE - 3600
    assert again.left(ClockReading(NOON + 3600, 20.0, "b")) == GRACE - 3610
    assert again.state(ClockReading(NOON + GRACE, 20.0, "b")) is LicenseState.EXPIRED


def test_a_wall_clock_that_stood_still_while_the_machine_was_off_adds_up_the_times_it_was_on() -> None:
    standing = accepted()
    for life in range(1, 12):
        standing.record_time(ClockReading(NOON, standing.boot + 3600, str(life - 1)))
        standing = restored(standing, ClockReading(NOON, 10.0, str(life)))
        assert standing.left(ClockReading(NOON, 10.0, str(life))) == GRACE - life * 3600
    assert standing.state(ClockReading(NOON, 10.0 + 3599, "11")) is LicenseState.GRACE
    assert standing.state(ClockReading(NOON, 10.0 + 3600, "11")) is LicenseState.EXPIRED


def test_a_clock_that_counts_anew_in_the_same_life_counts_from_the_restart() -> None:
    again = restored(accepted(), ClockReading(NOON, 10.0, "a"))
    assert again.left(ClockReading(NOON, 70.0, "a")) == GRACE - 60


@pytest.mark.parametrize("what", ["revoked", "offline", "rolled back", "unregistered"])
def test_a_restart_changes_no_state(what: str) -> None:
    standing = LicenseStatus(GRACE, needed=True) if what == "unregistered" else accepted(connected=False)
    moment = at(60)
    if what == "revoked":
        standing.revoke("revoked")
    if what == "offline":
        standing.install(PAID, NOON, at())
    if what == "rolled back":
        standing.record_time(at(3600))
        moment = at(3600, ahead=-9000)
    assert restored(standing, moment).state(moment) is standing.state(moment)


CHANGES: list[dict[str, Any]] = [
    {"accepted": (NOON + 60) * 1000},
    {"high": 0},
    {"latest": 0},
    {"boot": 0},
    {"life": "b"},
    {"revoked": None},
    {"offline": True},
    {"grant": PAID.to_json()},
    {"ticket": "t9"},
    {"more": 1},
    {"mac": "0" * 64},
    {"mac": None},
    {"serial": "DEMO-2"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_taken_from_a_document_that_was_changed(change: dict[str, Any]) -> None:
    standing = accepted()
    standing.revoke("revoked")
    kept = standing.to_json("DEMO-1", KEY, "a")
    fresh = LicenseStatus(GRACE, needed=True)
    assert not fresh.restore({**kept, **change}, "DEMO-1", KEY, OFFERS, at())
    assert fresh.to_json("DEMO-1", KEY, "a") == LicenseStatus(GRACE, needed=True).to_json("DEMO-1", KEY, "a")
    assert fresh.restore(kept, "DEMO-1", KEY, OFFERS, at())


def test_a_license_issued_before_it_was_revoked_is_too_old_to_be_installed() -> None:
    standing = accepted()
    standing.record_time(at(90))
    standing.revoke("revoked")
    assert standing.issued == NOON + 90
    assert restored(standing, at(100)).issued == NOON + 90


def test_time_is_not_before_the_license_was_issued() -> None:
    standing = LicenseStatus(GRACE, needed=True)
    grant = FREE._replace(not_after=NOON + 7200)
    standing.install(grant, NOON + 3600, at())
    assert standing.state(at(3600)) is LicenseState.REGISTERED
    assert standing.state(at(3601)) is LicenseState.EXPIRED


def test_the_document_of_another_license_is_not_taken() -> None:
    kept = accepted().to_json("DEMO-1", KEY, "a")
    assert not LicenseStatus(GRACE, needed=True).restore(kept, "DEMO-2", KEY, OFFERS, at())
    assert not LicenseStatus(GRACE, needed=True).restore(kept, "DEMO-1", KEY[::-1], OFFERS, at())


@pytest.mark.parametrize("missing", ["serial", "grant", "latest", "interval"])
def test_what_is_no_document_is_a_fault(missing: str) -> None:
    kept = accepted().to_json("DEMO-1", KEY, "a")
    short = {name: value for name, value in kept.items() if name not in {missing, "mac"}}
    with pytest.raises(LookupError):
        LicenseStatus(GRACE, needed=True).restore(
            {**short, "mac": mac(KEY, "standing", canonical(short))}, "DEMO-1", KEY, OFFERS, at()
        )


def test_a_grant_of_a_model_that_is_offered_no_more_is_a_fault() -> None:
    kept = accepted().to_json("DEMO-1", KEY, "a")
    with pytest.raises(ValueError, match="model"):
        LicenseStatus(GRACE, needed=True).restore(kept, "DEMO-1", KEY, {"floating": LicensableModel(("seats",))}, at())


seconds = st.floats(0, 4e9, allow_nan=False)


@given(
    walls=st.lists(st.tuples(seconds, st.floats(0, 1e8)), min_size=1, max_size=5),
    grant=st.sampled_from([FREE, PAID, PAID._replace(not_after=NOON)]),
    interval=st.integers(1, 86_400),
    ticket=st.text(max_size=128),
    revoked=st.none() | st.text(max_size=64),
    issued=st.none() | seconds,
)
def test_what_is_restored_is_what_was_kept(
    walls: list[tuple[float, float]],
    grant: Grant,
    interval: int,
    ticket: str,
    revoked: str | None,
    issued: float | None,
) -> None:
    standing = LicenseStatus(GRACE, needed=True)
    standing.accept(grant, interval, ticket, ClockReading(*walls[0]))
    if issued is not None:
        standing.install(grant, issued, ClockReading(*walls[0]))
    if revoked is not None:
        standing.revoke(revoked)
    for wall, boot in walls[1:]:
        standing.record_time(ClockReading(wall, boot))
    kept = standing.to_json("DEMO-1", KEY, "a")
    for _ in range(3):
        again = LicenseStatus(GRACE, needed=True)
        told = json.loads(json.dumps(kept, ensure_ascii=False))
        assert again.restore(told, "DEMO-1", KEY, OFFERS, ClockReading(0.0, kept["boot"] / 1000, "a"))
        assert again.to_json("DEMO-1", KEY, "a") == kept
    assert (again.grant, again.interval, again.ticket, again.revoked) == (grant, interval, ticket, revoked)
    assert again.offline is (issued is not None and revoked is None)
    for name in ("accepted", "wall_high_water", "latest_time", "boot"):
        assert getattr(again, name) == pytest.approx(getattr(standing, name), abs=0.00051, rel=0)
