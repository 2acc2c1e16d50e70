"""Writes commands into a file as they are applied; `tallygate replay` applies them again."""

from __future__ import annotations

import logging
import os
from importlib import metadata
from pathlib import Path
from typing import TextIO

from gateway.core.admission.commands import Command
from gateway.core.admission.decision import Decision
from gateway.core.admission.recording import Recording
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant

log = logging.getLogger("tallygate.recorder")


class CommandRecorder:
    """Writes a recording to a new file at `path`, which only its owner may read: it has names and addresses.

    Where the file cannot be written any more, the recording ends and the log says so; the gateway goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recording = Recording()
        self._file: TextIO | None = None

    def open(self, state: State) -> None:
        """Begin to record from this state.

        Raises `OSError` where there is such a file already, or none can be made.
        """
        number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(number, "w", buffering=1 << 20, encoding="ascii")
        self._file.write(self._recording.header(state, metadata.version("tallygate")))

    def __call__(self, command: Command, at: Instant, decision: Decision) -> None:
        """Record a command that was applied."""
        if self._file is not None:
            self._try_to_write(self._recording.line(command, at, decision))

    def flush(self) -> None:
        """Write what was recorded so far to the file; called once a second."""
        if self._file is not None:
            self._try_to_write("", flush=True)

    def close(self) -> None:
        """End the recording."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try_to_write(self, line: str, *, flush: bool = False) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line)
            if flush:
                self._file.flush()
        except OSError as fault:
            log.error("the recording %s ends, its file cannot be written any more: %s", self._path, fault.strerror)
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:
                log.error("the last commands are missing from the recording")
