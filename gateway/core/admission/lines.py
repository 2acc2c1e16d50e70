"""The lines of those who wait for a seat (COUNTING.md, Waiting).

A line belongs to a full pool; where a limit holds for each conference apart, to the pool and the conference. Rules for
seats make more of them: who is short of a rule waits in the line of that rule, and those for whom other seats are kept
wait in a line of their own. Whoever arrived first comes first; under `priority`, the accounts of groups with a higher
one before. What is here says who stands where; `waiting` decides.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Any, NamedTuple

from gateway.core.counting.denials import Asker
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool_rule import Claimant, Holder, PoolRule
from gateway.core.counting.session import Instant, Key, Person, Seat, Session

Rank = tuple[int, int]
"""Who comes first: the lowest. A priority, negative, then a number that grows with every arrival."""


class Line(NamedTuple):
    """Which line: that of a pool; `conference` is empty but where the limit is that of each conference.

    `rule` is the rule for seats that has no room, and `one` whom it counts apart; empty where the pool itself is full.
    `kept_for` are then the rules that keep seats for those who wait here: all of a line may have the same seats.
    """

    pool: str
    conference: str = ""
    rule: str = ""
    one: Key = ""
    kept_for: tuple[str, ...] = ()


class QueuePlace:
    """One who waits: `request` is the command that is decided anew when a seat may have become free.

    `session` is the number of the session that asked, None where a `hello` waits. `conference` is empty where the
    request names none. `refusal` is what the pool said when it was asked last. `since` is when it began to wait,
    `until` the monotonic instant at which it ends. `asker` is as whom denials know it, `person` who is charged, `who`
    as whom rules for seats know it, `id` what the client gave its request. `node` is the gateway of a cluster at which
    a `hello` waits.
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
        "who",
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
        who: Holder,
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
        self.who = who
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
    `asker`, `person` and `who` are who was refused.
    """

    __slots__ = ("asker", "person", "rank", "refusal", "who")

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.refusal: Refusal | None = None
        self.asker: Asker = ("", "")
        self.person: Person = ("", "", "", "")
        self.who = Holder(None)


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

    def sort_anew(self, ledger: Ledger) -> None:
        """Put everybody into the line where they belong by the rules for seats as they are now."""
        for place in self.values():
            pool = ledger.pools.get(place.line.pool)
            rules = pool.rules if pool is not None else None
            rule = rules.rules.get(place.line.rule) if rules is not None else None
            if rules is not None and rule is not None and rule.terms.most and rule in rules.matching(place.who):
                line = place.line._replace(one=rule.one_of(place.who))
            else:
                kept_for = rules.keeping(place.who) if rules is not None else ()
                line = Line(place.line.pool, place.line.conference, kept_for=kept_for)
            if line != place.line:
                self.move(place, line)

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
    if ledger.ruled:
        refusal = _behind_by_rules(lines, rank, ledger, session, seats, leaving)
        if refusal is not None:
            return refusal
    for seat in ledger.new_seats(session, seats, leaving):
        passed = line_before(lines, rank, ledger, session, seat)
        if passed is not None:
            return refusal_of(lines, passed, ledger, session)
    return None


def line_before(lines: Lines, rank: Rank | None, ledger: Ledger, session: Session, seat: Seat) -> Line | None:
    """Return a line of a pool in which somebody comes before a request who may have the seat that it asks for; None
    where nobody does. `rank` is its own, None where it does not wait.
    """
    name, key = seat
    rules, binding = ledger.pools[name].rules, ledger.pools[name].terms.binding
    if rules is not None and binding:
        return _takes_from(lines, rank, name, rules.kept_for(session, key))
    line = Line(name) if binding else Line(name, str(key[0]) if isinstance(key, tuple) else "")
    return line if lines.comes_first(line, rank) else None


def _takes_from(lines: Lines, rank: Rank | None, pool: str, kept_for: frozenset[str]) -> Line | None:
    """Return a line in which somebody comes first who may have the seat; not one for whom a rule of `kept_for` keeps
    none.
    """
    for line in lines.by_line:
        if line.pool == pool and not line.rule and kept_for.issubset(line.kept_for) and lines.comes_first(line, rank):
            return line
    return None


def _behind_by_rules(
    lines: Lines, rank: Rank | None, ledger: Ledger, session: Session, seats: Collection[Seat], leaving: Session | None
) -> Refusal | None:
    """Return the refusal of the first rule in whose line somebody comes before this request; a key that is reserved is
    refused by none.
    """
    for name, key in ledger.added_seats(session, seats):
        pool = ledger.pools[name]
        rules = pool.rules if key not in pool.reservations else None
        for rule in rules.short(session, key) if rules is not None else ():
            line = Line(name, rule=rule.terms.name, one=rule.one_of(session))
            if lines.comes_first(line, rank) and not (leaving is not None and _counts(rule, leaving, ledger)):
                return refusal_of(lines, line, ledger, session)
    return None


def _counts(rule: PoolRule, session: Session, ledger: Ledger) -> bool:
    """Return whether a session holds a key that counts under a rule."""
    return any(name == rule.terms.pool and key in rule.claims for name, key in session.seats[ledger.index])


def refusal_of(lines: Lines, line: Line, ledger: Ledger, who: Claimant) -> Refusal:
    """Return what a line's pool, or its rule, says to somebody who stands in it, with its use now."""
    pool = ledger.pools[line.pool]
    if line.conference:
        return lines.by_line[line][0].refusal
    if line.rule and pool.rules is not None:
        return pool.rules.full(line.rule, line.one)
    return pool.full(who)


def line_of(ledger: Ledger, refusal: Refusal, who: Claimant, conference: str) -> Line:
    """Return the line in which somebody waits who was refused for a full pool, to join a conference perhaps."""
    pool = ledger.pools[refusal.pool]
    if refusal.rule and pool.rules is not None:
        return Line(refusal.pool, rule=refusal.rule, one=pool.rules.rules[refusal.rule].one_of(who))
    if not pool.terms.binding:
        return Line(refusal.pool, conference)
    return Line(refusal.pool, kept_for=pool.rules.keeping(who) if pool.rules is not None else ())
