"""The way back: how things stood before a decision that must be durable, and how to undo it.

A decision takes effect at once; its answer waits for the commit. Where the commit does not come, the decision is undone
and nobody has heard of it. Between the two the session may have gone: then only what it left behind is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.facts import Conference, Key, Now, Session
from gateway.core.outcome import Outcome

if TYPE_CHECKING:
    from gateway.core.admission import Admission


class Retraction:
    """Undoes a join, a start or a request, for `sessions`; called at most once, with the instant of undoing."""

    __slots__ = ("_admission", "_asleep", "_conference", "_leases", "_sessions", "_waiting")

    def __init__(self, admission: Admission, sessions: Sequence[Session], conference: Conference | None) -> None:
        self._admission = admission
        self._sessions = tuple(sessions)
        self._asleep = tuple(session for session in sessions if not session.awake)
        self._conference = conference
        scheduled = conference is not None and not conference.live
        self._waiting = dict(conference.members) if conference is not None and scheduled else {}
        self._leases: dict[tuple[str, Key], float | None] = {}
        for name, book in admission.law.pools.items():
            if book.terms.leased:
                for session in sessions:
                    identity = session.identity
                    lease = book.leases.get(identity) if identity is not None else None
                    if lease is not None and identity is not None:
                        self._leases[name, identity] = lease.expires

    def __call__(self, now: Now) -> Outcome:
        """Put back memberships, presence and leases."""
        admission, conference = self._admission, self._conference
        if conference is not None:
            for session in [each for each in self._sessions if each in conference.members]:
                admission.conferences.leave(conference, session)
            if self._waiting:
                conference.live = False
        present = [each for each in self._sessions if each.number in admission.sessions.by_number]
        for session in present:
            if conference is not None and session in self._waiting:
                admission.conferences.enter(conference, session, host=self._waiting[session], now=now.mono)
            if session in self._asleep:
                admission.sessions.wake(session, awake=False)
            admission.settle(session, "left", now)
        for session in self._sessions:
            if session.identity is not None:
                admission.law.reinstate(session.identity, self._leases, now)
        return admission.conclude(Outcome(), *present)
