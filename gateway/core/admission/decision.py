"""What comes out of a command: a decision, as data.

Who carries it out is somebody else's business: the answer goes to who asked, the notices to other sessions, the
closings to connections, the changes to a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from gateway.core.admission.bans import Ban, BanSubject
from gateway.core.admission.directory import Group, Token
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool_json import key_from_json
from gateway.core.counting.session import Key, account_and_home
from gateway.core.wire.json_lines import Message


class DirectoryChange(NamedTuple):
    """What a store must keep of the directory: an entry of `table` as it is now, None where there is none any more."""

    table: Literal["account", "group", "ban", "operator"]
    name: str | BanSubject
    value: tuple[Token, ...] | Group | Ban | None


Change = LeaseChange | DirectoryChange


class AuditNote(NamedTuple):
    """What the audit log says of a decision; who asked for it is known to who carries it out."""

    action: str
    subject: str
    detail: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, action: str, identity: Key, **detail: object) -> AuditNote:
        """Return a note about an account; its home stands in the detail, where that is another server."""
        name, home = account_and_home(identity)
        return cls(action, name, ({"home": home} if home else {}) | detail or None)


class LeaseBefore(NamedTuple):
    """The lease of a key before a decision: whether there was one, and when it ran out (seconds UTC, None: not yet)."""

    model: str
    pool: str
    key: Key
    existed: bool
    expires: float | None


class TakenOver(NamedTuple):
    """A seat that was kept for who came back, by the pool and the key it has now: who held it, and until when it was
    kept.
    """

    pool: str
    key: Key
    account: str
    home: str
    device: str
    address: str
    until: float


class Withdraw(NamedTuple):
    """Undo a grant that could not be made durable; a command that comes out of the decision which it undoes.

    `conference_number` tells a conference from others of its name. `asleep` are the sessions that the decision woke,
    `waiting` those (with whether they joined as host) that waited before a `start`, `denied` those of them that it
    denied. `host` says whether the asker joined as host; `hosted`, `implied_host` and `had_implied_host` are what was
    known of the conference's host, `access`, `mode` and `server` what a conference was that a `start` left empty.
    `taken_over` are the kept seats that somebody took over.
    """

    request: str
    session: int
    conference: str | None = None
    conference_number: int = 0
    asleep: tuple[int, ...] = ()
    waiting: tuple[tuple[int, bool], ...] = ()
    denied: tuple[int, ...] = ()
    host: bool = False
    hosted: bool = False
    implied_host: int | None = None
    had_implied_host: bool = False
    access: str = "internal"
    mode: str = "group"
    server: str = ""
    leases: tuple[LeaseBefore, ...] = ()
    taken_over: tuple[TakenOver, ...] = ()


def withdraw_from_json(told: list[Any]) -> Withdraw:
    """Return the `Withdraw` whose fields were written.

    Raises `TypeError` or `ValueError` where they are not valid.
    """
    found = Withdraw(*told)
    leases = tuple(
        LeaseBefore(model, pool, key_from_json(key), existed, expires)
        for model, pool, key, existed, expires in found.leases
    )
    taken = tuple(
        TakenOver(pool, key_from_json(key), account, home, device, address, until)
        for pool, key, account, home, device, address, until in found.taken_over
    )
    return found._replace(
        asleep=tuple(found.asleep),
        waiting=tuple((number, host) for number, host in found.waiting),
        denied=tuple(found.denied),
        leases=leases,
        taken_over=taken,
    )


class QueueNews:
    """What a command changed in the lines. `place` is the number of the place in which the command's request waits,
    None where it does not. `served` are the requests that were decided after they had waited, in order; `closings` are
    the places of those whose connection is over, and the cause.
    """

    __slots__ = ("closings", "place", "served")

    def __init__(self) -> None:
        self.place: int | None = None
        self.served: list[Served] = []
        self.closings: list[tuple[int, str]] = []

    def to_json(self) -> dict[str, Any]:
        """Return the news as plain data."""
        served = [[place, session, id, decision.to_json()] for place, session, id, decision in self.served]
        return {"place": self.place, "served": served, "closings": self.closings}


class Decision:
    """What was decided.

    `answer` goes to who asked, `notices` to the sessions of those numbers after it; `closings` are sessions that are
    over, or whose connection is another's, and the cause. `refused` holds the refusal of an answer that denies.
    `changes` must be durable before anybody is told; where they cannot be made so, `withdraw` undoes them. `session` is
    the number of the session that a `hello` began or went on with, `audit` what the audit log says, `beyond_pool` the
    permanent accounts for which the pool is too small. `queue` is None where no line has changed. `claimed` is the
    account and the home that a `hello` which was refused named, for those who tell of it; no part of the plain data.
    """

    __slots__ = (
        "answer",
        "audit",
        "beyond_pool",
        "changes",
        "claimed",
        "closings",
        "notices",
        "queue",
        "refused",
        "session",
        "withdraw",
    )

    def __init__(
        self,
        answer: Message | None = None,
        *,
        refused: Refusal | None = None,
        withdraw: Withdraw | None = None,
        session: int | None = None,
    ) -> None:
        self.answer = answer
        self.refused = refused
        self.withdraw = withdraw
        self.session = session
        self.notices: list[tuple[int, Message]] = []
        self.closings: list[tuple[int, str]] = []
        self.changes: list[Change] = []
        self.audit: list[AuditNote] = []
        self.beyond_pool: tuple[str, ...] = ()
        self.claimed: tuple[str, str] | None = None
        self.queue: QueueNews | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the decision as plain data; what `withdraw` holds follows from the rest."""
        plain: dict[str, Any] = {
            "answer": self.answer,
            "notices": self.notices,
            "closings": self.closings,
            "changes": [_change_to_json(each) for each in self.changes],
            "session": self.session,
            "beyond_pool": self.beyond_pool,
        }
        if self.audit:
            plain["audit"] = self.audit
        if self.queue is not None:
            plain["queue"] = self.queue.to_json()
        return plain

    def with_served(self) -> Iterator[Decision]:
        """Yield it, and what was decided in the same step about requests that had waited."""
        yield self
        for served in self.queue.served if self.queue is not None else ():
            yield from served.decision.with_served()

    def news(self) -> QueueNews:
        """Return what it changes in the lines, to be added to."""
        if self.queue is None:
            self.queue = QueueNews()
        return self.queue


class Served(NamedTuple):
    """A request that was decided after it had waited in `place`: `session` is the number of the session that asked,
    None where it was a `hello`; `id` is what the client gave its request.
    """

    place: int
    session: int | None
    id: str | int | None
    decision: Decision


def _change_to_json(change: Change) -> list[Any]:
    if isinstance(change, LeaseChange):
        return list(change)
    value = change.value
    if isinstance(value, Group | Ban):
        plain = list(value)
        return [change.table, change.name, plain[:-1] if isinstance(value, Group) and not value.priority else plain]
    tokens = None if value is None else [each.to_json() for each in value]
    return [change.table, change.name, tokens]
