"""The schema of a type hint."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import pytest

from gateway.edge.api.schemas import Count, Keyword, Schema, Time, schema_of

T = TypeVar("T")


class Color(StrEnum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


class LeafDocument(TypedDict):
    """A type with a name."""

    color: Color
    weight: NotRequired[float]


class TreeDocument(TypedDict):
    """One that holds itself."""

    leaves: list[LeafDocument]
    branches: list[TreeDocument]


class Shelf(TypedDict, Generic[T]):
    """One with a parameter."""

    items: list[T]
    first: T | None


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (Count | None, {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}),
        (Literal["on", "off"], {"type": "string", "enum": ["on", "off"]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (list[Time], {"type": "array", "items": {"type": "string", "format": "date-time"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict, {"type": "object"}),
        (Any, {}),
        (Annotated[str, "A.", Keyword("enum", ("a",))], {"type": "string", "description": "A.", "enum": ["a"]}),
        (Annotated[Count, "How many."], {"type": "integer", "minimum": 0, "description": "How many."}),
        ({"type": "string", "maxLength": 3}, {"type": "string", "maxLength": 3}),
    ],
)  # fmt: skip
def test_a_hint_says_what_json_it_is(hint: object, schema: Schema) -> None:
    named: dict[str, Schema] = {}
    assert schema_of(hint, named) == schema
    assert named == {}


def test_a_typed_dict_is_a_reference_and_its_schema_has_its_fields_and_no_others() -> None:
    named: dict[str, Schema] = {}
    assert schema_of(LeafDocument, named) == {"$ref": "#/components/schemas/Leaf"}
    assert named == {
        "Leaf": {
            "type": "object",
            "properties": {"color": {"type": "string", "enum": ["red", "blue"]}, "weight": {"type": "number"}},
            "required": ["color"],
            "additionalProperties": False,
        }
    }


def test_a_typed_dict_may_hold_itself() -> None:
    named: dict[str, Schema] = {}
    schema_of(TreeDocument, named)
    assert set(named) == {"Tree", "Leaf"}
    assert named["Tree"]["properties"]["branches"]["items"] == {"$ref": "#/components/schemas/Tree"}


def test_a_typed_dict_with_parameters_is_written_out() -> None:
    named: dict[str, Schema] = {}
    shelf = schema_of(Shelf[LeafDocument], named)
    leaf = {"$ref": "#/components/schemas/Leaf"}
    assert shelf["properties"] == {
        "items": {"type": "array", "items": leaf},
        "first": {"anyOf": [leaf, {"type": "null"}]},
    }
    assert set(named) == {"Leaf"}


@pytest.mark.parametrize("hint", [bytes, set[str], object()])
def test_what_json_has_not_is_refused(hint: object) -> None:
    with pytest.raises(TypeError, match="nothing that JSON has"):
        schema_of(hint, {})
