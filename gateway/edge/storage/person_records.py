"""All that a store has of one person, to be shown and to be deleted.

What its use came to is not deleted but charged to nobody, under a number of a part of a day that no other row has: sums
stay exact. Of the audit log the names go, and the keys of their seals; the entries stay, and their chain holds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from gateway.core.admission.directory import Directory
from gateway.core.counting.calendar_days import day_text
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.session import identity
from gateway.core.formats import utc
from gateway.core.names import join_names
from gateway.core.reporting.audit_names import SealedName
from gateway.edge.storage.audit_entries import ENTRIES, entry_of
from gateway.edge.storage.pseudonyms import Pseudonyms
from gateway.edge.storage.rows import forget_outgoing
from gateway.edge.storage.store import Statement, Store

ERASURES = "erasures"
"""Under which name `meta` has how many persons were erased; each has the negative of it as the part of its days."""
PAGE = 1000
"""Rows that are read at once."""
USE = """day, model, pool, device, address, seat_seconds, peak, grants, denials, true_denials, seated, waited, first,
    last"""
SUMS = """sum(seat_seconds), max(peak), max(own_peak), sum(grants), sum(denials), sum(true_denials), sum(seated),
    sum(waited), max(longest), min(first), max(last)"""


class PersonRecords:
    """What `store` has of an account, by its name and by its pseudonym; `home` is empty for one of this server."""

    def __init__(self, store: Store, pseudonyms: Pseudonyms, account: str, home: str) -> None:
        self._store = store
        self._account = account
        self._home = home
        names = pseudonyms.stand_for(account, home)
        self._names = (names[0], names[-1])

    # -- showing -------------------------------------------------------------------------------------------------------

    async def document(self, kept: dict[str, Any]) -> AsyncIterator[str]:
        """Yield the pieces of a JSON document: what is `kept` in memory, and after it all that is stored.

        Raises `StoreUnavailable`.
        """
        yield json.dumps(kept)[:-1]
        for name, items in (("usage", self._usage()), ("denials", self._denials()), ("audit", self._audit())):
            mark = ""
            yield f', "{name}": ['
            async for page in items:
                for each in page:
                    yield mark + json.dumps(each)
                    mark = ", "
            yield "]"
        yield "}"

    async def _pages(self, sql: str, values: Sequence[Any]) -> AsyncIterator[list[tuple[Any, ...]]]:
        skip = 0
        while rows := await self._store.read(f"{sql} LIMIT {PAGE} OFFSET {skip}", values):
            yield rows
            skip += len(rows)

    async def _usage(self) -> AsyncIterator[list[dict[str, Any]]]:
        names = USE.replace("\n", " ").replace(" ", "").split(",")
        sql = f"""SELECT {USE} FROM usage WHERE account IN (?, ?) AND home = ?
            ORDER BY account, home, device, address, day"""  # noqa: S608 - names of columns
        async for rows in self._pages(sql, (*self._names, self._home)):
            shown = [dict(zip(names, row, strict=True)) for row in rows]
            yield [
                {**each, "day": day_text(each["day"]), "first": utc(each["first"]), "last": utc(each["last"])}
                for each in shown
            ]

    async def _denials(self) -> AsyncIterator[list[dict[str, Any]]]:
        sql = """SELECT model, pool, began, last, reason, refusals, true_denials, seated, after FROM denial
            WHERE kind = 'account' AND who IN (?, ?) AND home = ? ORDER BY number"""
        names = ("model", "pool", "began", "last", "reason", "refusals", "true_denials", "seated", "waited")
        async for rows in self._pages(sql, (*self._names, self._home)):
            shown = [dict(zip(names, row, strict=True)) for row in rows]
            yield [{**each, "began": utc(each["began"]), "last": utc(each["last"])} for each in shown]

    async def _audit(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Return the entries that name the person, without the names of others in them."""
        sql = f"{ENTRIES} WHERE seq IN (SELECT seq FROM audit_name WHERE account = ? AND home = ?) ORDER BY seq"  # noqa: S608 - a constant
        async for rows in self._pages(sql, (self._account, self._home)):
            shown = []
            for entry in map(entry_of, rows):
                own = tuple(each for each in entry.names if each.names(self._account, self._home))
                subject, detail = entry._replace(names=own).shown
                told = {"seq": entry.seq, "time": entry.time, "actor": entry.actor, "action": entry.action}
                shown.append({**told, "subject": subject, "detail": detail})
            yield shown

    # -- deleting ------------------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, int]:
        """Return how many rows of use, refusals and names in the audit log there are.

        Raises `StoreUnavailable`.
        """
        found = {}
        for name, sql, values in (
            ("usage", "usage WHERE account IN (?, ?) AND home = ?", (*self._names, self._home)),
            ("denials", "denial WHERE kind = 'account' AND who IN (?, ?) AND home = ?", (*self._names, self._home)),
            ("audit", "audit_name WHERE account = ? AND home = ?", (self._account, self._home)),
        ):
            ((found[name],),) = await self._store.read(f"SELECT count(*) FROM {sql}", values)  # noqa: S608 - the texts above
        return found

    async def erasure(self, number: int, before: int) -> list[Statement]:
        """Return what leaves no trace of the person; its use of parts of days before one is charged to nobody.

        `number` is how many persons were erased, with this one. Raises `StoreUnavailable`.
        """
        use = (*self._names, self._home, before)
        paths = await self._paths()
        who = json.dumps(identity(self._account, self._home))
        return [
            Statement(
                f"""INSERT INTO usage SELECT day, ?, model, pool, '', '', '', '', {SUMS} FROM usage
                    WHERE account IN (?, ?) AND home = ? AND part < ? GROUP BY day, model, pool""",  # noqa: S608 - the text above
                (-number, *use),
            ),
            Statement("DELETE FROM usage WHERE account IN (?, ?) AND home = ? AND part < ?", use),
            Statement(
                "UPDATE denial SET who = '', home = '' WHERE kind = 'account' AND who IN (?, ?) AND home = ?", use[:3]
            ),
            Statement("DELETE FROM audit_name WHERE account = ? AND home = ?", (self._account, self._home)),
            *(Statement("DELETE FROM audit_name WHERE seq = ? AND seal = ?", each) for each in paths),
            Statement("DELETE FROM lease WHERE key = ?", (who,)),
            Statement("DELETE FROM seat WHERE account = ? AND home = ?", (self._account, self._home)),
            *(forget_outgoing(join_names(name, self._home)) for name in dict.fromkeys(self._names)),
            Statement("DELETE FROM dump WHERE etcd = ''"),  # what the last stop wrote down; that of a node is due soon
            Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", (ERASURES, str(number))),
        ]

    async def _paths(self) -> list[tuple[int, str]]:
        """Which paths of refused requests name the person: number of the entry and seal."""
        found, after = [], (-1, "")
        while True:
            rows = await self._store.read(
                """SELECT seq, seal, key, text, account, home FROM audit_name
                    WHERE account = '' AND home = '' AND (seq, seal) > (?, ?) ORDER BY seq, seal LIMIT ?""",
                (*after, PAGE),
            )
            found += [row[:2] for row in rows if SealedName(*row[1:]).names(self._account, self._home)]
            if len(rows) < PAGE:
                return [(seq, seal) for seq, seal in found]
            after = rows[-1][:2]


def is_known(kept: dict[str, Any]) -> bool:
    """Return whether anything is kept of who `kept_of` was asked about."""
    return any(value for name, value in kept.items() if name not in {"account", "home"})


def kept_of(account: str, home: str, directory: Directory, leases: Iterable[LeaseChange]) -> dict[str, Any]:
    """Return what is kept of an account beside the past: registration, groups, ban, and what it holds."""
    who = identity(account, home)
    tokens = directory.accounts.get(account) if not home else None
    groups = directory.groups.items() if not home else ()
    return {
        "account": account,
        "home": home or None,
        "registered": tokens is not None,
        "tokens": [{"fingerprint": each.fingerprint, "created": utc(each.created)} for each in tokens or ()],
        "groups": [name for name, group in groups if account in group.accounts],
        "banned_until": next(
            (utc(ban.until) for ban in directory.bans if ban.subject == ("account", account, home)), None
        ),
        "leases": [
            {
                "model": each.model,
                "pool": each.pool,
                "kind": each.kind,
                "since": utc(each.since),
                "expires": utc(each.expires),
            }
            for each in leases
            if each.key == who
        ],
    }
