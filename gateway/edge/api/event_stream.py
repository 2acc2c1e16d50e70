"""Streams of server-sent events (HTML standard, 9.2): what the page shows, as it changes, or what happens.

Each open page has one. The state is made up at most once in a `TICK` for all of them, and only while somebody listens;
a stream is told the fields that have changed since it was last told, the first time all of them. Beside the figures
stand marks: a mark changes when a list of the API may have, so that a page asks again only then.

Who does not read is cut off: what waits for a stream is bounded by the socket's buffer, and by `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable
from importlib import metadata
from typing import Any

from aiohttp import ClientConnectionResetError, web

from gateway.core.admission.snapshot import Snapshot
from gateway.core.formats import utc
from gateway.edge.api.authorization import CALLER, Authorization, Caller
from gateway.edge.api.cluster import cluster_in_short
from gateway.edge.api.license import license_document
from gateway.edge.api.recent import latest
from gateway.edge.api.responses import fail
from gateway.edge.api.vitals import Vitals
from gateway.edge.server.runtime import Runtime
from gateway.licensing import MODELS

TICK = 0.25
"""Seconds between two looks at the state."""
KEEPALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that whatever stands between knows that we live."""
PATIENCE = 10.0
"""Seconds in which a page must take what it is sent."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}

Fields = dict[str, str]
"""The state: JSON by field."""


class Events:
    """The streams of the pages that look at `runtime`; `authorization` says whether who asked may still look."""

    def __init__(self, runtime: Runtime, authorization: Authorization) -> None:
        self._runtime = runtime
        self._authorization = authorization
        self._closing = asyncio.Event()
        self._version = metadata.version("tallygate")
        self._vitals = Vitals(runtime)
        self._looked = -math.inf
        self._fields: Fields = {}
        self.open = 0
        """How many pages listen."""

    def close(self) -> None:
        """End every stream, and let none begin."""
        self._closing.set()

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Tell a page what changes."""
        return await self.answer(request, self._changes(request[CALLER]))

    async def answer(self, request: web.Request, news: Callable[[], str]) -> web.StreamResponse:
        """Tell somebody what `news` has each time it is asked, until one of both goes; empty is nothing."""
        most = max(self._runtime.settings.listen.operator_max_connections // 2, 1)
        if self._closing.is_set() or self.open >= most:
            fail(503, "too_many_pages", f"the gateway shows itself to {most} pages at once; try again later")
        self.open += 1
        try:
            response = web.StreamResponse(headers=HEADERS)
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            await response.prepare(request)
            with contextlib.suppress(ClientConnectionResetError):
                await self._tell(request, response, news)
            return response
        finally:
            self.open -= 1

    async def _tell(self, request: web.Request, response: web.StreamResponse, news: Callable[[], str]) -> None:
        """Send what is new to a reader until it goes, does not read, or may look no more."""
        spoke = self._runtime.clock.mono()
        while not self._closing.is_set() and self._authorization.remains(request):
            if request.transport is None or request.transport.is_closing():
                return
            now = self._runtime.clock.mono()
            message = news() or (": keepalive\n\n" if now - spoke >= KEEPALIVE else "")
            if message:
                spoke = now
                try:
                    async with asyncio.timeout(PATIENCE):
                        await response.write(message.encode())
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._closing.wait()

    def _changes(self, caller: Caller) -> Callable[[], str]:
        """What has changed since a page was told last."""
        told: Fields = {}
        mine = {"operator": json.dumps({"name": caller.name, "scope": caller.scope})}

        def news() -> str:
            nonlocal told
            fields = {**self._look(), **mine}
            changed = {name: value for name, value in fields.items() if told.get(name) != value}
            if not changed:
                return ""
            changed["clock"] = json.dumps(utc(self._runtime.clock.wall()))
            told = fields
            data = ",".join(f'"{name}":{text}' for name, text in changed.items())
            return f"event: state\ndata: {{{data}}}\n\n"

        return news

    def _look(self) -> Fields:
        """The state, as it was no longer than a tick ago; what has not changed is the same object."""
        now = self._runtime.clock.mono()
        if now - self._looked >= TICK:
            self._looked = now
            before, self._fields = self._fields, {}
            for name, value in self._state(self._runtime.now().mono).items():
                text = json.dumps(value)
                self._fields[name] = before[name] if before.get(name) == text else text
        return self._fields

    def _state(self, mono: float) -> dict[str, Any]:
        runtime = self._runtime
        seen = runtime.snapshot()
        kinds: dict[str, int] = {}
        for (kind, _), count in seen.sessions.items():
            kinds[kind] = kinds.get(kind, 0) + count
        due, service = runtime.state.redistribute_at - mono, runtime.registrar.registrar
        rights = MODELS[seen.model].rights
        return {
            **license_document(runtime, seen),
            "connections": {
                "total": len(runtime.state.sessions),
                "asleep": sum(count for (_, awake), count in seen.sessions.items() if not awake),
                "idle": seen.idle,
                "accounts": seen.accounts,
                "devices": seen.devices,
                "kinds": {kind: count for kind, count in sorted(kinds.items()) if count},
                "pending": sum(
                    len(listener.connections.pending) + len(listener.connections.queued)
                    for listener in runtime.client_listeners
                ),
            },
            "conferences": {**seen.conferences, "members": seen.members["live"], "waiting": seen.members["scheduled"]},
            "rights": rights(seen.edition) if rights is not None else None,
            "redistribute_at": utc(runtime.clock.wall() + due) if math.isfinite(due) else None,
            "registrar": {
                "listens": runtime.registrar.listener.port is not None,
                "licenses": len(service.licenses),
                "servers": len(service.installations),
                "clones": service.clones,
            },
            "cluster": cluster_in_short(runtime),
            "recent": latest(runtime),
            "health": self._vitals.look(),
            "name": self._vitals.name,
            "serves_clients": runtime.clients,
            "store": {"available": runtime.persistence.store.available},
            "draining": runtime.draining,
            "version": self._version,
            "started": utc(runtime.started),
            "generations": marks(runtime, seen),
        }


EVENTS: web.AppKey[Events] = web.AppKey("events", Events)


def marks(runtime: Runtime, seen: Snapshot) -> dict[str, str]:
    """Return what changes when a list may have changed, made of totals that are at hand."""
    service, run, audit = runtime.registrar, int(runtime.started), runtime.persistence.audit_log
    seats = sum(pool.grants + sum(pool.releases.values()) for pool in seen.pools)
    sockets = sum(listener.accepted + sum(listener.closed.values()) for listener in runtime.client_listeners)
    moves, bans = runtime.state.conferences.moves, len(runtime.state.directory.bans.by_subject)
    leased = [pool for pool in seen.pools if pool.leases]
    leases = ".".join(str(count) for pool in leased for count in pool.leases.values())
    turns = sum(pool.grants + sum(pool.releases.values()) for pool in leased)
    served = sum(sum(pool.left.values()) for pool in seen.pools)
    rooms = f"{seen.conferences['live']}.{seen.conferences['scheduled']}"
    present = ".".join(str(count) for count in seen.sessions.values())
    enforced = [pool for pool in seen.pools if pool.model == seen.model]
    refused = runtime.recent.events.counts["refused"] + sum(pool.denied for pool in enforced)
    missed = sum(sum(pool.true_denials.values()) for pool in enforced)
    return {
        "connections": f"{run}-{sockets}-{seats}-{present}-{moves}",
        "conferences": f"{run}-{rooms}-{moves}-{audit.seq}",
        "pro": f"{run}-{leases}-{turns}-{moves}-{audit.seq}",
        "registrations": f"{run}-{len(service.registrar.conversations)}-{sum(service.results.values())}-{audit.seq}",
        "acts": f"{run}-{audit.seq}",
        "audit": f"{run}-{audit.durable}",
        "queue": f"{run}-{runtime.state.numbers.places.last}-{served}-{audit.seq}",
        "history": f"{run}-{int(runtime.clock.wall() // 60)}",
        "refused": f"{run}-{refused}-{missed}",
        "bans": f"{run}-{bans}-{audit.seq}",
    }
