"""The clients that wait in line for a seat, and what they are told of their positions.

The state knows who stands where; here is over which connection a `hello` waits, and what each client was told last. A
client hears of its new position at most once a second, and always of the newest (PROTOCOL.md, Waiting).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from gateway.core.admission.lines import QueuePlace
from gateway.core.admission.waiting import queued
from gateway.core.counting.session import Instant
from gateway.edge.server.connection import Connection
from gateway.edge.server.sequencer import Sequencer

PIECES = 80
"""Into how many pieces those who are told in a second are cut, at most."""
PIECE_PAUSE = 0.01
"""Seconds between two pieces: no seat that becomes free meanwhile is held up."""
PAUSE = 1.0
"""Seconds between two messages about positions to one client, at least."""


class WaitingClients:
    """Who waits over which connection. `connection_of` gives the connection of a session by its number; `is_held` says
    of whom an answer waits for the disk: it is told after that one.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        connection_of: Callable[[int], Connection | None],
        is_held: Callable[[Connection], bool],
    ) -> None:
        self._sequencer = sequencer
        self._connection_of = connection_of
        self._is_held = is_held
        self._connections: dict[int, Connection] = {}
        """The connections of those who wait to be welcomed, by place."""
        self._places: dict[Connection, int] = {}
        self._told: dict[int, int] = {}
        """The position that was told last, by place; the place that has been told nothing for longest comes first."""
        self._spoken: dict[Connection, float] = {}
        """When a client was told a position last, in monotonic seconds."""
        self._due: deque[int] = deque()
        """The places that are still to be looked at in this second."""
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, place: int, position: int, connection: Connection, mono: float) -> None:
        """A request of a client waits in a place, and it is told so at the monotonic instant `mono`."""
        if connection.session is None:
            self._connections[place] = connection
            self._places[connection] = place
        self._note(place, position, connection, mono)

    def follow(self, connection: Connection) -> None:
        """Tell a client from now on where the requests stand that its session left waiting elsewhere."""
        if connection.session is not None:
            for place in self._sequencer.state.lines.of_session.get(connection.session.number, ()):
                self._told.setdefault(place, 0)

    def leave(self, connection: Connection) -> int | None:
        """Return the place in which a client that is gone waited to be welcomed; None where it did not."""
        self._spoken.pop(connection, None)
        place = self._places.pop(connection, None)
        if place is not None:
            del self._connections[place]
        return place

    def take(self, place: int) -> Connection | None:
        """Return the client that waited to be welcomed in a place that is left by now."""
        connection = self._connections.pop(place, None)
        if connection is not None:
            del self._places[connection]
        return connection

    def connection_of(self, place: QueuePlace) -> Connection | None:
        """Return the connection over which somebody waits; None where a lost session does."""
        return self._connections.get(place.number) if place.session is None else self._connection_of(place.session)

    def tell(self, now: Instant) -> None:
        """Tell those whose position has changed; called about once a second. Many are told in pieces, spread over
        the second.
        """
        lines = self._sequencer.state.lines
        if not lines:
            self._told.clear()
            self._spoken.clear()
            self._due.clear()
            return
        for number in [each for each in self._told if each not in lines]:
            del self._told[number]
        self._due = deque(self._told)
        if self._timer is None:
            self._go_on(now, math.ceil(len(self._due) / PIECES))

    def _go_on(self, now: Instant, piece: int) -> None:
        lines, spoken = self._sequencer.state.lines, self._spoken
        for _ in range(min(piece, len(self._due))):
            place = lines.get(self._due.popleft())
            connection = self.connection_of(place) if place is not None else None
            if place is None or connection is None or now.mono - spoken.get(connection, now.mono - PAUSE) < PAUSE:
                continue
            if self._is_held(connection):
                continue
            position = lines.index(place) + 1
            if position != self._told.get(place.number):
                self._note(place.number, position, connection, now.mono)
                message = queued(self._sequencer.state, place, now)
                connection.send(message if place.id is None else {"type": message["type"], "id": place.id, **message})
        self._timer = None
        if self._due:
            self._timer = asyncio.get_running_loop().call_later(PIECE_PAUSE, self._go_on, now, piece)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, place: int, position: int, connection: Connection, mono: float) -> None:
        self._told.pop(place, None)
        self._told[place] = position
        self._spoken[connection] = mono
