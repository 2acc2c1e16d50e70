"""The `process_*` metrics of this process, at a cost that does not grow with its connections.

The collector of prometheus_client counts open files by listing them, which takes milliseconds at 15,000 sockets. Since
Linux 6.2 the size of the directory is their number; only on an older kernel the directory is listed.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

FILES = "/proc/self/fd"


class ProcessCollector(Collector):
    """Shows CPU, memory, files and start of this process; nothing where there is no `/proc`."""

    def __init__(self) -> None:
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._booted = _booted()

    def describe(self) -> Iterable[Metric]:
        """Return no family: they are read when they are collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all families, in a stable order."""
        if self._booted is None:
            return
        # The name of the program stands in brackets and may hold anything; what follows is numbers.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        cpu = (int(fields[11]) + int(fields[12])) / self._ticks
        yield CounterMetricFamily("process_cpu_seconds", "CPU time that the process spent, in seconds.", value=cpu)
        for name, text, value in (
            ("process_virtual_memory_bytes", "Virtual memory, in bytes.", int(fields[20])),
            ("process_resident_memory_bytes", "Resident memory, in bytes.", int(fields[21]) * self._page),
            (
                "process_start_time_seconds",
                "Time of the start, in seconds UTC.",
                self._booted + int(fields[19]) / self._ticks,
            ),
            ("process_open_fds", "Files that the process has open.", open_files()),
            ("process_max_fds", "Files that the process may have open.", soft),
        ):
            yield GaugeMetricFamily(name, text, value=value)


def open_files() -> int:
    """Return how many files this process has open."""
    return os.stat(FILES).st_size or len(os.listdir(FILES)) - 1  # less the one in which the others are read


def _booted() -> float | None:
    """Return when the machine started, in seconds UTC; None where that is not known."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), None)
