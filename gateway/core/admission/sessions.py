"""The sessions there are, and the views in which they are looked up and counted.

Every count that is shown is the length of one of these views: it is read, not kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from gateway.core.admission.idle_seats import IdleSeats
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.session import Identity, Session


class Sessions:
    """All sessions that have been welcomed, by number, account, device, and by (kind, awake).

    `idle` are those whose clients said that nobody uses them, and that take part in nothing, since which monotonic
    instant, the longest first; `resting` are such that sleep, in no order (COUNTING.md, Idle sessions).
    """

    def __init__(self) -> None:
        self.by_number: dict[int, Session] = {}
        self.by_account: Multimap[Identity, Session] = Multimap()
        self.by_device: Multimap[tuple[Identity, str], Session] = Multimap()
        self.by_presence: defaultdict[tuple[str, bool], dict[Session, None]] = defaultdict(dict)
        self.idle: dict[Session, float] = {}
        self.resting: dict[Session, float] = {}
        self.idle_seats: IdleSeats | None = None
        """The seats of all these, in the order in which they are taken; None until a request looks for one."""

    def __len__(self) -> int:
        return len(self.by_number)

    @property
    def devices(self) -> int:
        """Distinct devices; a session that named none is a device of its own."""
        return len(self.by_number) - self.by_device.surplus

    def add(self, session: Session) -> None:
        """Take a session in."""
        self.by_number[session.number] = session
        self.by_presence[session.kind, session.awake][session] = None
        if session.account is None:
            return
        identity, device = session.identity, session.device_key
        if identity is not None:
            self.by_account.add(identity, session)
        if device is not None:
            self.by_device.add(device, session)

    def remove(self, session: Session) -> None:
        """Let a session go."""
        del self.by_number[session.number]
        self.by_presence[session.kind, session.awake].pop(session, None)
        if session.active is not None:
            self._stop_idling(session)
        if session.account is None:
            return
        identity, device = session.identity, session.device_key
        if identity is not None:
            self.by_account.discard(identity, session)
        if device is not None:
            self.by_device.discard(device, session)

    def set_awake(self, session: Session, *, awake: bool) -> None:
        """Note whether a session is awake."""
        if session.awake is not awake:
            self.by_presence[session.kind, session.awake].pop(session, None)
            session.awake = awake
            self.by_presence[session.kind, awake][session] = None

    def follow_idleness(self, session: Session, now: float, *, takes_part: bool, ago: float = 0.0) -> None:
        """Note whether a session is idle, after a change of what it does; its client last said `ago` seconds ago that
        somebody uses it, if it says now that nobody does.
        """
        free = session.awake and not takes_part
        if not free:
            session.free_since = None
        elif session.free_since is None:
            session.free_since = now
        if session.active is not False or takes_part:
            self._stop_idling(session)
            return
        if not session.awake:
            self.resting.setdefault(session, self.idle.pop(session, now))
        elif session not in self.idle:
            self.resting.pop(session, None)
            said = now - ago
            self._begin_idling(session, said if session.free_since is None else max(session.free_since, said))
        since = self.idle_since(session)
        if self.idle_seats is not None and since is not None:
            self.idle_seats.put(session, since)

    def _stop_idling(self, session: Session) -> None:
        self.idle.pop(session, None)
        self.resting.pop(session, None)
        if self.idle_seats is not None:
            self.idle_seats.discard(session)

    def _begin_idling(self, session: Session, since: float) -> None:
        latest = self.idle[next(reversed(self.idle))] if self.idle else since
        self.idle[session] = since
        if since < latest:  # seldom: it said nothing for long, and was busy otherwise
            self.idle = dict(sorted(self.idle.items(), key=lambda item: item[1]))

    def restore_idle(self, idle: Mapping[Session, float]) -> None:
        """Take up the idle sessions of a saved state, in order."""
        self.idle = {session: since for session, since in idle.items() if session.awake}
        self.resting = {session: since for session, since in idle.items() if not session.awake}

    def idle_since(self, session: Session) -> float | None:
        """Return the monotonic instant since which a session is idle; None where it is not."""
        since = self.idle.get(session)
        return self.resting.get(session) if since is None else since

    def all_idle(self) -> Iterator[tuple[Session, float]]:
        """Yield all idle sessions, awake or asleep, with the monotonic instant since which each is."""
        yield from self.idle.items()
        yield from self.resting.items()

    def of_account(self, identity: Identity) -> tuple[Session, ...]:
        """Return the sessions of an account, as they are now."""
        return tuple(self.by_account.values_of(identity))

    def same_account_sessions(self, session: Session) -> Collection[Session]:
        """Return the sessions of the same account; none for a guest."""
        identity = session.identity
        return self.by_account.values_of(identity) if identity is not None else ()

    def same_device_session(self, session: Session) -> Session | None:
        """Return the latest session of the same account and device."""
        device = session.device_key
        twins = self.by_device.values_of(device) if device is not None else ()
        return next(reversed(tuple(twins)), None)
