"""Who used the pools, on its way to the store and out of it again: what a report says is what was counted."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.admission import commands as c
from gateway.core.admission.apply import apply
from gateway.core.counting.session import Instant
from gateway.edge.storage import usage_store as module
from gateway.edge.storage.hour_rows import PUT_HOUR
from gateway.edge.storage.store import Statement, Store, StoreUnavailable
from gateway.edge.storage.usage_queries import Period, Persons, PlaceUse, UsageQueries
from gateway.edge.storage.usage_store import FORGET_USE, PUT_USE, PUT_USE_AT_CLOSE, UsageStore
from gateway.licensing.epop import Epop
from gateway.licensing.trueconf import TrueConf
from tests.conftest import until
from tests.core.admission.random_day import RandomDay
from tests.core.counting.test_personal_use import rows_of
from tests.core.harnesses import LicensedHarness
from tests.core_harness import DAY, HOUR, START
from tests.edge.storage.kept import Open

ALWAYS = Period(0, 100_000)
TODAY = int(START // DAY)


async def opened_usage(opened: Open, **terms: Any) -> tuple[LicensedHarness, UsageStore, UsageQueries]:
    harness = LicensedHarness("epop", {"epop": Epop(users=9), "trueconf": TrueConf()}, **terms)
    kept = await opened()
    return harness, UsageStore(harness.state.use, kept.store), UsageQueries(kept.store)


async def of_accounts(queries: UsageQueries, period: Period = ALWAYS) -> dict[tuple[Any, ...], PlaceUse]:
    found, more = await queries.page("account", period, None, 1000)
    assert more is None
    return {(use.key[0], use.model, use.pool): use for use in found}


def meet(harness: LicensedHarness, account: str, seconds: float, device: str | None = None) -> None:
    """Somebody is in a conference for so long."""
    session = harness.hello(account, device)
    harness.joined(session)
    harness.wait(seconds)
    harness.end(session, "bye")


async def test_a_report_says_what_was_counted_up_to_now(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 60)
    bob = harness.hello("bob")
    harness.joined(bob)
    harness.wait(5)
    await usage.flush(lambda: harness.now)
    found = await of_accounts(queries)
    assert found["ann", "epop", "concurrent"].seat_seconds == 60
    assert found["ann", "trueconf", "pro"].seat_seconds == 65  # leased
    assert found["bob", "epop", "concurrent"].seat_seconds == 5
    assert (found["ann", "", ""].first, found["ann", "", ""].last) == (START, START + 60)
    harness.wait(10)
    await usage.flush(lambda: harness.now)
    assert (await of_accounts(queries))["bob", "epop", "concurrent"].seat_seconds == 15


async def test_nothing_is_written_for_an_event_and_all_once_an_hour(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    usage.poll(harness.now)
    meet(harness, "ann", 60)
    usage.poll(harness.now)
    await usage._store.read("SELECT 1")
    assert await of_accounts(queries) == {}
    harness.wait(HOUR)
    usage.poll(harness.now)
    await until(lambda: not usage._store.pending)
    assert ("ann", "epop", "concurrent") in await of_accounts(queries)


async def test_a_day_that_is_over_is_written_in_small_batches(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 7)
    harness, usage, queries = await opened_usage(opened)
    for number in range(30):
        meet(harness, f"user{number:02}", 1)
    harness.wait(2 * DAY)
    written = 0
    while written < 30 * 4:
        usage.poll(harness.now)
        await until(lambda: not usage._store.pending)
        ((now,),) = await usage._store.read("SELECT count(*) FROM usage")
        assert written < now <= written + 7
        written = now
        harness.wait(1)
    found = await of_accounts(queries, Period(TODAY, TODAY))
    assert found["user03", "epop", "concurrent"].seat_seconds == 1


async def test_what_a_failing_store_did_not_take_is_written_later(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 60)
    usage._store.mistrust("a test")
    with pytest.raises(StoreUnavailable):
        await usage.flush(lambda: harness.now)
    await until(lambda: usage._store.available)
    await usage.flush(lambda: harness.now)
    assert (await of_accounts(queries))["ann", "epop", "concurrent"].seat_seconds == 60


async def test_at_the_close_all_is_written(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 60)
    usage.close(harness.now)
    await until(lambda: not usage._store.pending)
    assert (await of_accounts(queries))["ann", "epop", "concurrent"].grants == 1


async def test_at_the_close_all_is_written_whatever_is_on_its_way(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 7)
    harness, usage, _ = await opened_usage(opened)
    for number in range(10):
        meet(harness, f"user{number}", 60)
    usage.poll(harness.now)
    assert usage._under_way is not None
    usage.close(harness.now)
    await until(lambda: not usage._store.pending)
    shares = sum(len(place.by_person) for place in usage.use.places)
    assert await usage._store.read("SELECT count(*) FROM usage") == [(shares,)]


async def test_while_clients_are_sent_away_what_is_over_is_written_and_what_is_held_is_left_to_the_end(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 7)
    harness, usage, _ = await opened_usage(opened)
    for number in range(10):
        meet(harness, f"user{number}", 60)
    staying, going = harness.hello("ann"), harness.hello("bob")
    for session in (staying, going):
        harness.joined(session)
    written: list[Statement] = []
    write = usage._store.write

    def noting(statements: Sequence[Statement]) -> asyncio.Future[None]:
        written.extend(each for each in statements if each.sql in {PUT_USE, PUT_USE_AT_CLOSE})
        return write(statements)

    def rows() -> int:
        return sum(len(json.loads(each.values[0])) if each.sql == PUT_USE else 1 for each in written)

    monkeypatch.setattr(usage._store, "write", noting)
    early = asyncio.create_task(usage.write_released(lambda: harness.now))
    everything = sum(len(place.by_person) for place in usage.use.places)
    held = sum(place.holds(person) for place in usage.use.places for person in place.by_person)
    await until(lambda: rows() == everything - held)
    harness.end(going, "drained")
    over = everything - sum(place.holds(person) for place in usage.use.places for person in place.by_person)
    await until(lambda: rows() == over and not usage._rows)
    early.cancel()
    await asyncio.wait({early})
    assert early.cancelled()
    assert 10 * 2 < everything - held < over < everything
    written.clear()
    harness.end(staying, "drained")
    usage.close(harness.now)
    assert rows() == everything - over
    await until(lambda: not usage._store.pending)
    assert await usage._store.read("SELECT count(*) FROM usage") == [(everything,)]


async def test_what_is_over_is_written_as_soon_as_a_failing_store_is_back(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 60)
    usage._store.mistrust("a test")
    early = asyncio.create_task(usage.write_released(lambda: harness.now))
    await until(lambda: usage._store.available and bool(usage._store.commits.total) and not usage._rows)
    early.cancel()
    await asyncio.wait({early})
    assert (await of_accounts(queries))["ann", "epop", "concurrent"].seat_seconds == 60


async def test_accounts_come_page_by_page_guests_first(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    for number in range(5):
        meet(harness, f"user{number}", 1)
    harness.end(harness.hello(address="192.0.2.9"), "bye")
    await usage.flush(lambda: harness.now)
    seen: list[str] = []
    after: tuple[str, ...] | None = None
    while True:
        page, after = await queries.page("account", ALWAYS, after, 2)
        seen += dict.fromkeys(use.key[0] for use in page)
        if after is None:
            break
    assert seen == ["", "user0", "user1", "user2", "user3", "user4"]


async def test_devices_and_addresses_are_told_apart(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 3, "phone")
    meet(harness, "ann", 4, "laptop")
    harness.end(harness.hello(None, "kiosk"), "bye")
    harness.end(harness.hello(address="192.0.2.9"), "bye")
    await usage.flush(lambda: harness.now)
    page, _ = await queries.page("device", ALWAYS, None, 100)
    seconds = {use.key: use.seat_seconds for use in page if use.pool == ""}
    assert seconds == {
        ("", "", "", "192.0.2.9"): 0.0,
        ("", "", "kiosk", ""): 0.0,
        ("ann", "", "laptop", ""): 4.0,
        ("ann", "", "phone", ""): 3.0,
    }  # fmt: skip


async def test_distinct_persons_of_days_weeks_and_months(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 1)
    meet(harness, "bob", 1)
    harness.end(harness.hello(None, "kiosk"), "bye")
    harness.wait(DAY)
    meet(harness, "ann", 1)
    harness.wait(40 * DAY)
    meet(harness, "cid", 1)
    await usage.flush(lambda: harness.now)
    _, days = await queries.buckets("day", ALWAYS)
    assert days[TODAY] == Persons(2, 1)
    _, months = await queries.buckets("month", ALWAYS)
    _, weeks = await queries.buckets("week", ALWAYS)
    assert list(months.values()) == [(2, 1), (1, 0)]
    assert [each for each in weeks.values() if each != (0, 0)] == [(2, 1), (1, 0)]
    assert all((week + 3) % 7 == 0 for week in weeks)


async def test_names_with_a_slash_are_persons_of_their_own(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened, homes=("c", "b/c"))
    for account, home in (("a/b", "c"), ("a", "b/c")):
        harness.end(harness.hello(account, home=home), "bye")
    for device in ("x", "x/192.0.2.1"):
        harness.end(harness.hello(None, device), "bye")
    await usage.flush(lambda: harness.now)
    _, days = await queries.buckets("day", ALWAYS)
    assert days[TODAY] == Persons(2, 2)


async def test_groups_have_the_use_of_their_accounts_and_the_rest_is_in_none(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    for number, account in enumerate(("ann", "bob", "cid"), 1):
        meet(harness, account, number)
    await usage.flush(lambda: harness.now)
    found, persons = await queries.groups(ALWAYS, {"board": ["ann", "bob"], "sales": ["bob", "zoe"]})
    seconds = {use.key[0]: use.seat_seconds for use in found if use.pool == "concurrent"}
    assert seconds == {"board": 3.0, "sales": 2.0, "": 3.0}
    assert {name: each.accounts for name, each in persons.items()} == {"board": 2, "sales": 1, "": 1}


async def test_days_before_the_time_to_keep_are_deleted(opened: Open) -> None:
    harness, usage, queries = await opened_usage(opened)
    meet(harness, "ann", 1)
    harness.wait(5 * DAY)
    meet(harness, "bob", 1)
    await usage.flush(lambda: harness.now)
    store: Store = usage._store
    hour = [harness.now.wall, 1, "m", "p", 0, None, 0.0, 0, 0, 0, 0.0, 0.0, "{}", "{}", b""]
    await store.write([Statement(PUT_HOUR, tuple(hour))])
    await store.write([Statement(FORGET_USE, (harness.now.wall - DAY,))])
    ((oldest,),) = await store.read("SELECT min(day) FROM usage")
    assert oldest == TODAY + 3
    assert ("bob", "", "") in await of_accounts(queries)


@settings(max_examples=8)
@given(st.integers(0, 10_000))
async def test_a_report_equals_a_recount_of_a_random_life(seed: int) -> None:
    day = RandomDay(seed)
    store = Store(":memory:", list, lambda: 0.0)
    await store.open()
    try:
        usage, queries = UsageStore(day.state.use, store), UsageQueries(store)
        expected: list[Any] = []
        for number, _ in enumerate(day.commands(400)):
            if number % 90 == 0:
                usage.poll(day.now)
                await until(lambda: not store.pending)
        later = Instant(day.now.mono + DAY, day.now.wall + DAY)
        apply(day.state, c.Tick(), later)
        await usage.flush(lambda: later)
        ((rows,),) = await store.read("SELECT count(*) FROM usage")
        assert rows
        found, _ = await queries.page("account", ALWAYS, None, 1000)
        for ledger in day.state.ledgers:
            for name, pool in ledger.pools.items():
                totals = pool.totals(later.mono)
                uses = [use for use in found if (use.model, use.pool) == (ledger.model.name, name)]
                expected = [totals.seat_seconds, totals.grants - len(pool.terms.reserve), sum(totals.denials.values())]
                assert [
                    sum(use.seat_seconds for use in uses),
                    sum(use.grants for use in uses),
                    sum(use.denials for use in uses),
                ] == pytest.approx(expected)
        by_account: dict[tuple[str, ...], float] = defaultdict(float)
        for row in rows_of(day.state.use, later.mono):
            by_account[row.account, row.model, row.pool] += row.seat_seconds
        now: dict[tuple[str, ...], float] = defaultdict(float)
        for use in found:
            now[use.key[0], use.model, use.pool] += use.seat_seconds
        assert all(now[key] >= seconds - 1e-6 for key, seconds in by_account.items())
    finally:
        await store.close()
