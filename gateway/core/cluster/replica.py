"""What every node makes of the log: the state of the gateway, the nodes, the time.

`apply` takes one entry after the other. It is deterministic as `gateway.core.admission.apply` is: what counts for
nothing (a repeated batch, an incarnation that is over, a session that has moved to another node) counts for nothing on
every node, and a command that fails does so on every node in the same way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.decision import Decision
from gateway.core.admission.recording import RollingDigest
from gateway.core.admission.state import State
from gateway.core.admission.terms import Catalog, Terms, checked_terms
from gateway.core.cluster.divergence import DigestRing
from gateway.core.cluster.entries import ACTOR, Batch, Genesis, LogEntry, NotABatch, Seen, decode
from gateway.core.cluster.nodes import Node, Nodes
from gateway.core.counting.session import Instant

SEMANTICS = 1
"""The number of the rules by which commands are applied; nodes of another number do not enter."""
LONGEST_GAP = 1.5
"""Seconds of lived time that one entry adds at most: while nobody could write, nobody was silent."""
LONGEST_STEP = 24 * 3600.0
"""Seconds by which an entry may move the time of the log, unless its node is the first of a cold cluster."""
OF_SESSIONS = (c.Join, c.Start, c.Leave, c.Sleep, c.Wake, c.Activity, c.RequestPro, c.End)
"""Commands that only the node may give which has the session."""


class Gap(Exception):
    """An entry is not the next one: something is missing in between, or the log is another one."""


class Outcome(NamedTuple):
    """What came of a command, or of what happened by itself.

    `place` is that of the command in its batch, None for what happened by itself. Where `decision` is None, `ignored`
    says why the command counted for nothing.
    """

    place: int | None
    decision: Decision | None
    command: c.Command | None = None
    actor: str = ACTOR
    ignored: str = ""


class Replica:
    """The state that follows from the log so far.

    `cluster` is the identity of the cluster, empty before the genesis; `version` and `revision` are those of the last
    entry; `at` is the time of the log in seconds UTC and `life` the seconds it has lived through. `failures` counts
    commands that failed, `repeats` entries that counted for nothing. `batch` is the last one that counted, None
    where the last entry did not; `seen` tells what came of the last entry that was applied to its end. `refused_entry`
    says whose last `enter` was refused, and why.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.cluster = ""
        self.patience = math.inf
        self.needs_file = False
        self.version = 0
        self.revision = 0
        self.at = 0.0
        self.life = 0.0
        self.nodes = Nodes()
        self.ring = DigestRing()
        self.refused_entry: dict[str, str] = {}
        self.failures = 0
        self.repeats = 0
        self.batch: Batch | None = None
        self.seen = Seen(0, "")
        self._digest = RollingDigest()
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The state of the gateway.

        Raises `RuntimeError` before the genesis.
        """
        if self._state is None:
            raise RuntimeError("the cluster has no genesis yet")
        return self._state

    @property
    def begun(self) -> bool:
        """Whether there is a state: the log began with the genesis of a cluster."""
        return self._state is not None

    @property
    def is_whole(self) -> bool:
        """Whether the last entry was applied to its end."""
        return self.seen.version == self.version

    @property
    def digest(self) -> str:
        """The digest over all decisions so far."""
        return self._digest.value

    @property
    def instant(self) -> Instant:
        """The time of the log: monotonic time is the time lived through."""
        return Instant(self.life, self.at)

    # -- entries -------------------------------------------------------------------------------------------------------

    def apply(self, entry: LogEntry, skip: bool = False) -> Iterator[Outcome]:
        """Apply the next entry, and yield what came of it, in order; it is applied when all has been taken.

        With `skip` its commands are left out, on every node alike, because a person said so. Raises `Gap` where it is
        not the next one, and changes nothing then.
        """
        if entry.version != self.version + 1:
            raise Gap(f"version {entry.version} follows {self.version}")
        self.version, self.revision = entry.version, entry.revision
        self.batch = None
        try:
            batch = decode(entry.value)
        except NotABatch:
            self.failures += 1
        else:
            yield from self._batch(batch._replace(commands=()) if skip else batch)
        self._finish()

    def _finish(self) -> None:
        self.seen = Seen(self.version, self.digest)
        self.ring.note(*self.seen)

    def _batch(self, batch: Batch) -> Iterator[Outcome]:
        if batch.genesis is not None and self.version == 1:
            self._begin(batch.genesis, batch)
            return
        if self._state is None:
            return
        if batch.enter is not None:
            yield from self._enter(batch)
            return
        node = self.nodes.accepts(batch.node, batch.seq)
        if node is None:
            self.repeats += 1
            return
        node.seq = batch.seq
        self.batch = batch
        ticks = self._move_time(batch)
        node.heard = self.life
        if batch.seen is not None:
            self.ring.compare(batch.node, batch.seen)
        if ticks:
            yield from self._pass_time()
        for place, written in enumerate(batch.commands):
            yield self._command(place, written, node)
        if batch.depart:
            yield from self._end_node(node)

    def _begin(self, genesis: Genesis, batch: Batch) -> None:
        """Begin a cluster; one that goes on from a file can only be begun with that file."""
        self.cluster, self.patience, self.batch = genesis.cluster, genesis.patience, batch
        if genesis.state is not None or genesis.semantics != SEMANTICS:
            self.needs_file = True
            return
        self.at = batch.at if batch.at is not None else 0.0
        try:
            terms = checked_terms(genesis.terms, self.catalog)
            self._state = State(terms, self.catalog, self.instant, genesis.cluster)
        except (LookupError, TypeError, ValueError, AttributeError):
            self.failures += 1

    def _move_time(self, batch: Batch) -> bool:
        """Let time come on to what a batch says, and return whether a second has become full."""
        at, last = batch.at, self.at
        if at is None or at <= last or (at - last > LONGEST_STEP and not batch.leads):
            return False
        self.at = at
        self.life += min(at - last, LONGEST_GAP)
        return math.floor(at) > math.floor(last)

    def _pass_time(self) -> Iterator[Outcome]:
        """End what has run out, and nodes that are silent."""
        yield self._applied(None, c.Tick(), ACTOR)
        for node in self.nodes.silent(self.life, self.patience):
            yield from self._end_node(node)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _enter(self, batch: Batch) -> Iterator[Outcome]:
        enter = batch.enter
        if enter is None or batch.seq != 1 or self.nodes.is_stale(batch.node, enter, self.version):
            self.repeats += 1
            return
        self.batch = batch
        if self._move_time(batch):
            yield from self._pass_time()
        refusal = ""
        namesakes = self.nodes.namesakes(enter)
        if enter.semantics != SEMANTICS:
            refusal = "other_semantics"
        elif enter.terms != terms_digest(self.state.configured, self.patience):
            refusal = "other_terms"
        elif not all(self.nodes.may_follow(enter, each, self.life) for each in namesakes):
            refusal = "name_taken"
        if refusal:
            self.refused_entry = {batch.node: refusal}
            return
        for each in namesakes:
            yield from self._end_node(each)
        self.nodes.add(Node(batch.node, enter.name, self.version, self.life))

    def _end_node(self, node: Node) -> Iterator[Outcome]:
        """End a node and the sessions it has, in the order of their numbers; those that wait to be resumed wait on. Who
        waited there to be welcomed waits no more.
        """
        self.nodes.remove(node, self.version)
        state = self.state
        held = [each.number for each in state.sessions.by_number.values() if each.node == node.incarnation]
        for number in sorted(held):
            if number in state.sessions.by_number:
                yield self._applied(None, c.End(number, "node_lost"), ACTOR)
        for place in sorted(each.number for each in state.lines.values() if each.node == node.incarnation):
            if place in state.lines:
                yield self._applied(None, c.GiveUp(place), ACTOR)

    # -- commands ------------------------------------------------------------------------------------------------------

    def _command(self, place: int, written: list[Any], node: Node) -> Outcome:
        try:
            command = c.from_json(written[0], self.catalog)
            generation = written[1] if len(written) > 1 else None
            actor = written[2] if len(written) > 2 else ACTOR
            if not (generation is None or type(generation) is int) or not isinstance(actor, str):
                raise TypeError("a generation and an actor of other kinds were expected")
        except (LookupError, TypeError, ValueError, AttributeError):
            self.failures += 1
            return Outcome(place, None, ignored="malformed")
        if self._is_stale(command, generation, node):
            return Outcome(place, None, command, actor, "stale")
        return self._applied(place, command, actor, node)

    def _is_stale(self, command: c.Command, generation: object, node: Node) -> bool:
        """Return whether a command is about a session that is over, or that has moved on since it was given; or about a
        place of another node.
        """
        if isinstance(command, c.GiveUp):
            place = self.state.lines.get(command.place)
            return place is None or place.node != node.incarnation
        command = command.request if isinstance(command, c.Wait) else command
        if not isinstance(command, (*OF_SESSIONS, c.Resume)):
            return False
        session = self.state.sessions.by_number.get(command.session)
        if session is None:
            return True
        if isinstance(command, c.Resume):
            return command.generation != session.generation
        return session.node != node.incarnation or session.generation != generation

    def _applied(self, place: int | None, command: c.Command, actor: str, node: Node | None = None) -> Outcome:
        state = self.state
        state.asking_node = node.incarnation if node is not None else ""
        try:
            decision = apply(state, command, self.instant)
        except (MemoryError, RecursionError):  # of this machine, not of the command: others go on
            raise
        except Exception:  # whatever it is, every node has met it, and must go on alike
            self.failures += 1
            self._digest.add(Decision({"type": "failed"}))
            return Outcome(place, None, command, actor, "failed")
        finally:
            state.asking_node = ""
        self._digest.add(decision)
        return Outcome(place, decision, command, actor)

    # -- written down --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return all but the state as plain data."""
        return {
            "cluster": self.cluster,
            "semantics": SEMANTICS,
            "patience": self.patience,
            "version": self.version,
            "revision": self.revision,
            "at": self.at,
            "life": self.life,
            "nodes": self.nodes.to_json(),
            "failures": self.failures,
            "decisions": self.digest,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], state: State) -> Replica:
        """Return what `to_json` wrote, with its state.

        Raises `NotAState` where it is not valid, or one of other rules.
        """
        replica = cls(state.catalog)
        try:
            if plain["semantics"] != SEMANTICS:
                raise state_json.NotAState(f"rules {plain['semantics']!r}: this version has {SEMANTICS}")
            for name in ("cluster", "patience", "version", "revision", "at", "life", "failures"):
                setattr(replica, name, plain[name])
            replica.nodes = Nodes.from_json(plain["nodes"])
            replica._digest = RollingDigest(plain["decisions"])
        except (LookupError, TypeError, ValueError, AttributeError) as fault:
            raise state_json.NotAState(f"{type(fault).__name__}: {fault}") from fault
        replica._state = state
        replica._finish()
        return replica

    @classmethod
    def adopted(cls, state: State, cluster: str, patience: float) -> Replica:
        """Return a replica that begins from a state without sessions: that of a file."""
        replica = cls(state.catalog)
        replica.cluster, replica.patience = cluster, patience
        replica.version = 1
        replica.life, replica.at = state.at
        replica._state = state
        replica._finish()
        return replica


def terms_digest(terms: Terms, patience: float) -> str:
    """Return a digest of what all nodes of a cluster must have in common."""
    text = json.dumps([terms.to_json(), patience], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
