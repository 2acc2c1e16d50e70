"""A log in memory, nodes that put into it, and a replica that applies it: a cluster without sockets and clocks."""

from __future__ import annotations

from random import Random
from typing import Any

from gateway.core.admission import commands as c
from gateway.core.admission.commands import Command
from gateway.core.admission.terms import Terms
from gateway.core.cluster.entries import Batch, Enter, Genesis, LogEntry, Proposed, Seen, encode, plain
from gateway.core.cluster.replica import OF_SESSIONS, SEMANTICS, Outcome, Replica, terms_digest
from gateway.licensing import MODELS
from tests.core.admission.random_day import START, RandomDay, first_terms

PATIENCE = 30.0


class LogHarness:
    """A log and one replica that has applied all of it; `at` is the time that nodes put into it."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or first_terms()
        self.entries: list[LogEntry] = []
        self.replica = Replica(MODELS)
        self.at = START
        self.seqs: dict[str, int] = {}
        self.put(Batch("", 0, START, genesis=Genesis("c1", SEMANTICS, PATIENCE, self.terms.to_json())))

    def put(self, batch: Batch) -> list[Outcome]:
        """Put a batch into the log, and apply it."""
        return self.put_bytes(encode(batch))

    def put_bytes(self, value: bytes) -> list[Outcome]:
        """Put anything into the log, and apply it."""
        version = len(self.entries) + 1
        self.entries.append(LogEntry(version, version * 3, value))
        return list(self.replica.apply(self.entries[-1]))

    def enter(self, incarnation: str, name: str = "", previous: str = "", **changes: Any) -> str:
        """Let a node enter; returns why it was refused, an empty text where it was not."""
        enter = Enter(
            name or incarnation,
            SEMANTICS,
            terms_digest(self.replica.state.configured, PATIENCE),
            self.replica.version,
            previous,
        )
        self.seqs[incarnation] = 1
        self.put(Batch(incarnation, 1, enter=enter._replace(**changes)))
        return self.replica.refused_entry.get(incarnation, "")

    def batch(self, node: str, *commands: Command, seconds: float = 0.0) -> Batch:
        """Return the next batch of a node, after so many seconds."""
        self.at += seconds
        self.seqs[node] += 1
        sessions = self.replica.state.sessions.by_number
        written = []
        for command in commands:
            asked = command.request if isinstance(command, c.Wait) else command
            session = sessions.get(asked.session) if isinstance(asked, OF_SESSIONS) else None
            written.append(plain(Proposed(command, session.generation if session is not None else None)))
        seen = Seen(self.replica.version, self.replica.digest)
        return Batch(node, self.seqs[node], self.at, seen=seen, commands=tuple(written))

    def say(self, node: str, *commands: Command, seconds: float = 0.0) -> list[Outcome]:
        """Have a node put commands."""
        return self.put(self.batch(node, *commands, seconds=seconds))

    def hello(self, node: str, account: str | None = None, device: str | None = None) -> int:
        """Have a client welcomed at a node; returns the number of its session."""
        (outcome,) = [each for each in self.say(node, hello(account, device)) if isinstance(each.command, c.Hello)]
        assert outcome.decision is not None
        assert outcome.decision.session is not None, outcome.decision.answer
        return outcome.decision.session


def hello(account: str | None = None, device: str | None = None, address: str = "192.0.2.1") -> c.Hello:
    """A client says hello."""
    return c.Hello("app", account, device, "", "", address, "tcp")


def random_log(seed: int, batches: int, terms: Terms | None = None, first: tuple[Command, ...] = ()) -> LogHarness:
    """Return a log in which three nodes put a random day, and come and go meanwhile; the first of them puts `first`."""
    harness, day, random = LogHarness(terms), RandomDay(seed), Random(seed)  # noqa: S311 - the same each time
    day.state = harness.replica.state
    incarnations = 0
    for _ in range(batches):
        nodes = [each.incarnation for each in harness.replica.nodes]
        if len(nodes) < 3 and random.random() < 0.5:
            incarnations += 1
            harness.enter(f"n{incarnations}", random.choice(["a", "b", "c"]))
            if incarnations == 1 and first:
                harness.say("n1", *first)
            continue
        if not nodes:
            harness.at += 1.0
            continue
        node = random.choice(nodes)
        commands = []
        for _ in range(random.choice([0, 1, 2, 8])):
            (draw,) = random.choices([draw for _, draw in day.draws], [weight for weight, _ in day.draws])
            command = draw()
            if command is not None:
                commands.append(command)
        harness.say(node, *commands, seconds=random.choice([0.0, 0.1, 0.7, 1.0, 1.2, 9.0]))
        if random.random() < 0.02:
            harness.put(harness.batch(node)._replace(depart=True))
    return harness
