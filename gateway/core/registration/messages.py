"""The messages and documents of the registration check: which fields each has, and what each field must be.

`read` checks one. What proves that it is genuine is in `authentication`, what it grants in `grant`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.formats import ID_FORM, instant, is_hex, is_id, is_whole
from gateway.core.names import NAME_FORM, is_name, normalized
from gateway.core.wire.messages import Field, MessageFields, RequestFault

VERSION = 1
MOST = 10**9
"""The largest limit, use or sequence number that makes sense."""
LONGEST_INTERVAL = 86_400
"""Seconds between two verifications at most."""
LONGEST_EDITION = 32
POOLS, EXTENSIONS = 16, 32
"""Entries of `limits` and `used`, and of `extensions`, at most."""


def _count(value: object) -> bool:
    return is_whole(value) and value <= MOST


def _counts(value: object) -> bool:
    return (
        isinstance(value, dict) and len(value) <= POOLS and all(map(is_id, value)) and all(map(_count, value.values()))
    )


def _names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= EXTENSIONS and all(map(is_id, value))


def _serial(value: object) -> bool:
    """Return whether a value is a name as it is kept: a registrar and an agent prove to each other what they wrote."""
    return isinstance(value, str) and is_name(value) and normalized(value) == value


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


_NAME = Field(is_id, ID_FORM)
_SERIAL = Field(_serial, f"{NAME_FORM}, in the normalization form C")
_NONCE = Field(lambda value: isinstance(value, str) and is_hex(value, 32), "32 hex digits")
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
        "server": _must(_SERIAL),
        "serial": _must(_SERIAL),
        "version": _word(64),
        "nonce": _must(_NONCE),
        "ticket": _word(128),
    },
    "challenge": {"nonce": _must(_NONCE)},
    "proof": {"mac": _must(_word(64))},
    "registered": {
        **TERMS,
        "interval_seconds": _must(
            Field(
                lambda value: is_whole(value) and 0 < value <= LONGEST_INTERVAL, f"seconds, at most {LONGEST_INTERVAL}"
            )
        ),
        "time": _ANY,
        "ticket": _must(_word(128)),
        "mac": _must(_word(64)),
    },
    "refused": {"reason": _must(_word(64)), "mac": _word(64)},
    "verify": {"seq": _must(_SEQ), "used": _COUNTS, "mac": _must(_word(64))},
    "verified": {"seq": _must(_SEQ), "time": _ANY, "ticket": _must(_word(128)), "mac": _must(_word(64))},
    "revoked": {"reason": _must(_word(64)), "mac": _must(_word(64))},
    "request": {"server": _must(_SERIAL), "serial": _must(_SERIAL), "nonce": _must(_NONCE), "time": _ANY},
    "answer": {
        **TERMS,
        "server": _must(_SERIAL),
        "serial": _must(_SERIAL),
        "nonce": _must(_NONCE),
        "issued_at": _must(_WHEN),
        "mac": _must(_word(64)),
    },
}
"""The fields of each message; `terms` are those of a license that is sold, `request` and `answer` those of the two
documents of the offline registration, which have no type.
"""
_FIELDS = {type: MessageFields(fields) for type, fields in FIELDS.items()}
SPOKEN = frozenset(FIELDS) - {"terms", "request", "answer"}
"""The types of messages."""


def read(message: Mapping[str, Any], type: str | None = None) -> dict[str, Any]:
    """Return the fields of a message, None for those not given; unknown ones are left out.

    Raises `RequestFault` where the type is unknown, a field is missing or wrong, or a number is not whole.
    """
    told = message.get("type")
    name = type or (told if isinstance(told, str) else "")
    if type is None and name not in SPOKEN:
        raise RequestFault("unknown_type", "type: no message of the registration check")
    try:
        found = _FIELDS[name].read(message)
    except ValueError as fault:
        raise RequestFault("bad_field", str(fault)) from None
    if _broken(message):
        raise RequestFault("bad_field", "numbers are whole")
    return found


def _broken(value: Any) -> bool:
    """Return whether a value has a number that two implementations might write differently."""
    if isinstance(value, dict):
        return any(map(_broken, value.values()))
    if isinstance(value, list):
        return any(map(_broken, value))
    return isinstance(value, float)
