"""What the tests of the doors share: peers that are closed after the test."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.wire.backoff import Backoff
from gateway.edge.gateway import running
from gateway.edge.server import registration_agent
from tests import conftest
from tests.conftest import House, settings_of
from tests.edge.raw import HELLO, Peer, WebSocketPeer
from tests.edge.registering import KEY, RawAgent, RawRegistrar, Time, raw_registrar

TLS = Path(__file__).parents[1] / "config" / "tls"
CERTIFICATE, PRIVATE_KEY = str(TLS / "certificate.pem"), str(TLS / "key.pem")

Connect = Callable[..., Awaitable[Any]]
Call = Callable[..., Awaitable[RawAgent]]
Run = Callable[..., contextlib.AbstractAsyncContextManager[House]]


@pytest.fixture
async def peer() -> AsyncIterator[Connect]:
    """Opens a raw peer: `await peer(house, "tcp")`; on WebSocket the handshake is done unless `bare`."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(
            house: House, transport: str = "tcp", address: str = "127.0.0.1", *, bare: bool = False, **options: Any
        ) -> Peer:
            if transport == "tcp":
                return await stack.enter_async_context(await Peer.to(house.tcp, address, **options))
            made = await stack.enter_async_context(await WebSocketPeer.to(house.websocket, address, **options))
            if not bare:
                assert " 101 " in await made.upgrade()
            return made

        yield connect


@pytest.fixture
def greet(peer: Connect) -> Connect:
    """Opens a raw peer that has been welcomed."""

    async def connect(house: House, transport: str = "tcp", address: str = "127.0.0.1", **options: Any) -> Peer:
        made: Peer = await peer(house, transport, address, **options)
        await made.say(HELLO)
        assert (await made.hear())["type"] == "welcome"
        return made

    return connect


@pytest.fixture(params=["epoll", "asyncio"])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has gateways that a test opens serve plain sockets in both ways that there are."""
    chosen: str = request.param
    monkeypatch.setattr(conftest, "FREE_PORTS", (*conftest.FREE_PORTS, f"listen.transport={chosen}"))
    return chosen


@pytest.fixture
def trust() -> ssl.SSLContext:
    """What a client needs to trust the certificate of the tests."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    return context


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    """Opens a raw agent at the registrar of a house: `agent = await call(house, key)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(house: House, key: bytes = b"", **options: Any) -> RawAgent:
            return await stack.enter_async_context(await RawAgent.at(house, key, **options))

        yield connect


@pytest.fixture
async def registrar(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawRegistrar]:
    """A registrar that says what the test says; agents come back to it at once."""
    monkeypatch.setattr(registration_agent, "Backoff", lambda: Backoff(0.0, 0.0))
    async with raw_registrar(KEY) as found:
        yield found


@pytest.fixture
def time() -> Time:
    """The clocks of a gateway that `run` opens."""
    return Time()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of a gateway that `run` opens."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "t.db"


@pytest.fixture
def run(registrar: RawRegistrar, time: Time, store: Path, tmp_path: Path) -> Run:
    """One run of a gateway with a license of the raw registrar, on a store that outlives it."""
    key = tmp_path / "key"
    key.write_text(KEY.hex())

    @contextlib.asynccontextmanager
    async def run_house(**overrides: Any) -> AsyncIterator[House]:
        given: dict[str, Any] = {
            "registration__role": "agent",
            "registration__server": f"127.0.0.1:{registrar.port}",
            "registration__serial": "S-1",
            "registration__key_file": key,
            "store__path": store,
        }
        settings = settings_of(**given | overrides)
        async with contextlib.AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(running(settings, clock=time.clock))
            yield House(gateway, stack)

    return run_house
