"""What operators and time decide about leases: revocation, redistribution, deletion, names, expiry.

Clients ask `Admission`; this acts upon the same state without being asked by them. Sessions that lose what they use are
told by `removed`, their account's other devices by `status`.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.admission.decisions import Admission
from gateway.core.admission.outcome import Outcome
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool import Lease
from gateway.core.counting.session import Now


class Leasing:
    """The decisions about leases that no client asks for; `permanent` are the accounts in effect, in order."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.permanent: list[str] = []

    def revoke(self, ledger: Ledger, account: str, now: Now) -> Outcome:
        """End a temporary lease at once; members of live group conferences are removed (TrueConf licensing, PRO)."""
        outcome = Outcome()
        if ledger.enforced:
            self._withdraw(account, ledger, outcome, now)
        ledger.end_lease(ledger.model.personal, account, "revoked", now)
        return self._admission.conclude_removed(outcome)

    def redistribute(self, permanent: Iterable[str], now: Now) -> tuple[Outcome, list[str]]:
        """Put the configured permanent accounts into effect, in every model that has them; TrueConf licensing, PRO 5.

        Where a license has none any more, those of before become temporary. Returns those for whom the enforced pool is
        too small as well.
        """
        self.permanent = list(permanent)
        outcome = Outcome()
        beyond: list[str] = []
        for ledger in self._admission.ledgers:
            model = ledger.model
            if not model.personal:
                continue
            plan = ledger.plan(model.personal, self.permanent if model.reservable else (), now)
            if ledger.enforced:
                beyond = [str(key) for key in plan.beyond]
                for key in plan.lost:
                    self._withdraw(str(key), ledger, outcome, now)
            ledger.redistribute(plan, now)
        return self._admission.conclude_removed(outcome), beyond

    def _withdraw(self, account: str, ledger: Ledger, outcome: Outcome, now: Now) -> None:
        """Take an account out of the conferences in which it uses what it is about to lose."""
        seat = (ledger.model.personal, account)
        for session in self._admission.sessions.of(account):
            for conference in session.conferences:
                if seat in session.seats[ledger.index] and conference.live and conference.group:
                    self._admission.remove(session, conference, "license_withdrawn", outcome, now)

    def forget(self, account: str, now: Now) -> Outcome:
        """The account is deleted: its sessions end, and what it holds is bound to its end."""
        outcome = Outcome()
        for session in self._admission.sessions.of(account):
            ended = self._admission.end(session, "account_deleted", now)
            outcome.ended += ended.ended
            outcome.changes += ended.changes
        for ledger in self._admission.ledgers:
            if ledger.model.personal:
                ledger.delete(ledger.model.personal, account, now)
        return self._admission.conclude(outcome)

    def deleted(self, account: str) -> bool:
        """Whether what a deleted account holds has not run out yet: until then its name is refused, by no shadow."""
        pool = self._admission.law.model.personal
        lease = self._admission.law.pools[pool].leases.get(account) if pool else None
        return lease is not None and lease.deleted

    def name_host(self, ledger: Ledger, account: str, now: Now) -> Refusal | Lease:
        """Give an account a host's name, or find that it has it."""
        pool = ledger.model.opener
        named = ledger.pools[pool].leases.get(account)
        return named or ledger.full(pool, account) or ledger.lease(pool, account, now)

    def unname(self, ledger: Ledger, account: str, now: Now) -> Outcome:
        """Free the name of a host; it hosts no longer, its conferences go on."""
        pool = ledger.model.opener
        for session in self._admission.sessions.of(account):
            for conference in session.conferences:
                if conference.live:
                    conference.unnamed = (*conference.unnamed, session)
            ledger.settle(session, ledger.wanted(session), "revoked", now)
        ledger.end_lease(pool, account, "revoked", now)
        return self._admission.conclude(Outcome())

    def expire(self, now: Now) -> Outcome:
        """End what has run out; called every second or so."""
        for ledger in self._admission.ledgers:
            ledger.expire(now)
        return self._admission.conclude(Outcome())
