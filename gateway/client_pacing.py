"""How fast a client asks (`PROTOCOL.md`, Rates).

The gateway does not state its rate: it says `too_fast`, without an `id`, when it has begun to drop messages. So nobody
knows which of the requests under way it has read. `Pacing` takes all of them for dropped: it waits, and asks again, one
after the other and ever more slowly until the gateway keeps up; with each answer it is a little faster again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.wire.answers import Answer, QueuedAnswer
from gateway.core.wire.json_lines import Message

MAX_UNDER_WAY = 16
"""Requests that wait for their answers at once: all of them may be dropped, and the gateway charges what it drops."""
FIRST_GAP, LONGEST_GAP = 0.2, 10.0
"""Seconds between two requests after the first `too_fast`, and at most."""
SHORTEST_GAP = 0.01
"""Seconds below which requests are not spread any more."""
RECOVERY = 0.95
"""What is left of the gap after an answer."""
REPEATED = 1000
"""Repeated requests that are remembered; answers to older ones have come or will not. No setting: no more than
`MAX_UNDER_WAY` are repeated at once."""
SILENCE = 2.0
"""Seconds after which a slowed request without an answer is repeated, twice as many each time: what is dropped soon
after a `too_fast` is dropped without a word."""


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request and its answer to come. `limit` is the time limit of whoever waits; it runs from the sending on, and
    anew when the gateway has put the request in line.
    """

    number: int
    message: Message
    limit: asyncio.Timeout
    on_queued: Callable[[QueuedAnswer], None] | None = None
    """Is told where the request stands in line, each time that changes."""
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pacing:
    """The requests of one connection, in order; `send` puts one on the wire.

    One timer at most, until `stop`.
    """

    def __init__(self, send: Callable[[Message], None], patience: float) -> None:
        """`patience` is how many seconds an answer may take."""
        self._send = send
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[PendingRequest] = deque()
        self._under_way: dict[int, PendingRequest] = {}
        self._queued: dict[int, PendingRequest] = {}
        """What the gateway has read and put in line for a seat."""
        self._repeated: deque[int] = deque(maxlen=REPEATED)
        """The latest that were sent more than once, so that several answers may come."""
        self._gap = 0.0
        self._silence = SILENCE
        self._next_at = 0.0
        """When the next request may be sent, by the clock of the loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._asking = True

    @property
    def slowed(self) -> bool:
        """Whether the gateway has dropped messages, and may drop more without a word."""
        return self._gap > 0

    @property
    def delay(self) -> float:
        """Seconds until something may be sent; 0 for at once."""
        return max(self._next_at - self._loop.time(), 0.0)

    def ask(self, request: PendingRequest) -> None:
        """Send a request as soon as its turn comes."""
        self._waiting.append(request)
        self._advance()

    def queue(self, number: int, seconds: float) -> PendingRequest | None:
        """Return the request with this `id`, which stands in line for so many seconds; None where nobody asked."""
        request = self._queued.get(number) or self.take(number)
        if request is not None:
            self._queued[number] = request
            request.limit.reschedule(self._loop.time() + seconds + self._patience)
        return request

    def take(self, number: int) -> PendingRequest | None:
        """Return the request that an answer with this `id` is for; None for none that is waited for."""
        request = self._queued.get(number) or self._under_way.get(number)
        request = request or next((each for each in self._waiting if each.number == number), None)
        if request is not None:
            self._gap *= RECOVERY
            if self._gap < SHORTEST_GAP:
                self._gap = 0.0
            self._silence = SILENCE
            self.forget(request)
        return request

    def is_repetition(self, number: int) -> bool:
        """Return whether an answer with this `id` may be that of a request which was answered before."""
        return number in self._repeated

    def forget(self, request: PendingRequest) -> None:
        """Wait for a request no longer."""
        self._under_way.pop(request.number, None)
        self._queued.pop(request.number, None)
        if request in self._waiting:
            self._waiting.remove(request)
        self._advance()

    def slow_down(self) -> None:
        """The gateway has dropped messages: ask again for all that was under way, later and more slowly."""
        self._gap = min(max(2 * self._gap, FIRST_GAP), LONGEST_GAP)
        self._next_at = self._loop.time() + self._gap * (1 + len(self._under_way))
        self._repeat()
        for request in self._waiting:
            request.limit.reschedule(None)
        self._advance()

    def finish(self) -> None:
        """Send no more requests; those under way may still be answered."""
        self._asking = False
        self._cancel()

    def stop(self) -> list[PendingRequest]:
        """Send nothing any more; returns what has not been answered."""
        left = [*self._queued.values(), *self._under_way.values(), *self._waiting]
        self._queued.clear()
        self._under_way.clear()
        self._waiting.clear()
        self._cancel()
        return left

    def _advance(self) -> None:
        self._cancel()
        while self._asking and self._waiting and len(self._under_way) < (1 if self._gap else MAX_UNDER_WAY):
            if self.delay:
                self._timer = self._loop.call_later(self.delay, self._advance)
                return
            request = self._waiting.popleft()
            self._under_way[request.number] = request
            self._next_at = self._loop.time() + self._gap
            if request.limit.when() is None:
                request.limit.reschedule(self._loop.time() + self._patience)
            self._send(request.message)
        if self._asking and self._gap and self._under_way:
            self._timer = self._loop.call_later(self._silence, self._missed)

    def _missed(self) -> None:
        self._silence *= 2
        self._repeat()
        self._advance()

    def _repeat(self) -> None:
        self._repeated.extend(self._under_way)
        self._waiting.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
