"""The command `tallygate`: as a process of its own, or in this one, which is many times quicker."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from typing import NamedTuple, cast
from unittest.mock import patch

from gateway.cli.main import main
from tests import programs
from tests.conftest import House
from tests.fork_server import FORKED

PATIENCE = 60.0


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """What it said on stderr, less the lines of its log that tell of nothing but what it did."""
        return [line for line in self.err.splitlines() if " INFO " not in line]


async def begin(
    *argv: str,
    stdin: int = DEVNULL,
    stdout: int = PIPE,
    environment: Mapping[str, str] | None = None,
    anew: bool = False,
) -> Process:
    """Starts the command, with `environment` beside this process's own: quickly, unless Python is to start `anew`."""
    return await asyncio.create_subprocess_exec(
        *((sys.executable, "-m", "gateway") if anew else (FORKED,)),
        *argv,
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        env={**os.environ, **(environment or {})},
    )


async def end(process: Process) -> Ended:
    """Waits for it; it is killed when it takes too long."""
    out, err = await programs.said(process, PATIENCE)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def run(*argv: str) -> Ended:
    """Runs it to its end."""
    return await end(await begin(*argv))


async def said(stream: asyncio.StreamReader | None, word: str) -> None:
    """Waits for a line that holds a word."""
    lines = cast(asyncio.StreamReader, stream)
    async with asyncio.timeout(PATIENCE):
        while line := await lines.readline():
            if word in line.decode():
                return
    raise AssertionError(f"it ended without saying {word!r}")


async def run_here(*argv: str) -> Ended:
    """Runs it in a thread of this process; one at a time, since they share its stdout. Its logging is left out."""

    def run_main() -> Ended:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch("gateway.cli.main._log"):
            code = main(argv)
        return Ended(code, out.getvalue(), err.getvalue())

    return await asyncio.to_thread(run_main)


class Shell:
    """Commands for one gateway, run in this process."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def __call__(self, *words: str) -> Ended:
        return await run_here(*words, "--operator", self.house.url)

    async def said(self, *words: str) -> str:
        """What a command that succeeds prints."""
        ended = await self(*words)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    async def failed(self, *words: str) -> str:
        """The one line of a command that fails."""
        ended = await self(*words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1), ended
        return ended.err
