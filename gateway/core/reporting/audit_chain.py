"""The audit log as a chain of hashes, by which any change of its entries or of their order is found.

Each entry carries the hash of the one before it, and its own over all the rest of it: SHA-256 of its canonical JSON
(keys sorted, no spaces, UTF-8 not escaped), so that anybody can check what the operator port shows with nothing but a
JSON library. An entry that was changed does not have its hash any more; one that was taken out, put in or moved breaks
the sequence. What a chain cannot show is that its end was cut off, or that all of it was written anew: for that, keep
the hash of an entry elsewhere now and then, and ask whether it is still there.

Names of persons stand beside an entry, and under its hash a seal of each (`gateway.core.reporting.audit_names`): a name
can be deleted, and the chain holds. Entries that are too old may be forgotten from the beginning on; an entry of those
that are left says so, with the number and the hash of the last one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.core.reporting.audit_names import WITH_NAMES, SealedName, Sealing, unsealed

FORGOTTEN = "audit.forgotten"
"""The action of the entry that says that the entries `through` one of a `hash` were forgotten."""
CHAINED_ANEW = "audit.chained_anew"
"""The action of the entry that says which `hash` the last entry had before all were chained anew, with seals."""
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
    """One entry: `time` is RFC 3339 in UTC, `detail` is canonical JSON of an object, hashes are hex digits.

    `subject` and `detail` have seals in place of names of persons; `names` are those that were not deleted.
    """

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    detail: str
    previous: str
    hash: str
    names: tuple[SealedName, ...] = ()

    @property
    def shown(self) -> tuple[str, dict[str, Any]]:
        """The subject and the detail, with names."""
        names = {each.seal: each.text for each in self.names}
        return unsealed(self.subject, names), unsealed(json.loads(self.detail), names)


class ChainBroken(Exception):
    """The chain does not hold; `seq` is the first entry that shows it, the text says how."""

    def __init__(self, seq: int, text: str) -> None:
        super().__init__(text)
        self.seq = seq


def next_entry(
    last: ChainPosition,
    wall: float,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    make_key: Callable[[], bytes],
) -> AuditEntry:
    """Return the entry that comes after `last`, at an instant in seconds UTC; `make_key` draws keys for its names."""
    return entry_after(last, timestamp(wall), actor, action, subject, detail, make_key)


def entry_after(
    last: ChainPosition,
    time: str,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    make_key: Callable[[], bytes],
) -> AuditEntry:
    """Return the entry that comes after `last`, at a time in RFC 3339."""
    text = _plain(canonical_json(detail))
    if len(text) > MAX_DETAIL:
        # Who knows all names of a long list but one could find that one by the hash.
        told = {} if action in WITH_NAMES else {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        detail = {**told, "length": len(text)}
    sealing = Sealing(make_key)
    subject, detail = sealing.entry(action, _short(subject), detail)
    parts = (last.seq + 1, time, _short(actor), action, subject, _plain(canonical_json(detail)), last.hash)
    return AuditEntry(*parts, entry_hash(*parts), sealing.names)


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
        if entry.hash != entry_hash(*entry[:7]) or not all(each.holds for each in entry.names):
            raise ChainBroken(entry.seq, f"entry {entry.seq} was changed")
        last = ChainPosition(entry.seq, entry.hash)
    return last


class ChainWalk:
    """Verifies a whole chain part by part: from its first entry on, or from where the entries before were forgotten."""

    def __init__(self) -> None:
        self.last = BEGINNING
        self.first = 1
        """The number of the first entry that was not forgotten."""
        self._begins_after: ChainPosition | None = None
        """After which entry the chain begins that nobody has said yet to be the last that was forgotten."""

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """Verify the next entries.

        Raises `ChainBroken`.
        """
        if self.last == BEGINNING and entries and entries[0].seq > 1:
            self.first = entries[0].seq
            self.last = self._begins_after = ChainPosition(self.first - 1, entries[0].previous)
        self.last = verify(entries, self.last)
        for entry in entries if self._begins_after is not None else ():
            if entry.action == FORGOTTEN and forgotten_through(entry) == self._begins_after:
                self._begins_after = None
                break

    def end(self) -> ChainPosition:
        """Return where the chain ends.

        Raises `ChainBroken` where the entries that are missing at the beginning were not forgotten by the gateway.
        """
        if self._begins_after is not None:
            through = self._begins_after.seq
            raise ChainBroken(1, f"entry 1 is missing, and no entry says that those through {through} were forgotten")
        return self.last


def forgotten_through(entry: AuditEntry) -> ChainPosition:
    """Return the last entry that was forgotten, as an entry `FORGOTTEN` says."""
    detail = json.loads(entry.detail)
    return ChainPosition(detail.get("through", 0), detail.get("hash", ""))


def entry_to_json(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the operator port shows it: with its names, and `sealed` as the hash is over it."""
    subject, detail = entry.shown
    whole, shown = json.loads(entry.detail), entry._asdict() | {"subject": subject, "detail": detail}
    del shown["names"]
    if (subject, detail) == (entry.subject, whole):
        return shown
    names = {each.seal: {"key": each.key, "text": each.text} for each in entry.names}
    return {**shown, "sealed": {"subject": entry.subject, "detail": whole}, "names": names}


def entry_from_json(shown: Mapping[str, Any]) -> AuditEntry:
    """Return the entry that `entry_to_json` has shown; it does not say whose its names are.

    Raises `KeyError` for what is no entry.
    """
    sealed = shown.get("sealed", shown)
    parts = {name: shown[name] for name in ("seq", "time", "actor", "action", "previous", "hash")}
    names = tuple(SealedName(seal, each["key"], each["text"], "", "") for seal, each in shown.get("names", {}).items())
    return AuditEntry(**parts, subject=sealed["subject"], detail=canonical_json(sealed["detail"]), names=names)


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
