"""Intervals of use as rows of the table `hour`, and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from gateway.core.counting.usage import UsageSummary
from gateway.core.reporting.history import UsagePiece
from gateway.edge.storage.store import Statement

PUT_HOUR = "INSERT OR REPLACE INTO hour VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def put_hour(piece: UsagePiece) -> Statement:
    """Write an interval."""
    use = piece.summary
    return Statement(
        PUT_HOUR,
        (
            piece.start, piece.number, piece.model, piece.pool, use.peak, use.limit, use.full_seconds, use.grants,
            use.true_denials, use.granted_after_denial, use.wait_seconds, use.longest_wait_seconds,
            json.dumps(use.releases), json.dumps(use.denials), _packed(use.levels),
        ),
    )  # fmt: skip


def piece_of(row: Sequence[Any]) -> UsagePiece:
    """Return the interval of a row."""
    start, number, model, pool, peak, limit, full, grants, true, seated, waited, longest, releases, denials, levels = (
        row
    )
    use = UsageSummary(
        _unpacked(levels), peak, limit, full, grants, json.loads(releases), json.loads(denials), true, seated, waited,
        longest,
    )  # fmt: skip
    return UsagePiece(start, number, model, pool, use)


def _packed(levels: dict[int, float]) -> bytes:
    """Levels (4 bytes each), then the seconds at each (8 bytes), little-endian."""
    return struct.pack(f"<{len(levels)}I{len(levels)}d", *levels.keys(), *levels.values())


def _unpacked(packed: bytes) -> dict[int, float]:
    number = len(packed) // 12
    found = struct.unpack(f"<{number}I{number}d", packed)
    return dict(zip(found[:number], found[number:], strict=True))
