"""A replica written down: with the log after it, a whole node.

It is written in lines, so that a large one can be written in turns: what belongs to the replica itself, the pieces of
its state, and a digest over all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.core.admission import state_json
from gateway.core.admission.state_json import NotAState
from gateway.core.admission.terms import Catalog
from gateway.core.cluster.replica import Replica


def lines(replica: Replica) -> Iterator[bytes]:
    """Yield the lines of a replica; nothing may be applied to it before all have been taken."""
    digest = hashlib.blake2b(digest_size=16)
    for place, piece in _pieces(replica):
        line = _text([place, piece])
        digest.update(line)
        yield line
    yield _text([["digest"], digest.hexdigest()])


def _pieces(replica: Replica) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield ("replica",), replica.to_json()
    for place, piece in state_json.pieces(replica.state):
        yield ("state", *place), piece


def read(written: Iterable[bytes], catalog: Catalog) -> Replica:
    """Return the replica whose lines were written.

    Raises `NotAState` where they are none, or those of another version.
    """
    digest = hashlib.blake2b(digest_size=16)
    own: dict[str, Any] = {}
    state: dict[str, Any] = {}
    whole = False
    try:
        for line in written:
            place, piece = json.loads(line)
            if place == ["digest"]:
                whole = piece == digest.hexdigest()
                break
            digest.update(line)
            if place == ["replica"]:
                own = piece
            else:
                _put(state, place[1:], piece)
    except (LookupError, TypeError, ValueError, AttributeError) as fault:
        raise NotAState(f"{type(fault).__name__}: {fault}") from fault
    if not whole:
        raise NotAState("it is not whole, or was changed since it was written")
    return Replica.from_json(own, state_json.from_pieces(state, catalog))


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
