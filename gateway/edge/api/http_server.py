"""The HTTP server below the operator port: its sockets and their limits, and how malformed requests are answered.

It is aiohttp's, with limits around it, since everybody who reaches the port may connect: so many connections at once,
for each so long without a request, and so long for a client to take what it is sent (`listen.operator_...`). Their
files are set apart from those of the clients' connections (`config.settings.ListenSettings.ceiling`). Where all are
taken, one that is only kept for a next request makes room: browsers keep several each.

A request that is malformed is the client's fault and known to it by its answer; the log has a line about it now and
then, without a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from config.settings import ListenSettings
from gateway.edge.api.tls_acceptor import TlsAcceptor
from gateway.edge.server.listening_sockets import listening_sockets, plain_address
from gateway.edge.server.paced_log import PacedLog

BODY_ENCODINGS = ("gzip", "deflate")
"""How the body of a request may be encoded. Some Pythons could undo more; the API is the same on each."""
UNSUPPORTED_ENCODING: tuple[int, str, str, dict[str, str]] = (
    415,
    "unsupported_encoding",
    "the body is encoded in a way that is not understood here",
    {hdrs.ACCEPT_ENCODING: ", ".join(BODY_ENCODINGS)},  # RFC 9110, 15.5.16
)

log = logging.getLogger("tallygate.operator")


class HttpServer:
    """Serves an application under the limits of `listen`."""

    def __init__(self, app: web.Application, listen: ListenSettings) -> None:
        self.app = app
        self.listen = listen
        self.malformed = PacedLog(log)
        self.refused = PacedLog(log)
        self._runner = web.AppRunner(app, shutdown_timeout=2.0)
        self._servers: list[asyncio.Server] = []
        self.acceptor: TlsAcceptor[HttpConnection] | None = None
        """Who accepts under TLS; None where there is none."""

    @property
    def connections(self) -> list[HttpConnection]:
        """Those that were let in and have not ended."""
        server = self._runner.server
        return [each for each in server.connections if isinstance(each, HttpConnection)] if server is not None else []

    def has_room(self) -> bool:
        """Return whether one more may be let in; where all are taken, the connection idle longest is ended for it."""
        staying = [each for each in self.connections if not each.ending]
        arriving = self.acceptor.arriving if self.acceptor is not None else set()
        if len({*staying, *arriving}) < self.listen.operator_max_connections:
            return True
        idle = [each for each in staying if each.idle_since is not None]
        if not idle:
            return False
        min(idle, key=lambda each: each.idle_since or 0.0).end()
        return True

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, where `tls` is given under TLS; returns the port.

        Raises `OSError` where the address or the port cannot be bound.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            sockets = listening_sockets(host, port)
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise OSError(fault.errno, f"operator port on {host} port {port}: {reason}") from fault
        listening_port, backlog = int(sockets[0].getsockname()[1]), self.listen.operator_backlog
        if tls is not None:
            self.acceptor = TlsAcceptor(
                sockets,
                tls,
                self.listen.operator_idle_timeout,
                lambda: self._connection(admitted=True),
                self._may_come,
                self._handshake_failed,
            )
            self.acceptor.open(backlog)
            return listening_port
        for each in sockets:
            self._servers.append(await loop.create_server(self._connection, sock=each, backlog=backlog))
        return listening_port

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        for each in self._servers:
            each.close()
        self._servers = []
        if self.acceptor is not None:
            await self.acceptor.close()
        await self._runner.cleanup()

    def _connection(self, *, admitted: bool = False) -> HttpConnection:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the server is closed")
        return HttpConnection(server, self, admitted=admitted)

    def _may_come(self, address: str) -> bool:
        if self.has_room():
            return True
        self.record_refused(address)
        return False

    def arrived(self, connection: HttpConnection) -> None:
        """A handshake is done."""
        if self.acceptor is not None:
            self.acceptor.arriving.discard(connection)

    def record_refused(self, address: str) -> None:
        """Let the log know now and then that somebody found no room."""
        line = f"{address} was refused: all {self.listen.operator_max_connections} connections are taken"
        self.refused.record(line, asyncio.get_running_loop().time())

    def _handshake_failed(self, address: str, fault: Exception) -> None:
        why = getattr(fault, "reason", None) or type(fault).__name__
        self.malformed.record(f"no TLS with {address}: {why}", asyncio.get_running_loop().time())


class HttpConnection(web.RequestHandler):
    """One connection of a client; one that is `admitted` was asked before whether there is room."""

    def __init__(self, server: web.Server, owner: HttpServer, *, admitted: bool = False) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=owner.listen.operator_idle_timeout,
            access_log=None,  # type: ignore[arg-type]  # no log; its own types do not know it
            logger=log,
        )
        self._owner = owner
        self._admitted = admitted
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.idle_since: float | None = None
        """When it was last answered (seconds of the loop); None before the first answer and while a request waits."""
        self.ending = False
        """Whether it is not kept for another request."""

    def end(self) -> None:
        """Close it, whose last request was answered, rather than keep it for another one."""
        self.ending = True
        self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are as many connections as there may be."""
        self._transport = cast(asyncio.Transport, transport)
        listen = self._owner.listen
        # Whatever is not taken counts as waiting, however little it is: then `pause_writing` begins at its first bytes.
        # At 0 it would begin over TLS where nothing waits, and never end: there asyncio pauses at the limit, not above.
        self._transport.set_write_buffer_limits(high=1)
        _set_user_timeout(self._transport, listen.operator_write_timeout)
        self._owner.arrived(self)
        if self._admitted or self._owner.has_room():
            super().connection_made(transport)
            return
        self._owner.record_refused(_peer(self._transport))
        self.force_close()  # what the client sends is not read
        self._transport.write(_refusal(listen.operator_idle_timeout))
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Something came: a request, or a part of one."""
        self.idle_since = None
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer to its end."""
        finished = await super().finish_response(request, resp, start_time)
        self.idle_since = self._loop.time()
        return finished

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._cancel_deadline()
        self._transport = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something waits for the client to take it: give it so long."""
        super().pause_writing()
        self._cancel_deadline()
        self._deadline = self._loop.call_later(self._owner.listen.operator_write_timeout, self._cut_off)

    def resume_writing(self) -> None:
        """The client has taken everything."""
        self._cancel_deadline()
        super().resume_writing()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong; of what the client got wrong, a line now and then."""
        fault = kw.get("exc_info")
        if isinstance(fault, HttpProcessingError | web.RequestPayloadError):
            line = f"malformed request from {_peer(self._transport)}: {type(fault.__cause__ or fault).__name__}"
            self._owner.malformed.record(line, self._loop.time())
        else:
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not even be read, or not be answered, as JSON; the connection is closed after it."""
        super().handle_error(request, status, exc, message)
        headers: dict[str, str] | None = None
        if isinstance(exc, ContentEncodingError) and "install" in exc.message:  # there is no decoder
            status, code, detail, headers = UNSUPPORTED_ENCODING
        elif isinstance(exc, ContentEncodingError):
            code, detail = "malformed", "the body is not what its headers say"
        elif status == 400:
            code, detail = "malformed", "this is no HTTP/1.1 request"
        else:
            code, detail = "internal", "see the log"
        answer = web.json_response({"error": code, "detail": detail}, status=status, headers=headers)
        answer.force_close()
        return answer


def _peer(transport: asyncio.Transport | None) -> str:
    peer = transport.get_extra_info("peername") if transport is not None else None
    return plain_address(str(peer[0])) if isinstance(peer, tuple) else "somebody"


def _set_user_timeout(transport: asyncio.Transport, seconds: float) -> None:
    """Let the kernel end a connection whose peer acknowledges nothing for so long, where it can."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    sock = transport.get_extra_info("socket")
    if option is not None and sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, max(round(seconds * 1000), 1))


def _refusal(retry: float) -> bytes:
    body = b'{"error": "too_many_connections", "detail": "the operator port has all the connections it may have"}'
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\nRetry-After: %d\r\nConnection: close\r\n\r\n%b" % (len(body), math.ceil(retry), body)
    )
