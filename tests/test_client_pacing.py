"""How the reference client slows down: told by a gateway that drops what it likes, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.client_pacing import LONGEST_GAP, MAX_UNDER_WAY, Pacing, PendingRequest
from gateway.core.wire.json_lines import Message

ANSWER = 15.0


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop whose time passes only on `pass_time`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, int, Timer]] = []
        self.numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self.timers, (self.now + delay, next(self.numbers), timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self.timers)
            if not timer.cancelled:
                timer.call()
        self.now = end


class Limit:
    """The time limit of somebody who waits."""

    def __init__(self) -> None:
        self.until: float | None = None

    def when(self) -> float | None:
        return self.until

    def reschedule(self, when: float | None) -> None:
        self.until = when


class Asked:
    """Requests on their way to a gateway that a test plays."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sent: list[tuple[float, int]] = []
        self.requests: dict[int, PendingRequest] = {}
        self.pacing = Pacing(self._send, ANSWER)

    def _send(self, message: Message) -> None:
        self.sent.append((round(self.loop.now - 100.0, 3), message["id"]))

    def ask(self, *numbers: int) -> None:
        for number in numbers:
            limit: Any = Limit()
            self.requests[number] = PendingRequest(number, {"type": "sleep", "id": number}, limit)
            self.pacing.ask(self.requests[number])

    def told(self) -> list[int]:
        """What was sent since the last call."""
        numbers = [number for _, number in self.sent]
        self.sent.clear()
        return numbers


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    loop = Loop()
    future = asyncio.get_running_loop().create_future
    monkeypatch.setattr(loop, "create_future", future, raising=False)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return Asked(loop)


async def test_requests_are_sent_at_once_as_long_as_few_are_under_way(asked: Asked) -> None:
    asked.ask(*range(MAX_UNDER_WAY + 2))
    assert asked.told() == [*range(MAX_UNDER_WAY)]
    asked.pacing.take(0)
    assert asked.told() == [MAX_UNDER_WAY]
    assert not asked.loop.timers


async def test_what_was_under_way_is_asked_again_one_after_the_other(asked: Asked) -> None:
    asked.ask(1, 2, 3)
    asked.pacing.slow_down()
    asked.ask(4)
    asked.told()
    asked.loop.pass_time(0.79)
    assert asked.told() == []  # it waits longer, the more may have been dropped
    asked.loop.pass_time(0.02)
    assert asked.told() == [1]
    for answered, following in ((1, 2), (2, 3), (3, 4)):
        assert asked.pacing.take(answered) is asked.requests[answered]
        asked.loop.pass_time(0.2)
        assert asked.told() == [following]


async def test_each_time_it_is_told_it_slows_down_more_up_to_a_bound(asked: Asked) -> None:
    gaps = []
    asked.ask(1)
    for _ in range(9):
        asked.pacing.slow_down()
        gaps.append(round(asked.pacing.delay / 2, 3))
        asked.loop.pass_time(asked.pacing.delay)
    assert gaps == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_GAP, LONGEST_GAP, LONGEST_GAP]


async def test_it_is_faster_again_with_each_answer_and_in_the_end_as_before(asked: Asked) -> None:
    asked.ask(1)
    asked.pacing.slow_down()
    for number in range(2, 70):
        asked.loop.pass_time(1.0)
        asked.pacing.take(number - 1)
        asked.ask(number)
    asked.told()
    asked.pacing.take(69)
    asked.ask(70, 71, 72)
    assert asked.told() == [70, 71, 72]


async def test_what_is_dropped_without_a_word_is_asked_again(asked: Asked) -> None:
    asked.ask(1)
    asked.pacing.slow_down()
    asked.told()
    asked.loop.pass_time(ANSWER)
    assert asked.told() == [1, 1, 1, 1]  # after 0.4 s, and then 2 s, 4 s and 8 s


async def test_an_answer_to_what_was_answered_already_is_nobodys(asked: Asked) -> None:
    asked.ask(1, 2)
    assert not asked.pacing.is_repetition(1)
    asked.pacing.slow_down()
    assert asked.pacing.take(1) is asked.requests[1]  # it was on its way, and not dropped
    assert asked.pacing.take(1) is None
    assert asked.pacing.is_repetition(1)
    asked.loop.pass_time(1.0)
    assert asked.told() == [1, 2, 2]


async def test_the_time_for_an_answer_runs_from_the_sending_on(asked: Asked) -> None:
    asked.ask(1, 2)
    assert asked.requests[1].limit.when() == 100.0 + ANSWER
    asked.pacing.slow_down()
    assert asked.requests[1].limit.when() is None
    asked.loop.pass_time(3.0)
    assert asked.requests[1].limit.when() == pytest.approx(100.6 + ANSWER)
    assert asked.requests[2].limit.when() is None


async def test_who_waits_no_longer_is_not_asked_for(asked: Asked) -> None:
    asked.ask(1, 2, 3)
    asked.pacing.slow_down()
    asked.told()
    asked.pacing.forget(asked.requests[1])
    asked.loop.pass_time(1.0)
    assert asked.told() == [2]
    assert asked.pacing.stop() == [asked.requests[2], asked.requests[3]]
    asked.loop.pass_time(60.0)
    assert asked.told() == []
