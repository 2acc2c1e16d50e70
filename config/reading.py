"""Reads, explains and writes a value by its kind.

`read` checks what TOML gave, `parse` turns the text of `--set key=value` into what TOML would have given, `write` is
the way back to TOML. Pure.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from config.values import Amount, Choice, File, Flaw, Form, KindError, Table, quote
from gateway.core.formats import DURATION_FORM, read_duration, write_duration
from gateway.core.setting_kinds import Duration, Range


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name most like this one; None if none is as like as `likeness` (0 not at all, 1 the same)."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=likeness)), None)


def read(hint: Any, value: object) -> Any:
    """Return the setting of kind `hint` that the TOML value stands for.

    Raises KindError with every flaw of the value.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _READ[type(arguments[1])](hint, arguments[1], value)
    if origin in {Union, UnionType}:
        return _read_either(hint, arguments, value)
    if origin is Literal:
        return _read_choice(hint, arguments, value)
    if origin is tuple:
        return _read_list(hint, arguments[0], value)
    if type(value) is not hint:
        raise KindError(_mistaken(hint, value))
    if isinstance(value, str) and not value.isprintable():
        raise KindError(Flaw(f"{quote(value)} has a character that cannot be printed"))
    return value


def _read_number(hint: Any, bounds: Range, value: object) -> int:
    if type(value) is not int:
        raise KindError(_mistaken(hint, value))
    if value < bounds.low:
        raise KindError(Flaw(f"must be at least {bounds.low}, is {value}"))
    if value > bounds.high:
        raise KindError(Flaw(f"must be at most {bounds.high}, is {_found(value).removeprefix('the integer ')}"))
    return value


def _read_amount(hint: Any, bounds: Amount, value: object) -> float:
    if type(value) not in {int, float}:
        raise KindError(_mistaken(hint, value))
    if not bounds.low <= (number := cast(float, value)) <= bounds.high:
        raise KindError(Flaw(f"must be from {bounds.low:g} to {bounds.high:g}, is {_found(value)}"))
    return float(number)


def _read_duration(hint: Any, bounds: Duration, value: object) -> float:
    seconds = _seconds(value)
    if seconds is None:
        bare = str(value) if type(value) in {int, float, str} else ""
        raise KindError(_mistaken(hint, value, None if _seconds(f"{bare}s") is None else f"{bare}s"))
    if seconds < bounds.low:
        raise KindError(Flaw(f"must be at least {write(bounds.low)}, is {_found(value).removeprefix('the string ')}"))
    if seconds > bounds.high:
        raise KindError(Flaw(f"must be at most {write(bounds.high)}, is {_found(value).removeprefix('the string ')}"))
    return seconds


def _seconds(value: object) -> float | None:
    """Seconds of a duration; None for any other text."""
    try:
        return read_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _read_form(hint: Any, form: Form, value: object) -> str:
    if not isinstance(value, str):
        raise KindError(_mistaken(hint, value))
    if not value and form.optional:
        return value
    try:
        return form.accept(str(read(str, value)))
    except KindError:
        raise
    except ValueError:
        raise KindError(_mistaken(hint, value)) from None


def _read_choice(hint: Any, of: tuple[object, ...], value: object) -> object:
    for choice in of:
        if type(choice) is type(value) and choice == value:
            return choice
    texts = [choice for choice in of if isinstance(choice, str)]
    raise KindError(_mistaken(hint, value, nearest(value, texts) if isinstance(value, str) else None))


def _read_table(hint: Any, value: object) -> Any:
    if not isinstance(value, dict):
        raise KindError(_mistaken(hint, value))
    owner = get_args(hint)[0]
    kinds = get_type_hints(owner, include_extras=True)
    found: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for name, each in value.items():
        if name not in kinds:
            shown = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quote(name)
            flaws.append(Flaw(f"{shown}: unknown key", nearest(name, kinds)))
            continue
        try:
            found[name] = read(kinds[name], each)
        except KindError as error:
            flaws += (Flaw(f"{name}: {flaw.reason}", flaw.nearest) for flaw in error.flaws)
    if flaws:
        raise KindError(*flaws)
    return owner(**found)


def _read_list(hint: Any, item: Any, value: object) -> tuple[Any, ...]:
    if isinstance(value, dict) and is_table(item):
        raise KindError(Flaw("is a list of tables: write [[ ]] around its name"))
    if not isinstance(value, list):
        raise KindError(_mistaken(hint, value))
    items: list[Any] = []
    flaws: list[Flaw] = []
    for place, entry in enumerate(value, 1):
        try:
            items.append(read(item, entry))
        except KindError as error:
            flaws += (Flaw(f"item {place}: {flaw.reason}", flaw.nearest) for flaw in error.flaws)
    if flaws:
        raise KindError(*flaws)
    return tuple(items)


def _read_either(hint: Any, kinds: tuple[Any, ...], value: object) -> Any:
    """Read a value that may be of several kinds, by the one that has its TOML type (a list or not)."""
    given = [kind for kind in kinds if kind is not NoneType]
    of_type = [kind for kind in given if (get_origin(kind) is tuple) == isinstance(value, list)]
    if not of_type:
        raise KindError(_mistaken(hint, value))
    try:
        return read(of_type[0], value)
    except KindError as error:
        if isinstance(value, list) or len(given) == 1:
            raise
        raise KindError(*(_mistaken(hint, value, flaw.nearest) for flaw in error.flaws)) from None


_READ: dict[type, Callable[[Any, Any, object], Any]] = {
    Range: _read_number,
    Amount: _read_amount,
    Duration: _read_duration,
    Choice: lambda hint, choice, value: _read_choice(hint, choice.of, value),
    Form: _read_form,
    File: lambda _hint, _mark, value: read(str, value),
    Table: lambda hint, _mark, value: _read_table(hint, value),
}


def is_table(hint: Any) -> bool:
    """Return whether a value of this kind is a table."""
    return any(isinstance(mark, Table) for mark in get_args(hint))


def parse(hint: Any, text: str) -> object:
    """Return what TOML would have given for the text of `--set key=text`: quotes and brackets may be left out.

    A list that is one of TOML is taken as such, so that a text in it may hold a comma, and a table anything.

    Never fails: text that is not of the kind stays text, which `read` then refuses.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        plain = [kind for kind in arguments if get_origin(kind) is Literal and _unquoted(text) in get_args(kind)]
        kinds = plain or [kind for kind in arguments if kind is not NoneType and get_origin(kind) is not Literal]
        return parse(kinds[0], text)
    if origin is tuple:
        inner = text.strip()
        if inner.startswith("[") and inner.endswith("]"):
            with contextlib.suppress(ValueError, RecursionError):
                return tomllib.loads(f"list = {inner}")["list"]
            inner = inner[1:-1].strip().removesuffix(",")
        return [parse(arguments[0], item.strip()) for item in inner.split(",")] if inner.strip() else []
    if hint is bool:
        return {"true": True, "false": False}.get(text, text)
    kind = type(arguments[0]) if origin is Literal else arguments[0] if origin is Annotated else hint
    if kind is int and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    return _unquoted(text)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def write(value: object) -> str:
    """Return the value as TOML, floats as durations; a value that is not set, which TOML cannot say, is `unset`."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f'"{write_duration(value)}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(write(item) for item in value) + "]"
    if is_dataclass(value):
        given = [
            (each.name, getattr(value, each.name))
            for each in fields(value)
            if getattr(value, each.name) != each.default
        ]
        return "{ " + ", ".join(f"{name} = {write(each)}" for name, each in given) + " }"
    return json.dumps(value, ensure_ascii=False)


def choices(hint: Any) -> tuple[object, ...]:
    """Return what a value, or each item of a list, may be chosen from; empty where the kind is not a choice."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return choices(arguments[0])
    if origin is Annotated:
        return arguments[1].of if isinstance(arguments[1], Choice) else ()
    return arguments if origin is Literal else ()


def describe(hint: Any) -> str:
    """Return what a value of this kind looks like, for the sentence "expected ..."."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return " or ".join(describe(kind) for kind in arguments if kind is not NoneType)
    if origin is tuple:
        return "a list"
    if of := choices(hint):
        return ("one of " if len(of) > 1 else "") + ", ".join(json.dumps(choice) for choice in of)
    mark = arguments[1] if origin is Annotated else None
    if isinstance(mark, Table):
        return "a table"
    if isinstance(mark, Form):
        return mark.what
    if isinstance(mark, Duration):
        return DURATION_FORM
    if isinstance(mark, Amount):
        return "a number"
    plain = arguments[0] if mark else hint
    return "true or false" if plain is bool else "an integer" if plain is int else "a string"


def _mistaken(hint: Any, value: object, meant: str | None = None) -> Flaw:
    return Flaw(f"expected {describe(hint)}, found {_found(value)}", meant)


def _found(value: object) -> str:
    """The TOML value as a fault names it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"the integer {value}" if abs(value) < 10**18 else "an integer of more than 18 digits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {quote(value)}"
    return "a list" if isinstance(value, list) else "a section" if isinstance(value, dict) else "a date or time"
