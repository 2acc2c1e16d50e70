"""The values of commands that were read: each must be of the kind that its field is annotated with.

A command may come from a log that others write to. One with a value of another kind is refused before it changes
anything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from gateway.core.setting_kinds import Duration, Range

LARGEST = 2**53
"""The largest whole number that every reader of JSON takes for the same."""


class OneOf(NamedTuple):
    """Marks a text as one of some words."""

    choices: frozenset[str]


class Anything(NamedTuple):
    """Marks a text or a number that is only shown or sent back as it came: no file takes it, nothing depends on it."""


class Hexadecimal(NamedTuple):
    """Marks a text as so many bytes in hex."""

    bytes: int


Check = Callable[[Any], bool]
"""Whether a value is of a kind."""


def check(record: Any) -> None:
    """Check all fields of a record: a named tuple, or a dataclass.

    Raises `ValueError` where one has a value of another kind.
    """
    kind: Any = type(record)
    for name, accepts in _fields(kind):
        if not accepts(getattr(record, name)):
            raise ValueError(f"{kind.__name__}.{name}: a value of another kind was expected")


@functools.cache
def _fields(record: Any) -> tuple[tuple[str, Check], ...]:
    hints = get_type_hints(record, include_extras=True)
    names = [each.name for each in fields(record)] if is_dataclass(record) else record._fields
    return tuple((name, _check_of(hints[name])) for name in names)


def _check_of(kind: Any) -> Check:
    """Return what accepts the values of an annotation.

    Raises `TypeError` for one that no field has had so far.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Annotated:
        return _marked(arguments[0], arguments[1:])
    if origin is Literal:
        return lambda value: any(type(value) is type(each) and value == each for each in arguments)
    if origin in {Union, UnionType}:
        return _union_check(arguments)
    if origin is tuple:
        return _tuple_check(arguments)
    if origin in {dict, Mapping}:
        return lambda value: isinstance(value, Mapping)
    if isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields")):
        return functools.partial(_is_record, kind)
    raise TypeError(f"no check is known for {kind}")


def _union_check(kinds: tuple[Any, ...]) -> Check:
    checks = [_check_of(each) for each in kinds if each is not NoneType]
    optional = len(checks) < len(kinds)
    if len(checks) == 1:
        (accepts,) = checks
        return lambda value: value is None or accepts(value)
    return lambda value: (optional and value is None) or any(accepts(value) for accepts in checks)


def _tuple_check(items: tuple[Any, ...]) -> Check:
    if len(items) == 2 and items[1] is ...:
        accepts = _check_of(items[0])
        return lambda value: isinstance(value, tuple) and all(map(accepts, value))
    checks = [_check_of(each) for each in items]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(checks)
        and all(accepts(each) for accepts, each in zip(checks, value, strict=True))
    )


def _marked(kind: Any, marks: tuple[Any, ...]) -> Check:
    accepts = _check_of(kind)
    for mark in marks:
        if isinstance(mark, OneOf):
            choices = mark.choices
            return lambda value: type(value) is str and value in choices
        if isinstance(mark, Anything):
            return lambda value: value is None or type(value) in {str, int}
        if isinstance(mark, Hexadecimal):
            return functools.partial(_is_hexadecimal, mark.bytes)
        if isinstance(mark, Range | Duration):
            low, high = mark.low, mark.high
            return lambda value: value is not None and accepts(value) and low <= value <= high
    return accepts


def _is_record(kind: Any, value: Any) -> bool:
    kinds = _fields(kind)
    return type(value) is kind and all(accepts(getattr(value, name)) for name, accepts in kinds)


def _is_text(value: object) -> bool:
    return type(value) is str and (value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value))


def _is_hexadecimal(length: int, value: object) -> bool:
    return type(value) is str and len(value) == 2 * length and not value.strip("0123456789abcdef")


def _is_whole_number(value: object) -> bool:
    return type(value) is int and -LARGEST <= value <= LARGEST


def _is_number(value: object) -> bool:
    return _is_whole_number(value) or (type(value) is float and math.isfinite(value))


_PLAIN: dict[Any, Check] = {
    Any: lambda _: True,
    str: _is_text,
    int: _is_whole_number,
    float: _is_number,
    bool: lambda value: isinstance(value, bool),
    NoneType: lambda value: value is None,
}
