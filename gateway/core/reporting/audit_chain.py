"""The audit log as a chain of hashes, by which any change of its entries or of their order is found.

Each entry carries the hash of the one before it, and its own over all the rest of it: SHA-256 of its canonical JSON
(keys sorted, no spaces, UTF-8 not escaped), so that anybody can check what the operator port shows with nothing but a
JSON library. An entry that was changed does not have its hash any more; one that was taken out, put in or moved breaks
the sequence. What a chain cannot show is that its end was cut off, or that all of it was written anew: for that, keep
the hash of an entry elsewhere now and then, and ask whether it is still there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

MAX_SUBJECT = 256
"""Characters of a subject or an actor; more are cut off."""
MAX_DETAIL = 4096
"""Characters of a detail as JSON; a longer one is replaced by its hash and its length."""


class ChainPosition(NamedTuple):
    """The last entry of a chain, by its number and hash."""

    seq: int
    hash: str


BEGINNING = ChainPosition(0, "0" * 64)
"""The position before the first entry."""


class AuditEntry(NamedTuple):
    """One entry: `time` is RFC 3339 in UTC, `detail` is canonical JSON of an object, hashes are hex digits."""

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    detail: str
    previous: str
    hash: str


class ChainBroken(Exception):
    """The chain does not hold; `seq` is the first entry that shows it, the text says how."""

    def __init__(self, seq: int, text: str) -> None:
        super().__init__(text)
        self.seq = seq


def next_entry(
    last: ChainPosition, wall: float, actor: str, action: str, subject: str, detail: Mapping[str, Any]
) -> AuditEntry:
    """Return the entry that comes after `last`, at an instant in seconds UTC."""
    text = _plain(canonical_json(detail))
    if len(text) > MAX_DETAIL:
        text = canonical_json({"sha256": hashlib.sha256(text.encode()).hexdigest(), "length": len(text)})
    parts = (last.seq + 1, timestamp(wall), _short(actor), action, _short(subject), text, last.hash)
    return AuditEntry(*parts, entry_hash(*parts))


def entry_hash(seq: int, time: str, actor: str, action: str, subject: str, detail: str, previous: str) -> str:
    """Return the hash that an entry of these parts must have."""
    rest = (
        f'{{"action":{canonical_json(action)},"actor":{canonical_json(actor)},"detail":{detail},"previous":"{previous}",'
        f'"seq":{seq},"subject":{canonical_json(subject)},"time":{canonical_json(time)}}}'
    )
    return hashlib.sha256(rest.encode(errors="surrogatepass")).hexdigest()


def verify(entries: Iterable[AuditEntry], last: ChainPosition = BEGINNING) -> ChainPosition:
    """Verify the part of the chain that begins after `last`, and return where it ends.

    Raises `ChainBroken`.
    """
    for entry in entries:
        if entry.seq != last.seq + 1:
            found = f"entry {entry.seq} stands in its place" if entry.seq > last.seq else f"{entry.seq} comes again"
            raise ChainBroken(last.seq + 1, f"entry {last.seq + 1} is missing, {found}")
        if entry.previous != last.hash:
            raise ChainBroken(entry.seq, f"entry {entry.seq} does not follow the one before it")
        if entry.hash != entry_hash(*entry[:-1]):
            raise ChainBroken(entry.seq, f"entry {entry.seq} was changed")
        last = ChainPosition(entry.seq, entry.hash)
    return last


def entry_to_json(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the operator port shows it."""
    return {**entry._asdict(), "detail": json.loads(entry.detail)}


def entry_from_json(shown: Mapping[str, Any]) -> AuditEntry:
    """Return the entry that `entry_to_json` has shown.

    Raises `KeyError` for what is no entry.
    """
    return AuditEntry(
        **{name: shown[name] for name in AuditEntry._fields} | {"detail": canonical_json(shown["detail"])}
    )


def timestamp(wall: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds; sorted as texts they are in order of time."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def canonical_json(value: object) -> str:
    """Return the canonical JSON text of a value."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _short(text: str) -> str:
    """Return a text cut to a length that cannot fill a disk."""
    return _plain(text[:MAX_SUBJECT])


def _plain(text: str) -> str:
    """Return a text without lone surrogates, which the database does not take."""
    return text.encode(errors="replace").decode()
