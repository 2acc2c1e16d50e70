"""Real programs that tests run, and ports for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

PATIENCE = 20.0
"""Seconds for a program that only looks at something."""
START = 30.0
"""Seconds until a server must be ready."""


def missing(words: str) -> NoReturn:
    """Something that a test needs is not here: the test is skipped and says so; on a CI machine it fails."""
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package; a test without it is skipped."""
    return shutil.which(name) or missing(f"{name} is not installed (Debian: apt-get install {package})")


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def said(process: Process, patience: float) -> tuple[bytes, bytes]:
    """What a program says on stdout and stderr until it ends; it is killed where that takes more seconds."""
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return out or b"", err or b""


async def outcome(*argv: str, cwd: Path | None = None, patience: float = PATIENCE) -> tuple[int | None, str]:
    """The exit code of a program, and what it said."""
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=STDOUT, cwd=cwd)
    told, _ = await said(process, patience)
    return process.returncode, told.decode()


@contextlib.asynccontextmanager
async def serving(*argv: str, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A program that answers `/-/ready` on a port, once it does so, and requests to it; it ends with the block."""
    process = await asyncio.create_subprocess_exec(*argv, stdout=DEVNULL, stderr=DEVNULL)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with asyncio.timeout(START):
                while not await _ready(session):
                    assert process.returncode is None, f"{argv[0]} ended"
                    await asyncio.sleep(0.1)  # it has no event to wait on
            yield session
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/-/ready") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False
