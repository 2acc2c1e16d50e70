"""The words of the registration check: messages, their authentication, and what a license grants.

Both sides share a secret key of 32 bytes. Every message that matters carries `mac`, an HMAC-SHA256 over its canonical
JSON and the two nonces of the conversation: nothing that was said in another conversation, to another installation or
before, is worth anything in this one (PROTOCOL.md, Authentication). Nonces and tickets are drawn by the caller.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeGuard

from gateway.core.counting.session import is_id, utc
from gateway.core.wire.messages import Field, RequestFault

VERSION = 1
FREE = "free"
"""The edition that needs the connection, unless its license says otherwise."""
DEFAULT_MODEL = "trueconf"
"""The license model that is sold where none is named."""
KEY_BYTES = 32
MOST = 10**9
"""The largest limit, use or sequence number that makes sense."""
LONGEST_INTERVAL = 86_400
"""Seconds between two verifications at most."""
LAST = 253_402_300_799
"""The last second of the year 9999, UTC."""
LONGEST_TIME = 40
LONGEST_EDITION = 32
POOLS, EXTENSIONS = 16, 32
"""Entries of `limits` and `used`, and of `extensions`, at most."""
SKEW = 300.0
"""Seconds that two clocks may differ before it is reported (PROTOCOL.md, registered)."""

Message = dict[str, Any]

_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


class Grant(NamedTuple):
    """What a license grants: limits by pool (pools not named keep the edition's default), and until when.

    `not_after` is in seconds UTC, None for no end; `needs_connection` says that it runs out without the registrar.
    """

    model: str
    edition: str
    limits: Mapping[str, int]
    extensions: tuple[str, ...] = ()
    needs_connection: bool = False
    not_after: float | None = None

    def to_json(self) -> Message:
        """The grant as the fields of a message."""
        return {
            "model": self.model,
            "edition": self.edition,
            "limits": dict(self.limits),
            "extensions": list(self.extensions),
            "needs_connection": self.needs_connection,
            "not_after": utc(self.not_after),
        }


class LicensableModel(NamedTuple):
    """What a license can name of a model: its pools, its editions (the usual one first) and its extensions."""

    pools: tuple[str, ...]
    editions: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()


def granted(fields: Mapping[str, Any], offers: Mapping[str, LicensableModel]) -> Grant:
    """The grant in the checked fields of a message; `offers` tells what each license model has.

    Raises `Fault` where the model is unknown or does not have the edition or one of the pools.
    """
    model, limits = fields["model"], fields["limits"] or {}
    if model not in offers:
        raise RequestFault("bad_field", f"model: expected one of {', '.join(offers)}")
    pools, editions, _ = offers[model]
    edition = fields["edition"] or "".join(editions[:1])
    for pool in limits:
        if pool not in pools:
            raise RequestFault("bad_field", f"limits: {model} has no pool {pool}; expected {', '.join(pools)}")
    if editions and edition not in editions:
        raise RequestFault("bad_field", f"edition: {model} has {', '.join(editions)}")
    end = fields["not_after"]
    return Grant(
        model,
        edition,
        dict(limits),
        tuple(dict.fromkeys(fields["extensions"] or ())),
        edition == FREE if fields["needs_connection"] is None else fields["needs_connection"],
        None if end is None else instant(end),
    )


def instant(told: object) -> float:
    """Seconds UTC of an RFC 3339 time, or of that many seconds; a date means its last second.

    Raises `ValueError`.
    """
    if _whole(told):
        return float(told)
    if not isinstance(told, str) or len(told) > LONGEST_TIME:
        raise ValueError("a time is a text in RFC 3339")
    text = told + "T23:59:59Z" if _DATE(told) else told.upper()
    if not _TIME(text):
        raise ValueError("a time is written in RFC 3339, with its zone, such as Z")
    found = datetime.fromisoformat(text)
    try:
        return max(found.astimezone(UTC).timestamp(), 0.0)
    except OverflowError as fault:
        raise ValueError("there is no such time") from fault


# -- authentication --------------------------------------------------------------------------------------------------


def key_of(text: str) -> bytes:
    """The key that 64 hex digits write.

    Raises `ValueError`.
    """
    if len(text) != 2 * KEY_BYTES or not _HEX(text):
        raise ValueError(f"a key is {2 * KEY_BYTES} hex digits")
    return bytes.fromhex(text)


def canonical(message: Mapping[str, Any]) -> str:
    """The text of a message that is authenticated: all but `mac`, keys sorted, no spaces, UTF-8 as it is."""
    rest = {name: value for name, value in message.items() if name != "mac"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def mac(key: bytes, *words: str) -> str:
    """The authentication code of words, one on each line."""
    return hmac.new(key, "\n".join(words).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def proof(key: bytes, register: Mapping[str, Any], nonce: str) -> str:
    """What proves to the registrar that drew `nonce` that a `register` was sent by who has the key."""
    return mac(key, "agent", canonical(register), nonce)


def sealed(key: bytes, nonces: str, message: Mapping[str, Any]) -> Message:
    """A message with its code, good in the conversation of these nonces only."""
    return {**message, "mac": mac(key, message["type"], nonces, canonical(message))}


def genuine(key: bytes, nonces: str, message: Mapping[str, Any]) -> bool:
    """Whether a message of this conversation carries its code."""
    return same(mac(key, message["type"], nonces, canonical(message)), message.get("mac"))


def same(expected: str, told: object) -> bool:
    """Whether a code is the expected one; how long it takes tells nothing."""
    return isinstance(told, str) and hmac.compare_digest(expected.encode(), told.encode(errors="replace"))


# -- messages --------------------------------------------------------------------------------------------------------


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST


def _count(value: object) -> bool:
    return _whole(value) and value <= MOST


def _counts(value: object) -> bool:
    return (
        isinstance(value, dict) and len(value) <= POOLS and all(map(is_id, value)) and all(map(_count, value.values()))
    )


def _names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= EXTENSIONS and all(map(is_id, value))


def _time(value: object) -> bool:
    try:
        instant(value)
    except ValueError:
        return False
    return True


def _word(longest: int) -> Field:
    words = f"a printable text of at most {longest} characters"
    return Field(lambda value: isinstance(value, str) and len(value) <= longest and value.isprintable(), words)


def _must(field: Field) -> Field:
    return field._replace(required=True)


_NAME = Field(is_id, "1-128 characters of A-Z a-z 0-9 . _ @ : + -")
_NONCE = Field(lambda value: isinstance(value, str) and len(value) == 32 and _HEX(value) is not None, "32 hex digits")
_COUNTS = Field(_counts, "whole numbers by pool")
_FLAG = Field(lambda value: isinstance(value, bool), "true or false")
_WHEN = Field(_time, "a time in RFC 3339, or a date")
_ANY = Field(lambda _: True, "anything")
_SEQ = Field(lambda value: _count(value) and value != 0, f"a whole number from 1 to {MOST}")

TERMS: dict[str, Field] = {
    "model": _must(_NAME),
    "edition": _word(LONGEST_EDITION),
    "limits": _COUNTS,
    "extensions": Field(_names, "a list of names"),
    "needs_connection": _FLAG,
    "not_after": _WHEN,
}
"""The fields of a grant."""
FIELDS: dict[str, dict[str, Field]] = {
    "terms": TERMS,
    "register": {
        "protocol": _must(Field(lambda value: _count(value) and value == VERSION, f"the integer {VERSION}")),
        "server": _must(_NAME),
        "serial": _must(_NAME),
        "version": _word(64),
        "nonce": _must(_NONCE),
        "ticket": _word(128),
    },
    "challenge": {"nonce": _must(_NONCE)},
    "proof": {"mac": _must(_word(64))},
    "registered": {
        **TERMS,
        "interval_seconds": _must(
            Field(lambda value: _whole(value) and 0 < value <= LONGEST_INTERVAL, f"seconds, at most {LONGEST_INTERVAL}")
        ),
        "time": _ANY,
        "ticket": _must(_word(128)),
        "mac": _must(_word(64)),
    },
    "refused": {"reason": _must(_word(64)), "mac": _word(64)},
    "verify": {"seq": _must(_SEQ), "used": _COUNTS, "mac": _must(_word(64))},
    "verified": {"seq": _must(_SEQ), "time": _ANY, "ticket": _must(_word(128)), "mac": _must(_word(64))},
    "revoked": {"reason": _must(_word(64)), "mac": _must(_word(64))},
    "request": {"server": _must(_NAME), "serial": _must(_NAME), "nonce": _must(_NONCE), "time": _ANY},
    "answer": {
        **TERMS,
        "server": _must(_NAME),
        "serial": _must(_NAME),
        "nonce": _must(_NONCE),
        "issued_at": _must(_WHEN),
        "mac": _must(_word(64)),
    },
}
"""What each message has; `terms` are what an operator sells, `request` and `answer` the documents of the offline
registration, which have no type.
"""
SPOKEN = frozenset(FIELDS) - {"terms", "request", "answer"}
"""The types of messages."""


def read(message: Mapping[str, Any], type: str | None = None) -> dict[str, Any]:
    """The fields of a message, None for those not given; unknown ones are left out.

    Raises `Fault` where the type is unknown, a field is missing or wrong, or a number is not whole.
    """
    told = message.get("type")
    name = type or (told if isinstance(told, str) else "")
    if type is None and name not in SPOKEN:
        raise RequestFault("unknown_type", "type: no message of the registration check")
    known, found = FIELDS[name], {}
    for field, kind in known.items():
        value = message.get(field)
        if value is None and kind.required:
            raise RequestFault("bad_field", f"{field}: required, {kind.expected}")
        if value is not None and not kind.accepts(value):
            raise RequestFault("bad_field", f"{field}: expected {kind.expected}")
        found[field] = value
    if _broken(message):
        raise RequestFault("bad_field", "numbers are whole")
    return found


def _broken(value: Any) -> bool:
    """Whether there is a number in it that two implementations might write differently."""
    if isinstance(value, dict):
        return any(map(_broken, value.values()))
    if isinstance(value, list):
        return any(map(_broken, value))
    return isinstance(value, float)


# -- by hand -----------------------------------------------------------------------------------------------------------


class Installed(NamedTuple):
    """Which license may be installed by hand: this installation's, of this serial and key, that answers the request
    with this nonce and was issued later than the last one (seconds UTC).
    """

    server: str
    serial: str
    key: bytes
    nonce: str | None
    issued: float | None

    def check(
        self, answer: Mapping[str, Any], offers: Mapping[str, LicensableModel], now: float
    ) -> tuple[Grant, float]:
        """What an answer grants and when it was issued.

        Raises `Fault`.
        """
        fields = read(answer, "answer")
        for name, ours in (("server", self.server), ("serial", self.serial)):
            if fields[name] != ours:
                what = "installation" if name == "server" else "serial"
                raise RequestFault("another_" + what, f"the license is for the {what} {fields[name]}, this is {ours}")
        if not same(mac(self.key, "offline", canonical(answer)), fields["mac"]):
            raise RequestFault("bad_mac", "the license is not genuine, or was made with another key")
        issued = instant(fields["issued_at"])
        if self.issued is not None and issued <= self.issued:
            raise RequestFault(
                "not_newer", f"the license is not newer than {utc(self.issued)}, what was said then holds"
            )
        if fields["nonce"] != self.nonce:
            raise RequestFault("not_requested", "the license does not answer the last request that was made here")
        grant = granted(fields, offers)
        if grant.not_after is not None and max(now, issued) > grant.not_after:
            raise RequestFault("expired", f"the license ended at {utc(grant.not_after)}")
        return grant, issued


def request(server: str, serial: str, nonce: str, wall: float) -> dict[str, Any]:
    """The document with which a license is asked for by hand."""
    return {"server": server, "serial": serial, "nonce": nonce, "time": utc(wall)}
