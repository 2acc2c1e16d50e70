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
from gateway.core.counting.usage import UsageInterval

MAX_OPEN_DENIALS = 20_000
"""Refusals of a pool that wait for their fate at most; the oldest beyond that are taken to be true early."""
MAX_FINISHED_EPISODES = 50_000
"""Episodes of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""

Asker = tuple[str, str]
"""What kind of name (`account`, `device` or `address`), and the name."""


def asker_of(session: Session) -> Asker:
    """By what an asker is known again."""
    identity = session.identity
    if identity is not None:
        return ("account", identity)
    return ("device", session.device) if session.device else ("address", session.address)


class DenialEpisode:
    """Refusals that belong together. `began` and `last` are monotonic seconds; `seated` is how many were followed by a
    grant, `after` (seconds) how long the first of those waited for it; `waiting` holds those whose fate is open.
    """

    __slots__ = (
        "asker",
        "began",
        "denials",
        "granted",
        "last",
        "number",
        "open_denials",
        "reason",
        "true_denials",
        "wait_seconds",
    )

    def __init__(self, number: int, who: Asker, reason: str, now: float) -> None:
        self.number = number
        self.asker = who
        self.reason = reason
        self.began = self.last = now
        self.denials = self.true_denials = self.granted = 0
        self.wait_seconds: float | None = None
        self.open_denials: deque[tuple[float, UsageInterval]] = deque()


class DenialTracker:
    """The refusals of one pool. `asking` has the episodes whose fate is open, by asker and reason.

    Those that are over gather in `finished`, for whoever takes them. `true` are the true denials so far, by reason.
    """

    __slots__ = ("_open", "finished", "numbers", "open_episodes", "true_denials", "window")

    def __init__(self, window: float = 60.0) -> None:
        self.window = window
        self.numbers: Iterator[int] = count(1)
        self.true_denials: dict[str, int] = {}
        self.open_episodes: dict[Asker, dict[str, DenialEpisode]] = {}
        self.finished: deque[DenialEpisode] = deque(maxlen=MAX_FINISHED_EPISODES)
        self._open: deque[tuple[float, DenialEpisode]] = deque()
        """Every refusal whose fate may be open, in order of time."""

    def record_denial(self, asker: Asker, reason: str, now: float, hour: UsageInterval) -> None:
        """A refusal in `hour`, at the monotonic instant `now`."""
        self.settle_older_than_window(now)
        if len(self._open) >= MAX_OPEN_DENIALS:
            self._settle_oldest()
        open_ = self.open_episodes.setdefault(asker, {})
        episode = open_.get(reason)
        if episode is None:
            episode = open_[reason] = DenialEpisode(next(self.numbers), asker, reason, now)
        episode.last = now
        episode.denials += 1
        episode.open_denials.append((now, hour))
        hour.open_denials += 1
        self._open.append((now, episode))

    def record_grant(self, claim: object, key: Key, now: float) -> None:
        """A grant of `key` to `claim`: a session, or what an account holds without one."""
        asker = asker_of(claim) if isinstance(claim, Session) else ("account", str(key))
        if asker not in self.open_episodes:
            return
        self.settle_older_than_window(now)
        for episode in [*self.open_episodes.get(asker, {}).values()]:
            for asked, hour in episode.open_denials:
                hour.record_grant(now - asked)
            episode.wait_seconds = now - episode.open_denials[0][0]
            episode.granted += len(episode.open_denials)
            episode.open_denials.clear()
            self._finish(episode)

    def settle_older_than_window(self, now: float) -> None:
        """Refusals older than the window have come true."""
        queue = self._open
        while queue and now - queue[0][0] > self.window:
            self._settle_oldest()

    def count_true_denial(self, reason: str, hour: UsageInterval) -> None:
        """A refusal of `hour` was a true denial."""
        self.true_denials[reason] = self.true_denials.get(reason, 0) + 1
        hour.true_denials += 1
        hour.changed = True

    def _settle_oldest(self) -> None:
        _, episode = self._open.popleft()
        if not episode.open_denials:  # it was granted a seat
            return
        _, hour = episode.open_denials.popleft()
        hour.open_denials -= 1
        self.count_true_denial(episode.reason, hour)
        episode.true_denials += 1
        if not episode.open_denials:
            self._finish(episode)

    def _finish(self, episode: DenialEpisode) -> None:
        open_ = self.open_episodes.get(episode.asker, {})
        if open_.get(episode.reason) is episode:
            del open_[episode.reason]
            if not open_:
                del self.open_episodes[episode.asker]
        self.finished.append(episode)
