"""Whether a message of the gateway has the fields of its typed dict; `Wire` asks it of every message it hears."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from gateway.core.wire.answers import Answer


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


SHAPES: dict[str, dict[str, Any]] = {get_args(_hints(kind)["type"])[0]: _hints(kind) for kind in get_args(Answer)}
"""The fields of each type of message, with their type hints."""


def faults(message: dict[str, Any]) -> list[str]:
    """What is wrong with the fields of a message; nothing for a type that is not said to clients."""
    fields = SHAPES.get(message.get("type", ""), {})
    if not fields:
        return []
    missing = [name for name, hint in fields.items() if get_origin(hint) is not NotRequired and name not in message]
    wrong = [name for name in message if name in fields and not _fits(message[name], fields[name])]
    return [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unknown" for name in message if name not in fields),
        *(f"{name} is {message[name]!r}" for name in wrong),
    ]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what its type hint says."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return _fits(value, parts[0])
    if origin in {Union, UnionType}:
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(_fits(each, parts[0]) for each in value)
    if hint is NoneType:
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint
