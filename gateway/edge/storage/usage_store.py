"""Writes who used the pools into the store: one row for each person, pool and part of a day.

What has changed is written once an hour, a few thousand rows a second, and when somebody asks for a report: `flush`.
While clients are sent away what is over is written already, so that the end of the process waits for little.
A row that is written again replaces itself, so it does no harm to write one twice; what was under way when the store
failed is written again. After a crash at most the last hour is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable

from gateway.core.counting.personal_use import PersonalUse, PoolShares
from gateway.core.counting.session import Instant, Person
from gateway.core.counting.usage import HOUR
from gateway.core.counting.use_shares import ShareRow
from gateway.edge.storage.pseudonyms import Pseudonyms
from gateway.edge.storage.store import Statement, Store, StoreUnavailable

LAST_PART = "usage_part"
"""Under which name `meta` has the number of the last part of a day: another run must not take it again."""
ROWS_PER_BATCH = 2000
"""Shares that are looked at, and rows that are written, at once."""
PAUSE = 1.0
"""Seconds between two looks for what is over, while clients are sent away."""
# As one value, like ended seats: row by row the database's thread would take the interpreter from the event loop.
PUT_USE = f"""INSERT OR REPLACE INTO usage
    SELECT {", ".join(f"json_extract(value, '$[{column}]')" for column in range(len(ShareRow._fields)))}
    FROM json_each(?)"""  # noqa: S608 - numbers
PUT_USE_AT_CLOSE = f"INSERT OR REPLACE INTO usage VALUES ({', '.join('?' * len(ShareRow._fields))})"  # noqa: S608
"""Less than half the work, which the end of the process waits for; nobody is connected whom it could delay."""
PUT_LAST_PART = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
FORGET_USE = """DELETE FROM usage WHERE (day, model, pool, account, home, device, address, part) IN
    (SELECT day, model, pool, account, home, device, address, part FROM usage
     WHERE day < min(?, (SELECT min(start) FROM hour)) / 86400 - 2 LIMIT 8000)"""
"""Deletes days that ended before an instant (seconds UTC), and before the oldest hour of the history."""


class UsageStore:
    """Writes `use` into `store`, with `pseudonyms` of persons."""

    def __init__(self, use: PersonalUse, store: Store, pseudonyms: Pseudonyms | None = None) -> None:
        self.use = use
        self._pseudonyms = pseudonyms or Pseudonyms()
        self._store = store
        self._hour = -1
        self._waiting: deque[tuple[PoolShares, Person]] = deque()
        """Whose shares are looked at next."""
        self._rows: list[ShareRow] = []
        """Rows that are not known to be durable."""
        self._under_way: asyncio.Future[None] | None = None

    def poll(self, now: Instant) -> None:
        """Write what is due; called once a second."""
        hour = int(now.wall // HOUR)
        if hour != self._hour:
            self._hour = hour
            self._look_at_all()
        if self._under_way is None and self._store.available:
            self._write(now, ROWS_PER_BATCH)

    def close(self, now: Instant) -> None:
        """Write all there is; the store is about to be closed."""
        self._look_at_all()
        self._take(now, len(self._rows) + len(self.use.finished) + len(self._waiting))
        self._put([Statement(PUT_USE_AT_CLOSE, row) for row in self._rows])

    async def flush(self, now: Callable[[], Instant]) -> None:
        """Write all that has changed; done when it is durable.

        Raises `StoreUnavailable`.
        """
        self._look_at_all()
        await self._write_waiting(now)
        if not self._store.available:
            raise StoreUnavailable("the store is unavailable")

    async def write_released(self, now: Callable[[], Instant]) -> None:
        """Write what persons had who hold nothing any more, again and again until this is cancelled.

        What is still held would have to be written again at its end.
        """
        while True:
            if not self._waiting:
                self._waiting.extend(
                    (place, person)
                    for place in self.use.places
                    for person in place.by_person
                    if not place.holds(person)
                )
            with contextlib.suppress(StoreUnavailable):  # it may be back after the pause, and is asked again at the end
                await self._write_waiting(now)
            await asyncio.sleep(PAUSE)

    async def _write_waiting(self, now: Callable[[], Instant]) -> None:
        while self._waiting or self.use.finished or self._rows:
            if self._under_way is None:
                self._write(now(), ROWS_PER_BATCH)
            if self._under_way is not None:
                await asyncio.shield(self._under_way)
            await asyncio.sleep(0)  # others go on, and a write that was done already calls back

    def _look_at_all(self) -> None:
        self._waiting = deque((place, person) for place in self.use.places for person in place.by_person)

    def _write(self, now: Instant, most: int) -> None:
        self._take(now, most)
        self._put([Statement(PUT_USE, (json.dumps(self._rows),))] if self._rows else [])

    def _take(self, now: Instant, most: int) -> None:
        """Take what is to be written until there are `most` rows."""
        finished = self.use.finished
        while finished and len(self._rows) < most:
            self._rows.append(self._written(finished.popleft()))
        for _ in range(min(len(self._waiting), most - len(self._rows))):
            place, person = self._waiting.popleft()
            row = place.changed_row(person, now.mono)
            if row is not None:
                self._rows.append(self._written(row))

    def _put(self, statements: list[Statement]) -> None:
        if statements:
            part = Statement(PUT_LAST_PART, (LAST_PART, str(self.use.numbers.last)))
            self._under_way = done = self._store.write([*statements, part])
            done.add_done_callback(self._done)

    def _written(self, row: ShareRow) -> ShareRow:
        """Return a row as it is written."""
        account, home, device, address = self._pseudonyms.person((row.account, row.home, row.device, row.address))
        return row._replace(account=account, home=home, device=device, address=address)

    def _done(self, done: asyncio.Future[None]) -> None:
        if done is self._under_way:
            self._under_way = None
            if not done.cancelled() and done.exception() is None:
                self._rows = []
