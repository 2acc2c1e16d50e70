"""What the tests of the doors share: peers that are closed after the test."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import House
from tests.edge.raw import HELLO, Peer, WebSocketPeer

TLS = Path(__file__).parents[1] / "config" / "tls"
CERTIFICATE, PRIVATE_KEY = str(TLS / "certificate.pem"), str(TLS / "key.pem")

Connect = Callable[..., Awaitable[Any]]


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


@pytest.fixture
def trust() -> ssl.SSLContext:
    """What a client needs to trust the certificate of the tests."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    return context
