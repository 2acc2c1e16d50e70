"""The pure core with a clock of its own: what clients and operators can ask of it, one call each.

Nothing here is awaited and no time passes by itself, so a test says exactly when everything happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.core.admission.decisions import Admission
from gateway.core.admission.lease_administration import LeaseAdministration
from gateway.core.admission.outcome import Decision, GatewayRules, Message
from gateway.core.admission.snapshot import PoolView, snapshot
from gateway.core.counting.ledger import LeaseChange, Ledger
from gateway.core.counting.license_model import LicenseModel, Refusal
from gateway.core.counting.pool import Lease
from gateway.core.counting.session import Instant, Session
from gateway.core.wire.messages import Request, read

START = 1_800_000_000.0
"""The wall clock when a gate opens, in seconds UTC."""
HOUR = 3600.0
DAY = 24 * HOUR


def request(type: str, **fields: Any) -> Request:
    """A message as it arrives: fields that are not given have their defaults."""
    return read({"type": type, **fields})


class CoreHarness:
    """An `Admission` whose time passes only on `wait`. The first model is enforced, the others are in shadow."""

    def __init__(
        self, *models: LicenseModel, enforce: bool = True, overdraft: int = 0, window: float = 180.0, **terms: Any
    ) -> None:
        self.now = Instant(1000.0, START)
        self.number = 0
        self.changes: list[LeaseChange] = []
        self.admission = Admission(
            models, GatewayRules(**terms), self.now, enforce=enforce, overdraft=overdraft, window=window
        )
        self.leasing = LeaseAdministration(self.admission)

    def wait(self, seconds: float) -> Decision:
        """Let time pass, then end what has run out."""
        self.now = Instant(self.now.mono + seconds, self.now.wall + seconds)
        return self._done(self.leasing.expire(self.now))

    def _done(self, outcome: Decision) -> Decision:
        self.changes += outcome.changes
        return outcome

    # -- clients ---------------------------------------------------------------------------------------------------

    def knock(
        self, account: str | None = None, device: str | None = None, *, address: str = "192.0.2.1", **facts: Any
    ) -> tuple[Session, Decision]:
        """A `hello`, refused or not."""
        session = Session(self.number + 1, account=account, device=device, address=address, **facts)
        outcome = self._done(self.admission.hello(session, self.now))
        if outcome.refused is None:
            self.number += 1
        return session, outcome

    def hello(self, account: str | None = None, device: str | None = None, **facts: Any) -> Session:
        """A `hello` that is welcomed."""
        session, outcome = self.knock(account, device, **facts)
        assert outcome.refused is None, outcome.answer
        return session

    def join(self, session: Session, conference: str = "room", **fields: Any) -> Message:
        """The answer to a `join`."""
        return self._answer(self.admission.join(session, request("join", conference=conference, **fields), self.now))

    def joined(self, session: Session, conference: str = "room", **fields: Any) -> Message:
        """A `join` that is not denied."""
        answer = self.join(session, conference, **fields)
        assert answer["type"] in {"joined", "waiting"}, answer
        return answer

    def start(self, session: Session, conference: str = "room") -> Decision:
        """A `start`: the outcome has news for those who waited."""
        return self._done(self.admission.start(session, request("start", conference=conference), self.now))

    def leave(self, session: Session, conference: str = "room") -> Message:
        """The answer to a `leave`."""
        return self._answer(self.admission.leave(session, request("leave", conference=conference), self.now))

    def sleep(self, session: Session) -> Message:
        """The answer to `sleep`."""
        return self._answer(self.admission.sleep(session, self.now))

    def wake(self, session: Session) -> Message:
        """The answer to `wake`."""
        return self._answer(self.admission.wake(session, self.now))

    def request_pro(self, session: Session) -> Message:
        """The answer to `request_pro`."""
        return self._answer(self.admission.request_pro(session, self.now))

    def end(self, session: Session, cause: str = "closed") -> Decision:
        """The connection of a session is over."""
        return self._done(self.admission.end(session, cause, self.now))

    def _answer(self, outcome: Decision) -> Message:
        self._done(outcome)
        assert outcome.answer is not None
        return outcome.answer

    # -- operators -------------------------------------------------------------------------------------------------

    def redistribute(self, permanent: Iterable[str]) -> tuple[Decision, list[str]]:
        """Put permanent accounts into effect; the outcome, and those beyond the pool."""
        outcome, beyond = self.leasing.redistribute(permanent, self.now)
        return self._done(outcome), beyond

    def revoke(self, account: str, model: str = "trueconf") -> Decision:
        """End a temporary PRO license."""
        return self._done(self.leasing.revoke(self.ledger(model), account, self.now))

    def forget(self, account: str) -> Decision:
        """Delete an account."""
        return self._done(self.leasing.delete_account(account, self.now))

    def name_host(self, account: str) -> Refusal | Lease:
        """Give an account a host's name."""
        named = self.leasing.name_host(self.ledger("nefsis-named"), account, self.now)
        self.wait(0)
        return named

    def unname(self, account: str) -> Decision:
        """Free a host's name."""
        return self._done(self.leasing.release_host(self.ledger("nefsis-named"), account, self.now))

    def dissolve(self, conference: str) -> Decision | None:
        """End a conference, and forget what was declared of it."""
        outcome = self.admission.dissolve(conference, self.now)
        return self._done(outcome) if outcome is not None else None

    # -- what is seen ----------------------------------------------------------------------------------------------

    def ledger(self, model: str | None = None) -> Ledger:
        """The ledger of a model, the enforced one by default."""
        return next(each for each in self.admission.ledgers if model in {None, each.model.name})

    def view(self, pool: str, model: str | None = None) -> PoolView:
        """A pool as the operator sees it."""
        name = model or self.admission.primary.model.name
        views = snapshot(self.admission, self.now.mono).pools
        return next(view for view in views if (view.model, view.pool) == (name, pool))

    def used(self, pool: str, model: str | None = None) -> int:
        """Use of a pool."""
        return self.view(pool, model).used

    def denied(self, pool: str, model: str | None = None) -> dict[str, int]:
        """Denials of a pool so far by reason, without those that have not occurred."""
        return {reason: count for reason, count in self.view(pool, model).denials.items() if count}

    def expires(self, account: str, model: str = "trueconf") -> float | None:
        """Seconds until a PRO lease ends; None while it does not run out. Raises KeyError without a lease."""
        expires = self.ledger(model).pools["pro"].leases[account].expires
        return None if expires is None else expires - self.now.wall

    def pro(self) -> dict[str, str]:
        """Who holds PRO, and how."""
        book = self.ledger("trueconf").pools["pro"]
        held = {str(key): "deleted" if lease.deleted else "temporary" for key, lease in book.leases.items()}
        return held | {str(key): "permanent" for key in book.reservations}


def told(outcome: Decision, session: Session) -> list[Message]:
    """What a session is told unasked."""
    return [message for other, message in outcome.notices if other is session]
