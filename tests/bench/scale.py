"""How much is measured, of whom, and how long it takes."""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from .servers import Server

STEP = 1000  # connections opened in one turn
WARM = 500  # connections before memory is first read
PER_CONFERENCE = 10
TCP_ONLY = frozenset({"scrape", "leases", "stall", "registrar"})
"""What no transport changes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: connections, seconds of a window, turns."""

    sizes: tuple[int, int] = (1000, 15000)
    window: float = 0.5
    rounds: int = 12
    attempts: int = 3
    paces: tuple[int, ...] = (3000, 10000)
    latency_seconds: float = 2.0
    latency_rounds: int = 4
    storm: tuple[int, int] = (5000, 9500)
    storms: int = 5
    slow_storms: int = 2
    deaths: int = 5
    returns: int = 3
    scrapes: int = 200
    lease_rounds: int = 5
    stall_rounds: int = 4
    agents: int = 2000
    check_seconds: float = 2.0
    check_rounds: int = 8


QUICK = Scale(
    sizes=(1000, 3000), window=0.2, rounds=4, attempts=1, paces=(3000,), latency_seconds=0.5, latency_rounds=2,
    storm=(1000, 3000), storms=2, slow_storms=0, deaths=1, returns=1, scrapes=30,
    lease_rounds=1, stall_rounds=1, agents=1000, check_seconds=0.5, check_rounds=4,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared with the floor; `ours` gets aims, and the measures that only a gateway can show."""

    name: str
    start: Callable[[], Server]
    ours: bool = False
    aims: tuple[tuple[str, str], ...] = ()

    def aim(self, measure: str) -> str:
        """What the project wants of this measure, empty for a peer."""
        return dict(self.aims).get(measure, "")


TAKES = {
    "beats": (6, 60), "connects": (4, 25), "latency": (5, 60), "memory": (13, 45), "zero": (5, 40), "storm": (5, 130),
    "returns": (7, 45), "scrape": (4, 20), "leases": (7, 90), "stall": (8, 30), "registrar": (8, 60),
}  # fmt: skip
"""Seconds that a measure of one subject takes on two cores: with --quick, and in full."""


def expected_seconds(subjects: Iterable[Subject], chosen: Container[str], *, quick: bool) -> int:
    """How long all chosen measures of these subjects will take, on a machine like the one they were timed on."""
    total = 0
    for subject in subjects:
        shared = {"beats", "connects", "memory", "zero"}
        mine = TAKES.keys() if subject.name.endswith("tcp") else TAKES.keys() - TCP_ONLY if subject.ours else shared
        seconds = sum(TAKES[name][0 if quick else 1] for name in mine if name in chosen)
        total += seconds if subject.ours else seconds // 2  # memory in one way, not in four
    return total
