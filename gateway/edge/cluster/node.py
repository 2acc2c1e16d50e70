"""This node of the cluster: it follows the log, comes in, lives, is fenced, comes in again.

A node may speak only while an entry of its own was seen lately: after `patience` the others take it for dead and give
its seats away. So it measures from when it sent the last entry that it has seen, by a clock that counts the sleep of
the machine, and stops `MARGIN` earlier (fenced).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.cluster.entries import Batch, Enter, Genesis, LogEntry, Proposed, encode
from gateway.core.cluster.flowing_clock import FlowingClock
from gateway.core.cluster.nodes import RECENT
from gateway.core.cluster.positions import Positions
from gateway.core.cluster.replica import SEMANTICS, Outcome, Replica, terms_digest
from gateway.edge.cluster.etcd import Etcd, EtcdFailed, Head
from gateway.edge.cluster.follower import Follower, LogLost
from gateway.edge.cluster.proposer import TICK, Outstanding, Proposer
from gateway.edge.machine import Clock

MARGIN = 5.0
"""Seconds before the others take this node for dead at which it stops speaking."""
LAGGING = 1.0
"""Seconds that a batch may be on its way before only releases are proposed."""
START_PATIENCE = 20.0
"""Seconds for which a node that is started waits for etcd."""
AT_ONCE = 500
"""Outcomes that are carried out before everything else has its turn."""
TRY_AGAIN = 1.0
"""Seconds between two attempts to come in."""
ENTER_TIMEOUT = 10.0
"""Seconds after which another attempt is made, where one was not seen in the log."""
GIVEN_UP = 3
"""Attempts to come in that are remembered, since the log may have them all the same."""
LAST_WORD = 2.0
"""Seconds in which the departure of this node is to be seen in the log."""
STATES = ("following", "active", "slow", "fenced")
"""Where a node can stand: it only reads, it serves, etcd is slow and only what is given back is proposed, or it may
tell nothing."""
WORDS = {
    "other_semantics": "the cluster runs another version of the program; all nodes must run the same",
    "other_terms": "the cluster has other terms (license, accounts, patience, ...) than this configuration",
    "name_taken": "another node of this name lives",
}

log = logging.getLogger("tallygate.cluster")


class ClusterNode:
    """One node over `etcd`, whose state is `replica`. `name` is its own; the clocks are `clock`'s.

    `on_outcomes` is told of each entry after it was applied: its outcomes, `AT_ONCE` at a time, and the batch that it
    was, where that was one of this node. `on_entered` and `on_fenced` are called when this node may speak, and when it
    may not any more; `on_diverged` where it leaves because its state is another one. `previous` are the incarnations
    that are known to be over, separated by spaces.
    """

    def __init__(self, etcd: Etcd, replica: Replica, name: str, clock: Clock, *, previous: str = "") -> None:
        self.etcd = etcd
        self.replica = replica
        self.name = name
        self.incarnation = ""
        self.previous = previous
        self.active = False
        self.on_outcomes: Callable[[LogEntry, list[Outcome], Outstanding[Any] | None], None] = _nothing
        self.on_entered: Callable[[str], object] = _nothing
        self.on_fenced: Callable[[str], None] = _nothing
        self.on_diverged: Callable[[], object] = _nothing
        self.follower = Follower(etcd, replica, self._applied)
        self.positions = Positions()
        self.time = FlowingClock(clock.mono())
        self.proposer: Proposer[Any] = Proposer(
            etcd, self._frame, clock.boot, clock.mono, self._answered,
            lambda: self.positions.pause_for_others(replica, self.incarnation),
        )  # fmt: skip
        self.fences = 0
        self._clock = clock
        self._lost: LogLost | None = None
        self._genesis = ""
        self._confirmed = -math.inf
        self._entered = asyncio.Event()
        self._over = asyncio.Event()
        self._changed = asyncio.Event()
        self._nodes: dict[str, str] = {}
        """The names of the nodes that lived at the last entry, by incarnation."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[str] | None = None
        """Done, with the words for a person, when this node cannot go on."""

    # -- following -----------------------------------------------------------------------------------------------------

    async def open(self, begin: Callable[[str], Genesis]) -> None:
        """Follow the log up to its head; where there is none yet, begin it with what `begin` returns for an identity.

        Raises `LogLost` (`Behind` where a newer file is needed), or `EtcdFailed` where no member answers.
        """
        head = await self._first_look()
        if head.version == 0:
            if self.replica.version:
                raise LogLost("etcd was set back: its log is empty, and this node has applied one")
            self._genesis = secrets.token_hex(4)
            genesis = begin(self._genesis)
            await self._put_first(encode(Batch("", 0, self._clock.wall(), genesis=genesis)))
        self.failed = asyncio.get_running_loop().create_future()
        following = self._start(self._follow(), "log follower")
        ready = asyncio.create_task(self.follower.caught_up.wait())
        try:
            await asyncio.wait({following, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self.failed.done():
            raise self._lost or LogLost(self.failed.result())
        if not self.replica.begun:
            raise LogLost("the log does not begin with a cluster: something else was written to its key")
        self.time.restart(self._clock.mono())
        if self.replica.cluster == self._genesis:
            self.time.applied(self.replica.at, self._clock.mono(), told=True)

    async def _first_look(self) -> Head:
        """Return where the log stands; etcd may be started together with this node, and need a moment."""
        loop = asyncio.get_running_loop()
        until, told = loop.time() + START_PATIENCE, False
        while True:
            try:
                return await self.follower.look()
            except EtcdFailed as fault:
                if loop.time() > until:
                    raise
                if not told:
                    log.warning("etcd does not answer yet: %s", fault)
                told = True
            await asyncio.sleep(TRY_AGAIN)

    async def _put_first(self, genesis: bytes) -> None:
        """Begin the log; where that was done already, by this node or by another one, it counts for nothing.

        Raises `EtcdFailed`.
        """
        loop = asyncio.get_running_loop()
        until, url = loop.time() + START_PATIENCE, self.etcd.urls[0]
        while True:
            try:
                await self.etcd.put(url, genesis)
            except EtcdFailed as fault:
                if loop.time() > until:
                    raise
                log.warning("the log could not be begun, another member is asked: %s", fault)
                url = self.etcd.after(url)
            else:
                return
            await asyncio.sleep(TRY_AGAIN)

    async def _follow(self) -> None:
        try:
            await self.follower.run()
        except LogLost as lost:
            self._lost = lost
            self._fail(str(lost))

    def _fail(self, words: str) -> None:
        """End this node for good: it tells its clients nothing more, and `failed` says why."""
        if self._over.is_set():
            return
        log.error("this node leaves the cluster: %s", words)
        self._over.set()
        self._fence(words)
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(words)

    async def _applied(self, entry: LogEntry, outcomes: list[Outcome]) -> None:
        replica = self.replica
        batch, mono = replica.batch, self._clock.mono()
        told = batch is not None and batch.at is not None and self.follower.caught_up.is_set()
        self.time.applied(replica.at, mono, told=told)
        self.positions.follow(replica)
        if replica.nodes.living.keys() != self._nodes.keys():
            before, self._nodes = self._nodes, {each.incarnation: each.name for each in replica.nodes}
            if self.follower.caught_up.is_set():
                log.warning("%s", _changed(before, self._nodes))
        own = self.proposer.saw(batch) if batch is not None else None
        if own is not None:
            self._confirmed = own.sent
        if self._entered.is_set():
            if self.incarnation not in replica.nodes.living:
                self._fence("the others have taken this node for dead")
            elif self.is_late:
                self._fence("no entry of this node was seen in time")
            elif replica.ring.mismatches and replica.ring.is_outvoted(self.incarnation, list(replica.nodes.living)):
                self.on_diverged()
                self._fail("this node has come to another state than the others")
        for first in range(0, max(len(outcomes), 1), AT_ONCE):
            if first:
                await asyncio.sleep(0)  # the end of a node is that of all its sessions
            self.on_outcomes(entry, outcomes[first : first + AT_ONCE], own)
        self._changed.set()

    def _answered(self, cluster: str) -> None:
        if self.follower.etcd_cluster and cluster != self.follower.etcd_cluster:
            self._fail(f"this is another etcd: its cluster is {cluster}")

    # -- living --------------------------------------------------------------------------------------------------------

    @property
    def entered(self) -> bool:
        """Whether this node is in, and knows what time it is."""
        return self._entered.is_set()

    @property
    def is_late(self) -> bool:
        """Whether the last own entry that was seen was sent so long ago that nothing may be told."""
        return self._clock.boot() - self._confirmed > self.replica.patience - MARGIN

    @property
    def may_speak(self) -> bool:
        """Whether this node may tell its clients anything."""
        return self._entered.is_set() and not self.is_late

    @property
    def is_recent(self) -> bool:
        """Whether the last own entry that was seen was sent so lately that nobody has come in under this name since."""
        return self._clock.boot() - self._confirmed < RECENT - LAGGING

    @property
    def lag(self) -> float:
        """Seconds for which a batch has been on its way; of a node that is not in, those by which it is behind."""
        if not self._entered.is_set():  # it writes nothing itself; those that live do, once a `TICK`
            return max(self._clock.wall() - self.replica.at - TICK, 0.0) if self.replica.nodes.living else 0.0
        outstanding = self.proposer.outstanding
        return self._clock.mono() - outstanding.mono if outstanding is not None else 0.0

    @property
    def is_lagging(self) -> bool:
        """Whether the log is so slow that only releases are proposed."""
        return self.lag > LAGGING

    @property
    def is_leader(self) -> bool:
        """Whether this node does what is done once for the cluster."""
        leader = self.replica.nodes.leader()
        return self.may_speak and leader is not None and leader.incarnation == self.incarnation

    @property
    def state(self) -> str:
        """Where this node stands, in one word of `STATES`."""
        if not self._entered.is_set():
            return "fenced" if self.active and self.fences else "following"
        return "slow" if self.is_lagging else "active"

    def activate(self) -> None:
        """Come in, and come in again after each fence."""
        self.active = True
        self._start(self._live(), "cluster node")

    def propose(self, proposed: Proposed, ticket: Any, *, release: bool = False) -> None:
        """Have a command put into the log; its outcome comes with `on_outcomes`, in the order of the batch."""
        self.proposer.add(proposed, ticket, release=release)

    def check(self) -> None:
        """Called with every tick: stop speaking where nothing of this node was seen in time."""
        if self._entered.is_set() and self.is_late:
            self._fence("no entry of this node was seen in time")

    def _fence(self, why: str) -> None:
        if not self._entered.is_set():
            return
        self._entered.clear()
        self._changed.set()
        if self.proposer.departing:
            return
        self.fences += 1
        self.previous = self.incarnation
        log.error("this node is fenced, its clients are sent away: %s", why)
        self.on_fenced(why)

    async def _live(self) -> None:
        while not self._over.is_set():
            await self._enter()
            proposing = asyncio.create_task(self.proposer.run())
            try:
                while self._in_the_log() and not self.time.settled:
                    await self._change()  # time comes with entries of others, or with nobody's
                if self._in_the_log():
                    self._entered.set()
                    log.warning("this node is in the cluster as %s, named %s", self.incarnation, self.name)
                    self.on_entered(self.incarnation)
                else:
                    self._give_up()
                while self._entered.is_set() and not proposing.done():
                    await self._change(proposing)
            finally:
                self._entered.clear()
                proposing.cancel()
                await asyncio.wait({proposing})
                self.proposer.drop_waiting()
            if not proposing.cancelled():
                proposing.result()

    async def _change(self, *tasks: asyncio.Task[None]) -> None:
        """Wait until something may have changed: an entry was applied, this node was fenced, a task is done."""
        self._changed.clear()
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({changed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    def _in_the_log(self) -> bool:
        return self.incarnation in self.replica.nodes.living and not self._over.is_set() and not self.is_late

    async def _enter(self) -> None:
        """Write `enter` entries until the log accepts one, or refuses this node for good."""
        told = ""
        while True:
            replica = self.replica
            self.incarnation = secrets.token_hex(4)
            terms = terms_digest(replica.state.configured, replica.patience)
            enter = Enter(self.name, SEMANTICS, terms, replica.version, self.previous)
            at, leads = self.time.propose(self._clock.mono(), self._clock.wall())
            try:
                async with asyncio.timeout(ENTER_TIMEOUT):
                    await self.proposer.put(Batch(self.incarnation, 1, at, leads, enter=enter), [])
            except TimeoutError:  # in a log that went on without it, it would be too old by now
                self._give_up()
                continue
            refusal = replica.refused_entry.get(self.incarnation, "")
            if not refusal:
                return
            if refusal != "name_taken":
                self._fail(WORDS[refusal])
                return
            if told != refusal:
                log.warning("this node waits to join the cluster: %s", WORDS[refusal])
                told = refusal
            await asyncio.sleep(TRY_AGAIN)

    def _give_up(self) -> None:
        """Remember the incarnation that tried to come in: if the log lets it in after all, the next one replaces it."""
        first, *later = [*self.previous.split(), self.incarnation]
        self.previous = " ".join([first, *later[-GIVEN_UP:]])

    def _frame(self, seq: int) -> Batch:
        at, leads = self.time.propose(self._clock.mono(), self._clock.wall())
        return Batch(self.incarnation, seq, at, leads, self.replica.seen)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def depart(self) -> None:
        """Go, after everybody was sent away: what was proposed is seen in the log, if it answers in time."""
        if not self._entered.is_set():
            return
        self._over.set()
        self.proposer.depart()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                while self._entered.is_set():
                    await self._change()

    async def close(self) -> None:
        """Follow the log no longer."""
        self._over.set()
        self._entered.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.proposer.close()
        await self.etcd.close()

    def _start(self, work: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a task of the cluster failed", exc_info=fault)
            at = "" if self.replica.is_whole else f" at the entry of revision {self.replica.revision}"
            words = f"{task.get_name()}: {type(fault).__name__}{at}: {fault}"
            self._fail(words)


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return who of the cluster has come in or is over, by name and incarnation, and who lives, the leader first."""
    over = [f"{name} ({each}) is over" for each, name in before.items() if each not in now]
    new = [f"{name} ({each}) has come in" for each, name in now.items() if each not in before]
    names = list(now.values())
    living = f"the cluster is {', '.join(names)}; {names[0]} leads" if names else "nobody is left in the cluster"
    return f"{', '.join(over + new)}: {living}"


def _nothing(*_: object) -> None:
    """Nobody is told yet."""
