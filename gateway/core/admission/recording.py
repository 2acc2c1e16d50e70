"""Commands written down, one line each, and applied again.

The first line has the state from which the recording begins; every other line has the instant of a command, the
command, the number of the session that it began, and a digest over all decisions so far. Whoever applies the same
commands to the same state gets the same digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from gateway.core.admission import commands, state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command, End, Hello, SetTerms
from gateway.core.admission.decision import Decision, Withdraw
from gateway.core.admission.state import State
from gateway.core.admission.terms import Catalog, Terms
from gateway.core.counting.session import Instant

FORMAT = 1
"""The number of the format; another one is not read."""


class NotARecording(ValueError):
    """What was read is no recording, or was damaged; the text tells the line."""


class RollingDigest:
    """A digest over all decisions so far, in their order; it goes on from `so_far` (hex)."""

    def __init__(self, so_far: str = "") -> None:
        self._so_far = bytes.fromhex(so_far)

    @property
    def value(self) -> str:
        """The digest in hex."""
        return self._so_far.hex()

    def add(self, decision: Decision) -> str:
        """Take in a decision, and return the digest in hex."""
        text = json.dumps(decision.to_json(), sort_keys=True, separators=(",", ":"))
        self._so_far = hashlib.blake2b(self._so_far + text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self._so_far.hex()


class Recording:
    """Writes commands down: `header` is the first line, `line` each other."""

    def __init__(self) -> None:
        self._digest = RollingDigest()

    def header(self, state: State, version: str) -> str:
        """Return the first line; the recording begins from this state."""
        return _text({"tallygate": version, "recording": FORMAT, "state": state_json.to_json(state)})

    def line(self, command: Command, at: Instant, decision: Decision) -> str:
        """Return the line of a command that was applied."""
        session = decision.session if isinstance(command, Hello) else None
        return _text([*at, commands.to_json(command), session, self._digest.add(decision)])


class Entry(NamedTuple):
    """One command of a recording; `session` is the number of the session that it began, if it began one."""

    at: Instant
    command: Command
    session: int | None
    digest: str


class Replayed(NamedTuple):
    """What came of applying a recording again.

    `state` is the last state, `begin` and `end` are its first and last instants in seconds UTC. `first_difference` is
    the number of the first command (from 1) whose decision was another one than was recorded; None where all were the
    same, or other terms were asked for. `skipped` are the commands of sessions that were not admitted this time.
    """

    state: State
    applied: int
    skipped: int
    first_difference: int | None
    begin: float
    end: float


def read(lines: Iterable[str], catalog: Catalog) -> tuple[State, Iterator[Entry]]:
    """Read a recording: the state from which it begins, and its commands.

    Raises `NotARecording`; later, while the commands are taken, too.
    """
    numbered = enumerate(lines, 1)
    try:
        _, first = next(numbered)
        told = json.loads(first)
        if told["recording"] != FORMAT:
            raise NotARecording(f"line 1: format {told['recording']!r}; this version reads {FORMAT}")
        state = state_json.from_json(told["state"], catalog)
    except StopIteration:
        raise NotARecording("the file is empty") from None
    except (LookupError, TypeError, ValueError) as fault:
        if isinstance(fault, NotARecording):
            raise
        raise NotARecording("line 1: this is no recording of `tallygate serve --record`") from fault
    return state, _entries(numbered, catalog)


def _entries(numbered: Iterable[tuple[int, str]], catalog: Catalog) -> Iterator[Entry]:
    for number, line in numbered:
        if not line.endswith("\n"):  # the process was killed while it wrote its last line
            return
        try:
            mono, wall, plain, session, digest = json.loads(line)
            yield Entry(Instant(mono, wall), commands.from_json(plain, catalog), session, digest)
        except (LookupError, TypeError, ValueError) as fault:
            raise NotARecording(f"line {number}: {fault}") from fault


def replay(
    lines: Iterable[str],
    catalog: Catalog,
    change: Callable[[Terms], Terms] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Apply a recording again, under its own terms or under others.

    Under other terms sessions may be refused that were admitted, and their commands are skipped; sessions that were
    refused when they said `hello` may be admitted, and end at once: how long they would have stayed is not known.
    `progress` is told the number of commands now and then.

    Raises `NotARecording`.
    """
    state, entries = read(lines, catalog)
    begin = state.at.wall
    if change is not None:
        apply(state, SetTerms(change(state.terms)), state.at)
    digest = RollingDigest()
    sessions: dict[int, int | None] = {number: number for number in state.sessions.by_number}
    applied = skipped = 0
    difference: int | None = None
    for entry in entries:
        command = entry.command if change is None else _under_other_terms(entry.command, sessions, change)
        if command is None:
            skipped += 1
            continue
        applied += 1
        try:
            decision = apply(state, command, entry.at)
        except LookupError as fault:
            raise NotARecording(f"command {applied + skipped}: {type(command).__name__} of {fault}") from fault
        if change is None:
            if digest.add(decision) != entry.digest and difference is None:
                difference = applied
        elif isinstance(command, Hello):
            _follow(state, sessions, entry, decision)
        if applied % 10_000 == 0:
            progress(applied)
    return Replayed(state, applied, skipped, difference, begin, state.at.wall)


def _follow(state: State, sessions: dict[int, int | None], entry: Entry, decision: Decision) -> None:
    """Note which session stands for the recorded one; one that was refused then is over at once."""
    if entry.session is not None:
        sessions[entry.session] = decision.session
    elif decision.session is not None:
        apply(state, End(decision.session, "bye"), entry.at)


def _under_other_terms(
    command: Command, sessions: dict[int, int | None], change: Callable[[Terms], Terms]
) -> Command | None:
    """Return the command with the sessions of this time; None where it has none, or undoes what a disk did not take."""
    if isinstance(command, SetTerms):
        return SetTerms(change(command.terms))
    if isinstance(command, Withdraw):
        return None
    if "session" not in command._fields:
        return command
    recorded: Any = command
    number = sessions.get(recorded.session)
    if number is None:
        return None
    translated: Command = recorded._replace(session=number)
    return translated


def _text(plain: object) -> str:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=True) + "\n"
