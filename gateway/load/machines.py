"""A load from several machines: one leads, the others join it and do as it says.

A machine that joins connects to the one that leads, says what it has to offer (`Machine`), is given the plans of its
processes, and is from then on to the leader what a process is: told by lines, it reports the sum of its own. When the
connection ends, its clients say `bye`. There is no secret: the port of a load is for a network of one's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from gateway.load.participants import LINE, Participants
from gateway.load.plan import LoadError, Machine, Plan
from gateway.load.tally import Tally

T = TypeVar("T")

OFFER = 10.0
"""Seconds in which a machine that has connected says what it offers."""
REPORT = 0.5
"""Seconds between reports to the machine that leads."""


class LeadAddress(NamedTuple):
    """Where a load is led."""

    host: str
    port: int


class JoinedMachine(NamedTuple):
    """A machine that has joined."""

    machine: Machine
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def joined(
    place: LeadAddress, number: int, stop: asyncio.Event, say: Callable[[str], None]
) -> AsyncIterator[list[JoinedMachine]]:
    """Wait at a place until so many machines have joined, or `stop`; their connections end with the context.

    Raises `OSError` where the place cannot be listened at.
    """
    offers: asyncio.Queue[JoinedMachine] = asyncio.Queue()
    found: list[JoinedMachine] = []
    writers: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            async with asyncio.timeout(OFFER):
                offers.put_nowait(JoinedMachine(Machine.load(await reader.readline()), reader, writer))
        except (ValueError, OSError):
            writers.remove(writer)
            writer.close()

    server = await asyncio.start_server(greet, place.host, place.port, limit=LINE)
    try:
        while len(found) < number:
            say(f"{len(found)} of {number} other machines have joined at {place.host}:{place.port}")
            offer = await unless(stop, offers.get())
            if offer is None:
                break
            found.append(offer)
        server.close()  # whoever comes later finds nobody
        yield found
    finally:
        server.close()
        for writer in writers:
            writer.close()


def send_plans(machine: JoinedMachine, plans: list[Plan]) -> None:
    """Give a machine the plans of its processes."""
    machine.writer.write(json.dumps([plan.dump() for plan in plans]).encode() + b"\n")


async def follow(place: LeadAddress, machine: Machine, stop: asyncio.Event, show: Callable[[str, Tally], None]) -> None:
    """Join a load, and take part until the machine that leads ends it, or `stop`.

    Raises `OSError` where nobody leads there, and `LoadError` where what takes part here fails, or is not wanted.
    """
    reader, writer = await asyncio.open_connection(place.host, place.port, limit=LINE)
    participants = Participants()
    try:
        writer.write(machine.dump().encode() + b"\n")
        line = await unless(stop, reader.readline())
        if line is None:
            return
        if not line:
            raise LoadError("the machine that leads wants no other")
        try:
            plans = [Plan.load(each) for each in json.loads(line)]
        except (ValueError, TypeError, KeyError):
            raise LoadError(f"at {place.host}:{place.port} is no load, or one of another version") from None
        await participants.start(plans)
        obeying = asyncio.create_task(_obey(reader, participants))
        try:
            while participants.phase != "done":
                await participants.next_report(stop, REPORT)
                if obeying.done() or stop.is_set():
                    participants.dismiss()
                writer.write(json.dumps(_report(participants)).encode() + b"\n")
                show(participants.phase, participants.total())
            await writer.drain()
        finally:
            obeying.cancel()
            await asyncio.wait([obeying])
    finally:
        await participants.close()
        writer.close()


async def unless(stop: asyncio.Event, doing: Coroutine[Any, Any, T]) -> T | None:
    """Return what comes of it; None where `stop` is set before."""
    work, stopped = asyncio.ensure_future(doing), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        work.cancel()
        stopped.cancel()


async def _obey(reader: asyncio.StreamReader, participants: Participants) -> None:
    """Pass on the commands of the machine that leads, until its connection ends."""
    while line := await reader.readline():
        participants.tell(line.decode().strip())


def _report(participants: Participants) -> dict[str, object]:
    answered = participants.answered
    return {"phase": participants.phase, "answered": answered, "tally": participants.total().dump()}
