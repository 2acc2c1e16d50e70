"""What operators and time decide about leases: revocation, redistribution, deletion, names, expiry.

Clients ask `Admission`; this acts upon the same state without being asked by them. Sessions that lose what they use are
told by `removed`, their account's other devices by `status`.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.admission.decisions import Admission
from gateway.core.admission.outcome import Decision
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool import Lease
from gateway.core.counting.session import Instant


class LeaseAdministration:
    """The decisions about leases that no client asks for; `permanent` are the accounts in effect, in order."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.permanent: list[str] = []

    def revoke(self, ledger: Ledger, account: str, now: Instant) -> Decision:
        """End a temporary lease at once; members of live group conferences are removed (COUNTING.md, PRO leases 6)."""
        outcome = Decision()
        if ledger.enforced:
            self._withdraw(account, ledger, outcome, now)
        ledger.end_lease(ledger.model.account_pool, account, "revoked", now)
        return self._admission.finish_removals(outcome)

    def redistribute(self, permanent: Iterable[str], now: Instant) -> tuple[Decision, list[str]]:
        """Put the configured permanent accounts into effect, in every model that has them (COUNTING.md, PRO leases 5).

        Where a license has none any more, those of before become temporary. Returns those for whom the enforced pool is
        too small as well.
        """
        self.permanent = list(permanent)
        outcome = Decision()
        beyond: list[str] = []
        for ledger in self._admission.ledgers:
            model = ledger.model
            if not model.account_pool:
                continue
            plan = ledger.plan_redistribution(
                model.account_pool, self.permanent if model.allows_reservations else (), now
            )
            if ledger.enforced:
                beyond = [str(key) for key in plan.beyond]
                for key in plan.lost:
                    self._withdraw(str(key), ledger, outcome, now)
            ledger.redistribute(plan, now)
        return self._admission.finish_removals(outcome), beyond

    def _withdraw(self, account: str, ledger: Ledger, outcome: Decision, now: Instant) -> None:
        """Take an account out of the conferences in which it uses what it is about to lose."""
        seat = (ledger.model.account_pool, account)
        for session in self._admission.sessions.of_account(account):
            for conference in session.conferences:
                if seat in session.seats[ledger.index] and conference.live and conference.group:
                    self._admission.remove(session, conference, "license_withdrawn", outcome, now)

    def delete_account(self, account: str, now: Instant) -> Decision:
        """The account is deleted: its sessions end, and what it holds is bound to its end."""
        outcome = Decision()
        for session in self._admission.sessions.of_account(account):
            ended = self._admission.end(session, "account_deleted", now)
            outcome.ended += ended.ended
            outcome.changes += ended.changes
        for ledger in self._admission.ledgers:
            if ledger.model.account_pool:
                ledger.bind_deleted_account(ledger.model.account_pool, account, now)
        return self._admission.finish(outcome)

    def is_deleted(self, account: str) -> bool:
        """Whether what a deleted account holds has not run out yet: until then its name is refused, by no shadow."""
        pool = self._admission.primary.model.account_pool
        lease = self._admission.primary.pools[pool].leases.get(account) if pool else None
        return lease is not None and lease.deleted

    def name_host(self, ledger: Ledger, account: str, now: Instant) -> Refusal | Lease:
        """Give an account a host's name, or find that it has it."""
        pool = ledger.model.start_pool
        named = ledger.pools[pool].leases.get(account)
        return named or ledger.refusal_if_full(pool, account) or ledger.grant_lease(pool, account, now)

    def release_host(self, ledger: Ledger, account: str, now: Instant) -> Decision:
        """Free the name of a host; it hosts no longer, its conferences go on."""
        pool = ledger.model.start_pool
        for session in self._admission.sessions.of_account(account):
            for conference in session.conferences:
                if conference.live:
                    conference.released_hosts = (*conference.released_hosts, session)
            ledger.set_seats(session, ledger.required_seats(session), "revoked", now)
        ledger.end_lease(pool, account, "revoked", now)
        return self._admission.finish(Decision())

    def expire(self, now: Instant) -> Decision:
        """End what has run out; called every second or so."""
        for ledger in self._admission.ledgers:
            ledger.expire(now)
        return self._admission.finish(Decision())
