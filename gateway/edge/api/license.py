"""The API about the license in effect and its pools."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.snapshot import Snapshot
from gateway.edge.server.runtime import Runtime
from gateway.licensing import MODELS


def license_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/license", _License(runtime).license)]


def license_document(runtime: Runtime, seen: Snapshot) -> dict[str, Any]:
    """The license as the API and the page show it."""
    models: dict[str, Any] = {}
    for pool in seen.pools:
        models.setdefault(pool.model, {"pools": {}})["pools"][pool.pool] = {
            "used": pool.used,
            "limit": pool.limit,
            "available": pool.available,
            "reserved": pool.reserved,
            "overdraft_used": pool.overdraft_used,
            "high_water": pool.high_water,
            "denied": pool.denied,
        }
    return {
        "model": seen.model,
        "edition": seen.edition,
        "enforce": seen.enforce,
        "models": models,
        "extensions": [each._asdict() for each in seen.extensions],
        "titles": {name: info.titles() for name, info in MODELS.items()},
        "registration": runtime.registration.to_json(),
    }


class _License:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def license(self, _: web.Request) -> web.Response:
        return web.json_response(license_document(self._runtime, self._runtime.snapshot()))
