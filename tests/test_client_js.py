"""The client for JavaScript against a real gateway, in Node and in a browser: `client_driver.js` for both."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import playwright
import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from gateway.core.wire.close_codes import DENIED, ENDINGS, ERRORS, farewell, reconnects_after_denial
from gateway.edge.gateway import running
from tests.conftest import House, Serve, settings_of, until
from tests.page.conftest import chromium  # noqa: F401 - a fixture
from tests.web_tokens import AUDIENCE, ISSUER, by_secret

DRIVER = Path(__file__).with_name("client_driver.js")
PATIENCE = 60.0
MANY, CONFERENCES = 200, 20
FILES = 8192
"""Files of the gateway: enough that nobody is turned away for coming at once with all others."""
QUICK = {"backoff": {"base": 0.2, "cap": 1}}
ROOM = {"license__epop__users": 2 * MANY, "heartbeat__resume_window": "30s", "listen__allowed_origins": '["*"]'}

Call = Callable[..., Awaitable[Any]]
"""Calls a function of the driver."""

LOOP = """
import { createInterface } from "node:readline";
globalThis.CLIENT = process.argv[2];
const driver = await import(process.argv[1]);
for await (const line of createInterface({ input: process.stdin })) {
  const [name, given] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: await driver[name](...given) }));
  } catch (fault) {
    console.log(JSON.stringify({ fault: String(fault) }));
  }
}
"""


@contextlib.asynccontextmanager
async def in_node(script: str, folder: Path) -> AsyncIterator[Call]:
    """The driver in the Node that Playwright brings along, with a client that was fetched as by an application."""
    node = str(Path(playwright.__file__).parent / "driver" / "node")
    client, driver = folder / "client.mjs", folder / "driver.mjs"
    async with aiohttp.ClientSession() as session, session.get(script) as answer:
        client.write_bytes(await answer.read())
    driver.write_bytes(DRIVER.read_bytes())
    argv = [node, "--input-type=module", "-e", LOOP, "--", driver.as_uri(), client.as_uri()]
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, limit=1 << 20)
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    async def call(name: str, *given: Any) -> Any:
        requests.write(json.dumps([name, given]).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            line = await answers.readline()
        answer = json.loads(line)
        assert "fault" not in answer, answer
        return answer.get("value")

    try:
        yield call
    finally:
        requests.close()
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def in_browser(script: str, address: str) -> AsyncIterator[Call]:
    """The driver in a page of another site, as an application in the web is."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>An application</title>", content_type="text/html")

    async def driver(_: web.Request) -> web.Response:
        return web.Response(text=DRIVER.read_text(), content_type="text/javascript")

    site = web.Application()
    site.add_routes([web.get("/", page), web.get("/driver.js", driver)])
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with async_playwright() as driving:
        browser = await driving.chromium.connect_over_cdp(address)
        context = await browser.new_context()
        window = await context.new_page()
        faults: list[str] = []
        window.on("pageerror", lambda fault: faults.append(str(fault)))
        host, port = runner.addresses[0][:2]
        await window.goto(f"http://{host}:{port}/")
        await window.evaluate("address => { globalThis.CLIENT = address; }", script)
        await window.evaluate("async () => { globalThis.driver = await import('/driver.js'); }")

        async def call(name: str, *given: Any) -> Any:
            async with asyncio.timeout(PATIENCE):
                return await window.evaluate("([name, given]) => driver[name](...given)", [name, list(given)])

        try:
            yield call
        finally:
            await context.close()
            await browser.close()
            await runner.cleanup()
    assert faults == []


Driven = Callable[[House], contextlib.AbstractAsyncContextManager[Call]]


@pytest.fixture(params=["node", pytest.param("chromium", marks=pytest.mark.debian)])
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Driven:
    """The driver with the client of a gateway: `async with driven(house) as call: await call("held")`."""
    if request.param == "node":
        return lambda house: in_node(f"{house.url}/client.js", tmp_path)
    address: str = request.getfixturevalue("chromium")
    return lambda house: in_browser(f"{house.url}/client.js", address)


@pytest.fixture
def in_one(tmp_path: Path) -> Driven:
    """The same in Node alone."""
    return lambda house: in_node(f"{house.url}/client.js", tmp_path)


def door(house: House) -> str:
    return f"ws://127.0.0.1:{house.websocket}/ws"


async def reached(call: Call, **wanted: Any) -> dict[str, Any]:
    """Wait until the clients hold what is wanted; returns all that they hold."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held: dict[str, Any] = await call("held")
            if wanted.items() <= held.items():
                return held


async def welcomed(call: Call, count: int) -> list[dict[str, Any]]:
    """Wait until so many clients have come back, and return what they were welcomed with."""
    welcomes: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while len(welcomes) < count:
            welcomes += [each["value"] for each in await call("heard") if each["event"] == "welcome"]
    return welcomes


async def counted(house: House) -> dict[str, int]:
    """The same, as the gateway counts it."""
    _, sessions = await house.http("GET", "/api/connections/count")
    _, conferences = await house.http("GET", "/api/conferences?limit=1000")
    members = sum(each["members"] for each in conferences["items"])
    return {"connected": sessions["count"], "members": members, "seats": await house.used("concurrent")}


# -- a storm -----------------------------------------------------------------------------------------------------------


async def test_a_storm_a_loss_and_a_restart_leave_no_drift(driven: Driven, tmp_path: Path) -> None:
    full = {"connected": MANY, "members": MANY, "seats": MANY}
    stored = {"store__path": tmp_path / "store.db", **ROOM}
    async with contextlib.AsyncExitStack() as stack:
        async with running(settings_of(**stored), files=FILES) as first:
            house = House(first, stack)
            call = await stack.enter_async_context(driven(house))
            assert await call("begin", door(house), MANY, CONFERENCES, QUICK) == MANY
            assert await counted(house) == full
            await call("heard")

            for connection in tuple(first.runtime.websocket.connections):
                connection.transport.abort()
            assert all(welcome["conferences"] for welcome in await welcomed(call, MANY))
            assert (await call("held"))["members"] == MANY
            assert await counted(house) == full

        await reached(call, connected=0)
        again = settings_of(**stored, listen__websocket=house.websocket, listen__operator=house.operator)
        house = House(await stack.enter_async_context(running(again, files=FILES)), stack)
        await reached(call, connected=MANY, members=MANY, ended=0)
        assert await counted(house) == full
        assert await call("end") == MANY
        assert await counted(house) == {"connected": 0, "members": 0, "seats": 0}


# -- one client --------------------------------------------------------------------------------------------------------


async def test_answers_come_to_whom_they_are_for(serve: Serve, in_one: Driven) -> None:
    house = await serve(license__epop__users=1)
    async with in_one(house) as call:
        await call("begin", door(house), 2, 0, QUICK)
        joined = await call("ask", 0, "join", "weekly", {"host": True, "access": "public"})
        assert {"type": "joined", "access": "public", "seats": ["concurrent"]}.items() <= joined["answer"].items()
        denied = await call("ask", 1, "join", "weekly")
        assert {"fault": "Denied", "reason": "pool_full", "pool": "concurrent", "used": 1, "limit": 1}.items() <= (
            denied.items()
        )
        wrong = await call("ask", 1, "request", "join", {"conference": 7})
        assert (wrong["fault"], wrong["code"]) == ("RequestError", "bad_field")
        assert (await call("ask", 0, "leave", "weekly"))["answer"]["seats"] == []
        await call("end")
        assert (await call("ask", 0, "join", "weekly"))["fault"] == "Closed"
    assert await counted(house) == {"connected": 0, "members": 0, "seats": 0}


async def test_a_request_that_waits_is_answered_by_what_came_of_it(serve: Serve, in_one: Driven) -> None:
    house = await serve(license__epop__users=1)
    holder = await house.welcomed()
    await holder.ask("join", conference="weekly")
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, QUICK)
        asked = asyncio.ensure_future(call("ask", 0, "join", "weekly", {"wait": 60}))
        await until(lambda: len(house.runtime.state.lines) == 1)
        await holder.ask("leave", conference="weekly")
        assert (await asked)["answer"]["type"] == "joined"
        assert "queued" in {each["event"] for each in await call("heard")}
        await call("end")


async def test_it_beats_by_itself_at_the_interval_of_the_welcome(serve: Serve, in_one: Driven) -> None:
    house = await serve(heartbeat__interval="100ms", heartbeat__timeout="1s")
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, QUICK)
        await reached(call, latency=True)
        beats = house.runtime.websocket.shared.heartbeats
        assert beats >= 1


async def test_a_flood_is_slowed_down_and_every_request_is_answered(serve: Serve, in_one: Driven) -> None:
    house = await serve(listen__message_burst=20, listen__message_rate=200)
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, QUICK)
        assert await call("flood", 0, 22) == 22
        await call("end")


async def test_it_sleeps_again_in_a_new_session_and_ends_where_it_is_told_to(serve: Serve, in_one: Driven) -> None:
    house = await serve()
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, QUICK)
        await call("ask", 0, "sleep")
        for connection in tuple(house.runtime.websocket.connections):
            connection.transport.abort()
        await welcomed(call, 1)
        await reached(call, asleep=1)
        await house.http("DELETE", "/api/accounts/user-0/connections")
        await reached(call, ended=1)
        (closing, ended) = (await call("heard"))[-2:]
        assert (closing["event"], closing["value"]["reason"]) == ("closing", "kicked")
        assert (ended["event"], ended["value"]["last"]["reason"]) == ("ended", "kicked")
        assert await counted(house) == {"connected": 0, "members": 0, "seats": 0}


async def test_each_hello_has_a_token_of_its_own(serve: Serve, in_one: Driven, tmp_path: Path) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    (tmp_path / "secret").write_bytes(secret)
    table = f'{{issuer="{ISSUER}",audience=["{AUDIENCE}"],algorithms=["HS256"],secret_file="{tmp_path / "secret"}"}}'
    house = await serve(accounts__mode="jwt", accounts__jwt=f"[{table}]")
    signer = by_secret(secret)
    tokens = [signer.token(sub="user-0"), signer.token(sub="user-0"), signer.token(sub="user-0", exp=1)]
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, {**QUICK, "tokens": tokens})
        for connection in tuple(house.runtime.websocket.connections):
            connection.transport.abort()
        await welcomed(call, 1)
        for connection in tuple(house.runtime.websocket.connections):
            connection.transport.abort()
        await reached(call, ended=1)
        ended = (await call("heard"))[-1]["value"]
        assert ended["last"]["reason"] == "bad_credential"


async def test_the_first_beat_and_every_return_are_at_a_random_point(serve: Serve, in_one: Driven) -> None:
    house = await serve()
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, {"drawn": 0, "backoff": {"base": 1000, "cap": 1000}})
        await reached(call, latency=True)  # of an interval of 30 s
        for connection in tuple(house.runtime.websocket.connections):
            connection.transport.abort()
        await welcomed(call, 1)
        await call("end")


async def test_an_answer_that_does_not_come_is_waited_for_no_longer(serve: Serve, in_one: Driven) -> None:
    house = await serve()
    async with in_one(house) as call:
        await call("begin", door(house), 1, 0, QUICK | {"timeouts": {"answer": 0.3}})
        assert (await call("ask", 0, "request", "heartbeat"))[
            "fault"
        ] == "TimedOut"  # an `ack` is no answer to a request
        assert (await call("ask", 0, "join", "weekly"))["answer"]["type"] == "joined"
        await call("end")


async def test_who_never_welcomes_is_given_up(serve: Serve, in_one: Driven) -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    house = await serve()
    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with silent, in_one(house) as call:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(AssertionError, match="the welcome did not come in time"):
            await call("begin", f"ws://127.0.0.1:{port}/ws", 1, 0, {"timeouts": {"welcome": 0.1}})


async def test_nobody_answers(closed_port: int, serve: Serve, in_one: Driven) -> None:
    house = await serve()
    async with in_one(house) as call:
        with pytest.raises(AssertionError, match="Closed: connection ended: code 1006"):
            await call("begin", f"ws://127.0.0.1:{closed_port}/ws", 1, 0, QUICK)


async def test_it_comes_back_after_the_same_ends_as_the_client_for_python(serve: Serve, in_one: Driven) -> None:
    house = await serve()
    ends: list[tuple[dict[str, Any], bool]] = []
    for cause, ending in ENDINGS.items():
        ends.append(({"code": ending.code}, ending.reconnect))
        ends.append(({"code": 1006, "last": farewell(cause)}, ending.reconnect if ending.says else True))
    for reason in (*DENIED, "banned", "duplicate", "not_allowed", "extension_missing"):
        last = {"type": "denied", "request": "hello", "reason": reason}
        ends.append(({"last": last}, reconnects_after_denial(reason)))
    for code, cause in ERRORS.items():
        ends.append(({"last": {"type": "error", "code": code}}, ENDINGS[cause].reconnect))
    ends.append(({"code": 1006, "last": {"type": "denied", "request": "join", "reason": "banned"}}, True))
    async with in_one(house) as call:
        assert await call("comesBack", [end for end, _ in ends]) == [back for _, back in ends]
