"""Kinds of values that options of commands have. What is wrong with a value is said with what is expected.

Every function raises `argparse.ArgumentTypeError`.
"""

from __future__ import annotations

import argparse
import math

from gateway.core.addresses import ip_address
from gateway.core.formats import DURATION_FORM, endpoint, is_hex, read_duration

HASH_DIGITS = 64


def count(text: str) -> int:
    """Return a number from 1."""
    return _whole(text, 1)


def count_or_none(text: str) -> int:
    """Return a number from 0."""
    return _whole(text, 0)


def port(text: str) -> int:
    """Return the number of a port that one can connect to."""
    return _whole(text, 1, 65535)


def host_and_port(text: str) -> tuple[str, int]:
    """Return where one can listen or connect to: HOST:PORT, an IPv6 address in brackets."""
    try:
        return endpoint(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, found {text!r}") from None


def local_address(text: str) -> str:
    """Return an IP address to connect from."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an IP address of this machine, found {text!r}") from None


def _whole(text: str, low: int, high: int | None = None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low or (high is not None and value > high):
        upper = "" if high is None else f" to {high}"
        raise argparse.ArgumentTypeError(f"expected a number from {low}{upper}, found {text!r}")
    return value


def positive(text: str) -> float:
    """Return a number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def pause(text: str) -> float:
    """Return the seconds between two looks, from 0.1 to a day."""
    value = _number(text)
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds from 0.1 to 86400, found {text!r}")
    return value


def _number(text: str) -> float:
    """Return a number; where the text is none NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def duration(text: str) -> str:
    """Return a span of time as the gateway takes it, such as 5m."""
    seconds(text)
    return text


def seconds(text: str) -> float:
    """Return the seconds of a span of time such as 5m; more than none."""
    try:
        value = read_duration(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        meant = f" (did you mean {text}s?)" if text.isascii() and text.isdigit() and int(text) else ""
        raise argparse.ArgumentTypeError(f"expected {DURATION_FORM}, found {text!r}{meant}")
    return value


def entry_hash(text: str) -> str:
    """Return the hash of an entry of the audit log."""
    if not is_hex(text, HASH_DIGITS):
        raise argparse.ArgumentTypeError(
            f"expected a hash of {HASH_DIGITS} hex digits, as `audit verify` prints it, found {text!r}"
        )
    return text.lower()
