"""Events that wait for the receivers of webhooks: a queue for each webhook, in memory and in the store.

Memory leads, the file follows: what was added or delivered is written behind it, and nobody waits for that. A run that
ends without warning sends again what it could not write down as delivered, with the same ids. At its bound a queue
drops the oldest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.core.names import join_names
from gateway.edge.storage import rows
from gateway.edge.storage.rows import OutgoingEvent
from gateway.edge.storage.store import Statement, Store

log = logging.getLogger("tallygate.webhooks")


class QueueTotals(NamedTuple):
    """What became of events and requests so far: events delivered and dropped, requests that were taken or failed."""

    delivered: int = 0
    dropped: int = 0
    taken: int = 0
    failed: int = 0


class OutgoingQueue:
    """The events that wait for the receiver of one webhook, by number, the oldest first; `most` of them."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.waiting: dict[int, OutgoingEvent] = {}
        self.totals = QueueTotals()
        self.last_delivered: OutgoingEvent | None = None
        self.delivered_at: float | None = None
        """When the receiver took something last, in seconds UTC."""
        self.trouble = ""
        """Why the last attempt failed, for a person; empty after one that did not."""
        self.last = 0
        self.dropped_in_trouble = 0
        """Events dropped since the receiver took something last."""

    @property
    def oldest(self) -> float | None:
        """When the event happened that has waited longest, in seconds UTC; None where none waits."""
        return next(iter(self.waiting.values())).at if self.waiting else None


class OutgoingEvents:
    """The queues of the webhooks in use, by name, written into `store`; `most` are the bounds at the start."""

    def __init__(self, store: Store, most: Mapping[str, int]) -> None:
        self.queues: dict[str, OutgoingQueue] = {}
        self.gather: Callable[[], None] = lambda: None
        """Has the latest events come into the queues; the last time when the stop stands in the audit log."""
        self._most = most
        self._store = store

    def restore(self, kept: Iterable[OutgoingEvent]) -> None:
        """Go on with what the last run left for the webhooks in use; the rest is forgotten."""
        self.use(self._most)
        for event in kept:
            if event.hook in self.queues:
                queue = self.queues[event.hook]
                queue.waiting[event.number] = event
                queue.last = event.number
        self._write([rows.end_other_outgoing(tuple(self.queues))])
        for queue in self.queues.values():
            if queue.waiting:
                log.info("webhook %s: %d events wait since the last run", queue.name, len(queue.waiting))
            self._drop(queue)

    def use(self, most: Mapping[str, int]) -> None:
        """Have queues for these webhooks and no others; what waits for one that is gone is dropped."""
        for name in [name for name in self.queues if name not in most]:
            queue = self.queues.pop(name)
            if queue.waiting:
                log.warning("webhook %s is gone: %d events that waited for it are dropped", name, len(queue.waiting))
            self._write([rows.end_outgoing(name, queue.last)])
        for name, bound in most.items():
            queue = self.queues.setdefault(name, OutgoingQueue(name, bound))
            queue.most = bound
            self._drop(queue)

    def add(self, name: str, events: Sequence[tuple[str, float, str, Sequence[tuple[str, str]]]]) -> None:
        """Have events wait: for each its id, when it was (seconds UTC), its JSON, and whose names are in it."""
        queue, added = self.queues[name], []
        for id, at, body, persons in events:
            queue.last += 1
            names = json.dumps([join_names(*person) for person in persons])
            event = OutgoingEvent(name, queue.last, id, at, body, names)
            queue.waiting[event.number] = event
            added.append(rows.put_outgoing(event))
        self._write(added)
        self._drop(queue)

    def missed(self, count: int) -> None:
        """So many events went out of memory before they came into the queues."""
        for queue in self.queues.values():
            queue.totals = queue.totals._replace(dropped=queue.totals.dropped + count)

    def delivered(self, queue: OutgoingQueue, events: Sequence[OutgoingEvent], at: float) -> None:
        """The receiver has taken the oldest events, at an instant in seconds UTC."""
        for event in events:
            queue.waiting.pop(event.number, None)
        totals = queue.totals
        queue.totals = totals._replace(delivered=totals.delivered + len(events), taken=totals.taken + 1)
        queue.last_delivered, queue.delivered_at, queue.trouble = events[-1], at, ""
        if queue.dropped_in_trouble:
            log.warning("webhook %s: %d events have been dropped", queue.name, queue.dropped_in_trouble)
            queue.dropped_in_trouble = 0
        self._write([rows.end_outgoing(queue.name, events[-1].number)])

    def failed(self, queue: OutgoingQueue, why: str) -> None:
        """An attempt to deliver failed."""
        queue.trouble = why
        queue.totals = queue.totals._replace(failed=queue.totals.failed + 1)

    def forget_person(self, names: Sequence[str], home: str) -> None:
        """Drop the events that have one of the names by which an account stands in the past; of the file others do."""
        persons = {join_names(name, home) for name in names}
        for queue in self.queues.values():
            for event in [each for each in queue.waiting.values() if not persons.isdisjoint(json.loads(each.persons))]:
                del queue.waiting[event.number]

    def everything(self) -> Iterator[Statement]:
        """Yield what writes all that waits."""
        for queue in self.queues.values():
            yield from map(rows.put_outgoing, queue.waiting.values())

    def _drop(self, queue: OutgoingQueue) -> None:
        """Drop the oldest events beyond the bound. The log says it once, and how many when events are taken again."""
        beyond = len(queue.waiting) - queue.most
        if beyond <= 0:
            return
        gone = [number for number, _ in zip(queue.waiting, range(beyond), strict=False)]
        for number in gone:
            del queue.waiting[number]
        queue.totals = queue.totals._replace(dropped=queue.totals.dropped + beyond)
        if not queue.dropped_in_trouble:
            log.warning("webhook %s: the oldest events are dropped: %d wait already", queue.name, queue.most)
        queue.dropped_in_trouble += beyond
        self._write([rows.end_outgoing(queue.name, gone[-1])])

    def _write(self, statements: Sequence[Statement]) -> None:
        if statements and self._store.available:  # else everything is written when it is back
            self._store.write(statements)
