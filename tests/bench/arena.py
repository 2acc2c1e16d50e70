"""Reference and subject alive together: a floor, a subject and a second floor, each with as many connections.

Turns alternate in short windows, forwards and backwards (floor, subject, twin, twin, subject, floor ...), so that
whatever else the machine does falls on all three alike. The twin is the floor against itself: where its ratio leaves
0.95 to 1.05 the machine was too restless, and `steady` measures again, a few times at most, and says so.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self, TypeVar

from .load import Load, Phase
from .servers import Floor, Server
from .table import Ratio

T = TypeVar("T")

TWIN_BOUNDS = (0.95, 1.05)


@dataclass(slots=True)
class Side:
    """A server, the load on it, and what a phase cost the server."""

    server: Server
    load: Load

    def phase(self, **plan: float) -> tuple[Phase, float]:
        """Run a phase; also the server's CPU seconds during it."""
        before = self.server.cpu()
        phase = self.load.run(**plan)
        return phase, self.server.cpu() - before


class Arena:
    """Floor, subject and twin, with their loads; the servers are stopped on exit."""

    def __init__(self, subject: Callable[[], Server], *, backlog: int = 4096, join: int = 0) -> None:
        self._stack = ExitStack()
        self.sides: list[Side] = []
        try:
            for start, puts in ((lambda: Floor(backlog), 0), (subject, join), (Floor, 0)):
                server = self._stack.enter_context(start())
                side = Side(server, server.load(join=puts))
                self._stack.callback(lambda side: side.load.kill(), side)
                self.sides.append(side)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def grow(self, size: int) -> None:
        """Let every side hold `size` connections."""
        for side in self.sides:
            side.load.grow(size)

    def shrink(self, size: int) -> None:
        """Close down to `size` on every side and wait until the servers know."""
        for side in self.sides:
            side.load.shrink(size)
        for side in self.sides:
            side.server.wait_for(size)

    def turns(self, rounds: int, act: Callable[[Side], T]) -> tuple[list[T], list[T], list[T]]:
        """What `act` gave on floor, subject and twin, round by round."""
        results: tuple[list[T], list[T], list[T]] = ([], [], [])
        for turn in range(rounds):
            order = range(3) if turn % 2 == 0 else range(2, -1, -1)
            for i in order:
                results[i].append(act(self.sides[i]))
        return results


def say(text: str) -> None:
    """Progress for the person who waits, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def steady(what: str, measure: Callable[[], dict[str, Ratio]], key: str, attempts: int) -> tuple[dict[str, Ratio], str]:
    """`measure` until the twin of `key` is within bounds; the ratios and a note on the attempts it took."""
    for attempt in range(1, attempts + 1):
        ratios = measure()
        twin = ratios[key].twin
        if TWIN_BOUNDS[0] <= twin <= TWIN_BOUNDS[1]:
            return ratios, "" if attempt == 1 else f"attempt {attempt}"
        say(f"  {what}: floor/floor {twin:.2f}, rejected ({attempt} of {attempts})")
    return ratios, "restless machine"
