"""The reference client against a real gateway, over both transports."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.client import Answer, Backoff, Client, Closed, Denied, RequestError, Timeouts, Transport
from gateway.operator_client import Operator
from tests.conftest import House, Serve, until
from tests.rules.said import Forward

QUICK = Backoff(base=0.01, cap=0.05)
PATIENCE = 10.0
TLS = Path(__file__).parent / "config" / "tls"
CERTIFICATE = "certificate.pem"

pytestmark = pytest.mark.parametrize("transport", ["tcp", "websocket"])


class Unlucky(Random):
    """Draws the lowest number of every range and keeps the ranges."""

    def __init__(self) -> None:
        super().__init__(0)
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.ranges.append((a, b))
        return a


@pytest.fixture
async def gateway(serve: Serve) -> House:
    return await serve()


def client(gateway: House, transport: Transport, **options: Any) -> Client:
    port = gateway.tcp if transport == "tcp" else gateway.websocket
    return Client("127.0.0.1", port, transport=transport, **({"backoff": QUICK} | options))


def operator(gateway: House) -> Operator:
    return Operator(gateway.url)


def held(by: Client) -> tuple[set[str], set[str]]:
    """The seats and the conferences a client holds now."""
    return set(by.seats), set(by.conferences)


def online(one: Client) -> bool:
    return one.connected


def asleep(one: Client) -> bool:
    return one.asleep


async def heard(by: Client, kind: str) -> Any:
    """The next unasked message of a kind."""
    async with asyncio.timeout(PATIENCE):
        async for message in by:
            if message["type"] == kind:
                return message
    raise AssertionError(f"it ended before any {kind}")


async def ended(of: Client) -> list[str]:
    """The kinds of all unasked messages until the client does not come back any more."""
    async with asyncio.timeout(PATIENCE):
        return [message["type"] async for message in of]


async def connections(gateway: House) -> int:
    async with operator(gateway) as port:
        counted: int = (await port.json("GET", "/api/connections/count"))["count"]
        return counted


# Being a client


async def test_a_welcome_tells_the_session_and_the_model(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        assert online(one)
        assert one.session
        assert one.model == "epop"
        assert held(one) == (set(), set())
        assert await connections(gateway) == 1
    assert not online(one)
    assert await connections(gateway) == 0


async def test_joining_takes_a_seat_and_leaving_gives_it_back(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        joined = await one.join("weekly", host=True, access="public")
        assert (joined["type"], joined["access"], joined["state"]) == ("joined", "public", "live")
        assert held(one) == ({"concurrent"}, {"weekly"})
        assert (await one.leave("weekly"))["type"] == "left"
        assert held(one) == (set(), set())


async def test_a_refusal_says_the_pool_and_leaves_the_connection(gateway: House, transport: Transport) -> None:
    clients = [client(gateway, transport) for _ in range(11)]
    await asyncio.gather(*(one.connect() for one in clients))
    *ten, last = clients
    await asyncio.gather(*(one.join("weekly") for one in ten))
    with pytest.raises(Denied) as caught:
        await last.join("weekly")
    denial = caught.value
    assert (denial.request, denial.reason, denial.conference) == ("join", "pool_full", "weekly")
    assert (denial.pool, denial.used, denial.limit) == ("concurrent", 10, 10)
    assert last.conferences == frozenset()
    await ten[0].leave("weekly")
    assert (await last.join("weekly"))["type"] == "joined"
    await asyncio.gather(*(one.bye() for one in clients))


async def test_a_refused_second_join_does_not_end_the_membership(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        await one.join("weekly")
        with pytest.raises(Denied, match="already_member"):
            await one.join("weekly")
        assert one.conferences == {"weekly"}


async def test_who_waits_is_told_when_the_conference_starts(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as host, client(gateway, transport) as guest:
        assert (await host.join("weekly", host=True, scheduled=True))["type"] == "waiting"
        assert (await guest.join("weekly"))["type"] == "waiting"
        assert held(guest) == (set(), {"weekly"})
        assert (await host.start("weekly"))["type"] == "started"
        joined = await heard(guest, "joined")
        assert joined["conference"] == "weekly"
        assert held(guest) == ({"concurrent"}, {"weekly"})


async def test_sleeping_and_waking(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        await one.sleep()
        assert asleep(one)
        await one.wake()
        assert not asleep(one)
        await one.join("weekly")
        assert not asleep(one)
        await one.sleep()
        assert asleep(one)
        assert held(one) == (set(), set())


async def test_a_request_of_another_model_is_denied(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        with pytest.raises(Denied, match="request_pro denied: not_allowed"):
            await one.request_pro()


async def test_what_the_gateway_does_not_understand_is_an_error(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        with pytest.raises(RequestError) as caught:
            await one.request("dance")
        assert caught.value.code == "unknown_type"
        with pytest.raises(RequestError, match="bad_field"):
            await one.join("..")
        assert online(one)


async def test_answers_find_their_requests(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        names = [f"room-{number}" for number in range(8)]
        answers = await asyncio.gather(*(one.join(name) for name in names))
        assert [answer["conference"] for answer in answers] == names


async def test_an_answer_that_comes_too_late_still_counts(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport, timeouts=Timeouts(answer=0)) as one:
        with pytest.raises(TimeoutError):
            await one.join("weekly")
        assert (await heard(one, "joined"))["conference"] == "weekly"
        assert one.conferences == {"weekly"}


async def test_unasked_messages_go_to_a_callback_instead(gateway: House, transport: Transport) -> None:
    told: asyncio.Queue[Answer] = asyncio.Queue()
    async with client(gateway, transport, on_message=told.put_nowait) as one:
        await one.join("weekly", host=True, scheduled=True)
        await one.start("weekly")
        async with asyncio.timeout(PATIENCE):
            assert (await told.get())["type"] == "joined"


# Heartbeats


async def test_who_beats_stays_and_who_does_not_is_closed(serve: Serve, transport: Transport) -> None:
    gateway = await serve(heartbeat__interval="0.2s", heartbeat__timeout="0.6s", heartbeat__hello_deadline="0.3s")
    silent = client(gateway, transport, heartbeat=3600.0, backoff=None)
    async with client(gateway, transport) as lively:
        await silent.connect()
        assert await ended(silent) == ["closing"]
        assert silent.end is not None
        assert silent.end.reason == "heartbeat_timeout"
        assert online(lively)
        assert lively.latency is not None


async def test_the_first_beat_falls_anywhere_in_the_interval(gateway: House, transport: Transport) -> None:
    random = Unlucky()
    async with client(gateway, transport, random=random, heartbeat=7.0):
        assert random.ranges == [(0.0, 7.0)]


# Coming back


async def test_a_cut_line_is_repaired_and_the_conferences_joined_again(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        await one.join("weekly", host=True)
        await one.join("daily")
        before = one.session
        one.abort()
        await heard(one, "welcome")
        assert {(await heard(one, "joined"))["conference"] for _ in range(2)} == {"weekly", "daily"}
        assert one.session != before
        assert held(one) == ({"concurrent"}, {"weekly", "daily"})
        assert await connections(gateway) == 1


async def test_joining_again_can_be_left_to_the_application(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport, rejoin=False) as one:
        await one.join("weekly")
        one.abort()
        await heard(one, "welcome")
        assert one.conferences == frozenset()


async def test_a_session_within_the_window_is_resumed_with_all_it_holds(serve: Serve, transport: Transport) -> None:
    gateway = await serve(heartbeat__resume_window="30s")
    async with client(gateway, transport) as one:
        await one.join("weekly")
        before = one.session
        one.abort()
        welcome = await heard(one, "welcome")
        assert welcome["conferences"] == ["weekly"]
        assert one.session == before
        assert held(one) == ({"concurrent"}, {"weekly"})
        assert (await one.leave("weekly"))["type"] == "left"


async def test_who_sleeps_comes_back_asleep(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        await one.sleep()
        one.abort()
        await heard(one, "asleep")
        assert asleep(one)


async def test_a_request_on_a_cut_line_fails(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        joining = asyncio.ensure_future(one.join("weekly"))
        await asyncio.sleep(0)  # lets it be sent
        one.abort()
        with pytest.raises(Closed):
            await joining
        with pytest.raises(Closed):
            await one.join("daily")
        async with asyncio.timeout(PATIENCE):
            await one.ready()
        assert (await one.join("daily"))["type"] == "joined"


async def test_who_is_kicked_stays_away(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one, operator(gateway) as port:
        await port.json("DELETE", f"/api/connections/{one.session}")
        assert await ended(one) == ["closing"]
        assert one.end is not None
        assert (one.end.reason, one.end.reconnect) == ("kicked", False)
        with pytest.raises(Closed, match="kicked"):
            await one.ready()
        with pytest.raises(Closed, match="kicked"):
            await one.join("weekly")
    assert await connections(gateway) == 0


async def test_the_newer_of_two_on_one_device_replaces_the_older(gateway: House, transport: Transport) -> None:
    same = {"account": "ann@example.org", "device": "laptop"}
    async with client(gateway, transport, **same) as older, client(gateway, transport, **same) as newer:
        assert await ended(older) == ["closing"]
        assert older.end is not None
        assert older.end.reason == "replaced"
        assert online(newer)


async def test_a_refused_hello_is_raised(serve: Serve, transport: Transport) -> None:
    gateway = await serve(license__model="trueconf", license__trueconf__online=1)
    async with client(gateway, transport, account="ann@example.org", device="laptop") as ann:
        assert ann.seats == ("online",)
        assert "messenger" in ann.rights
        bob = client(gateway, transport, account="bob@example.org", device="laptop")
        with pytest.raises(Denied) as caught:
            await bob.connect()
        denial = caught.value
        assert (denial.request, denial.pool, denial.used, denial.limit) == ("hello", "online", 1, 1)
        assert not online(bob)
    await bob.connect()
    assert bob.seats == ("online",)
    await bob.bye()


async def test_a_draining_gateway_is_left_to_come_back_later(gateway: House, transport: Transport) -> None:
    one = client(gateway, transport)
    await one.connect()
    await gateway.gateway.close(drain=0)
    closing = await heard(one, "closing")
    assert (closing["reason"], closing["reconnect"]) == ("drained", True)
    assert one.end is None  # it still tries
    await one.bye()
    assert one.end is not None


# TLS


async def test_over_tls_the_gateway_must_prove_itself(serve: Serve, transport: Transport) -> None:
    files = {
        f"listen__tls_{name}": str(TLS / file) for name, file in (("certificate", CERTIFICATE), ("key", "key.pem"))
    }
    gateway = await serve(**files)
    trusting = ssl.create_default_context(cafile=TLS / CERTIFICATE)
    async with client(gateway, transport, ssl=trusting) as one:
        assert (await one.join("weekly"))["type"] == "joined"
    with pytest.raises(ssl.SSLCertVerificationError):
        await client(gateway, transport, ssl=ssl.create_default_context()).connect()


# Ends and failures


async def test_bye_twice_is_harmless_and_a_new_session_may_follow(gateway: House, transport: Transport) -> None:
    one = client(gateway, transport)
    await one.connect()
    await one.join("weekly")
    before = one.session
    await one.bye()
    await one.bye()
    await one.connect()
    assert one.session != before
    assert one.conferences == frozenset()
    await one.bye()


async def test_connecting_twice_is_a_mistake(gateway: House, transport: Transport) -> None:
    async with client(gateway, transport) as one:
        with pytest.raises(RuntimeError):
            await one.connect()
        assert online(one)


async def test_where_nobody_listens_the_fault_is_raised(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    one = Client("127.0.0.1", port, transport=transport)
    with pytest.raises(ConnectionRefusedError):
        await one.connect()
    assert one.end is not None


async def test_a_door_that_never_answers_is_given_up(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        one = Client("127.0.0.1", port, transport=transport, timeouts=Timeouts(welcome=0.05))
        with pytest.raises(TimeoutError):
            await one.connect()
        assert not online(one)


# -- waiting in line ---------------------------------------------------------------------------------------------------


async def test_a_join_waits_in_line_and_its_positions_are_told(serve: Serve, transport: Transport) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    positions: list[int] = []
    async with client(house, transport) as ann, client(house, transport) as bob:
        await ann.join("weekly")
        waits = asyncio.create_task(
            bob.join("weekly", wait=60, on_queued=lambda message: positions.append(message["position"]))
        )
        await until(lambda: positions == [1])
        await ann.leave("weekly")
        async with asyncio.timeout(PATIENCE):
            assert (await waits)["type"] == "joined"
        assert held(bob) == ({"concurrent"}, {"weekly"})


async def test_a_join_that_is_cancelled_leaves_the_line(serve: Serve, transport: Transport) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    async with client(house, transport) as ann, client(house, transport) as bob:
        await ann.join("weekly")
        waits = asyncio.create_task(bob.join("weekly", wait=60))
        await until(lambda: len(house.runtime.state.lines) == 1)
        await asyncio.sleep(0)
        waits.cancel()
        await until(lambda: not house.runtime.state.lines)


async def test_a_wait_outlasts_the_time_of_an_answer(serve: Serve, transport: Transport) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    async with client(house, transport) as ann, client(house, transport, timeouts=Timeouts(answer=0.15)) as bob:
        await ann.join("weekly")
        waits = asyncio.create_task(bob.join("weekly", wait=60))
        await until(lambda: len(house.runtime.state.lines) == 1)
        await asyncio.sleep(0.25)
        assert not waits.done()
        await ann.leave("weekly")
        async with asyncio.timeout(PATIENCE):
            assert (await waits)["type"] == "joined"


async def test_a_client_waits_to_be_welcomed_and_beats_meanwhile(serve: Serve, transport: Transport) -> None:
    house = await serve(license__model="floating", license__floating__limit=1)
    told: list[Any] = []
    async with client(house, transport) as ann:
        bob = client(house, transport, wait=60, on_queued=told.append, heartbeat=0.02, timeouts=Timeouts(welcome=0.3))
        comes = asyncio.create_task(bob.connect())
        await until(lambda: len(told) == 1)
        beats = sum(each.heartbeats for each in house.runtime.client_listeners)
        await until(lambda: sum(each.heartbeats for each in house.runtime.client_listeners) > beats + 3)
        assert not comes.done()
        await ann.bye()
        async with asyncio.timeout(PATIENCE):
            await comes
        assert bob.seats == ("seats",)
        await bob.bye()


async def test_a_wait_that_is_over_says_how_long_it_was(serve: Serve, transport: Transport) -> None:
    time = Forward()
    house = await serve(license__model="epop", license__epop__users=1, clock=time.clock)
    async with client(house, transport) as ann, client(house, transport) as bob:
        await ann.join("weekly")
        waits = asyncio.create_task(bob.join("weekly", wait=60))
        await until(lambda: len(house.runtime.state.lines) == 1)
        time.pass_(house, 60)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Denied) as denial:
                await waits
        assert denial.value.reason == "pool_full"
        assert denial.value.waited is not None
        assert denial.value.waited >= 60


async def test_it_says_whether_somebody_uses_it_and_follows_what_becomes_of_it(
    serve: Serve, transport: Transport
) -> None:
    house = await serve(
        license__model="floating",
        license__floating__limit=1,
        license__floating__asleep_counts="false",
        license__preempt="true",
    )
    await house.http("PUT", "/api/groups/vip", json={"accounts": ["vip"], "priority": 1})
    ann = client(house, transport, account="ann", heartbeat=0.05)
    async with ann:
        ann.say_active(False)
        await until(lambda: bool(house.runtime.state.sessions.idle))
        async with client(house, transport, account="vip"):
            assert (await heard(ann, "asleep"))["reason"] == "preempted"
            assert asleep(ann)
            ann.say_active(True, wait=60)
            assert (await heard(ann, "queued"))["position"] == 1
        assert (await heard(ann, "awake"))["seats"] == ["seats"]
        assert not asleep(ann)
        ann.say_active(None)
        assert ann.latency is not None
