"""The ready file: where a gateway says which ports it has, as JSON, for whoever started it.

It is there from the end of the start-up on. A gateway that does not start never writes it. One that starts removes what
an earlier run left as soon as it holds the store; until then the file may be that of another gateway, which serves.
"""

from __future__ import annotations

import errno
import json
import os
import select
from collections.abc import Mapping
from pathlib import Path

from gateway.edge.files import is_regular, written_whole


class ReadyFile:
    """The ready file at `path`.

    A regular file is replaced, so that it is never seen half-written; if `path` is a link, it is the one that the link
    leads to. A pipe, a device or a file that is open already (/dev/stdout, /dev/fd/3) is written to, a line each time,
    and never waited for. Everything raises `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = False

    def clear(self) -> None:
        """Remove what an earlier run left."""
        if is_regular(self.path) and self._number() is None:
            Path(os.path.realpath(self.path)).unlink(missing_ok=True)

    def write(self, ports: Mapping[str, int | None]) -> None:
        """Say which ports there are, at the end of the start-up."""
        self._write(ports)
        self._written = True

    def update(self, ports: Mapping[str, int | None]) -> None:
        """Say which ports there are now, if any were told before; a pipe that nobody reads, or reads any more, is left
        alone.
        """
        if not self._written:
            return
        try:
            self._write(ports)
        except OSError as fault:
            if fault.errno not in {errno.ENXIO, errno.EPIPE, errno.EAGAIN}:
                raise

    def _write(self, ports: Mapping[str, int | None]) -> None:
        line = json.dumps(ports).encode() + b"\n"
        number = self._number()
        if number is not None:
            _check_room(number)
            os.write(number, line)  # opened a second time, it would be written from its start
            return
        try:
            with written_whole(self.path) as file:
                _check_room(file.fileno())
                file.write(line)
        except OSError as fault:
            raise OSError(fault.errno, fault.strerror, str(self.path)) from fault

    def _number(self) -> int | None:
        """The number of the open file that the path stands for; None where it stands for none of this process."""
        link = os.path.abspath(self.path)
        while os.path.islink(link):
            folder, name = os.path.realpath(os.path.dirname(link)), os.path.basename(link)
            if folder == f"/proc/{os.getpid()}/fd":
                return int(name)
            link = os.path.join(folder, os.readlink(link))
        return None


def _check_room(number: int) -> None:
    """Look whether an open file takes a line without waiting for its reader, who may never come.

    Its flags are left as they are: others may have it open too. Raises `BlockingIOError`.
    """
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError(errno.EAGAIN, "nobody reads from this pipe, and it is full")
