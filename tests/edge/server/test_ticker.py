"""The ticker: it counts the time that has passed, no more, and judges nobody before the loop has read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from gateway.edge.server import ticker
from gateway.edge.server.ticker import MAX_CATCH_UP, TICK, Ticker
from tests.conftest import until

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop]


class Counter:
    """A ticker whose clock a test moves, and the ticks that it has counted."""

    def __init__(self) -> None:
        self.mono = 1000.0
        self.ticks: list[int] = []
        self.ticker = Ticker(lambda: self.mono, self.ticks.append)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, then let the timer come."""
        self.mono += seconds
        self.ticker._poll()


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    counter = Counter()
    counter.ticker.start()
    yield counter
    counter.ticker.stop()


async def test_a_timer_that_comes_early_counts_nothing_and_comes_again(counter: Counter) -> None:
    counter.pass_time(TICK - 0.0004)
    assert counter.ticks == []
    counter.pass_time(0.0004)
    assert counter.ticks == [1]
    assert sum(counter.ticker.lag.counts) == 1


async def test_whenever_the_timer_comes_no_tick_is_counted_twice_or_left_out(counter: Counter) -> None:
    began = counter.mono
    for number in range(10_000):
        counter.pass_time(number * 0.0137 % TICK)
        assert sum(counter.ticks) == int((counter.mono - began) / TICK)


async def test_a_stall_counts_as_a_second_at_most(counter: Counter) -> None:
    counter.pass_time(3600)
    await until(lambda: bool(counter.ticks))
    assert counter.ticks == [MAX_CATCH_UP]
    counter.pass_time(TICK)
    assert counter.ticks == [MAX_CATCH_UP, 1]


async def test_a_failure_of_one_look_does_not_end_the_others() -> None:
    counter = Counter()

    def fail(_: int) -> None:
        raise ZeroDivisionError

    broken = Ticker(lambda: counter.mono, fail)
    broken.start()
    first = broken._timer
    counter.mono += TICK
    with pytest.raises(ZeroDivisionError):
        broken._poll()
    assert broken._timer not in {None, first}
    broken.stop()


@LOOPS
def test_time_does_not_run_fast_on_any_loop(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "TICK", 0.0104)  # in milliseconds neither whole nor half: every timer is rounded
    counted: list[tuple[int, float]] = []

    async def run() -> None:
        began = time.monotonic()
        subject = Ticker(time.monotonic, lambda ticks: counted.append((ticks, time.monotonic() - began)))
        subject.start()
        await until(lambda: len(counted) == 30)
        subject.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    ticks = 0
    for more, elapsed in counted:
        ticks += more
        assert ticks * 0.0104 <= elapsed


@LOOPS
def test_what_came_during_a_stall_is_read_before_anybody_is_judged(loop: Loop) -> None:
    seen: list[str] = []

    class Reader(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            seen.append(data.decode())

    async def run() -> None:
        counter = Counter()
        subject = Ticker(lambda: counter.mono, lambda _: seen.append("judged"))
        ours, theirs = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(Reader, sock=ours)
        subject.start()

        def stall() -> None:
            theirs.send(b"beat")
            counter.mono += 60
            subject._poll()

        asyncio.get_running_loop().call_later(0.01, stall)  # a timer, as every look is called by one
        await until(lambda: len(seen) == 2)
        subject.stop()
        transport.close()
        theirs.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert seen == ["beat", "judged"]
