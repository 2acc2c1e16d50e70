"""Answers that wait for the disk: told when they are durable, undone when they cannot be, and in their order."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.counting.session import Instant
from gateway.edge.gateway import running
from gateway.edge.storage import store as module
from tests.conftest import House, Serve, settings_of, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY, Connect
from tests.edge.disk import broken, counted, given_up, held, idle, leases, locked, patient, recovered, stuck
from tests.edge.mounts import fill, tmpfs
from tests.edge.raw import CLOSE, Peer, frame
from tests.rules.said import denied, said, silent
from tests.wire_client import Message, Wire

EVERY = 0.02
"""Seconds between attempts to recover, in these tests."""
Open = Callable[..., Awaitable[House]]
HOWS = pytest.mark.parametrize("how", ["failing", "stalled"])


@pytest.fixture
def open_house(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a gateway with trueconf and a store in a file. How long a commit may take is said by `given_up`, unless a
    test says it.
    """
    monkeypatch.setattr(module, "RETRY", EVERY)

    async def open_one(**overrides: Any) -> House:
        given = {"license__model": "trueconf", "store__path": str(tmp_path / "store.db"), "store__deadline": "60s"}
        given["license__trueconf__allow_pro_requests"] = "true"
        house = await serve(**{**given, **overrides})
        patient(house)
        return house

    return open_one


def unavailable(message: dict[str, Any], request: str = "join", **fields: Any) -> None:
    denied(message, "store_unavailable", request, **fields)


async def undone(house: House, how: str, *asking: Awaitable[Message]) -> list[Message]:
    """The answers to requests that a broken disk does not let become durable."""
    answers = asyncio.gather(*asking)
    if how == "stalled":
        await given_up(house, len(asking))
    return await answers


# -- undone ------------------------------------------------------------------------------------------------------------


@HOWS
async def test_a_join_that_cannot_be_made_durable_is_undone_and_works_again_by_itself(
    how: str, open_house: Open, tmp_path: Path
) -> None:
    house = await open_house(store__deadline="300ms")
    ann, bob = await house.welcomed(account="ann"), await house.welcomed("websocket", account="bob")
    said(await bob.ask("join", conference="weekly"), "joined")
    before = await counted(house)
    async with broken(house, how):
        for _ in range(2):
            unavailable(await ann.ask("join", conference="daily", host=True), conference="daily")
        assert await counted(house) == before
        unavailable(await ann.ask("join", conference="weekly"), conference="weekly")
        assert await counted(house) == before
        said(await ann.ask("heartbeat", seq=3), "ack", seq=3)
        ready = (200, "ready; the store is unavailable, no lease is granted\n")
        assert await house.http("GET", "/readyz") == ready
    await recovered(house)
    assert await house.http("GET", "/readyz") == (200, "ready\n")
    assert leases(tmp_path / "store.db") == held(house) == {"bob": ("temporary", None)}
    said(await ann.ask("join", conference="daily"), "joined", seats=["online", "pro"])
    assert leases(tmp_path / "store.db") == held(house)
    _, text = await house.http("GET", "/metrics")
    assert 'tallygate_requests_refused_total{reason="store_unavailable"} 3.0' in text


@HOWS
async def test_a_holder_keeps_the_end_that_was_told(how: str, open_house: Open, tmp_path: Path) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    left = await ann.ask("leave", conference="weekly")
    before = held(house)
    async with broken(house, how):
        (answer,) = await undone(house, how, ann.ask("join", conference="weekly"))
        unavailable(answer)
        said(await ann.ask("leave", conference="weekly"), "denied", reason="not_member")
    assert held(house) == before
    await recovered(house)
    assert leases(tmp_path / "store.db") == before
    assert (await ann.ask("request_pro"))["expires"] >= left["pro_expires"]


@HOWS
async def test_a_start_that_cannot_be_made_durable_lets_all_wait_on(how: str, open_house: Open) -> None:
    house = await open_house()
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("join", conference="weekly", scheduled=True, host=True), "waiting")
    said(await bob.ask("join", conference="weekly"), "waiting")
    before = await counted(house)
    async with broken(house, how):
        (answer,) = await undone(house, how, ann.ask("start", conference="weekly"))
        unavailable(answer, "start", conference="weekly")
        assert await counted(house) == before
        await silent(bob)
    await recovered(house)
    said(await ann.ask("start", conference="weekly"), "started", seats=["online", "pro"])
    said(await ann.hear(), "joined")
    said(await bob.hear(), "joined", seats=["online", "pro"])


@HOWS
async def test_a_request_for_pro_that_cannot_be_made_durable_is_undone(how: str, open_house: Open) -> None:
    house = await open_house()
    ann, phone = await house.welcomed(account="ann"), await house.welcomed(account="ann", device="phone")
    before = await counted(house)
    async with broken(house, how):
        (answer,) = await undone(house, how, ann.ask("request_pro"))
        unavailable(answer, "request_pro")
        assert await counted(house) == before
        await silent(phone)
    await recovered(house)
    said(await ann.ask("request_pro"), "granted")
    said(await phone.hear(), "status", seats=["online", "pro"])


@HOWS
async def test_a_sleeper_whose_join_is_undone_sleeps_on(how: str, open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    await ann.ask("sleep")
    before = await counted(house)
    async with broken(house, how):
        (answer,) = await undone(house, how, ann.ask("join", conference="weekly"))
        unavailable(answer)
        assert await counted(house) == before
    said(await ann.ask("leave", conference="weekly"), "denied", reason="not_member")
    said(await ann.ask("wake"), "awake", seats=["online"])


@HOWS
async def test_many_who_wait_are_all_undone(how: str, open_house: Open, tmp_path: Path) -> None:
    house = await open_house(license__trueconf__pro=50, license__trueconf__online=50)
    wires = [await house.welcomed(account=f"user{number % 10}", device=f"d{number}") for number in range(20)]
    before = await counted(house)
    async with broken(house, how):
        asking = (
            wire.ask("join", conference=f"c{number % 3}", host=not number % 2) for number, wire in enumerate(wires)
        )
        answers = await undone(house, how, *asking)
        for answer in answers:
            unavailable(answer)
        assert await counted(house) == before
    await recovered(house)
    assert leases(tmp_path / "store.db") == {}


async def test_while_the_disk_is_broken_all_that_needs_no_license_goes_on(open_house: Open) -> None:
    house = await open_house(license__trueconf__guest=5)
    ann, bob, guest = (
        await house.welcomed(account="ann"),
        await house.welcomed(account="bob"),
        await house.welcomed("websocket"),
    )
    await ann.ask("join", conference="weekly", access="public")
    async with broken(house, "failing"):
        unavailable(await bob.ask("join", conference="weekly"))
        await until(lambda: not house.runtime.persistence.store.available)
        said(await guest.ask("join", conference="weekly"), "joined", seats=["guest"])
        said(await bob.ask("join", conference="call", mode="call"), "joined", seats=["online"])
        said(await ann.ask("join", conference="other"), "joined", seats=["online", "pro"])
        said(await ann.ask("leave", conference="other"), "left", pro_expires=None)
        left = await ann.ask("leave", conference="weekly")
        assert left["pro_expires"] is not None
        new = await house.welcomed(account="cid")
        said(await new.ask("heartbeat", seq=9), "ack", seq=9)
        assert await house.used("online") == 3
        assert await house.used("pro") == 1
    await recovered(house)


async def test_a_model_without_leases_does_not_feel_the_disk(open_house: Open) -> None:
    house = await open_house(license__model="epop")
    async with broken(house, "stalled"):
        ann = await house.welcomed(account="ann")
        said(await ann.ask("join", conference="weekly", host=True), "joined", seats=["concurrent"])
        said(await ann.ask("leave", conference="weekly"), "left")
        said(await ann.ask("join", conference="weekly"), "joined")
    await recovered(house)


@HOWS
async def test_a_name_that_cannot_be_made_durable_is_not_given(how: str, open_house: Open) -> None:
    house = await open_house(license__model="nefsis-named")
    ann = await house.welcomed(account="ann")
    before = await counted(house)
    async with broken(house, how):
        (answer,) = await undone(house, how, ann.ask("join", conference="weekly", host=True))
        unavailable(answer)
        assert await counted(house) == before
    await recovered(house)
    said(await ann.ask("join", conference="weekly", host=True), "joined")
    assert await house.used("hosts") == 1


async def test_a_full_disk_refuses_licenses_until_there_is_room(open_house: Open, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        house = await open_house(store__path=str(disk / "store.db"), license__trueconf__pro=500)
        ann = await house.welcomed(account="ann")
        said(await ann.ask("join", conference="weekly"), "joined")
        ballast = fill(disk)
        refused = None
        for number in range(500):  # until the journal has no room for one more
            wire = await house.welcomed(account=f"user{number}")
            answer = await wire.ask("join", conference="weekly")
            if answer["type"] == "denied":
                refused = wire
                break
        assert refused is not None
        unavailable(answer)
        said(await ann.ask("heartbeat"), "ack")
        ballast.unlink()
        await recovered(house)
        said(await refused.ask("join", conference="weekly"), "joined")
        assert leases(disk / "store.db") == held(house)
        await house.end()


# -- in order ----------------------------------------------------------------------------------------------------------


async def test_heartbeats_are_answered_at_once_and_everything_else_in_its_order(open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    async with broken(house, "stalled"):
        await ann.say("join", id=0, conference="a")
        await ann.say("leave", id=1, conference="a")
        await ann.say("heartbeat", id=2, seq=1)
        await ann.say("join", id=3, conference="b")
        await ann.say("nonsense", id=4)
        await ann.say("leave", id=5)
        await ann.say("heartbeat", id=6, seq=2)
        await ann.say("sleep", id=7)
        assert [await ann.hear() for _ in range(2)] == [
            {"type": "ack", "id": 2, "seq": 1},
            {"type": "ack", "id": 6, "seq": 2},
        ]
    heard = [await ann.hear() for _ in range(6)]
    assert [(each["id"], each["type"]) for each in heard] == [
        (0, "joined"),
        (1, "left"),
        (3, "joined"),
        (4, "error"),
        (5, "error"),
        (7, "asleep"),
    ]
    assert heard[0]["pro_expires"] is None
    assert heard[1]["pro_expires"] is not None


async def test_what_rests_upon_no_commit_does_not_wait_for_one(open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="a")
    async with broken(house, "stalled"):
        house.runtime.persistence.audit("ops", "group.set", "board")
        await stuck(house)
        said(await ann.ask("join", conference="b"), "joined")  # it has its license since the first
        said(await ann.ask("leave", conference="b"), "left")


async def test_after_an_undone_join_what_was_said_meanwhile_is_answered_as_things_are(open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    async with broken(house, "stalled"):
        for type in ("join", "leave", "join"):
            await ann.say(type, conference="a")
        await until(lambda: [len(each) for each in house.runtime.pending_replies.deferred_input.values()] == [2])
        await given_up(house)
        heard = [await ann.hear() for _ in range(3)]
    unavailable(heard[0])
    said(heard[1], "denied", request="leave", reason="not_member")
    unavailable(heard[2])


async def test_a_client_may_say_no_more_than_a_burst_while_it_waits(open_house: Open) -> None:
    house = await open_house(listen__message_burst=20, listen__message_rate=0)
    ann = await house.welcomed(account="ann")
    async with broken(house, "stalled"):
        await ann.say("join", conference="a")
        await stuck(house)
        for number in range(25):
            await ann.say("leave", conference="a", id=number)
        assert [(await ann.hear())["code"] for _ in range(5)] == ["too_fast"] * 5
    said(await ann.hear(), "joined")
    assert [(await ann.hear())["id"] for _ in range(20)] == list(range(20))


async def test_another_device_of_the_account_hears_nothing_of_a_license_that_is_not_durable(open_house: Open) -> None:
    house = await open_house()
    pc, phone = await house.welcomed(account="ann", device="pc"), await house.welcomed(account="ann", device="phone")
    before = await counted(house)
    async with broken(house, "stalled"):
        await pc.say("join", conference="a")
        await stuck(house)
        await phone.say("join", conference="a")
        tablet = await house.connect()
        welcome = asyncio.ensure_future(tablet.hello(account="ann", device="tablet"))
        await given_up(house, 3)
        said(await welcome, "welcome", seats=["online"])
        unavailable(await pc.hear())
        unavailable(await phone.hear())
    await tablet.close()
    await until(lambda: len(house.runtime.state.sessions) == 2)
    assert await counted(house) == before
    await recovered(house)


async def test_another_device_that_joined_meanwhile_is_told_after_the_commit(open_house: Open) -> None:
    house = await open_house()
    pc, phone = await house.welcomed(account="ann", device="pc"), await house.welcomed(account="ann", device="phone")
    async with broken(house, "stalled"):
        await pc.say("join", conference="a")
        await stuck(house)
        await phone.say("join", conference="a")
        await silent(phone)
    said(await pc.hear(), "joined")
    said(await phone.hear(), "status", seats=["online", "pro"])
    said(await phone.hear(), "joined", seats=["online", "pro"])


async def before_a_start(house: House) -> tuple[Wire, Wire]:
    """Have a host and a guest wait for a scheduled conference to be started."""
    host, guest = await house.welcomed(account="ann"), await house.welcomed()
    said(await host.ask("join", conference="a", access="public", scheduled=True, host=True), "waiting")
    said(await guest.ask("join", conference="a"), "waiting")
    return host, guest


async def test_who_waited_and_leaves_before_a_start_is_durable_is_told_so_after_it(open_house: Open) -> None:
    house = await open_house()
    ann, guest = await before_a_start(house)
    async with broken(house, "stalled"):
        await ann.say("start", conference="a")
        await stuck(house)
        await guest.say("leave", conference="a")
        await silent(guest)
        assert await house.used("guest") == 0
    said(await guest.hear(), "joined", seats=["guest"])
    said(await guest.hear(), "left", seats=[])


async def test_who_waited_and_leaves_before_a_start_is_undone_hears_of_no_start(open_house: Open) -> None:
    house = await open_house()
    ann, guest = await before_a_start(house)
    async with broken(house, "stalled"):
        await ann.say("start", conference="a")
        await stuck(house)
        await guest.say("leave", conference="a")
        await given_up(house, 2)
        said(await guest.hear(), "left", seats=[])
        unavailable(await ann.hear(), "start")
    await recovered(house)
    await silent(guest)


async def test_a_session_that_is_resumed_while_news_of_it_waits_is_welcomed_first_and_with_it(
    open_house: Open,
) -> None:
    house = await open_house()
    ann, guest, again = await house.welcomed(account="ann"), await house.connect(), await house.connect("websocket")
    token = (await guest.hello())["resume"]
    said(await ann.ask("join", conference="a", access="public", scheduled=True, host=True), "waiting")
    said(await guest.ask("join", conference="a"), "waiting")
    async with broken(house, "stalled"):
        await ann.say("start", conference="a")
        await stuck(house)
        await again.say("hello", protocol=1, resume=token)
        assert (await guest.gone())[-1]["reason"] == "replaced"
    said(await again.hear(), "welcome", conferences=["a"], seats=["guest"])
    await recovered(house)
    await silent(again)


async def test_who_is_removed_and_comes_back_before_that_is_durable_is_welcomed_and_no_more(open_house: Open) -> None:
    house = await open_house()
    ann, again = await house.connect(), await house.connect()
    token = (await ann.hello(account="ann"))["resume"]
    said(await ann.ask("join", conference="a"), "joined")
    async with broken(house, "stalled"):
        revoked = asyncio.create_task(house.http("DELETE", "/api/pro/ann"))
        await stuck(house)
        await again.say("hello", protocol=1, resume=token)
        assert (await ann.gone())[-1]["reason"] == "replaced"
    assert (await revoked)[0] == 204
    said(await again.hear(), "welcome", conferences=[], seats=["online"])
    await recovered(house)
    await silent(again)


async def test_a_position_in_line_is_not_told_before_the_answer_that_says_so_first(open_house: Open) -> None:
    house = await open_house(license__trueconf__online="2")
    bob, phone = await house.welcomed(account="bob"), await house.welcomed(account="ann", device="phone")
    for each in (bob, phone):
        said(await each.ask("sleep"), "asleep")
    pc = await house.welcomed(account="ann", device="pc")
    await house.welcomed(account="carl")
    said(await bob.ask("wake", wait=60), "queued", position=1)
    async with broken(house, "stalled"):
        await pc.say("request_pro")
        await stuck(house)
        await phone.say("wake", wait=60, id=7)
        await silent(phone)
        said(await bob.ask("sleep"), "asleep")
        now = house.runtime.now()
        house.runtime.dispatcher.waiting_clients.tell(Instant(now.mono + 2, now.wall + 2))
        await silent(phone)
    said(await pc.hear(), "granted")
    said(await phone.hear(), "status")
    said(await phone.hear(), "queued", id=7, position=2)
    now = house.runtime.now()
    house.runtime.dispatcher.waiting_clients.tell(Instant(now.mono + 4, now.wall + 4))
    said(await phone.hear(), "queued", id=7, position=1)


# -- meanwhile ---------------------------------------------------------------------------------------------------------


@HOWS
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_of_a_client_that_has_gone_nothing_stays(how: str, transport: str, open_house: Open) -> None:
    house = await open_house()
    watcher = await house.welcomed(account="watcher")
    before = await counted(house)
    async with broken(house, how):
        ann = await house.welcomed(transport, account="ann")
        await ann.say("join", conference="a")
        await ann.say("leave", conference="a")
        pending = house.runtime.pending_replies
        await until(lambda: any(pending.deferred_input.values()) or bool(house.runtime.dispatcher.refusals))
        await ann.drop()
        if how == "stalled":
            await until(lambda: bool(pending._hung_up))
            await given_up(house)
        await until(lambda: len(house.runtime.state.sessions) == 1)
        await until(lambda: not pending)
        assert await counted(house) == before
    await recovered(house)
    assert pending.deferred_input == {}
    await silent(watcher)


async def test_a_client_that_has_gone_before_the_commit_has_its_license(open_house: Open, tmp_path: Path) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    async with broken(house, "stalled"):
        await ann.say("join", conference="a")
        await stuck(house)
        await ann.drop()
        await until(lambda: not len(house.runtime.state.sessions))
    await recovered(house)
    ((account, (kind, expires)),) = leases(tmp_path / "store.db").items()
    assert (account, kind) == ("ann", "temporary")
    assert expires is not None
    again = await house.welcomed(account="ann")
    said(await again.ask("join", conference="a"), "joined")
    assert list(leases(tmp_path / "store.db")) == ["ann"]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_session_that_is_resumed_while_its_answer_waits_is_told_how_it_ended(
    kept: bool, open_house: Open
) -> None:
    house = await open_house()
    ann = await house.connect()
    token = (await ann.hello(account="ann"))["resume"]
    again = await house.connect("websocket")
    async with broken(house, "stalled"):
        await ann.say("join", conference="a")
        await stuck(house)
        if kept:
            await again.say("hello", protocol=1, resume=token)
            assert (await ann.gone())[-1]["reason"] == "replaced"
        else:
            answer = asyncio.ensure_future(again.hello(resume=token))
            await given_up(house, 2)
            said(await answer, "welcome", conferences=[], seats=["online"], pro_expires=None)
    if kept:
        welcome = await again.hear()
        said(welcome, "welcome", conferences=["a"], seats=["online", "pro"])
    await recovered(house)
    assert await house.used("pro") == kept
    said(await again.ask("leave", conference="a"), "left" if kept else "denied")


@pytest.mark.parametrize("kept", [True, False])
async def test_a_takeover_while_an_answer_waits_is_told_how_it_ended(
    kept: bool, open_house: Open, tmp_path: Path
) -> None:
    house = await open_house()
    old, new = await house.welcomed(account="ann", device="pc"), await house.connect()
    async with broken(house, "stalled"):
        await old.say("join", conference="a")
        await stuck(house)
        if kept:
            await new.say("hello", protocol=1, account="ann", device="pc")
            assert (await old.gone())[-1]["reason"] == "replaced"
        else:
            answer = asyncio.ensure_future(new.hello(account="ann", device="pc"))
            await given_up(house, 2)
            said(await answer, "welcome", seats=["online"], pro_expires=None)
    if kept:
        welcome = await new.hear()
        said(welcome, "welcome", seats=["online", "pro"])
        assert welcome["pro_expires"] is not None
    await recovered(house)
    assert leases(tmp_path / "store.db") == held(house)
    assert await house.used("pro") == kept
    assert await house.used("online") == 1


async def test_a_goodbye_waits_for_the_answer(open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    async with broken(house, "stalled"):
        await ann.say("join", conference="a")
        await ann.say("bye")
        await stuck(house)
    assert [message["type"] for message in await ann.gone()] == ["joined"]


Hang = Callable[[Peer], Awaitable[None]]


async def shut(peer: Peer) -> None:
    peer.writer.write_eof()


async def reset(peer: Peer) -> None:
    peer.reset()


async def close_frame(peer: Peer) -> None:
    await peer.send(frame(CLOSE, (1001).to_bytes(2)))


WAYS: dict[str, tuple[str, Hang]] = {
    "tcp, half of it": ("tcp", shut),
    "tcp, by a reset": ("tcp", reset),
    "websocket, by a Close frame": ("websocket", close_frame),
    "websocket, half of it": ("websocket", shut),
    "websocket, by a reset": ("websocket", reset),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", ["bye", "leave", "sleep"])
async def test_what_was_said_before_the_connection_was_ended_counts(
    last: str, way: str, open_house: Open, peer: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    house = await open_house(heartbeat__resume_window="60s")
    transport, hang_up = WAYS[way]
    client: Peer = await peer(house, transport)
    await client.say(b'{"type":"hello","protocol":1,"account":"ann","device":"pc"}')
    assert (await client.hear())["type"] == "welcome"
    said = [{"type": "join", "conference": "a"}, {"type": "leave", "conference": "a"}, {"type": "sleep"}]
    (connection,) = house.runtime.connections()
    sessions = house.runtime.state.sessions.by_number
    async with broken(house, "stalled"):
        for message in [*said[: {"bye": 1, "leave": 2, "sleep": 3}[last]], *[{"type": "bye"}] * (last == "bye")]:
            await client.say(json.dumps(message).encode())
        await until(lambda: bool(house.runtime.pending_replies.deferred_input.get(connection)))
        await hang_up(client)
        await until(lambda: connection in house.runtime.pending_replies._hung_up)
        assert len(sessions) == 1
    await recovered(house)
    await until(lambda: connection.cause is not None)
    assert connection.cause == ("bye" if last == "bye" else "reset" if hang_up is reset else "closed")
    assert [session.awake for session in sessions.values()] == ([] if last == "bye" else [last != "sleep"])
    assert await house.used("online") == (1 if last == "leave" else 0)
    _, listed = await house.http("GET", "/api/conferences")
    assert listed["items"] == []
    await client.close()
    await until(lambda: not any(listener.connections.held for listener in house.runtime.client_listeners))
    listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
    assert listener.closed == {connection.cause: 1}
    assert not house.runtime.pending_replies.deferred_input
    assert not house.runtime.pending_replies._hung_up
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_what_was_said_before_the_end_counts_over_tls_too(
    open_house: Open, peer: Connect, trust: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    pair = {"listen__tls_certificate": CERTIFICATE, "listen__tls_key": PRIVATE_KEY}
    house = await open_house(heartbeat__resume_window="60s", **pair)
    client: Peer = await peer(house, tls=trust)
    await client.say(b'{"type":"hello","protocol":1,"account":"ann"}')
    assert (await client.hear())["type"] == "welcome"
    async with broken(house, "stalled"):
        await client.say(b'{"type":"join","conference":"a"}')
        await client.say(b'{"type":"bye"}')
        await until(lambda: any(house.runtime.pending_replies.deferred_input.values()))
        await client.close()
        await until(lambda: bool(house.runtime.pending_replies._hung_up))
    await until(lambda: house.runtime.tcp.closed == {"bye": 1})
    assert not house.runtime.tcp.connections.held
    assert len(house.runtime.state.sessions) == 0
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
    await recovered(house)


@pytest.mark.parametrize("way", ["tcp, half of it", "websocket, half of it", "websocket, by a Close frame"])
async def test_who_still_listens_is_answered_before_the_end(way: str, open_house: Open, peer: Connect) -> None:
    house = await open_house()
    transport, hang_up = WAYS[way]
    client: Peer = await peer(house, transport)
    async with broken(house, "stalled"):
        await client.say(b'{"type":"hello","protocol":1,"account":"ann"}')
        await client.say(b'{"type":"join","conference":"a"}')
        await client.say(b'{"type":"leave","conference":"a"}')
        await until(lambda: any(house.runtime.pending_replies.deferred_input.values()))
        await hang_up(client)
        await until(lambda: bool(house.runtime.pending_replies._hung_up))
    heard = await client.gone()
    assert [each["type"] for each in heard] == ["welcome", "joined", "left"]


async def test_a_session_that_is_resumed_meanwhile_is_not_ended_with_its_old_connection(
    open_house: Open, peer: Connect
) -> None:
    house = await open_house()
    client: Peer = await peer(house)
    await client.say(b'{"type":"hello","protocol":1,"account":"ann"}')
    token = (await client.hear())["resume"]
    again = await house.connect("websocket")
    async with broken(house, "stalled"):
        await client.say(b'{"type":"join","conference":"a"}')
        await client.say(b'{"type":"bye"}')
        await until(lambda: any(house.runtime.pending_replies.deferred_input.values()))
        client.reset()
        await until(lambda: bool(house.runtime.pending_replies._hung_up))
        await again.say("hello", protocol=1, resume=token)
        await until(lambda: bool(house.runtime.websocket.connections.connected))
        assert house.runtime.tcp.closed == {"replaced": 1}
    said(await again.hear(), "welcome", conferences=["a"])
    await recovered(house)
    said(await again.ask("leave", conference="a"), "left")
    assert house.runtime.pending_replies._hung_up == {}
    await client.close()


async def test_a_drain_does_not_wait_for_answers_and_keeps_what_was_granted(
    open_house: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", EVERY)
    path = tmp_path / "drained.db"
    settings = settings_of(license__model="trueconf", store__path=str(path), store__deadline="60s")
    house = await open_house()  # for its clients
    async with running(settings) as gateway:
        house.tcp = gateway.ports()["tcp"] or 0
        ann = await house.welcomed(account="ann")
        await idle(gateway.runtime.persistence.store)
        with locked(path):
            await ann.say("join", conference="a")
            await until(lambda: bool(gateway.runtime.persistence.store._under_way))
            closing = asyncio.ensure_future(gateway.close(drain=0))
            assert [message["reason"] for message in await ann.gone()] == ["drained"]
            await ann.close()
            assert not closing.done()
        await closing
        ((account, (_, expires)),) = leases(path).items()
        assert account == "ann"
        assert expires is not None


async def test_a_gateway_closes_while_its_disk_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with running(
        settings_of(license__model="trueconf", store__path=str(path), store__deadline="50ms")
    ) as gateway:
        await idle(gateway.runtime.persistence.store)
        with locked(path):
            await gateway.close(drain=0)


@HOWS
async def test_what_an_operator_decides_is_in_effect_and_said_not_to_be_durable(how: str, open_house: Open) -> None:
    house = await open_house()
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="a")
    async with broken(house, how):
        status, body = 0, None
        if how == "failing":
            status, body = await house.http("DELETE", "/api/pro/ann")
            assert (status, body["error"]) == (503, "store_unavailable")
        else:
            with pytest.raises(asyncio.TimeoutError):
                await house.http("DELETE", "/api/pro/ann", timeout=aiohttp.ClientTimeout(total=0.1))
            await given_up(house, 0)
        said(await ann.hear(), "removed", reason="license_withdrawn", seats=["online"])
    await recovered(house)
    assert held(house) == {}
    assert leases(house.runtime.persistence.store.path) == {}


async def test_a_requester_that_goes_away_does_not_break_what_waits(open_house: Open) -> None:
    house = await open_house()
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="a")
    async with broken(house, "stalled"):
        with pytest.raises(asyncio.TimeoutError):
            await house.http("DELETE", "/api/pro/ann", timeout=aiohttp.ClientTimeout(total=0.1))
        await bob.say("join", conference="b")
        await silent(bob)
    said(await bob.hear(), "joined")
    said(await ann.hear(), "removed")
    assert house.runtime.persistence.store.errors == 0
