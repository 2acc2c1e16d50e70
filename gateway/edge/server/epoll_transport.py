"""A transport for plain sockets: one epoll file for all of them, which the event loop watches as one descriptor.

asyncio keeps a selector's key and several handles and methods for each socket, and makes as many calls for each event.
That is most of what a heartbeat, a connect and an idle connection cost. Here a socket is one small object, known by its
descriptor; a heartbeat is one read and one write. What `BaseConnection` asks of a transport is here, and no more: TLS
stays asyncio's.

- **A turn has an end.** At most `EVENTS` sockets are served before the loop goes on with all else. The kernel hands
  sockets out in rotation, and each is read once, up to `READ_SIZE`: who always has something to say is served as often
  as anybody else.
- **Descriptors are closed between turns** (`Epoll._finish`). So a number cannot become that of another socket while
  events of the one before still wait in the batch, and `connection_lost` never comes while another call of the same
  protocol is under way, just as with asyncio.
- **Out of the epoll file before it is closed**: the kernel goes on to report a socket of which a child process, forked
  and not yet another program, has a copy, and then by a number that cannot be taken out any more.
- **Written at once.** Only what the kernel does not take waits in a buffer, which does not exist before. Above the
  limit the protocol is told.
- **After the peer's end** the socket is watched for nothing but its loss, as long as something is still to be said.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from os import read, write
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT

EVENTS = 256
"""Sockets that are served in one turn of the loop: a few milliseconds."""
READ_SIZE = 16384
"""Bytes that are read from a socket at once."""
OUTBOUND_LIMIT = 65536
"""Bytes that may wait to be sent, unless the protocol says otherwise."""

UNSENT, DEAF, SHUT, CLOSING, LOST, FULL = (1 << bit for bit in range(6))
"""What can be the matter with a transport: bytes wait to be sent; nothing more is read, is to be written, is wanted of
it; its socket is about to be closed; its protocol was told to pause. With none of them it is simply open."""

_NOBODY = asyncio.Protocol()


class Epoll:
    """The plain sockets of the running loop, each with its protocol. `close` it before the loop ends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._transports: list[EpollTransport | None] = []
        """By descriptor."""
        self._lost: list[tuple[EpollTransport, Exception | None]] = []
        self._loop.add_reader(self._epoll.fileno(), self._serve)

    def close(self) -> None:
        """Close what is still open, and watch no more."""
        for transport in self._transports:
            if transport is not None:
                transport.abort()
        self._finish()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def attach(self, descriptor: int, protocol: asyncio.Protocol) -> None:
        """Let `protocol` have the connected socket `descriptor`, which is closed here from now on.

        Raises `OSError` where the kernel cannot watch one more; the socket is still the caller's then.
        """
        os.set_blocking(descriptor, False)
        self._epoll.register(descriptor, EPOLLIN)
        transports = self._transports
        if descriptor >= len(transports):
            transports += [None] * (descriptor + 1 - len(transports))
        transports[descriptor] = transport = EpollTransport(self, descriptor, protocol)
        protocol.connection_made(transport)

    def serve_all(self) -> None:
        """Read from every socket that has something now, however many these are."""
        self._serve(max(len(self._transports), 1))

    def _serve(self, events: int = EVENTS) -> None:
        """Serve the sockets that have something, up to `events`."""
        transports = self._transports
        for descriptor, event in self._epoll.poll(0, events):
            transport = transports[descriptor]
            if transport is None:
                continue
            try:
                if event == EPOLLIN and not transport.state:
                    transport.receive()
                else:
                    transport.act(event)
            except Exception as fault:
                self._report(transport, transport.protocol, fault, "a connection failed, and is cut off")
                transport.lose(fault)

    def watch(self, transport: EpollTransport) -> None:
        """Look for what `transport` can do now."""
        state = transport.state
        events = (0 if state & DEAF else EPOLLIN) | (EPOLLOUT if state & UNSENT else 0)
        self._epoll.modify(transport.descriptor, events)

    def lose(self, transport: EpollTransport, fault: Exception | None) -> None:
        """Close a transport's socket when this turn is over, and tell its protocol."""
        if not self._lost:
            self._loop.call_soon(self._finish)
        self._lost.append((transport, fault))

    def _finish(self) -> None:
        lost, self._lost = self._lost, []
        for transport, fault in lost:
            descriptor, protocol = transport.descriptor, transport.protocol
            self._epoll.unregister(descriptor)
            self._transports[descriptor] = None
            os.close(descriptor)
            transport.protocol = _NOBODY  # the two know each other: without this only the garbage collector would do
            try:
                protocol.connection_lost(fault)
            except Exception as failure:
                self._report(transport, protocol, failure, "the end of a connection failed")

    def _report(
        self, transport: EpollTransport, protocol: asyncio.BaseProtocol, fault: Exception, message: str
    ) -> None:
        context = {"message": message, "exception": fault, "transport": transport, "protocol": protocol}
        self._loop.call_exception_handler(context)


class EpollTransport(asyncio.Transport):
    """One plain socket. What is written after its end is not sent; `connection_lost` tells of that."""

    __slots__ = ("_epoll", "_limit", "_unsent", "descriptor", "protocol", "state")

    def __init__(self, epoll: Epoll, descriptor: int, protocol: asyncio.Protocol) -> None:  # no super: nothing extra
        self._epoll = epoll
        self.descriptor = descriptor
        self.protocol = protocol
        self.state = 0
        self._unsent: bytearray | None = None
        self._limit = OUTBOUND_LIMIT

    # -- reading ---------------------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Hand the protocol what has come, or that nothing more will."""
        try:
            data = read(self.descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as fault:
            self.lose(fault)
            return
        if data:
            self.protocol.data_received(data)
        elif not self.protocol.eof_received():
            self.close()
        elif not self.state & (CLOSING | LOST):
            self.state |= DEAF
            self._epoll.watch(self)

    def act(self, event: int) -> None:
        """Act upon `event` where more can be the matter than bytes to read."""
        if self.state & UNSENT and event & ~EPOLLIN:
            self._send_rest()
        if not self.state & DEAF:
            if event & ~EPOLLOUT:
                self.receive()
        elif event & (EPOLLERR | EPOLLHUP) and not self.state & LOST:
            reset = event & EPOLLERR  # which a read does not tell any more after the peer's end
            self.lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) if reset else None)

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, now as far as the kernel takes it.

        Raises `RuntimeError` after `write_eof`.
        """
        if self.state and not self._at_once(data):
            return
        try:
            sent = write(self.descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError as fault:
            self.lose(fault)
            return
        if sent < len(data):
            self._unsent = bytearray(data[sent:])
            self.state |= UNSENT
            self._epoll.watch(self)
            self._check_limit(self._unsent)

    def _at_once(self, data: bytes | bytearray | memoryview) -> bool:
        """Return whether `data` can be sent now; if not, it was kept to be sent later, or is dropped after the end."""
        if self.state & (CLOSING | LOST):
            return False
        if self.state & SHUT:
            raise RuntimeError("written after the end of what was to be written")
        if self._unsent is None:
            return True
        self._unsent += data
        self._check_limit(self._unsent)
        return False

    def _check_limit(self, unsent: bytearray) -> None:
        if len(unsent) > self._limit and not self.state & FULL:
            self.state |= FULL
            self.protocol.pause_writing()

    def _send_rest(self) -> None:
        unsent = self._unsent or bytearray()
        try:
            del unsent[: write(self.descriptor, unsent)]
            if not unsent:
                self._unsent = None
                self.state &= ~UNSENT
                if self.state & CLOSING:
                    self.lose(None)
                    return
                if self.state & SHUT:
                    self._shut()
                self._epoll.watch(self)
        except BlockingIOError:
            return
        except OSError as fault:
            self.lose(fault)
            return
        if self.state & FULL and len(unsent) <= self._limit // 4:
            self.state &= ~FULL
            self.protocol.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        """Let `high` bytes wait before the protocol is told; it goes on at a quarter of that."""
        self._limit = OUTBOUND_LIMIT if high is None else high

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the bytes at which the protocol goes on, and above which it pauses."""
        return self._limit // 4, self._limit

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return 0 if self._unsent is None else len(self._unsent)

    def can_write_eof(self) -> bool:
        """A socket has halves."""
        return True

    def write_eof(self) -> None:
        """Shut the sending half, once everything is sent.

        Raises `OSError` where the peer is gone already.
        """
        if self.state & (SHUT | CLOSING | LOST):
            return
        self.state |= SHUT
        if self._unsent is None:
            self._shut()

    def _shut(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=self.descriptor)  # whatever its family
        try:
            sock.shutdown(socket.SHUT_WR)
        finally:
            sock.detach()

    # -- the end ---------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether the end has begun."""
        return bool(self.state & (CLOSING | LOST))

    def close(self) -> None:
        """Read no more, and end it when everything is sent."""
        if self.state & (CLOSING | LOST):
            return
        self.state |= CLOSING | DEAF
        if self._unsent is None:
            self.lose(None)
        else:
            self._epoll.watch(self)

    def abort(self) -> None:
        """End it now; what waits to be sent is dropped."""
        self.lose(None)

    def lose(self, fault: Exception | None) -> None:
        """End it now, because of `fault` if there was one."""
        if self.state & LOST:
            return
        self.state = LOST | DEAF
        self._unsent = None
        self._epoll.lose(self, fault)

    def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002
        """Return `default`: nothing is known here that is not known to the listener, such as the peer's address."""
        return default
