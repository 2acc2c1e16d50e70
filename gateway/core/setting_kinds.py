"""What a setting is, and the kinds of numbers and durations it can be; license models and `config` share them.

A settings dataclass annotates its fields with kinds. The annotation is all that is known of a value, and
`config.reading` reads, checks and writes it by that. The other kinds are in `config.values`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeVar

MANY = 1_000_000_000
"""The largest number any setting takes: far above use, exact as a float, harmless to the kernel."""
CENTURY = 36_500 * 86_400.0
"""The longest duration any setting takes, in seconds: the end of such a lease is still a date."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive bounds of an integer."""

    low: int
    high: int = MANY


@dataclass(frozen=True, slots=True)
class Duration:
    """Marks a float as seconds, written `"300ms"`, `"30s"`, `"24h"`, `"400d"` in TOML; inclusive bounds in seconds."""

    low: float = 0.0
    high: float = CENTURY


def setting(default: T, *, help: str, live: bool = False) -> T:
    """Return a field of a settings dataclass.

    `help` is what the default file says of it; `live` says that a running gateway takes a change over when it reads
    its file again, without it the change waits for the next start. Returns the field, which stands where dataclasses
    expect its default.
    """
    return field(default=default, metadata={"help": help, "live": live})


Count = Annotated[int, Range(0)]
Positive = Annotated[int, Range(1)]
Seconds = Annotated[float, Duration()]
PositiveSeconds = Annotated[float, Duration(low=0.001)]
