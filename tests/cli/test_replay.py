"""A recording of a real gateway, and what `replay` makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import begin, end, run_here
from tests.conftest import until
from tests.wire_client import Wire

SETTINGS = (
    *("--set", "listen.tcp=0", "--set", "listen.websocket=0", "--set", "listen.operator=0"),
    *("--set", "registrar.port=0", "--set", "listen.drain=0s"),
    *("--set", "license.epop.users=2", "--set", "store.path=:memory:"),
)


@contextlib.asynccontextmanager
async def recorded(file: Path, *, ended_by: signal.Signals = signal.SIGTERM) -> AsyncIterator[int]:
    """A gateway that records into `file`; its port. It is ended with the block."""
    ready = file.with_name("ready.json")
    process = await begin("serve", *SETTINGS, "--record", str(file), "--ready-file", str(ready))
    try:
        await until(lambda: ready.exists() or process.returncode is not None)
        assert process.returncode is None, await process.communicate()
        yield json.loads(ready.read_text())["tcp"]
    finally:
        if process.returncode is None:
            process.send_signal(ended_by)
        await end(process)


async def three_join(port: int) -> list[Wire]:
    """Three people join one after the other; there is room for two."""
    wires = []
    for account, type in (("ann", "joined"), ("bob", "joined"), ("cid", "denied")):
        wires.append(wire := await Wire.open("tcp", port))
        assert (await wire.hello(account=account))["type"] == "welcome"
        assert (await wire.ask("join", conference="weekly"))["type"] == type
    return wires


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was recorded of three who joined."""
    file = tmp_path_factory.mktemp("recording") / "day.jsonl"

    async def record() -> None:
        async with recorded(file) as port:
            for wire in await three_join(port):
                await wire.close()

    asyncio.run(record())
    return file


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines(keepends=True) if file.exists() else []


def pool(document: dict[str, Any], model: str = "epop") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["pools"] if each["model"] == model)
    return found


async def test_a_replay_decides_as_the_gateway_did(recording: Path) -> None:
    shown = await run_here("replay", str(recording))
    assert shown.code == 0, shown.err
    assert "every decision was the one that was recorded" in shown.out
    assert "epop decides" in shown.out
    assert stat.S_IMODE(os.stat(recording).st_mode) == 0o600
    document = json.loads((await run_here("replay", str(recording), "--json")).out)
    assert document["first_difference"] is None
    counted = pool(document)
    assert (counted["limit"], counted["peak"], counted["used"]) == (2, 2, 0)
    assert (counted["grants"], sum(counted["denials"].values())) == (2, 1)
    assert pool(document, "nefsis-concurrent")["peak"] == 2


async def test_a_replay_under_another_license_shows_what_it_would_have_done(recording: Path) -> None:
    shown = await run_here("replay", str(recording), "--set", "license.epop.users=3", "--json")
    counted = pool(json.loads(shown.out))
    assert (counted["limit"], counted["peak"], sum(counted["denials"].values())) == (3, 3, 0)
    shown = await run_here("replay", str(recording), "--set", "license.model=nefsis-concurrent")
    assert "nefsis-concurrent decides" in shown.out
    assert "under other terms" in shown.out


async def test_what_was_recorded_outlives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    async with recorded(file, ended_by=signal.SIGKILL) as port:
        wires = await three_join(port)
        await until(lambda: sum('"Join"' in line for line in lines_of(file)) == 3)
    for wire in wires:
        await wire.close()
    with file.open("a") as half:
        half.write('[1.0, 2.0, ["Join"')
    counted = pool(json.loads((await run_here("replay", str(file), "--json")).out))
    assert (counted["used"], counted["grants"]) == (2, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("license.epop.users", "--set license.epop.users: expected KEY=VALUE with a key of the configuration"),
        ("license.epop.user=3", "--set license.epop.user=3: expected KEY=VALUE with a key of the configuration"),
        ("license.epop.users=-1", "--set license.epop.users=-1: must be at least 0, is -1"),
        ("listen.tcp=1", "--set listen.tcp: no decision of this recording depends on it"),
        ("license.model=none", "--set license.model=none: expected "),
    ],
)
async def test_a_change_that_says_nothing_is_refused(change: str, said: str, recording: Path) -> None:
    shown = await run_here("replay", str(recording), "--set", change)
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    assert shown.err.startswith(f"tallygate: {recording}: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("", "the file is empty"),
        ("hello\n", "line 1: this is no recording of `tallygate serve --record`"),
        ('{"recording": 99}\n', "line 1: format 99; this version reads 1"),
    ],
)
async def test_what_is_no_recording_is_said_to_be_none(content: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    if content is not None:
        file.write_text(content)
    shown = await run_here("replay", str(file))
    assert (shown.code, shown.err) == (1, f"tallygate: {file}: {said}\n")


async def test_another_decision_than_was_recorded_is_pointed_out(recording: Path, tmp_path: Path) -> None:
    lines = lines_of(recording)
    number = next(place for place, line in enumerate(lines) if '"Join"' in line)
    file = tmp_path / "changed.jsonl"
    file.write_text("".join([*lines[:number], lines[number].replace("weekly", "other"), *lines[number + 1 :]]))
    shown = await run_here("replay", str(file))
    assert shown.code == 1
    assert f"command {number} was decided differently than it was recorded" in shown.err
    assert "NOT every decision was the one that was recorded" in shown.out


async def test_a_line_that_makes_no_sense_is_named(recording: Path, tmp_path: Path) -> None:
    lines = lines_of(recording)
    file = tmp_path / "damaged.jsonl"
    file.write_text("".join([*lines[:2], "nonsense\n", *lines[3:]]))
    shown = await run_here("replay", str(file))
    assert (shown.code, shown.err.startswith(f"tallygate: {file}: line 3: ")) == (1, True)


async def test_a_recording_is_never_written_over_another(recording: Path) -> None:
    before = lines_of(recording)
    ended = await end(await begin("serve", *SETTINGS, "--record", str(recording)))
    assert ended.code == 1
    assert ended.err == f"tallygate: cannot start: {recording}: File exists\n"
    assert lines_of(recording) == before
