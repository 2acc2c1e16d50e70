"""All webhooks: which events go to whom.

With every tick the events that are new in memory come into the queues of the webhooks that want their kind. In a
cluster, where every gateway has the events of all, the one that came in first of those that live sends what all have;
what only one has, such as its start or whom it refused, that one sends. Who comes after another one goes on from where
that one may have ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Sequence

from config.webhook_settings import WebhookSettings, queue_bounds, webhook_names
from gateway.core.event_kinds import KINDS, kind_of
from gateway.edge.machine import Clock, read_token
from gateway.edge.server.paced_log import PacedLog
from gateway.edge.server.recent_events import ERASED, RecentEvent, RecentEvents
from gateway.edge.storage.outgoing_events import OutgoingEvents
from gateway.edge.webhooks.delivery import Receiver, WebhookDelivery
from gateway.edge.webhooks.posting_duty import PostingDuty

AT_ONCE = 1000
"""Events that come into the queues with one tick at most; what is beyond comes with the next ones."""
TESTED = "act.webhook.tested"
"""The event of an operator's test."""

log = logging.getLogger("tallygate.webhooks")


def receivers(hooks: Sequence[WebhookSettings]) -> dict[str, Receiver]:
    """Return where webhooks post to, by name, with what their files hold.

    Raises `OSError`, of which `ssl.SSLError` is one.
    """
    found = {}
    for name, hook in zip(webhook_names(hooks), hooks, strict=True):
        tls = ssl.create_default_context(cafile=hook.ca) if hook.ca else None
        found[name] = Receiver(hook, (read_token(hook.secret_file) or "").encode(), tls)
    return found


class Webhooks:
    """Sends `events` to the receivers, through the queues of `outgoing`; `duty` says whether this gateway sends what
    every gateway of a cluster has.
    """

    def __init__(self, events: RecentEvents, outgoing: OutgoingEvents, clock: Clock, duty: PostingDuty) -> None:
        self._events = events
        self._outgoing = outgoing
        self._clock = clock
        self._duty = duty
        self._deliveries: dict[str, WebhookDelivery] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._open = False
        self._taken = 0
        """The number of the last event that was looked at."""
        self._own = 0
        """The number up to which what only this gateway has is in the queues; what all have may be looked at again."""
        self._missed = PacedLog(log)

    def use(self, found: dict[str, Receiver], hooks: Sequence[WebhookSettings]) -> None:
        """Send to these receivers, and no others; an attempt at one that has changed is broken off, and begun anew."""
        if self._open:
            self.gather()  # what has happened so far is for the previous ones
        self._open = True
        self._outgoing.use(queue_bounds(hooks))
        for name, delivery in list(self._deliveries.items()):
            if found.get(name) is None or _differs(delivery.receiver, found[name]):
                self._end(self._deliveries.pop(name))
        for name, receiver in found.items():
            if name not in self._deliveries:
                queue = self._outgoing.queues[name]
                self._deliveries[name] = WebhookDelivery(receiver, queue, self._outgoing, self._clock)

    def poll(self) -> None:
        """Called with every tick: take the new events, and deliver what is due."""
        self.gather(AT_ONCE)
        for delivery in self._deliveries.values():
            delivery.poll()

    def gather(self, most: int | None = None) -> None:
        """Take the new events into the queues, so many at most."""
        duty, ours = self._duty, self._duty.is_ours()
        if not self._deliveries:
            self._taken = self._own = self._events.last
            duty.ours(self._taken)
            return
        if ours:
            self._taken = min(self._taken, duty.posted)  # what the one before may not have posted, once more
        new = self._events.after(self._taken, most)
        missed = self._events.first - self._taken - 1
        if missed > 0:
            self._outgoing.missed(missed)
            line = f"webhooks: {missed} events were dropped: more happened at once than `events.kept`"
            self._missed.record(line, self._clock.mono())
        self._taken = new[-1].number if new else max(self._taken, self._events.first - 1)
        own, self._own = self._own, max(self._own, self._taken)
        (duty.ours if ours else duty.of_another)(self._taken)
        new = [each for each in new if each.detail is not ERASED and (ours if each.shared else each.number > own)]
        if not new:
            return
        bodies: dict[int, str] = {}
        for name, delivery in self._deliveries.items():
            kinds = delivery.receiver.settings.events or KINDS
            wanted = [event for event in new if kind_of(event.name) in kinds or _tests(event, name)]
            for event in wanted:
                if event.number not in bodies:
                    bodies[event.number] = json.dumps(self._events.to_json(event))
            if wanted:
                self._outgoing.add(name, [self._row(event, bodies[event.number]) for event in wanted])

    def _row(self, event: RecentEvent, body: str) -> tuple[str, float, str, Sequence[tuple[str, str]]]:
        return self._events.id_of(event), event.at, body, event.persons

    async def close(self) -> None:
        """Break off what is under way: it is tried again by the next run."""
        for delivery in self._deliveries.values():
            self._end(delivery)
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, delivery: WebhookDelivery) -> None:
        delivery.task.cancel()
        self._ending.add(delivery.task)
        delivery.task.add_done_callback(self._ending.discard)


def _tests(event: RecentEvent, name: str) -> bool:
    """Return whether an operator tests a webhook, which gets that event whatever its kinds."""
    return event.name == TESTED and event.detail["subject"] == name


def _differs(before: Receiver, after: Receiver) -> bool:
    """Return whether a delivery must be made anew; always with `ca`: its file may have changed."""
    return before[:2] != after[:2] or after.tls is not None
