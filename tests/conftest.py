"""What all tests share: a gateway on free ports, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import gc
import itertools
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web_app
from hypothesis import settings as hypothesis
from hypothesis.configuration import set_hypothesis_home_dir

from config.loader import load
from config.settings import Settings
from gateway.core.registration.license_status import LicenseState
from gateway.edge.gateway import Gateway, running
from gateway.edge.machine import Clock
from gateway.edge.server.ticker import TICK
from tests.garbage import leave_it_to_python
from tests.stores_in_memory import copy_the_first
from tests.wire_client import PATIENCE, Wire

FREE_PORTS = ("listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.port=0", "store.path=:memory:")


def settings_of(**overrides: Any) -> Settings:
    """Settings on free ports; `license__model="epop"` stands for `license.model`."""
    given = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    return load(None, [*FREE_PORTS, *given])


set_hypothesis_home_dir(Path(__file__).parents[1] / ".cache" / "hypothesis")
hypothesis.register_profile("tallygate", deadline=None, derandomize=True, max_examples=60)
hypothesis.register_profile("fast", hypothesis.get_profile("tallygate"), max_examples=10)
hypothesis.load_profile("tallygate")  # unless --hypothesis-profile names another

# Reading what is installed is a good part of the start of a gateway, and of those there are hundreds.
setattr(metadata, "version", functools.cache(metadata.version))  # noqa: B010 - mypy takes functions for constants
copy_the_first()
# No test trusts an authority of the public, and reading their certificates is a good part of the start of a process.
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

AT_ONCE = 100
"""Rounds of the loop in which what needs no time comes about."""
PAUSE = 0.001
"""Seconds between two looks at what needs time; a loop that only looks would take it from the other processes."""
LAST_WORD = 120.0
"""Seconds after which what follows a test ends the process: the limit of the test itself does not reach that far."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Looks for no garbage while thousands of tests are collected: they stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        leave_it_to_python()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Ends a process that hangs after a test, such as in the fixture of one that was over its time."""
    faulthandler.dump_traceback_later(LAST_WORD, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


class House:
    """A gateway that is open, with clients that are closed after the test."""

    def __init__(self, gateway: Gateway, clients: contextlib.AsyncExitStack) -> None:
        self.gateway = gateway
        self.runtime = gateway.runtime
        self._clients = clients
        ports = gateway.ports()
        self.tcp = ports["tcp"] or 0
        self.websocket = ports["websocket"] or 0
        self.operator = ports["operator"] or 0
        self.url = f"http://127.0.0.1:{self.operator}"
        self.registrar: House | None = None
        """The registrar that its license is of, where a test gave it one."""

    async def connect(self, transport: str = "tcp", address: str = "127.0.0.1") -> Wire:
        """A connection that has said nothing yet."""
        port = self.tcp if transport == "tcp" else self.websocket
        return await self._clients.enter_async_context(await Wire.open(transport, port, address))

    async def welcomed(self, transport: str = "tcp", address: str = "127.0.0.1", **hello: Any) -> Wire:
        """A connection that has been welcomed."""
        wire = await self.connect(transport, address)
        answer = await wire.hello(**hello)
        assert answer["type"] == "welcome", answer
        return wire

    def tick_by_hand(self) -> None:
        """Have ticks come by `runtime.advance` alone; one that came by itself, on a busy machine, would be too many."""
        self.runtime.ticker.stop()

    def live(self, seconds: float) -> None:
        """Have the gateway live through seconds, by its ticks; what tells the time of day stays where it is."""
        self.runtime.advance(round(seconds / TICK))

    async def end(self, drain: float = 0) -> None:
        """Close the gateway with its clients connected; each closes once all were sent away."""
        closing = asyncio.ensure_future(self.gateway.close(drain))
        await until(lambda: all(each.cause for each in self.runtime.connections()))
        await self._clients.aclose()
        await closing

    async def http(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """The status and the JSON (or text) of a request to the operator port."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, **options) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def used(self, pool: str, model: str | None = None) -> int:
        """Use of a pool, as the API says it."""
        _, license = await self.http("GET", "/api/license")
        return int(license["models"][model or license["model"]]["pools"][pool]["used"])


@pytest.fixture
def closed_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


Serve = Callable[..., Awaitable[House]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Opens a gateway: `house = await serve(license__model="trueconf")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_house(*, clock: Clock | None = None, files: int = 1024, **overrides: Any) -> House:
            gateway = await stack.enter_async_context(running(settings_of(**overrides), files=files, clock=clock))
            stack.push_async_callback(_see_off, gateway)
            return House(gateway, await stack.enter_async_context(contextlib.AsyncExitStack()))

        yield open_house
    forget_handlers()


def forget_handlers() -> None:
    """Let go of the gateways that are closed: aiohttp keeps the handlers of the last 1,024 routes that were asked, and
    each of ours knows its gateway.
    """
    getattr(web_app, "_cached_build_middleware").cache_clear()  # noqa: B009 - mypy refuses what is private


License = Callable[..., Awaitable[House]]


@pytest.fixture
async def license(serve: Serve, tmp_path: Path) -> License:
    """Opens a gateway with a license of a registrar that runs beside it: `house = await license({"edition": "free"})`.

    `house.registrar` is the registrar's own house; with `registered=False` nobody waits for the first answer.
    """

    async def open_licensed(
        terms: dict[str, Any], registrar: House | None = None, *, registered: bool = True, **overrides: Any
    ) -> House:
        service = registrar or await serve(registrar__interval="1s")
        serial = f"S-{len(service.runtime.registrar.registrar.licenses)}"
        service.runtime.registrar.issue(serial, terms)
        key = tmp_path / f"{serial}.key"
        key.write_text(service.runtime.registrar.registrar.licenses[serial].key.hex() + "\n")
        given = {
            "registration__role": "agent",
            "registration__server": f"127.0.0.1:{service.gateway.ports()['registrar']}",
            "registration__serial": serial,
            "registration__key_file": key,
        }
        house = await serve(**given | overrides)
        house.registrar = service
        if registered:
            await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)
        return house

    return open_licensed


def redistribute(house: House) -> None:
    """Put the groups' permanent licenses into effect now, as time would."""
    house.runtime.state.redistribute_at = -math.inf
    house.runtime.tick()


async def _see_off(gateway: Gateway) -> None:
    """Let a gateway see that its clients have closed, so that it need not wait for them."""
    for _ in range(50):
        if not any(listener.connections for listener in gateway.runtime.client_listeners):
            return
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that the loop is about to bring about; what waits for time is asked every `PAUSE`."""
    async with asyncio.timeout(PATIENCE):
        for rounds in itertools.count():
            if holds():
                return
            await asyncio.sleep(0 if rounds < AT_ONCE else PAUSE)
