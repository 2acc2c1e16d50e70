"""Entries as bytes: what is written is read, and what no gateway has written is no batch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.cluster.entries import LATEST, Batch, Enter, Genesis, NotABatch, Seen, decode, encode

PLAIN: dict[str, Any] = {"n": "a", "s": 3}
GENESIS: dict[str, Any] = {"cluster": "c", "semantics": 1, "patience": 5.0, "terms": {}}
ENTER: dict[str, Any] = {"name": "a", "semantics": 1, "terms": "t", "read": 7}


@pytest.mark.parametrize(
    "batch",
    [
        Batch("a", 1),
        Batch("a", 2, 1.5, leads=True, seen=Seen(7, "d"), commands=(["Tick"],), depart=True),
        Batch("a", 1, LATEST, genesis=Genesis("c", 1, 5.0, {"a": 1}, "state"), enter=Enter("a", 1, "t", 7, "before")),
    ],
)
def test_what_is_written_is_read(batch: Batch) -> None:
    assert decode(encode(batch)) == batch


@pytest.mark.parametrize(
    "other",
    [
        *({"at": at} for at in (True, "1", [1], -1, LATEST * 2)),
        *({"n": name} for name in (None, 1)),
        *({"s": number} for number in (None, True, "1", 1.0)),
        {"c": {}},
        {"c": ""},
        {"c": [[]]},
        {"c": ["Tick"]},
        *({"seen": seen} for seen in ([7], ["7", "d"], [True, "d"], 7)),
        *({"genesis": GENESIS | {"patience": patience}} for patience in (True, "5", 0, LATEST)),
        *({"genesis": GENESIS | each} for each in ({"cluster": 1}, {"semantics": True}, {"state": 1}, {"x": 1})),
        *({"enter": ENTER | each} for each in ({"name": 1}, {"terms": 1}, {"read": True}, {"previous": 1}, {"x": 1})),
    ],
    ids=repr,
)
def test_what_no_gateway_has_written_is_no_batch(other: dict[str, Any]) -> None:
    decode(json.dumps(PLAIN).encode())
    with pytest.raises(NotABatch):
        decode(json.dumps(PLAIN | other).encode())
