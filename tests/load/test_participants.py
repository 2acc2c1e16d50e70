"""Who takes part in a load reports by lines; what is no report of a load ends the load, as a death does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.load.participants import Participants
from gateway.load.plan import LoadError
from gateway.load.tally import Tally

GOOD: dict[str, Any] = {"phase": "holding", "answered": 0, "tally": Tally().dump()}


class Deaf:
    """A way to a participant that takes what it is told."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def write_eof(self) -> None:
        """Take that no more comes."""

    def is_closing(self) -> bool:
        """Whether nothing is taken any more."""
        return False


async def phase_after(line: bytes) -> str:
    """The phase of all, after the only participant has reported `line` and is still there."""
    participants, reader = Participants(), asyncio.StreamReader(limit=1 << 22)
    participants.add(reader, Deaf())  # type: ignore[arg-type]
    reader.feed_data(line + b"\n")
    try:
        await participants.next_report()
        return participants.phase
    except LoadError:
        return "died"
    finally:
        await participants.close()


def report(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def tally(**fields: Any) -> bytes:
    return report(tally={**GOOD["tally"], **fields})


async def test_a_report_is_taken() -> None:
    assert await phase_after(report()) == "holding"
    assert await phase_after(tally(open={"tcp": 3}, full={"seats": 10}, ack=[0.5, 3, 1])) == "holding"


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        report(phase="resting"),
        report(phase=["holding"]),
        report(answered="1"),
        report(answered=1.5),
        report(tally=None),
        report(tally={}),
        tally(attempted="3"),
        tally(attempted=True),
        tally(open=5),
        tally(open=["tcp"]),
        tally(denied={"join": "3"}),
        tally(full={"seats": None}),
        tally(ack=5),
        tally(ack=["x"]),
        tally(ack=[0.0, 3]),
        tally(ack=[0.0, 3, 1.5]),
        tally(ack=[0.0, 1 << 70, 1]),
        tally(ack=[0.0, -1, 1]),
        report().replace(b'"ack": [0.0]', b'"ack": [1e999]'),
    ],
)
async def test_what_is_no_report_of_a_load_is_a_death(line: bytes) -> None:
    assert await phase_after(line) == "died"
