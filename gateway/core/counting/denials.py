"""Refusals of one pool, and what became of them.

A refusal is a true denial unless, within a window, the same account (else device, else address) is granted a seat of
the pool. So each refusal waits for its fate: a grant gives it a time-to-seat, the end of the window makes it true. It
is counted in the hour in which it happened, whenever its fate is known.

Refusals of the same asker for the same reason, each within the window of the one before, are one episode: one demand,
asked for again and again.

A model that refuses nobody (in shadow, or not enforced) has none of this: nobody is turned away, so nobody comes back,
and whatever it would have refused counts as a true denial at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count

from gateway.core.counting.session import Key, Session
from gateway.core.counting.usage import Hour

WAITING = 20_000
"""Refusals of a pool that wait for their fate at most; the oldest beyond that are taken to be true early."""
FINISHED = 50_000
"""Episodes of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""

Who = tuple[str, str]
"""What kind of name (`account`, `device` or `address`), and the name."""


def who(session: Session) -> Who:
    """By what an asker is known again."""
    identity = session.identity
    if identity is not None:
        return ("account", identity)
    return ("device", session.device) if session.device else ("address", session.address)


class Episode:
    """Refusals that belong together. `began` and `last` are monotonic seconds; `seated` is how many were followed by a
    grant, `after` (seconds) how long the first of those waited for it; `waiting` holds those whose fate is open.
    """

    __slots__ = ("after", "began", "last", "number", "reason", "refusals", "seated", "true", "waiting", "who")

    def __init__(self, number: int, who: Who, reason: str, now: float) -> None:
        self.number = number
        self.who = who
        self.reason = reason
        self.began = self.last = now
        self.refusals = self.true = self.seated = 0
        self.after: float | None = None
        self.waiting: deque[tuple[float, Hour]] = deque()


class Denials:
    """The refusals of one pool. `asking` has the episodes whose fate is open, by asker and reason.

    Those that are over gather in `finished`, for whoever takes them. `true` are the true denials so far, by reason.
    """

    __slots__ = ("_queue", "asking", "finished", "numbers", "true", "window")

    def __init__(self, window: float = 60.0) -> None:
        self.window = window
        self.numbers: Iterator[int] = count(1)
        self.true: dict[str, int] = {}
        self.asking: dict[Who, dict[str, Episode]] = {}
        self.finished: deque[Episode] = deque(maxlen=FINISHED)
        self._queue: deque[tuple[float, Episode]] = deque()
        """Every refusal whose fate may be open, in order of time."""

    def deny(self, asker: Who, reason: str, now: float, hour: Hour) -> None:
        """A refusal in `hour`, at the monotonic instant `now`."""
        self.decide(now)
        if len(self._queue) >= WAITING:
            self._give_up()
        open_ = self.asking.setdefault(asker, {})
        episode = open_.get(reason)
        if episode is None:
            episode = open_[reason] = Episode(next(self.numbers), asker, reason, now)
        episode.last = now
        episode.refusals += 1
        episode.waiting.append((now, hour))
        hour.undecided += 1
        self._queue.append((now, episode))

    def seat(self, claim: object, key: Key, now: float) -> None:
        """A grant of `key` to `claim`: a session, or what an account holds without one."""
        asker = who(claim) if isinstance(claim, Session) else ("account", str(key))
        if asker not in self.asking:
            return
        self.decide(now)
        for episode in [*self.asking.get(asker, {}).values()]:
            for asked, hour in episode.waiting:
                hour.seat(now - asked)
            episode.after = now - episode.waiting[0][0]
            episode.seated += len(episode.waiting)
            episode.waiting.clear()
            self._over(episode)

    def decide(self, now: float) -> None:
        """Refusals older than the window have come true."""
        queue = self._queue
        while queue and now - queue[0][0] > self.window:
            self._give_up()

    def come_true(self, reason: str, hour: Hour) -> None:
        """A refusal of `hour` was a true denial."""
        self.true[reason] = self.true.get(reason, 0) + 1
        hour.true += 1
        hour.changed = True

    def _give_up(self) -> None:
        _, episode = self._queue.popleft()
        if not episode.waiting:  # it was granted a seat
            return
        _, hour = episode.waiting.popleft()
        hour.undecided -= 1
        self.come_true(episode.reason, hour)
        episode.true += 1
        if not episode.waiting:
            self._over(episode)

    def _over(self, episode: Episode) -> None:
        open_ = self.asking.get(episode.who, {})
        if open_.get(episode.reason) is episode:
            del open_[episode.reason]
            if not open_:
                del self.asking[episode.who]
        self.finished.append(episode)
