"""History: every hour equals a recount of the events by hand, whatever the clocks do."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.snapshot import snapshot
from gateway.core.admission.state_json import digest
from gateway.core.counting.claims import Lease
from gateway.core.counting.denials import MAX_OPEN_DENIALS
from gateway.core.counting.license_model import PoolTerms
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Instant, Session
from gateway.core.counting.usage import HOUR, UsageInterval, UsageSummary, summed
from gateway.core.reporting.history import UsagePiece
from gateway.licensing.epop import Epop, epop
from gateway.licensing.floating import Floating, floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed, nefsis_concurrent, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import START, CoreHarness

WINDOW = 60.0
LIMIT = 2


def hours(harness: CoreHarness, model: str = "floating", pool: str = "seats") -> dict[float, UsageSummary]:
    """What each hour of a pool holds now, all its pieces added up."""
    found: dict[float, list[UsageSummary]] = {}
    for piece in harness.state.history.pieces(harness.now.mono):
        if (piece.model, piece.pool) == (model, pool):
            found.setdefault(piece.start, []).append(piece.summary)
    return {start: summed(pieces) for start, pieces in found.items()}


# -- against a recount ---------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """One event as it was told: when, what (`grant`, `release`, `deny`, `look`), whose, why, and use after it."""

    wall: float
    what: str
    who: str
    why: str
    used: int


class Account:
    """The rule of the pool told once more: distinct accounts, `LIMIT` at most."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[Session]] = {}

    @property
    def used(self) -> int:
        return sum(bool(sessions) for sessions in self.sessions.values())

    def admits(self, account: str) -> bool:
        return bool(self.sessions.get(account)) or self.used < LIMIT


steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 1.0, 30.0, 59.75, 60.0, 60.25, 900.0, 3600.0, 9000.25]),
        st.sampled_from(["come", "come", "come", "go", "look"]),
        st.sampled_from(["ann", "bob", "cid", "dan"]),
        st.sampled_from(["bye", "closed"]),
    ),
    max_size=40,
)


@given(steps)
def test_history_equals_a_recount_of_the_events(taken: list[tuple[float, str, str, str]]) -> None:
    harness = CoreHarness(
        floating(Floating(limit=LIMIT, key="account")), on_duplicate="allow", true_denial_window=WINDOW
    )
    rule = Account()
    told: list[Told] = []
    for wait, what, account, cause in taken:
        harness.now = Instant(harness.now.mono + wait, harness.now.wall + wait)
        sessions = rule.sessions.setdefault(account, [])
        if what == "come":
            admitted, fresh = rule.admits(account), not sessions
            session, outcome = harness.knock(account)
            assert (outcome.refused is None) is admitted
            if session is not None:
                sessions.append(session)
            told.append(
                Told(harness.now.wall, "grant" if admitted else "deny", account, "" if fresh else "again", rule.used)
            )
        elif what == "go" and sessions:
            harness.end(sessions.pop(), cause)
            told.append(Told(harness.now.wall, "release", account, "again" if sessions else cause, rule.used))
        else:
            harness.wait(0)
    harness.wait(100)
    assert {start: figures(use) for start, use in hours(harness).items()} == recount(told, harness.now.wall)


def figures(use: UsageSummary) -> dict[str, object]:
    return {
        "levels": use.levels,
        "peak": use.peak,
        "full": use.full_seconds,
        "grants": use.grants,
        "releases": use.releases,
        "denied": use.denied,
        "true": use.true_denials,
        "seated": use.granted_after_denial,
        "waited": use.wait_seconds,
        "longest": use.longest_wait_seconds,
    }


def recount(told: list[Told], end: float) -> dict[float, dict[str, object]]:
    """Every hour from the beginning to `end`, from nothing but the events."""
    found: dict[float, dict[str, object]] = {}
    start = START
    while start <= end:
        inside = [event for event in told if start <= event.wall < start + HOUR]
        before = [event.used for event in told if event.wall < start]
        used = before[-1] if before else 0
        levels: Counter[int] = Counter()
        peak, at = used, start
        for event in inside:
            levels[used] += event.wall - at  # type: ignore[assignment]
            at, used = event.wall, event.used
            peak = max(peak, used)
        levels[used] += min(start + HOUR, end) - at  # type: ignore[assignment]
        fates = [fate(event, told) for event in inside if event.what == "deny"]
        waits = [wait for wait in fates if wait is not None]
        found[start] = {
            "levels": {level: seconds for level, seconds in levels.items() if seconds},
            "peak": peak,
            "full": float(levels[LIMIT]),
            "grants": sum(event.what == "grant" and not event.why for event in inside),
            "releases": dict(Counter(e.why for e in inside if e.what == "release" and e.why != "again")),
            "denied": len(fates),
            "true": len(fates) - len(waits),
            "seated": len(waits),
            "waited": sum(waits),
            "longest": max(waits, default=0.0),
        }
        start += HOUR
    return found


def fate(denial: Told, told: list[Told]) -> float | None:
    """Seconds until the grant that followed a refusal within the window; None if none did."""
    later = told[told.index(denial) + 1 :]
    waits = [e.wall - denial.wall for e in later if e.what == "grant" and e.who == denial.who]
    return waits[0] if waits and waits[0] <= WINDOW else None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.25, 1.0, 700.0, 3600.0]),
            st.sampled_from([0.0, 0.0, -7200.0, -1.5, 0.5, 40.0, 86400.0]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_a_step_of_the_wall_clock_changes_no_sum(taken: list[tuple[float, float, bool]]) -> None:
    harness = CoreHarness(floating(Floating(limit=LIMIT)))
    held: list[Session] = []
    seconds = seat_seconds = 0.0
    for wait, step, come in taken:
        seconds += wait
        seat_seconds += wait * len(held)
        harness.now = Instant(harness.now.mono + wait, harness.now.wall + wait + step)
        harness.wait(0)
        if come and len(held) < LIMIT:
            held.append(harness.hello())
        elif held:
            harness.end(held.pop())
    harness.wait(0)
    total = summed(hours(harness).values())
    assert total.seconds == pytest.approx(seconds)
    assert total.seat_seconds == pytest.approx(seat_seconds)
    assert total.grants - sum(total.releases.values()) == len(held)
    assert harness.state.history.timelines[0].pool.interval.start == pytest.approx(harness.now.wall // HOUR * HOUR)


def test_a_span_is_split_where_the_hour_ends_though_nobody_looked() -> None:
    harness = CoreHarness(floating(Floating()))
    session = harness.hello()
    harness.wait(2.5 * HOUR)
    harness.end(session)
    harness.wait(HOUR)
    assert [use.levels for use in hours(harness).values()] == [
        {1: HOUR},
        {1: HOUR},
        {1: HOUR / 2, 0: HOUR / 2},
        {0: HOUR / 2},
    ]


def test_a_peak_of_no_duration_is_a_peak() -> None:
    harness = CoreHarness(floating(Floating()))
    for session in [harness.hello() for _ in range(7)]:
        harness.end(session)
    harness.wait(10)
    (use,) = hours(harness).values()
    assert (use.peak, use.levels, use.mean) == (7, {0: 10.0}, 0.0)


def test_an_hour_begins_with_the_use_it_found() -> None:
    harness = CoreHarness(floating(Floating()))
    session = harness.hello()
    harness.wait(HOUR)
    harness.end(session)
    harness.wait(HOUR)
    assert [use.peak for use in hours(harness).values()] == [1, 1, 0]


def test_what_was_there_before_the_beginning_is_no_grant_of_this_run() -> None:
    harness = CoreHarness(floating(Floating(reserve=("ann",), key="account")))
    harness.wait(5)
    (use,) = hours(harness).values()
    assert (use.grants, use.levels) == (0, {1: 5.0})


def test_pieces_have_numbers_of_their_own() -> None:
    harness = CoreHarness(floating(Floating()), epop(Epop()))
    harness.state.numbers.intervals.last = 40
    harness.state.history.begin(harness.now)
    harness.wait(3 * HOUR)
    numbers = [piece.number for piece in harness.state.history.pieces(harness.now.mono)]
    assert sorted(numbers) == list(range(41, 49))


# -- reading -------------------------------------------------------------------------------------------------------


def read_all(harness: CoreHarness, mono: float) -> list[object]:
    """Everything that can be read of the past, at a monotonic instant."""
    history = harness.state.history
    return [
        *[(*piece[:4], figures(piece.summary)) for piece in history.pieces(mono)],
        *[
            (place, history.holding(*place), history.finished_holds(*place))
            for place in dict.fromkeys(history.demand.values())
        ],
        *[(timeline.name, episode.asker, episode.denials) for timeline, episode in history.episodes()],
        snapshot(harness.state, mono),
        digest(harness.state),
    ]


@given(steps, st.lists(st.sampled_from([0.0, 0.75, 30.0, 61.0, 3600.0, 9000.25, 1e6]), min_size=1, max_size=4))
def test_reading_at_any_instants_changes_nothing(
    taken: list[tuple[float, str, str, str]], instants: list[float]
) -> None:
    read, unread = (
        CoreHarness(
            floating(Floating(limit=LIMIT, key="account", linger=60.0)),
            trueconf(TrueConf(pro=1)),
            on_duplicate="allow",
            true_denial_window=WINDOW,
        )
        for _ in range(2)
    )
    for wait, what, account, cause in taken:
        for harness in (read, unread):
            harness.now = Instant(harness.now.mono + wait, harness.now.wall + wait)
            sessions = harness.state.sessions.of_account(account)
            if what == "come":
                session, _ = harness.knock(account)
                if session is not None:
                    harness.join(session)
            elif what == "go" and sessions:
                harness.end(sessions[-1], cause)
            else:
                harness.wait(0)
        before = digest(read.state)
        for ahead in instants:
            read_all(read, read.now.mono + ahead)
            assert digest(read.state) == before
    assert read_all(read, read.now.mono) == read_all(unread, unread.now.mono)


def test_an_hour_is_read_as_a_whole_though_it_ended_since_time_was_last_told() -> None:
    harness = CoreHarness(floating(Floating()))
    session = harness.hello()
    harness.wait(HOUR - 1)
    harness.now = Instant(harness.now.mono + 1.5, harness.now.wall + 1.5)
    harness.end(session)
    assert [use.levels for use in hours(harness).values()] == [{1: HOUR}, {1: 0.5}]
    assert [use.grants for use in hours(harness).values()] == [1, 0]
    harness.wait(0)
    assert [use.levels for use in hours(harness).values()] == [{1: HOUR}, {1: 0.5}]


# -- percentiles ---------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 100).map(float), min_size=1), st.floats(0.001, 1.0))
def test_a_percentile_is_the_least_level_not_exceeded_for_that_share_of_the_time(
    levels: dict[int, float], share: float
) -> None:
    (found,) = UsageSummary(levels).percentiles(share)
    total = sum(levels.values())
    within = sum(seconds for level, seconds in levels.items() if level <= found)
    below = sum(seconds for level, seconds in levels.items() if level < found)
    assert within >= share * total * (1 - 1e-9)
    assert below < share * total


def test_no_time_has_no_percentiles_but_zero() -> None:
    assert UsageSummary().percentiles(0.5, 0.99) == [0, 0]
    assert UsageSummary().mean == 0.0


# -- denials -------------------------------------------------------------------------------------------------------


def full() -> tuple[CoreHarness, Session]:
    """A gateway whose only seat is taken."""
    harness = CoreHarness(floating(Floating(limit=1, key="account")), on_duplicate="allow", true_denial_window=WINDOW)
    return harness, harness.hello("holder", "d")


def fates(harness: CoreHarness) -> tuple[int, int, int]:
    """Denials that came true, that were followed by a seat, and raw."""
    harness.wait(0)
    total = summed(hours(harness).values())
    return total.true_denials, total.granted_after_denial, total.denied


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"account": "ann", "device": "pc"}, {"account": "ann", "device": "phone", "address": "192.0.2.9"}),
        ({"device": "pc"}, {"device": "pc", "address": "192.0.2.9"}),
        ({"address": "192.0.2.9"}, {"address": "192.0.2.9"}),
    ],
)
def test_who_comes_back_is_known_by_account_else_device_else_address(
    first: dict[str, str], second: dict[str, str]
) -> None:
    harness, holder = full()
    harness.knock(**first)
    harness.wait(20)
    harness.end(holder)
    harness.hello(**second)
    assert fates(harness) == (0, 1, 1)
    (use,) = hours(harness).values()
    assert (use.wait_seconds, use.longest_wait_seconds) == (20.0, 20.0)


def test_a_seat_of_somebody_else_is_no_answer() -> None:
    harness, holder = full()
    harness.knock("ann", "pc")
    harness.end(holder)
    harness.hello("bob", "pc")
    harness.wait(61)
    assert fates(harness) == (1, 0, 1)


def test_a_refusal_is_counted_in_its_hour_whenever_its_fate_is_known() -> None:
    harness, _ = full()
    harness.wait(HOUR - 10)
    harness.knock("ann")
    harness.wait(30)
    assert [use.true_denials for use in hours(harness).values()] == [0, 0]
    harness.wait(40)
    assert [(use.denied, use.true_denials) for use in hours(harness).values()] == [(1, 1), (0, 0)]


def test_in_shadow_what_would_have_been_refused_is_a_true_denial_at_once() -> None:
    harness = CoreHarness(floating(Floating()), epop(Epop(users=0)))
    harness.joined(harness.hello("ann"))
    (use,) = hours(harness, "epop", "concurrent").values()
    assert (use.denied, use.true_denials, use.peak) == (1, 1, 1)
    assert list(harness.state.history.episodes()) == []


def test_asking_again_and_again_is_one_episode() -> None:
    harness, holder = full()
    for _ in range(5):
        harness.knock("ann")
        harness.wait(30)
    harness.end(holder)
    harness.hello("ann")
    ((_, episode),) = harness.state.history.episodes()
    assert (episode.denials, episode.true_denials, episode.granted, episode.wait_seconds) == (5, 3, 2, 60.0)
    assert fates(harness) == (3, 2, 5)


def test_a_grant_of_pro_on_request_answers_the_refusal_of_the_account() -> None:
    harness = CoreHarness(trueconf(TrueConf(pro=1, allow_pro_requests=True)))
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.request_pro(ann)
    assert harness.request_pro(bob)["type"] == "denied"
    harness.revoke("ann")
    assert harness.request_pro(bob)["type"] == "granted"
    (use,) = hours(harness, "trueconf", "pro").values()
    assert (use.true_denials, use.granted_after_denial) == (0, 1)


def test_refusals_that_wait_for_their_fate_are_bounded() -> None:
    denials, hour = Pool(PoolTerms("seats", 1), 10.0, 0.0).denial_tracker, UsageInterval()
    for number in range(MAX_OPEN_DENIALS + 10):
        denials.record_denial(("account", f"u{number}"), (f"u{number}", "", "", ""), "pool_full", 0.0, hour)
    assert (hour.true_denials, hour.open_denials) == (10, MAX_OPEN_DENIALS)
    assert len(denials.open_episodes) == MAX_OPEN_DENIALS


# -- demand --------------------------------------------------------------------------------------------------------


def test_demand_is_recorded_once_for_pools_with_the_same_rule() -> None:
    harness = CoreHarness(
        epop(Epop()), nefsis_concurrent(NefsisConcurrent()), nefsis_named(NefsisNamed()), trueconf(TrueConf())
    )
    history = harness.state.history
    assert history.demand["nefsis-concurrent", "concurrent"] == ("epop", "concurrent")
    assert ("nefsis-named", "hosts") not in history.demand
    ann = harness.hello("ann")
    harness.joined(ann)
    harness.wait(30)
    harness.end(ann, "bye")
    end = harness.now.mono
    assert history.finished_holds("epop", "concurrent") == [(1, end - 30, end, "bye")]
    assert history.finished_holds("trueconf", "online") == [(("ann", 1), end - 30, end, "bye")]
    assert history.finished_holds("nefsis-concurrent", "concurrent") == []
    assert history.holding("trueconf", "pro") == [("ann", end - 30)]


def test_a_lease_of_the_last_run_is_held_since_it_was_granted() -> None:
    harness = CoreHarness(trueconf(TrueConf()))
    history, leases = harness.state.history, harness.ledger().leases
    pool: Pool = harness.ledger().pools["pro"]
    assert pool.held_since == {}
    leases.restore(leases.change_of("pro", "ann", Lease(START - 500, 7, START + 500)), START - 1, harness.now)
    history.begin(harness.now)
    assert history.holding("trueconf", "pro") == [("ann", harness.now.mono - 500)]


def test_a_pool_alone_records_nothing_but_levels() -> None:
    pool = Pool(PoolTerms("seats", 1), 10.0, 0.0)
    pool.add("k", Session(1), 1.0)
    pool.remove("k", Session(1), "bye", 3.0)
    assert (pool.held_since, list(pool.finished_holds), pool.ended_intervals) == (None, [], [])


def test_a_piece_says_whose_it_is() -> None:
    harness = CoreHarness(floating(Floating(limit=3)))
    (piece,) = harness.state.history.pieces(harness.now.mono)
    assert piece == UsagePiece(START, 1, "floating", "seats", piece.summary)
    assert piece.summary.limit == 3
