"""What the clients of a load do: who they are, when they come, how long they stay, and what goes wrong meanwhile.

A profile is a TOML file (`config/load-office.toml` explains every key), or what the options of `tallygate load` make of
it. It has its groups in shares; each client belongs to one of them by its number, whichever process plays it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Self

from config.faults import ConfigError, ConfigFault, read_toml
from config.reading import read
from config.values import Amount, Choice, KindError, Table
from gateway.core.counting.session import KINDS, VISITORS
from gateway.core.setting_kinds import Count, Positive, PositiveSeconds, Range, Seconds
from gateway.core.wire.json_lines import Message

Percent = Annotated[int, Range(0, 100)]
Rate = Annotated[float, Amount(0.001, 100_000)]
WaitSeconds = Annotated[int, Range(1, 86_400)]
ClientKind = Annotated[str, Choice(tuple(sorted(KINDS)))]
Clients = Annotated[int, Range(1, 10_000_000)]

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, less their whole part, lie evenly between 0 and 1, however many there are."""


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that is drawn anew each time: `mean` and `most` in seconds, `spread` in percent of the mean.

    `spread` is half the width of a uniform distribution, and the standard deviation of a lognormal one.
    """

    mean: PositiveSeconds | None = None
    shape: Literal["constant", "uniform", "exponential", "lognormal"] = "constant"
    spread: Percent = 50
    most: PositiveSeconds | None = None

    def draw(self, random: Random) -> float:
        """Return some seconds."""
        mean, spread = self.mean or 0.0, self.spread / 100
        match self.shape:
            case "uniform":
                drawn = random.uniform(mean * (1 - spread), mean * (1 + spread))
            case "exponential":
                drawn = random.expovariate(1 / mean) if mean else 0.0
            case "lognormal":
                variance = math.log(1 + spread * spread)
                drawn = mean * math.exp(random.gauss(-variance / 2, math.sqrt(variance)))
            case _:
                drawn = mean
        return drawn if self.most is None else min(drawn, self.most)


SpanTable = Annotated[Span, Table()]


@dataclass(frozen=True, slots=True)
class LoadGroup:
    """Clients that are alike. A span that is None is one that never ends: who has no `hold` stays to the end."""

    share: Positive = 1
    """How many of all, beside the shares of the other groups."""
    kind: ClientKind = "app"
    accounts: Literal["none", "distinct"] = "none"
    clients_per_account: Positive = 1
    """So many clients, each with a device of its own, have one account."""
    websocket: Percent = 0
    """How many of them come over WebSocket, the others over TCP."""
    conferences: Count = 0
    """They join `load-0` … in turn by number; 0 joins none."""
    access: Literal["internal", "public"] = "internal"
    host: bool = False
    wait: WaitSeconds | None = None
    """Seconds that a request waits in line for a seat; None does not wait."""
    hold: SpanTable | None = None
    """How long a visit is, from `welcome` on."""
    away: SpanTable | None = None
    """After which time a client comes again; None: when its turn comes among those who are not there."""
    awake: SpanTable | None = None
    asleep: SpanTable | None = None
    """How long it is awake and asleep in turn, as long as the visit lasts."""
    retry: SpanTable | None = None
    """After which time a request that was denied is made again."""
    retries: Count = 3
    drop: Percent = 0
    """How many visits end by a connection that is closed without `bye`."""
    half_open: Percent = 0
    """How many visits end by silence: no more heartbeats, and the connection stays until the gateway ends it."""

    def uses_websocket(self, number: int) -> bool:
        """Return whether client `number` comes over WebSocket."""
        return (number + 1) * self.websocket // 100 > number * self.websocket // 100

    def join(self, number: int) -> Message:
        """Return what client `number` says to join its conference."""
        join: Message = {"type": "join", "conference": f"load-{number % self.conferences}"}
        if self.access != "internal":
            join["access"] = self.access
        if self.host:
            join["host"] = True
        return join | self.patience

    @property
    def patience(self) -> Message:
        """The field of a request that may wait in line; nothing where it may not."""
        return {} if self.wait is None else {"wait": self.wait}


@dataclass(frozen=True, slots=True)
class Spike:
    """What happens at once: `at` seconds after the beginning, and again each `every`, within some seconds."""

    at: Seconds = 0.0
    every: PositiveSeconds | None = None
    within: Seconds = 0.0
    come: Count = 0
    """So many come who were away."""
    cut: Count = 0
    """So many lose their connections at the same instant, and come back within that time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A load: how many clients come how fast, of which groups, and what happens meanwhile. Times are in seconds."""

    clients: Clients = 1000
    rate: Rate = 500.0
    """How many come each second, of those who are not there."""
    arrivals: Literal["even", "random"] = "even"
    duration: PositiveSeconds = 60.0
    """From the first arrival to the end."""
    heartbeat: PositiveSeconds | None = None
    """Between two heartbeats; None takes what the gateway states."""
    addresses: Annotated[int, Range(1, 60_000)] | None = None
    """How many addresses of 127/8 they come from, where the gateway is on loopback; None: as many as it takes."""
    settle: PositiveSeconds = 10.0
    """How long the comparison may take to come out even."""
    group: tuple[Annotated[LoadGroup, Table()], ...] = ()
    spike: tuple[Annotated[Spike, Table()], ...] = ()

    def group_of(self, number: int) -> LoadGroup:
        """Return the group of a client."""
        place = (number * GOLDEN) % 1.0 * sum(group.share for group in self.group)
        for group in self.group:
            place -= group.share
            if place < 0:
                return group
        return self.group[-1]

    @property
    def at_once(self) -> int:
        """How many clients there are at once when as many come as go, without spikes; all where they do not go."""
        shares = sum(group.share for group in self.group)
        present = 0.0
        for group in self.group:
            clients = self.clients * group.share / shares
            if group.hold is None or group.hold.mean is None:
                present += clients
            elif group.away is not None and group.away.mean is not None:
                present += clients * group.hold.mean / (group.hold.mean + group.away.mean)
            else:
                present += min(clients, self.rate * group.share / shares * group.hold.mean)
        return round(present)

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """Return the profile that `dataclasses.asdict` took apart."""
        values = dict(dumped)
        values["group"] = tuple(_group(each) for each in values["group"])
        values["spike"] = tuple(Spike(**each) for each in values["spike"])
        return cls(**values)


SPANS = ("hold", "away", "awake", "asleep", "retry")


def _group(dumped: Mapping[str, Any]) -> LoadGroup:
    spans = {name: Span(**dumped[name]) for name in SPANS if dumped[name] is not None}
    return LoadGroup(**{**dumped, **spans})


def read_profile(path: Path) -> Profile:
    """Return the profile in a file.

    Raises ConfigError with every fault of it.
    """
    try:
        profile: Profile = read(Annotated[Profile, Table()], read_toml(path))
    except KindError as error:
        raise ConfigError([ConfigFault(str(path), flaw.reason, flaw.nearest) for flaw in error.flaws]) from None
    faults = [ConfigFault(str(path), reason) for reason in _flaws(profile)]
    if faults:
        raise ConfigError(faults)
    return profile if profile.group else replace(profile, group=(LoadGroup(),))


def _flaws(profile: Profile) -> Iterator[str]:
    """What is wrong between the keys of a profile."""
    for place, group in enumerate(profile.group, 1):
        for reason in _group_flaws(group):
            yield f"group: item {place}: {reason}"
    for place, spike in enumerate(profile.spike, 1):
        if not spike.come and not spike.cut:
            yield f"spike: item {place}: come or cut: how many clients it is about is missing"
        if spike.at >= profile.duration:
            yield f"spike: item {place}: at: is not before the end of the load (duration)"


def _group_flaws(group: LoadGroup) -> Iterator[str]:
    for name in SPANS:
        span: Span | None = getattr(group, name)
        if span is not None and span.mean is None:
            yield f"{name}: mean: is missing"
    if group.kind in VISITORS and group.conferences:
        yield f"conferences: a visitor ({group.kind}) may not join any"
    if group.hold is None:
        for name in ("away", "drop", "half_open"):
            if getattr(group, name):
                yield f"{name}: is of no effect without hold: these clients stay to the end"
    if group.drop + group.half_open > 100:
        yield "drop and half_open: are more than 100 percent together"
    if (group.awake is None) != (group.asleep is None):
        yield "awake and asleep: need each other"
    if group.accounts == "none" and group.clients_per_account > 1:
        yield 'clients_per_account: is of no effect without accounts = "distinct"'
