"""A replica written down: with the log after it, a whole node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.core.admission import state_lines
from gateway.core.admission.terms import Catalog
from gateway.core.cluster.replica import Replica

NAME = "replica"
"""What the head of the lines is called."""


def lines(replica: Replica) -> Iterator[bytes]:
    """Yield the lines of a replica; nothing may be applied to it before all have been taken."""
    return state_lines.lines(NAME, replica.to_json(), replica.state)


def read(written: Iterable[bytes], catalog: Catalog) -> Replica:
    """Return the replica whose lines were written.

    Raises `NotAState` where they are not a dump, or that of another version.
    """
    return Replica.from_json(*state_lines.read(NAME, written, catalog))
