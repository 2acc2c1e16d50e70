"""The reference client: what an application speaks to the gateway to be counted.

    async with Client("127.0.0.1", account="ann@example.org", device="laptop") as client:
        try:
            await client.join("weekly", host=True)
        except Denied as denial:
            print(f"{denial.reason}: {denial.used} of {denial.limit} in use")
        async for message in client:
            print("the gateway says", message)

`Client` is welcomed, beats and asks (`client_conversation`), comes back with full jitter after a loss, resumes its
session by token and joins its conferences again where the gateway did not resume them (`client_reconnection`). Whatever
the gateway says unasked (`status`, `removed`, `closing`, `joined` after `waiting`, `welcome` after a reconnect) comes
out of the asynchronous iterator, or goes to `on_message`.

Underneath, a `ClientConnection` is one connection and nothing else; a program that holds thousands of them
(`tallygate load`) uses it without `Client`.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random, SystemRandom
from typing import Any, Literal, Self, cast

from gateway.client_connection import PORTS, ConnectionEnd, ServerProtocolError, Transport, codec
from gateway.client_conversation import ClientConversation, Closed, Denied, RequestError, Timeouts, TokenSource, end_of
from gateway.client_reconnection import Participation, Reconnection
from gateway.client_trace import Trace, TracedCodec
from gateway.core.wire import answers
from gateway.core.wire.answers import Answer
from gateway.core.wire.backoff import Backoff
from gateway.core.wire.json_lines import Message

__all__ = [
    "Answer",
    "Backoff",
    "Client",
    "Closed",
    "ConnectionEnd",
    "Denied",
    "Message",
    "RequestError",
    "ServerProtocolError",
    "Timeouts",
    "Transport",
]

KEPT = 1024
"""Unasked messages kept for the iterator; beyond them the oldest is dropped."""


class Client:
    """One session with the gateway, kept over reconnects.

    Used as `async with Client(...)`, or by `connect` and `bye`. After a `welcome` it knows `session`, `model`, `seats`,
    `rights`, `pro_expires` and `conferences` (those it is a member of or waits for); later messages keep them current.
    `latency` is the time to the last `ack` in seconds. One event loop, one task at a time in the iterator.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        transport: Transport = "tcp",
        account: str | None = None,
        device: str | None = None,
        kind: str | None = None,
        home: str | None = None,
        token: str | TokenSource | None = None,
        name: str = "tallygate-client/1",
        ssl: ssl.SSLContext | None = None,
        local_address: str | None = None,
        heartbeat: float | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        backoff: Backoff | None = Backoff(),  # noqa: B008 - as above
        rejoin: bool = True,
        wait: int | None = None,
        on_queued: Callable[[answers.QueuedAnswer], None] = lambda _: None,
        on_message: Callable[[Answer], None] | None = None,
        trace: Trace | None = None,
        random: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`account` … `token` and `name` are the fields of `hello`, None leaves one out; a function gives its token.

        `heartbeat` overrides the interval the gateway states (seconds); `backoff` None never reconnects; `rejoin` joins
        the conferences again after a reconnect that was not resumed; `wait` is how many seconds `hello` may stand in
        line for a seat, each time, and `on_queued` is told where; `on_message` takes the unasked messages instead of
        the iterator; `trace` is told every message as it is on the wire, but for the token.
        """
        self.host = host
        self.port = PORTS[transport] if port is None else port
        self.transport: Transport = transport
        self.session: str | None = None
        self.model: str | None = None
        self.seats: tuple[str, ...] = ()
        self.rights: tuple[str, ...] = ()
        self.pro_expires: str | None = None
        self.latency: float | None = None
        facts = {"client": name, "kind": kind, "account": account, "device": device, "home": home, "token": token}
        self._hello: Message = {"type": "hello", "protocol": 1} | {k: v for k, v in facts.items() if v is not None}
        self._hello |= {} if wait is None else {"wait": wait}
        self._ssl = ssl
        self._local_address = local_address
        self._heartbeat = heartbeat
        self._timeouts = timeouts
        self._rejoin = rejoin
        self._on_message = on_message
        self._trace = trace
        self._on_queued = on_queued
        self._random = random or SystemRandom()
        self._clock = clock

        self._conversation: ClientConversation | None = None
        self._participation = Participation()
        self._reconnection = Reconnection(backoff, self._random, self._come_back, self._finish)
        self._activity: Message = {}
        self._resume: str | None = None
        self._numbers = itertools.count(1)
        self._unasked: deque[Answer] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self._end: ConnectionEnd | None = None
        self._lost = ConnectionEnd()
        self._leaving = False

    @property
    def conferences(self) -> frozenset[str]:
        """The conferences this session is a member of, or waits for."""
        return self._participation.conferences

    @property
    def asleep(self) -> bool:
        """Whether the session is connected without being online."""
        return self._participation.asleep

    @property
    def connected(self) -> bool:
        """Whether the session is welcomed and its connection stands."""
        return self._conversation is not None and self._conversation.online

    @property
    def end(self) -> ConnectionEnd | None:
        """How it ended; None while it is connected or coming back."""
        return self._end

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bye()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer:
        while not self._unasked:
            if self._end is not None:
                raise StopAsyncIteration
            await self._change()
        return self._unasked.popleft()

    async def connect(self) -> None:
        """Connect and be welcomed, in a new session; the first attempt is not repeated.

        Raises `Denied` (hello refused), `RequestError` (hello not understood), `Closed`, `TimeoutError` or `OSError`.
        """
        if self._conversation is not None or self._reconnection.running:
            raise RuntimeError("already connected")
        self._end, self._leaving, self._resume, self._participation = None, False, None, Participation()
        try:
            await self._attempt()
        except (Denied, RequestError, OSError) as fault:
            self._finish(end_of(fault))
            raise

    async def ready(self) -> None:
        """Wait until it is connected (again).

        Raises `Closed` once it will not come back.
        """
        while not self.connected:
            if self._end is not None:
                raise Closed(self._end)
            await self._change()

    async def lost(self) -> ConnectionEnd:
        """Wait until there is no connection, and return how the last one ended."""
        while self.connected:
            await self._change()
        return self._end or self._lost

    async def join(
        self,
        conference: str,
        *,
        host: bool = False,
        access: Literal["internal", "public"] | None = None,
        mode: Literal["group", "call"] | None = None,
        scheduled: bool | None = None,
        server: str | None = None,
        wait: int | None = None,
        on_queued: Callable[[answers.QueuedAnswer], None] | None = None,
    ) -> answers.Joined | answers.Waiting:
        """Join a conference: `joined`, or `waiting` until a host starts it (then `joined` comes unasked).

        What is None is left to the gateway's default; `access` … `server` bind only when this join creates the
        conference. `wait` is how many seconds the request may stand in line for a seat; `on_queued` is told its
        position, each time that changes. Who is cancelled meanwhile leaves the line.
        """
        options = {"access": access, "mode": mode, "scheduled": scheduled, "server": server, "wait": wait}
        given = {key: value for key, value in options.items() if value is not None}
        conversation, queued = self._conversation, False

        def note(message: answers.QueuedAnswer) -> None:
            nonlocal queued
            queued = True
            if on_queued is not None:
                on_queued(message)

        try:
            answer = await self.request("join", on_queued=note, conference=conference, host=host, **given)
        except (asyncio.CancelledError, TimeoutError):
            if queued and conversation is not None:
                conversation.say({"type": "leave", "conference": conference})
            raise
        return cast(answers.Joined | answers.Waiting, answer)

    async def start(self, conference: str) -> answers.Started:
        """Make a scheduled conference live, as a member that joined with `host`."""
        return cast(answers.Started, await self.request("start", conference=conference))

    async def leave(self, conference: str) -> answers.Left:
        """Leave a conference."""
        return cast(answers.Left, await self.request("leave", conference=conference))

    async def sleep(self) -> answers.Asleep:
        """Stay connected without being online."""
        return cast(answers.Asleep, await self.request("sleep"))

    async def wake(
        self, *, wait: int | None = None, on_queued: Callable[[answers.QueuedAnswer], None] | None = None
    ) -> answers.Awake:
        """Be online again; `wait` and `on_queued` as in `join`."""
        return cast(answers.Awake, await self.request("wake", on_queued=on_queued, **_waiting(wait)))

    def say_active(self, active: bool | None, *, wait: int | None = None) -> None:
        """Say with each heartbeat from now on, and with one at once, whether somebody uses the application; None says
        no more of it. Where nobody does, the gateway may put it to sleep (`asleep` comes unasked); where somebody does,
        it wakes it, or answers `denied` or `queued`: `wait` is how many seconds it may stand in line for that.
        """
        self._activity = {} if active is None else {"active": active, **_waiting(wait)}
        if self._conversation is not None:
            self._conversation.say_activity(self._activity)

    async def request_pro(
        self, *, wait: int | None = None, on_queued: Callable[[answers.QueuedAnswer], None] | None = None
    ) -> answers.Granted:
        """Ask for a temporary PRO license: `granted` with its expiry; `wait` and `on_queued` as in `join`."""
        return cast(answers.Granted, await self.request("request_pro", on_queued=on_queued, **_waiting(wait)))

    async def request(
        self, verb: str, /, *, on_queued: Callable[[answers.QueuedAnswer], None] | None = None, **fields: Any
    ) -> Answer:
        """Send any request and return its answer; `on_queued` is told where it stands in line, if it does.

        Raises `Denied`, `RequestError` (the gateway's `error`), `Closed` (no connection, or lost before the answer) or
        `TimeoutError`.
        """
        if self._conversation is None or not self._conversation.online:
            raise Closed(self._end or self._lost)
        return await self._conversation.request({"type": verb, **fields}, on_queued)

    async def bye(self) -> None:
        """End the session: say `bye`, wait for the gateway to close, stop coming back. Doing it twice is harmless."""
        self._leaving = True
        await self._reconnection.stop()
        if self._conversation is not None:
            self._conversation.bye()
            try:
                async with asyncio.timeout(self._timeouts.bye):
                    while self._conversation is not None:
                        await self._change()
            except TimeoutError:
                self._drop(ConnectionEnd(error=TimeoutError("the gateway did not close after bye")))
        self._finish(self._end or ConnectionEnd())

    def abort(self) -> None:
        """Drop the connection without a word, as if the line was cut; the client then comes back by its settings."""
        if self._conversation is not None:
            self._conversation.abort()

    # -- one connection ------------------------------------------------------------------------------------------------

    async def _attempt(self) -> answers.Welcome:
        """Connect once and be welcomed."""
        plain = codec(self.transport, self.host, self.port, self._random)
        conversation = self._conversation = ClientConversation(
            self._hello | ({"resume": self._resume} if self._resume else {}),
            plain if self._trace is None else TracedCodec(plain, self._trace),
            numbers=self._numbers,
            heartbeat=self._heartbeat,
            timeouts=self._timeouts,
            random=self._random,
            clock=self._clock,
            on_message=self._hear,
            on_ack=partial(setattr, self, "latency"),
            on_end=self._lose,
            on_queued=self._on_queued,
        )
        conversation.activity = self._activity
        try:
            return await conversation.open(self.host, self.port, self._ssl, self._local_address)
        except BaseException as fault:
            self._conversation = None
            self._lost = end_of(fault) if isinstance(fault, Exception) else ConnectionEnd()
            self._changed.set()
            raise

    def _hear(self, message: Answer, request: Message | None) -> None:
        """Keep what the gateway states, and hand on what nobody asked for."""
        if message["type"] == "welcome":
            self.session = message.get("session")
            self.model = message.get("model")
            self._resume = message.get("resume")
            self._participation.welcomed(message)
            self._changed.set()
        else:
            self._participation.note(message, request)
        if "seats" in message:
            held = cast(answers.Entitlements, message)
            self.seats = tuple(held["seats"])
            self.rights = tuple(held.get("rights", self.rights))
            self.pro_expires = held.get("pro_expires", self.pro_expires)
        if request is None and (message["type"] != "welcome" or self._reconnection.running):
            self._deliver(message)

    def _deliver(self, message: Answer) -> None:
        if self._on_message is not None:
            self._on_message(message)
        else:
            self._unasked.append(message)
            self._changed.set()

    def _lose(self, end: ConnectionEnd) -> None:
        """Come back after the loss of the connection, or finish."""
        conversation, self._conversation = self._conversation, None
        self._lost = end
        self._changed.set()
        if self._leaving or conversation is None:
            self._finish(end)
        elif not self._reconnection.running:  # if it is, its attempt sees that the connection is gone
            self._reconnection.start(end, conversation.stood)

    # -- coming back ---------------------------------------------------------------------------------------------------

    async def _come_back(self) -> None:
        """Connect once more, and go on where the lost connection was."""
        welcome = await self._attempt()
        if self._rejoin and "conferences" not in welcome:
            try:
                await self._participation.restore(self.request, self._deliver)
            except OSError as fault:
                self._drop(end_of(fault))
                raise
        if not self.connected:
            raise Closed(self._lost)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _change(self) -> None:
        """Wait until something has changed."""
        self._changed.clear()
        await self._changed.wait()

    def _drop(self, end: ConnectionEnd) -> None:
        """Forget the connection; what still waits for it fails."""
        conversation, self._conversation = self._conversation, None
        self._lost = end
        if conversation is not None:
            conversation.drop(end)
        self._changed.set()

    def _finish(self, end: ConnectionEnd) -> None:
        """Do not come back any more."""
        self._drop(end)
        if self._end is None:
            self._end = end


def _waiting(wait: int | None) -> dict[str, int]:
    return {} if wait is None else {"wait": wait}
