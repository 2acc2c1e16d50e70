"""The members of etcd as one gateway reaches them: a test cuts the way, loses answers, changes what is watched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from tests.etcd import free_ports

LONGEST_LINE = 1 << 24
"""Bytes of a message of a watch at most."""


def unchanged(message: dict[str, Any]) -> dict[str, Any]:
    """Pass a message of a watch on as it is."""
    return message


class EtcdProxy:
    """Passes on what a gateway asks of `targets`; `urls` are where it does.

    `on_watched` returns the message to pass on in place of one that is watched. With `loses_answers` a put is passed
    on, and answered with an error. `puts` counts those that were passed on.
    """

    def __init__(self, targets: list[str]) -> None:
        self.targets = targets
        self._ports = free_ports(len(targets))
        self.urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self.on_watched: Callable[[dict[str, Any]], dict[str, Any]] = unchanged
        self.loses_answers = False
        self.puts = 0
        self._way = asyncio.Event()
        self._way.set()
        self._watching: set[asyncio.Task[Any]] = set()
        self._runners: list[web.AppRunner] = []
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Begin to pass on."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=LONGEST_LINE,
        )
        for place, port in enumerate(self._ports):
            application = web.Application(client_max_size=LONGEST_LINE)
            application.router.add_post("/{path:.*}", self._handler(place))
            runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.0)
            await runner.setup()
            self._runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", port).start()

    async def close(self) -> None:
        """Pass nothing on any more."""
        self.end_watches()
        for runner in self._runners:
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def cut(self) -> None:
        """Let nothing through, in neither direction, and say nothing of it."""
        self._way.clear()

    def mend(self) -> None:
        """Let through what comes from now on, and what is still waited for."""
        self._way.set()

    def end_watches(self) -> None:
        """Break the connections over which the log is watched."""
        for each in tuple(self._watching):
            each.cancel()

    def _handler(self, place: int) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            await self._way.wait()
            url = self.targets[place] + request.path
            return await (self._watch(request, url, body) if request.path == "/v3/watch" else self._call(url, body))

        return handle

    async def _call(self, url: str, body: bytes) -> web.Response:
        is_put = url.endswith("/put")
        self.puts += is_put
        try:
            async with self._http().post(url, data=body) as response:
                answer = await response.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        await self._way.wait()
        if is_put and self.loses_answers:
            return web.Response(status=503)
        return web.Response(status=response.status, body=answer, content_type="application/json")

    async def _watch(self, request: web.Request, url: str, body: bytes) -> web.StreamResponse:
        passed_on = web.StreamResponse()
        task = asyncio.current_task()
        assert task is not None
        self._watching.add(task)
        try:
            async with self._http().post(url, data=body) as response:
                passed_on.set_status(response.status)
                await passed_on.prepare(request)
                async for line in response.content:
                    await self._way.wait()
                    changed = self.on_watched(json.loads(line))
                    await passed_on.write(json.dumps(changed).encode() + b"\n")
        except (aiohttp.ClientError, ConnectionError):
            return passed_on
        finally:
            self._watching.discard(task)
        return passed_on

    def _http(self) -> aiohttp.ClientSession:
        assert self._session is not None, "it is not open"
        return self._session
