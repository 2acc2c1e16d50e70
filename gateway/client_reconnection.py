"""How a client comes back after a loss, and goes on where it was (`PROTOCOL.md`, Client duties).

`Reconnection` makes attempt after attempt with full jitter. `Participation` knows what a session takes part in, so that
a new session can be brought to where the lost one was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from gateway.client_connection import ConnectionEnd
from gateway.client_conversation import Denied, RequestError, end_of
from gateway.core.wire.answers import Answer, Welcome
from gateway.core.wire.backoff import Backoff
from gateway.core.wire.json_lines import Message


class Reconnection:
    """Brings a client back: attempt after attempt until one holds, or the gateway says to stay away.

    Without a `backoff` it makes none. `attempt` connects and goes on where the client was; it raises `Denied`,
    `RequestError` or `OSError`. `give_up` is called with the end after which no attempt follows, and with any other
    fault as the end. It owns the one task in which this happens.
    """

    def __init__(
        self,
        backoff: Backoff | None,
        random: Random,
        attempt: Callable[[], Awaitable[None]],
        give_up: Callable[[ConnectionEnd], None],
    ) -> None:
        self._backoff = backoff
        self._random = random
        self._attempt = attempt
        self._give_up = give_up
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the client is coming back."""
        return self._task is not None

    def start(self, end: ConnectionEnd, stood: float) -> None:
        """Begin after `end` of a connection that stood for so many seconds, or give up at once."""
        if self._backoff is None or not end.reconnect:
            self._give_up(end)
            return
        if stood >= self._backoff.cap:
            self._failures = 0  # only a connection that stood for a while ends the row of failures
        self._task = asyncio.get_running_loop().create_task(self._run(end, self._backoff), name="client reconnection")

    async def stop(self) -> None:
        """Give it up, without a call of `give_up`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, end: ConnectionEnd, backoff: Backoff) -> None:
        while end.reconnect:
            await asyncio.sleep(end.retry_after + backoff.delay(self._failures, self._random.uniform))
            self._failures += 1
            try:
                await self._attempt()
            except (Denied, RequestError, OSError) as fault:
                end = end_of(fault)
            except Exception as fault:  # such as that of an application's callback: who waits must hear of it
                end = ConnectionEnd(error=fault)
                break
            else:
                self._task = None
                return
        self._task = None
        self._give_up(end)


class Participation:
    """What a session takes part in, as the gateway states it: its conferences, and whether it sleeps.

    It keeps the request that joined each conference, and what a new session has not done again yet.
    """

    def __init__(self) -> None:
        self.asleep = False
        self._joined: dict[str, Message] = {}
        self._to_join: dict[str, Message] = {}
        self._to_sleep = False

    @property
    def conferences(self) -> frozenset[str]:
        """The conferences that the session is a member of, or waits for."""
        return frozenset(self._joined)

    def welcomed(self, welcome: Welcome) -> None:
        """Take over what a resumed session has; a new one has nothing, and everything is to be done again."""
        before = self._joined | self._to_join
        if "conferences" in welcome:
            self._joined = {name: before.get(name, {"conference": name}) for name in welcome["conferences"]}
            self._to_join = {}
            self._to_sleep = False
            self.asleep = welcome.get("presence", "asleep" if self.asleep else "awake") == "asleep"
        else:
            self._joined, self._to_join = {}, before
            self.asleep, self._to_sleep = False, self.asleep or self._to_sleep

    def note(self, message: Answer, request: Message | None) -> None:
        """Follow a message of the gateway, which answers `request` (None where nobody asked for it)."""
        conference = str(message.get("conference"))
        match message["type"]:
            case "joined" | "waiting":
                self.asleep = False
                fields = {name: value for name, value in (request or {}).items() if name not in {"type", "id"}}
                self._joined.setdefault(conference, fields or {"conference": conference})
            case "left" | "removed":
                self._joined.pop(conference, None)
            case "denied" if message.get("request") == "join" and request is None:
                self._joined.pop(conference, None)
            case "asleep" | "awake":
                self.asleep = message["type"] == "asleep"
                if self.asleep:  # who sleeps is a member of nothing
                    self._joined.clear()

    async def restore(self, request: Callable[..., Awaitable[Answer]], deliver: Callable[[Answer], None]) -> None:
        """Do again, in a new session, what the lost one had done: `request` is that of the client.

        The answers, refusals too, are given to `deliver` like what comes unasked. Raises `Closed` or `TimeoutError`;
        what was not answered until then is left for the next time.
        """

        async def repeat(verb: str, fields: Message) -> None:
            answer: Answer
            try:
                answer = await request(verb, **fields)
            except (Denied, RequestError) as refusal:
                answer = refusal.message
            deliver(answer)

        if self._to_sleep:
            await repeat("sleep", {})
            self._to_sleep = False
        while self._to_join:
            conference, fields = next(iter(self._to_join.items()))
            await repeat("join", fields)
            self._to_join.pop(conference, None)
