"""What the gateway tells the service manager that started it (systemd: sd_notify(3), systemd.service(5)).

Datagrams of `NAME=value` lines go to the socket that `NOTIFY_SOCKET` names: when the doors are open, while the
configuration is read again, when the end begins; a line of status; and, where the unit has `WatchdogSec=`, that the
event loop still turns. A loop that hangs calls no timer, so nothing is sent, and systemd starts the gateway again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

STATUS_EVERY = 10.0
"""Seconds between two looks at the status."""
UNSENT = 8
"""Messages kept that the manager could not take yet; what it must know is fewer."""

log = logging.getLogger("tallygate.service")


class ServiceManager:
    """The manager's socket; without an `address` nothing is sent and nothing is done.

    An address that begins with `@` is an abstract one. `watchdog` is how many seconds the manager waits for a sign of
    life, None for ever. `status` returns a line for people. Sending never waits and never fails: what the manager does
    not take now is sent with the next timer. One timer, from `ready` until `close`.
    """

    def __init__(
        self,
        address: str | None,
        watchdog: float | None,
        status: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watchdog = watchdog
        self._status = status
        self._monotonic = monotonic
        self._told = ""
        self._next_status = 0.0
        self._unsent: deque[bytes] = deque(maxlen=UNSENT)
        self._timer: asyncio.TimerHandle | None = None
        self._socket = _connected(address) if address else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], status: Callable[[], str]) -> Self:
        """Return the manager that this process was started by, as it says in the environment."""
        watchdog = None
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            microseconds = environment.get("WATCHDOG_USEC", "")
            if microseconds.isascii() and microseconds.isdigit() and int(microseconds):
                watchdog = int(microseconds) / 1e6
        return cls(environment.get("NOTIFY_SOCKET"), watchdog, status)

    def ready(self) -> None:
        """All is open, or the configuration has been read again; from the first time on, signs of life are sent."""
        self._send(f"READY=1\nSTATUS={self._line()}")
        if self._socket is not None and self._timer is None:
            self._live()

    def reloading(self) -> None:
        """The configuration is being read again, until `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._monotonic() * 1e6)}")

    def stopping(self) -> None:
        """The end has begun; signs of life go on until `close`."""
        self._send(f"STOPPING=1\nSTATUS={self._line()}")

    def close(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _live(self) -> None:
        """Say that the loop turns, twice as often as the manager asks for, and what has changed."""
        wait = STATUS_EVERY if self._watchdog is None else min(self._watchdog / 2, STATUS_EVERY)
        self._timer = asyncio.get_running_loop().call_later(wait, self._live)
        lines = [] if self._watchdog is None else ["WATCHDOG=1"]
        now, before = self._monotonic(), self._told
        if now >= self._next_status and (line := self._line()) != before:
            lines.append(f"STATUS={line}")
        self._send("\n".join(lines))

    def _line(self) -> str:
        self._next_status = self._monotonic() + STATUS_EVERY
        self._told = self._status()
        return self._told

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        if text:
            self._unsent.append(text.encode())
        while self._unsent:
            try:
                self._socket.send(self._unsent[0])
            except OSError as fault:
                log.debug("the service manager could not be told: %s", fault)
                return
            self._unsent.popleft()


def _connected(address: str) -> socket.socket | None:
    """A socket that sends to the manager; None, said once, where that cannot be."""
    if not address.startswith(("/", "@")):
        log.warning("NOTIFY_SOCKET=%s cannot be written to; the service manager is told nothing", address)
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    try:
        made.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError as fault:
        made.close()
        log.warning("the service manager at %s is told nothing: %s", address, fault)
        return None
    return made
