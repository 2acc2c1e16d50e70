"""Commands written down, one line each, and applied again.

The first line has the state from which the recording begins; every other line has the instant of a command, the
command, the number of the session that it began, a digest over all decisions so far, and who has waited since then or
waits no more. Whoever applies the same commands to the same state gets the same digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Any, NamedTuple

from gateway.core.admission import commands, state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command, End, GiveUp, Hello, SetTerms, Wait
from gateway.core.admission.decision import Decision, Withdraw
from gateway.core.admission.state import State
from gateway.core.admission.terms import Catalog, Terms
from gateway.core.counting.session import Instant

FORMAT = 1
"""The number of the format; another one is not read."""


class NotARecording(ValueError):
    """What was read is no recording, or was damaged; the text tells the line."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class RollingDigest:
    """A digest over all decisions so far, in their order, and what the audit log says of them; it goes on from `so_far`
    (hex).
    """

    def __init__(self, so_far: str = "") -> None:
        self._so_far = bytes.fromhex(so_far)

    @property
    def value(self) -> str:
        """The digest in hex."""
        return self._so_far.hex()

    def add(self, decision: Decision) -> str:
        """Take in a decision, and return the digest in hex."""
        text = _CANONICAL.encode(decision.to_json())
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
        session = decision.session if _is_hello(command) else None
        line = [*at, commands.to_json(command), session, self._digest.add(decision)]
        news = decision.queue
        if news is not None:
            line += [news.place, [[each.place, each.decision.session] for each in news.served if each.session is None]]
        return _text(line)


class Entry(NamedTuple):
    """One command of a recording; `session` is the number of the session that it began, if it began one.

    `place` is where its request has waited since. `served` are the places in which somebody waited to be welcomed until
    then, each with the session that began, None where none did.
    """

    at: Instant
    command: Command
    session: int | None
    digest: str
    place: int | None = None
    served: tuple[tuple[int, int | None], ...] = ()


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
    except state_json.NotAState as fault:
        raise NotARecording(f"line 1: the state from which it begins: {fault}") from fault
    except (LookupError, TypeError, ValueError, RecursionError) as fault:
        if isinstance(fault, NotARecording):
            raise
        raise NotARecording("line 1: this is no recording of `tallygate serve --record`") from fault
    return state, _entries(numbered, catalog)


def _entries(numbered: Iterable[tuple[int, str]], catalog: Catalog) -> Iterator[Entry]:
    for number, line in numbered:
        if not line.endswith("\n"):  # the process was killed while it wrote its last line
            return
        try:
            mono, wall, plain, session, digest, *queue = json.loads(line)
            place, served = queue or (None, ())
            if not (isfinite(mono) and isfinite(wall)):
                raise ValueError("no instant")
            command = commands.from_json(plain, catalog)
            waited = tuple((at, who) for at, who in served)
            entry = Entry(Instant(mono, wall), command, session, digest, place, waited)
        except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as fault:
            raise NotARecording(f"line {number}: this is no command of a recording") from fault
        yield entry


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
        state.change_terms = change
        apply(state, SetTerms(state.configured), state.at)
    digest = RollingDigest()
    others = _OtherTerms(state) if change is not None else None
    applied = skipped = 0
    difference: int | None = None
    for entry in entries:
        command = entry.command if others is None else others.translated(entry.command)
        if command is None:
            skipped += 1
            continue
        applied += 1
        try:
            decision = apply(state, command, entry.at)
        except LookupError as fault:
            raise NotARecording(f"command {applied + skipped}: {type(command).__name__} of {fault}") from fault
        if others is not None:
            others.follow(entry, decision)
        elif digest.add(decision) != entry.digest and difference is None:
            difference = applied
        if applied % 10_000 == 0:
            progress(applied)
    return Replayed(state, applied, skipped, difference, begin, state.at.wall)


class _OtherTerms:
    """Which session, and which place in line, stands for which of the recording, where the terms are others.

    `begun` has the session that began for a place of the recording, `came` that for a place of this time; `awaited` are
    places of this time in which somebody waits who had a session by then in the recording.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._sessions: dict[int, int | None] = {number: number for number in state.sessions.by_number}
        self._places: dict[int, int] = {number: number for number in state.lines}
        self._begun: dict[int, int] = {}
        self._came: dict[int, int] = {}
        self._awaited: dict[int, int] = {}

    def translated(self, command: Command) -> Command | None:
        """Return a command with the sessions of this time; None where it has none, or undoes what no disk took."""
        if isinstance(command, Withdraw):
            return None
        if isinstance(command, Wait):
            request = self.translated(command.request)
            return None if request is None else command._replace(request=request)
        if isinstance(command, GiveUp):
            return self._given_up(command.place)
        if "session" not in command._fields:
            return command
        recorded: Any = command
        number = self._sessions.get(recorded.session)
        if number is None:
            return None
        translated: Command = recorded._replace(session=number)
        return translated

    def _given_up(self, place: int) -> Command:
        session = self._session_of(place)
        return GiveUp(self._places.get(place, 0)) if session is None else End(session, "bye")

    def _session_of(self, place: int) -> int | None:
        """Return the session of this time for who waited in a place of the recording."""
        number = self._begun.get(place) or self._came.get(self._places.get(place, 0))
        return number if number in self._state.sessions.by_number else None

    def follow(self, entry: Entry, decision: Decision) -> None:
        """Note what stands for what; one that was turned away then is over at once."""
        here = decision.queue.place if decision.queue is not None else None
        if entry.place is not None and here is not None:
            self._places[entry.place] = here
        elif entry.place is not None and decision.session is not None:
            self._begun[entry.place] = decision.session
        elif _is_hello(entry.command):
            self._begin(entry, decision.session, here)
        for served in decision.queue.served if decision.queue is not None else ():
            if served.session is None and served.decision.session is not None:
                self._came[served.place] = served.decision.session
                if served.place in self._awaited:
                    self._sessions[self._awaited.pop(served.place)] = served.decision.session
        for place, session in entry.served:
            self._serve(place, session, entry.at)

    def _begin(self, entry: Entry, session: int | None, place: int | None) -> None:
        if entry.session is not None:
            self._sessions[entry.session] = session
            if place is not None:
                self._awaited[place] = entry.session
        elif session is not None:
            apply(self._state, End(session, "bye"), entry.at)
        elif place is not None:
            apply(self._state, GiveUp(place), entry.at)

    def _serve(self, place: int, session: int | None, at: Instant) -> None:
        """Somebody who waited in a place of the recording was let in there, or turned away."""
        here = self._session_of(place)
        if session is not None:
            self._sessions[session] = here
            if here is None and self._places.get(place) in self._state.lines:
                self._awaited[self._places[place]] = session
        elif here is not None:
            apply(self._state, End(here, "bye"), at)


def _is_hello(command: Command) -> bool:
    return isinstance(command.request if isinstance(command, Wait) else command, Hello)


def _text(plain: object) -> str:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=True) + "\n"
