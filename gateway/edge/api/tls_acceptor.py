"""Accepts operators that come over TLS, within the limits of the port.

asyncio accepts any number of sockets, and asks nobody whether there is room before the handshake is done: here a socket
counts as a connection from its accept on, and one too many is closed without a word, which could be said only after a
handshake.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gateway.edge.server.listener import OUT_OF_FILES, OUT_OF_FILES_PAUSE
from gateway.edge.server.listening_sockets import plain_address

SHUTDOWN_TIMEOUT = 2.0
"""Seconds in which a client has to confirm the end of TLS before its socket is closed."""

log = logging.getLogger("tallygate.operator")

C = TypeVar("C", bound=asyncio.Protocol)


class TlsAcceptor(Generic[C]):
    """Makes connections of what comes to `sockets`.

    `make` makes one; `may_come` says whether the peer of an address is let in; `failed` is told the address of a peer
    whose handshake came to nothing, and why. A handshake has `timeout` seconds. `context` may be replaced: who comes
    from then on is shown its certificate.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        context: ssl.SSLContext,
        timeout: float,
        make: Callable[[], C],
        may_come: Callable[[str], bool],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.context = context
        self.arriving: set[C] = set()
        """The connections whose handshake is not done."""
        self._sockets = sockets
        self._timeout = timeout
        self._make = make
        self._may_come = may_come
        self._failed = failed
        self._backlog = 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._untouched: set[socket.socket] = set()
        """Accepted sockets that the event loop does not own yet."""
        self._resume: asyncio.TimerHandle | None = None

    def open(self, backlog: int) -> None:
        """Listen; `backlog` sockets wait in the kernel, and are accepted in one turn of the loop."""
        self._backlog = backlog
        for each in self._sockets:
            each.listen(backlog)
        self._watch()

    async def close(self) -> None:
        """Listen no more, and break off the handshakes that are under way."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        self._unwatch()
        for each in self._sockets:
            each.close()
        self._sockets = ()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._untouched:
            sock.close()
        self._untouched.clear()

    def _watch(self) -> None:
        self._resume = None
        for each in self._sockets:
            asyncio.get_running_loop().add_reader(each, self._accept, each)

    def _unwatch(self) -> None:
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)

    def _accept(self, server_socket: socket.socket) -> None:
        for _ in range(self._backlog):
            try:
                sock, peer = server_socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as fault:
                self._out_of_files(fault)
                return
            address = plain_address(peer[0])
            if not self._may_come(address):
                sock.close()
                continue
            sock.setblocking(False)
            made = self._make()
            self.arriving.add(made)
            self._untouched.add(sock)
            task = asyncio.get_running_loop().create_task(self._shake_hands(sock, made, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _, made=made: self.arriving.discard(made))  # type: ignore[misc]

    def _out_of_files(self, fault: OSError) -> None:
        """Accept nothing for a while: the socket stays readable, and would be tried again in every turn."""
        if fault.errno not in OUT_OF_FILES:
            raise fault
        log.error("operator port: out of files, not accepting for %g s: %s", OUT_OF_FILES_PAUSE, fault)
        self._unwatch()
        if self._resume is None:
            self._resume = asyncio.get_running_loop().call_later(OUT_OF_FILES_PAUSE, self._watch)

    async def _shake_hands(self, sock: socket.socket, made: C, address: str) -> None:
        self._untouched.discard(sock)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: made,
                sock,
                ssl=self.context,
                ssl_handshake_timeout=self._timeout,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        except (OSError, TimeoutError) as fault:
            sock.close()
            self._failed(address, fault)
