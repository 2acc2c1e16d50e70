"""Posts the events of one queue to the receiver of its webhook: signed, in order, at most one request a second, and the
same ones again until they are taken (PROTOCOL.md, Webhooks).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import random
import ssl
from itertools import islice
from typing import NamedTuple

import aiohttp

from config.webhook_settings import WebhookSettings
from gateway.core.wire.backoff import Backoff
from gateway.edge.machine import Clock
from gateway.edge.storage.outgoing_events import OutgoingEvents, OutgoingQueue
from gateway.edge.storage.rows import OutgoingEvent

PACE = 1.0
"""Seconds between two requests to a receiver, at least."""
BACKOFF = Backoff(base=2.0, cap=60.0)
"""How long a receiver that has not taken something is left alone."""

log = logging.getLogger("tallygate.webhooks")


class Receiver(NamedTuple):
    """Where a webhook posts to, and what signs it; `tls` None is the trust of this machine."""

    settings: WebhookSettings
    secret: bytes
    tls: ssl.SSLContext | None


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return what the header `Tallygate-Signature` says: HMAC-SHA256 of the timestamp, a dot and the body."""
    return "v1=" + hmac.digest(secret, timestamp.encode() + b"." + body, hashlib.sha256).hex()


class WebhookDelivery:
    """Delivers what waits in a queue of `outgoing`; `clock` says when an attempt is due, and the time it is signed."""

    def __init__(self, receiver: Receiver, queue: OutgoingQueue, outgoing: OutgoingEvents, clock: Clock) -> None:
        self.receiver = receiver
        self.queue = queue
        self._outgoing = outgoing
        self._clock = clock
        self._due = clock.mono()
        self._failures = 0
        self._wake = asyncio.Event()
        self._batch: list[OutgoingEvent] = []
        """What was tried and not taken: the next attempt is with the same."""
        self.task = asyncio.create_task(self._run(), name=f"webhook {queue.name}")
        self.task.add_done_callback(_ended)

    def poll(self) -> None:
        """Called with every tick: make an attempt where one is due."""
        if self.queue.waiting and self._clock.mono() >= self._due:
            self._wake.set()

    async def _run(self) -> None:
        settings = self.receiver.settings
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            connector=aiohttp.TCPConnector(limit=1, ssl=self.receiver.tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "tallygate", "Content-Type": "application/json"},
        ) as session:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self.queue.waiting and self._clock.mono() >= self._due:
                    await self._attempt(session)

    async def _attempt(self, session: aiohttp.ClientSession) -> None:
        waiting = self.queue.waiting
        if not self._batch or any(event.number not in waiting for event in self._batch):
            self._batch = list(islice(waiting.values(), self.receiver.settings.batch))
        batch = self._batch
        why = await self._post(session, batch)
        pause = PACE
        if why:
            self._failures += 1
            pause += BACKOFF.delay(self._failures, random.uniform)
            if not self.queue.trouble:
                log.warning("webhook %s: %s; %d events wait", self.queue.name, why, len(waiting))
            self._outgoing.failed(self.queue, why)
        else:
            if self.queue.trouble:
                log.warning("webhook %s: the receiver takes events again", self.queue.name)
            self._failures, self._batch = 0, []
            self._outgoing.delivered(self.queue, batch, self._clock.wall())
        self._due = self._clock.mono() + pause

    async def _post(self, session: aiohttp.ClientSession, batch: list[OutgoingEvent]) -> str:
        """Return why the receiver has not taken a batch; empty where it has."""
        delivery, name = f"{batch[0].id}.{len(batch)}", self.queue.name
        events = ",".join(event.body for event in batch)
        body = f'{{"delivery":"{delivery}","webhook":"{name}","events":[{events}]}}'.encode()
        timestamp = str(int(self._clock.wall()))
        headers = {
            "Tallygate-Delivery": delivery,
            "Tallygate-Timestamp": timestamp,
            "Tallygate-Signature": signature(self.receiver.secret, timestamp, body),
        }
        try:
            async with session.post(
                self.receiver.settings.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status  # its body is not read: however long it is, it says nothing
        except TimeoutError:
            return f"no answer within {self.receiver.settings.timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            return _words(fault)
        if 300 <= status < 400:
            return f"status {status}: a redirection is not followed"
        return "" if 200 <= status < 300 else f"status {status}"


def _words(fault: Exception) -> str:
    """Return why a request came to nothing, for a person."""
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {getattr(fault.certificate_error, 'verify_message', 'it is none')}"
    if isinstance(fault, aiohttp.ClientConnectorDNSError):
        return "its host cannot be found"
    if isinstance(fault, aiohttp.ClientConnectorError):
        return f"it cannot be reached: {os.strerror(fault.os_error.errno or 0)}"
    return "the connection ended without an answer in HTTP"


def _ended(task: asyncio.Task[None]) -> None:
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        log.critical("%s has failed; its events wait until the next start", task.get_name(), exc_info=fault)
