"""Chains the audit log of an older file anew, with seals in place of names of persons.

Under the hashes of older files stand the names themselves: none could be deleted. So each entry is chained again as it
was, in its order; a last entry tells the number of them and the hash that the last one had, by which a hash that was
noted before is still found, and whether the chain held.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable

import aiosqlite

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import BEGINNING, AuditEntry, ChainBroken, ChainPosition
from gateway.edge.storage.audit_entries import GATEWAY, PUT_ENTRY, PUT_NAME, entry_row, make_key, name_rows

PAGE = 1000
"""Entries that are chained at once."""

log = logging.getLogger("tallygate.store")


async def chain_anew(db: aiosqlite.Connection) -> None:
    """Move the entries of `audit_before` into `audit`, within a transaction that is under way."""
    held, last, broken = BEGINNING, BEGINNING, None
    async with db.execute("SELECT * FROM audit_before ORDER BY seq") as rows:
        while page := [AuditEntry(*row) for row in await rows.fetchmany(PAGE)]:
            try:
                held = audit_chain.verify(page, held)
            except ChainBroken as fault:
                broken, held = broken or fault.seq, ChainPosition(page[-1].seq, page[-1].hash)
            chained = []
            for old in page:
                detail = json.loads(old.detail)
                entry = audit_chain.entry_after(last, old.time, old.actor, old.action, old.subject, detail, make_key)
                chained.append(entry)
                last = ChainPosition(entry.seq, entry.hash)
            await _put(db, chained)
    if last != BEGINNING:
        told = {"entries": last.seq, "hash": held.hash, "broken": broken}
        action = audit_chain.CHAINED_ANEW
        await _put(db, [audit_chain.next_entry(last, time.time(), GATEWAY, action, "", told, make_key)])
        log.info("the audit log was chained anew, with seals in place of names: %d entries", last.seq)
    await db.execute("DROP TABLE audit_before")


async def _put(db: aiosqlite.Connection, entries: Iterable[AuditEntry]) -> None:
    entries = list(entries)
    await db.executemany(PUT_ENTRY, [entry_row(entry) for entry in entries])
    await db.executemany(PUT_NAME, [row for entry in entries for row in name_rows(entry)])
