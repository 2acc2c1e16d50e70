"""What a client and the gateway say to each other over one connection.

A `ClientConversation` says hello, beats at the interval that the gateway states (the first beat at a random point of
it), and matches answers to requests by `id` (`PROTOCOL.md`, Client duties). It never comes back after a loss: the next
connection has a conversation of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random

from gateway.client_connection import ClientConnection, Codec, ConnectionEnd
from gateway.client_pacing import SILENCE, Pacing, PendingRequest
from gateway.core.wire.answers import Answer, DeniedAnswer, ErrorAnswer, QueuedAnswer, Welcome, seconds
from gateway.core.wire.close_codes import ENDINGS
from gateway.core.wire.json_lines import Message

USUAL_INTERVAL = 30.0
"""Seconds between two heartbeats where the gateway states no time."""
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 3600.0
"""Bounds of what is taken for that, whatever the gateway states: ten messages a second are what it reads for ever, if
nothing else is set (`PROTOCOL.md`, Rates)."""


TokenSource = Callable[[], Awaitable[str]]
"""Gives the token for the next `hello`: one that ends must be another one when a client comes back."""


def heartbeat_interval(welcome: Welcome | QueuedAnswer) -> float:
    """Return the seconds between two heartbeats, as the gateway states them within bounds."""
    stated = seconds(welcome.get("heartbeat_seconds")) or USUAL_INTERVAL
    return min(max(stated, SHORTEST_INTERVAL), LONGEST_INTERVAL)


class Denied(Exception):
    """The gateway refused a request by limit or rule.

    `pool`, `used` and `limit` are None where no pool was the reason; `retry_after` is in seconds, None where unknown;
    `waited` is how many seconds the request stood in line, None where it did not.
    """

    def __init__(self, message: DeniedAnswer) -> None:
        self.message = message
        self.request: str | None = message.get("request")
        self.reason: str = message.get("reason", "")
        self.conference: str | None = message.get("conference")
        self.pool: str | None = message.get("pool")
        self.used: int | None = message.get("used")
        self.limit: int | None = message.get("limit")
        self.retry_after: float | None = seconds(message.get("retry_after_seconds"))
        self.waited: float | None = seconds(message.get("waited_seconds"))
        full = f" ({self.pool} {self.used}/{self.limit})" if self.pool else ""
        super().__init__(f"{self.request} denied: {self.reason}{full}")


class RequestError(Exception):
    """The gateway could not act upon a request: `code` and `detail` of its `error`, for a programmer."""

    def __init__(self, message: ErrorAnswer) -> None:
        self.message = message
        self.code: str = message.get("code", "")
        self.detail: str = message.get("detail", "")
        super().__init__(f"{self.code}: {self.detail}")


class Closed(ConnectionError):
    """There is no connection, or it ended before the answer came: whether the request was done is unknown."""

    def __init__(self, end: ConnectionEnd) -> None:
        super().__init__(f"connection ended: {end.reason}")
        self.end = end


def end_of(fault: Exception) -> ConnectionEnd:
    """Return the end that a failed attempt to connect amounts to."""
    match fault:
        case Denied():
            return ConnectionEnd(last=fault.message)
        case Closed():
            return fault.end
        case RequestError():  # the same hello would be refused again
            return ConnectionEnd(ENDINGS["protocol_error"].code, fault.message, fault)
    return ConnectionEnd(error=fault)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; a wait that takes longer raises `TimeoutError`."""

    connect: float = 10.0
    """For the connection itself."""
    welcome: float = 10.0
    """From there to `welcome`, a WebSocket upgrade included."""
    answer: float = 15.0
    """For the answer to a request, once it was sent; more than the gateway's own deadline for a commit."""
    bye: float = 5.0
    """For the gateway to close after `bye`."""


class ClientConversation:
    """One connection from hello to its end; the listener of its `ClientConnection`.

    `on_message` is called with `welcome` and with every message after it, each with the request that it answers (None
    where nobody asked for it). `on_ack` is called with the seconds that the answer to a heartbeat took. `on_end` is
    called once when a connection ends that was welcomed; before that, `open` raises. After `drop` nothing is called.
    """

    def __init__(
        self,
        hello: Message,
        codec: Codec,
        *,
        numbers: Iterator[int],
        heartbeat: float | None,
        timeouts: Timeouts,
        random: Random,
        clock: Callable[[], float],
        on_message: Callable[[Answer, Message | None], None],
        on_ack: Callable[[float], None],
        on_end: Callable[[ConnectionEnd], None],
        on_queued: Callable[[QueuedAnswer], None] = lambda _: None,
    ) -> None:
        """Where the `token` of `hello` is a `TokenSource`, it is asked first, within the time to connect.

        `numbers` gives each request an `id` that no other request of the client has had.

        `heartbeat` overrides the interval that the gateway states (seconds); `clock` gives monotonic seconds.
        `on_queued` is told where a `hello` stands in line.
        """
        self.online = False
        """Whether it is welcomed and the connection stands."""
        self.activity: Message = {}
        """What heartbeats say of whether somebody uses the application."""
        self._hello = hello
        self._connection = ClientConnection(codec, self)
        self._numbers = numbers
        self._heartbeat = heartbeat
        self._timeouts = timeouts
        self._random = random
        self._clock = clock
        self._on_message = on_message
        self._on_ack = on_ack
        self._on_end = on_end
        self._on_queued = on_queued
        self._opening: asyncio.Timeout | None = None
        self._welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        # Nobody awaits it when the connection itself fails: its exception is nobody's then.
        self._welcome.add_done_callback(lambda welcome: welcome.cancelled() or welcome.exception())
        self._pacing = Pacing(self._connection.send, timeouts.answer)
        self._over = self._leaving = False
        self._farewell: asyncio.TimerHandle | None = None
        self._beats: asyncio.TimerHandle | None = None
        self._interval = self._silence = 0.0
        self._welcomed_at = self._heard_at = self._beaten_at = 0.0

    @property
    def stood(self) -> float:
        """Seconds since `welcome`."""
        return self._clock() - self._welcomed_at

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None, local_address: str | None) -> Welcome:
        """Connect, say hello, and return the `welcome`.

        Raises `Denied` (hello refused), `RequestError` (hello not understood), `Closed`, `TimeoutError` or `OSError`.
        """
        loop = asyncio.get_running_loop()
        source = (local_address, 0) if local_address else None
        try:
            async with asyncio.timeout(self._timeouts.connect):
                if callable(self._hello.get("token")):
                    self._hello = self._hello | {"token": await self._hello["token"]()}
                await loop.create_connection(lambda: self._connection, host, port, ssl=tls, local_addr=source)
            async with asyncio.timeout(self._timeouts.welcome) as self._opening:
                return await self._welcome
        except BaseException:
            self.drop(ConnectionEnd())
            raise

    async def request(self, message: Message, on_queued: Callable[[QueuedAnswer], None] | None = None) -> Answer:
        """Send a request and return its answer; an `id` is added to it. One that the gateway drops is sent again.

        Where it asks to wait for a seat, its answer is the one that comes after that; `on_queued` is told meanwhile
        where it stands in line.

        Raises `Denied`, `RequestError`, `Closed` (lost before the answer) or `TimeoutError`.
        """
        number = next(self._numbers)
        async with asyncio.timeout(None) as limit:
            pending = PendingRequest(number, {**message, "id": number}, limit, on_queued)
            self._pacing.ask(pending)
            try:
                return await pending.answer
            finally:
                self._pacing.forget(pending)

    def say_activity(self, activity: Message) -> None:
        """Have heartbeats say this from now on, beginning with one at once."""
        self.activity = activity
        if activity and self.online:
            self._beaten_at = self._clock()
            self._connection.send({"type": "heartbeat", **activity})

    def say(self, message: Message) -> None:
        """Send a message whose answer nobody waits for."""
        if not self._over:
            self._connection.send(message)

    def bye(self) -> None:
        """Ask the gateway to end the session and close."""
        self._leaving = True
        self._pacing.finish()
        self._say_bye()

    def _say_bye(self) -> None:
        delay = self._pacing.delay
        if not delay:
            self._connection.send({"type": "bye"})
            delay = SILENCE
        if self._farewell is not None:
            self._farewell.cancel()
        if self._pacing.slowed:  # it may be dropped without a word
            self._farewell = asyncio.get_running_loop().call_later(delay, self._say_bye)

    def abort(self) -> None:
        """Cut the connection without a word; `on_end` follows."""
        self._connection.abort()

    def drop(self, end: ConnectionEnd) -> None:
        """Cut the connection; what is waited for fails with `end`, and nothing is called any more."""
        if not self._over:
            self._stop(end)
            self._connection.abort()

    # -- what the connection says --------------------------------------------------------------------------------------

    def opened(self, link: ClientConnection) -> None:
        """Say hello."""
        link.send(self._hello)

    def acked(self, link: ClientConnection) -> None:  # noqa: ARG002 - a conversation has one connection
        """Take the time of a heartbeat."""
        if not self._over:
            self._heard_at = self._clock()
            self._on_ack(self._heard_at - self._beaten_at)

    def received(self, link: ClientConnection, message: Answer) -> None:  # noqa: ARG002 - as above
        """Hand a message to whom it belongs."""
        if self._over:
            return
        self._heard_at = self._clock()
        if message["type"] == "queued":
            self._wait_in_line(message)
            return
        if not self._welcome.done():
            self._open(message)
            return
        number = message.get("id")
        pending = self._pacing.take(number) if isinstance(number, int) else None
        if pending is None and isinstance(number, int) and self._pacing.is_repetition(number):
            return
        if message["type"] == "error" and message.get("code") == "too_fast" and number is None:
            self._pacing.slow_down()
            if self._leaving:
                self._say_bye()
        self._on_message(message, pending.message if pending else None)
        if pending is None or pending.answer.done():
            return
        if message["type"] == "denied":
            pending.answer.set_exception(Denied(message))
        elif message["type"] == "error":
            pending.answer.set_exception(RequestError(message))
        else:
            pending.answer.set_result(message)

    def _open(self, message: Answer) -> None:
        """Take what answers `hello`."""
        if message["type"] == "welcome":
            self._begin(message)
        elif message["type"] == "denied":
            self._welcome.set_exception(Denied(message))
        elif message["type"] == "error":
            self._welcome.set_exception(RequestError(message))

    def _wait_in_line(self, message: QueuedAnswer) -> None:
        """Wait as long as the gateway lets a request stand in line; who waits to be welcomed beats meanwhile."""
        left = seconds(message.get("wait_seconds")) or 0.0
        if not self._welcome.done():
            if self._opening is not None:
                self._opening.reschedule(asyncio.get_running_loop().time() + left + self._timeouts.welcome)
            if self._beats is None:
                self._start_beating(message)
            self._on_queued(message)
            return
        number = message.get("id")
        if number is None:  # a heartbeat asked to be woken
            self._on_message(message, None)
            return
        pending = self._pacing.queue(number, left) if isinstance(number, int) else None
        if pending is not None and pending.on_queued is not None:
            pending.on_queued(message)

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:  # noqa: ARG002 - as above
        """Fail what is waited for, and tell."""
        if self._over:
            return
        welcomed = self.online
        self._stop(end)
        if welcomed:
            self._on_end(end)

    def _begin(self, welcome: Welcome) -> None:
        self.online = True
        self._welcomed_at = self._heard_at
        if self._beats is not None:
            self._beats.cancel()
        self._start_beating(welcome)
        self._welcome.set_result(welcome)
        self._on_message(welcome, None)

    def _start_beating(self, stated: Welcome | QueuedAnswer) -> None:
        self._interval = self._heartbeat or heartbeat_interval(stated)
        self._silence = seconds(stated.get("timeout_seconds")) or 2.5 * self._interval
        first = self._random.uniform(0.0, self._interval)
        self._beats = asyncio.get_running_loop().call_later(first, self._beat)

    def _beat(self) -> None:
        self._beaten_at = self._clock()
        if self._beaten_at - self._heard_at > max(self._silence, 2 * self._interval):
            self._connection.abort(TimeoutError("the gateway is silent"))
            return
        if self.activity:
            self._connection.send({"type": "heartbeat", **self.activity})
        else:
            self._connection.beat()
        self._beats = asyncio.get_running_loop().call_later(self._interval, self._beat)

    def _stop(self, end: ConnectionEnd) -> None:
        self._over, self.online = True, False
        for timer in (self._beats, self._farewell):
            if timer is not None:
                timer.cancel()
        if not self._welcome.done():
            self._welcome.set_exception(Closed(end))
        for pending in self._pacing.stop():
            if not pending.answer.done():
                pending.answer.set_exception(Closed(end))
