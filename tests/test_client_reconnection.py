"""How the reference client comes back: how long it waits, what it does again, and that nothing stops it halfway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from gateway import client_pacing
from gateway.client import Answer, Backoff, Client, Closed, Transport
from gateway.client_connection import ConnectionEnd
from gateway.client_reconnection import Reconnection
from gateway.edge.server.ticker import TICK
from tests.conftest import House, Serve, until

PATIENCE = 10.0
AT_ONCE = Backoff(base=0.0)

both = pytest.mark.parametrize("transport", ["tcp", "websocket"])


class Lowest(Random):
    """Draws the lowest number of every range, and keeps the upper ends; `enough` is set when there are so many."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(0)
        self.number = number
        self.highs: list[float] = []
        self.enough = asyncio.Event()

    def uniform(self, a: float, b: float) -> float:
        self.highs.append(b)
        if len(self.highs) == self.number:
            self.enough.set()
        return a


def client(house: House, transport: Transport, **options: Any) -> Client:
    port = house.tcp if transport == "tcp" else house.websocket
    return Client("127.0.0.1", port, transport=transport, **options)


async def comes(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


# -- how long it waits -------------------------------------------------------------------------------------------------


@both
async def test_the_wait_grows_with_every_attempt_up_to_its_bound(serve: Serve, transport: Transport) -> None:
    house, random = await serve(), Lowest(8)
    async with client(house, transport, heartbeat=7.0, random=random) as one:
        for listener in house.runtime.client_listeners:
            listener.close()
        one.abort()
        await comes(random.enough)
    assert random.highs[:8] == [7.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


async def test_only_a_connection_that_stood_for_a_while_ends_the_row_of_failures(serve: Serve) -> None:
    house, random, now = await serve(), Lowest(), [0.0]
    async with client(house, "tcp", heartbeat=7.0, random=random, clock=lambda: now[0]) as one:
        for stood in (1.0, 29.0, 30.0, 1.0):
            now[0] += stood
            one.abort()
            assert (await anext(one))["type"] == "welcome"
    waits = [high for high in random.highs if high != 7.0]
    assert waits == [1.0, 2.0, 1.0, 2.0]


# -- what it does again ------------------------------------------------------------------------------------------------


@both
async def test_a_loss_while_joining_again_forgets_no_conference(serve: Serve, transport: Transport) -> None:
    """The line is cut once more while the second of three conferences is joined again."""
    house, rooms = await serve(), ["daily", "weekly", "yearly"]
    told: list[tuple[str, Any]] = []
    all_joined = asyncio.Event()

    def hear(message: Answer) -> None:
        told.append((message["type"], message.get("conference")))
        if [kind for kind, _ in told] == ["welcome", "joined"]:
            asyncio.get_running_loop().call_soon(one.abort)  # after the next request was sent
        if len(told) == 6:
            all_joined.set()

    one = client(house, transport, backoff=AT_ONCE, on_message=hear)
    async with one:
        for room in rooms:
            await one.join(room)
        one.abort()
        await comes(all_joined)
        assert one.conferences == set(rooms)
        assert await house.http("GET", "/api/connections/count") == (200, {"count": 1, "asleep": 0, "idle": 0})
    again = [("joined", room) for room in rooms]
    assert told == [("welcome", None), again[0], ("welcome", None), *again]


@both
async def test_a_loss_while_going_to_sleep_again_is_made_good(serve: Serve, transport: Transport) -> None:
    house = await serve()
    told: list[str] = []
    asleep = asyncio.Event()

    def hear(message: Answer) -> None:
        told.append(message["type"])
        if told == ["welcome"]:
            one.abort()
        if told[-1] == "asleep":
            asleep.set()

    one = client(house, transport, backoff=AT_ONCE, on_message=hear)
    async with one:
        await one.sleep()
        one.abort()
        await comes(asleep)
        assert one.asleep
    assert told == ["welcome", "welcome", "asleep"]


# -- nothing stops it halfway ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", ["soon", [], True, -1, 10**400, None], ids=repr)
async def test_a_gateway_that_names_no_time_is_come_back_to(stated: Any) -> None:
    """No gateway of ours says such things, so that something else must."""
    welcome = {"type": "welcome", "session": "s-1", "heartbeat_seconds": 1e-9, "timeout_seconds": "long", "seats": []}
    closing = {"type": "closing", "reason": "drained", "code": 1012, "reconnect": True, "retry_after_seconds": stated}

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        said = [welcome, closing] if len(served) == 1 else [welcome]
        writer.writelines(json.dumps(message).encode() + b"\n" for message in said)
        if len(said) == 2:
            writer.close()

    served: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        random = Lowest()
        one = Client(port=server.sockets[0].getsockname()[1], backoff=AT_ONCE, random=random)
        await one.connect()
        async with asyncio.timeout(PATIENCE):
            kinds = [(await anext(one))["type"] for _ in range(2)]
            await one.ready()
        assert kinds == ["closing", "welcome"]
        assert random.highs == [0.1, 0.0, 0.1]
        for writer in served:
            writer.close()
        await one.bye()


async def test_who_waits_hears_of_a_fault_of_the_application(serve: Serve) -> None:
    house = await serve()

    def hear(message: Answer) -> None:
        if message["type"] == "joined":
            raise ZeroDivisionError

    async with client(house, "tcp", backoff=AT_ONCE, on_message=hear) as one:
        await one.join("weekly")
        one.abort()
        async with asyncio.timeout(PATIENCE):
            assert [message async for message in one] == []
        with pytest.raises(Closed, match="ZeroDivisionError"):
            await one.ready()
        assert one.end is not None
        assert isinstance(one.end.error, ZeroDivisionError)


async def test_who_is_told_to_stay_away_makes_no_attempt() -> None:
    attempts: list[int] = []
    given_up: list[ConnectionEnd] = []

    async def attempt() -> None:
        attempts.append(1)

    end = ConnectionEnd(code=1000)
    reconnection = Reconnection(AT_ONCE, Lowest(), attempt, given_up.append)
    reconnection.start(end, 0.0)
    await until(lambda: not reconnection.running)
    assert (attempts, given_up) == ([], [end])


@contextlib.asynccontextmanager
async def hurried(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The gateway's ticks, in which it lets its clients say more, come ten times as often, and clients spread what they
    ask over a tenth of the time.
    """
    monkeypatch.setattr(client_pacing, "FIRST_GAP", client_pacing.FIRST_GAP / 10)

    async def pass_time() -> None:
        while True:
            await asyncio.sleep(TICK / 10)
            house.runtime.advance(1)

    passing = asyncio.create_task(pass_time())
    try:
        yield
    finally:
        passing.cancel()
        await asyncio.wait({passing})


# -- within the rate ---------------------------------------------------------------------------------------------------


@both
async def test_a_member_of_more_conferences_than_may_be_joined_at_once_gets_back_into_all(
    serve: Serve, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve(listen__message_rate=400, listen__message_burst=6)
    rooms = [f"room-{number}" for number in range(9)]
    all_joined, again = asyncio.Event(), set[Any]()

    def hear(message: Answer) -> None:
        if message["type"] == "joined":
            again.add(message.get("conference"))
        if len(again) == len(rooms):
            all_joined.set()

    one = client(house, transport, backoff=AT_ONCE, on_message=hear)
    async with hurried(house, monkeypatch), one:
        for room in rooms:
            await one.join(room)
        one.abort()
        await comes(all_joined)
        assert one.conferences == set(rooms)
        (session,) = house.runtime.state.sessions.by_number.values()
        assert [room.id for room in session.conferences] == rooms
        assert house.runtime.state.numbers.sessions.last == 2  # it came back once, and stayed


@both
async def test_many_requests_at_once_are_all_answered_in_their_order(
    serve: Serve, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve(listen__message_rate=400, listen__message_burst=20)
    rooms = [f"room-{number}" for number in range(26)]
    async with hurried(house, monkeypatch), client(house, transport, backoff=None) as one:
        async with asyncio.timeout(2 * PATIENCE):
            answers = await asyncio.gather(*(one.join(room) for room in rooms))
        assert [answer["conference"] for answer in answers] == rooms
        assert one.conferences == set(rooms)
        (session,) = house.runtime.state.sessions.by_number.values()
        assert [room.id for room in session.conferences] == rooms
        assert house.runtime.dispatcher.refusals == {}  # nothing was asked for twice that had been done


@both
async def test_a_bye_that_comes_while_the_client_slows_down_is_heard(
    serve: Serve, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve(listen__message_rate=4, listen__message_burst=2)
    one = client(house, transport, backoff=None)
    await one.connect()
    joins = [asyncio.create_task(one.join(room)) for room in ("a", "b", "c")]
    async with hurried(house, monkeypatch), asyncio.timeout(PATIENCE):
        assert (await anext(one))["type"] == "error"
        await one.bye()
    await asyncio.wait(joins)
    assert one.end is not None
    assert one.end.error is None
    await until(lambda: sum(listener.closed.get("bye", 0) for listener in house.runtime.client_listeners) == 1)
    assert all(isinstance(join.exception(), Closed | None) for join in joins)
