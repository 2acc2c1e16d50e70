"""The kinds of values a setting can have.

A settings dataclass annotates its fields with these; the annotation is all that is known of a value, and
`config.reading` reads, checks and writes it by that. Pure: license models use the kinds too.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, TypeVar

from gateway.core.formats import ID_FORM, endpoint, is_hex, is_id

MANY = 1_000_000_000
"""The largest number any setting takes: far above use, exact as a float, harmless to the kernel."""
CENTURY = 36_500 * 86_400.0
"""The longest duration any setting takes, in seconds: the end of such a lease is still a date."""


class Flaw(NamedTuple):
    """What is wrong with one value, and what was probably meant."""

    reason: str
    nearest: str | None = None


class KindError(ValueError):
    """A value is not of its kind; `flaws` has one entry for each thing wrong with it."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(flaw.reason for flaw in flaws))
        self.flaws = flaws


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


@dataclass(frozen=True, slots=True)
class Choice:
    """The texts a string may be, where a Literal cannot name them."""

    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a string: `accept` returns the text as it is kept or raises ValueError; `optional` allows ""."""

    what: str
    accept: Callable[[str], str]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """Marks a string as the path of a file to be read, "" for none; whether it can be read is the loader's check."""


T = TypeVar("T")


def setting(default: T, *, help: str, live: bool = False) -> T:
    """A field of a settings dataclass.

    `help` is what the default file says of it; `live` says that a running gateway takes a change over when it reads
    its file again, without it the change waits for the next start. Returns the field, which stands where dataclasses
    expect its default.
    """
    return field(default=default, metadata={"help": help, "live": live})


def quote(text: str) -> str:
    """The text as a TOML string on one line; for faults, a long one is cut after 60 characters."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=not text.isprintable())


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if len(text) > 253 or not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?", text):
            raise
        if re.fullmatch(r"[0-9.]+", text):  # an address that is none, such as 127.0.0.256
            raise
    return text.lower()


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        loose = ipaddress.ip_network(text, strict=False)
        raise KindError(Flaw(f"{quote(text)} has bits set to the right of its prefix", str(loose))) from None


def _origin(text: str) -> str:
    if text in {"*", "null"}:
        return text
    found = re.fullmatch(r"(https?://[A-Za-z0-9._\-\[\]:]+)(/.*)?", text)
    if found is None:
        raise ValueError(text)
    if found[2] is not None:  # browsers send no path: such an entry would never match
        raise KindError(Flaw(f"{quote(text)} has a path, an origin has none", found[1].lower()))
    return text.lower()


def _home(text: str) -> str:
    if not is_id(text):
        raise ValueError(text)
    return text.lower()


def _endpoint(text: str) -> str:
    _host(endpoint(text)[0])
    return text.lower()


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").lower()
    if not is_hex(digits, 64):
        raise ValueError(text)
    return digits


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


Count = Annotated[int, Range(0)]
Positive = Annotated[int, Range(1)]
Port = Annotated[int, Range(0, 65535)]
Seconds = Annotated[float, Duration()]
PositiveSeconds = Annotated[float, Duration(low=0.001)]
Host = Annotated[str, Form("an address or a host name", _host)]
Network = Annotated[str, Form('a network such as "10.0.0.0/8"', _network)]
Origin = Annotated[str, Form('an origin such as "https://example.org"', _origin)]
Home = Annotated[str, Form(ID_FORM, _home)]
HomeOrNone = Annotated[str, Form(ID_FORM, _home, optional=True)]
Endpoint = Annotated[str, Form('"host:port"', _endpoint, optional=True)]
Fingerprint = Annotated[str, Form("64 hex digits", _fingerprint, optional=True)]
Path = Annotated[str, Form("a path", _filled)]
FilePath = Annotated[str, File()]
