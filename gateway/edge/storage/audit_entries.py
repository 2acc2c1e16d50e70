"""Entries of the audit log as rows of the store, and back: the entry in `audit`, each of its names in `audit_name`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.reporting.audit_chain import AuditEntry
from gateway.core.reporting.audit_names import KEY_BYTES, SealedName

GATEWAY = "gateway"
"""The actor of what the gateway does by itself."""
ENTRIES = """SELECT seq, time, actor, action, subject, detail, previous, hash,
    (SELECT json_group_array(json_array(seal, key, text, account, home))
     FROM audit_name WHERE audit_name.seq = audit.seq) FROM audit"""
"""All of an entry, with its names as JSON."""
ENTRIES_BEFORE_SEALS = "SELECT *, '[]' FROM audit"
"""The same of a file of before, whose entries hold the names themselves."""
PUT_ENTRY = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_NAME = "INSERT OR IGNORE INTO audit_name VALUES (?, ?, ?, ?, ?, ?)"


def entry_row(entry: AuditEntry) -> tuple[Any, ...]:
    """Return the values of `PUT_ENTRY`."""
    return tuple(entry[:8])


def name_rows(entry: AuditEntry) -> Iterator[tuple[Any, ...]]:
    """Yield the values of `PUT_NAME` for each name of an entry."""
    return ((entry.seq, *each) for each in entry.names)


def entry_of(row: Sequence[Any]) -> AuditEntry:
    """Return the entry of a row of `ENTRIES`."""
    seq, time, actor, action, subject, detail, previous, hash, names = row
    found = tuple(SealedName(*each) for each in json.loads(names))
    return AuditEntry(seq, time, actor, action, subject, detail, previous, hash, found)


def make_key() -> bytes:
    """Draw the key of a name."""
    return secrets.token_bytes(KEY_BYTES)
