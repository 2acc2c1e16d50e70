"""What was there before the tests stays, and Python does not look through it again: that would take longer than most
tests. A gateway does so when it is closed, or after an hour of its clock, so those of tests leave it to Python.
"""

from __future__ import annotations

import gc

from gateway.edge import gateway
from gateway.edge.garbage import GarbageCollection

NEW = 20_000
"""New objects after which Python looks: about as many as one gateway has."""


class LeftToPython(GarbageCollection):
    """Does nothing."""

    def start(self) -> None:
        """Leave everything as it is."""

    freeze = poll = stop = start


def leave_it_to_python() -> None:
    """Have Python look only at what is made from now on, and gateways not at all."""
    setattr(gateway, "GarbageCollection", LeftToPython)  # noqa: B010 - mypy takes classes for constants
    gc.freeze()
    gc.set_threshold(NEW)
