"""How long the audit log is kept: what is older goes from its beginning, and the chain holds."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.counting.session import Instant
from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import BEGINNING, AuditEntry, ChainPosition, ChainWalk
from gateway.edge.storage import audit_keeping
from gateway.edge.storage.audit_entries import ENTRIES, entry_of
from gateway.edge.storage.audit_keeping import AuditKeeping
from gateway.edge.storage.audit_log import AuditLog
from gateway.edge.storage.schema import APPLICATION, SCHEMA, SEALED_AUDIT
from gateway.edge.storage.store import Statement, Store

DAY = 86400.0
NOW = 1_800_000_000.0


class Days:
    """An audit log that is written to on many days."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.wall = NOW
        self.log = AuditLog(store, lambda: self.wall)

    async def live(self, days: int, keeping: AuditKeeping) -> None:
        """An entry a day; the clocks go on evenly, and it is looked at what is too old."""
        for _ in range(days):
            self.log.add("ops", "account.added", f"user-{int(self.wall)}")
            await self.log.write()
            for _ in range(3):
                self.wall += DAY / 3
                keeping.poll(Instant(self.wall, self.wall))
                await keeping.close()

    async def entries(self) -> list[AuditEntry]:
        return [entry_of(row) for row in await self.store.read(f"{ENTRIES} ORDER BY seq")]


@pytest.fixture
async def days() -> AsyncIterator[Days]:
    store = Store(":memory:", list, lambda: 0.0)
    await store.open()
    yield Days(store)
    await store.close()


async def verified(days: Days) -> list[AuditEntry]:
    found = await days.entries()
    walk = ChainWalk()
    walk.take(found)
    assert walk.end().seq == days.log.seq
    return found


async def test_nothing_is_forgotten_without_a_time_to_keep(days: Days) -> None:
    await days.live(30, AuditKeeping(days.log, days.store, 0.0))
    assert [each.seq for each in await verified(days)] == list(range(1, 31))


async def test_what_is_too_old_is_forgotten_with_its_names_and_the_chain_holds(days: Days) -> None:
    await days.live(30, AuditKeeping(days.log, days.store, 10 * DAY))
    found = await verified(days)
    oldest = audit_chain.timestamp(days.wall - 12 * DAY)
    assert found[0].seq > 1
    assert all(each.time > oldest for each in found)
    assert any(each.time < audit_chain.timestamp(days.wall - 9 * DAY) for each in found)
    ((first,),) = await days.store.read("SELECT min(seq) FROM audit_name")
    assert first >= found[0].seq
    reopened = AuditLog(days.store, lambda: days.wall)
    await reopened.open()
    assert reopened.seq == days.log.seq


async def test_many_entries_go_in_several_deletions(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_keeping, "MOST", 7)
    for number in range(40):
        days.log.add("ops", "account.added", f"user-{number}")
    await days.log.write()
    await days.live(20, AuditKeeping(days.log, days.store, 5 * DAY))
    assert (await verified(days))[0].seq > 40


async def test_a_clock_that_has_just_been_set_forgets_nothing(days: Days) -> None:
    keeping = AuditKeeping(days.log, days.store, DAY)
    days.log.add("ops", "account.added", "ann")
    await days.log.write()
    for mono, wall in ((0.0, NOW), (4000.0, NOW + 4000), (4001.0, NOW + 900 * DAY), (4500.0, NOW + 900 * DAY + 499)):
        keeping.poll(Instant(mono, wall))
        await keeping.close()
    assert len(await verified(days)) == 1


async def test_the_file_gives_up_no_entry_of_which_none_says_so(days: Days) -> None:
    for number in range(3):
        days.log.add("ops", "account.added", f"user-{number}")
    await days.log.write()
    with pytest.raises(Exception, match="only ever added to"):
        await days.store.file.write([Statement(audit_keeping.FORGET_ENTRIES, (2,))])


# -- files of before ---------------------------------------------------------------------------------------------------


def old_file(path: Path, *, broken: bool = False) -> str:
    """A store of before, whose audit log holds the names themselves; returns the last hash."""
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        for statement in itertools.chain.from_iterable(SCHEMA[: SEALED_AUDIT - 1]):
            old.execute(statement)
        old.execute(f"PRAGMA application_id={APPLICATION}")
        old.execute(f"PRAGMA user_version={SEALED_AUDIT - 1}")
        last = BEGINNING
        for number in range(5):
            parts = (last.seq + 1, audit_chain.timestamp(NOW + number), "ops", "account.added", f"user-{number}", "{}")
            hash = audit_chain.entry_hash(*parts, last.hash)
            changed = (*parts[:2], "eve", *parts[3:]) if broken and number == 2 else parts
            old.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*changed, last.hash, hash))
            last = ChainPosition(parts[0], hash)
    return last.hash


def verify(path: Path, *more: str) -> str:
    """What `tallygate audit verify` says of a file."""
    command = [sys.executable, "-m", "gateway", "audit", "verify", "--store", str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


async def test_the_log_of_an_older_file_is_chained_anew_and_its_last_hash_is_still_found(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    noted = old_file(path)
    assert "5 entries" in verify(path, "--has", noted)
    store = Store(str(path), tuple, lambda: 0.0)
    await store.open()
    found = await Days(store).entries()
    await store.close()
    assert [each.shown[0] for each in found] == [*(f"user-{number}" for number in range(5)), ""]
    assert [each.time for each in found[:5]] == [audit_chain.timestamp(NOW + number) for number in range(5)]
    assert found[5].shown[1] == {"entries": 5, "hash": noted, "broken": None}
    assert all("user" not in each.subject for each in found)
    assert "6 entries" in verify(path, "--has", noted)


async def test_it_is_told_that_the_chain_of_an_older_file_did_not_hold(tmp_path: Path) -> None:
    old_file(tmp_path / "old.db", broken=True)
    store = Store(str(tmp_path / "old.db"), tuple, lambda: 0.0)
    await store.open()
    found = await Days(store).entries()
    await store.close()
    assert found[-1].shown[1]["broken"] == 3
