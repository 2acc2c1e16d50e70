"""Ended seats that wait to be written, packed: made-up names leave very many, and as objects they would take twice the
memory.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway.core.counting.pool import MAX_FINISHED_HOLDS, Hold
from gateway.core.counting.session import Key

PACKED = struct.Struct("<ddqqB")


class WaitingHold(NamedTuple):
    """An ended seat: from and to which monotonic instant, the numbers of its key and of its room, and why it ended."""

    began: float
    ended: float
    number: int
    room: int | None
    cause: str


class WaitingHolds:
    """Those of one pool, the oldest first; of more than `MAX_FINISHED_HOLDS` the oldest are lost.

    `number` gives the number of a key; with `rooms` a key is a conference and who is in it.
    """

    def __init__(self, number: Callable[[Key], int], *, rooms: bool) -> None:
        self._number = number
        self._rooms = rooms
        self._packed: deque[bytes] = deque(maxlen=MAX_FINISHED_HOLDS)
        self._causes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[WaitingHold]:
        causes = list(self._causes)
        return (self._unpack(each, causes) for each in self._packed)

    def add(self, hold: Hold) -> None:
        """Let a seat wait that has ended."""
        key, began, ended, cause = hold
        room = self._number(key[0]) if self._rooms and isinstance(key, tuple) else 0
        number = self._causes.setdefault(cause, len(self._causes))
        self._packed.append(PACKED.pack(began, ended, self._number(key), room, number))

    def take(self, most: float) -> Iterator[WaitingHold]:
        """Yield the oldest, `most` of them at most; they wait no longer."""
        causes = list(self._causes)
        while self._packed and most > 0:
            most -= 1
            yield self._unpack(self._packed.popleft(), causes)

    def _unpack(self, packed: bytes, causes: list[str]) -> WaitingHold:
        began, ended, number, room, cause = PACKED.unpack(packed)
        return WaitingHold(began, ended, number, room if self._rooms else None, causes[cause])


def key_numbers(salt: bytes | None) -> Callable[[Key], int]:
    """Return what makes numbers of keys: with a salt the same in every process, else of this run alone, and faster."""
    if salt is None:
        own = secrets.token_bytes(16)
        return lambda key: hash((own, key))

    def number(key: Key) -> int:
        return int.from_bytes(hashlib.blake2b(repr(key).encode(), key=salt, digest_size=8).digest(), "big", signed=True)

    return number
