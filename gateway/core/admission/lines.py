"""The lines of those who wait for a seat (COUNTING.md, Waiting).

A line belongs to a full pool; where a limit holds for each conference apart, to the pool and the conference. Whoever
arrived first comes first; under `priority`, the accounts of groups with a higher one before. What is here says who
stands where; `waiting` decides.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Any, NamedTuple

from gateway.core.counting.denials import Asker
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Instant, Person, Seat, Session

Rank = tuple[int, int]
"""Who comes first: the lowest. A priority, negative, then a number that grows with every arrival."""


class Line(NamedTuple):
    """Which line: that of a pool; `conference` is empty but where the limit is that of each conference."""

    pool: str
    conference: str = ""


class QueuePlace:
    """One who waits: `request` is the command that is decided anew when a seat may have become free.

    `session` is the number of the session that asked, None where a `hello` waits. `conference` is empty where the
    request names none. `refusal` is what the pool said when it was asked last. `since` is when it began to wait,
    `until` the monotonic instant at which it ends. `asker` is as whom denials know it, `person` who is charged, `id`
    what the client gave its request. `node` is the gateway of a cluster at which a `hello` waits.
    """

    __slots__ = (
        "asker",
        "conference",
        "id",
        "line",
        "node",
        "person",
        "rank",
        "refusal",
        "request",
        "session",
        "since",
        "until",
        "verb",
    )

    def __init__(
        self,
        request: Any,
        *,
        line: Line,
        refusal: Refusal,
        rank: Rank,
        since: Instant,
        until: float,
        asker: Asker,
        person: Person,
        id: str | int | None,
        node: str = "",
    ) -> None:
        self.request = request
        self.line = line
        self.refusal = refusal
        self.rank = rank
        self.since = since
        self.until = until
        self.asker = asker
        self.person = person
        self.id = id
        self.node = node
        self.verb, self.session, self.conference = owner_of(request)

    @property
    def number(self) -> int:
        """The number by which it is known."""
        return self.rank[1]


Owner = tuple[str, int | None, str]
"""What has one place at most: the type of a request, a session, a conference."""
VERBS = {"Hello": "hello", "Join": "join", "Wake": "wake", "RequestPro": "request_pro"}
"""The type of the request that a command is; only these may wait."""


def owner_of(request: Any) -> Owner:
    """Return whose place a request would take."""
    return VERBS[type(request).__name__], getattr(request, "session", None), getattr(request, "conference", "")


class Trial:
    """A request that would rather wait than be denied: what stands in its way is noted, and is no denial yet.

    `rank` is where it stands, or would stand. `refusal` is what the pool said, None where nothing of a pool did;
    `asker` and `person` are who was refused.
    """

    __slots__ = ("asker", "person", "rank", "refusal")

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.refusal: Refusal | None = None
        self.asker: Asker = ("", "")
        self.person: Person = ("", "", "", "")


class Lines(dict[int, QueuePlace]):
    """Every place by its number, and views: each line in its order, and who has a place."""

    __slots__ = ("by_line", "by_owner", "of_session")

    def __init__(self) -> None:
        super().__init__()
        self.by_line: dict[Line, list[QueuePlace]] = {}
        self.by_owner: dict[Owner, QueuePlace] = {}
        self.of_session: dict[int, dict[int, QueuePlace]] = {}

    def enter(self, place: QueuePlace) -> None:
        """Put a place in its line."""
        self[place.number] = place
        insort(self.by_line.setdefault(place.line, []), place, key=_rank)
        if place.session is not None:
            self.by_owner[place.verb, place.session, place.conference] = place
            self.of_session.setdefault(place.session, {})[place.number] = place

    def remove(self, place: QueuePlace) -> None:
        """Take a place out of its line."""
        del self[place.number]
        self._leave_line(place)
        if place.session is not None:
            del self.by_owner[place.verb, place.session, place.conference]
            places = self.of_session[place.session]
            del places[place.number]
            if not places:
                del self.of_session[place.session]

    def move(self, place: QueuePlace, line: Line) -> None:
        """Put a place into another line, where its arrival puts it."""
        self._leave_line(place)
        place.line = line
        insort(self.by_line.setdefault(line, []), place, key=_rank)

    def _leave_line(self, place: QueuePlace) -> None:
        places = self.by_line[place.line]
        del places[self.index(place)]
        if not places:
            del self.by_line[place.line]

    def index(self, place: QueuePlace) -> int:
        """Return how many stand before a place."""
        return bisect_left(self.by_line[place.line], place.rank, key=_rank)

    def length(self, pool: str) -> int:
        """Return how many wait for a seat of a pool, in all its lines."""
        return sum(len(places) for line, places in self.by_line.items() if line.pool == pool)

    def comes_first(self, line: Line, rank: Rank | None) -> bool:
        """Return whether somebody in a line comes before who has this rank; None stands for who does not wait."""
        places = self.by_line.get(line)
        return places is not None and (rank is None or places[0].rank < rank)


def _rank(place: QueuePlace) -> Rank:
    return place.rank


def behind(
    lines: Lines, rank: Rank | None, ledger: Ledger, session: Session, seats: Collection[Seat], leaving: Session | None
) -> Refusal | None:
    """Return the refusal of the first pool in whose line somebody comes before this request, where it needs a seat that
    is not held yet; None where it overtakes nobody. `rank` is its own, None where it does not wait.
    """
    if not ledger.enforced:
        return None
    for name, key in ledger.new_seats(session, seats, leaving):
        if ledger.pools[name].terms.binding:
            line = Line(name)
        else:
            line = Line(name, str(key[0]) if isinstance(key, tuple) else "")
        if lines.comes_first(line, rank):
            return refusal_of(lines, line, ledger)
    return None


def refusal_of(lines: Lines, line: Line, ledger: Ledger) -> Refusal:
    """Return what a line's pool says to who stands in it, with its use now."""
    pool = ledger.pools[line.pool]
    if line.conference:
        return lines.by_line[line][0].refusal
    return Refusal("pool_full", line.pool, pool.used, pool.terms.limit)
