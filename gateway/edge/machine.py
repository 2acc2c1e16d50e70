"""What this machine is asked: its clock since it was started, what tells this start from others, files of secrets
and of certificates."""

from __future__ import annotations

import contextlib
import errno
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from config.whole_files import read_text
from gateway.core.certificates import ends_of
from gateway.core.formats import TOKEN_FORM, is_token
from gateway.core.registration.authentication import key_of

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class KeyRefused(Exception):
    """The file of the license's key cannot be used."""


def read_key(path: str) -> bytes:
    """Return the key of a license, from its file.

    Raises `KeyRefused`.
    """
    try:
        return key_of(read_text(path))
    except (OSError, ValueError) as fault:
        raise KeyRefused(f"registration.key_file {path}: {getattr(fault, 'strerror', None) or fault}") from fault


def read_token(path: str) -> str | None:
    """Return the token of an operator, from its file; None where no file is named.

    Raises `OSError` where there is none in it.
    """
    if not path:
        return None
    text = read_text(path)
    if not is_token(text):
        raise OSError(errno.EINVAL, f"it holds no token: a token has {TOKEN_FORM}", path)
    return text


def certificate_ends(clients: str, operators: str) -> dict[str, float]:
    """Return when the certificates in the files for `clients` and for `operators` end, in seconds UTC, where known.

    An empty path stands for no certificate.

    Raises `OSError`.
    """
    ends: dict[str, float] = {}
    for port, path in (("clients", clients), ("operators", operators)):
        with contextlib.suppress(ValueError):  # ssl reads forms of certificates that are not read here
            if path:
                ends[port] = min(ends_of(read_text(path)))
    return ends


def boottime() -> float:
    """Return the seconds since the machine was started, its sleep included where the system counts that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Return what tells this start of the machine from others; where nothing does, each run of the gateway is one."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return secrets.token_hex(8)


class Clock(NamedTuple):
    """Where time comes from: monotonic seconds, seconds UTC, and seconds since the machine was started."""

    mono: Callable[[], float]
    wall: Callable[[], float]
    boot: Callable[[], float] = boottime
