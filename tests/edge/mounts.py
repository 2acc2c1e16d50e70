"""Disks that can be filled and taken away, for the tests of the store: a small tmpfs, where mounting is permitted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.programs import missing, program


@contextlib.contextmanager
def tmpfs(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A tmpfs of so many bytes, mounted on `folder`; skips the test where that is not permitted."""
    folder.mkdir()
    if os.geteuid() != 0:
        missing("mounting a tmpfs needs root")
    made = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if made.returncode:
        missing(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    """Make the mount on `folder` `ro` or `rw`."""
    made = _mount("-o", f"remount,{how}", str(folder))
    assert made.returncode == 0, made.stderr


def fill(folder: Path) -> Path:
    """Leave no room on a disk; what fills it is the file that is returned."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    return ballast


@contextlib.contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """Let nobody write to these files inside the block; skips the test where the file system has no such thing."""
    chattr = program("chattr", "e2fsprogs")
    for file in files:
        done = subprocess.run([chattr, "+i", str(file)], capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"files cannot be made immutable here: {done.stderr.strip()}")
    try:
        yield
    finally:
        for file in files:
            subprocess.run([chattr, "-i", str(file)], check=True)


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
