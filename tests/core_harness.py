"""The pure core with a clock of its own: what clients and operators can ask of it, one call each.

Nothing here is awaited and no time passes by itself, so a test says exactly when everything happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.core.admission import commands as c
from gateway.core.admission.apply import apply
from gateway.core.admission.decision import Change, Decision, Served, Withdraw
from gateway.core.admission.directory import Group
from gateway.core.admission.requests import read
from gateway.core.admission.snapshot import PoolView, snapshot
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import LicenseModel
from gateway.core.counting.session import Instant, Session
from gateway.core.registration.grant import Grant
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import Request

START = 1_800_000_000.0
"""The wall clock when a harness opens, in seconds UTC."""
HOUR = 3600.0
DAY = 24 * HOUR


def request(type: str, **fields: Any) -> Request:
    """A message as it arrives: fields that are not given have their defaults."""
    return read({"type": type, **fields})


@dataclass(frozen=True)
class GivenTerms:
    """Terms of a model that a test has made already."""


class Given(NamedTuple):
    """A model that a test has made already, as a kind of license."""

    model: Callable[[Any], LicenseModel]
    terms: type[GivenTerms] = GivenTerms
    extensions: Callable[[Grant], Collection[str]] = lambda grant: grant.extensions

    def under(self, _: Grant, terms: Any) -> Any:
        """No license changes it."""
        return terms


class CoreHarness:
    """A `State` whose time passes only on `wait`. The first model is enforced, the others are in shadow."""

    def __init__(
        self, *models: LicenseModel, enforce: bool = True, overdraft: int = 0, window: float = 180.0, **terms: Any
    ) -> None:
        self.now = Instant(1000.0, START)
        self.changes: list[Change] = []
        self.served: list[Served] = []
        """Whoever waited in line and does no more, for a test to take."""
        self.catalog = {model.name: Given(lambda _, model=model: model) for model in models}  # type: ignore[misc]
        self.terms = Terms(
            models[0].name,
            {model.name: GivenTerms() for model in models},
            enforce=enforce,
            overdraft=overdraft,
            high_water_window=window,
            **terms,
        )
        self.state = State(self.terms, self.catalog, self.now)
        self.state.redistribute_at = math.inf

    def apply(self, command: c.Command) -> Decision:
        """Decide now, and keep what was changed."""
        decision = apply(self.state, command, self.now)
        self.changes += decision.changes
        if decision.queue is not None:
            self.served += decision.queue.served
            for served in decision.queue.served:
                self.changes += served.decision.changes
        return decision

    @property
    def lease_changes(self) -> list[LeaseChange]:
        """What was changed of leases."""
        return [each for each in self.changes if isinstance(each, LeaseChange)]

    def wait(self, seconds: float) -> Decision:
        """Let time pass, then end what has run out."""
        self.now = Instant(self.now.mono + seconds, self.now.wall + seconds)
        return self.apply(c.Tick())

    # -- clients ---------------------------------------------------------------------------------------------------

    def knock(
        self,
        account: str | None = None,
        device: str | None = None,
        *,
        address: str = "192.0.2.1",
        kind: str = "app",
        home: str = "",
    ) -> tuple[Session | None, Decision]:
        """A `hello`, refused or not."""
        decision = self.apply(c.Hello(kind, account, device, home, "", address, "tcp"))
        number = decision.session
        return (None if number is None else self.state.sessions.by_number[number]), decision

    def hello(self, account: str | None = None, device: str | None = None, **facts: Any) -> Session:
        """A `hello` that is welcomed."""
        session, decision = self.knock(account, device, **facts)
        assert session is not None, decision.answer
        return session

    def decide_join(self, session: Session, conference: str = "room", **fields: Any) -> Decision:
        """A `join`, granted or not."""
        return self.apply(c.Join(session.number, conference, **fields))

    def join(self, session: Session, conference: str = "room", **fields: Any) -> Message:
        """The answer to a `join`."""
        return answer(self.decide_join(session, conference, **fields))

    def joined(self, session: Session, conference: str = "room", **fields: Any) -> Message:
        """A `join` that is not denied."""
        told = self.join(session, conference, **fields)
        assert told["type"] in {"joined", "waiting"}, told
        return told

    def start(self, session: Session, conference: str = "room") -> Decision:
        """A `start`: the decision has notices for those who waited."""
        return self.apply(c.Start(session.number, conference))

    def leave(self, session: Session, conference: str = "room") -> Message:
        """The answer to a `leave`."""
        return answer(self.apply(c.Leave(session.number, conference)))

    def sleep(self, session: Session) -> Message:
        """The answer to `sleep`."""
        return answer(self.apply(c.Sleep(session.number)))

    def wake(self, session: Session) -> Message:
        """The answer to `wake`."""
        return answer(self.apply(c.Wake(session.number)))

    def request_pro(self, session: Session) -> Message:
        """The answer to `request_pro`."""
        return answer(self.apply(c.RequestPro(session.number)))

    def end(self, session: Session, cause: str = "closed") -> Decision:
        """The connection of a session is over."""
        return self.apply(c.End(session.number, cause))

    def withdraw(self, decision: Decision) -> Decision:
        """A decision could not be made durable; what it changed is not counted as kept."""
        command = decision.withdraw
        return self.apply(command) if isinstance(command, Withdraw) and decision.refused is None else Decision()

    # -- operators -------------------------------------------------------------------------------------------------

    def redistribute(self, permanent: Iterable[str]) -> tuple[Decision, list[str]]:
        """Put permanent accounts into effect; the decision, and those beyond the pool. Given as a group in order."""
        for name in list(self.state.directory.groups):
            self.state.set_group(name, None)
        for number, account in enumerate(permanent):
            self.state.set_group(f"{number:05}", Group((account,), permanent=True))
        self.state.redistribute_at = -math.inf
        decision = self.apply(c.Tick())
        self.state.redistribute_at = math.inf
        return decision, list(decision.beyond_pool)

    def revoke(self, account: str) -> Decision:
        """End a temporary PRO license."""
        return self.apply(c.RevokeLease(account))

    def forget(self, account: str) -> Decision:
        """Delete an account."""
        return self.apply(c.DeleteAccount(account))

    def name_host(self, account: str) -> Decision:
        """Give an account a host's name."""
        return self.apply(c.NameHost(account))

    def unname(self, account: str) -> Decision:
        """Free a host's name."""
        return self.apply(c.ReleaseHost(account))

    def dissolve(self, conference: str) -> Decision:
        """End a conference, and forget what was declared of it."""
        return self.apply(c.EndConference(conference))

    # -- what is seen ----------------------------------------------------------------------------------------------

    def ledger(self, model: str | None = None) -> Ledger:
        """The ledger of a model, the enforced one by default."""
        return self.state.primary if model is None else self.state.ledger_of(model)

    def view(self, pool: str, model: str | None = None) -> PoolView:
        """A pool as the operator sees it."""
        name = model or self.state.primary.model.name
        views = snapshot(self.state, self.now.mono).pools
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
        pool = self.ledger("trueconf").pools["pro"]
        held = {str(key): "deleted" if lease.deleted else "temporary" for key, lease in pool.leases.items()}
        return held | {str(key): "permanent" for key in pool.reservations}


def answer(decision: Decision) -> Message:
    """The answer of a decision that has one."""
    assert decision.answer is not None
    return decision.answer


def told(decision: Decision, session: Session) -> list[Message]:
    """What a session is told unasked."""
    return [message for number, message in decision.notices if number == session.number]
