"""Metrics of events, and of the webhooks that post them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric

from metrics.families import counter, gauge


class EventsView(NamedTuple):
    """Events so far by kind, and how many of them are not in memory any more."""

    counts: Mapping[str, int]
    dropped: int


class WebhookView(NamedTuple):
    """One webhook: events delivered and dropped, requests that were taken and that failed, all of them totals; events
    that wait, and for how many seconds the oldest has.
    """

    name: str
    delivered: int
    dropped: int
    taken: int
    failed: int
    waiting: int
    age: float


def event_families(events: EventsView, webhooks: Sequence[WebhookView]) -> Iterator[Metric]:
    """Yield the families."""
    yield counter("events", "Events so far, by kind.", ("kind",), {(kind,): n for kind, n in events.counts.items()})
    yield counter(
        "events_dropped",
        "Events that are not in memory any more: more happened than are kept.",
        (),
        {(): events.dropped},
    )
    yield counter(
        "webhook_events",
        "Events of a webhook that its receiver has taken, and those that were dropped because too many waited.",
        ("webhook", "result"),
        {
            (each.name, result): count
            for each in webhooks
            for result, count in (("delivered", each.delivered), ("dropped", each.dropped))
        },
    )
    yield counter(
        "webhook_requests",
        "Requests to the receiver of a webhook, by whether it took what was posted.",
        ("webhook", "result"),
        {
            (each.name, result): count
            for each in webhooks
            for result, count in (("delivered", each.taken), ("failed", each.failed))
        },
    )
    yield gauge(
        "webhook_queue_length",
        "Events that wait for the receiver of a webhook.",
        ("webhook",),
        {(each.name,): each.waiting for each in webhooks},
    )
    yield gauge(
        "webhook_queue_age_seconds",
        "How long the oldest of those events has waited, in seconds; 0 where none waits.",
        ("webhook",),
        {(each.name,): each.age for each in webhooks},
    )
