"""The storm: many clients that join and leave, and a book of what each of them was told.

The book knows for every account what may be true of its PRO license: as it was told, or, where an answer had not come
when the gateway died, as it would be if that request had been carried out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEASE = 24 * 3600.0
UNSURE = 30.0
"""Seconds before its end at which a gateway was surely still known to live."""


@dataclass
class Account:
    """What one account may rightly hold: nothing, a license with an end that was told, or one that was in use."""

    nothing: bool = True
    ends: set[str] = field(default_factory=set)
    in_use: bool = False

    def joined(self) -> None:
        """It was told that it has a license, in use."""
        self.nothing, self.ends, self.in_use = False, set(), True

    def found(self, expires: str | None) -> None:
        """It was told when its license ends; or it was found so, after a crash."""
        self.nothing, self.ends, self.in_use = expires is None, {expires} if expires else set(), False

    def fits(self, expires: str | None, killed: float) -> bool:
        """Whether a restarted gateway may say this of it; `killed` is when the last one died, in seconds UTC."""
        if expires is None:
            return self.nothing
        return expires in self.ends or (self.in_use and killed - UNSURE <= seconds(expires) - LEASE <= killed + 1)


def seconds(text: str) -> float:
    """Seconds UTC of an instant as the gateway says it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


class Storm:
    """So many `clients` at once, until the gateway is gone. The `book` goes on from storm to storm."""

    def __init__(self, book: dict[str, Account], chance: random.Random, clients: int) -> None:
        self.acknowledged = 0
        self.first = asyncio.Event()
        """Set when something has been acknowledged."""
        self._book = book
        self._chance = chance
        self._clients = clients
        self._old = list(book)
        self._new = (f"user{number}" for number in itertools.count(len(book)))
        chance.shuffle(self._old)

    async def rage(self, port: int) -> None:
        """Join and leave until the gateway is gone; each account once."""
        await asyncio.gather(*(self._client(port) for _ in range(self._clients)))

    async def _client(self, port: int) -> None:
        try:
            while True:
                name = self._old.pop() if self._old and self._chance.random() < 0.3 else next(self._new)
                await self._session(port, name, self._book.setdefault(name, Account()))
        except (ConnectionError, EOFError):
            return

    async def _session(self, port: int, name: str, account: Account) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = _Client(reader, writer)
        try:
            _expect(await client.ask("hello", protocol=1, account=name), "welcome")
            for conference in self._chance.sample(range(20), self._chance.randint(1, 3)):
                account.in_use = True  # from now on both may be true
                _expect(await client.ask("join", conference=f"c{conference}"), "joined")
                account.joined()
                self._acknowledge()
                if self._chance.random() < 0.3:
                    return
                account.found(_expect(await client.ask("leave", conference=f"c{conference}"), "left")["pro_expires"])
                self._acknowledge()
        finally:
            writer.close()

    def _acknowledge(self) -> None:
        self.acknowledged += 1
        self.first.set()


def _expect(answer: dict[str, Any], type: str) -> dict[str, Any]:
    if answer["type"] != type:
        raise AssertionError(answer)
    return answer


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """The answer; raises `EOFError` when the gateway is gone."""
        self._writer.write(json.dumps({"type": type, "id": 1, **fields}).encode() + b"\n")
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == 1:
                return message
