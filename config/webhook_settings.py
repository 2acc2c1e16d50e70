"""The webhooks in the configuration: tables of `[[webhook]]`, and what is wrong between their keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from config.values import Choice, FilePath, NameOrNone, Table, WebhookUrl, quote
from gateway.core.addresses import is_loopback
from gateway.core.event_kinds import KINDS
from gateway.core.setting_kinds import Duration, Range, setting

MOST_WEBHOOKS = 8
"""Webhooks at most: each has a socket, and a queue in memory and on the disk."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A table `[[webhook]]`: a receiver to which events are posted."""

    url: WebhookUrl = setting("", help="Where events are posted to, over https; its certificate is verified.")
    secret_file: FilePath = setting(
        "", help="File with the secret of 32 characters or more that signs what is posted; others may not read it."
    )
    events: tuple[Annotated[str, Choice(KINDS)], ...] = setting(
        (), help="The kinds of events that are posted; none given: all."
    )
    name: NameOrNone = setting("", help="Name of the webhook; without one, its position among all of them, from 1.")
    ca: FilePath = setting("", help="File with the authorities to trust (PEM), in place of those of this machine.")
    timeout: Annotated[float, Duration(low=0.1, high=60.0)] = setting(
        10.0, help="Time in which the receiver must answer."
    )
    batch: Annotated[int, Range(1, 1000)] = setting(
        100, help="Events in one request at most; there is one request a second."
    )
    queue: Annotated[int, Range(1, 1_000_000)] = setting(
        50_000, help="Events that wait for the receiver at most; beyond, the oldest are dropped, and counted."
    )


WEBHOOKS_HELP = (
    "Receivers to which events are posted, signed, and again until they are taken; each is a table `[[webhook]]` with "
    "these keys (PROTOCOL.md, Webhooks)."
)
WebhookTables = tuple[Annotated[WebhookSettings, Table()], ...]


def webhook_names(hooks: Sequence[WebhookSettings]) -> list[str]:
    """Return the names of webhooks, their own or their place."""
    return [hook.name or str(place) for place, hook in enumerate(hooks, 1)]


def queue_bounds(hooks: Sequence[WebhookSettings]) -> dict[str, int]:
    """Return how many events may wait for each webhook, by its name."""
    return {name: hook.queue for name, hook in zip(webhook_names(hooks), hooks, strict=True)}


def webhook_flaws(hooks: Sequence[WebhookSettings]) -> Iterator[str]:
    """Yield what is wrong with webhooks."""
    first: dict[str, int] = {}
    for place, (hook, name) in enumerate(zip(hooks, webhook_names(hooks), strict=True), 1):
        if first.setdefault(name, place) != place:
            yield f"item {place}: {quote(name)} is the name of item {first[name]}"
        for field in ("url", "secret_file"):
            if not getattr(hook, field):
                yield f"item {place}: {field} is missing"
        if hook.ca and hook.url.startswith("http:"):
            yield f"item {place}: ca has no effect without https"
    if len(hooks) > MOST_WEBHOOKS:
        yield f"there are {len(hooks)}, of {MOST_WEBHOOKS} at most"


def readable(hooks: Sequence[WebhookSettings]) -> Iterator[str]:
    """Yield which webhooks send what others on the way can read."""
    for place, hook in enumerate(hooks, 1):
        url = urlsplit(hook.url)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield f"item {place}: others on the way to {url.hostname} can read what is sent: use https"
