"""Events: what happened lately, one after the other, each with its name, its time and what it is about.

They are in memory, as many as `events.kept`, and gone with the process. None of them is decided here: pools note what
happens to their seats (`gateway.core.counting.seat_events`), the audit log tells what operators and the gateway did,
the dispatcher whom it refused, and once a second the use of the pools is compared with their limits. Persons stand in
an event as in the stored past (`history.names`).
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from config.record_settings import EventSettings
from gateway.core.admission.replies import session_id
from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.seat_events import SeatEvent, SeatEvents
from gateway.core.counting.session import Identity, Instant, account_and_home
from gateway.core.event_kinds import KINDS, kind_of
from gateway.core.names import folded
from gateway.core.reporting.audit_chain import timestamp
from gateway.core.reporting.audit_names import with_names_replaced
from gateway.core.reporting.recent import PoolCourse
from gateway.edge.server.paced_log import CountedLog
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.pseudonyms import Pseudonyms

BELOW = 5
"""Points of a hundred that use must fall below a threshold before that is left, so that it does not come and go."""
TOLD_LATE = frozenset({"granted", "released"})
"""Events of which what they are about is put together when somebody reads them: there are the most of these."""
LOGGED = frozenset({"act", "gateway", "full", "threshold"})
"""Kinds of which each event has a line in the log."""
SAID = frozenset({"gateway.reload", "gateway.reload.refused"})
"""Events of those kinds that have their line already."""
BITS_IN_A_MILLISECOND = 20
"""Bits of a place that tell the events of one millisecond apart."""
ERASED: Mapping[str, Any] = {"erased": True}
"""What an event is about that named somebody who was erased."""
OF_REGISTRATION = {
    "clone.suspected": "registration.clone_suspected",
    "license.installed": "registration.license_installed",
}
"""Entries of the audit log that are about the registration, and do not say so."""


log = logging.getLogger("tallygate.events")


class RecentEvent(NamedTuple):
    """An event: its number, when it was (seconds UTC), its name, what it is about. `persons` are the accounts and homes
    whose names, or pseudonyms, are in it. `shared` says that every gateway of a cluster has it. `seat` has it all while
    nobody has asked for what it is about: of thousands in a second few are read. `place` is the place of one that was
    decided among those of a cluster, the same at every gateway; 0 where it has none.
    """

    number: int
    at: float
    name: str
    detail: Mapping[str, Any]
    persons: tuple[tuple[str, str], ...] = ()
    shared: bool = False
    seat: SeatEvent | None = None
    place: int = 0


class RecentEvents:
    """The latest events of a gateway that counts in `state`; `now` tells the instant of what is counted, `cluster` is
    the identity of its cluster, empty where there is none.
    """

    def __init__(
        self,
        settings: EventSettings,
        state: State,
        now: Callable[[], Instant],
        pseudonyms: Pseudonyms,
        cluster: str = "",
    ) -> None:
        self.run = secrets.token_hex(4)
        """What the ids of events of this run begin with."""
        self.records: deque[RecentEvent] = deque(maxlen=settings.kept)
        self.counts = dict.fromkeys(KINDS, 0)
        """How many there were so far, by kind."""
        self.thresholds = settings.thresholds
        self._logs = False
        self._counted = {kind: CountedLog(log, kind) for kind in ("denied", "refused")}
        self._last = 0
        self._cluster = cluster
        self._place = 0
        self._state = state
        self._now = now
        self._pseudonyms = pseudonyms
        self._seats = SeatEvents(settings.kept)
        self._ledger: Ledger | None = None
        """The ledger whose pools note what happens."""
        self._full: dict[str, tuple[float, int]] = {}
        """The pools that are full: since when (seconds UTC), and how many were denied since then."""
        self._reached: dict[str, frozenset[int]] = {}
        """The thresholds that each pool has reached."""

    # -- what is read --------------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """How many events are not in memory any more, or never came there because too many happened at once."""
        return self._last - len(self.records) + self._seats.dropped

    @property
    def last(self) -> int:
        """The number of the latest event."""
        self.gather()
        return self._last

    @property
    def last_id(self) -> str:
        """The id of the latest event."""
        self.gather()
        return self.id_of(self.records[-1]) if self.records else f"{self.run}-0"

    @property
    def first(self) -> int:
        """The number of the oldest event in memory; where there is none, of the next one that comes."""
        return self.records[0].number if self.records else self._last + 1

    def after(self, number: int, most: int | None = None) -> list[RecentEvent]:
        """Return the events after the one of that number, as far as they are in memory, `most` of them, in order."""
        self.gather()
        skipped = max(len(self.records) - (self._last - number), 0)
        found = islice(self.records, skipped, None if most is None else skipped + most)
        return [each if each.seat is None else self._told(each, each.seat) for each in found]

    def id_of(self, event: RecentEvent) -> str:
        """Return the id of an event; no other has it, of this run or of another one. What was decided in a cluster has
        the same at every gateway.
        """
        return f"{self._cluster}-{event.place:x}" if event.place else f"{self.run}-{event.number:x}"

    def number_of(self, id: str) -> int:
        """Return the number of an event by its id; 0, from which all come after, for one of another run."""
        run, _, number = id.partition("-")
        if run == self.run:
            return min(int(number, 16), self._last)
        if run == self._cluster:
            self.gather()
            place = int(number, 16)
            return next((each.number for each in reversed(self.records) if 0 < each.place <= place), 0)
        return 0

    def to_json(self, event: RecentEvent) -> dict[str, Any]:
        """Return an event as it is told (PROTOCOL.md, Events)."""
        return {
            "id": self.id_of(event),
            "time": timestamp(event.at),
            "event": event.name,
            "detail": dict(event.detail),
        }

    # -- what happens --------------------------------------------------------------------------------------------------

    def note(
        self,
        name: str,
        detail: Mapping[str, Any],
        persons: tuple[tuple[str, str], ...] = (),
        at: float | None = None,
    ) -> None:
        """Keep an event of this gateway, of `at` (seconds UTC) or of now."""
        self.gather()
        self._keep(name, self._now().wall if at is None else at, detail, persons, shared=False)

    def entered(
        self, actor: str, action: str, subject: str, detail: Mapping[str, Any], at: float, *, decided: bool
    ) -> None:
        """Keep what was entered into the audit log; `decided` says that every gateway of a cluster has the entry."""
        persons: list[tuple[str, str]] = []

        def told(text: str, account: str, home: str) -> str:
            steps = [] if account else folded(text).split("/")
            if self._pseudonyms.kind != "names":
                text = account = self._pseudonyms.person((account or text, home, "", ""))[0]
                steps = []
            persons.extend((each, home) for each in (account, *steps) if each)
            return text

        subject, detail = with_names_replaced(action, subject, detail, told)
        about = ({} if actor == GATEWAY else {"actor": actor}) | ({"subject": subject} if subject else {})
        self.gather()
        place = self._next_place(self._now().mono) if decided else 0
        self._keep(
            _name(actor, action), at, {**about, **detail}, tuple(dict.fromkeys(persons)), shared=decided, place=place
        )

    def refused(
        self, request: str, reason: str, address: str, session: int | None, claimed: tuple[str, str] | None = None
    ) -> None:
        """Keep that a request was refused for a reason that is not the license's.

        `claimed` is the account and the home that a client named which was not welcomed, whoever it is.
        """
        named = self._pseudonyms.kind == "names"
        found = self._state.sessions.by_number.get(session or 0)
        detail: dict[str, Any] = {"request": request, "reason": reason}
        persons: tuple[tuple[str, str], ...] = ()
        if found is not None:
            detail["session"] = session_id(self._state, found.number)
        if found is not None and found.account is not None:
            claimed = found.account, found.home
        if named and claimed is not None:
            detail["account"] = claimed[0]
            if claimed[1]:
                detail["home"] = claimed[1]
            persons = (claimed,)
        if named:
            detail["address"] = address
        self.note("refused", detail, persons)

    def begin_log(self) -> None:
        """Have the log tell of events, those so far first: a gateway that cannot open says nothing but why."""
        self._logs = True
        for event in self.after(0):
            self._log(event.name, kind_of(event.name), event.detail)

    def look(self, courses: Mapping[tuple[str, str], PoolCourse]) -> None:
        """Called once a second: compare the highest use of that second with the limits."""
        self.gather()
        for each in self._counted.values():
            each.poll(self._now().mono)
        primary = self._state.primary.model.name
        for (model, pool), course in courses.items():
            if model == primary:
                self._compare(pool, course)

    def gather(self) -> None:
        """Take what the pools have noted."""
        if self._state.primary is not self._ledger:
            self._follow(self._state.primary)
        events = self._seats.take()
        if events:
            now = self._now()
            since, late = now.wall - now.mono, self._pseudonyms.kind == "names"
            for event in events:
                place = self._next_place(event.at)
                if late and event.name in TOLD_LATE:
                    self._last += 1
                    self.counts[event.name] += 1
                    at = event.at + since
                    self.records.append(RecentEvent(self._last, at, event.name, {}, (), True, event, place))
                    continue
                self._keep(event.name, event.at + since, *self._about(event), shared=True, place=place)

    def forget(self, who: Identity) -> None:
        """Forget the events that name somebody."""
        self.gather()
        account, home = account_and_home(who)
        persons = {(name, home) for name in self._pseudonyms.stand_for(account, home)}
        kept = [
            event if persons.isdisjoint(event.persons) else event._replace(detail=ERASED, persons=())
            for event in self.after(0)
        ]
        self.records.clear()
        self.records.extend(kept)

    def _follow(self, ledger: Ledger) -> None:
        for pool in self._ledger.pools.values() if self._ledger is not None else ():
            pool.events = None
        for pool in ledger.pools.values():
            pool.events = self._seats
        self._ledger = ledger
        self._full.clear()
        self._reached.clear()

    def _told(self, event: RecentEvent, seat: SeatEvent) -> RecentEvent:
        detail, persons = self._about(seat)
        return event._replace(detail=detail, persons=persons, seat=None)

    def _about(self, event: SeatEvent) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
        kind = self._pseudonyms.kind
        account, home, device, address = event.person if kind == "names" else self._pseudonyms.person(event.person)
        detail: dict[str, Any] = {"pool": event.pool}
        if account:
            detail["account"] = account
        if home:
            detail["home"] = home
        if device:
            detail["device"] = device
        if address:
            detail["address"] = address
        if event.session is not None:
            detail["session"] = session_id(self._state, event.session)
        detail["used"], detail["limit"] = event.used, event.limit
        detail.update(event.detail)
        return detail, ((account, home),) if account else ()

    def _keep(
        self,
        name: str,
        at: float,
        detail: Mapping[str, Any],
        persons: tuple[tuple[str, str], ...] = (),
        *,
        shared: bool,
        place: int = 0,
    ) -> None:
        self._last += 1
        kind = kind_of(name)
        self.counts[kind] += 1
        if self._logs:
            self._log(name, kind, detail)
        self.records.append(RecentEvent(self._last, at, name, detail, persons, shared, place=place))

    def _next_place(self, mono: float) -> int:
        """Return the place of the next event that was decided in a cluster: made of the milliseconds that its log has
        lived through, and of the events in that one.
        """
        if not self._cluster:
            return 0
        self._place = max(self._place, int(mono * 1000) << BITS_IN_A_MILLISECOND) + 1
        return self._place

    def _log(self, name: str, kind: str, detail: Mapping[str, Any]) -> None:
        if kind in LOGGED and name not in SAID:
            log.info("%s", f"{name} {words_of(detail)}".rstrip(), extra={"event": name, "detail": detail})
        elif kind in self._counted:
            what = str(detail["reason"])
            self._counted[kind].record(what, words_of(detail), detail, self._now().mono)

    def _compare(self, pool: str, course: PoolCourse) -> None:
        used, limit = course.latest.used, course.latest.limit
        wall, full = self._now().wall, course.fullness
        about = {"pool": pool, "used": used, "limit": limit}
        if full.since is not None and limit:
            if pool not in self._full:
                self._keep("full.begun", wall, about, shared=True)
            self._full[pool] = full.since, full.denied
        elif pool in self._full:
            since, denied = self._full.pop(pool)
            told = {**about, "seconds": round(wall - since, 3), "denied": denied}
            self._keep("full.ended", wall, told, shared=True)
        before = self._reached.get(pool, frozenset())
        percent = 100 * used / limit if limit else 0.0
        reached = frozenset(
            each for each in self.thresholds if percent >= each or (each in before and percent >= each - BELOW)
        )
        for each in sorted(reached - before):
            self._keep("threshold.reached", wall, {**about, "percent": each}, shared=True)
        for each in sorted(before - reached):
            self._keep("threshold.left", wall, {**about, "percent": each}, shared=True)
        self._reached[pool] = reached


def words_of(detail: Mapping[str, Any]) -> str:
    """Return what an event is about as one line for a person."""
    return " ".join(f"{key}={_word(value)}" for key, value in detail.items())


def _word(value: object) -> str:
    plain = isinstance(value, str) and value.isprintable() and value and " " not in value
    return str(value) if plain else json.dumps(value, default=str)


def _name(actor: str, action: str) -> str:
    """Return the name of the event of an entry of the audit log."""
    if action in OF_REGISTRATION:
        return OF_REGISTRATION[action]
    if action.startswith(("lease.", "registration.")):
        return action
    return f"{'gateway' if actor == GATEWAY else 'act'}.{action}"
