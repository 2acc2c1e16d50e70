"""The kinds of values that only the configuration has: hosts and ports, networks, origins, ids, files.

Those that license models have too, numbers and durations, are in `gateway.core.setting_kinds`. Pure.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from gateway.core.addresses import ip_network
from gateway.core.counting.session import KINDS, VISITORS
from gateway.core.formats import endpoint, is_hex
from gateway.core.names import NAME_FORM, folded, is_account, is_name, join_names, normalized, split_names
from gateway.core.setting_kinds import Range

FIRST_EPHEMERAL_PORT = 32768
"""From here on the kernel gives ports to whoever connects to somebody; a server's port may be taken when it starts."""


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
class Amount:
    """Inclusive bounds of a number that need not be whole."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class File:
    """Marks a string as the path of a file to be read, "" for none; whether it can be read is the loader's check."""


@dataclass(frozen=True, slots=True)
class Table:
    """Marks a dataclass of settings as a table: its fields are the keys, each of its kind."""


def quote(text: str) -> str:
    """Return the text as a TOML string on one line; for faults, a long one is cut after 60 characters."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=not text.isprintable())


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if len(text) > 253 or not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?", text):
            raise
        if re.fullmatch(r"[0-9.]+", text):  # not an address, such as 127.0.0.256
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
    foreign = re.fullmatch(r"([a-z][a-z0-9+.\-]*://)([^/:\s]+)(:\d+)?/?", text, re.IGNORECASE)
    if foreign is not None and not foreign[2].isascii():
        reason = f"{quote(text)} is not what browsers send: they write the host in ASCII"
        raise KindError(Flaw(reason, _ascii_origin(foreign[1], foreign[2], foreign[3] or "")))
    found = re.fullmatch(r"(file://|[a-z][a-z0-9+.\-]*://[a-z0-9._\-\[\]:]+)(/.*)?", text, re.IGNORECASE)
    if found is None:
        raise ValueError(text)
    if found[2] is not None:  # browsers send no path: such an entry would never match
        raise KindError(Flaw(f"{quote(text)} has a path, an origin has none", found[1].lower()))
    origin = text.lower()
    if origin.startswith(("ws://", "wss://")):
        raise KindError(Flaw(f"{quote(text)} is a WebSocket's address, not the origin of a page", f"http{origin[2:]}"))
    return origin


def _ascii_origin(scheme: str, host: str, port: str) -> str | None:
    try:
        return f"{scheme}{host.encode('idna').decode()}{port}".lower()
    except UnicodeError:
        return None


def _address_network(text: str) -> str:
    try:
        return str(ip_network(_network(text)))
    except KindError:
        raise
    except ValueError:
        raise ValueError(text) from None


def _account(text: str) -> str:
    names = split_names(text)
    if len(names) > 2 or not all(map(is_account, names)):
        raise ValueError(text)
    return join_names(*map(folded, names))


def _home(text: str) -> str:
    if not is_account(text):
        raise ValueError(text)
    return folded(text)


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(text)
    return normalized(text)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        close = difflib.get_close_matches(text, sorted(available_timezones()), 1)
        raise KindError(Flaw(f"{quote(text)} is no time zone", close[0] if close else None)) from None
    return text


def _endpoint(text: str) -> str:
    _host(endpoint(text)[0])
    return text.lower()


def _peer(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.username or url.port == 0:
        raise ValueError(text)
    return text.rstrip("/")


def _member(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path.strip("/") or url.query or url.username:
        raise ValueError(text)
    if url.port is not None and url.port >= FIRST_EPHEMERAL_PORT:
        raise KindError(Flaw(f"{quote(text)}: ports from {FIRST_EPHEMERAL_PORT} on are given to anybody by the kernel"))
    return text.rstrip("/")


def _webhook(text: str) -> str:
    url = urlsplit(text)
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= 2048
    if url.scheme not in {"http", "https"} or not url.hostname or not plain or url.port == 0:
        raise ValueError(text)
    if url.username is not None or url.fragment:
        raise KindError(Flaw("has a name, a password or a fragment, which is not sent: the signature proves who posts"))
    _host(url.hostname)
    return text


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").lower()
    if not is_hex(digits, 64):
        raise ValueError(text)
    return digits


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


Port = Annotated[int, Range(0, 65535)]
Host = Annotated[str, Form("an address or a host name", _host)]
Network = Annotated[str, Form('a network such as "10.0.0.0/8"', _network)]
Origin = Annotated[str, Form('an origin such as "https://example.org"', _origin)]
Home = Annotated[str, Form(NAME_FORM, _home)]
HomeOrNone = Annotated[str, Form(NAME_FORM, _home, optional=True)]
AccountOrNone = Annotated[str, Form("an account, or account/home", _account, optional=True)]
AddressNetworkOrNone = Annotated[str, Form('a network such as "10.0.0.0/8"', _address_network, optional=True)]
SeatKind = Annotated[str, Choice(tuple(sorted(KINDS - VISITORS)))]
NameOrNone = Annotated[str, Form(NAME_FORM, _name, optional=True)]
Endpoint = Annotated[str, Form('"host:port"', _endpoint, optional=True)]
Fingerprint = Annotated[str, Form("64 hex digits", _fingerprint, optional=True)]
Member = Annotated[str, Form('the URL of a member of etcd, such as "https://10.0.0.1:2379"', _member)]
Peer = Annotated[str, Form('the URL of an operator port, such as "https://gateway-b.example.org:4311"', _peer)]
WebhookUrl = Annotated[str, Form('a URL such as "https://example.org/events"', _webhook, optional=True)]
TimeZone = Annotated[str, Form('a time zone such as "Europe/Berlin"', _zone)]
Path = Annotated[str, Form("a path", _filled)]
FilePath = Annotated[str, File()]
