"""Asks the store who used the pools, added up by account, device, group, or by day, week or month.

Accounts and devices come page by page in their order, by an index: a page reads its own rows and no others.
Days are numbers of the calendar, both ends included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.edge.storage.store import Store

BUCKETS = {
    "day": "day",
    "week": "day - (day + 3) % 7",
    "month": "CAST(strftime('%s', day * 86400, 'unixepoch', 'start of month') AS INTEGER) / 86400",
}
"""With which day others are put together: itself, the Monday of its week, the first of its month."""
SUMS = """model, pool, count(DISTINCT day), sum(seat_seconds), max(own_peak), sum(grants), sum(denials),
    sum(true_denials), sum(seated), sum(waited), max(longest), min(first), max(last)"""
BY_DAY = """SELECT day, model, pool, 1 AS days, sum(seat_seconds) AS seat_seconds, max(own_peak) AS own_peak,
    sum(grants) AS grants, sum(denials) AS denials, sum(true_denials) AS true_denials, sum(seated) AS seated,
    sum(waited) AS waited, max(longest) AS longest, min(first) AS first, max(last) AS last FROM usage"""
"""All of a day and pool as one row: in the order of the table, without sorting it."""
OF_DAYS = SUMS.replace("count(DISTINCT day)", "sum(days)")
CAME = "(model = '' OR denials > 0)"
"""Who was connected or was refused; one who only held a lease did not come."""
PERSONS = """count(DISTINCT CASE WHEN account <> '' THEN account || char(10) || home END),
    count(DISTINCT CASE WHEN account = '' AND device || address <> '' THEN device || char(10) || address END)"""
"""Joined by a line end, which no name has: with any sign that a name may have two persons could be counted as one."""
KEYS = {"account": ("account", "home"), "device": ("account", "home", "device", "address")}


class Period(NamedTuple):
    """Days from the first to the last."""

    first: int
    last: int


class PlaceUse(NamedTuple):
    """Use of one pool of a model, or with two empty names what was connected, of whom or when `key` says."""

    key: tuple[Any, ...]
    model: str
    pool: str
    days: int
    seat_seconds: float
    peak: int
    grants: int
    denials: int
    true_denials: int
    seated: int
    waited: float
    longest: float
    first: float
    last: float


class Persons(NamedTuple):
    """How many accounts, and how many guests that are told apart by device or address."""

    accounts: int
    guests: int


class UsageQueries:
    """Reads from `store`; everything raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self,
        by: str,
        period: Period,
        after: Sequence[str] | None,
        size: int,
        model: str | None = None,
        only: tuple[Sequence[str], str] | None = None,
    ) -> tuple[list[PlaceUse], tuple[str, ...] | None]:
        """Return the use of the next `size` accounts or devices (`by`) after one, and the last if there are more.

        With a `model` only its pools are looked at; with `only`, the names of an account and its home,
        only that account is.
        """
        columns = KEYS[by]
        key = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        begin = f"({key}) > ({marks})" if after is not None else f"({key}) >= ({marks})"
        start = tuple(after) if after is not None else ("",) * len(columns)
        if only is not None:
            names, home = only
            begin, start = "account IN (?, ?) AND home = ?", (names[0], names[-1], home)
        found = await self._store.read(
            f"SELECT {key} FROM usage WHERE {begin} AND day BETWEEN ? AND ? GROUP BY {key} ORDER BY {key} LIMIT ?",  # noqa: S608 - names of columns
            (*start, *period, size + 1),
        )
        if not found:
            return [], None
        last = found[min(size, len(found)) - 1]
        rows = await self._store.read(
            f"SELECT {key}, {SUMS} FROM usage WHERE {begin} AND ({key}) <= ({marks}) AND day BETWEEN ? AND ?"  # noqa: S608 - names of columns
            f" AND (? IS NULL OR model IN ('', ?)) GROUP BY {key}, model, pool ORDER BY {key}, model, pool",
            (*start, *last, *period, model, model),
        )
        return [_use(row, len(columns)) for row in rows], last if len(found) > size else None

    async def buckets(self, by: str, period: Period) -> tuple[list[PlaceUse], dict[int, Persons]]:
        """Return the use of all together by day, week or month, and how many came in each."""
        bucket = BUCKETS[by]
        rows = await self._store.read(
            f"SELECT {bucket} AS bucket, {OF_DAYS} FROM"  # noqa: S608 - the texts above
            f" ({BY_DAY} WHERE day BETWEEN ? AND ? GROUP BY day, model, pool)"
            " GROUP BY bucket, model, pool ORDER BY bucket, model, pool",
            period,
        )
        persons = await self._store.read(
            f"SELECT {bucket} AS bucket, {PERSONS} FROM usage WHERE day BETWEEN ? AND ? AND {CAME} GROUP BY bucket",  # noqa: S608 - the texts above
            period,
        )
        return [_use(row, 1) for row in rows], {bucket: Persons(*numbers) for bucket, *numbers in persons}

    async def groups(
        self, period: Period, groups: Mapping[str, Iterable[str]]
    ) -> tuple[list[PlaceUse], dict[str, Persons]]:
        """Return the use of each group, and how many of it came; an empty name stands for those in none."""
        members = json.dumps([(group, account) for group, accounts in groups.items() for account in accounts])
        of_member = """FROM json_each(?) AS member JOIN usage ON usage.account = json_extract(member.value, '$[1]')
            WHERE home = '' AND day BETWEEN ? AND ?"""
        of_none = """WHERE day BETWEEN ? AND ?
            AND (home <> '' OR account NOT IN (SELECT json_extract(value, '$[1]') FROM json_each(?)))"""
        team = "json_extract(member.value, '$[0]')"
        rows = await self._store.read(
            f"SELECT {team} AS team, {SUMS} {of_member} GROUP BY team, model, pool", (members, *period)
        )
        rows += await self._store.read(
            f"SELECT '', {OF_DAYS} FROM ({BY_DAY} {of_none} GROUP BY day, model, pool) GROUP BY model, pool",  # noqa: S608 - the texts above
            (*period, members),
        )
        persons = await self._store.read(
            f"SELECT {team} AS team, {PERSONS} {of_member} AND {CAME} GROUP BY team", (members, *period)
        )
        persons += await self._store.read(f"SELECT '', {PERSONS} FROM usage {of_none} AND {CAME}", (*period, members))  # noqa: S608 - the texts above
        uses = sorted((_use(row, 1) for row in rows), key=lambda use: use[:3])
        return uses, {group: Persons(*numbers) for group, *numbers in persons}

    async def seen(self, period: Period) -> set[str]:
        """Return the accounts of this server that came."""
        rows = await self._store.read(
            f"SELECT account FROM usage WHERE day BETWEEN ? AND ? AND account <> '' AND home = '' AND {CAME}"  # noqa: S608 - the text above
            " GROUP BY account",
            period,
        )
        return {account for (account,) in rows}


def _use(row: Sequence[Any], names: int) -> PlaceUse:
    return PlaceUse(tuple(row[:names]), *row[names:])
