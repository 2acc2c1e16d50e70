"""Waiting for what has no event to wait on: a server that comes up, a count that is to be reached."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    holds: Callable[[], object], seconds: float, fault: Callable[[], Exception], every: float = 0.05
) -> None:
    """Ask `every` so many seconds until it holds.

    Raises what `fault` returns when it has not within so many `seconds`.
    """
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise fault()
        time.sleep(every)
