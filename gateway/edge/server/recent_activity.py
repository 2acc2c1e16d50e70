"""What happened lately, for people who look: use second by second, events, and the sessions that ended last.

All of it is in memory, bounded by settings, and gone with the process; what is kept of longer times is the history.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from config.settings import Settings
from gateway.core.admission.replies import session_id
from gateway.core.admission.state import State
from gateway.core.counting.session import ABRUPT, Identity, Instant, Session
from gateway.core.reporting.recent import RecentUse
from gateway.edge.server.listener import Listener
from gateway.edge.server.paced_log import CountedLog
from gateway.edge.server.recent_events import RecentEvents
from gateway.edge.server.ticker import Ticker
from gateway.edge.storage.persistence import Persistence

log = logging.getLogger("tallygate.events")


class EndedSession(NamedTuple):
    """A session whose connection ended: who it was, from and to when (seconds UTC), and why."""

    id: str
    identity: Identity | None
    account: str | None
    home: str
    device: str | None
    kind: str
    address: str
    since: float
    ended: float
    cause: str


class RecentActivity:
    """Looks at `state`, `listeners` and `ticker` once a second; `now` tells the instant of what is counted."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        listeners: Sequence[Listener[Any]],
        ticker: Ticker,
        persistence: Persistence,
        now: Callable[[], Instant],
    ) -> None:
        pools = {(ledger.model.name, name): pool for ledger in state.ledgers for name, pool in ledger.pools.items()}
        self.sessions: deque[EndedSession] = deque(maxlen=settings.history.recent_sessions)
        """Those that ended last, the latest at the end."""
        self._state = state
        self._named = settings.history.names == "names"
        self._listeners = listeners
        self._ticker = ticker
        self.use = RecentUse(int(settings.history.recent), pools, self._totals(), now().mono)
        cluster = state.run if settings.cluster.etcd else ""
        self.events = RecentEvents(settings.events, state, now, persistence.pseudonyms, cluster)
        self._turned_away = CountedLog(log, "turned_away")
        self._rejected: dict[tuple[str, str], int] = {}
        persistence.audit_log.observer = self.events.entered

    def look(self, now: Instant) -> None:
        """Note what happened since the last second."""
        if self.use.look(now.mono, now.wall, self._totals(), self._ticker.worst_lag):
            self._ticker.worst_lag = 0.0
        self.events.look(self.use.courses)
        self._tell_turned_away(now.mono)

    def ended(self, session: Session, address: str, cause: str, now: Instant) -> None:
        """Note that the connection of a session is over; who it was only where the past has names."""
        id = session_id(self._state, session.number)
        if not self._named:
            nobody = (None, None, "", None, session.kind, "", session.since, now.wall, cause)
            self.sessions.append(EndedSession(id, *nobody))
            return
        self.sessions.append(
            EndedSession(
                id, session.identity, session.account, session.home, session.device,
                session.kind, address, session.since, now.wall, cause,
            )
        )  # fmt: skip

    def forget(self, who: Identity) -> None:
        """Forget the sessions of somebody, and who it was in events."""
        kept = [session for session in self.sessions if session.identity != who]
        self.sessions.clear()
        self.sessions.extend(kept)
        self.events.forget(who)

    def _tell_turned_away(self, mono: float) -> None:
        """Have the log tell how many sockets were refused before they became connections."""
        for listener in self._listeners:
            for reason, total in listener.rejected.items():
                place = (listener.transport, reason)
                new, self._rejected[place] = total - self._rejected.get(place, 0), total
                if new:
                    self._turned_away.count(f"{listener.transport} {reason}", new, mono)
        self._turned_away.poll(mono)

    def _totals(self) -> dict[str, int]:
        """Return how many connections were accepted, how many ended, and how many of those were lost."""
        closed = [listener.closed for listener in self._listeners]
        return {
            "opened": sum(listener.accepted for listener in self._listeners),
            "ended": sum(sum(each.values()) for each in closed),
            "lost": sum(each.get(cause, 0) for each in closed for cause in ABRUPT),
        }
