"""One client of a load: what it says during a visit, and how the visit ends.

A visit goes from a connection to its end. Whether a client comes again is decided by its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple, Protocol

from gateway.client_connection import ClientConnection, ConnectionEnd, ServerProtocolError, Transport
from gateway.core.wire.answers import Answer, DeniedAnswer, ErrorAnswer, QueuedAnswer, Welcome
from gateway.core.wire.json_lines import Message
from gateway.load.profile import LoadGroup
from gateway.load.tally import Tally

AGAIN = 1.0
"""Seconds after which a peer that was too fast asks again, twice as many each time."""
UNAVAILABLE = 503
"""The status of a WebSocket upgrade where the gateway takes no more connections now."""


class PeerAccount(NamedTuple):
    """The account that a peer claims, and its device."""

    account: str
    device: str


class PeerOwner(Protocol):
    """Whose peers they are."""

    loop: asyncio.AbstractEventLoop
    tally: Tally
    random: Random
    still: bool
    """Nothing new is begun: what is held is compared."""
    stopping: bool
    """Whatever ends from now on was meant to."""

    def beat_for(self, peer: SimulatedPeer, stated: Welcome | QueuedAnswer) -> None:
        """Send heartbeats for a peer from now on, until its connection is gone or it falls silent."""

    def gone(self, peer: SimulatedPeer) -> None:
        """The visit of a peer is over."""

    def settled(self) -> None:
        """A peer holds what it asked for, or does not."""


class SimulatedPeer:
    """One client. It acts upon what its connection reports, and upon timers that end with the visit."""

    __slots__ = (
        "_account",
        "_answered",
        "_asked",
        "_asked_at",
        "_asleep",
        "_back",
        "_began",
        "_leaving",
        "_member",
        "_owner",
        "_pause",
        "_queued",
        "_refused",
        "_resume",
        "_retries",
        "_timers",
        "_welcomed",
        "beaten",
        "beating",
        "group",
        "link",
        "number",
        "settled",
        "transport",
    )

    def __init__(self, owner: PeerOwner, number: int, group: LoadGroup, account: PeerAccount | None) -> None:
        self._owner = owner
        self._account = account
        self._resume: str | None = None
        self._retries = group.retries
        self._back: float | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.settled = False
        self.beaten = 0.0
        self.number = number
        self.group = group
        self.transport: Transport = "websocket" if group.uses_websocket(number) else "tcp"
        self.link: ClientConnection | None = None
        self._begin()

    def _begin(self) -> None:
        self._began = self._owner.loop.time()
        self._welcomed = self._member = self._queued = self._asleep = False
        self.beating = self._refused = self._answered = False
        self._asked: Message | None = None
        self._asked_at = 0.0
        self._pause = AGAIN
        self._leaving: Literal["", "bye", "cut", "silent"] = ""

    @property
    def present(self) -> bool:
        """Whether it is welcomed, and not about to go."""
        return self._welcomed and not self._leaving

    @property
    def busy(self) -> bool:
        """Whether something is under way: a connection, an answer, an end."""
        if self.link is None:
            return False
        if self._leaving:
            return self._leaving != "silent"
        return not self._queued and (not self._welcomed or self._asked is not None)

    def visit(self, link: ClientConnection) -> None:
        """Begin a visit over a connection that is being made."""
        self._begin()
        self.link = link

    def return_after(self) -> float | None:
        """Return the seconds after which it comes again; None where it does not by itself."""
        group, random, back = self.group, self._owner.random, self._back
        self._back = None
        if back is not None:
            return back
        if self._refused and group.retry is not None and self._retries:
            self._retries -= 1
            self._owner.tally.retried += 1
            return group.retry.draw(random)
        self._retries = group.retries
        return None if group.away is None else group.away.draw(random)

    def cut(self, back: float | None = None) -> None:
        """Close the connection without a word, and come again after so many seconds."""
        if self.link is not None:
            self._leave("cut")
            self._back = back
            self._owner.tally.cut += 1
            self.link.abort()

    # -- what its connection reports ---------------------------------------------------------------------------------

    def opened(self, link: ClientConnection) -> None:
        """Say hello."""
        self._owner.tally.connected += 1
        message: Message = {"type": "hello", "protocol": 1, "client": "tallygate-load/1", "kind": self.group.kind}
        if self._account is not None:
            message |= {"account": self._account.account, "device": self._account.device}
        if self._resume is not None:
            message["resume"] = self._resume
        link.send(message | self.group.patience)

    def acked(self, link: ClientConnection) -> None:  # noqa: ARG002 - a listener may have several links, a peer has one
        """Record how long the answer to a heartbeat took."""
        tally = self._owner.tally
        tally.acks += 1
        tally.ack.record(self._owner.loop.time() - self.beaten)

    def received(self, link: ClientConnection, message: Answer) -> None:  # noqa: ARG002 - as above
        """Count what the gateway says, and ask for the next thing."""
        tally, waited = self._owner.tally, False
        if message["type"] in {"welcome", "joined", "waiting", "awake", "denied"}:
            waited = self._leave_line()
        match message["type"]:
            case "welcome":
                self._enter(message, waited=waited)
            case "queued":
                self._wait_in_line(message)
            case "joined" | "waiting" if not self._member:
                if not waited:
                    tally.join.record(self._owner.loop.time() - self._asked_at)
                self._become_member()
                self._settle()
            case "denied" if self._member and message.get("reason") == "already_member":
                self._asked = None  # it was asked for again, and needed not be
            case "denied":
                self._denied(message)
            case "asleep":
                self._fall_asleep()
            case "awake":
                self._wake_up()
            case "error":
                self._faulted(message)
            case "removed":
                tally.removed[str(message.get("reason"))] += 1
                self._end_membership()

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:  # noqa: ARG002 - as above
        """Count how it ended."""
        if self.link is None:
            return
        tally, stopping = self._owner.tally, self._owner.stopping
        self.link = None
        self.beating = False
        self._cancel()
        if self._leaving == "silent":
            tally.silent -= 1
            tally.expired += not stopping
        if self._welcomed:
            tally.open[self.transport] -= 1
            if not self._leaving and not stopping:
                tally.lost[end.reason] += 1
        elif isinstance(end.error, ServerProtocolError) and end.error.status == UNAVAILABLE:
            tally.denied["upgrade unavailable"] += 1
            self._refused = True
        elif not self._answered and not stopping:
            tally.errors[end.reason] += 1
        if self._leaving not in {"cut", "silent"}:
            self._resume = None
        if self._asleep:
            tally.asleep -= 1
        self._end_membership()
        self._leave_line()
        self._settle()
        self._owner.gone(self)

    # -- what becomes of it ------------------------------------------------------------------------------------------

    def _enter(self, message: Welcome, *, waited: bool) -> None:
        owner, tally = self._owner, self._owner.tally
        self._welcomed = True
        self._resume = message.get("resume")
        self._retries = self.group.retries
        tally.welcomed += 1
        tally.open[self.transport] += 1
        if not waited:
            tally.welcome.record(owner.loop.time() - self._began)
        self._beat(message)
        if self.group.hold is not None:
            self._after("visit", self.group.hold.draw(owner.random), self._go)
        if message.get("conferences"):
            self._become_member()
        if message.get("presence") == "asleep":
            self._fall_asleep()
        else:
            self._stay_awake()
            self._ask_for_conference()

    def _stay_awake(self) -> None:
        if self.group.awake is not None:
            self._after("rest", self.group.awake.draw(self._owner.random), self._sleep)

    def _sleep(self) -> None:
        if self._asked is not None or self._queued:
            self._stay_awake()
        else:
            self._ask({"type": "sleep"})

    def _fall_asleep(self) -> None:
        self._end_membership()
        if not self._asleep:
            self._asleep = True
            self._owner.tally.asleep += 1
        self._settle()
        if self.group.asleep is not None:
            wake: Message = {"type": "wake"}
            self._after(
                "rest", self.group.asleep.draw(self._owner.random), lambda: self._ask(wake | self.group.patience)
            )

    def _wake_up(self) -> None:
        if self._asleep:
            self._asleep = False
            self._owner.tally.asleep -= 1
        self._settle()
        self._stay_awake()
        self._ask_for_conference()

    def _go(self) -> None:
        """End the visit, in the way that is drawn for it."""
        lot = self._owner.random.random() * 100
        if lot < self.group.half_open:
            self._leave("silent")
            self._owner.tally.silent += 1
        elif lot < self.group.half_open + self.group.drop:
            self.cut()
        elif self.link is not None:
            self._leave("bye")
            self._owner.tally.left += 1
            self.link.send({"type": "bye"})

    def _leave(self, how: Literal["bye", "cut", "silent"]) -> None:
        self._leaving = how
        self.beating = False
        self._asked = None
        self._cancel()

    def _denied(self, message: DeniedAnswer) -> None:
        owner, tally, request = self._owner, self._owner.tally, self._asked
        tally.denied[f"{message.get('request')} {message.get('reason')}"] += 1
        pool, limit = message.get("pool"), message.get("limit")
        if pool is not None and limit is not None:
            tally.full[pool] = limit
        self._answered = True
        self._settle()
        if message.get("request") == "hello":
            self._refused = True  # the gateway closes now
        elif request is not None and self.group.retry is not None and self._retries:
            self._retries -= 1
            self._after("again", self.group.retry.draw(owner.random), lambda: self._ask(request, again=True))

    def _faulted(self, message: ErrorAnswer) -> None:
        """Count an error of the gateway, and ask again where it was `too_fast`."""
        self._owner.tally.errors[str(message.get("code"))] += 1
        self._answered = True
        request = self._asked
        if message.get("code") == "too_fast" and self._welcomed and request is not None:
            self._timers["too fast"] = self._owner.loop.call_later(self._pause, lambda: self._ask(request))
            self._pause *= 2
        else:
            self._settle()

    def _ask_for_conference(self) -> None:
        if self.group.conferences and not self._member:
            self._ask(self.group.join(self.number))
        else:
            self._settle()

    def _ask(self, request: Message, *, again: bool = False) -> None:
        if self.link is not None:
            self._owner.tally.retried += again
            self._asked, self._asked_at = request, self._owner.loop.time()
            self.link.send(request)

    def _wait_in_line(self, message: QueuedAnswer) -> None:
        """Count one that waits for a seat; its heartbeats begin before it is welcomed."""
        if not self._queued:
            self._queued = True
            self._owner.tally.queued += 1
        self._beat(message)
        request = self._asked
        self._settle()
        self._asked = request

    def _leave_line(self) -> bool:
        """Count it as waiting no more; return whether it waited."""
        if not self._queued:
            return False
        self._queued = False
        self._owner.tally.queued -= 1
        return True

    def _become_member(self) -> None:
        if not self._member:
            self._member = True
            self._owner.tally.joined += 1
            self._owner.tally.members += 1

    def _end_membership(self) -> None:
        if self._member:
            self._member = False
            self._owner.tally.members -= 1

    def _beat(self, stated: Welcome | QueuedAnswer) -> None:
        if not self.beating:
            self.beating = True
            self._owner.beat_for(self, stated)

    def _settle(self) -> None:
        """Note that its request is decided. The first time it counts as settled: it has come in, or was refused."""
        self._asked = None
        if not self.settled:
            self.settled = True
            self._owner.tally.settled += 1
            self._owner.settled()

    def _after(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds, unless the visit is over or all clients stand still by then."""
        if not self._leaving:
            self._timers[name] = self._owner.loop.call_later(seconds, lambda: None if self._owner.still else act())

    def _cancel(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
