"""What a client may say: the type and the fields of each message, checked.

`read` turns a parsed object into a `Request`. Unknown keys are ignored (room to grow); a field that is null is a field
that was not given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.core.counting.session import KINDS
from gateway.core.formats import ID_FORM, is_id

VERSION = 1


class RequestFault(ValueError):
    """A message that cannot be acted upon: `code` is one of the protocol's error codes.

    `hello` says that it was meant for one: before `welcome` any other fault closes the connection, after it this one is
    said twice.
    """

    def __init__(self, code: str, detail: str, id: str | int | None = None, *, hello: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.id = id
        self.hello = hello


class Request(NamedTuple):
    """One message of a client: `fields` has a value for every field of its type, defaults filled in."""

    type: str
    fields: dict[str, Any]
    id: str | int | None


class Field(NamedTuple):
    """One field: what it must be, the words for it, and what stands for it when it is not given."""

    accepts: Callable[[object], bool]
    expected: str
    default: Any = None
    required: bool = False


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _text(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _one_of(*words: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


_NAME = f"an id of {ID_FORM}"
_ID = Field(is_id, _NAME)
_CONFERENCE = Field(is_id, _NAME, required=True)
_FLAG = Field(lambda value: isinstance(value, bool), "true or false", default=False)

FIELDS: dict[str, dict[str, Field]] = {
    "hello": {
        "protocol": Field(_is_int, "the integer 1", required=True),
        "client": Field(_text(64), "a text of at most 64 characters", default=""),
        "kind": Field(_one_of(*sorted(KINDS)), "one of " + ", ".join(sorted(KINDS))),
        "account": _ID,
        "device": _ID,
        "home": _ID,
        "token": Field(_is_text, "a text"),
        "resume": Field(_is_text, "a text"),
    },
    "heartbeat": {"seq": Field(_is_int, "an integer")},
    "join": {
        "conference": _CONFERENCE,
        "host": _FLAG,
        "access": Field(_one_of("internal", "public"), '"internal" or "public"', default="internal"),
        "mode": Field(_one_of("group", "call"), '"group" or "call"', default="group"),
        "scheduled": _FLAG,
        "server": _ID,
    },
    "start": {"conference": _CONFERENCE},
    "leave": {"conference": _CONFERENCE},
    "sleep": {},
    "wake": {},
    "request_pro": {},
    "bye": {},
}

_DEFAULTS = {type: {name: field.default for name, field in known.items()} for type, known in FIELDS.items()}
_REQUIRED = {type: [name for name, field in known.items() if field.required] for type, known in FIELDS.items()}


def read(message: dict[str, Any]) -> Request:
    """Check one message.

    Raises `Fault` with code `unknown_type`, `bad_field` or `unsupported_protocol`.
    """
    id, type = message.get("id"), message.get("type")
    hello = type == "hello"
    if id is not None and not (_is_int(id) or (isinstance(id, str) and len(id) <= 64)):
        raise RequestFault("bad_field", "id: expected an integer or a text of at most 64 characters", hello=hello)
    if not isinstance(type, str):
        raise RequestFault("bad_field", "type: expected a text", id)
    known = FIELDS.get(type)
    if known is None:
        raise RequestFault("unknown_type", f"type: one of {', '.join(FIELDS)}", id)
    fields = _DEFAULTS[type].copy()
    for name, value in message.items():
        field = known.get(name)
        if field is None or value is None:
            continue
        if not field.accepts(value):
            raise RequestFault("bad_field", f"{name}: expected {field.expected}", id, hello=hello)
        fields[name] = value
    for name in _REQUIRED[type]:
        if fields[name] is None:
            raise RequestFault("bad_field", f"{name}: required, {known[name].expected}", id, hello=hello)
    if type == "hello" and fields["protocol"] != VERSION:
        raise RequestFault("unsupported_protocol", f"protocol: this gateway speaks {VERSION}", id, hello=True)
    return Request(type, fields, id)
