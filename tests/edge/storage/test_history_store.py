"""Ended seats on their way to the store: what is not written one by one does not wait in memory either."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from config.record_settings import HistorySettings
from gateway.core.counting.session import Key
from gateway.edge.storage import history_store as module
from gateway.edge.storage.history_store import HistoryStore, paced
from gateway.edge.storage.waiting_holds import WaitingHolds
from gateway.licensing.epop import Epop
from tests.conftest import until
from tests.core.harnesses import LicensedHarness
from tests.edge.storage.kept import Open

PLACE = ("epop", "concurrent")


def come_and_go(harness: LicensedHarness, names: int, first: int = 0) -> None:
    """So many made-up names meet for a second each."""
    for number in range(first, first + names):
        session = harness.hello(f"made-up-{number}")
        harness.joined(session)
        harness.wait(1.0)
        harness.end(session, "closed")


async def ended(history: HistoryStore, harness: LicensedHarness) -> int:
    """How many ended seats the history knows one by one, in memory or in the store."""
    pages = [page async for page in history.demand(*PLACE, 0.0, harness.now)]
    return sum(len(page) for page in pages)


async def opened_history(opened: Open, **settings: Any) -> tuple[LicensedHarness, HistoryStore]:
    harness = LicensedHarness("epop", {"epop": Epop(users=9)})
    kept = await opened()
    return harness, HistoryStore(harness.state.history, kept.store, replace(HistorySettings(), **settings))


async def test_what_is_beyond_the_rows_of_an_hour_does_not_wait_in_memory(opened: Open) -> None:
    harness, history = await opened_history(opened, rows_per_pool=10)
    come_and_go(harness, 200)
    history.poll(harness.now)
    assert list(harness.ledger().pools["concurrent"].finished_holds) == []
    assert history.holds_quota.left_out[PLACE] == 190
    come_and_go(harness, 50, 200)
    history.poll(harness.now)
    assert list(harness.ledger().pools["concurrent"].finished_holds) == []
    assert history.holds_quota.left_out[PLACE] == 240
    assert await ended(history, harness) == 10


async def test_what_may_be_written_is_known_before_and_after(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLDS_PER_LOOK", 20)
    monkeypatch.setattr(module, "HOLDS_PER_BATCH", 4)
    harness, history = await opened_history(opened)
    come_and_go(harness, 50)
    history.poll(harness.now)
    assert len(harness.ledger().pools["concurrent"].finished_holds) == 30
    assert await ended(history, harness) == 50  # some are being written, some may be, some were not looked at

    async def written() -> int:
        history.poll(harness.now)
        ((rows,),) = await history._store.read("SELECT count(*) FROM hold")
        return int(rows)

    rows = 0
    while rows < 50:
        before, rows = rows, await written()
        assert rows - before <= 4
    assert await ended(history, harness) == 50
    history.close(harness.now)


async def test_what_has_ended_is_taken_in_parts_without_being_written(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOLDS_PER_LOOK", 20)
    harness, history = await opened_history(opened)
    come_and_go(harness, 50)
    finished = harness.ledger().pools["concurrent"].finished_holds
    left = []
    for _ in range(3):
        history.take_ended(harness.now)
        left.append(len(finished))
    assert left == [30, 10, 0]
    assert history._under_way is None
    assert await ended(history, harness) == 50


async def test_at_the_close_everything_that_may_be_written_is(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLDS_PER_LOOK", 5)
    harness, history = await opened_history(opened)
    come_and_go(harness, 50)
    history.poll(harness.now)
    history.close(harness.now)

    async def rows() -> int:
        ((number,),) = await history._store.read("SELECT count(*) FROM hold")
        return int(number)

    await until(lambda: not history._store.pending)
    assert await rows() == 50


@pytest.mark.parametrize(
    ("key", "rooms", "room"), [("ann", False, None), (("ann", "pc"), False, None), (("weekly", 7), True, "weekly")]
)
def test_a_hold_that_waits_is_what_it_was(key: Key, rooms: bool, room: str | None) -> None:
    waiting = WaitingHolds(hash, rooms=rooms)
    waiting.add((key, 1.25, 2.5, "bye"))
    waiting.add((key, 3.0, 3.0, "forgotten"))
    number, of_room = hash(key), None if room is None else hash(room)
    expected = [(1.25, 2.5, number, of_room, "bye"), (3.0, 3.0, number, of_room, "forgotten")]
    assert [tuple(each) for each in waiting] == expected
    assert [tuple(each) for each in waiting.take(1)] == expected[:1]
    assert [tuple(each) for each in waiting.take(math.inf)] == expected[1:]
    assert len(waiting) == 0


async def test_long_work_lets_the_loop_turn_after_each_piece() -> None:
    turns, seen = [0], []

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    def work() -> Generator[None, None, str]:
        for _ in range(3):
            seen.append(turns[0])
            yield
        return "done"

    running = asyncio.create_task(others())
    assert await paced(work()) == "done"
    running.cancel()
    await asyncio.wait({running})
    assert seen == [0, 1, 2]
