"""What a decision is made of: the terms it is made under, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.facts import Now, Session
from gateway.core.ledger import LeaseChange
from gateway.core.license import Refusal

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
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


@dataclass(slots=True)
class Outcome:
    """What was decided. `answer` goes to who asked, `news` to others after it; `ended` are sessions that are over and
    the cause; `refused` holds the refusal of a `denied` answer. `changes` must be durable before anybody is told;
    `retract` undoes a grant that cannot be made so.
    """

    answer: Message | None = None
    refused: Refusal | None = None
    news: list[tuple[Session, Message]] = field(default_factory=list)
    ended: list[tuple[Session, str]] = field(default_factory=list)
    changes: list[LeaseChange] = field(default_factory=list)
    retract: Callable[[Now], Outcome] | None = None
