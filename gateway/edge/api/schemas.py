"""JSON schemas (2020-12, as OpenAPI 3.1 takes them): words for literal ones, and the schema of a type hint.

An answer of the API is a `TypedDict`, so that one declaration is what the type checker holds a handler to and what
`/openapi.json` says. `Annotated` adds what a type alone does not say: a text is the description, a `Keyword` is one of
JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from gateway.core.formats import DURATION_PATTERN
from gateway.core.names import LONGEST_NAME

Schema = dict[str, Any]


class Keyword(NamedTuple):
    """A keyword of JSON Schema and its value; a tuple stands for a list, since metadata must be hashable."""

    name: str
    value: str | int | tuple[str, ...]


Time = Annotated[str, Keyword("format", "date-time")]
"""RFC 3339 in UTC."""
Id = Annotated[str, Keyword("format", "name"), Keyword("minLength", 1), Keyword("maxLength", LONGEST_NAME)]
"""The name of an account, a group, a conference, an operator or a license."""
HomeOrNull = Annotated[str | None, "The other server that the account belongs to; null for this one."]
Count = Annotated[int, Keyword("minimum", 0)]
"""A number of things."""
Secret = Annotated[str, "The secret. It is shown this once."]

_PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    dict: {"type": "object"},
    object: {},
    Any: {},
}


# -- literal schemas ---------------------------------------------------------------------------------------------------


def text(about: str = "", **more: Any) -> Schema:
    """Return the schema of a string."""
    return {"type": "string", **({"description": about} if about else {}), **more}


def whole(about: str = "", **more: Any) -> Schema:
    """Return the schema of an integer from 0 on, unless `more` says otherwise."""
    return {"type": "integer", "minimum": 0, **({"description": about} if about else {}), **more}


def either(schema: Schema) -> Schema:
    """Return the schema of the same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def record(*optional: str, **fields: Schema) -> Schema:
    """Return the schema of an object with these fields and no others; only the `optional` ones may be missing."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


BOOLEAN: Schema = {"type": "boolean"}
TIME = text(format="date-time")
ID = text(format="name", minLength=1, maxLength=LONGEST_NAME)
"""A name (PROTOCOL.md, Limits): no pattern can tell which characters are printable."""
DURATION = text(pattern=f"^{DURATION_PATTERN}$")
"""A span of time, such as "5m"."""
NOTHING: Schema = {"type": "object", "maxProperties": 0}
"""The body of a request that has no field."""


def query(name: str, schema: Schema, about: str) -> Schema:
    """Return the description of a parameter of the query; none is required."""
    return {"name": name, "in": "query", "description": about, "schema": schema}


# -- schemas of type hints ---------------------------------------------------------------------------------------------


def schema_of(hint: object, named: dict[str, Schema]) -> Schema:
    """Return the schema of the values that a type hint describes; a schema is returned as it is.

    A `TypedDict` becomes a reference to a schema under its name, without `Document` at its end, which is added to
    `named`; one with type parameters, such as `Page[T]`, is written out. Raises `TypeError` for a hint that is none of
    JSON.
    """
    if isinstance(hint, dict):
        return cast(Schema, hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(parts, named)
    if origin in {Union, UnionType}:
        return {"anyOf": [schema_of(part, named) for part in parts]}
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin is list:
        return several(schema_of(parts[0], named))
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(parts[1], named)}
    if origin is not None and is_typeddict(origin):
        return _fields(origin, named, dict(zip(origin.__parameters__, parts, strict=True)))
    if is_typeddict(hint):
        return _reference(hint, named)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [each.value for each in hint]}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    raise TypeError(f"{hint!r} is nothing that JSON has")


def _annotated(parts: tuple[Any, ...], named: dict[str, Schema]) -> Schema:
    schema = schema_of(parts[0], named)
    for more in parts[1:]:
        if isinstance(more, Keyword):
            schema[more.name] = list(more.value) if isinstance(more.value, tuple) else more.value
        else:
            schema["description"] = more
    return schema


def _reference(kind: Any, named: dict[str, Schema]) -> Schema:
    name = kind.__name__.removesuffix("Document")
    if name not in named:
        named[name] = {}  # so that a type that holds itself comes to an end
        named[name] = _fields(kind, named, {})
    return {"$ref": f"#/components/schemas/{name}"}


def _fields(kind: Any, named: dict[str, Schema], given: Mapping[TypeVar, object]) -> Schema:
    """The schema of a `TypedDict`; `given` are its type arguments."""
    fields: dict[str, Schema] = {}
    optional: list[str] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is NotRequired:
            optional.append(name)
            (hint,) = get_args(hint)  # noqa: PLW2901 - the hint is what is inside
        fields[name] = schema_of(_filled(hint, given), named)
    return record(*optional, **fields)


def _filled(hint: Any, given: Mapping[TypeVar, object]) -> object:
    """A hint with type arguments in place of type variables."""
    wanted = getattr(hint, "__parameters__", ())
    if isinstance(hint, TypeVar):
        return given[hint]
    return hint[tuple(given[each] for each in wanted)] if wanted else hint
