"""Leads a load: starts all that take part, lets the profile run, holds still, compares the counts, and ends them.

The comparison is its purpose: what the gateway counts, less what it counted before, must be what the load holds. The
difference is the *drift*. It is measured while nothing begins or ends any more, and again after all have said `bye`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.load.participants import Participants
from gateway.load.plan import LoadError
from gateway.load.profile import Profile
from gateway.load.tally import HELD, Tally
from gateway.operator_client import Operator, OperatorError

DISMISS = 30.0
"""Seconds a participant may take to hold still, and to end."""
AGAIN = 0.05
"""Seconds between two comparisons: some sessions may end by themselves meanwhile, such as the silent ones."""

Gauges = dict[str, int]
"""What is compared: `connections tcp`, `connections websocket`, `conference members`, `sessions`, `asleep`,
`waiting in line`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gateway's gauges (less what was there before the load) beside what the load holds."""

    gateway: Gauges
    held: Gauges

    @property
    def drift(self) -> int:
        """The sum of all differences."""
        return sum(abs(self.gateway.get(name, 0) - held) for name, held in self.held.items())


@dataclass(slots=True)
class LoadResult:
    """The result of a load; the comparisons are None where the gateway's operator port was not asked."""

    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    holding: Comparison | None = None
    after: Comparison | None = None
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing failed and no count drifted. Being denied is no failure."""
        drift = sum(comparison.drift for comparison in (self.holding, self.after) if comparison is not None)
        return not (drift or self.tally.lost.total() or self.tally.errors.total())


async def read_gauges(gateway: Operator) -> Gauges:
    """Return what the gateway counts now.

    Raises `OperatorError`.
    """
    gauges = {"connections tcp": 0, "connections websocket": 0, "conference members": 0, "waiting in line": 0}
    for sample in await _samples(gateway):
        if sample.name == "tallygate_connections" and sample.labels.get("state") == "open":
            gauges[f"connections {sample.labels.get('transport')}"] += int(sample.value)
        elif sample.name == "tallygate_conference_members":
            gauges["conference members"] += int(sample.value)
        elif sample.name == "tallygate_license_queue_length":
            gauges["waiting in line"] += int(sample.value)
    counted = await gateway.json("GET", "/api/connections/count")
    return gauges | {"sessions": int(counted["count"]), "asleep": int(counted["asleep"])}


async def read_room(gateway: Operator) -> tuple[int, int]:
    """Return how many more connections the gateway would take now, and how many it takes at all.

    Raises `OperatorError`.
    """
    limit, taken = sys.maxsize, 0
    for sample in await _samples(gateway):
        if sample.name == "tallygate_connections_limit":
            limit = int(sample.value)
        elif sample.name == "tallygate_connections":
            taken += int(sample.value)
    return limit - taken, limit


async def _samples(gateway: Operator) -> list[Sample]:
    text = await gateway.text("/metrics")
    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        raise OperatorError(f"{gateway.url}/metrics has no metrics: is it a gateway?") from None


def held_by(tally: Tally) -> Gauges:
    """Return what the load holds, by the names of what the gateway counts."""
    held = {f"connections {name}": tally.open[name] for name in ("tcp", "websocket")}
    return held | {
        "conference members": tally.members,
        "sessions": tally.open.total(),
        "asleep": tally.asleep,
        "waiting in line": tally.queued,
    }


class Coordinator:
    """Leads those who take part in one load. `run` once."""

    def __init__(self, participants: Participants, profile: Profile, gateway: Operator | None) -> None:
        """Without `gateway` nothing is compared."""
        self._participants = participants
        self._profile = profile
        self._gateway = gateway
        self._before: Gauges = {}

    async def prepare(self) -> None:
        """Read what the gateway counts before the load.

        Raises `OperatorError`, or `LoadError` when the gateway has too few connections left.
        """
        if self._gateway is not None:
            self._before = await read_gauges(self._gateway)
            wanted, (room, limit) = self._profile.at_once, await read_room(self._gateway)
            if wanted > room:
                raise LoadError(f"{wanted} connections are wanted, and the gateway has room for {room} of its {limit}")

    async def run(self, stop: asyncio.Event, show: Callable[[str, Tally], None]) -> LoadResult:
        """Wait until all are begun, let them go on for the profile's duration, hold still, compare, say `bye`, compare.

        `stop` ends the first two early. `show` is told the phase and the sum of all tallies as reports come.
        Raises `OperatorError`, or `LoadError` when somebody who takes part has died.
        """
        outcome, all = LoadResult(), self._participants
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not stop.is_set() and not all.all_in("holding"):
            await all.next_report(stop)
            show("ramping", all.total())
        until = loop.time() + self._profile.duration
        while not stop.is_set() and loop.time() < until:
            await all.next_report(stop, until - loop.time())
            show("holding", all.total())
        outcome.interrupted = stop.is_set()
        all.tell("still")
        await self._until_all("still", show)
        outcome.holding = await self._compare()
        outcome.tally = all.total()
        all.dismiss()
        await self._until_all("done", show)
        outcome.after = await self._compare(ended=True)
        # The last answers come in while the clients leave; what was held is what was held before.
        last = all.total()
        for name in HELD:
            setattr(last, name, getattr(outcome.tally, name))
        outcome.tally = last
        outcome.seconds = loop.time() - began
        return outcome

    async def _until_all(self, phase: str, show: Callable[[str, Tally], None]) -> None:
        words = {"still": "settling", "done": "leaving"}
        try:
            async with asyncio.timeout(DISMISS):
                while not self._participants.all_in(phase):
                    await self._participants.next_report()
                    show(words[phase], self._participants.total())
        except TimeoutError:
            raise LoadError("a process of the load did not end") from None

    async def _compare(self, *, ended: bool = False) -> Comparison | None:
        """Compare until the counts agree or the time to settle is over; after the end (`ended`) nobody reports."""
        if self._gateway is None:
            return None
        loop = asyncio.get_running_loop()
        until = loop.time() + self._profile.settle
        while True:
            total = self._participants.total() if ended else await self._participants.fresh()
            now = await read_gauges(self._gateway)
            gauges = {name: value - self._before.get(name, 0) for name, value in now.items()}
            comparison = Comparison(gauges, held_by(total))
            if not comparison.drift or loop.time() >= until:
                return comparison
            await asyncio.sleep(AGAIN)
