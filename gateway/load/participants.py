"""Who takes part in a load: processes of this machine, and other machines. To whoever leads them all are alike.

A participant is told what to do by lines, and reports by lines of JSON: its phase, the number of the report that was
asked for last, and its tally (`gateway.load.worker`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import Iterable
from typing import cast

from gateway.core.wire.messages import is_integer
from gateway.load.plan import LoadError, Plan
from gateway.load.tally import Tally

LINE = 1 << 22
"""Longest line of a participant, in bytes: a report, or the plans of a machine."""


class Participant:
    """One of them: `phase` is "" before its first report, and "died" when it ended without being "done"."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: asyncio.Event) -> None:
        self.phase = ""
        self.answered = 0
        self.tally = Tally()
        self._reader = reader
        self._writer = writer
        self._changed = changed
        self._dismissed = False

    async def listen(self) -> None:
        """Keep its last report, until it says no more."""
        try:
            async for line in self._reader:
                self.phase, self.answered, self.tally = _read(line)
                self._changed.set()
        except (ValueError, ConnectionError):
            self.phase = "died"  # it does not report as ours do, or it is gone
        finally:
            if self.phase != "done":
                self.phase = "died"
            self._changed.set()

    def tell(self, line: str) -> None:
        """Tell it what to do."""
        if not self._dismissed and not self._writer.is_closing():
            self._writer.write(line.encode() + b"\n")

    def dismiss(self) -> None:
        """Say nothing more to it: it says `bye` everywhere and ends."""
        if not self._dismissed and not self._writer.is_closing():
            self._dismissed = True
            self._writer.write_eof()


class Participants:
    """All that take part, as seen by whoever leads them; `close` ends what is left of them."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Set by every report."""
        self._all: list[Participant] = []
        self._processes: list[Process] = []
        self._listening: list[asyncio.Task[None]] = []
        self._asked = 0

    async def start(self, plans: Iterable[Plan]) -> None:
        """Start a process for each plan."""
        for plan in plans:
            process = await _start()
            self._processes.append(process)
            participant = self.add(
                cast(asyncio.StreamReader, process.stdout), cast(asyncio.StreamWriter, process.stdin)
            )
            participant.tell(json.dumps(plan.dump()))

    def add(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Participant:
        """Have one take part that reports over `reader` and is told over `writer`."""
        participant = Participant(reader, writer, self.changed)
        self._all.append(participant)
        self._listening.append(asyncio.create_task(participant.listen(), name="reports of a part of the load"))
        return participant

    def all_in(self, phase: str) -> bool:
        """Return whether all are in this phase."""
        return all(participant.phase == phase for participant in self._all)

    @property
    def phase(self) -> str:
        """The phase in which all are; the first one's where they differ, "died" where one has died."""
        phases = [participant.phase for participant in self._all]
        return "died" if "died" in phases else min(phases, key=_ORDER.index)

    @property
    def answered(self) -> int:
        """The number of the last report that all have given which were asked for one."""
        return min(participant.answered for participant in self._all)

    def total(self) -> Tally:
        """Return all tallies together, as last reported."""
        total = Tally()
        for participant in self._all:
            total.add(participant.tally)
        return total

    def tell(self, line: str) -> None:
        """Tell all what to do."""
        for participant in self._all:
            participant.tell(line)

    def dismiss(self) -> None:
        """Have all say `bye` everywhere and end."""
        for participant in self._all:
            participant.dismiss()

    async def next_report(self, stop: asyncio.Event | None = None, seconds: float | None = None) -> None:
        """Wait for any report, for `stop`, or for some seconds.

        Raises `LoadError` where one has died.
        """
        self.changed.clear()
        waits = [asyncio.ensure_future(self.changed.wait())]
        if stop is not None:
            waits.append(asyncio.ensure_future(stop.wait()))
        try:
            if self.phase != "died":
                await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.phase == "died":
            raise LoadError("a process of the load died")

    async def fresh(self) -> Tally:
        """Return the sum of tallies that are all of after this call.

        Raises `LoadError` where one has died.
        """
        self._asked += 1
        self.tell(f"report {self._asked}")
        while self.answered != self._asked:
            await self.next_report()
        return self.total()

    async def close(self) -> None:
        """End those that have not ended."""
        for participant in self._all:
            participant.dismiss()
        for process in self._processes:
            if process.returncode is None and not self.all_in("done"):
                process.kill()
            await process.wait()
        for task in self._listening:
            task.cancel()
        if self._listening:
            await asyncio.wait(self._listening)


_ORDER = ("died", "", "ramping", "holding", "still", "done")


def _read(line: bytes) -> tuple[str, int, Tally]:
    """Return what a participant reports: its phase, the number of the report that was asked for, its tally.

    Raises `ValueError` where the line is not a report: another machine may be of another version.
    """
    try:
        report = json.loads(line)
        phase, answered, tally = report["phase"], report["answered"], Tally.load(report["tally"])
    except (KeyError, TypeError, RecursionError) as fault:
        raise ValueError("no report of a load") from fault
    if phase not in _ORDER or not is_integer(answered):
        raise ValueError("no report of a load: its phase")
    return phase, answered, tally


async def _start() -> Process:
    pipe = asyncio.subprocess.PIPE
    # A session of its own: Ctrl-C of the terminal is for who leads, which ends the others in order.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.load.worker",
        stdin=pipe,
        stdout=pipe,
        limit=LINE,
        start_new_session=True,
    )
