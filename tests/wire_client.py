"""A client that says and hears single messages, for tests; it shares no code with the gateway's own client.

Every message that it hears must have the fields of its type (`gateway.core.wire.answers`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.shapes import faults

Message = dict[str, Any]
PATIENCE = 20.0
"""Seconds after which something expected has not happened."""


class Wire:
    """One connection: `say` sends, `hear` takes the next message, `ask` says and hears the answer to it.

    What arrives meanwhile without having been asked for waits for `hear`.
    """

    def __init__(self) -> None:
        self._unasked: list[Message] = []
        self._ids = itertools.count(1)

    @staticmethod
    async def open(transport: str, port: int, address: str = "127.0.0.1") -> Wire:
        """Connect over `tcp` or `websocket`, from a loopback address."""
        return await (TcpWire.to(port, address) if transport == "tcp" else WebSocketWire.to(port, address))

    async def say(self, type: str, **fields: Any) -> None:
        """Send one message."""
        await self.send(json.dumps({"type": type, **fields}))

    async def hear(self) -> Message:
        """The next message that nobody asked for; empty once the gateway has closed."""
        return self._unasked.pop(0) if self._unasked else await self._receive()

    async def ask(self, type: str, **fields: Any) -> Message:
        """Send one message and hear the answer to it; empty if the gateway closed instead."""
        id = fields.setdefault("id", f"t{next(self._ids)}")
        await self.say(type, **fields)
        while True:
            message = await self._receive()
            if not message or message.get("id") == id or message["type"] == "closing":
                return message
            self._unasked.append(message)

    async def hello(self, **fields: Any) -> Message:
        """Say `hello` and hear the answer."""
        return await self.ask("hello", protocol=1, **fields)

    async def gone(self) -> list[Message]:
        """Wait until the gateway has closed; the messages it said until then."""
        heard = []
        while message := await self.hear():
            heard.append(message)
        return heard

    async def _receive(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            text = await self.receive()
        message: Message = json.loads(text) if text else {}
        assert faults(message) == [], message
        return message

    async def send(self, text: str) -> None:
        """Send the text of one message."""
        raise NotImplementedError

    async def receive(self) -> str:
        """The text of the next message; empty at the end."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close in order."""
        raise NotImplementedError

    async def drop(self) -> None:
        """Close abruptly."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class TcpWire(Wire):
    """Lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int, address: str = "127.0.0.1") -> TcpWire:
        """Connect to the TCP door."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))

    async def send(self, text: str) -> None:
        """One line."""
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()

    async def receive(self) -> str:
        """One line."""
        return (await self.reader.readline()).decode()

    async def close(self) -> None:
        """Close, and wait until the socket is gone."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return  # the gateway was quicker

    async def drop(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()


class WebSocketWire(Wire):
    """Text frames, by another implementation of WebSocket than the gateway's."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self.session = session
        self.socket = socket

    @classmethod
    async def to(cls, port: int, address: str = "127.0.0.1") -> WebSocketWire:
        """Connect to the WebSocket door."""
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))
        try:
            socket = await session.ws_connect(f"http://127.0.0.1:{port}/ws", protocols=("tallygate.v1",), autoping=True)
        except BaseException:
            await session.close()
            raise
        return cls(session, socket)

    @property
    def code(self) -> int | None:
        """The close code that the gateway sent."""
        return self.socket.close_code

    async def send(self, text: str) -> None:
        """One text frame."""
        await self.socket.send_str(text)

    async def receive(self) -> str:
        """One text frame."""
        message = await self.socket.receive()
        return str(message.data) if message.type is aiohttp.WSMsgType.TEXT else ""

    async def close(self) -> None:
        """Close with a Close frame."""
        await self.socket.close()
        await self.session.close()

    async def drop(self) -> None:
        """Cut the connection."""
        response = self.socket._response  # aiohttp has no way to be rude
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        await self.session.close()
