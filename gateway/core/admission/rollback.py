"""The way back: how things stood before a decision that must be durable, and how to undo it.

A decision takes effect at once; its answer waits for the commit. Where the commit does not come, the decision is undone
and nobody has heard of it. Between the two the session may have gone: then only what it left behind is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.admission.outcome import Decision
from gateway.core.counting.session import Conference, Instant, Session

if TYPE_CHECKING:
    from gateway.core.admission.decisions import Admission


class Rollback:
    """Undoes a join, a start or a request, for `sessions`; called at most once, with the instant of undoing."""

    __slots__ = ("_admission", "_asleep", "_conference", "_host", "_leases", "_sessions", "_waiting")

    def __init__(self, admission: Admission, sessions: Sequence[Session], conference: Conference | None) -> None:
        self._admission = admission
        self._sessions = tuple(sessions)
        self._asleep = tuple(session for session in sessions if not session.awake)
        self._conference = conference
        scheduled = conference is not None and not conference.live
        self._waiting = dict(conference.members) if conference is not None and scheduled else {}
        self._host = (conference.hosted, conference.implied_host) if conference is not None else (False, None)
        accounts = [session.identity for session in sessions if session.identity is not None]
        self._leases = [ledger.lease_expiries(accounts) for ledger in admission.ledgers]

    def __call__(self, now: Instant) -> Decision:
        """Put back memberships, presence and leases."""
        admission, conference = self._admission, self._conference
        touched = dict.fromkeys(self._sessions)
        if conference is not None:
            touched |= dict.fromkeys(conference.members)
            self._put_back(conference, now)
        present = [each for each in touched if each.number in admission.sessions.by_number]
        for session in present:
            if session in self._asleep:
                admission.sessions.set_awake(session, awake=False)
            admission.set_seats(session, "left", now)
        for session in self._sessions:
            if session.identity is not None:
                for ledger, ends in zip(admission.ledgers, self._leases, strict=True):
                    ledger.restore_expiries(session.identity, ends, now)
        return admission.finish(Decision(), *present)

    def _put_back(self, conference: Conference, now: Instant) -> None:
        """Those whom it let in leave, and those who waited wait again, before whoever came later."""
        conferences, sessions = self._admission.conferences, self._admission.sessions.by_number
        started = bool(self._waiting) and conference.live
        later = {each: host for each, host in conference.members.items() if each not in self._sessions}
        for session in [each for each in conference.members if started or each in self._sessions]:
            conferences.leave(conference, session)
        if started:
            conference.live = False
            conference.hosted, conference.implied_host = False, None
            for session, host in {**self._waiting, **later}.items():
                if session.number in sessions:
                    conferences.enter(conference, session, host=host, now=now.mono)
        hosted, lieu = self._host
        conference.hosted = hosted or any(conference.members.values())
        if conference.implied_host in self._sessions:
            conference.implied_host = lieu
