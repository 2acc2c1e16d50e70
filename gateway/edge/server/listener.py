"""A listening socket, and what protects it.

Everything that can be refused is refused before there is a transport: a socket that is turned away costs one `send` and
one `close`. At most `ACCEPT_BATCH` sockets are taken in one turn of the loop, so that a storm of connects does not
delay the heartbeats of those who are in; the rest waits in the kernel's queue.

Options of the listening socket (keepalive, user timeout) are inherited by the accepted ones, which saves five system
calls for each.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.core.wire import proxy_protocol
from gateway.edge.server.connection import BaseConnection, ConnectionOwner, Shared
from gateway.edge.server.epoll_transport import Epoll
from gateway.edge.server.limits import Limits, SocketBudget
from gateway.edge.server.listening_sockets import listening_sockets, plain_address
from gateway.edge.server.timer_wheel import TimerWheel

ACCEPT_BATCH = 64
"""Sockets accepted in one turn of the loop."""
BACKLOG = 4096
"""Sockets that wait in the kernel."""
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
OUT_OF_FILES_PAUSE = 1.0
"""Seconds without accepting after the process ran out of files."""

log = logging.getLogger("tallygate.listener")

C = TypeVar("C", bound=BaseConnection)


class Listener(Generic[C]):
    """Accepts the connections of one transport.

    `transport` is its name; `make` makes a connection; `owner` takes over what is accepted. `budget` is what all
    listeners together may hold. `word_refusal` gives the words for a peer that is not let in, by reason. `rejected`
    counts those peers, by reason; "handshake" is a PROXY header or a TLS handshake that failed.
    """

    def __init__(
        self,
        transport: str,
        make: Callable[[Shared[C], str], C],
        owner: ConnectionOwner[C],
        limits: Limits,
        budget: SocketBudget,
        wheel: TimerWheel[BaseConnection],
        word_refusal: Callable[[str], bytes],
    ) -> None:
        self.transport = transport
        self.shared = Shared(transport, owner, wheel, limits)
        self.connections = self.shared.connections
        self.closed = self.shared.closed
        self.durations = self.shared.durations
        self.rejected: dict[str, int] = {}
        self.limits = limits
        self.tls: ssl.SSLContext | None = None
        self.epoll: Epoll | None = None
        """Who serves plain sockets; None where the event loop does."""
        self.last_port: int | None = None
        """The port that was listened on last."""
        self._make = make
        self._budget = budget
        self._word_refusal = word_refusal
        self._server_sockets: list[socket.socket] = []
        """What listens: one socket for each address of the host."""
        self._attaching: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._tokens = 0.0
        self._filled = 0.0
        budget.share(self.connections)

    def apply_limits(self, limits: Limits) -> None:
        """Put other limits in force."""
        self.limits = limits
        self.shared.apply_limits(limits)
        self._tokens = min(self._tokens, float(limits.accept_rate))

    @property
    def heartbeats(self) -> int:
        """Heartbeats acknowledged so far."""
        return self.shared.heartbeats

    @property
    def accepted(self) -> int:
        """Connections made so far."""
        return self.shared.accepted

    @property
    def port(self) -> int | None:
        """The port that is listened on; None while it is closed."""
        return int(self._server_sockets[0].getsockname()[1]) if self._server_sockets else None

    # -- opening and closing ---------------------------------------------------------------------------------------

    def open(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen on every address of the host.

        Raises `OSError` where an address or the port cannot be bound.
        """
        try:
            self._server_sockets = listening_sockets(host, port, reuse_port=reuse_port)
            for server_socket in self._server_sockets:
                _set_options(server_socket)
                server_socket.listen(BACKLOG)
        except OSError as fault:
            self.close()
            reason = fault.strerror or str(fault)
            raise OSError(fault.errno, f"{self.transport} listener on {host} port {port}: {reason}") from fault
        self.last_port = self.port
        self._watch()

    def _watch(self) -> None:
        self._resume = None
        for server_socket in self._server_sockets:
            asyncio.get_running_loop().add_reader(server_socket, self._accept, server_socket)

    def _unwatch(self) -> None:
        for server_socket in self._server_sockets:
            asyncio.get_running_loop().remove_reader(server_socket)

    def close(self) -> None:
        """Listen no more; those who are in stay."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        self._unwatch()
        for server_socket in self._server_sockets:
            server_socket.close()
        self._server_sockets = []

    async def finish(self) -> None:
        """Await the sockets that were being attached."""
        for task in list(self._attaching):
            task.cancel()
        await asyncio.gather(*self._attaching, return_exceptions=True)
        for left in list(self.connections.arriving):  # a task cancelled before its first step has not closed its socket
            self.connections.abandon(left)
            if isinstance(left, socket.socket):
                left.close()

    # -- accepting -------------------------------------------------------------------------------------------------

    def _accept(self, server_socket: socket.socket) -> None:
        """Take what waits in the kernel, up to a batch; room and rate are worked out once for all of it."""
        loop, budget = asyncio.get_running_loop(), self._budget
        table, proxies = self.connections, self.limits.proxies
        places, tokens = self._places(), self._refill()
        room = min(budget.room, places)
        scarce = table.waiting + ACCEPT_BATCH > places - ACCEPT_BATCH
        selective = scarce or budget.draining or budget.max_per_address > 0
        epoll = self.epoll if self.tls is None else None
        kind = int(server_socket.family), int(socket.SOCK_STREAM)
        for _ in range(ACCEPT_BATCH):
            try:
                handle, peer = server_socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - see `_socket`
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionAbortedError:
                continue
            except OSError as fault:
                self._out_of_files(fault)
                break
            address = sys.intern(plain_address(peer[0]))
            proxied = any(ipaddress.ip_address(address) in each for each in proxies) if proxies else False
            if room <= 0 or tokens < 1 or selective:
                refused = self._refused(room, tokens, None if proxied else address)
                if refused is not None:
                    self._turn_away(_socket(*kind, handle), address, refused)
                    continue
            room -= 1
            tokens -= 1
            if epoll is not None and not proxied:
                try:
                    epoll.attach(handle, self._make(self.shared, address))
                except OSError as fault:
                    os.close(handle)
                    self._out_of_files(fault)
                    break
                continue
            sock = _socket(*kind, handle)
            table.arrive(sock, "" if proxied else address)
            task = loop.create_task(self._attach(sock, address, proxied=proxied))
            self._attaching.add(task)
            task.add_done_callback(self._attaching.discard)
        self._tokens = tokens

    def _out_of_files(self, fault: OSError) -> None:
        """Accept nothing for a while: the socket stays readable, and would be tried again in every turn."""
        if fault.errno not in OUT_OF_FILES:
            raise fault
        log.error("%s listener: out of files, not accepting for %g s: %s", self.transport, OUT_OF_FILES_PAUSE, fault)
        self._unwatch()
        if self._resume is None:
            self._resume = asyncio.get_running_loop().call_later(OUT_OF_FILES_PAUSE, self._watch)

    def _refused(self, room: int, tokens: float, address: str | None) -> str | None:
        """Why a new socket is not let in; None if it is. `room` and `tokens` are how many still may."""
        budget = self._budget
        if budget.draining:
            return "draining"
        if room <= 0:
            return "rate_limited" if budget.room > 0 else "too_many_connections"
        if tokens < 1:
            return "rate_limited"
        return self._crowded(address) if address is not None else None

    def _crowded(self, address: str) -> str | None:
        """Why one address is let in no more; None if it is.

        It may have as many sockets that wait as there are places left. So one that comes in great numbers may have half
        of them while nobody else comes, and there is always a place for who has none.
        """
        if self.connections.waiting_from(address) >= self._places():
            return "rate_limited"
        return "too_many_connections" if self._budget.crowded(address) else None

    def _places(self) -> int:
        """How many more sockets may wait here."""
        return min(self.limits.max_pending, self._budget.pending_part) - self.connections.waiting

    def _refill(self) -> float:
        """Sockets that may be accepted now: a second's worth at most may come at once."""
        rate = self.limits.accept_rate
        if not rate:
            return math.inf
        now = asyncio.get_running_loop().time()
        since, self._filled = self._filled, now
        return min(self._tokens + (now - since) * rate, float(rate))

    def _turn_away(self, sock: socket.socket, address: str, reason: str) -> None:
        """Say why, as far as it can be said without waiting, and hang up."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        log.debug("%s: %s was not let in: %s", self.transport, address, reason)
        with sock:
            try:
                if self.tls is None:
                    sock.send(self._word_refusal(reason))
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(65536)  # what is unread at the close would reset the connection, and the refusal with it
            except OSError as fault:
                log.debug("%s listener: a refused client was gone: %s", self.transport, fault)

    async def _attach(self, sock: socket.socket, address: str, *, proxied: bool) -> None:
        """Make a connection of a socket: after the proxy's header, and with TLS, where these are asked for."""
        loop, table, deadline = asyncio.get_running_loop(), self.connections, self.limits.hello_deadline
        made: C | None = None

        def make() -> C:
            nonlocal made
            made = self._make(self.shared, address)
            table.attach(sock, made)
            return made

        try:
            if proxied:
                async with asyncio.timeout(deadline):
                    address = await _proxied_address(sock) or address
                reason = self._crowded(address)
                if reason is not None:
                    self._turn_away(sock, address, reason)
                    return
                table.arrive(sock, address)
            if self.epoll is not None and self.tls is None:
                self.epoll.attach(sock.fileno(), make())
                sock.detach()
                return
            await loop.connect_accepted_socket(
                make, sock, ssl=self.tls, ssl_handshake_timeout=deadline if self.tls is not None else None
            )
        except (OSError, TimeoutError, proxy_protocol.NotProxied) as fault:
            log.debug("%s: %s was not let in: %s", self.transport, address, fault or "timeout")
            self.rejected["handshake"] = self.rejected.get("handshake", 0) + 1
            sock.close()
        except asyncio.CancelledError:
            sock.close()
            raise
        finally:
            table.abandon(sock)
            table.abandon(made)


def _socket(family: int, kind: int, handle: int) -> socket.socket:
    """The socket of an accepted file. `socket.accept` would look its family and type up in enums, each time.

    Protocol 0 is TCP all the same; asyncio then does not set again what the listening socket hands down.
    """
    sock = socket.socket(family, kind, 0, fileno=handle)
    sock.setblocking(False)
    return sock


async def _proxied_address(sock: socket.socket) -> str | None:
    """Take a PROXY header off the socket, and nothing after it; the client's address, None if it names none."""
    loop = asyncio.get_running_loop()
    seen = 0
    while True:
        await _readable(loop, sock, beyond=seen)
        head = sock.recv(proxy_protocol.LONGEST, socket.MSG_PEEK)
        if len(head) == seen:
            raise proxy_protocol.NotProxied("closed before the PROXY header was complete")
        seen = len(head)
        header = proxy_protocol.read(head)
        if header is not None:
            sock.recv(header.size)
            return header.address


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket, *, beyond: int) -> None:
    """Wait until more than `beyond` bytes can be read: a low-water mark keeps the loop from spinning on a peek."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, beyond + 1)
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _set_options(server_socket: socket.socket) -> None:
    """Set what accepted sockets inherit: small pieces are sent at once, and the kernel gives up a peer that has not
    acknowledged anything for a minute.
    """
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_NODELAY", 1),
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            server_socket.setsockopt(socket.IPPROTO_TCP, option, value)
