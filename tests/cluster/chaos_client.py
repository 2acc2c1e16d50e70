"""One visit of a client to a gateway that anything may happen to, and what must hold of its answers."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

from tests.cluster.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from tests.cluster.chaos import Round

ANSWER = 40.0
"""Seconds until every request was answered, or its connection closed, whatever happens."""
TURNS = 4
"""Conferences of a visit at most."""


class Gone(Exception):
    """The gateway has closed the connection; the text says why."""


class Visit(asyncio.Protocol):
    """A visit of the client `number` to a gateway.

    Whether it is in counts from what has arrived, in the order of arrival over all clients: when its own task comes to
    read that depends on the load of the machine.
    """

    def __init__(self, round: Round, number: int, gateway: GatewayProcess) -> None:
        self._round = round
        self._number = number
        self._gateway = gateway
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._answered: set[int] = set()
        self._frozen = round.frozen[gateway.name]

    async def connect(self) -> None:
        """Open the connection.

        Raises `OSError`.
        """
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._gateway.tcp)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Something has arrived."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if message["type"] == "welcome":
                self._round.holds(self._number, self._gateway)
            elif message["type"] == "closing":
                self._round.holding.pop(self._number, None)
            self._heard.put_nowait(message)

    def connection_lost(self, _: Exception | None) -> None:
        """It is closed."""
        self._round.holding.pop(self._number, None)
        self._heard.put_nowait(None)

    def close(self) -> None:
        """Hang up."""
        self._round.holding.pop(self._number, None)
        if self._transport is not None:
            self._transport.close()

    async def go(self, account: str) -> None:
        """Come, join, stay a moment, leave, a few times.

        Raises `Gone`.
        """
        game = self._round
        if await self._ask("hello", protocol=1, account=account, device="d") != "welcome":
            return
        for turn in range(TURNS):
            conference = f"room{turn}-{self._number}"
            if await self._ask("join", conference=conference) == "joined":
                game.leased.add(account)
            await self._stay(game.whims.random() / 2)
            await self._ask("leave", conference=conference)
        game.holding.pop(self._number, None)
        await self._ask("bye")

    async def _stay(self, seconds: float) -> None:
        """Say nothing for a while, or until the round is over where it is resting."""
        resting = self._round.resting.is_set()
        waiting = asyncio.create_task(self._round.released.wait() if resting else asyncio.sleep(seconds))
        hearing = asyncio.create_task(self._hear())
        try:
            await asyncio.wait({waiting, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            hearing.cancel()
            await asyncio.wait({waiting, hearing})
        if not hearing.cancelled():
            hearing.result()

    async def _ask(self, type: str, **fields: Any) -> str:
        """Ask, and return the kind of the answer, or why it was refused."""
        id = next(self._ids)
        assert self._transport is not None
        self._transport.write(json.dumps({"type": type, "id": id, **fields}).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER):
                while (message := await self._hear()).get("id") != id:
                    continue
        except TimeoutError:
            self._round.faults.append(f"{self._gateway.name} has not answered {type} in {ANSWER:g} s")
            raise Gone("no answer") from None
        self._answered.add(id)
        said = str(message.get("reason", message["type"]))
        self._round.answers[said] += 1
        if said in {"welcome", "joined"} and self._round.frozen[self._gateway.name] != self._frozen:
            self._round.faults.append(f"{self._gateway.name} granted {type} of before it was frozen")
        return said

    async def _hear(self) -> dict[str, Any]:
        message = await self._heard.get()
        if message is None:
            raise Gone("closed")
        if message.get("id") in self._answered:
            self._round.faults.append(f"{self._gateway.name} has answered twice: {message}")
        if message["type"] == "closing":
            raise Gone(message["reason"])
        return message
