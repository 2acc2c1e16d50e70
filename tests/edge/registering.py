"""Both sides of the registration check as raw peers, written from the protocol's text alone.

Nothing here uses the gateway's own words: canonical JSON, codes and conversations are made anew, so that a mistake made
on both sides of the gateway is still seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, Self

from gateway.core.registration.license_status import LicenseState
from gateway.edge.machine import Clock
from gateway.edge.server.ticker import TICK
from tests.conftest import House, until
from tests.edge.raw import Peer
from tests.wire_client import PATIENCE

Message = dict[str, Any]
KEY = bytes(range(32))
"""The key of the license that a raw registrar has."""
START = 1_800_000_000.0
"""What the clocks of `Time` say first, in seconds UTC."""


class Time:
    """Clocks that go only when told to."""

    def __init__(self) -> None:
        self.mono = 1000.0
        self.wall = START
        self.boot = 5000.0
        self.clock = Clock(lambda: self.mono, lambda: self.wall, lambda: self.boot)

    def go(self, seconds: float) -> None:
        """Let all of them go on."""
        self.mono += seconds
        self.wall += seconds
        self.boot += seconds


def text(message: Message) -> str:
    """Canonical JSON of a message without its code."""
    rest = {name: value for name, value in message.items() if name != "mac"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def code(key: bytes, *words: str) -> str:
    """The code of some words."""
    return hmac.new(key, "\n".join(words).encode(), hashlib.sha256).hexdigest()


async def sold(house: House, serial: str = "S-1", **terms: Any) -> bytes:
    """Sell a license over the API; its key."""
    status, told = await house.http("PUT", f"/api/licenses/{serial}", json=terms)
    assert status == 200, told
    return bytes.fromhex(told["key"])


class RawAgent(Peer):
    """An agent that says what it is told to say."""

    key = b""
    serial = "S-1"
    server = "inst-1"
    _nonces = itertools.count(1)
    register: Message
    theirs = ""

    @classmethod
    async def at(
        cls,
        house: House,
        key: bytes = b"",
        *,
        serial: str = "S-1",
        server: str = "inst-1",
        tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
        room: int | None = None,
    ) -> Self:
        """Connect to the registrar of a house."""
        agent = await cls.to(house.gateway.ports()["registrar"] or 0, address, tls=tls, room=room)
        agent.key, agent.serial, agent.server = key, serial, server
        return agent

    async def utter(self, message: Message) -> None:
        """Send one message."""
        await self.say(json.dumps(message).encode())

    def opening(self, **fields: Any) -> Message:
        """A `register`, with a nonce of its own."""
        self.register = {
            "type": "register",
            "protocol": 1,
            "server": self.server,
            "serial": self.serial,
            "version": "raw/1",
            "nonce": f"{next(self._nonces):032x}",
            **fields,
        }
        return self.register

    async def challenged(self, **fields: Any) -> Message:
        """Say `register` and hear the challenge."""
        await self.utter(self.opening(**fields))
        told = await self.hear()
        assert told["type"] == "challenge", told
        self.theirs = told["nonce"]
        return told

    def proof(self) -> Message:
        """The answer to the challenge."""
        return {"type": "proof", "mac": code(self.key, "agent", text(self.register), self.theirs)}

    async def registers(self, **fields: Any) -> Message:
        """Register; the answer, whatever it is."""
        await self.challenged(**fields)
        await self.utter(self.proof())
        return await self.hear()

    async def registered(self, **fields: Any) -> Message:
        """Register with success."""
        told = await self.registers(**fields)
        assert told["type"] == "registered", told
        assert self.signed(told)
        return told

    def sealed(self, message: Message) -> Message:
        """A message with its code."""
        nonces = f"{self.register['nonce']}\n{self.theirs}"
        return {**message, "mac": code(self.key, message["type"], nonces, text(message))}

    def signed(self, message: Message) -> bool:
        """Whether a message carries the right code."""
        return str(self.sealed(message)["mac"]) == message.get("mac")

    async def verified(self, seq: int, **used: int) -> Message:
        """Have itself verified."""
        await self.utter(self.sealed({"type": "verify", "seq": seq, "used": used}))
        told = await self.hear()
        assert (told["type"], told["seq"]) == ("verified", seq), told
        assert self.signed(told)
        return told


TERMS: Message = {
    "model": "trueconf",
    "edition": "free",
    "limits": {},
    "extensions": [],
    "needs_connection": True,
    "not_after": None,
}
"""What a raw registrar grants, unless told otherwise."""


class Caller:
    """One agent at a raw registrar; the test says what it hears."""

    def __init__(self, key: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.key = key
        self.reader = reader
        self.writer = writer
        self.register: Message = {}
        self.nonce = "ab" * 16

    async def hear(self) -> Message:
        """The next message of the agent; empty at the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                line = await self.reader.readline()
            except ConnectionError:
                line = b""
        return json.loads(line) if line else {}

    async def send(self, data: bytes) -> None:
        """Write bytes, whether the agent still listens or not."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def say(self, message: Message) -> None:
        """Send one message as it is."""
        await self.send(json.dumps(message).encode() + b"\n")

    def sealed(self, message: Message, key: bytes | None = None) -> Message:
        """A message with its code."""
        nonces = f"{self.register['nonce']}\n{self.nonce}"
        return {**message, "mac": code(key or self.key, message["type"], nonces, text(message))}

    async def challenge(self) -> None:
        """Hear `register` and say `challenge`; the proof must be good."""
        self.register = await self.hear()
        assert self.register["type"] == "register", self.register
        await self.say({"type": "challenge", "nonce": self.nonce})
        proof = await self.hear()
        assert proof == {"type": "proof", "mac": code(self.key, "agent", text(self.register), self.nonce)}

    def registered(self, **fields: Any) -> Message:
        """A `registered`, sealed."""
        answer = {"type": "registered", **TERMS, "interval_seconds": 60, "time": None, "ticket": "t-0"}
        return self.sealed({**answer, **fields})

    def verified(self, seq: int, **fields: Any) -> Message:
        """A `verified`, sealed."""
        return self.sealed({"type": "verified", "seq": seq, "time": None, "ticket": f"t-{seq}", **fields})

    async def accept(self, **fields: Any) -> None:
        """Let it register."""
        await self.challenge()
        await self.say(self.registered(**fields))

    async def gone(self) -> None:
        """Wait until the agent has hung up."""
        while await self.hear():
            pass

    def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


class RawRegistrar:
    """A registrar whose callers wait for the test."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.port = 0
        self.calls = 0
        self.callers: asyncio.Queue[Caller] = asyncio.Queue()

    async def call(self) -> Caller:
        """The next agent that calls."""
        async with asyncio.timeout(PATIENCE):
            return await self.callers.get()

    async def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        self.callers.put_nowait(Caller(self.key, reader, writer))


@contextlib.asynccontextmanager
async def raw_registrar(key: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawRegistrar]:
    """A raw registrar that listens inside the block."""
    registrar = RawRegistrar(key)
    writers: list[asyncio.StreamWriter] = []

    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await registrar._arrive(reader, writer)

    server = await asyncio.start_server(arrive, "127.0.0.1", 0, ssl=tls)
    registrar.port = server.sockets[0].getsockname()[1]
    try:
        yield registrar
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


# -- a gateway at a raw registrar ------------------------------------------------------------------------------------


async def registered(house: House, registrar: RawRegistrar, **terms: Any) -> Caller:
    """Let the gateway register; who has called."""
    caller = await registrar.call()
    await caller.accept(**terms)
    await until(lambda: house.runtime.registration.shown.state is LicenseState.REGISTERED)
    return caller


async def lost(house: House, caller: Caller, registrar: RawRegistrar) -> Caller:
    """Hang up; who calls again, and is told nothing."""
    caller.close()
    silent = await registrar.call()
    await until(lambda: house.runtime.registration.shown.state is not LicenseState.REGISTERED)
    return silent


async def shows(house: House, state: LicenseState) -> dict[str, Any]:
    """Look, once the ticker has seen that time has come on, and wait until the gateway shows a state; the document."""
    ticker = house.runtime.ticker
    await until(lambda: ticker._mono() - ticker._last < TICK)
    house.runtime.registration.poll()
    await until(lambda: house.runtime.registration.shown.state is state)
    _, told = await house.http("GET", "/api/registration")
    assert told["state"] == state
    assert (await house.http("GET", "/api/license"))[1]["registration"] == told
    return dict(told)


async def denied(house: House) -> bool:
    """Whether a newcomer is refused because the gateway is not registered."""
    wire = await house.connect()
    told = await wire.hello()
    await wire.close()
    return (told["type"], told.get("reason")) == ("denied", "unregistered")
