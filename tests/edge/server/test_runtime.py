"""The life and the end of sessions: deadlines, causes, takeover and resume, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.core.counting.session import Session
from gateway.core.wire.close_codes import ENDINGS
from gateway.edge.machine import Clock
from gateway.edge.server.connection import Connection
from gateway.edge.server.ticker import MAX_CATCH_UP, TICK
from tests.conftest import House, Serve, until
from tests.edge.conftest import Connect
from tests.edge.raw import BEAT, HELLO, Peer, WebSocketPeer
from tests.wire_client import PATIENCE, WebSocketWire

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])
SECOND = round(1 / TICK)


class Hands:
    """A clock whose hands a test moves."""

    def __init__(self) -> None:
        self.mono = 1000.0
        self.wall = 1_800_000_000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.mono, lambda: self.wall)

    def advance(self, house: House, seconds: float) -> None:
        """Live through so many seconds."""
        for _ in range(round(seconds / TICK)):
            self.mono += TICK
            self.wall += TICK
            house.runtime.advance(1)


def listener_of(house: House, transport: str) -> Any:
    return house.runtime.tcp if transport == "tcp" else house.runtime.websocket


def empty(house: House) -> bool:
    """Whether nothing of any client is left."""
    runtime = house.runtime
    admission = runtime.state
    seats = [book.used for ledger in admission.ledgers for book in ledger.pools.values()]
    held = [
        *(
            len(held)
            for listener in runtime.client_listeners
            for held in (
                listener.connections,
                listener.connections.arriving,
                listener.connections.by_network,
            )
        ),
        *(len(view) for view in (runtime.timer_wheel, runtime.state.resumable, admission.conferences.by_id)),
        *(len(view) for view in (admission.sessions, admission.sessions.by_account, admission.sessions.by_device)),
    ]
    return not any(held) and not any(seats)


# -- silence -------------------------------------------------------------------------------------------------------


@BOTH
async def test_silence_ends_a_session_at_the_timeout_and_not_before(transport: str, serve: Serve) -> None:
    house = await serve()
    house.tick_by_hand()
    wire = await house.welcomed(transport)
    await wire.ask("join", conference="weekly")
    house.runtime.advance(75 * SECOND - 1)
    assert await house.used("concurrent") == 1
    house.runtime.advance(1)
    assert await house.used("concurrent") == 0
    (closing,) = await wire.gone()
    assert closing == {"type": "closing", "reason": "heartbeat_timeout", "code": 4408, "reconnect": True}
    if isinstance(wire, WebSocketWire):
        assert wire.code == 4408


@BOTH
async def test_heartbeats_keep_a_session_forever(transport: str, serve: Serve) -> None:
    house = await serve()
    house.tick_by_hand()
    wire = await house.welcomed(transport)
    for _ in range(10):
        house.runtime.advance(74 * SECOND)
        await wire.say("heartbeat")
        assert await wire.hear() == {"type": "ack"}
    house.runtime.advance(75 * SECOND)
    assert (await wire.gone())[-1]["reason"] == "heartbeat_timeout"


@BOTH
async def test_a_late_look_leaves_time_to_read_the_last_message(transport: str, serve: Serve) -> None:
    """Whoever is sent away just before a stall of the process, like all clients at once, still hears why."""
    house = await serve()
    house.tick_by_hand()
    wire = await house.welcomed(transport, account="ann")
    house.runtime.close_all("unregistered")
    house.runtime.advance(MAX_CATCH_UP)
    assert await house.http("GET", "/livez") == (200, "live\n")  # the loop goes on, and the client has not read yet
    (last,) = await wire.gone()
    assert (last["type"], last["reason"]) == ("closing", "unregistered")
    await wire.close()
    await until(lambda: empty(house))
    assert listener_of(house, transport).closed == {"unregistered": 1}
    if isinstance(wire, WebSocketWire):
        assert wire.code == ENDINGS["unregistered"].code


@BOTH
async def test_asleep_a_longer_silence_is_allowed_and_awake_it_is_not(transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    house.tick_by_hand()
    sleeper = await house.welcomed(transport, account="ann")
    waker = await house.welcomed(transport, account="bob")
    for wire in (sleeper, waker):
        assert (await wire.ask("sleep"))["type"] == "asleep"
    house.runtime.advance(1799 * SECOND)
    assert (await waker.ask("wake"))["type"] == "awake"
    house.runtime.advance(SECOND)
    assert (await sleeper.gone())[-1]["reason"] == "heartbeat_timeout"
    house.runtime.advance(74 * SECOND)
    assert (await waker.gone())[-1]["reason"] == "heartbeat_timeout"


async def test_after_a_stall_what_was_sent_meanwhile_is_read_before_anybody_is_reaped(
    serve: Serve, greet: Connect
) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), heartbeat__interval="1s", heartbeat__timeout="2s")
    alive, silent = await greet(house), await greet(house)
    hands.advance(house, 1.75)
    await alive.send(BEAT + b"\n")  # the loop has no turn to read it before it looks
    hands.mono += 60
    house.runtime.ticker._poll()
    assert len(house.runtime.tcp.connections) == 2
    assert await alive.hear() == {"type": "ack"}
    assert (await silent.gone())[-1]["reason"] == "heartbeat_timeout"
    await alive.send(BEAT + b"\n")
    assert await alive.hear() == {"type": "ack"}


async def test_a_late_look_reads_what_turns_of_the_loop_have_left_in_the_kernel(serve: Serve, greet: Connect) -> None:
    house = await serve(heartbeat__interval="1s", heartbeat__timeout="2s", listen__transport="epoll")
    house.tick_by_hand()
    alive, silent = await greet(house), await greet(house)
    for _ in range(7):
        house.runtime.advance(1)
    await alive.send(BEAT + b"\n")
    house.runtime.advance(2)
    assert len(house.runtime.tcp.connections.connected) == 1
    assert await alive.hear() == {"type": "ack"}
    assert (await silent.gone())[-1]["reason"] == "heartbeat_timeout"


async def test_a_stall_of_ours_is_no_silence_of_theirs(serve: Serve, greet: Connect) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), heartbeat__interval="1s", heartbeat__timeout="4s")
    client = await greet(house)
    tick = house.runtime.timer_wheel.tick
    hands.mono += 3600
    house.runtime.ticker._poll()
    await until(lambda: house.runtime.timer_wheel.tick > tick)
    assert house.runtime.timer_wheel.tick - tick <= 4
    await client.send(BEAT + b"\n")
    assert await client.hear() == {"type": "ack"}


# -- causes --------------------------------------------------------------------------------------------------------

End = Callable[[House, Peer, str], Awaitable[None]]


async def bye(_: House, peer: Peer, __: str) -> None:
    await peer.say(b'{"type":"bye"}')


async def close(_: House, peer: Peer, __: str) -> None:
    await peer.close()


async def reset(_: House, peer: Peer, __: str) -> None:
    peer.reset()


async def fall_silent(house: House, _: Peer, __: str) -> None:
    house.runtime.advance(75 * SECOND)


async def come_again(house: House, _: Peer, transport: str) -> None:
    again = await house.welcomed(transport, account="ann", device="laptop")
    await again.drop()
    await until(lambda: len(house.runtime.state.sessions) == 0)


async def speak_nonsense(_: House, peer: Peer, __: str) -> None:
    await peer.say(b"nonsense")


async def flood(house: House, peer: Peer, transport: str) -> None:
    for _ in range(120):
        await peer.say(BEAT)
    await until(lambda: listener_of(house, transport).heartbeats > 0)
    for _ in range(120):
        await peer.say(BEAT)
    await until(lambda: len(house.runtime.state.sessions) == 0)


async def never_read(house: House, peer: Peer, _: str) -> None:
    (connection,) = house.runtime.connections()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    connection.pause_writing()


async def kick(house: House, _: Peer, __: str) -> None:
    assert (await house.http("DELETE", "/api/accounts/ann/connections"))[0] == 200


async def delete(house: House, _: Peer, __: str) -> None:
    assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204


async def drain(house: House, _: Peer, __: str) -> None:
    await house.runtime.drain(0)


ENDS: dict[str, End] = {
    "bye": bye,
    "closed": close,
    "reset": reset,
    "heartbeat_timeout": fall_silent,
    "replaced": come_again,
    "protocol_error": speak_nonsense,
    "too_fast": flood,
    "slow_consumer": never_read,
    "kicked": kick,
    "account_deleted": delete,
    "drained": drain,
}
STATES: dict[str, list[bytes]] = {
    "online": [],
    "in a conference": [b'{"type":"join","conference":"live"}'],
    "waiting": [b'{"type":"join","conference":"later","scheduled":true}'],
    "asleep": [b'{"type":"sleep"}'],
}


async def arrive(peer: Peer, state: str) -> None:
    """Say hello and go into a state."""
    await peer.say(b'{"type":"hello","protocol":1,"account":"ann","device":"laptop"}')
    assert (await peer.hear())["type"] == "welcome"
    for message in STATES[state]:
        await peer.say(message)
        assert (await peer.hear())["type"] in {"joined", "waiting", "asleep"}


def test_every_cause_has_its_way_to_happen() -> None:
    elsewhere = {"hello_timeout", "denied", "rejected"}  # before a session; tested below
    assert ENDS.keys() | elsewhere | {"unregistered", "store_unavailable"} == ENDINGS.keys()


@BOTH
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cause", ENDS)
async def test_an_end_has_its_cause_frees_every_seat_and_leaves_nothing(
    cause: str, state: str, transport: str, serve: Serve, peer: Connect
) -> None:
    timeout = {"heartbeat__asleep_timeout": "75s"}
    rate = {"listen__message_rate": 1, "listen__message_burst": 20}  # a flood is one on a slow machine too
    house = await serve(license__model="trueconf", listen__max_connections_per_address=9, **timeout, **rate)
    client: Peer = await peer(house, transport)
    await arrive(client, state)
    await ENDS[cause](house, client, transport)
    await client.close()
    await until(lambda: not any(listener.connections.held for listener in house.runtime.client_listeners))
    closed = dict(listener_of(house, transport).closed)
    assert closed.pop(cause) == 1
    assert set(closed) <= ({"closed", "reset"} if cause == "replaced" else set())
    for account in [str(key) for key in house.runtime.state.primary.pools["pro"].leases]:
        if cause != "account_deleted":
            await house.http("DELETE", f"/api/pro/{account}")
    hosts = next(ledger for ledger in house.runtime.state.ledgers if ledger.model.start_pool)
    for account in [str(key) for key in hosts.pools["hosts"].leases]:
        await house.http("DELETE", f"/api/hosts/{account}")
    if cause != "account_deleted" or state != "in a conference":  # a deleted account's lease runs out by itself
        assert empty(house)


@BOTH
async def test_the_causes_before_a_session(transport: str, serve: Serve, peer: Connect) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, license__trueconf__pro=1)
    house.tick_by_hand()
    await house.welcomed("tcp", account="bob")
    refused: Peer = await peer(house, transport)
    await refused.say(b'{"type":"hello","protocol":1,"account":"ann"}')
    (denied,) = await refused.gone()
    assert (denied["reason"], denied["pool"], denied["used"], denied["limit"]) == ("pool_full", "online", 1, 1)
    silent: Peer = await peer(house, transport)
    await until(lambda: listener_of(house, transport).connections.waiting == 1)
    house.runtime.advance(5 * SECOND)
    assert (await silent.gone())[-1]["reason"] == "hello_timeout"
    await until(lambda: sum(listener.connections.held for listener in house.runtime.client_listeners) == 1)
    assert listener_of(house, transport).closed == {"denied": 1, "hello_timeout": 1}


async def test_seats_are_free_the_moment_the_gateway_knows(serve: Serve, greet: Connect) -> None:
    house = await serve(license__epop__users=1)
    first = await greet(house)
    await first.say(b'{"type":"join","conference":"c"}')
    assert (await first.hear())["type"] == "joined"
    second = await house.welcomed()
    assert (await second.ask("join", conference="c"))["reason"] == "pool_full"
    first.reset()
    await until(lambda: len(house.runtime.state.sessions) == 1)
    assert (await second.ask("join", conference="c"))["type"] == "joined"


async def test_nobody_who_left_is_kept_in_memory_and_no_cycle_needs_the_collector(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=40)
    gc.collect()
    gc.disable()
    try:
        wires = []
        for number in range(20):
            for transport in ("tcp", "websocket"):
                wire = await house.welcomed(transport, account=f"left-{number}-{transport}", device="d")
                await wire.ask("join", conference=f"c{number % 3}", host=number < 3)
                wires.append(wire)
        for number, wire in enumerate(wires):
            await (wire.drop() if number % 2 else wire.close())
        await until(lambda: not any(listener.connections.held for listener in house.runtime.client_listeners))
        assert not len(house.runtime.state.sessions)
        assert not len(house.runtime.timer_wheel)
        await asyncio.sleep(0)
        alive = [each for each in gc.get_objects() if isinstance(each, Connection | Session)]
        kept = [each.account for each in alive if isinstance(each, Session)]
        assert [account for account in kept if account is not None and account.startswith("left-")] == []
        assert [each for each in alive if isinstance(each, Connection) and each.shared.owner is house.runtime] == []
    finally:
        gc.enable()


# -- takeover and resume -------------------------------------------------------------------------------------------


@BOTH
async def test_the_same_device_again_replaces_its_connection_without_a_second_seat(
    transport: str, serve: Serve
) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=1)
    old = await house.welcomed(transport, account="ann", device="laptop")
    new = await house.welcomed(transport, account="ANN", device="laptop")
    (closing,) = await old.gone()
    assert (closing["reason"], closing["code"], closing["reconnect"]) == ("replaced", 4409, False)
    assert await house.used("online") == 1
    assert (await new.ask("heartbeat"))["type"] == "ack"


@pytest.mark.parametrize(("mode", "answers"), [("reject", ["denied"]), ("allow", ["welcome", "welcome"])])
async def test_on_duplicate_may_reject_or_allow(mode: str, answers: list[str], serve: Serve) -> None:
    house = await serve(license__on_duplicate=mode)
    first = await house.welcomed(account="ann", device="laptop")
    second = await house.connect()
    answer = await second.hello(account="ann", device="laptop")
    assert answer["type"] == answers[-1]
    assert answer.get("reason", "duplicate") == "duplicate"
    assert (await first.ask("heartbeat"))["type"] == "ack"
    assert len(house.runtime.state.sessions) == len(answers) if mode == "allow" else 1


async def test_a_takeover_from_another_address_is_refused_where_claims_are_not_proven(serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    token = (await old.hello(account="ann", device="laptop"))["resume"]
    thief = await house.connect("tcp", "127.0.0.2")
    assert (await thief.hello(account="ann", device="laptop"))["reason"] == "duplicate"
    owner = await house.connect("tcp", "127.0.0.3")
    assert (await owner.hello(account="ann", device="laptop", resume=token))["type"] == "welcome"
    assert (await old.gone())[-1]["reason"] == "replaced"


@BOTH
async def test_resume_continues_the_session_while_the_old_connection_is_open(transport: str, serve: Serve) -> None:
    house = await serve()
    old = await house.connect("tcp")
    before = await old.hello(account="ann", device="laptop")
    await old.ask("join", conference="weekly")
    new = await house.connect(transport)
    after = await new.hello(resume=before["resume"])
    assert after["session"] == before["session"]
    assert after["resume"] != before["resume"]
    assert after["conferences"] == ["weekly"]
    assert after["seats"] == ["concurrent"]
    assert (await old.gone())[-1]["reason"] == "replaced"
    assert await house.used("concurrent") == 1
    assert (await new.ask("leave", conference="weekly"))["type"] == "left"
    _, listed = await house.http("GET", "/api/connections")
    assert [(each["id"], each["transport"]) for each in listed["items"]] == [(before["session"], transport)]


async def test_a_resume_may_not_change_the_facts(serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    token = (await old.hello(account="ann", device="laptop"))["resume"]
    new = await house.connect()
    for field in ({"account": "bob"}, {"device": "phone"}, {"kind": "room"}):
        answer = await new.hello(resume=token, **field)
        assert (answer["type"], answer["code"]) == ("error", "bad_field")
    assert (await new.hello(resume=token, account="Ann", device="laptop", kind="app"))["type"] == "welcome"


@pytest.mark.parametrize("how", ["used", "unknown", "forged", "odd"])
async def test_a_stale_token_makes_an_ordinary_new_session(how: str, serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    first = await old.hello(account="ann")
    token = first["resume"]
    if how == "used":
        await (await house.connect()).hello(resume=token)
    else:
        token = {"unknown": "r-ff.0.00", "forged": token[:-1] + ("0" if token[-1] != "0" else "1"), "odd": "é"}[how]
    answer = await (await house.connect()).hello(resume=token, account="bob")
    assert answer["type"] == "welcome"
    assert answer["session"] != first["session"]
    assert "conferences" not in answer


@BOTH
async def test_within_the_window_a_lost_session_keeps_its_seat_and_may_come_back(
    transport: str, serve: Serve, peer: Connect
) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), heartbeat__resume_window="10s")
    lost: Peer = await peer(house, transport)
    await lost.say(HELLO)
    before = await lost.hear()
    await lost.say(b'{"type":"join","conference":"weekly"}')
    await lost.hear()
    lost.reset()
    await until(lambda: bool(house.runtime.state.resumable))
    hands.advance(house, 9)
    assert await house.used("concurrent") == 1
    back = await house.connect(transport)
    after = await back.hello(resume=before["resume"])
    assert (after["session"], after["conferences"]) == (before["session"], ["weekly"])
    hands.advance(house, 5)
    assert (await back.ask("heartbeat"))["type"] == "ack"
    assert not house.runtime.state.resumable


async def test_after_the_window_a_lost_session_is_over(serve: Serve, peer: Connect) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), heartbeat__resume_window="10s")
    lost: Peer = await peer(house)
    await lost.say(HELLO)
    before = await lost.hear()
    lost.reset()
    await until(lambda: bool(house.runtime.state.resumable))
    hands.advance(house, 11)
    assert empty(house)
    late = await house.connect()
    assert (await late.hello(resume=before["resume"]))["session"] != before["session"]


async def test_who_said_bye_or_was_kicked_does_not_wait_to_be_resumed(serve: Serve) -> None:
    house = await serve(heartbeat__resume_window="10s")
    polite = await house.welcomed()
    await polite.say("bye")
    await polite.gone()
    kicked = await house.welcomed(account="ann")
    await house.http("DELETE", "/api/accounts/ann/connections")
    assert (await kicked.gone())[-1]["reason"] == "kicked"
    assert not house.runtime.state.resumable
    assert not len(house.runtime.state.sessions)


async def test_a_lost_session_can_be_kicked(serve: Serve, peer: Connect) -> None:
    house = await serve(heartbeat__resume_window="10s")
    lost: Peer = await peer(house)
    await lost.say(HELLO)
    session = (await lost.hear())["session"]
    lost.reset()
    await until(lambda: bool(house.runtime.state.resumable))
    _, listed = await house.http("GET", "/api/connections")
    assert [(each["connected"], each["last_heard"]) for each in listed["items"]] == [(False, None)]
    assert (await house.http("DELETE", f"/api/connections/{session}"))[0] == 204
    await until(lambda: empty(house))


# -- draining ------------------------------------------------------------------------------------------------------


async def test_a_drain_sends_everybody_away_spread_over_its_time(serve: Serve) -> None:
    house = await serve(listen__drain="300ms")
    wires = [await house.welcomed(transport) for transport in ("tcp", "websocket") for _ in range(6)]
    status, _ = await house.http("GET", "/readyz")
    assert status == 200
    draining = asyncio.ensure_future(house.runtime.drain(0.3))
    heard = [(await wire.gone())[-1] for wire in wires]
    await draining
    assert {(each["reason"], each["code"], each["reconnect"]) for each in heard} == {("drained", 1012, True)}
    assert len({each["retry_after_seconds"] for each in heard}) > 1
    assert all(0 <= each["retry_after_seconds"] <= 1 for each in heard)
    assert [(await house.http("GET", path))[0] for path in ("/readyz", "/livez")] == [503, 200]
    _, text = await house.http("GET", "/metrics")
    assert "tallygate_draining 1.0" in text


async def test_while_draining_nobody_is_let_in(serve: Serve, peer: Connect) -> None:
    house = await serve()
    waiting = [await peer(house, transport) for transport in ("tcp", "websocket")]
    await until(lambda: sum(len(listener.connections.pending) for listener in house.runtime.client_listeners) == 2)
    house.runtime.budget.draining = True
    for client in waiting:
        await client.say(HELLO)
        assert (await client.gone())[-1]["reason"] == "draining"
    turned: Peer = await peer(house)
    assert (await turned.gone())[-1]["reason"] == "draining"


async def test_the_end_waits_for_the_last_client_and_not_for_a_tick(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve()
    wires = [await house.welcomed(transport) for transport in ("tcp", "websocket")]
    await house.runtime.drain(0)
    house.tick_by_hand()
    monkeypatch.setattr("gateway.edge.server.runtime.TICK", 3600.0)
    closing = asyncio.ensure_future(house.runtime.abort_remaining())
    for wire in wires:
        assert [each["reason"] for each in await wire.gone()] == ["drained"]
        assert not closing.done()
        await wire.close()
    async with asyncio.timeout(PATIENCE):
        await closing


@pytest.mark.parametrize("cause", ["drained", "unregistered", "store_unavailable"])
async def test_a_websocket_request_that_is_not_complete_is_told_why_all_connections_end(
    cause: str, serve: Serve, peer: Connect
) -> None:
    house = await serve(heartbeat__interval="7s", heartbeat__timeout="20s")
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    await client.send(b"GET /ws HT")
    await until(lambda: bool(house.runtime.websocket.connections))
    house.runtime.close_all(cause)
    head = await client.head()
    assert head.startswith("HTTP/1.1 503 ")
    assert "Retry-After: 7\r\n" in head
    assert (await client.rest()).decode() == f"{'draining' if cause == 'drained' else cause}\n"


async def test_answers_keep_the_order_of_requests(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client: Peer = await greet(house)
    words = ["join", "leave", "heartbeat", "join", "start", "leave", "sleep", "wake"]
    for number, word in enumerate(words):
        await client.say(json.dumps({"type": word, "conference": "c", "id": number}).encode())
    assert [(await client.hear())["id"] for _ in words] == list(range(len(words)))


# -- what is logged ----------------------------------------------------------------------------------------------------


async def test_of_each_connection_it_is_logged_when_it_comes_when_it_goes_and_what_it_was_refused(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tallygate")
    house = await serve(license__epop__users=1, listen__max_connections=2)
    first, second = await house.welcomed(address="127.0.0.2"), await house.welcomed("websocket", "127.0.0.3")
    await first.ask("join", conference="c")
    assert (await second.ask("join", conference="c"))["reason"] == "pool_full"
    assert [each["reason"] for each in await (await house.connect(address="127.0.0.4")).gone()] == [
        "too_many_connections"
    ]
    await second.say("bye")
    await second.gone()
    await second.close()
    await until(lambda: len(house.runtime.websocket.connections) == 0)
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.DEBUG]
    assert [each for each in told if "a refused client was gone" not in each] == [
        "tcp: 127.0.0.2 connected",
        "websocket: 127.0.0.3 connected",
        "websocket: 127.0.0.3 was refused join: pool_full of concurrent",
        "tcp: 127.0.0.4 was not let in: too_many_connections",
        "websocket: 127.0.0.3 closed after 0 s: bye",
    ]
