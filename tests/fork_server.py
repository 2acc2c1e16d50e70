"""Starts `python -m gateway` as quickly as a fork: it has imported the commands once, which is nearly all that a start
takes. What it starts is a child of the process of the test, with an environment, a folder and streams of its own.

A request is a JSON object, with the descriptors of the three streams; the answer is the number of the new process.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import json
import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway.cli.main import COMMANDS, main

SET_CHILD_SUBREAPER = 36
"""For prctl(2): whose parent ends, becomes a child of the one above that asked for it."""
LONGEST = 1 << 20
"""Bytes of a request."""

FORKED = "tallygate, forked"
"""The program to be started where the server is to start the command, with three streams and an environment."""


class Popen(subprocess.Popen[bytes]):
    """Starts a process, or has the server start it."""

    def _execute_child(self, *given: Any) -> None:
        argv, env, pipes = given[0], given[6], given[10:16]
        if argv[0] != FORKED:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        request = json.dumps({"argv": argv[1:], "env": env, "cwd": os.getcwd()})
        prctl = ctypes.CDLL(None).prctl
        prctl(SET_CHILD_SUBREAPER, 1)
        socket.send_fds(_server(), [request.encode()], [pipes[0], pipes[3], pipes[5]])
        self.pid = int(_server().recv(LONGEST))
        prctl(SET_CHILD_SUBREAPER, 0)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


setattr(subprocess, "Popen", Popen)  # noqa: B010 - mypy takes classes for constants


@functools.cache
def _server() -> socket.socket:
    """The way to the server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # the last is called first
    return ours


def serve(requests: socket.socket) -> int:
    """Start what is asked for until nobody asks any more; in each process that is started, run its command."""
    for module, _ in COMMANDS.values():
        import_module(module)
    gc.freeze()  # at its end each process would look through all that was imported
    numbers = os.pipe()
    while True:
        request, streams, _, _ = socket.recv_fds(requests, LONGEST, 3)
        if not request:
            return 0
        if not os.fork():
            if number := os.fork():
                os.write(numbers[1], b"%d" % number)
                os._exit(0)  # now the other is a child of the test's process
            return _run(json.loads(request), streams, [requests.detach(), *numbers])
        os.wait()
        requests.send(os.read(numbers[0], LONGEST))
        for stream in streams:
            os.close(stream)


def _run(request: dict[str, Any], streams: list[int], others: list[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for each in (*streams, *others):
        os.close(each)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    return main(request["argv"])


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))
