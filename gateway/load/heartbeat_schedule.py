"""The heartbeats of all clients of one process of the load generator, with one timer."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Protocol

from gateway.client_connection import ClientConnection
from gateway.load.tally import Tally


class BeatingPeer(Protocol):
    """Who sends heartbeats: whether still, over which connection, None once it is gone, and when the last was sent."""

    beaten: float
    beating: bool
    link: ClientConnection | None


class HeartbeatSchedule:
    """Sends a heartbeat for every peer once per interval, each at its own random point of the interval."""

    TICK = 0.02

    def __init__(self, interval: float, random: Random, tally: Tally) -> None:
        self._slots: list[list[tuple[BeatingPeer, ClientConnection]]] = [
            [] for _ in range(max(1, round(interval / self.TICK)))
        ]
        self._tick = interval / len(self._slots)
        self._random = random
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._turn = 0
        self._timer = self._loop.call_later(self._tick, self._advance)

    def add(self, peer: BeatingPeer, link: ClientConnection) -> None:
        """Send heartbeats for a peer until this connection of it is gone, or it does not want them any more."""
        self._random.choice(self._slots).append((peer, link))

    def stop(self) -> None:
        """Send no more heartbeats."""
        self._timer.cancel()

    def _advance(self) -> None:
        now = self._loop.time()
        while self._start + (self._turn + 1) * self._tick <= now:
            self._turn += 1
            number = self._turn % len(self._slots)
            gone = 0
            for peer, link in self._slots[number]:
                if peer.link is not link or not peer.beating:
                    gone += 1
                else:
                    peer.beaten = self._loop.time()
                    self._tally.beats += 1
                    link.beat()
            if gone:
                self._slots[number] = [
                    (peer, link) for peer, link in self._slots[number] if peer.link is link and peer.beating
                ]
        self._timer = self._loop.call_at(self._start + (self._turn + 1) * self._tick, self._advance)
