"""What happens to seats, one event after the other, for whoever tells it on.

Pools of the model that decides note what they grant, deny and release, and how waits in their lines begin and end. It
is no part of the state: nothing is decided by it. Whoever looks takes all that has gathered; until then a bounded
number waits, and those that do not fit are counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Person, Session


class SeatEvent(NamedTuple):
    """What happened to a seat, or to a request for one, at a monotonic instant.

    `session` is the number of the session that it is about, None where there is none. `used` and `limit` are those of
    the pool after it (of a rule for seats, where that refused), `limit` None where there is none. `detail` is the rest.
    """

    name: str
    pool: str
    person: Person
    session: int | None
    at: float
    used: int
    limit: int | None
    detail: tuple[tuple[str, Any], ...] = ()


class SeatEvents:
    """The events since somebody looked: `most` of them at once; `dropped` counts those that did not fit."""

    __slots__ = ("_gathered", "dropped", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.dropped = 0
        self._gathered: list[SeatEvent] = []

    def note(self, event: SeatEvent) -> None:
        """Keep an event until somebody looks."""
        if len(self._gathered) < self.most:
            self._gathered.append(event)
        else:
            self.dropped += 1

    def take(self) -> list[SeatEvent]:
        """Return what has gathered, in order, and begin anew."""
        taken, self._gathered = self._gathered, []
        return taken


def denial_event(refusal: Refusal, session: Session, used: int, now: float, *, refused: bool) -> SeatEvent:
    """Return the event of a denial of `session` at the monotonic instant `now`, by a pool of which `used` seats are
    held. Where the model refuses nobody (not `refused`) the session was let in all the same.
    """
    detail: list[tuple[str, Any]] = [("reason", refusal.reason)]
    if refusal.rule:
        detail.append(("rule", refusal.rule))
    if not refused:
        detail.append(("admitted", True))
    if refusal.used is not None:
        used = refusal.used
    return SeatEvent("denied", refusal.pool, session.person, None, now, used, refusal.limit, tuple(detail))
