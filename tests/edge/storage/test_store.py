"""The store: what was committed stays, whatever the disk does; what was not is said to be so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gateway.edge.storage import store as module
from gateway.edge.storage import store_file
from gateway.edge.storage.schema import APPLICATION, SCHEMA
from gateway.edge.storage.store import MEMORY, Statement, Store, StoreRefused, StoreUnavailable
from tests.conftest import until
from tests.edge.mounts import fill, immutable, remount, tmpfs
from tests.edge.storage.kept import PUT, Kept, Open, names, put, rows
from tests.programs import missing
from tests.wire_client import PATIENCE


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Another connection holds the write lock inside the block."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def commits(store: Store) -> int:
    return sum(store.commits.counts)


# -- commits ---------------------------------------------------------------------------------------------------------


async def test_what_was_written_is_in_the_file_when_it_is_said_to_be(opened: Open) -> None:
    kept = await opened()
    await kept.write("a", 1)
    assert rows(kept.store.path) == {"a": "1"}


async def test_the_file_is_synced_at_every_commit(opened: Open) -> None:
    kept = await opened()
    assert kept.store.file.db is not None
    assert await store_file._value(kept.store.file.db, "PRAGMA synchronous") == 2
    assert await store_file._value(kept.store.file.db, "PRAGMA journal_mode") == "wal"


async def test_all_who_wait_share_one_commit_and_the_next_one_gathers_meanwhile(opened: Open) -> None:
    kept = await opened()
    first = [kept.write(f"first-{number}") for number in range(100)]
    assert kept.store.pending == 100
    await until(lambda: not kept.store._waiting)
    second = [kept.write(f"second-{number}") for number in range(50)]
    assert kept.store.pending == 150
    await asyncio.gather(*first, *second)
    assert commits(kept.store) == 2
    assert kept.store.pending == 0
    assert len(rows(kept.store.path)) == 150


async def test_writes_take_effect_in_their_order_within_a_commit_and_over_commits(opened: Open) -> None:
    kept = await opened()
    end = Statement("DELETE FROM meta WHERE name = ?", ("b",))
    for number in range(5):
        kept.write("a", number)
    for statement in (put("b"), end, put("b", "again"), put("c"), end):
        kept.store.write([statement])
    await until(lambda: not kept.store._waiting)
    await kept.write("a", "last")
    assert rows(kept.store.path) == {"a": "last", "c": ""}


async def test_a_transaction_is_whole_or_not_at_all(opened: Open) -> None:
    kept = await opened()
    broken = kept.store.write([put("half"), Statement(PUT, ("nothing", None))])
    with pytest.raises(StoreUnavailable, match="NOT NULL"):
        await broken
    await kept.recovered()
    await kept.write("after")
    assert rows(kept.store.path) == {"after": ""}


async def test_a_waiter_that_gives_up_loses_nothing(opened: Open) -> None:
    kept = await opened()
    given_up, other = kept.write("given up"), kept.write("other")
    given_up.cancel()
    await other
    assert set(rows(kept.store.path)) == {"given up", "other"}


async def test_nobody_need_wait_for_a_write_even_one_that_fails(opened: Open) -> None:
    kept = await opened()
    with locked(kept.store.path):
        kept.write("a")
        await until(lambda: not kept.store.available)
    await kept.recovered()


async def test_a_bug_that_ends_the_writer_is_said_and_nobody_waits_for_it_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(str(tmp_path / "store.db"), 0.0)
    await kept.store.open()
    kept.store.write([Statement(PUT, ("a", 2**70))])
    await until(lambda: "the store's writer has failed" in caplog.text)
    with pytest.raises(StoreUnavailable):
        await kept.write("b")
    with pytest.raises(OverflowError):
        await kept.store.close()


async def test_closing_writes_what_waits(opened: Open) -> None:
    kept = await opened()
    waiting = [kept.write(str(number)) for number in range(10)]
    await kept.store.close()
    assert all(each.done() and each.exception() is None for each in waiting)
    assert len(rows(kept.store.path)) == 10
    await kept.store.close()
    with pytest.raises(StoreUnavailable):
        await kept.store.write([put("late")])
    with pytest.raises(StoreUnavailable):
        await kept.store.read("SELECT 1")


async def test_closing_that_was_given_up_can_be_done_again(opened: Open) -> None:
    kept = await opened()
    waiting = kept.write("a")
    closing = asyncio.ensure_future(kept.store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    await kept.store.close()
    assert waiting.exception() is None
    assert rows(kept.store.path) == {"a": ""}


async def test_closing_an_unavailable_store_tries_once_more(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 60.0)
    kept = await opened()
    with locked(kept.store.path), pytest.raises(StoreUnavailable):
        await kept.write("a")
    await kept.store.close()
    assert rows(kept.store.path) == {"a": ""}


async def test_a_store_in_memory_is_like_any_other_but_leaves_nothing(opened: Open) -> None:
    kept, other = await opened(MEMORY), await opened(MEMORY)
    await kept.write("a")
    assert await kept.names() == {"a"}
    assert await other.names() == set()
    assert not names(Path()) & {MEMORY, f"{MEMORY}.lock"}


async def test_a_backup_is_the_file_as_it_was_committed(opened: Open, tmp_path: Path) -> None:
    kept = await opened()
    await kept.write("a")
    db = kept.store.file.db
    assert db is not None
    await db.execute("BEGIN IMMEDIATE")
    await db.execute(PUT, ("not committed", ""))
    await kept.store.backup(str(tmp_path / "copy.db"))
    await db.execute("ROLLBACK")
    assert rows(tmp_path / "copy.db") == {"a": ""}
    with pytest.raises(StoreUnavailable):
        await kept.store.backup(str(tmp_path / "no" / "copy.db"))


@contextlib.asynccontextmanager
async def mid_transaction(kept: Kept, name: str) -> AsyncIterator[None]:
    """A commit of `name` is under way inside the block, and gets no further before its end."""
    begun, go_on = threading.Event(), threading.Event()

    def pause() -> str:
        begun.set()
        go_on.wait(PATIENCE)
        return ""

    assert kept.store.file.db is not None
    await kept.store.file.db.create_function("pause", 0, pause)
    kept.memory[name] = ""
    committed = kept.store.write([Statement("INSERT INTO meta VALUES (?, pause())", (name,))])
    await until(begun.is_set)
    try:
        yield
    finally:
        go_on.set()
    await committed


async def test_a_backup_and_a_query_do_not_wait_for_a_commit_to_a_file(opened: Open, tmp_path: Path) -> None:
    kept = await opened()
    await kept.write("before")
    async with mid_transaction(kept, "during"):
        await kept.store.backup(str(tmp_path / "copy.db"))
        assert await kept.names() == {"before"}
    assert rows(tmp_path / "copy.db").keys() == {"before"}


async def test_in_memory_a_backup_and_a_query_take_their_turn_after_the_commit_under_way(
    opened: Open, tmp_path: Path
) -> None:
    kept = await opened(MEMORY)
    await kept.write("before")
    async with mid_transaction(kept, "during"):
        names = asyncio.ensure_future(kept.names())
        backup = asyncio.ensure_future(kept.store.backup(str(tmp_path / "copy.db")))
        await until(lambda: len(kept.store.file.write_lock._waiters or ()) == 2)
    await backup
    assert await names == {"before", "during"}
    assert rows(tmp_path / "copy.db").keys() == {"before", "during"}
    await kept.write("after")


# -- the file at the start -------------------------------------------------------------------------------------------


async def test_a_second_gateway_on_the_file_is_refused(opened: Open, tmp_path: Path) -> None:
    kept = await opened()
    (tmp_path / "link.db").symlink_to(kept.store.path)
    for path in (kept.store.path, str(tmp_path / "link.db")):
        with pytest.raises(StoreRefused, match="another gateway holds it"):
            await opened(path)
    await kept.store.close()
    await opened()


async def test_a_file_of_a_newer_program_is_refused_and_left_alone(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version={len(SCHEMA) + 1}")
        newer.execute(f"PRAGMA application_id={APPLICATION}")
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match=f"schema {len(SCHEMA) + 1} is newer than this program's {len(SCHEMA)}"):
        await opened()
    assert path.read_bytes() == before
    assert names(tmp_path) == {"store.db", "store.db.lock"}


async def test_a_new_file_is_for_its_owner_alone_and_an_old_one_keeps_its_mode(opened: Open, tmp_path: Path) -> None:
    def modes() -> dict[str, int]:
        files = (each for each in tmp_path.iterdir() if each.suffix != ".lock")
        return {each.name: each.stat().st_mode & 0o777 for each in files}

    kept = await opened()
    await kept.write("a")
    assert modes() == dict.fromkeys(("store.db", "store.db-shm", "store.db-wal"), 0o600)
    await kept.store.close()
    (tmp_path / "store.db").chmod(0o640)
    again = await opened()
    assert modes()["store.db"] == 0o640
    await again.store.close()
    (tmp_path / "store.db").write_bytes(b"damaged" * 200)
    await opened()
    assert (modes()["store.db"], modes()["store.db.damaged-1"]) == (0o600, 0o640)


async def test_a_file_without_a_schema_gets_it(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    kept = await opened()
    assert await kept.store.read("PRAGMA user_version") == [(len(SCHEMA),)]


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipe (name TEXT)")


def garbage(path: Path) -> None:
    path.write_bytes(b"tallygate " * 1000)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flipped(path: Path) -> None:
    """One byte in the header of the page that holds the rows of `meta`."""
    found = bytearray(path.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as db:
        ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'meta'").fetchall()
        ((size,),) = db.execute("PRAGMA page_size").fetchall()
    found[(page - 1) * size] ^= 0xFF
    path.write_bytes(found)


@pytest.mark.parametrize("harm", [foreign, garbage, torn, flipped])
async def test_a_file_that_is_damaged_or_not_ours_is_set_aside_and_a_new_one_begun(
    harm: Callable[[Path], None], opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    if harm is not foreign:
        before = await opened()
        await before.write("a")
        await before.store.close()
    for number in (1, 2):
        harm(path)
        harmed = path.read_bytes()
        kept = await opened()
        assert await kept.names() == set()
        await kept.write("new")
        await kept.store.close()
        assert (tmp_path / f"store.db.damaged-{number}").read_bytes() == harmed
        (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert str(path) in said
        assert f"store.db.damaged-{number}" in said
        caplog.clear()
        if harm is foreign:
            path.unlink()


async def test_the_journal_of_a_damaged_file_goes_with_it(opened: Open, tmp_path: Path) -> None:
    garbage(tmp_path / "store.db")
    (tmp_path / "store.db-wal").write_bytes(b"journal")
    kept = await opened()
    assert (tmp_path / "store.db.damaged-1-wal").read_bytes() == b"journal"
    assert await kept.names() == set()


@pytest.mark.parametrize(("path", "why"), [("no/store.db", "No such file"), (".", "Is a directory")])
async def test_a_place_where_no_file_can_be_is_refused(path: str, why: str, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match=why):
        await opened(str(tmp_path / path))


async def test_a_file_that_somebody_writes_to_is_refused(opened: Open) -> None:
    kept = await opened()
    await kept.store.close()
    with locked(kept.store.path), pytest.raises(StoreRefused, match="locked"):
        await opened()


async def test_a_read_only_disk_is_refused_and_nothing_on_it_is_set_aside(opened: Open, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        kept = await opened(str(disk / "store.db"))
        await kept.write("a")
        await kept.store.close()
        remount(disk, "ro")
        with pytest.raises(StoreRefused, match="Read-only file system"):
            await opened(str(disk / "store.db"))
        remount(disk, "rw")
        kept = await opened(str(disk / "store.db"))
        assert await kept.names() == {"a"}
        await kept.store.close()


async def test_a_full_disk_is_refused_and_nothing_on_it_is_set_aside(opened: Open, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(StoreRefused, match=r"full|No space|disk I/O"):
            await opened(str(disk / "store.db"))
        assert not list(disk.glob("*damaged*"))


# -- failure and recovery --------------------------------------------------------------------------------------------


async def test_somebody_elses_lock_is_waited_out(opened: Open) -> None:
    kept = await opened(patience=PATIENCE)
    with locked(kept.store.path):
        waiting = kept.write("a")
        await until(lambda: not kept.store._waiting)
    await waiting
    assert kept.store.available
    assert kept.store.errors == 0


async def test_a_lock_that_stays_fails_who_waits_and_refuses_the_others_at_once(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await opened()
    await kept.write("before")
    with locked(kept.store.path):
        first = kept.write("first")
        await until(lambda: not kept.store._waiting)
        second = kept.write("second")
        for waiting in (first, second):
            with pytest.raises(StoreUnavailable):
                await waiting
        assert not kept.store.available
        await until(lambda: kept.store.errors > 3)
        assert set(rows(kept.store.path)) == {"before"}
        assert await kept.names() == {"before"}
    await kept.recovered()
    assert set(rows(kept.store.path)) == {"before", "first", "second"}
    await kept.write("after")
    said = [record.getMessage() for record in caplog.records if record.name == "tallygate.store"]
    assert said == ["the store is unavailable: database is locked", "the store is available again"]


async def test_after_a_failure_the_file_becomes_what_memory_is(opened: Open) -> None:
    kept = await opened()
    await asyncio.gather(kept.write("stays"), kept.write("goes"), kept.write("changes", 1))
    with locked(kept.store.path):
        with pytest.raises(StoreUnavailable):
            await kept.write("comes")
        del kept.memory["goes"]
        kept.memory["changes"] = "2"
    await kept.recovered()
    assert rows(kept.store.path) == {"stays": "", "changes": "2", "comes": ""}


async def test_what_is_written_while_memory_is_written_again_comes_after_it(opened: Open) -> None:
    kept = await opened(patience=PATIENCE)
    with locked(kept.store.path):
        kept.store.mistrust("a test")
        await until(lambda: kept.store._rewriting)
        kept.memory["a"] = "after the copy of memory"
        written = kept.store.write([put("a", kept.memory["a"])])
        assert not written.done()
    await written
    assert rows(kept.store.path) == kept.memory


async def test_what_is_undone_when_a_commit_fails_is_not_in_the_file_after_it(opened: Open) -> None:
    kept = await opened()

    def undo(_: object) -> None:
        del kept.memory["granted"]
        kept.store.write([Statement("DELETE FROM meta WHERE name = 'granted'")])

    with locked(kept.store.path):
        granted = kept.write("granted")
        granted.add_done_callback(undo)
        await until(granted.done)
    await kept.recovered()
    await kept.write("after")
    assert rows(kept.store.path) == {"after": ""}


async def test_a_store_that_is_mistrusted_refuses_at_once_and_writes_all_of_memory(opened: Open) -> None:
    kept = await opened(patience=PATIENCE)
    with locked(kept.store.path):
        late = kept.write("a", "as it was")
        await until(lambda: not kept.store._waiting)
        kept.memory["a"] = "as it is"
        kept.store.mistrust("it has not answered")
        refused = kept.write("b")
        assert isinstance(refused.exception(), StoreUnavailable), "at once"
        assert not late.done()
    await kept.recovered()
    assert late.exception() is None
    assert rows(kept.store.path) == {"a": "as it is", "b": ""}
    assert kept.store.errors == 1


async def test_mistrust_while_memory_is_written_writes_it_once_more(opened: Open) -> None:
    kept = await opened(patience=PATIENCE)
    with locked(kept.store.path):
        kept.store.mistrust("once")
        await until(lambda: kept.store._rewriting)
        kept.memory["a"] = ""
        kept.store.mistrust("twice")
        refused = kept.write("b")
        assert isinstance(refused.exception(), StoreUnavailable), "at once"
    await kept.recovered()
    assert rows(kept.store.path) == {"a": "", "b": ""}


async def test_a_full_disk_is_unavailable_until_there_is_room(opened: Open, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        kept = await opened(str(disk / "store.db"))
        await kept.write("before")
        ballast = fill(disk)
        with pytest.raises(StoreUnavailable, match=r"full|disk I/O"):
            await kept.write("large", "x" * 20000)
        kept.memory["large"] = "small"
        assert await kept.names() == {"before"}
        ballast.unlink()
        await kept.recovered()
        assert rows(kept.store.path) == {"before": "", "large": "small"}
        await kept.store.close()


async def test_files_that_may_not_be_written_to_are_unavailable_until_they_may(opened: Open, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("making a file immutable needs root")
    kept = await opened()
    await kept.write("before")
    with immutable(*(tmp_path / f"store.db{suffix}" for suffix in ("", "-wal"))):
        with pytest.raises(StoreUnavailable):
            await kept.write("during")
        await until(lambda: kept.store.errors > 2)
    await kept.recovered()
    assert rows(kept.store.path) == {"before": "", "during": ""}
