"""A state written down in lines, with a head that says what it belongs to: for a file from which somebody goes on.

It is written in lines, so that a large one can be written in turns: the head, the pieces of the state, and a digest
over all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.core.admission import state_json
from gateway.core.admission.state import State
from gateway.core.admission.state_json import NotAState
from gateway.core.admission.terms import Catalog


def lines(name: str, head: Any, state: State) -> Iterator[bytes]:
    """Yield the lines of a state whose head has that name; nothing may be applied to it before all have been taken."""
    digest = hashlib.blake2b(digest_size=16)
    for place, piece in _pieces(name, head, state):
        line = _text([place, piece])
        digest.update(line)
        yield line
    yield _text([["digest"], digest.hexdigest()])


def _pieces(name: str, head: Any, state: State) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield (name,), head
    for place, piece in state_json.pieces(state):
        yield ("state", *place), piece


def read(name: str, written: Iterable[bytes], catalog: Catalog) -> tuple[Any, State]:
    """Return the head and the state whose lines were written under that name.

    Raises `NotAState` where they are not a state, or that of another version.
    """
    digest = hashlib.blake2b(digest_size=16)
    head: Any = None
    state: dict[str, Any] = {}
    whole = False
    try:
        for line in written:
            place, piece = json.loads(line)
            if place == ["digest"]:
                whole = piece == digest.hexdigest()
                break
            digest.update(line)
            if place == [name]:
                head = piece
            else:
                _put(state, place[1:], piece)
    except (LookupError, TypeError, ValueError, AttributeError) as fault:
        raise NotAState(f"{type(fault).__name__}: {fault}") from fault
    if not whole or head is None:
        raise NotAState("it is not whole, or was changed since it was written")
    return head, state_json.from_pieces(state, catalog)


def _put(state: dict[str, Any], place: list[str], piece: Any) -> None:
    if not place:
        state.update(piece, sessions=[], conferences=[], ledgers={})
    elif place[0] == "ledgers":
        _, model, pool = place
        state["ledgers"].setdefault(model, {})[pool] = piece
    else:
        state[place[0]].append(piece)


def _text(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
