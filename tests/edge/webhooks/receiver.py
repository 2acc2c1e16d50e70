"""A receiver of webhooks for tests, written from the text alone: it checks the signature of each request."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.core.wire.backoff import Backoff
from gateway.edge.webhooks import delivery
from tests.conftest import House

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of no one


class Receiver:
    """Answers as `mode` says: a status, `hang` until it is set otherwise, or `huge`."""

    def __init__(self) -> None:
        self.mode: int | str = 204
        self.port = 0
        self.posts: list[dict[str, Any]] = []
        self.taken: list[str] = []
        """Ids of the events that were answered with a status of success, in order."""
        self.goes_on = asyncio.Event()
        """Set when what hangs is to be answered."""
        self._site: web.TCPSite | None = None
        self._runner: web.AppRunner | None = None

    def setting(self, place: Path, **more: Any) -> str:
        """The tables of one webhook that posts here, as the configuration has them."""
        secret = place / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        scheme = more.pop("scheme", "http")
        keys = {"url": f"{scheme}://127.0.0.1:{self.port}/events", "secret_file": str(secret), **more}
        return "[{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()) + "}]"

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, on the port of before."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/events", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls)
        await self._site.start()
        server: Any = self._site._server
        self.port = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Go away."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.posts.append({"headers": request.headers, "body": body, **json.loads(body)})
        assert genuine(request.headers, body)
        if self.mode == "hang":
            await self.goes_on.wait()
        if self.mode == "huge":
            response = web.StreamResponse(headers={"Content-Length": "10000000"})
            await response.prepare(request)
            self.taken += [each["id"] for each in self.posts[-1]["events"]]
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    await response.write(b"x" * 100_000)
            return response
        status = int(self.mode)
        if 200 <= status < 300:
            self.taken += [each["id"] for each in self.posts[-1]["events"]]
        return web.Response(status=status, headers={"Location": "/events"} if status == 307 else {})


def genuine(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request was signed with the secret (PROTOCOL.md, Webhooks)."""
    signed = headers["Tallygate-Timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers["Tallygate-Signature"])


@contextlib.asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    await receiver.open(tls)
    try:
        yield receiver
    finally:
        receiver.mode = 204
        receiver.goes_on.set()
        await receiver.close()


def ask_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have gateways post again in their next tick, whatever came of the last attempt."""
    monkeypatch.setattr(delivery, "PACE", 0.0)
    monkeypatch.setattr(delivery, "BACKOFF", Backoff(0.0, 0.0))


def happen(house: House, *names: str) -> list[str]:
    """Let events happen, and return their ids."""
    events = house.runtime.recent.events
    for name in names:
        events.note(name, {"n": name})
    return [events.id_of(each) for each in events.after(events.last - len(names))]
