"""Events: what a page is told, when, for how long, and what it costs."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.edge.api import event_stream
from tests.conftest import House, License, Serve, until
from tests.edge.api.test_reports import Hands
from tests.edge.disk import broken, written
from tests.programs import free_port
from tests.rules.said import Forward

PATIENCE = 10.0


class Listener:
    """A page that listens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.state: dict[str, Any] = {}

    async def hear(self) -> dict[str, Any]:
        """The next message of the stream; the state has taken it in."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = (await self.response.content.readuntil(b"\n\n")).decode()
                if message.startswith("event: state\ndata: "):
                    told: dict[str, Any] = json.loads(message.removeprefix("event: state\ndata: "))
                    self.state.update(told)
                    return told

    async def end(self) -> None:
        """Read to the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            await self.response.content.read()


@asynccontextmanager
async def listening(house: House, **headers: str) -> AsyncIterator[Listener]:
    """An open stream."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(house.url + "/api/events", headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield Listener(response)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that no test waits long."""
    monkeypatch.setattr(event_stream, "TICK", 0.01)


# -- what is told --------------------------------------------------------------------------------------------------


async def test_the_first_message_is_the_license_and_what_is_around_it(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    await house.welcomed(account="ann", device="laptop", kind="room")
    async with listening(house) as page:
        assert page.response.content_type == "text/event-stream"
        assert page.response.headers["Cache-Control"] == "no-store"
        told = await page.hear()
    _, license = await house.http("GET", "/api/license")
    assert {name: told[name] for name in license} == license
    assert told["connections"]["total"] == told["connections"]["accounts"] == told["connections"]["devices"] == 1
    assert told["connections"]["kinds"] == {"room": 1}
    assert told["conferences"] == {"live": 0, "scheduled": 0, "members": 0, "waiting": 0}
    assert told["operator"] == {"name": "loopback", "scope": "admin"}
    assert (told["draining"], told["store"]) == (False, {"available": True})
    assert set(told["generations"]) == {
        "connections",
        "conferences",
        "pro",
        "registrations",
        "acts",
        "audit",
        "history",
        "queue",
        "refused",
        "bans",
    }
    assert told["clock"].endswith("Z")
    assert set(told["rights"]) == {"pro", "online", "guest"}


async def test_a_gateway_that_has_never_redistributed_is_shown_too(license: License) -> None:
    house = await license(
        {"edition": "server"}, registered=False, registration__server=f"127.0.0.1:{free_port()}"
    )  # nobody answers there
    async with listening(house) as page:
        told = await page.hear()
    assert told["registration"]["state"] == "unregistered"
    assert told["redistribute_at"] is None


async def test_later_only_what_has_changed_is_told(serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed(account="ann")
    async with listening(house) as page:
        await page.hear()
        await wire.ask("join", conference="weekly")
        while page.state["conferences"]["live"] != 1:
            told = await page.hear()
            assert "operator" not in told
            assert "version" not in told
            assert "extensions" not in told
        assert page.state["models"]["epop"]["pools"]["concurrent"]["used"] == 1


async def test_where_nothing_changes_nothing_is_told_but_that_we_live(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEEPALIVE", 0.05)
    hands = Hands()
    hands.move(0.5)  # no time that is told lies where a second ends
    house = await serve(clock=hands.clock())
    await written(house.runtime.persistence)
    async with listening(house) as page:
        await page.hear()
        for _ in range(2):
            hands.move(0.1)  # both together are shorter than a tick of the gateway
            async with asyncio.timeout(PATIENCE):
                assert await page.response.content.readuntil(b"\n\n") == b": keepalive\n\n"


@pytest.mark.parametrize("mark", ["connections", "pro"])
async def test_a_mark_changes_with_what_it_is_for(mark: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    wire = await house.welcomed(account="ann")
    async with listening(house) as page:
        before = (await page.hear())["generations"]
        await wire.ask("join", conference="weekly")
        while page.state["generations"][mark] == before[mark]:
            await page.hear()
        assert page.state["generations"]["acts"] != before["acts"]  # the lease was granted


@pytest.mark.parametrize("mark", ["connections", "conferences", "pro"])
async def test_a_mark_changes_when_who_is_in_a_conference_joins_another(mark: str, serve: Serve) -> None:
    """Nobody takes a seat by it, and as many take part as before."""
    house = await serve(license__model="trueconf", license__shadow="[]")
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="one")
    await bob.ask("join", conference="two")
    await written(house.runtime.persistence)
    async with listening(house) as page:
        before = (await page.hear())["generations"][mark]
        await ann.ask("join", conference="two")
        while page.state["generations"][mark] == before:
            await page.hear()


async def test_the_mark_of_refusals_changes_with_what_becomes_of_them(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="epop", license__epop__users=0, clock=time.clock)
    ann = await house.welcomed(account="ann")
    async with listening(house) as page:
        before = (await page.hear())["generations"]["refused"]
        assert (await ann.ask("join", conference="weekly"))["reason"] == "pool_full"
        while page.state["generations"]["refused"] == before:
            await page.hear()
        undecided = page.state["generations"]["refused"]
        time.pass_(house, house.runtime.settings.history.true_denial_window)
        while page.state["generations"]["refused"] == undecided:
            await page.hear()


async def test_the_mark_of_the_bans_changes_when_one_is_over(serve: Serve) -> None:
    house = await serve()
    await house.http("PUT", "/api/bans/ann", json={"for": "1h"})
    await written(house.runtime.persistence)
    async with listening(house) as page:
        before = (await page.hear())["generations"]["bans"]
        house.runtime.state.directory.bans.forget_ended(math.inf)
        while page.state["generations"]["bans"] == before:
            await page.hear()


async def test_the_mark_of_the_queue_changes_with_the_order_in_it(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=0, license__queue_order="priority")
    for name in ("ann", "bob"):
        wire = await house.welcomed(account=name)
        await wire.ask("join", conference="weekly", wait=600)
    async with listening(house) as page:
        before = (await page.hear())["generations"]["queue"]
        await house.http("PUT", "/api/groups/board", json={"accounts": ["bob"], "priority": 9})
        while page.state["generations"]["queue"] == before:
            await page.hear()


async def test_the_mark_of_the_audit_log_changes_once_an_entry_can_be_read(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "store.db", store__deadline="1m")
    await written(house.runtime.persistence)
    async with listening(house) as page:
        before = (await page.hear())["generations"]
        async with broken(house, "stalled"):
            house.runtime.persistence.audit("ops", "group.set", "board", {})
            while page.state["generations"]["acts"] == before["acts"]:
                await page.hear()
            assert page.state["generations"]["audit"] == before["audit"]
        while page.state["generations"]["audit"] == before["audit"]:
            await page.hear()


async def test_draining_is_told(serve: Serve) -> None:
    house = await serve()
    async with listening(house) as page:
        await page.hear()
        await house.runtime.stop_accepting()
        while not page.state["draining"]:
            await page.hear()


# -- to whom, and for how long -------------------------------------------------------------------------------------


async def test_a_revoked_token_ends_its_stream(serve: Serve) -> None:
    house = await serve()
    _, made = await house.http("POST", "/api/tokens/ops", json={"scope": "read"})
    async with listening(house, Authorization=f"Bearer {made['token']}") as page:
        await page.hear()
        assert page.state["operator"] == {"name": "ops", "scope": "read"}
        assert (await house.http("DELETE", "/api/tokens/ops"))[0] == 204
        await page.end()


async def test_a_page_that_goes_leaves_its_place(serve: Serve) -> None:
    house = await serve()
    streams = house.gateway.operator.events
    async with listening(house) as page:
        await page.hear()
        assert streams.open == 1
    await until(lambda: streams.open == 0)


async def test_half_of_the_connections_may_be_pages(serve: Serve) -> None:
    house = await serve(listen__operator_max_connections=4)
    async with listening(house) as one, listening(house) as other:
        await one.hear()
        await other.hear()
        status, told = await house.http("GET", "/api/events")
        assert (status, told["error"]) == (503, "too_many_pages")


async def test_streams_end_when_the_gateway_does(serve: Serve) -> None:
    house = await serve()
    async with listening(house) as page:
        await page.hear()
        async with asyncio.timeout(PATIENCE):
            await house.gateway.operator.close()
        await page.end()


async def test_a_page_that_does_not_read_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "PATIENCE", 0.05)
    house = await serve()
    streams = house.gateway.operator.events
    known, turn = streams._state, iter(range(1_000_000))
    monkeypatch.setattr(streams, "_state", lambda mono: {**known(mono), "version": f"{next(turn)}" * 200_000})
    with socket.socket() as mute:
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mute.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(mute, ("127.0.0.1", house.operator))
        await loop.sock_sendall(mute, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: streams.open == 1)
        await until(lambda: streams.open == 0)


# -- what it costs -------------------------------------------------------------------------------------------------


async def test_the_state_is_made_up_once_for_all_pages_and_not_at_all_for_none(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "TICK", 3600.0)
    house = await serve()
    streams = house.gateway.operator.events
    looks: list[float] = []
    known = streams._state

    def state(mono: float) -> dict[str, Any]:
        looks.append(mono)
        return known(mono)

    monkeypatch.setattr(streams, "_state", state)
    await house.http("GET", "/api/license")
    assert looks == []
    async with listening(house) as one, listening(house) as other:
        await one.hear()
        await other.hear()
        assert len(looks) == 1
