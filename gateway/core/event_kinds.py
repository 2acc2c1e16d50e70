"""The kinds of events: what the name of an event begins with, up to its first dot (PROTOCOL.md, Events)."""

from __future__ import annotations

KINDS = (
    "granted", "denied", "released", "refused", "queue", "lease", "full", "threshold", "registration", "act", "gateway",
)  # fmt: skip


def kind_of(name: str) -> str:
    """Return the kind of an event by its name."""
    return name.partition(".")[0]
