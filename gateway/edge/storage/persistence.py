"""The recorder: what must outlive the process, into the store and out of it again.

Leases are written as they change, accounts, groups, bans and operators as they are changed, licenses that were sold and
the servers that use them as they register, this gateway's own registration as it is verified, and every few seconds the
instant at which the gateway lived: after a crash, whoever was in a conference is taken to have left at the last one
(COUNTING.md, PRO leases 9). Memory leads, the file follows; when the file has fallen behind, `everything` makes it
the same again. What is written takes the entries of the audit log along that tell of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from gateway.core.admission.decisions import Admission
from gateway.core.admission.directory import Ban, Directory, Group, Token
from gateway.core.counting.ledger import LeaseChange
from gateway.core.counting.pool import Lease, Reservation
from gateway.core.counting.session import Instant, Key, utc
from gateway.core.registration.messages import granted, key_of, read
from gateway.core.registration.registrar import Installation, Registrar, SoldLicense
from gateway.edge.storage.audit_log import GATEWAY, AuditLog
from gateway.edge.storage.store import Statement, Store, StoreDamaged
from gateway.licensing import OFFERS

ALIVE_EVERY = 10.0
"""Seconds between two notes that the gateway lives."""

PUT_LEASE = "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?)"
END_LEASE = "DELETE FROM lease WHERE model = ? AND pool = ? AND key = ? AND kind = ?"
END_LEASES = "DELETE FROM lease WHERE model = ?"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_ACCOUNT = "INSERT OR REPLACE INTO account VALUES (?, ?)"
END_ACCOUNT = "DELETE FROM account WHERE name = ?"
PUT_GROUP = "INSERT OR REPLACE INTO team VALUES (?, ?, ?)"
END_GROUP = "DELETE FROM team WHERE name = ?"
PUT_BAN = "INSERT OR REPLACE INTO ban VALUES (?, ?)"
END_BANS = "DELETE FROM ban WHERE until <= ?"
END_BAN = "DELETE FROM ban WHERE subject = ?"
PUT_OPERATOR = "INSERT OR REPLACE INTO operator VALUES (?, ?, ?, ?)"
END_OPERATOR = "DELETE FROM operator WHERE name = ?"
PUT_LICENSE = "INSERT OR REPLACE INTO license VALUES (?, ?, ?, ?, ?)"
END_LICENSE = "DELETE FROM license WHERE serial = ?"
PUT_INSTALLATION = "INSERT OR REPLACE INTO installation VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
END_INSTALLATION = "DELETE FROM installation WHERE serial = ? AND server = ?"
END_INSTALLATIONS = "DELETE FROM installation WHERE serial = ?"


class StoredState(NamedTuple):
    """What a store holds: when the last run was last known to live, in seconds UTC, what operators said, leases, what
    was sold and to whom, and single texts by name.
    """

    lived: float
    directory: Directory
    leases: list[LeaseChange]
    licenses: dict[str, SoldLicense]
    installations: dict[tuple[str, str], Installation]
    meta: dict[str, str]


class Persistence:
    """Writes what `admission`, `directory` and `registrar` hold into a store at `path`; `now` tells the instant.

    `deadline` is how long a commit may take, in seconds.
    """

    def __init__(
        self,
        path: str,
        admission: Admission,
        directory: Directory,
        registrar: Registrar,
        now: Callable[[], Instant],
        *,
        deadline: float = 5.0,
    ) -> None:
        self._admission = admission
        self._directory = directory
        self._registrar = registrar
        self._kept: dict[str, str] = {}
        self._now = now
        self._noted = -ALIVE_EVERY
        self.store = Store(path, self.everything, lambda: now().mono, patience=deadline)
        self.audit_log = AuditLog(self.store, lambda: now().wall)
        self._running = False
        self._leased: set[tuple[str, Key, str]] = set()
        """Leases of the enforced model whose grant is in the audit log: pool, key and kind."""

    async def open(self) -> StoredState:
        """Open the store and take from it what the last run left; returns all of it.

        Raises `StoreRefused` or `StoreUnavailable`.
        """
        await self.store.open()
        now = self._now()
        try:
            last, kept = await self.audit_log.open(), await self._read(now)
        except (LookupError, ValueError, TypeError, AttributeError, StoreDamaged) as fault:
            await self.store.begin_anew(str(fault))
            last, kept = await self.audit_log.open(), await self._read(now)
        self._take_up(kept, now)
        after = {"": "nothing", "stop": "stop", "start": "crash"}[last]
        version = metadata.version("tallygate")
        self.audit(
            GATEWAY, "start", "", {"version": version, "model": self._admission.primary.model.name, "after": after}
        )
        self._running = True
        return kept

    async def _read(self, now: Instant) -> StoredState:
        """Read everything before anything is taken up: the file may turn out to be damaged."""
        rows = self.store.read
        meta = dict(await rows("SELECT name, value FROM meta"))
        lived = min(float(meta.pop("alive", now.wall)), now.wall)
        kept = StoredState(lived, Directory(), [], await licenses(self.store), await installations(self.store), meta)
        for name, tokens in await rows("SELECT name, tokens FROM account"):
            kept.directory.accounts[name] = tuple(
                Token(bytes.fromhex(digest), created) for digest, created in json.loads(tokens)
            )
        kept.directory.operators.update(await operators(self.store))
        for name, accounts, permanent in await rows("SELECT name, accounts, permanent FROM team"):
            kept.directory.groups[name] = Group(tuple(json.loads(accounts)), bool(permanent))
        for subject, until in await rows("SELECT subject, until FROM ban WHERE until > ?", (now.wall,)):
            kept.directory.bans[subject] = Ban(subject, until)
        for model, pool, key, kind, since, expires, deleted in await rows("SELECT * FROM lease ORDER BY since"):
            end = None if expires is None else float(expires)
            change = LeaseChange(model, pool, _key(key), float(since), end, bool(deleted), None, kind)
            kept.leases.append(change)
        return kept

    def _take_up(self, kept: StoredState, now: Instant) -> None:
        self._kept = kept.meta
        directory = self._directory
        directory.accounts.update(kept.directory.accounts)
        directory.operators.update(kept.directory.operators)
        directory.groups.update(kept.directory.groups)
        directory.bans.update(kept.directory.bans)
        self.audit_log.write([Statement(END_BANS, (now.wall,))])
        for change in kept.leases:
            if change.model == self._admission.primary.model.name:
                self._leased.add((change.pool, change.key, change.kind))
            for ledger in self._admission.ledgers:
                if ledger.model.name == change.model and change.pool in ledger.pools:
                    ledger.restore(change, kept.lived, now)

    async def close(self) -> None:
        """Note the last instant of this run, and close the store."""
        if self._running:
            self._running = False
            self.audit_log.add(GATEWAY, "stop")
        if self.store.available:
            self.audit_log.write([self._alive()])
        await self.store.close()

    def record_alive(self, mono: float) -> None:
        """Note now and then that the gateway lives."""
        due = mono - self._noted >= ALIVE_EVERY or self.audit_log.behind
        if due and self.store.available:
            self._noted = mono
            self.audit_log.write([self._alive()])

    def record(self, changes: Sequence[LeaseChange]) -> asyncio.Future[None]:
        """Write changes of leases; done when they are durable."""
        for change in changes:
            self._enter(change)
        return self.audit_log.write([_lease(change) for change in changes])

    def _enter(self, change: LeaseChange) -> None:
        """Enter grants and ends of the enforced model's leases into the audit log; a moved end is neither."""
        if change.model != self._admission.primary.model.name:
            return
        lease = (change.pool, change.key, change.kind)
        detail = {"model": change.model, "pool": change.pool, "kind": change.kind}
        if change.ended is None and lease not in self._leased:
            self._leased.add(lease)
            self.audit_log.add(GATEWAY, "lease.granted", str(change.key), detail | {"expires": utc(change.expires)})
        elif change.ended is not None and lease in self._leased:
            self._leased.discard(lease)
            self.audit_log.add(GATEWAY, "lease.ended", str(change.key), detail | {"cause": change.ended})

    def audit(
        self, actor: str, action: str, subject: str = "", detail: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """Make an entry in the audit log, durable together with what is written before anything is awaited."""
        self.audit_log.add(actor, action, subject, detail)
        return self.audit_log.write()

    def account(self, name: str) -> asyncio.Future[None]:
        """Write an account as it is now, or that there is none."""
        held = name in self._directory.accounts
        return self.audit_log.write([self._account(name) if held else Statement(END_ACCOUNT, (name,))])

    def group(self, name: str) -> asyncio.Future[None]:
        """Write a group as it is now, or that there is none."""
        held = name in self._directory.groups
        return self.audit_log.write([self._group(name) if held else Statement(END_GROUP, (name,))])

    def ban(self, subject: str) -> asyncio.Future[None]:
        """Write a ban as it is now, or that there is none."""
        held = self._directory.bans.get(subject)
        return self.audit_log.write([Statement(PUT_BAN, tuple(held)) if held else Statement(END_BAN, (subject,))])

    def operator(self, name: str) -> asyncio.Future[None]:
        """Write an operator's tokens as they are now, or that there are none."""
        return self.audit_log.write([Statement(END_OPERATOR, (name,)), *self._operator(name)])

    def license(self, serial: str) -> asyncio.Future[None]:
        """Write a license that was sold as it is now, or that there is none."""
        return self.audit_log.write(license_as_it_is(self._registrar, serial))

    def installation(self, installation: Installation) -> asyncio.Future[None]:
        """Write a server that registered as it is now, or that it is forgotten."""
        place = (installation.serial, installation.server)
        held = place in self._registrar.installations
        return self.audit_log.write([_server(installation) if held else Statement(END_INSTALLATION, place)])

    def keep(self, name: str, text: str) -> asyncio.Future[None]:
        """Keep a text under a name."""
        self._kept[name] = text
        return self.audit_log.write([Statement(PUT_META, (name, text))])

    def follow(self) -> None:
        """The enforced model is another one now."""
        primary = self._admission.primary.model.name
        self._leased = {(each.pool, each.key, each.kind) for each in self._leases() if each.model == primary}

    def everything(self) -> Iterable[Statement]:
        """What makes any file the same as memory; leases of models that are not in use now are left alone."""
        for table in ("account", "team", "ban", "operator", "license", "installation"):
            yield Statement(f"DELETE FROM {table}")  # noqa: S608 - the names stand in the line above
        yield from (Statement(END_LEASES, (ledger.model.name,)) for ledger in self._admission.ledgers)
        yield self._alive()
        yield from (Statement(PUT_META, each) for each in self._kept.items())
        yield from map(_sale, self._registrar.licenses.values())
        yield from map(_server, self._registrar.installations.values())
        yield from (_lease(change) for change in self._leases())
        yield from map(self._account, self._directory.accounts)
        yield from map(self._group, self._directory.groups)
        yield from (Statement(PUT_BAN, tuple(ban)) for ban in self._directory.bans.values())
        for name in self._directory.operators:
            yield from self._operator(name)
        yield from self.audit_log.backlog()

    def _leases(self) -> Iterator[LeaseChange]:
        for ledger in self._admission.ledgers:
            for pool, book in ledger.pools.items():
                # Reservations of a pool that leases nothing come from the configuration.
                reserved = book.reservations if book.terms.leased else {}
                held: list[tuple[Key, Lease | Reservation]] = [*book.leases.items(), *reserved.items()]
                yield from (ledger.lease_change(pool, key, claim) for key, claim in held)

    def _alive(self) -> Statement:
        return Statement(PUT_META, ("alive", repr(self._now().wall)))

    def _account(self, name: str) -> Statement:
        tokens = json.dumps([(each.digest.hex(), each.created) for each in self._directory.accounts[name]])
        return Statement(PUT_ACCOUNT, (name, tokens))

    def _operator(self, name: str) -> list[Statement]:
        return [operator_row(name, token) for token in self._directory.operators.get(name, ())]

    def _group(self, name: str) -> Statement:
        group = self._directory.groups[name]
        return Statement(PUT_GROUP, (name, json.dumps(group.accounts), group.permanent))


async def operators(store: Store) -> dict[str, tuple[Token, ...]]:
    """The operators and their tokens that a store holds, in order of name and age.

    Raises `StoreUnavailable`.
    """
    found: dict[str, tuple[Token, ...]] = {}
    for name, digest, created, scope in await store.read("SELECT * FROM operator ORDER BY name, created"):
        found[name] = (*found.get(name, ()), Token(bytes.fromhex(digest), created, scope))
    return found


def operator_row(name: str, token: Token) -> Statement:
    """What puts an operator's token into a store."""
    return Statement(PUT_OPERATOR, (name, token.digest.hex(), token.created, token.scope))


async def licenses(store: Store) -> dict[str, SoldLicense]:
    """The licenses that a store holds, by serial.

    Raises `StoreUnavailable`; what the store holds may be wrong, and then other errors.
    """
    found = {}
    for serial, key, granted_, created, revoked in await store.read("SELECT * FROM license ORDER BY serial"):
        grant = granted(read(json.loads(granted_), "terms"), OFFERS)
        found[serial] = SoldLicense(serial, key_of(key), grant, created, revoked)
    return found


async def installations(store: Store) -> dict[tuple[str, str], Installation]:
    """The servers that have registered, by serial and name.

    Raises `StoreUnavailable`; what the store holds may be wrong, and then other errors.
    """
    found = {}
    for serial, server, ticket, verified, used, address, version, clones in await store.read(
        "SELECT * FROM installation ORDER BY serial, server"
    ):
        found[serial, server] = Installation(
            serial, server, ticket, None, verified, json.loads(used), address, version, clones
        )
    return found


def license_as_it_is(registrar: Registrar, serial: str) -> list[Statement]:
    """What makes a store hold a license as it is now, or hold none."""
    license = registrar.licenses.get(serial)
    if license is None:
        return [Statement(END_LICENSE, (serial,)), Statement(END_INSTALLATIONS, (serial,))]
    return [_sale(license)]


def _sale(license: SoldLicense) -> Statement:
    terms = json.dumps(license.grant.to_json())
    return Statement(PUT_LICENSE, (license.serial, license.key.hex(), terms, license.created, license.revoked))


def _server(each: Installation) -> Statement:
    kept = (each.ticket, each.verified, json.dumps(each.used), each.address, each.version, each.clones)
    return Statement(PUT_INSTALLATION, (each.serial, each.server, *kept))


def _lease(change: LeaseChange) -> Statement:
    place = (change.model, change.pool, json.dumps(change.key), change.kind)
    if change.ended is not None:
        return Statement(END_LEASE, place)
    return Statement(PUT_LEASE, (*place, change.since, change.expires, change.deleted))


def _key(text: str) -> Key:
    key: Any = json.loads(text)
    return tuple(key) if isinstance(key, list) else key
