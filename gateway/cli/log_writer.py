"""Log lines of a gateway, written by a thread: who does not read the log does not stop the gateway.

A pipe that nobody reads is full after some hundred lines, and whoever writes into it waits. So lines wait here instead,
and where too many wait the newest are dropped; their number is logged as soon as somebody reads again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator

WAITING_LINES = 10_000
"""Lines that wait at most. No setting: they are a few megabytes, and where so many wait nobody reads at all, so that no
other number would lose less."""
LAST_LINES = 1.0
"""Seconds in which what waits is written at the end."""


class LogWriter(logging.Handler):
    """Writes records to the file descriptor `fd`. `waiting_lines` may wait at once."""

    def __init__(self, fd: int, waiting_lines: int = WAITING_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(waiting_lines)
        self._dropped = 0
        self._dropped_and_told = 0
        # The process may end while somebody's full pipe keeps the thread.
        self._thread = threading.Thread(target=self._write_all, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Let a line be written; drop it where too many wait."""
        try:
            self._lines.put_nowait((self.format(record) + "\n").encode(errors="backslashreplace"))
        except queue.Full:
            self._dropped += 1
        except Exception:  # a record that cannot be formatted, as `logging.StreamHandler` treats it
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, as far as somebody reads it."""
        if self._thread.is_alive():
            try:
                self._lines.put(None, timeout=LAST_LINES)
            except queue.Full:
                return super().close()
            self._thread.join(LAST_LINES)
        return super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            dropped = self._dropped
            if dropped > self._dropped_and_told:
                text = f"{dropped - self._dropped_and_told} lines of the log were dropped: nobody read it"
                record = logging.LogRecord("tallygate", logging.WARNING, "", 0, text, None, None)
                self._write((self.format(record) + "\n").encode(errors="backslashreplace"))
                self._dropped_and_told = dropped

    def _write(self, line: bytes) -> None:
        # Where the file is gone or full, there is nowhere else to say so.
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._fd, line) :]


@contextlib.contextmanager
def log_written_apart() -> Iterator[None]:
    """Inside the block a thread writes what is logged to standard error, in the form that was set up."""
    root = logging.getLogger()
    direct = [each for each in root.handlers if isinstance(each, logging.StreamHandler) and each.stream is sys.stderr]
    writers = []
    for each in direct:
        writer = LogWriter(2)
        writer.setFormatter(each.formatter)
        root.removeHandler(each)
        root.addHandler(writer)
        writers.append(writer)
    try:
        yield
    finally:
        for each, writer in zip(direct, writers, strict=True):
            root.removeHandler(writer)
            root.addHandler(each)
            writer.close()
