"""What was acknowledged outlives a loss of power, and the simulation of it does lose what was not synced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.crash import powerloss, rounds
from tests.crash.powerloss import Operation, disk
from tests.programs import missing
from tests.wire_client import PATIENCE

pytestmark = [pytest.mark.debian, pytest.mark.timeout(120)]

ROUNDS = 3
ENOUGH = 40
"""Rows after which the power fails."""


@pytest.fixture(autouse=True)
def compiled() -> None:
    """The library that records writes; skips where it cannot be made."""
    try:
        powerloss.shim()
    except powerloss.Missing as fault:
        missing(f"writes cannot be recorded here: {fault}")


async def test_what_was_acknowledged_is_there_once_after_a_loss_of_power(tmp_path: Path) -> None:
    results = [each async for each in rounds.powerless(tmp_path, ROUNDS, seed=3)]
    assert [each.faults for each in results] == [[]] * ROUNDS
    assert all(each.acknowledged for each in results)


async def acknowledged(store: Path, record: Path, synchronous: str) -> list[int]:
    """What a process was told to be committed before its power failed."""
    store.parent.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.writer", str(store), synchronous,
        stdout=PIPE, env={**os.environ, **powerloss.environment(store, record)},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(2 * PATIENCE):
        told = [int(await process.stdout.readline()) for _ in range(ENOUGH)]
    process.kill()
    rest, _ = await process.communicate()
    return told + [int(line) for line in rest.splitlines()]


def rows(path: Path) -> set[int]:
    """The rows of a disk that was made up."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {int(name) for (name,) in db.execute("SELECT name FROM meta")}


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL", "OFF"])
async def test_only_what_is_synced_at_every_commit_survives(synchronous: str, tmp_path: Path) -> None:
    store, record = tmp_path / "disk" / "rows.db", tmp_path / "record"
    told = await acknowledged(store, record, synchronous)
    assert set(told) <= rows(store)  # the death of the process alone loses nothing
    loose = disk(record, tmp_path / "after", "all", random.Random(1))  # noqa: S311 - chance, not secrets
    survived = rows(tmp_path / "after" / "rows.db")
    if synchronous == "FULL":
        assert set(told) <= survived
    else:
        assert survived == set()
        assert loose >= ENOUGH


@pytest.mark.parametrize("loss", powerloss.LOSSES)
def test_a_disk_holds_what_was_synced_and_of_the_rest_what_chance_left(loss: str, tmp_path: Path) -> None:
    operations = [
        Operation("w", "/d/a.db", 0, b"x" * 1024),
        Operation("t", "/d/a.db", 512, b""),
        Operation("s", "/d/a.db", 0, b""),
        Operation("w", "/d/a.db", 512, b"y" * 512),
        Operation("w", "/d/a.db-shm", 0, b"memory"),
        Operation("w", "/d/a.db-journal", 0, b"gone"),
        Operation("u", "/d/a.db-journal", 0, b""),
    ]
    record = tmp_path / "record"
    record.write_bytes(
        b"".join(
            powerloss.HEAD.pack(each.op.encode(), len(each.path), each.offset, len(each.data))
            + each.path.encode()
            + each.data
            for each in operations
        )
        + b"w\x00"  # cut short
    )
    seen = set()
    for seed in range(20):
        folder = tmp_path / str(seed)
        assert disk(record, folder, loss, random.Random(seed)) == 1  # noqa: S311 - chance, not secrets
        assert [each.name for each in folder.iterdir()] == ["a.db"]
        seen.add((folder / "a.db").read_bytes())
    assert seen == ({b"x" * 512} if loss == "all" else {b"x" * 512, b"x" * 512 + b"y" * 512})
