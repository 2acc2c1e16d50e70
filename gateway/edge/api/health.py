"""The API about health: whether the process answers, and whether clients are let in."""

from __future__ import annotations

from aiohttp import web

from gateway.edge.api.routes import OPEN, Route
from gateway.edge.server.runtime import Runtime

TEXT = ("text/plain",)


@Route("GET", "/livez", scope=OPEN, summary="Whether the process answers.", media=TEXT)
async def get_live(_: Runtime, __: web.Request) -> web.Response:
    """Answer."""
    return web.Response(text="live\n")


@Route("GET", "/readyz", scope=OPEN, summary="Whether clients are let in.", media=TEXT, statuses=(503,))
async def get_ready(runtime: Runtime, _: web.Request) -> web.Response:
    """Say whether new clients are welcome, and why not."""
    reason = _not_ready(runtime)
    if reason is not None:
        return web.Response(status=503, text=f"{reason}\n")
    left = runtime.registration.left()
    lacking = [] if left is None else [f"registration lost, service ends in {left}"]
    if not runtime.persistence.store.available:
        lacking.append("the store is unavailable, no lease is granted")
    return web.Response(text="; ".join(["ready", *lacking]) + "\n")


def _not_ready(runtime: Runtime) -> str | None:
    """Why clients are not let in; None if they are."""
    if runtime.draining:
        return "draining"
    reason = runtime.registration.reason()
    if reason is not None:
        return reason
    if runtime.node is not None and not runtime.node.may_speak:
        return f"this node of the cluster is {runtime.node.state}"
    listeners = runtime.client_listeners if runtime.clients else (runtime.registrar.listener,)
    return "doors are closed" if any(listener.port is None for listener in listeners) else None
