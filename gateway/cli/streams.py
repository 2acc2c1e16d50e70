"""The three standard streams of a command, whatever they were when it was started.

What a terminal's character set lacks is shown as an escape. What cannot be written to standard output ends the command;
what cannot be written to standard error is lost, for there is nowhere else to say it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import sys
from typing import TextIO

ABSENT = ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""How /dev/null is opened for a stream that is closed: so that reading standard input and writing standard output fail
as they would have, while the number cannot become that of a file or a connection."""


class OutputFailed(Exception):
    """Standard output cannot be written to; `reader_gone` where it is a pipe whose other end was closed."""

    def __init__(self, fault: OSError) -> None:
        super().__init__(f"standard output cannot be written: {fault.strerror}")
        self.reader_gone = isinstance(fault, BrokenPipeError)


class _Output(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as fault:
            raise OutputFailed(fault) from fault

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as fault:
            raise OutputFailed(fault) from fault


class _Errors(io.TextIOWrapper):
    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def prepare() -> None:
    """Open the standard streams that are closed on /dev/null, and have the others fail as this module says.

    Streams that were replaced in this process are left as they are.
    """
    for number, mode in ABSENT:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # it gets the lowest number that is free, which is this one
    if sys.stdout is sys.__stdout__:
        sys.stdout = _opened(_Output, 1, sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _opened(_Errors, 2, sys.__stderr__)


def _opened(kind: type[io.TextIOWrapper], number: int, before: TextIO | None) -> io.TextIOWrapper:
    file = open(number, "wb", closefd=False)  # noqa: SIM115 - open as long as the process is
    by_line = number == 2 or file.isatty() or bool(getattr(before, "write_through", False))
    encoding = None if before is None else before.encoding
    return kind(file, encoding=encoding, errors="backslashreplace", line_buffering=by_line)


def check_output() -> None:
    """Raise `OutputFailed` where standard output was closed when the command was started."""
    if isinstance(sys.stdout, _Output) and fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OutputFailed(OSError(errno.EBADF, os.strerror(errno.EBADF)))


def discard_output() -> None:
    """Have nothing that is still to be written to standard output fail again."""
    if isinstance(sys.stdout, _Output):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
