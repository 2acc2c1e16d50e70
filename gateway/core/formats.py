"""How ids, times, durations and addresses are written: one grammar each, for the wire, the settings and the API.

Pure, and below everything else: any module may import it.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeGuard

ID_PATTERN = r"(?!\.{1,2}$)[A-Za-z0-9._@:+-]{1,128}"
"""Pattern of an id: what a license names, such as a model or a pool; never a step of a path."""
ID_FORM = "1-128 characters of A-Z a-z 0-9 . _ @ : + -"
"""What an id looks like, for a person."""

DURATION_PATTERN = (
    r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?(?:ms|s)|[0-9]{1,8}(?:\.[0-9]{1,6})?m"
    r"|[0-9]{1,6}(?:\.[0-9]{1,6})?h|[0-9]{1,5}(?:\.[0-9]{1,6})?d)"
)
"""Pattern of a duration; at most 100,000 days, so that any of them from now on ends at a date."""
DURATION_FORM = 'a duration such as "300ms", "30s", "5m", "24h" or "400d"'
"""What a duration looks like, for a person."""
SECONDS_OF_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, UTC."""
LONGEST_TIME = 40
"""Characters of a time."""

_id = re.compile(ID_PATTERN).fullmatch
_hex = re.compile(r"[0-9a-fA-F]*").fullmatch
_duration = re.compile(DURATION_PATTERN).fullmatch
_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_time = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_endpoint = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})").fullmatch


# -- ids -------------------------------------------------------------------------------------------------------------


def is_id(text: object) -> bool:
    """Return whether `text` may name what a license names, such as a model or a pool (`ID_FORM`, never a path step)."""
    return isinstance(text, str) and _id(text) is not None


def is_hex(text: str, digits: int) -> bool:
    """Return whether `text` is exactly so many hex digits, of either case."""
    return len(text) == digits and _hex(text) is not None


SHORTEST_TOKEN, LONGEST_TOKEN = 32, 512
"""Characters of a token that people bring along; 32 hex digits are as many random bits as nobody guesses."""
TOKEN_FORM = f"at least {SHORTEST_TOKEN} printable ASCII characters without a space"
"""What such a token looks like, for a person."""


def is_token(text: str) -> bool:
    """Return whether `text` may be a token that people bring along (`TOKEN_FORM`)."""
    return SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


# -- times -----------------------------------------------------------------------------------------------------------


def utc(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, whole seconds, of seconds UTC; None for None."""
    return None if seconds is None else _utc(int(seconds))


@lru_cache(maxsize=256)  # what many are told within a second is the same
def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp(text: str) -> float:
    """Return the seconds UTC of a time in RFC 3339; 0 for one before 1970.

    Raises ValueError.
    """
    if len(text) > LONGEST_TIME or not _time(text):
        raise ValueError("a time is written in RFC 3339, with its zone, such as Z")
    found = datetime.fromisoformat(text.upper())
    try:
        return max(found.astimezone(UTC).timestamp(), 0.0)
    except OverflowError as fault:
        raise ValueError("there is no such time") from fault


def instant(value: object) -> float:
    """Return the seconds UTC of a time in RFC 3339, or of that many whole seconds; a date means its last second.

    Raises ValueError.
    """
    if is_whole(value):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("a time is a text in RFC 3339")
    return timestamp(f"{value}T23:59:59Z" if _date(value) else value)


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether `value` is a whole number of seconds UTC, or small enough to be one."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_SECOND


# -- durations -------------------------------------------------------------------------------------------------------


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as "300ms" or "24h" (`DURATION_PATTERN`).

    Raises ValueError.
    """
    if not _duration(text):
        raise ValueError(f"expected {DURATION_FORM}")
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text[:-1]) * SECONDS_OF_UNIT[text[-1]]


def write_duration(seconds: float) -> str:
    """Return a duration as `read_duration` reads it: in the largest unit that gives a whole number of at least 10, else
    in seconds, or milliseconds.
    """
    whole = round(seconds * 1000)
    for unit in ("d", "h", "m"):
        size = round(SECONDS_OF_UNIT[unit] * 1000)
        if whole % size == 0 and whole >= 10 * size:
            return f"{whole // size}{unit}"
    return f"{whole}ms" if whole % 1000 else f"{whole // 1000}s"


def whole_seconds(seconds: float) -> int:
    """Return a span of time (seconds) as it is told, in whole seconds, rounded up; less than half a millisecond above a
    whole one counts as nothing, since the difference of two instants is not exact.
    """
    return math.ceil(round(seconds, 3))


def duration_text(seconds: float) -> str:
    """Return a time left, in seconds, for a person: "2 h 05 min"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


# -- addresses -------------------------------------------------------------------------------------------------------


def endpoint(text: str) -> tuple[str, int]:
    """Return the host and the port of "host:4310" or "[::1]:4310", from 1 to 65535.

    Raises ValueError.
    """
    found = _endpoint(text)
    if found is None or not 1 <= int(found[3]) <= 65535:
        raise ValueError('expected "host:port"')
    return found[1] or found[2], int(found[3])
