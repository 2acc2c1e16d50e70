"""The command `tallygate` as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from tests.conftest import House

PATIENCE = 60.0


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


async def begin(
    *argv: str, stdin: int = DEVNULL, stdout: int = PIPE, environment: Mapping[str, str] | None = None
) -> Process:
    """Starts the command, with `environment` beside this process's own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *argv),
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        env={**os.environ, **(environment or {})},
    )


async def end(process: Process) -> Ended:
    """Waits for it; it is killed when it takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(process.returncode or 0, (out or b"").decode(), err.decode())


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


class Shell:
    """Commands for one gateway."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def __call__(self, *words: str) -> Ended:
        return await run(*words, "--operator", self.house.url)

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
