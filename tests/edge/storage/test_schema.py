"""Files that an older program wrote: what they hold is kept, in the form of today."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from pathlib import Path

from gateway.edge.storage import rows
from gateway.edge.storage.schema import APPLICATION, SCHEMA
from gateway.edge.storage.store import Store


async def test_a_file_of_before_tells_accounts_and_homes_apart_and_keeps_its_bans(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        for statement in itertools.chain.from_iterable(SCHEMA[:3]):
            old.execute(statement)
        old.execute(f"PRAGMA application_id={APPLICATION}")
        old.execute("PRAGMA user_version=3")
        for number, key in enumerate(("ann", "ann/partner.example")):
            row = ("nefsis-named", "hosts", json.dumps(key), "temporary", 1.0, None, 0, number)
            old.execute("INSERT INTO lease VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        for number, who in enumerate(("bob", "bob/partner.example")):
            denial = (number, "epop", "concurrent", 1.0, 1.0, "account", who, "pool_full", 1, 1, 0, None)
            old.execute("INSERT INTO denial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", denial)
        for subject in ("cid", "cid/partner.example", "192.0.2.7", "2001:db8::1"):
            old.execute("INSERT INTO ban VALUES (?, ?)", (subject, 9e9))
    store = Store(str(path), lambda: (), lambda: 0.0)
    await store.open()
    assert [each.key for each in await rows.read_leases(store)] == ["ann", ("ann", "partner.example")]
    assert await store.read("SELECT who, home FROM denial") == [("bob", ""), ("bob", "partner.example")]
    assert {each.subject for each in await rows.read_bans(store, 0.0)} == {
        ("account", "cid", ""),
        ("account", "cid", "partner.example"),
        ("guests", "192.0.2.7", ""),
        ("guests", "2001:db8::1", ""),
    }
    await store.close()
