"""The HTTP server below the operator port: its connections, and what becomes of requests that are none.

It is aiohttp's, with other manners where a client errs: a request that is malformed is the client's fault and known to
it by its answer, so the log has a line about it now and then, without a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.edge.server.listening_sockets import listening_sockets, plain_address

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept."""
MALFORMED_PAUSE = 10.0
"""Seconds between two lines of the log about malformed requests."""

log = logging.getLogger("tallygate.operator")


class HttpServer:
    """Serves an application on the addresses of one host."""

    def __init__(self, app: web.Application) -> None:
        self.app = app
        self._runner = web.AppRunner(app, shutdown_timeout=2.0)
        self._servers: list[asyncio.Server] = []
        self._malformed = MalformedLog()

    @property
    def connections(self) -> int:
        """Connections that are open."""
        server = self._runner.server
        return len(server.connections) if server is not None else 0

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port.

        Raises `OSError` where the address or the port cannot be had.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            sockets = listening_sockets(host, port)
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise OSError(fault.errno, f"operator port on {host} port {port}: {reason}") from fault
        for each in sockets:
            self._servers.append(await loop.create_server(self._connection, sock=each))
        return int(sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        for each in self._servers:
            each.close()
        self._servers = []
        await self._runner.cleanup()

    def _connection(self) -> HttpConnection:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the server is closed")
        return HttpConnection(server, self._malformed)


class HttpConnection(web.RequestHandler):
    """One connection of a client."""

    def __init__(self, server: web.Server, malformed: MalformedLog) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,  # type: ignore[arg-type]  # no log; its own types do not know it
            logger=log,
        )
        self._malformed = malformed

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong; of what the client got wrong, a line now and then."""
        fault = kw.get("exc_info")
        if isinstance(fault, HttpProcessingError | web.RequestPayloadError):
            peer, now = self.peername, asyncio.get_running_loop().time()
            address = plain_address(str(peer[0])) if isinstance(peer, tuple) else ""
            self._malformed.record(address, type(fault.__cause__ or fault), now)
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
        code, detail = ("malformed", "this is no HTTP/1.1 request") if status == 400 else ("internal", "see the log")
        answer = web.json_response({"error": code, "detail": detail}, status=status)
        answer.force_close()
        return answer


class MalformedLog:
    """Says that requests are malformed: one line in `MALFORMED_PAUSE` seconds, whoever sends however many."""

    def __init__(self) -> None:
        self._others = 0
        self._said = -math.inf

    def record(self, address: str, fault: type[BaseException], now: float) -> None:
        """There was one from `address` at the monotonic instant `now`; `fault` is what is wrong with it."""
        if now - self._said < MALFORMED_PAUSE:
            self._others += 1
            return
        log.warning("malformed request from %s: %s; %d others before it", address, fault.__name__, self._others)
        self._said, self._others = now, 0
