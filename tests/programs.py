"""Real programs that tests run, and ports for them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from asyncio.subprocess import PIPE, STDOUT

import pytest

PATIENCE = 20.0
"""Seconds for a program that only looks at something."""


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package; without it the test is skipped, on a CI machine it fails."""
    found = shutil.which(name)
    if found is None:
        words = f"{name} is not installed (Debian: apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return found


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def outcome(*argv: str) -> tuple[int | None, str]:
    """The exit code of a program, and what it said."""
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(PATIENCE):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, told.decode()
