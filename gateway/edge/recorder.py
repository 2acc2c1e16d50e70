"""The recorder: what must outlive the process, into the store and out of it again.

Leases are written as they change, accounts, groups and bans as the operator changes them, and every few seconds the
instant at which the gateway lived: after a crash, whoever was in a conference is taken to have left at the last one
(counting rules, PRO leases, 9). Memory leads, the file follows; when the file has fallen behind, `everything` makes it
the same again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gateway.core.admission import Admission
from gateway.core.book import Lease, Reservation
from gateway.core.directory import Ban, Directory, Group
from gateway.core.facts import Key, Now
from gateway.core.ledger import LeaseChange
from gateway.edge.store import Statement, Store

ALIVE_EVERY = 10.0
"""Seconds between two notes that the gateway lives."""

PUT_LEASE = "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?)"
END_LEASE = "DELETE FROM lease WHERE model = ? AND pool = ? AND key = ? AND kind = ?"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_ACCOUNT = "INSERT OR REPLACE INTO account VALUES (?, ?)"
END_ACCOUNT = "DELETE FROM account WHERE name = ?"
PUT_GROUP = "INSERT OR REPLACE INTO team VALUES (?, ?, ?)"
END_GROUP = "DELETE FROM team WHERE name = ?"
PUT_BAN = "INSERT OR REPLACE INTO ban VALUES (?, ?)"
END_BAN = "DELETE FROM ban WHERE subject = ?"


class Recorder:
    """Writes what `admission` and `directory` hold into a store at `path`; `now` tells the present instant."""

    def __init__(self, path: str, admission: Admission, directory: Directory, now: Callable[[], Now]) -> None:
        self._admission = admission
        self._directory = directory
        self._now = now
        self._noted = -ALIVE_EVERY
        self.store = Store(path, self.everything, lambda: now().mono)

    async def open(self) -> None:
        """Open the store and take from it what the last run left.

        Raises `StoreRefused` or `StoreUnavailable`.
        """
        await self.store.open()
        read = self.store.read
        now = self._now()
        meta = dict(await read("SELECT name, value FROM meta"))
        lived = min(float(meta.get("alive", now.wall)), now.wall)
        for name, tokens in await read("SELECT name, tokens FROM account"):
            self._directory.accounts[name] = tuple(bytes.fromhex(each) for each in json.loads(tokens))
        for name, accounts, permanent in await read("SELECT name, accounts, permanent FROM team"):
            self._directory.groups[name] = Group(tuple(json.loads(accounts)), bool(permanent))
        for subject, until in await read("SELECT subject, until FROM ban WHERE until > ?", (now.wall,)):
            self._directory.bans[subject] = Ban(subject, until)
        for model, pool, key, kind, since, expires, deleted in await read("SELECT * FROM lease ORDER BY since"):
            change = LeaseChange(model, pool, _key(key), since, expires, bool(deleted), None, kind)
            for ledger in self._admission.ledgers:
                if ledger.model.name == model and pool in ledger.pools:
                    ledger.restore(change, lived, now)

    async def close(self) -> None:
        """Note the last instant of this run, and close the store."""
        if self.store.available:
            self.store.write([self._alive()])
        await self.store.close()

    def lives(self, mono: float) -> None:
        """Note now and then that the gateway lives."""
        if mono - self._noted >= ALIVE_EVERY and self.store.available:
            self._noted = mono
            self.store.write([self._alive()])

    def record(self, changes: Sequence[LeaseChange]) -> asyncio.Future[None]:
        """Write changes of leases; done when they are durable."""
        return self.store.write([_lease(change) for change in changes])

    def account(self, name: str) -> asyncio.Future[None]:
        """Write an account as it is now, or that there is none."""
        held = name in self._directory.accounts
        return self.store.write([self._account(name) if held else Statement(END_ACCOUNT, (name,))])

    def group(self, name: str) -> asyncio.Future[None]:
        """Write a group as it is now, or that there is none."""
        held = name in self._directory.groups
        return self.store.write([self._group(name) if held else Statement(END_GROUP, (name,))])

    def ban(self, subject: str) -> asyncio.Future[None]:
        """Write a ban as it is now, or that there is none."""
        held = self._directory.bans.get(subject)
        return self.store.write([Statement(PUT_BAN, tuple(held)) if held else Statement(END_BAN, (subject,))])

    def everything(self) -> Iterable[Statement]:
        """What makes any file the same as memory."""
        for table in ("lease", "account", "team", "ban"):
            yield Statement(f"DELETE FROM {table}")  # noqa: S608 - the names stand in the line above
        yield self._alive()
        yield from (_lease(change) for change in self._leases())
        yield from map(self._account, self._directory.accounts)
        yield from map(self._group, self._directory.groups)
        yield from (Statement(PUT_BAN, tuple(ban)) for ban in self._directory.bans.values())

    def _leases(self) -> Iterator[LeaseChange]:
        for ledger in self._admission.ledgers:
            for pool, book in ledger.pools.items():
                # Reservations of a pool that leases nothing come from the configuration.
                reserved = book.reservations if book.terms.leased else {}
                held: list[tuple[Key, Lease | Reservation]] = [*book.leases.items(), *reserved.items()]
                yield from (ledger.change(pool, key, claim) for key, claim in held)

    def _alive(self) -> Statement:
        return Statement(PUT_META, ("alive", repr(self._now().wall)))

    def _account(self, name: str) -> Statement:
        tokens = json.dumps([each.hex() for each in self._directory.accounts[name]])
        return Statement(PUT_ACCOUNT, (name, tokens))

    def _group(self, name: str) -> Statement:
        group = self._directory.groups[name]
        return Statement(PUT_GROUP, (name, json.dumps(group.accounts), group.permanent))


def _lease(change: LeaseChange) -> Statement:
    place = (change.model, change.pool, json.dumps(change.key), change.kind)
    if change.ended is not None:
        return Statement(END_LEASE, place)
    return Statement(PUT_LEASE, (*place, change.since, change.expires, change.deleted))


def _key(text: str) -> Key:
    key: Any = json.loads(text)
    return tuple(key) if isinstance(key, list) else key
