"""How the gateway itself is, for the page: its delay, its store, its files, its capacity, its machine's name."""

from __future__ import annotations

import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

from gateway.edge.server.runtime import Runtime
from metrics.process import FILES, open_files

LATELY = 10
"""Seconds over which the highest delay is shown."""
MINUTE = 60
MEMORY = Path("/proc/self/statm")


class Vitals:
    """What is measured of this process; made anew once a second at most, and only while somebody looks."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._second = -1
        self._fields: dict[str, Any] = {}
        self._used = time.process_time()
        self._at = runtime.clock.mono()
        self.name = gateway_name(runtime)

    def look(self) -> dict[str, Any]:
        """Return the fields, as they were no longer than a second ago."""
        second = self._runtime.recent.use.end
        if second != self._second:
            self._second = second
            self._fields = self._measure()
        return self._fields

    def _measure(self) -> dict[str, Any]:
        runtime, recent = self._runtime, self._runtime.recent.use
        store = runtime.persistence.store
        lags = recent.lag.read(max(recent.begin, recent.end - LATELY), recent.end)
        lost = recent.growth["lost"].read(max(recent.begin, recent.end - MINUTE), recent.end)
        used, at = time.process_time(), runtime.clock.mono()
        share = (used - self._used) / (at - self._at) if at > self._at else 0.0
        self._used, self._at = used, at
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return {
            "lag_ms": max(lags, default=0),
            "lost_in_minute": sum(lost),
            "cpu": round(share, 2),
            "memory": _memory(),
            "files": open_files() if Path(FILES).is_dir() else None,
            "files_limit": soft,
            "connections": runtime.budget.held,
            "connections_limit": runtime.budget.max_connections,
            "store_pending": store.pending,
            "store_errors": store.errors,
            "rejected": sum(sum(each.rejected.values()) for each in runtime.client_listeners),
        }


def gateway_name(runtime: Runtime) -> str:
    """Return what people call this gateway: the home of its accounts, else its name in the cluster, else its host."""
    settings = runtime.settings
    return settings.accounts.home or settings.cluster.name or socket.gethostname()


def _memory() -> int | None:
    """Bytes of memory that the process has; None where that is not known."""
    try:
        return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
