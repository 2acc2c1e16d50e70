"""The counts of a load: they can be added up over processes, and written as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gateway.core.wire.messages import is_integer
from gateway.load.histogram import LatencyHistogram


@dataclass(slots=True)
class Tally:
    """Counts of one worker, or of all together. What is held now goes up and down; the rest only grows."""

    attempted: int = 0
    """Connections begun."""
    connected: int = 0
    """Connections established, a WebSocket upgrade included."""
    welcomed: int = 0
    joined: int = 0
    """Joins answered `joined` or `waiting`."""
    settled: int = 0
    """Connections whose ramp is over: they hold all they asked for, wait in line, were denied, or are gone."""
    members: int = 0
    """Memberships held now."""
    queued: int = 0
    """Requests that wait in line for a seat now."""
    asleep: int = 0
    """Sessions asleep now."""
    silent: int = 0
    """Connections held now that send nothing any more, until the gateway ends them."""
    left: int = 0
    """Visits that ended with `bye` before the end of the load."""
    cut: int = 0
    """Visits that ended because the connection was closed without a word, as the profile wanted it."""
    expired: int = 0
    """Silent connections that the gateway ended."""
    retried: int = 0
    """Requests that were made again after a denial."""
    beats: int = 0
    acks: int = 0
    open: Counter[str] = field(default_factory=Counter)
    """Welcomed connections held now, by transport."""
    denied: Counter[str] = field(default_factory=Counter)
    """Refusals by request and reason, such as `join pool_full`."""
    errors: Counter[str] = field(default_factory=Counter)
    """Connections that were never welcomed nor denied, and `error` answers, by what happened."""
    lost: Counter[str] = field(default_factory=Counter)
    """Welcomed connections that ended without our having ended them, by reason."""
    removed: Counter[str] = field(default_factory=Counter)
    """Memberships the gateway ended, by reason."""
    full: dict[str, int] = field(default_factory=dict)
    """The limit of each pool by which somebody was denied."""
    welcome: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Time from the beginning of a connection to its `welcome`, without those that waited in line."""
    join: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Time from a `join` to its answer, without those that waited in line or were denied."""
    ack: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Time from a heartbeat to its `ack`."""

    def add(self, other: Tally) -> None:
        """Count everything `other` has counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.full |= other.full
        for name in _HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))

    def dump(self) -> dict[str, Any]:
        """Return the tally as JSON takes it."""
        values = {name: getattr(self, name) for name in (*_NUMBERS, *_COUNTERS, "full")}
        return values | {name: getattr(self, name).dump() for name in _HISTOGRAMS}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Tally:
        """Return the tally that `dump` gave.

        Raises `ValueError`, `KeyError` or `TypeError` where it is not one.
        """
        values = {name: dumped[name] for name in _NUMBERS}
        counters = {name: Counter(dict(dumped[name])) for name in _COUNTERS}
        full = dict(dumped["full"])
        if not all(
            is_integer(each) for each in chain(values.values(), full.values(), *map(dict.values, counters.values()))
        ):
            raise ValueError("no tally of a load")
        values |= {"full": full, **counters}
        values |= {name: LatencyHistogram.load(dumped[name]) for name in _HISTOGRAMS}
        return cls(**values)


_NUMBERS = (
    *("attempted", "connected", "welcomed", "joined", "settled", "members", "queued", "asleep", "silent"),
    *("left", "cut", "expired", "retried", "beats", "acks"),
)
_COUNTERS = ("open", "denied", "errors", "lost", "removed")
_HISTOGRAMS = ("welcome", "join", "ack")
HELD = ("open", "members", "queued", "asleep", "silent")
"""What is held now."""
