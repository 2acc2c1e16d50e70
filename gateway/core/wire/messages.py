"""The fields of messages, and the check of a message against them.

`MessageFields.read` takes the fields of one type of message, `checked` turns a parsed object into a `Request`. Unknown
keys are ignored, so that later versions may add some; a field that is null counts as not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

VERSION = 1
"""The version of the protocol."""
LONGEST_ID = 64
"""Characters of an `id` that is echoed, at most."""


class RequestFault(ValueError):
    """A message that cannot be acted upon: `code` is one of the protocol's error codes.

    `hello` says that the message was a `hello`: before `welcome` a fault in any other message closes the connection,
    after it a `hello` with a fault is answered `already_welcomed`.
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
    """One field: what it accepts, the words for that, its value when it is not given, and how a value is kept."""

    accepts: Callable[[object], bool]
    expected: str
    default: Any = None
    required: bool = False
    kept: Callable[[Any], Any] | None = None

    def fault(self, name: str, value: object) -> str:
        """Return what is wrong with the value of the field, which is called `name`; empty where nothing is."""
        if value is None:
            return f"{name}: required, {self.expected}" if self.required else ""
        return "" if self.accepts(value) else f"{name}: expected {self.expected}"


class MessageFields(dict[str, Field]):
    """The fields of one type of message, by name."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__(fields)
        self._defaults = {name: field.default for name, field in fields.items()}
        self._required = [name for name, field in fields.items() if field.required]
        self._checks = {name: (field.accepts, field.kept) for name, field in fields.items()}

    def read(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every field, defaults filled in.

        Raises `ValueError`; its text says what is wrong with the first field that is.
        """
        values = self._defaults.copy()
        for name, value in message.items():
            if value is None or name not in self._checks:
                continue
            accepts, kept = self._checks[name]
            if not accepts(value):
                raise ValueError(self._first_fault(message))
            values[name] = value if kept is None else kept(value)
        for name in self._required:
            if values[name] is None:
                raise ValueError(self._first_fault(message))
        return values

    def _first_fault(self, message: Mapping[str, Any]) -> str:
        """Return what is wrong, in the order of the fields: it is not that in which a client says them."""
        return next(fault for name, field in self.items() if (fault := field.fault(name, message.get(name))))


def is_integer(value: object) -> bool:
    """Return whether a value is a whole number, and not true or false."""
    return type(value) is int  # `isinstance` would take true and false too


def is_boolean(value: object) -> bool:
    """Return whether a value is true or false."""
    return isinstance(value, bool)


def text(limit: int | None = None) -> Callable[[object], bool]:
    """Return what accepts a text of at most `limit` characters."""
    return lambda value: isinstance(value, str) and (limit is None or len(value) <= limit)


def one_of(*words: str) -> Callable[[object], bool]:
    """Return what accepts one of these words."""
    return lambda value: isinstance(value, str) and value in words


def checked(message: Mapping[str, Any], known_types: Mapping[str, MessageFields]) -> Request:
    """Check a message against the fields of its type.

    Raises `RequestFault` with code `unknown_type` or `bad_field`.
    """
    id, type = message.get("id"), message.get("type")
    hello = type == "hello"
    if id is not None and not (is_integer(id) or (isinstance(id, str) and len(id) <= LONGEST_ID)):
        detail = f"id: expected an integer or a text of at most {LONGEST_ID} characters"
        raise RequestFault("bad_field", detail, hello=hello)
    if not isinstance(type, str):
        raise RequestFault("bad_field", "type: expected a text", id)
    known = known_types.get(type)
    if known is None:
        raise RequestFault("unknown_type", f"type: one of {', '.join(known_types)}", id)
    try:
        return tuple.__new__(Request, (type, known.read(message), id))  # as `Request(...)` does, and cheaper
    except ValueError as fault:
        raise RequestFault("bad_field", str(fault), id, hello=hello) from None
