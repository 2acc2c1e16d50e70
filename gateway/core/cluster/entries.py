"""Entries of the log: batches of commands that one node puts at once, as bytes and back.

A batch is JSON: who wrote it, its place among those of its writer, the instant, what its writer had applied by then,
and the commands. A command stands in it as plain data and is read when it is applied: one that cannot be read must not
take the others of its batch with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.core.admission import commands
from gateway.core.admission.commands import Command

MOST_COMMANDS = 200
"""Commands in a batch at most: what others ask for waits until all of it is applied."""
MOST_BYTES = 256 * 1024
"""Bytes of the commands of a batch at most; etcd takes no more than 1.5 MB, and takes long for that."""
LATEST = 1e11
"""The latest instant that a batch may tell, in seconds UTC: all that runs out after it still ends on a date."""
ACTOR = "gateway"
"""Who acts where nobody is named: the gateway itself."""


class NotABatch(ValueError):
    """What was read is no batch."""


class Seen(NamedTuple):
    """The digest that a node had when it had applied that version of the log."""

    version: int
    digest: str


class Genesis(NamedTuple):
    """The beginning of a cluster: `terms` as plain data, `patience` in seconds; `state` where it goes on from a file.

    `semantics` is the number of the rules by which commands are applied.
    """

    cluster: str
    semantics: int
    patience: float
    terms: dict[str, Any]
    state: str | None = None


class Enter(NamedTuple):
    """A node comes in under a name, having applied `read`.

    `terms` is the digest of its terms, `previous` the incarnations of that node that are known to be over, separated by
    spaces.
    """

    name: str
    semantics: int
    terms: str
    read: int
    previous: str = ""


class Depart(NamedTuple):
    """A node has sent everybody away and goes."""


class Proposed(NamedTuple):
    """A command on its way to the log; `generation` is that of its session as the node knows it."""

    command: Command
    generation: int | None = None
    actor: str = ACTOR


class Batch(NamedTuple):
    """What a node puts into the log at once.

    `node` is the incarnation that wrote it, `seq` its number among the batches of that, from 1. `at` is the instant in
    seconds UTC, None where the node does not know yet what time it is in the cluster; `leads` says that nobody else
    spoke, so that any instant is believed. `commands` are plain, as `plain` returns them.
    """

    node: str
    seq: int
    at: float | None = None
    leads: bool = False
    seen: Seen | None = None
    genesis: Genesis | None = None
    enter: Enter | None = None
    depart: bool = False
    commands: tuple[list[Any], ...] = ()


class LogEntry(NamedTuple):
    """A value of the log: its version (1, 2, 3, ... without a gap), the revision of the store, and its bytes."""

    version: int
    revision: int
    value: bytes


def plain(proposed: Proposed) -> list[Any]:
    """Return a command as it stands in a batch: the command, the generation, the actor, the last ones where needed."""
    written: list[Any] = [commands.to_json(proposed.command)]
    if proposed.generation is not None or proposed.actor != ACTOR:
        written.append(proposed.generation)
    if proposed.actor != ACTOR:
        written.append(proposed.actor)
    return written


def size(written: Sequence[Any]) -> int:
    """Return how many bytes a command takes in a batch."""
    return len(_text(written)) + 1


def encode(batch: Batch) -> bytes:
    """Return a batch as bytes."""
    document: dict[str, Any] = {"n": batch.node, "s": batch.seq}
    if batch.at is not None:
        document["at"] = batch.at
    if batch.leads:
        document["leads"] = True
    if batch.seen is not None:
        document["seen"] = list(batch.seen)
    if batch.genesis is not None:
        document["genesis"] = batch.genesis._asdict()
    if batch.enter is not None:
        document["enter"] = batch.enter._asdict()
    if batch.depart:
        document["depart"] = True
    if batch.commands:
        document["c"] = batch.commands
    return _text(document)


def decode(value: bytes) -> Batch:
    """Return the batch that `encode` wrote.

    Raises `NotABatch`.
    """
    try:
        return _decode(json.loads(value))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as fault:
        raise NotABatch(f"{type(fault).__name__}: {fault}") from fault


def _decode(document: dict[str, Any]) -> Batch:
    at, seen, genesis, enter = (document.get(name) for name in ("at", "seen", "genesis", "enter"))
    if at is not None and not (_is_number(at) and 0.0 <= at <= LATEST):
        raise NotABatch("at: expected seconds UTC")
    node, seq, raw = document["n"], document["s"], document.get("c", [])
    if not isinstance(node, str) or type(seq) is not int or not isinstance(raw, list):
        raise NotABatch("expected a node, a number and a list of commands")
    if not all(isinstance(each, list) and each for each in raw):
        raise NotABatch("a command is a list")
    batch = Batch(
        node,
        seq,
        float(at) if at is not None else None,
        document.get("leads") is True,
        Seen(*seen) if seen is not None else None,
        Genesis(**genesis) if genesis is not None else None,
        Enter(**enter) if enter is not None else None,
        document.get("depart") is True,
        tuple(raw),
    )
    if batch.genesis is not None and not _is_genesis(batch.genesis):
        raise NotABatch("genesis: fields of other kinds were expected")
    if batch.enter is not None and not _is_enter(batch.enter):
        raise NotABatch("enter: fields of other kinds were expected")
    if batch.seen is not None and type(batch.seen.version) is not int:
        raise NotABatch("seen: expected a version and a digest")
    return batch


def _is_genesis(genesis: Genesis) -> bool:
    texts, number = (genesis.cluster, genesis.state or ""), genesis.patience
    return (
        all(isinstance(each, str) for each in texts)
        and type(genesis.semantics) is int
        and _is_number(number)
        and 0.0 < number < LATEST
    )


def _is_enter(enter: Enter) -> bool:
    texts = (enter.name, enter.terms, enter.previous)
    numbers = (enter.semantics, enter.read)
    return all(isinstance(each, str) for each in texts) and all(type(each) is int for each in numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
