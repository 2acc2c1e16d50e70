"""The API about webhooks: where events are posted to, what waits, and a test."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiohttp import web

from config.webhook_settings import WebhookSettings, webhook_names
from gateway.core.formats import utc
from gateway.edge.api.authorization import record_act
from gateway.edge.api.pages import LIMIT, OFFSET, Page, cursor, listed
from gateway.edge.api.responses import fail, named
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Count, Time
from gateway.edge.server.runtime import Runtime


class WebhookDocument(TypedDict):
    """A webhook, and what became of events since the start of this gateway."""

    name: str
    url: str
    events: Annotated[list[str], "The kinds that are posted; none: all."]
    waiting: Annotated[Count, "Events that its receiver has not taken yet."]
    oldest: Annotated[Time | None, "When the first of those happened."]
    delivered: Annotated[Count, "Events that the receiver has taken."]
    dropped: Annotated[Count, "Events that were dropped, because too many waited."]
    taken: Annotated[Count, "Requests that the receiver took."]
    failed: Annotated[Count, "Requests that failed."]
    last_delivered: Annotated[Time | None, "When the receiver took something last."]
    last_id: Annotated[str | None, "The id of the last event that it took."]
    trouble: Annotated[str | None, "Why the last request failed; null after one that did not."]


class WebhookTestDocument(TypedDict):
    """A test is on its way."""

    id: Annotated[str, "The id of the event; the webhook has it as `last_id` once it is taken, unless others follow."]


@Route(
    "GET",
    "/api/webhooks",
    scope=READ,
    summary="The webhooks.",
    answer=Page[WebhookDocument],
    query=(LIMIT, OFFSET, cursor()),
)
async def list_webhooks(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    hooks = dict(zip(webhook_names(runtime.settings.webhook), runtime.settings.webhook, strict=True))
    return await listed(request, hooks, lambda name, hook: _document(runtime, name, hook))


@Route(
    "POST",
    "/api/webhooks/{webhook}/test",
    scope=ADMIN,
    summary="Post an event `act.webhook.tested` to one webhook, whatever its kinds.",
    answer=WebhookTestDocument,
    statuses=(404,),
)
async def test_webhook(runtime: Runtime, request: web.Request) -> web.Response:
    """Enter the act into the audit log, which makes the event; it waits behind what waits already."""
    name = named(request, "webhook")
    if name not in runtime.persistence.outgoing.queues:
        fail(404, "no_such_webhook", "no webhook has this name")
    record_act(runtime, request, "webhook.tested", name)
    return web.json_response(WebhookTestDocument(id=runtime.recent.events.last_id))


def _document(runtime: Runtime, name: str, hook: WebhookSettings) -> WebhookDocument:
    queue = runtime.persistence.outgoing.queues[name]
    return {
        "name": name,
        "url": hook.url,
        "events": list(hook.events),
        "waiting": len(queue.waiting),
        "oldest": utc(queue.oldest) if queue.oldest is not None else None,
        "delivered": queue.totals.delivered,
        "dropped": queue.totals.dropped,
        "taken": queue.totals.taken,
        "failed": queue.totals.failed,
        "last_delivered": utc(queue.delivered_at) if queue.delivered_at is not None else None,
        "last_id": queue.last_delivered.id if queue.last_delivered is not None else None,
        "trouble": queue.trouble or None,
    }
