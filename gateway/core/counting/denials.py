"""The denials of one pool, and what became of them.

A denial is a true denial unless, within a window, the same account (else device, else address) is granted a seat of the
pool (COUNTING.md, Denials). So each denial stays open: a grant gives it a time until it was seated, the end of the
window makes it true. It is counted in the interval in which it happened, whenever that is known.

Denials of the same asker for the same reason, each within the window of the one before, are one episode: one demand,
asked for again and again.

A model that refuses nobody (in shadow, or not enforced) has none of this: nobody is turned away, so nobody comes back,
and whatever it would have refused counts as a true denial at once.
"""

from __future__ import annotations

from collections import deque

from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.personal_use import PoolShares
from gateway.core.counting.session import Identity, Person, Session
from gateway.core.counting.usage import UsageInterval

MAX_OPEN_DENIALS = 20_000
"""Open denials of a pool at most; the oldest beyond that are taken to be true early."""
MAX_FINISHED_EPISODES = 50_000
"""Episodes of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""

Asker = tuple[str, Identity]
"""What kind of name (`account`, `device` or `address`), and the name; of an account who it is."""


def asker_of(session: Session) -> Asker:
    """Return by what an asker is known again."""
    identity = session.identity
    if identity is not None:
        return ("account", identity)
    return ("device", session.device) if session.device else ("address", session.address)


class DenialEpisode:
    """Denials that belong together. `began` and `last` are monotonic seconds; `granted` is how many were followed by a
    grant, `wait_seconds` how long the first of those waited for it; `open_denials` holds when each open denial
    happened, its interval, and who was denied.
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

    def __init__(self, number: int, asker: Asker, reason: str, now: float) -> None:
        self.number = number
        self.asker = asker
        self.reason = reason
        self.began = self.last = now
        self.denials = self.true_denials = self.granted = 0
        self.wait_seconds: float | None = None
        self.open_denials: deque[tuple[float, UsageInterval, Person]] = deque()


class DenialTracker:
    """The denials of one pool. `open_episodes` has the episodes with open denials, by asker and reason.

    Those that are over gather in `finished`, for whoever takes them. `true_denials` are those so far, by reason;
    `window` is in seconds; `numbers` tells episodes apart, `shares` are told what became of the denials.
    """

    __slots__ = ("finished", "numbers", "open_denials", "open_episodes", "shares", "true_denials", "window")

    def __init__(self, numbers: NumberSequence, shares: PoolShares, window: float = 60.0) -> None:
        self.window = window
        self.shares = shares
        self.numbers = numbers
        self.true_denials: dict[str, int] = {}
        self.open_episodes: dict[Asker, dict[str, DenialEpisode]] = {}
        self.finished: deque[DenialEpisode] = deque(maxlen=MAX_FINISHED_EPISODES)
        self.open_denials: deque[tuple[float, DenialEpisode]] = deque()
        """Every denial that may be open, in order of time; one that was granted a seat is passed over."""

    def record_denial(self, asker: Asker, person: Person, reason: str, now: float, interval: UsageInterval) -> None:
        """Record a denial in `interval`, at the monotonic instant `now`."""
        self.settle_older_than_window(now)
        if len(self.open_denials) >= MAX_OPEN_DENIALS:
            self._settle_oldest(now)
        episodes = self.open_episodes.setdefault(asker, {})
        episode = episodes.get(reason)
        if episode is None:
            episode = episodes[reason] = DenialEpisode(self.numbers.take(), asker, reason, now)
        episode.last = now
        episode.denials += 1
        episode.open_denials.append((now, interval, person))
        interval.open_denials += 1
        self.open_denials.append((now, episode))

    def record_grant(self, asker: Asker, now: float) -> None:
        """Record a grant to somebody."""
        if asker not in self.open_episodes:
            return
        self.settle_older_than_window(now)
        for episode in [*self.open_episodes.get(asker, {}).values()]:
            for asked, interval, person in episode.open_denials:
                interval.record_grant(now - asked)
                self.shares.seat(person, now - asked, now)
            episode.wait_seconds = now - episode.open_denials[0][0]
            episode.granted += len(episode.open_denials)
            episode.open_denials.clear()
            self._finish(episode)

    def record_wait(
        self,
        asker: Asker,
        person: Person,
        reason: str,
        began: float,
        now: float,
        interval: UsageInterval,
        *,
        granted: bool,
    ) -> None:
        """Record that a wait in line ended, which `began` at that monotonic instant: with the seat, which makes it no
        denial but a demand, or without, which makes it a true denial.
        """
        episode = DenialEpisode(self.numbers.take(), asker, reason, began)
        episode.last = now
        if granted:
            episode.granted, episode.wait_seconds = 1, now - began
            interval.record_wait(now - began)
            self.shares.seat(person, now - began, now)
        else:
            self.shares.deny(person, now, true=True)
            episode.denials = episode.true_denials = 1
            self.count_true_denial(reason, interval)
        self.finished.append(episode)

    def forget(self, asker: Asker, now: float) -> None:
        """Settle what somebody was denied as true, and forget who it was."""
        for episode in self.open_episodes.pop(asker, {}).values():
            while episode.open_denials:
                self._settle(episode, now)
            self.finished.append(episode)
        for episode in self.finished:
            if episode.asker == asker:
                episode.asker = (asker[0], "")

    def settle_older_than_window(self, now: float) -> None:
        """Make true the denials that are older than the window."""
        denials = self.open_denials
        while denials and now - denials[0][0] > self.window:
            self._settle_oldest(now)

    def count_true_denial(self, reason: str, interval: UsageInterval) -> None:
        """Count a denial of `interval` as a true one."""
        self.true_denials[reason] = self.true_denials.get(reason, 0) + 1
        interval.true_denials += 1
        interval.changed = True

    def _settle_oldest(self, now: float) -> None:
        _, episode = self.open_denials.popleft()
        if not episode.open_denials:  # it was granted a seat
            return
        self._settle(episode, now)
        if not episode.open_denials:
            self._finish(episode)

    def _settle(self, episode: DenialEpisode, now: float) -> None:
        """Make the oldest open denial of an episode true."""
        _, interval, person = episode.open_denials.popleft()
        interval.open_denials -= 1
        self.count_true_denial(episode.reason, interval)
        self.shares.settle(person, now)
        episode.true_denials += 1

    def _finish(self, episode: DenialEpisode) -> None:
        episodes = self.open_episodes.get(episode.asker, {})
        if episodes.get(episode.reason) is episode:
            del episodes[episode.reason]
            if not episodes:
                del self.open_episodes[episode.asker]
        self.finished.append(episode)
