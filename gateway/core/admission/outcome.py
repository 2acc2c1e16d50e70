"""What a decision is made of: the terms it is made under, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.core.counting.ledger import LeaseChange
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Instant, Session

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GatewayRules:
    """The gateway's own rules: who is duplicate to whom, which homes and undeclared conferences are let in.

    `trusted` says that claims are not proven, so that nobody is replaced from another address. `retry_after` (seconds)
    is named where the pool does not know better.
    """

    on_duplicate: str = "takeover"
    trusted: bool = True
    homes: frozenset[str] = frozenset()
    home: str = ""
    declared_only: bool = False
    retry_after: float = 30.0


class Decision:
    """What was decided. `answer` goes to who asked, `news` to others after it; `ended` are sessions that are over and
    the cause; `refused` holds the refusal of a `denied` answer. `changes` must be durable before anybody is told;
    `retract` undoes a grant that cannot be made so.
    """

    __slots__ = ("answer", "changes", "ended", "notices", "refused", "undo")

    def __init__(
        self,
        answer: Message | None = None,
        refused: Refusal | None = None,
        ended: list[tuple[Session, str]] | None = None,
        retract: Callable[[Instant], Decision] | None = None,
    ) -> None:
        self.answer = answer
        self.refused = refused
        self.notices: list[tuple[Session, Message]] = []
        self.ended: list[tuple[Session, str]] = ended or []
        self.changes: list[LeaseChange] = []
        self.undo = retract
