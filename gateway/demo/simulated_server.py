"""A simulated server elsewhere, as a registrar sees it: a license, an installation, and reports of use.

It speaks the agent's side of the registration check over a real socket, and has no clients.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from importlib import metadata

from gateway.core.registration.agent_protocol import AgentConversation, Phase, Verdict
from gateway.core.registration.license_status import PACE
from gateway.core.wire import json_lines
from gateway.licensing import OFFERS

AGAIN = 5.0
"""Seconds until a lost connection is tried again."""
LAST = frozenset({Verdict.REFUSED, Verdict.REVOKED, Verdict.TURNED_AWAY})


class SimulatedServer:
    """The installation `server` of the license `serial`; `used` gives the use of each pool at the instant."""

    def __init__(self, serial: str, key: bytes, server: str, used: Callable[[], Mapping[str, int]]) -> None:
        self.registered = asyncio.Event()
        """Set once it was accepted."""
        self._serial = serial
        self._key = key
        self._server = server
        self._used = used
        self._ticket: str | None = None

    async def keep(self, host: str, port: int) -> str:
        """Stay registered; return the reason once the registrar refuses or revokes the license."""
        while True:
            try:
                return await self._talk(host, port)
            except (OSError, EOFError):
                await asyncio.sleep(AGAIN)

    async def _talk(self, host: str, port: int) -> str:
        reader, writer = await asyncio.open_connection(host, port, limit=json_lines.LIMIT + 2)
        try:
            version = f"tallygate/{metadata.version('tallygate')}"
            conversation = AgentConversation(
                self._key, OFFERS, server=self._server, serial=self._serial, version=version,
                nonce=secrets.token_hex(16), ticket=self._ticket,
            )  # fmt: skip
            writer.write(json_lines.encode(conversation.register) + b"\n")
            pace: float | None = None
            while True:
                try:
                    async with asyncio.timeout(pace if conversation.phase is Phase.NOTHING else None):
                        line = await reader.readuntil(b"\n")
                except TimeoutError:
                    writer.write(json_lines.encode(conversation.verify(self._used())) + b"\n")
                    continue
                heard = conversation.receive(json_lines.parse(line.rstrip(b"\r\n")))
                if heard.answer is not None:
                    writer.write(json_lines.encode(heard.answer) + b"\n")
                elif heard.verdict in LAST:
                    return heard.reason
                if heard.verdict is Verdict.REGISTERED:
                    pace = PACE * heard.interval
                    self.registered.set()
                    writer.write(json_lines.encode(conversation.verify(self._used())) + b"\n")
                self._ticket = heard.ticket or self._ticket
        finally:
            writer.transport.abort()
