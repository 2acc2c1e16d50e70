"""The reference client: what an application speaks to the gateway to be counted.

    async with Client("127.0.0.1", account="ann@example.org", device="laptop") as client:
        try:
            await client.join("weekly", host=True)
        except Denied as denial:
            print(f"{denial.reason}: {denial.used} of {denial.limit} in use")
        async for message in client:
            print("the gateway says", message)

`Client` says hello, beats at the interval the gateway states (the first beat at a random point of it), matches answers
to requests by `id`, comes back with full jitter after a loss, resumes its session by token and joins its conferences
again where the gateway did not resume them. Whatever the gateway says unasked (`status`, `removed`, `closing`, `joined`
after `waiting`, `welcome` after a reconnect) comes out of the asynchronous iterator, or goes to `on_message`.

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
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Literal, Self, cast

from gateway.client_connection import PORTS, ClientConnection, ConnectionEnd, ServerProtocolError, Transport, codec
from gateway.core.wire import answers
from gateway.core.wire.answers import Answer
from gateway.core.wire.backoff import Backoff
from gateway.core.wire.close_codes import ENDINGS
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


class Denied(Exception):
    """The gateway refused a request by limit or rule.

    `pool`, `used` and `limit` are None where no pool was the reason; `retry_after` is in seconds, None where unknown.
    """

    def __init__(self, message: answers.DeniedAnswer) -> None:
        self.message = message
        self.request: str | None = message.get("request")
        self.reason: str = message.get("reason", "")
        self.conference: str | None = message.get("conference")
        self.pool: str | None = message.get("pool")
        self.used: int | None = message.get("used")
        self.limit: int | None = message.get("limit")
        self.retry_after: float | None = message.get("retry_after_seconds")
        full = f" ({self.pool} {self.used}/{self.limit})" if self.pool else ""
        super().__init__(f"{self.request} denied: {self.reason}{full}")


class RequestError(Exception):
    """The gateway could not act upon a request: `code` and `detail` of its `error`, for a programmer."""

    def __init__(self, message: answers.ErrorAnswer) -> None:
        self.message = message
        self.code: str = message.get("code", "")
        self.detail: str = message.get("detail", "")
        super().__init__(f"{self.code}: {self.detail}")


class Closed(ConnectionError):
    """There is no connection, or it ended before the answer came: whether the request was done is unknown."""

    def __init__(self, end: ConnectionEnd) -> None:
        super().__init__(f"connection ended: {end.reason}")
        self.end = end


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; a wait that takes longer raises `TimeoutError`."""

    connect: float = 10.0
    """For the connection itself."""
    welcome: float = 10.0
    """From there to `welcome`, a WebSocket upgrade included."""
    answer: float = 15.0
    """For the answer to a request; more than the gateway's own deadline for a commit."""
    bye: float = 5.0
    """For the gateway to close after `bye`."""


@dataclass(slots=True)
class _Asked:
    """A request on its way."""

    message: Message
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


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
        token: str | None = None,
        name: str = "tallygate-client/1",
        ssl: ssl.SSLContext | None = None,
        local_address: str | None = None,
        heartbeat: float | None = None,
        timeouts: Timeouts = Timeouts(),
        backoff: Backoff | None = Backoff(),  # noqa: B008 - immutable
        rejoin: bool = True,
        on_message: Callable[[Answer], None] | None = None,
        random: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`account` … `token` and `name` are the fields of `hello`, None leaves one out.

        `heartbeat` overrides the interval the gateway states (seconds); `backoff` None never reconnects; `rejoin` joins
        the conferences again after a reconnect that was not resumed; `on_message` takes the unasked messages instead of
        the iterator.
        """
        self.host = host
        self.port = PORTS[transport] if port is None else port
        self.transport: Transport = transport
        self.session: str | None = None
        self.model: str | None = None
        self.seats: tuple[str, ...] = ()
        self.rights: tuple[str, ...] = ()
        self.pro_expires: str | None = None
        self.asleep = False
        self.latency: float | None = None
        facts = {"client": name, "kind": kind, "account": account, "device": device, "home": home, "token": token}
        self._hello: Message = {"type": "hello", "protocol": 1} | {k: v for k, v in facts.items() if v is not None}
        self._ssl = ssl
        self._local_address = local_address
        self._heartbeat = heartbeat
        self._timeouts = timeouts
        self._backoff = backoff
        self._rejoin = rejoin
        self._on_message = on_message
        self._random = random or SystemRandom()
        self._clock = clock

        self._link: ClientConnection | None = None
        self._welcome: asyncio.Future[answers.Welcome] | None = None
        self._resume: str | None = None
        self._memberships: dict[str, Message] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._unasked: deque[Answer] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self._online = False
        self._end: ConnectionEnd | None = None
        self._lost = ConnectionEnd()
        self._leaving = False
        self._failures = 0
        self._since = 0.0
        self._recovery: asyncio.Task[None] | None = None
        self._beats: asyncio.TimerHandle | None = None
        self._interval = self._silence = 0.0
        self._heard = self._beaten = 0.0

    @property
    def conferences(self) -> frozenset[str]:
        """The conferences this session is a member of, or waits for."""
        return frozenset(self._memberships)

    @property
    def connected(self) -> bool:
        """Whether the session is welcomed and its connection stands."""
        return self._online

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
            self._changed.clear()
            await self._changed.wait()
        return self._unasked.popleft()

    async def connect(self) -> None:
        """Connect and be welcomed, in a new session; the first attempt is not repeated.

        Raises `Denied` (hello refused), `RequestError` (hello not understood), `Closed`, `TimeoutError` or `OSError`.
        """
        if self._link is not None or self._recovery is not None:
            raise RuntimeError("already connected")
        self._end, self._leaving, self._resume, self._memberships = None, False, None, {}
        self.asleep = False
        try:
            await self._attempt()
        except (Denied, RequestError, OSError) as fault:
            self._finish(_end_of(fault))
            raise

    async def ready(self) -> None:
        """Wait until it is connected (again).

        Raises `Closed` once it will not come back.
        """
        while not self.connected:
            if self._end is not None:
                raise Closed(self._end)
            self._changed.clear()
            await self._changed.wait()

    async def join(
        self,
        conference: str,
        *,
        host: bool = False,
        access: Literal["internal", "public"] | None = None,
        mode: Literal["group", "call"] | None = None,
        scheduled: bool | None = None,
        server: str | None = None,
    ) -> answers.Joined | answers.Waiting:
        """Join a conference: `joined`, or `waiting` until a host starts it (then `joined` comes unasked).

        What is None is left to the gateway's default; all but `host` bind only when this join creates the conference.
        """
        options = {"access": access, "mode": mode, "scheduled": scheduled, "server": server}
        given = {key: value for key, value in options.items() if value is not None}
        answer = await self.request("join", conference=conference, host=host, **given)
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

    async def wake(self) -> answers.Awake:
        """Be online again."""
        return cast(answers.Awake, await self.request("wake"))

    async def request_pro(self) -> answers.Granted:
        """Ask for a temporary PRO license: `granted` with its expiry."""
        return cast(answers.Granted, await self.request("request_pro"))

    async def request(self, verb: str, /, **fields: Any) -> Answer:
        """Send any request and return its answer.

        Raises `Denied`, `RequestError` (the gateway's `error`), `Closed` (no connection, or lost before the answer) or
        `TimeoutError`.
        """
        if self._link is None or not self._online:
            raise Closed(self._end or self._lost)
        number = next(self._numbers)
        asked = self._asked[number] = _Asked({"type": verb, **fields, "id": number})
        self._link.send(asked.message)
        try:
            async with asyncio.timeout(self._timeouts.answer):
                return await asked.answer
        finally:
            self._asked.pop(number, None)

    async def bye(self) -> None:
        """End the session: say `bye`, wait for the gateway to close, stop coming back. Doing it twice is harmless."""
        self._leaving = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
            self._recovery = None
        if self._link is not None:
            self._link.send({"type": "bye"})
            try:
                async with asyncio.timeout(self._timeouts.bye):
                    while self._link is not None:
                        self._changed.clear()
                        await self._changed.wait()
            except TimeoutError:
                self._drop(ConnectionEnd(error=TimeoutError("the gateway did not close after bye")))
        self._finish(self._end or ConnectionEnd())

    def abort(self) -> None:
        """Drop the connection without a word, as if the line was cut; the client then comes back by its settings."""
        if self._link is not None:
            self._link.abort()

    # Listener of the current link; an earlier one has nothing to say any more.

    def opened(self, link: ClientConnection) -> None:
        """Say hello, with the token of the session to resume if there is one."""
        if link is self._link:
            link.send(self._hello | ({"resume": self._resume} if self._resume else {}))

    def acked(self, link: ClientConnection) -> None:
        """Take the time of a heartbeat."""
        if link is self._link:
            self._heard = self._clock()
            self.latency = self._heard - self._beaten

    def received(self, link: ClientConnection, message: Answer) -> None:
        """Hand a message to whom it belongs."""
        if link is not self._link or self._welcome is None:
            return
        self._heard = self._clock()
        if not self._welcome.done():
            if message["type"] == "welcome":
                self._welcomed(message)
            elif message["type"] == "denied":
                self._welcome.set_exception(Denied(message))
            elif message["type"] == "error":
                self._welcome.set_exception(RequestError(message))
            return
        number = message.get("id")
        asked = self._asked.pop(number, None) if isinstance(number, int) else None
        self._note(message, asked.message if asked else {})
        if asked is None:
            self._deliver(message)
        elif asked.answer.done():
            return
        elif message["type"] == "denied":
            asked.answer.set_exception(Denied(message))
        elif message["type"] == "error":
            asked.answer.set_exception(RequestError(message))
        else:
            asked.answer.set_result(message)

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:
        """Fail what was asked, then come back or finish."""
        if link is not self._link:
            return
        online = self._online
        self._drop(end)
        if self._leaving:
            self._finish(end)
        elif not online or self._recovery is not None:
            return  # whoever awaits the attempt, or the recovery, sees that the link is gone
        elif self._backoff is None or not end.reconnect:
            self._finish(end)
        else:
            self._recovery = asyncio.get_running_loop().create_task(self._recover(self._backoff, end))

    def _welcomed(self, message: answers.Welcome) -> None:
        self.session = message.get("session")
        self.model = message.get("model")
        self._resume = message.get("resume")
        self._note(message, {})
        if self._welcome is not None:
            self._welcome.set_result(message)
        self._online = True
        self._since = self._heard
        self._interval = self._heartbeat or float(message.get("heartbeat_seconds") or 30.0)
        self._silence = float(message.get("timeout_seconds") or 2.5 * self._interval)
        first = self._random.uniform(0.0, self._interval)
        self._beats = asyncio.get_running_loop().call_later(first, self._beat)
        self._changed.set()

    def _beat(self) -> None:
        if self._link is None:
            return
        self._beaten = self._clock()
        if self._beaten - self._heard > max(self._silence, 2 * self._interval):
            self._link.abort(TimeoutError("the gateway is silent"))
            return
        self._link.beat()
        self._beats = asyncio.get_running_loop().call_later(self._interval, self._beat)

    def _note(self, message: Answer, asked: Message) -> None:
        """Keep seats, rights and memberships as the gateway states them."""
        if "seats" in message:
            held = cast(answers.Entitlements, message)
            self.seats = tuple(held["seats"])
            self.rights = tuple(held.get("rights", self.rights))
            self.pro_expires = held.get("pro_expires", self.pro_expires)
        conference = str(message.get("conference"))
        match message["type"]:
            case "joined" | "waiting":
                self.asleep = False
                self._memberships.setdefault(conference, asked or {"conference": conference})
            case "left" | "removed":
                self._memberships.pop(conference, None)
            case "denied" if message.get("request") == "join" and not asked:
                self._memberships.pop(conference, None)
            case "asleep" | "awake":
                self.asleep = message["type"] == "asleep"

    def _deliver(self, message: Answer) -> None:
        if self._on_message is not None:
            self._on_message(message)
        else:
            self._unasked.append(message)
            self._changed.set()

    async def _attempt(self) -> answers.Welcome:
        """Connect once and be welcomed."""
        loop = asyncio.get_running_loop()
        self._welcome = loop.create_future()
        # Nobody awaits it when the connection itself fails: its exception is nobody's then.
        self._welcome.add_done_callback(lambda welcome: welcome.cancelled() or welcome.exception())
        self._link = link = ClientConnection(codec(self.transport, self.host, self.port, self._random), self)
        source = (self._local_address, 0) if self._local_address else None
        try:
            async with asyncio.timeout(self._timeouts.connect):
                await loop.create_connection(lambda: link, self.host, self.port, ssl=self._ssl, local_addr=source)
            async with asyncio.timeout(self._timeouts.welcome):
                return await self._welcome
        except BaseException:
            self._drop(ConnectionEnd())
            raise

    async def _recover(self, backoff: Backoff, end: ConnectionEnd) -> None:
        """Come back: attempt after attempt until one holds or the gateway says not to."""
        if self._clock() - self._since >= backoff.cap:
            self._failures = 0  # only a connection that stood for a while ends the row of failures
        while end.reconnect:
            await asyncio.sleep(end.retry_after + backoff.delay(self._failures, self._random.uniform))
            self._failures += 1
            try:
                await self._take_up(await self._attempt())
            except (Denied, RequestError, OSError) as fault:
                end = _end_of(fault)
                self._drop(end)
            if self._online:
                break
            end = self._lost
        else:
            self._finish(end)
        self._recovery = None

    async def _take_up(self, welcome: answers.Welcome) -> None:
        """Go on where the lost connection was."""
        self._deliver(welcome)
        before = self._memberships
        if "conferences" in welcome:
            self._memberships = {name: before.get(name, {"conference": name}) for name in welcome["conferences"]}
            return
        asleep, self.asleep = self.asleep, False
        self._memberships = {}
        if not self._rejoin:
            return
        if asleep:
            await self._again("sleep", {})
        while before:
            conference, message = next(iter(before.items()))
            try:
                await self._again("join", {key: message[key] for key in message if key not in {"type", "id"}})
            except OSError:
                self._memberships = before | self._memberships
                raise
            del before[conference]

    async def _again(self, verb: str, fields: Message) -> None:
        """Repeat a request of the lost session; the answer is told like anything unasked."""
        answer: Answer
        try:
            answer = await self.request(verb, **fields)
        except (Denied, RequestError) as refusal:
            answer = refusal.message
        self._deliver(answer)

    def _drop(self, end: ConnectionEnd) -> None:
        """Forget the link; what still waits for it fails."""
        link, self._link = self._link, None
        self._online, self._lost = False, end
        if self._beats is not None:
            self._beats.cancel()
            self._beats = None
        if link is not None:
            link.abort()
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(Closed(end))
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(Closed(end))
        self._changed.set()

    def _finish(self, end: ConnectionEnd) -> None:
        if self._end is None:
            self._end = end
        self._changed.set()


def _end_of(fault: Exception) -> ConnectionEnd:
    """The end that a failed attempt amounts to."""
    match fault:
        case Denied():
            return ConnectionEnd(last=fault.message)
        case Closed():
            return fault.end
        case RequestError():
            return ConnectionEnd(
                ENDINGS["protocol_error"].code, fault.message, fault
            )  # the same hello would be refused again
    return ConnectionEnd(error=fault)
