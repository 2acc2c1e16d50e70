"""When Python looks for garbage: seldom, but what others leave behind does not stay."""

from __future__ import annotations

import gc
import math
import time
import weakref
from collections.abc import Iterator

import pytest

from gateway.edge import gateway
from gateway.edge.api.http_server import HttpConnection
from gateway.edge.garbage import ALL_EVERY, NEW_EVERY, THRESHOLDS, GarbageCollection
from gateway.edge.machine import Clock
from tests.conftest import Serve, until
from tests.edge.raw import Peer

MALFORMED = (b"\x00\xff garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b'{"type":"hello"}\n\n')


class Circle:
    """Knows itself, so that counting references alone never lets it go."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _only_when_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gateway, "GarbageCollection", GarbageCollection)
    gc.unfreeze()
    gc.collect()
    gc.disable()
    gc.unfreeze()  # Python 3.12 freezes what is immortal when it collects
    yield
    gc.enable()
    gc.collect()
    gc.freeze()


def test_what_is_new_is_looked_through_every_minute() -> None:
    seconds = [0.0]
    garbage = GarbageCollection(lambda: seconds[0])
    left = weakref.ref(Circle())
    seconds[0] = math.nextafter(NEW_EVERY, 0)
    garbage.poll()
    assert left() is not None
    seconds[0] = NEW_EVERY
    garbage.poll()
    assert left() is None
    left = weakref.ref(Circle())
    garbage.poll()
    assert left() is not None


def test_what_was_old_or_frozen_before_nobody_could_reach_it_is_gone_within_an_hour() -> None:
    seconds = [0.0]
    garbage = GarbageCollection(lambda: seconds[0])
    old, frozen = Circle(), Circle()
    gc.collect(0)
    gc.collect(1)
    gc.freeze()
    left = [weakref.ref(old), weakref.ref(frozen)]
    del old, frozen
    seconds[0] = math.nextafter(ALL_EVERY, 0)
    garbage.poll()
    assert [each() is None for each in left] == [False, False]
    seconds[0] = ALL_EVERY
    garbage.poll()
    assert [each() is None for each in left] == [True, True]
    assert gc.get_freeze_count() > 0


async def test_malformed_requests_leave_nothing_in_memory_after_a_minute(serve: Serve) -> None:
    seconds = [1000.0]
    house = await serve(clock=Clock(lambda: seconds[0], time.time))
    house.tick_by_hand()
    for data in MALFORMED * 5:
        async with await Peer.to(house.operator) as client:
            await client.send(data)
            await client.rest()
    server = house.gateway.operator.server
    assert server is not None
    await until(lambda: not server.connections)
    house.runtime.advance(1)
    seconds[0] += NEW_EVERY
    house.runtime.advance(1)
    assert sum(isinstance(each, HttpConnection) for each in gc.get_objects()) == 0


async def test_a_gateway_looks_seldom_and_once_closed_leaves_python_as_it_was(serve: Serve) -> None:
    before = gc.get_threshold()
    assert gc.get_freeze_count() == 0
    house = await serve()
    assert gc.get_threshold() == THRESHOLDS != before
    assert THRESHOLDS[0] >= 50_000
    assert gc.get_freeze_count() > 0
    await house.gateway.close(drain=0)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
