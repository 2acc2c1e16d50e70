"""Writes history into the store, and reads it again for reports.

Once a second `poll` writes what is due: intervals that are over, the present interval of each pool about once a minute,
finished holds and episodes of denials. That joins a group commit, and nobody waits for it. One batch is under way at a
time; it is written again until it is durable, and writing it twice changes nothing. What the store cannot take waits in
memory: for each pool the latest 31 days of intervals, 100,000 holds and 50,000 episodes.

A reader gets what the store has and what only memory has. Reading is done in pages, and long work on the pages yields
to the event loop again and again, so that heartbeats are not delayed.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any, TypeVar

from config.record_settings import HistorySettings
from gateway.core.counting.denials import DenialEpisode
from gateway.core.counting.pool import MAX_FINISHED_HOLDS
from gateway.core.counting.session import Instant, Key, account_and_home
from gateway.core.counting.usage import HOUR, UsageInterval
from gateway.core.reporting.history import History, PoolTimeline, UsagePiece, usage_piece
from gateway.edge.storage.denial_rows import PUT_DENIAL, DenialRow
from gateway.edge.storage.history_quota import HistoryQuota
from gateway.edge.storage.hour_rows import piece_of, put_hour
from gateway.edge.storage.pseudonyms import Pseudonyms
from gateway.edge.storage.steady_clock import SteadyClock
from gateway.edge.storage.store import Statement, Store
from gateway.edge.storage.usage_store import FORGET_USE
from gateway.edge.storage.waiting_holds import WaitingHolds, key_numbers

PRESENT_HOUR_EVERY = 60.0
"""Seconds between two writes of the present hour of a pool."""
HOLDS_PER_BATCH = 2000
"""Ended holds that are written at once."""
HOLDS_PER_LOOK = 500
"""Ended holds of a pool that are taken at once: more would keep the event loop from heartbeats."""
ROWS_FORGOTTEN_AT_ONCE = 8000
"""Rows beyond the time to keep that are deleted at once."""
DENIALS_FORGOTTEN_EVERY = 600.0
"""Seconds between two deletions of denials that are too old; each takes those of an hour."""
HOUR_FORGOTTEN_EVERY = 600.0
"""Seconds between two hours that are forgotten: a clock that stays wrong costs no more at once."""
LAST_NUMBER = 2**63 - 1
"""Above the number of every episode."""
ROWS_PER_PAGE = 1000
"""Rows of one page of a query."""
HOURS_PER_PAGE = 200
"""Pieces of hours of one page."""
LEVELS_PER_TURN = 2000
"""Levels of use that are read between two turns of the loop."""

# All holds of a batch are one value: row by row, the database's thread would take the interpreter from the event loop
# for each of them, just when a thousand connections end at once.
PUT_HOLDS = f"""INSERT OR REPLACE INTO hold
    SELECT {", ".join(f"json_extract(value, '$[{column}]')" for column in range(7))} FROM json_each(?)"""  # noqa: S608 - numbers
# The oldest hour that is kept is the bound of other rows too, so that they are forgotten as slowly; denials may be kept
# shorter.
FORGET_HOUR = f"DELETE FROM hour WHERE start < min(?, (SELECT min(start) FROM hour) + {HOUR})"  # noqa: S608 - a number
FORGET_DENIALS = f"""DELETE FROM denial WHERE number IN
    (SELECT number FROM denial WHERE began < min(?, (SELECT min(began) FROM denial) + {HOUR})
     LIMIT {ROWS_FORGOTTEN_AT_ONCE})"""  # noqa: S608 - numbers
FORGET_HOLDS = f"""DELETE FROM hold WHERE (model, pool, ended, key) IN
    (SELECT model, pool, ended, key FROM hold
     WHERE model = ? AND pool = ? AND ended < min(?, (SELECT min(start) FROM hour)) LIMIT {ROWS_FORGOTTEN_AT_ONCE})"""  # noqa: S608 - a number

R = TypeVar("R")
Ended = tuple[str, str, float, int, float, int | None, str]
"""A row of `hold`: model, pool, when it ended, its key, when it began (seconds UTC), its room, the cause."""


class HistoryStore:
    """Writes `history` into `store`, as `settings` say what is kept, and how long.

    `salt` makes the numbers of keys; without one they mean nothing outside this run.
    """

    def __init__(self, history: History, store: Store, settings: HistorySettings, salt: bytes | None = None) -> None:
        self.history = history
        self.holds_quota = HistoryQuota("ended seats", settings.rows_per_name, settings.rows_per_pool)
        self._denials_quota = HistoryQuota("refusals", settings.rows_per_name, settings.rows_per_pool)
        self._store = store
        self._keep = settings.keep
        self._number = key_numbers(salt)
        self._written = dict.fromkeys(range(len(history.timelines)), -math.inf)
        self._under_way: asyncio.Future[None] | None = None
        self._fixed: list[Statement] = []
        self._allowed = {
            (each.model, each.name): WaitingHolds(self._number, rooms=not each.pool.terms.binding)
            for each in history.timelines
        }
        """Holds of each pool that may be written, and are in no batch yet."""
        self._holds: list[Ended] = []
        """Holds and episodes of the batch that is not known to be durable."""
        self._hours: list[tuple[PoolTimeline, UsageInterval]] = []
        self._clock = SteadyClock()
        self._denials_keep = settings.keep
        self._pseudonyms = Pseudonyms()
        self._denials_forgotten = -math.inf
        self._hour_forgotten = -math.inf
        self._places: Iterator[Statement] = iter(())
        self._pools: list[tuple[str, str]] = []

    def protect(self, denials_keep: float, pseudonyms: Pseudonyms) -> None:
        """Keep denials for so many seconds (0: as long as the rest), and write `pseudonyms` of who was refused."""
        self._denials_keep = denials_keep or self._keep
        self._pseudonyms = pseudonyms

    def forget_person(self, account: str, home: str) -> None:
        """Forget whose refusals are on their way to the store."""
        names = self._pseudonyms.stand_for(account, home)
        for place, each in enumerate(self._fixed):
            row = DenialRow(*each.values)
            if row.kind == "account" and row.name in names and row.home == home:
                self._fixed[place] = Statement(each.sql, row._replace(name="", home=""))

    async def open(self) -> None:
        """Read of which pools the store has a history.

        Raises `StoreUnavailable`.
        """
        self._pools = [(model, pool) for model, pool in await self._store.read("SELECT DISTINCT model, pool FROM hour")]

    def poll(self, now: Instant) -> None:
        """Write what is due; called once a second."""
        self.take_ended(now)
        if self._under_way is None and self._store.available:
            self._write(now, everything=False)

    def take_ended(self, now: Instant) -> None:
        """Take some of the holds that have ended; called with every tick, so that those of a second do not keep the
        event loop from everything else all at once.
        """
        self._take_ended(now, HOLDS_PER_LOOK)

    def close(self, now: Instant) -> None:
        """Write all there is; the store is about to be closed."""
        self._take_ended(now, MAX_FINISHED_HOLDS)
        self._write(now, everything=True)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, now: Instant, *, everything: bool) -> None:
        self._hours = list(self._due(now, everything=everything))
        self._holds += self._ended(everything=everything)
        self._fixed += self._decided(now)
        if not self._hours and not self._fixed and not self._holds:
            return
        hours = []
        for timeline, hour in self._hours:
            hour.changed = False
            hours.append(put_hour(usage_piece(timeline, hour, now.mono)))
        holds = [Statement(PUT_HOLDS, (json.dumps(self._holds),))] if self._holds else []
        statements = [*hours, *self._fixed, *holds, *self._forgotten(now)]
        self._under_way = done = self._store.write(statements)
        done.add_done_callback(self._done)

    def _done(self, done: asyncio.Future[None]) -> None:
        if done is not self._under_way:  # the last one, at the close, has all of it
            return
        self._under_way = None
        if done.cancelled() or done.exception() is not None:
            for _, hour in self._hours:
                hour.changed = True
            return
        self._fixed, self._holds = [], []
        for timeline, hour in self._hours:
            if hour.over and not hour.changed and not hour.open_denials:
                timeline.ended.remove(hour)

    def _due(self, now: Instant, *, everything: bool) -> Iterator[tuple[PoolTimeline, UsageInterval]]:
        """Yield the hours that are over and have changed since they were written, and one present hour that is due."""
        for timeline in self.history.timelines:
            for hour in timeline.ended:
                if hour.changed:
                    yield timeline, hour
        for number, written in sorted(self._written.items(), key=lambda item: item[1]):
            if now.mono - written >= PRESENT_HOUR_EVERY or everything:
                self._written[number] = now.mono
                timeline = self.history.timelines[number]
                yield timeline, timeline.pool.interval
                if not everything:
                    return

    def _take_ended(self, now: Instant, most: int) -> None:
        """Take from each pool at most so many holds that have ended, and keep those that may be written: made-up names
        would fill the memory otherwise, faster than a batch a second empties it.
        """
        quota = self.holds_quota
        for timeline in self.history.timelines:
            ended, place = timeline.pool.finished_holds, (timeline.model, timeline.name)
            if ended and quota.is_used_up(now.mono, place):
                quota.leave_out(place, len(ended))
                ended.clear()
            # A pair is an account and its device, or a conference and a session in it.
            named, allowed = 0 if timeline.pool.terms.binding else -1, self._allowed[place]
            for _ in range(min(len(ended), most)):
                hold = ended.popleft()
                key = hold[0]
                if quota.allows(now.mono, place, key[named] if isinstance(key, tuple) else key):
                    allowed.add(hold)

    def _ended(self, *, everything: bool) -> Iterator[Ended]:
        room: float = math.inf if everything else HOLDS_PER_BATCH - len(self._holds)
        offset = self.history.offset
        for (model, pool), allowed in self._allowed.items():
            for began, ended, number, group, cause in allowed.take(room):
                room -= 1
                yield model, pool, ended + offset, number, began + offset, group, cause

    def _decided(self, now: Instant) -> Iterator[Statement]:
        for timeline in self.history.timelines:
            finished = timeline.pool.denial_tracker.finished
            while finished:
                episode = finished.popleft()
                if self._denials_quota.allows(now.mono, (timeline.model, timeline.name), episode.asker):
                    yield Statement(PUT_DENIAL, self._denial(timeline, episode))

    def _denial(self, timeline: PoolTimeline, episode: DenialEpisode) -> DenialRow:
        kind, who = episode.asker
        name, home = self._pseudonyms.asker(kind, *account_and_home(who))
        offset = self.history.offset
        return DenialRow(
            episode.number, timeline.model, timeline.name, episode.began + offset, episode.last + offset, kind, name,
            episode.reason, episode.denials, episode.true_denials, episode.granted, episode.wait_seconds, home,
        )  # fmt: skip

    def _forgotten(self, now: Instant) -> Iterator[Statement]:
        """Yield deletions of what is too old: of one hour where that is due, and of rows of another table or pool each
        time.
        """
        if not self._clock.is_steady(now):
            return
        before = now.wall - self._keep
        if now.mono - self._hour_forgotten >= HOUR_FORGOTTEN_EVERY:
            self._hour_forgotten = now.mono
            yield Statement(FORGET_HOUR, (before - HOUR,))
        if now.mono - self._denials_forgotten >= DENIALS_FORGOTTEN_EVERY:
            self._denials_forgotten = now.mono
            yield Statement(FORGET_DENIALS, (now.wall - self._denials_keep,))
        aged = next(self._places, None)
        if aged is None:
            places = dict.fromkeys(
                [*self._pools, *((timeline.model, timeline.name) for timeline in self.history.timelines)]
            )
            holds = [Statement(FORGET_HOLDS, (*place, before)) for place in places]
            self._places = iter([Statement(FORGET_USE, (before,)), *holds])
            aged = next(self._places)
        yield aged

    # -- reading -----------------------------------------------------------------------------------------------------

    async def first(self, since: float = 0.0) -> float | None:
        """Return the beginning of the oldest hour that starts at `since` or later, in seconds UTC; None without any.

        Raises `StoreUnavailable`.
        """
        ((oldest,),) = await self._store.read("SELECT min(start) FROM hour WHERE start >= ?", (since,))
        starts = [
            hour.start for timeline in self.history.timelines for hour in (*timeline.ended, timeline.pool.interval)
        ]
        return min((start for start in (oldest, *starts) if start is not None and start >= since), default=None)

    async def pieces(self, since: float, until: float, now: Instant) -> AsyncIterator[UsagePiece]:
        """Yield the pieces of hours that start from `since` to before `until`, by time, then as they were recorded.

        Raises `StoreUnavailable`.
        """
        memory = sorted(
            (piece for piece in self.history.pieces(now.mono) if since <= piece.start < until),
            key=lambda each: each[:2],
        )
        known = {piece.number for piece in memory}
        waiting = iter(memory)
        following = next(waiting, None)
        last: Sequence[Any] = (since, -1)
        unpacked, more = 0, True
        while more:
            rows = await self._store.read(
                "SELECT * FROM hour WHERE (start, number) > (?, ?) AND start < ? ORDER BY start, number LIMIT ?",
                (*last, until, HOURS_PER_PAGE),
            )
            more = len(rows) == HOURS_PER_PAGE
            for row in rows:
                last = row[:2]
                if row[1] in known:
                    continue
                while following is not None and (following.start, following.number) < tuple(last):
                    yield following
                    following = next(waiting, None)
                found = piece_of(row)
                yield found
                unpacked += 20 + len(found.summary.levels)
                if unpacked > LEVELS_PER_TURN:
                    unpacked = 0
                    await asyncio.sleep(0)
        while following is not None:
            yield following
            following = next(waiting, None)

    async def denials(
        self,
        since: float,
        after: int | None,
        limit: int,
        *,
        newest_first: bool = False,
        pool: str | None = None,
        who: tuple[Sequence[str], str] | None = None,
    ) -> list[DenialRow]:
        """Return the episodes that began at `since` or later, by number or the other way round, `limit` at most.

        `after` is the number of the episode after which they begin; `pool` says of what, and `who`, the names of an
        account and its home, of whom. Raises `StoreUnavailable`.
        """
        begin = (LAST_NUMBER if newest_first else 0) if after is None else after
        beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
        names, home = who or ((None,), "")
        rows = await self._store.read(
            f"SELECT * FROM denial WHERE number {beyond} ? AND began >= ? AND (? IS NULL OR pool = ?)"  # noqa: S608 - signs
            f" AND (? IS NULL OR (kind = 'account' AND who IN (?, ?) AND home = ?)) ORDER BY number {order} LIMIT ?",
            (begin, since, pool, pool, names[0], names[0], names[-1], home, limit),
        )
        found = {row[0]: DenialRow(*row) for row in rows}
        memory = [self._denial(timeline, episode) for timeline, episode in self.history.episodes()]
        memory += [DenialRow(*each.values) for each in self._fixed if each.sql == PUT_DENIAL]
        found |= {
            each.number: each
            for each in memory
            if (each.number < begin if newest_first else each.number > begin)
            and each.began >= since
            and pool in {None, each.pool}
            and (who is None or (each.kind == "account" and each.name in names and each.home == home))
        }
        return [found[number] for number in sorted(found, reverse=newest_first)[:limit]]

    async def demand(
        self, model: str, pool: str, since: float, now: Instant
    ) -> AsyncIterator[list[tuple[float, float, int | None]]]:
        """Yield the holds of a pool that ended at `since` or later or have not ended, as (began, ended, room).

        Times are in seconds UTC. They come in pages, the last end first; what is held now ends now.

        Raises `StoreUnavailable`.
        """
        offset = self.history.offset
        held = self.history.holding(model, pool)
        memory = [(began + offset, now.wall, self._room(key)) for key, began in held]
        fixed = [each for each in self._holds if each[:2] == (model, pool)]
        recent = [(values[4], values[2], values[5]) for values in fixed]
        recent += [(each.began + offset, each.ended + offset, each.room) for each in self._allowed[model, pool]]
        recent += [
            (began + offset, ended + offset, self._room(key))
            for key, began, ended, _ in self.history.finished_holds(model, pool)
        ]
        written = {(ended, began) for began, ended, _ in recent}
        yield memory + sorted(recent, key=lambda hold: -hold[1])
        last = (now.wall + HOUR, math.inf)
        while True:
            rows = await self._store.read(
                "SELECT began, ended, room, key FROM hold WHERE model = ? AND pool = ? AND ended >= ?"
                " AND (ended, key) < (?, ?) ORDER BY ended DESC, key DESC LIMIT ?",
                (model, pool, since, *last, ROWS_PER_PAGE),
            )
            yield [(began, ended, room) for began, ended, room, _ in rows if (ended, began) not in written]
            if len(rows) < ROWS_PER_PAGE:
                return
            last = rows[-1][1], rows[-1][3]

    def _room(self, key: Key) -> int | None:
        return self._number(key[0]) if isinstance(key, tuple) else None


async def paced(work: Generator[None, None, R]) -> R:
    """Do long work piece by piece, with a turn of the event loop after each, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: R = end.value
            return result
        await asyncio.sleep(0)
