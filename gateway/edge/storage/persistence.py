"""Writes what must outlive the process into the store, and restores it at the start.

Written are: what decisions change, with its entries of the audit log; licenses that were sold, and the servers that
register with them; this gateway's own registration, each time it is verified; and every 10 s the instant at which the
gateway lives: after a crash, whoever was in a conference is taken to have left at the last of these (COUNTING.md, PRO
leases 9). Memory leads, the file follows; after a failure of the disk `everything` makes the file the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from config.settings import Settings
from config.webhook_settings import queue_bounds
from gateway.core.admission.decision import AuditNote, Decision
from gateway.core.admission.directory import Directory
from gateway.core.admission.state import State
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.session import Instant, Key
from gateway.core.formats import utc
from gateway.core.registration.registrar import Installation, Registrar
from gateway.edge.storage import rows
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.audit_keeping import AuditKeeping
from gateway.edge.storage.audit_log import AuditLog
from gateway.edge.storage.outgoing_events import OutgoingEvents
from gateway.edge.storage.pseudonyms import PSEUDONYM_KEY, Pseudonyms
from gateway.edge.storage.seat_store import SeatStore
from gateway.edge.storage.store import Statement, Store, StoreDamaged, StoreRefused
from gateway.edge.storage.stored_state import StoredState, read_stored
from gateway.edge.storage.usage_store import UsageStore

VERSION = "cluster.version"
"""The name under which a node of a cluster keeps up to which entry of the log the file has been written."""
INCARNATION = "cluster.incarnation"
"""The name under which the last incarnation of a node of a cluster is kept."""
DIVERGENCE = "cluster.divergence"
"""The name under which it is kept that a node has come to another state than the others."""
DIVERGED, TAKEN, OUT = "diverged", "taken", "out"
"""It must take the file of a peer; it has taken one since; it has diverged again, and stays out."""
ALIVE_EVERY = 10.0
"""Seconds between two records that the gateway lives."""
FORGET_STATE = "DELETE FROM dump WHERE etcd = ''"
"""The state of the last run counts once."""


class Projected(NamedTuple):
    """A decision of an entry of the log, who acted, and the instant of the entry in seconds UTC."""

    version: int
    decision: Decision
    actor: str
    at: float


class Persistence:
    """Writes what `state` and `registrar` hold into a store at `path`; `now` tells the instant.

    The `settings` say how long a commit may take, and what is kept of whom, how long. Where the state follows a log,
    the log is what is durable: the file holds what came of it up to `log_version`, and nobody waits for it.
    """

    def __init__(
        self,
        path: str,
        state: State,
        registrar: Registrar,
        now: Callable[[], Instant],
        settings: Settings,
        *,
        log_version: Callable[[], int] | None = None,
    ) -> None:
        self._log_version = log_version
        self.goes_on_from: float | None = None
        """When the file was last noted, in seconds UTC, where the state is that of the run that did; None otherwise."""
        self.unprojected: list[Projected] = []
        """What was decided by the log while this file was not written; written when it is opened."""
        self._state = state
        self._registrar = registrar
        self._model = state.terms.model
        self._meta: dict[str, str] = {}
        self._decided_at: float | None = None
        """The instant of what the log decides, in seconds UTC; None where the wall clock tells it."""
        self._now = now
        self._noted = -ALIVE_EVERY
        self.store = Store(path, self.everything, lambda: now().mono, patience=settings.store.deadline)
        self.pseudonyms = Pseudonyms(settings.history.names)
        self.usage_store = UsageStore(state.use, self.store, self.pseudonyms)
        self.seat_store = SeatStore(state, self.store, follows_log=log_version is not None)
        self.audit_log = AuditLog(self.store, lambda: now().wall)
        self.audit_keeping = AuditKeeping(self.audit_log, self.store, settings.audit.keep)
        self.outgoing = OutgoingEvents(self.store, queue_bounds(settings.webhook))
        self._running = False
        self._audited: set[tuple[str, str, Key, str]] = set()
        """Leases whose grant is in the audit log: model, pool, key and kind."""

    async def open(self) -> StoredState:
        """Open the store, put what the last run left into the state, and return all of it.

        Raises `StoreRefused` or `StoreUnavailable`.
        """
        await self.store.open()
        now = self._now()
        try:
            last, stored = await self.audit_log.open(), await read_stored(self.store, now.wall)
        except (LookupError, ValueError, TypeError, AttributeError, StoreDamaged) as fault:
            await self.store.begin_anew(str(fault))
            last, stored = await self.audit_log.open(), await read_stored(self.store, now.wall)
        self._restore(stored, now)
        self.seat_store.found = stored.seats
        self.outgoing.restore(stored.outgoing)
        made = self.pseudonyms.take_key(stored.meta.get(PSEUDONYM_KEY))
        if made is not None:
            self.keep(PSEUDONYM_KEY, made)
        if self._log_version is not None:
            self.store.write(tuple(self.everything()))
        after = {"": "nothing", "stop": "stop"}.get(last, "crash")
        version = metadata.version("tallygate")
        self.audit(GATEWAY, "start", "", {"version": version, "model": self._state.terms.model, "after": after})
        self._running = True
        return stored

    def _restore(self, stored: StoredState, now: Instant) -> None:
        self._meta = stored.meta
        if self._log_version is not None:  # its state is the log's
            self._audited = {(each.model, each.pool, each.key, each.kind) for each in stored.leases}
            for each in self.unprojected:
                self.project(each)
            self.unprojected.clear()
            self.follow_primary()
            return
        self.audit_log.write([Statement(rows.FORGET_BANS, (now.wall,)), Statement(FORGET_STATE), self._alive()])
        self._audited = {(each.model, each.pool, each.key, each.kind) for each in stored.leases}
        if self.goes_on_from is not None:
            self._go_on(stored, self.goes_on_from)
            return
        state = self._state
        self._take_directory(stored)
        for change in stored.leases:
            for ledger in state.ledgers:
                if ledger.model.name == change.model and change.pool in ledger.pools:
                    ledger.leases.restore(change, stored.alive_until, now)
        state.bind_rules()
        for ledger in state.ledgers:
            ledger.leases.order_restored()
        state.numbers.intervals.last = stored.last_interval
        state.numbers.episodes.last = stored.last_episode
        state.numbers.days.last = stored.last_part
        state.history.begin(now)
        state.use.begin(now)

    def _go_on(self, stored: StoredState, noted: float) -> None:
        """Go on with the state of the last run, but with the accounts, tokens, groups and bans of the file.

        Commands may have changed these since, while no gateway ran. Raises `StoreRefused`.
        """
        if stored.noted is None:  # it was damaged, and has been set aside since the state was read
            self.store.write(tuple(self.everything()))
        elif stored.noted != noted:
            raise StoreRefused(f"{self.store.path}: another process has written to it meanwhile; start again")
        else:
            self._take_directory(stored)
            self._state.bind_rules()

    def _take_directory(self, stored: StoredState) -> None:
        directory = self._state.directory = Directory()
        directory.accounts.update(stored.accounts)
        directory.operators.update(stored.operators)
        directory.groups.update(stored.groups)
        for ban in stored.bans:
            directory.bans.put(ban)

    async def close(self, last: Sequence[Statement] = ()) -> None:
        """Record the last instant of this run, unless it is among the `last` statements, and close the store. Called
        again it records nothing: the next run goes on from what was recorded only where that is the last of this run.
        """
        await self.audit_keeping.close()
        if self._running:
            self._running = False
            self.audit_log.add(GATEWAY, "stop")
            self.outgoing.gather()
            self.seat_store.poll(self._now())
            if self.store.available:
                self.audit_log.write(last or [self._alive()])
        await self.store.close()

    def poll(self, now: Instant) -> None:
        """Write what is due, and forget what is too old; called once a second. `now` is that of what is counted."""
        real = self._now()
        self.record_alive(real.mono)
        self.usage_store.poll(now)
        self.seat_store.poll(now)
        self.audit_keeping.poll(real)

    def record_alive(self, mono: float) -> None:
        """Record, where it is due, that the gateway lives."""
        due = mono - self._noted >= ALIVE_EVERY or self.audit_log.behind
        if due and self.store.available:
            self._noted = mono
            self.audit_log.write([self._alive()])

    # -- decisions -----------------------------------------------------------------------------------------------------

    def project(self, projected: Projected) -> None:
        """Write what was decided by an entry of the log, and that the file has come as far as that."""
        self._commit(projected.decision, projected.actor, projected.version, projected.at)

    def commit(self, decision: Decision, actor: str = GATEWAY) -> asyncio.Future[None] | None:
        """Write what a decision changed, with what the audit log says of it; done when that is durable.

        Returns None where nobody need wait: nothing was changed but what models in shadow lease, or the log has it.
        """
        if self._log_version is None:
            return self._commit(decision, actor)
        if decision.changes or decision.audit:
            self._commit(decision, actor, self._log_version(), self._state.at.wall)
        return None

    def _commit(
        self, decision: Decision, actor: str, version: int | None = None, at: float | None = None
    ) -> asyncio.Future[None] | None:
        beside = []
        if version is not None:
            self._meta[VERSION], self._decided_at = str(version), at
            beside.append(rows.put_meta(VERSION, str(version)))
        for note in decision.audit:
            self.audit_log.add(actor, note.action, note.subject, note.detail, self._decided_at)
        if not decision.changes:
            if decision.audit:
                self.audit_log.write(beside)
            return None
        primary = self._state.terms.model
        waits = bool(decision.audit)  # an operator is told what is durable, whichever model decides
        statements: list[Statement] = list(beside)
        for change in decision.changes:
            statements += rows.change_statements(change)
            if not isinstance(change, LeaseChange):
                waits = True
            elif change.model == primary:
                waits = True
                self._audit_lease(change)
        done = self.audit_log.write(statements)
        return done if waits else None

    def barrier(self) -> asyncio.Future[None]:
        """Return what is done when all that was written so far is durable."""
        return self.audit_log.write()

    def _audit_lease(self, change: LeaseChange) -> None:
        """Enter grants and ends of the primary model's leases into the audit log; a moved end is neither."""
        lease = (change.model, change.pool, change.key, change.kind)
        detail: dict[str, Any] = {"model": change.model, "pool": change.pool, "kind": change.kind}
        if change.ended is None and lease not in self._audited:
            self._audited.add(lease)
            note = AuditNote.of("lease.granted", change.key, **detail, expires=utc(change.expires))
        elif change.ended is not None and lease in self._audited:
            self._audited.discard(lease)
            note = AuditNote.of("lease.ended", change.key, **detail, cause=change.ended)
        else:
            return
        self.audit_log.add(GATEWAY, *note, self._decided_at)

    def follow_model(self) -> None:
        """Let it be known that another model may decide from now on."""
        if self._model != self._state.terms.model:
            self._model = self._state.terms.model
            self.follow_primary()

    def follow_primary(self) -> None:
        """Take the leases of the model that decides from now on for entered in the audit log."""
        leases = (each for each in self.leases() if each.model == self._state.terms.model)
        self._audited = {(each.model, each.pool, each.key, each.kind) for each in leases}

    # -- beside decisions ----------------------------------------------------------------------------------------------

    def audit(
        self, actor: str, action: str, subject: str = "", detail: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """Make an entry in the audit log; it is durable together with what is written before anything is awaited."""
        self.audit_log.add(actor, action, subject, detail)
        return self.audit_log.write()

    def license(self, serial: str) -> asyncio.Future[None]:
        """Write a license that was sold as it is now, or that there is none."""
        return self.audit_log.write(rows.license_statements(serial, self._registrar.licenses.get(serial)))

    def installation(self, installation: Installation) -> asyncio.Future[None]:
        """Write a server that registered as it is now, or that it is forgotten."""
        held = (installation.serial, installation.server) in self._registrar.installations
        return self.audit_log.write(
            [rows.put_installation(installation) if held else rows.end_installation(installation)]
        )

    def keep(self, name: str, text: str) -> asyncio.Future[None]:
        """Keep a text under a name."""
        self._meta[name] = text
        return self.audit_log.write([rows.put_meta(name, text)])

    def count_up(self, name: str) -> int:
        """Return the next of the numbers that are kept under a name; who asks for it writes it."""
        number = int(self._meta.get(name, 0)) + 1
        self._meta[name] = str(number)
        return number

    def keep_incarnation(self, incarnation: str) -> asyncio.Future[None]:
        """Keep by which incarnation this node of a cluster is known: the next run of it knows that one to be over."""
        return self.keep(INCARNATION, incarnation)

    def keep_divergence(self) -> asyncio.Future[None]:
        """Keep that this node of a cluster has come to another state than the others, for the first time or again."""
        return self.keep(DIVERGENCE, OUT if self._meta.get(DIVERGENCE) else DIVERGED)

    def everything(self) -> Iterable[Statement]:
        """Yield what makes any file the same as memory; leases of models that are not in use are left alone."""
        directory = self._state.directory
        for table in rows.TABLES:
            yield Statement(f"DELETE FROM {table}")  # noqa: S608 - the names stand in `rows`
        yield from (Statement(rows.FORGET_LEASES, (ledger.model.name,)) for ledger in self._state.ledgers)
        yield self._alive()
        yield from (rows.put_meta(name, text) for name, text in self._meta.items())
        yield from map(rows.put_license, self._registrar.licenses.values())
        yield from map(rows.put_installation, self._registrar.installations.values())
        yield from map(rows.put_lease, self.leases())
        yield from (rows.put_account(name, tokens) for name, tokens in directory.accounts.items())
        yield from (rows.put_group(name, group) for name, group in directory.groups.items())
        yield from map(rows.put_ban, directory.bans)
        yield from self.seat_store.everything()
        yield from self.outgoing.everything()
        for name, tokens in directory.operators.items():
            yield from (rows.put_operator_token(name, token) for token in tokens)
        yield from self.audit_log.backlog()

    def leases(self) -> Iterator[LeaseChange]:
        """Yield the leases and reservations of all models that the store keeps."""
        for ledger in self._state.ledgers:
            for name, pool in ledger.pools.items():
                if pool.terms.leased:  # what another pool reserves comes from the configuration
                    for key, lease in pool.leases.items():
                        yield ledger.leases.change_of(name, key, lease)
                    for key, reservation in pool.reservations.items():
                        yield ledger.leases.change_of(name, key, reservation)

    def _alive(self) -> Statement:
        return rows.put_meta(rows.ALIVE, repr(self._now().wall))
