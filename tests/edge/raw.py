"""Peers that write their own bytes: for everything a well-behaved client would not say."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import struct
from types import TracebackType
from typing import Any, NamedTuple, Self

from gateway.edge.server.listener import Listener
from tests.wire_client import PATIENCE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HELLO = b'{"type":"hello","protocol":1}'
BEAT = b'{"type":"heartbeat"}'


def send_little(listener: Listener[Any]) -> None:
    """Have the kernel keep little of what waits for those who are let in from now on: who does not read is noticed
    soon.
    """
    for each in listener._server_sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


class Frame(NamedTuple):
    """One frame as it came."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2])

    @property
    def message(self) -> dict[str, Any]:
        """The message of a text frame."""
        message: dict[str, Any] = json.loads(self.payload)
        return message


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame of a client, good or bad."""
    size = len(payload)
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def request(path: str = "/ws", method: str = "GET", **headers: str | None) -> bytes:
    """An opening handshake; a header that is None is left out."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode()


class Peer:
    """A socket to a door, with nothing between the test and its bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(
        cls, port: int, address: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, room: int | None = None
    ) -> Self:
        """Connect; `room` is the size in bytes of the socket's receive buffer."""
        sock = socket.socket(proto=socket.IPPROTO_TCP)  # with 0 asyncio would leave small pieces to wait for each other
        sock.setblocking(False)
        if room is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        name = "localhost" if tls is not None else None
        reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=1 << 20)
        return cls(reader, writer)

    @property
    def port(self) -> int:
        """The port this end has."""
        return int(self.writer.get_extra_info("sockname")[1])

    async def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, payload: bytes) -> None:
        """Write one message."""
        await self.send(payload + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next message; empty at the end."""
        async with asyncio.timeout(PATIENCE):
            line = await self.reader.readline()
        message: dict[str, Any] = json.loads(line) if line else {}
        return message

    async def gone(self) -> list[dict[str, Any]]:
        """The messages until the gateway closes; then this end is closed too."""
        heard = await self.rest()
        self.writer.close()
        return [json.loads(line) for line in heard.splitlines()]

    async def rest(self) -> bytes:
        """The bytes until the gateway closes, in whatever way."""
        heard = b""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return heard
                if not data:
                    return heard
                heard += data

    def reset(self) -> None:
        """Close so that the other end sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close, and wait until the socket is gone."""
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except OSError:
            return  # the gateway was quicker

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class WebSocketPeer(Peer):
    """A peer that frames what it says; it must `upgrade` first."""

    async def upgrade(self, **headers: str | None) -> str:
        """Send the handshake; the head of the answer."""
        await self.send(request("/ws", "GET", **headers))
        return await self.head()

    async def head(self) -> str:
        """The head of an HTTP answer."""
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def say(self, payload: bytes) -> None:
        """Send one message."""
        await self.send(frame(TEXT, payload))

    async def frame(self) -> Frame | None:
        """The next frame; None at the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
                return Frame(first & 0xF, await self.reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        heard = await self.frame()
        assert heard is not None
        assert heard.opcode == TEXT, heard
        return heard.message

    async def gone(self) -> list[dict[str, Any]]:
        """The messages until the Close frame."""
        return [each.message for each in await self.frames() if each.opcode == TEXT]

    async def frames(self) -> list[Frame]:
        """The frames until the end; a Close frame is answered, and this end closed too."""
        heard = []
        while (each := await self.frame()) is not None:
            heard.append(each)
            if each.opcode == CLOSE:
                await self.send(frame(CLOSE, each.payload[:2]))
        self.writer.close()
        return heard
