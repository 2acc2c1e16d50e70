"""The file of a store where it stands: taken away, replaced, copied back; nothing is told that is not in it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.edge.storage import store as module
from gateway.edge.storage import store_connections
from gateway.edge.storage.store import MEMORY, StoreRefused, StoreUnavailable
from gateway.edge.storage.store_file import FileIdentity
from tests.conftest import until
from tests.edge.mounts import tmpfs
from tests.edge.storage.kept import Kept, Open, names, put, rows
from tests.edge.storage.test_store_lock import held_elsewhere


def remove(path: Path) -> None:
    """Remove the file and its journal."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def remove_all(path: Path) -> None:
    remove(path)
    Path(f"{path}.lock").unlink()


def remove_file(path: Path) -> None:
    path.unlink()


def remove_journal(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def remove_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def move(path: Path) -> None:
    path.rename(f"{path}.moved")


def replace(path: Path) -> None:
    shutil.copyfile(path, f"{path}.copy")
    os.replace(f"{path}.copy", path)


def replace_folder(path: Path) -> None:
    path.parent.rename(f"{path.parent}.moved")
    path.parent.mkdir()


WAYS = [remove, remove_all, remove_file, remove_journal, remove_index, move, replace, replace_folder]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "store.db"


async def made_again(kept: Kept, before: tuple[int, int]) -> None:
    """Wait until the store is available, in a file that stands in its place and is not the one before."""

    def done() -> bool:
        open_file = kept.store.file._identity[0]
        with contextlib.suppress(FileNotFoundError):
            return kept.store.available and open_file != before and open_file == inode(kept.store.path)
        return False

    await until(done)


def content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def spoil(path: Path) -> None:
    """Leave nothing of a store in the file and its journal, which stay what they are."""
    Path(f"{path}-wal").write_bytes(b"")
    path.write_bytes(b"nothing of a store" * 500)


def come_back(folder: Path) -> None:
    Path(f"{folder}.moved").rename(folder)


def inode(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


@pytest.mark.parametrize("take", WAYS)
async def test_what_is_written_after_the_file_is_gone_fails_and_the_file_is_made_again(
    take: Callable[[Path], None], place: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 60.0)
    kept = await opened(str(place))
    await kept.write("before")
    old = inode(place)
    take(place)
    with pytest.raises(StoreUnavailable, match="was taken away or replaced"):
        await kept.write("after")
    assert not kept.store.available
    await kept.recovered()
    await kept.write("later")
    assert inode(place) != old
    await kept.store.close()
    again = await opened(str(place))
    assert await again.names() == {"before", "after", "later"}


@pytest.mark.parametrize("take", WAYS)
async def test_a_file_that_is_gone_is_noticed_where_nothing_is_written(
    take: Callable[[Path], None], place: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await opened(str(place))
    await kept.write("before")
    old = inode(place)
    take(place)
    await made_again(kept, old)
    assert rows(place) == {"before": ""}
    said = [record.getMessage() for record in caplog.records if record.name == "tallygate.store"]
    assert f"the store is unavailable: {place} or its journal was taken away or replaced" in said
    assert said[-2:] == [f"{place} was made again", "the store is available again"]


async def test_what_memory_does_not_have_is_made_again_from_the_file_that_is_gone(place: Path, opened: Open) -> None:
    kept = await opened(str(place))
    await kept.store.write([*(put(str(number)) for number in range(100)), *audit(3)])
    old = inode(place)
    remove(place)
    await made_again(kept, old)
    assert rows(place) == {}
    assert await kept.store.read("SELECT seq FROM audit") == [(1,), (2,), (3,)]


def audit(number: int) -> list[module.Statement]:
    entry = "INSERT INTO audit VALUES (?, '', '', '', '', '', '', '')"
    return [module.Statement(entry, (seq + 1,)) for seq in range(number)]


async def test_a_file_that_can_neither_be_found_nor_read_is_made_again_from_memory(
    place: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await opened(str(place))
    await kept.write("before")
    await kept.store.close()
    kept = await opened(str(place))
    await kept.write("after")
    kept.memory["before"] = ""
    spoil(place)
    old = inode(place)
    move(place)
    await made_again(kept, old)
    assert rows(place) == {"before": "", "after": ""}
    assert "cannot be read any more" in caplog.text


async def test_the_store_waits_for_a_folder_that_is_gone(place: Path, opened: Open) -> None:
    kept = await opened(str(place))
    await kept.write("before")
    place.parent.rename(f"{place.parent}.moved")
    with pytest.raises(StoreUnavailable):
        await kept.write("after")
    await until(lambda: kept.store.errors > 3)
    assert not kept.store.available
    come_back(place.parent)
    await kept.recovered()
    assert rows(place) == {"before": "", "after": ""}
    assert names(place.parent) == {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"}


async def test_a_disk_that_is_mounted_over_the_file_gets_one_of_its_own(place: Path, opened: Open) -> None:
    kept = await opened(str(place))
    await kept.write("before")
    old = inode(place)
    place.parent.rename(place.parent.with_name("kept"))
    with tmpfs(place.parent):
        await made_again(kept, old)
        await kept.write("after")
        assert rows(place) == {"before": "", "after": ""}
        await kept.store.close()


async def test_what_stands_in_the_place_of_the_file_is_set_aside(
    place: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await opened(str(place))
    await kept.write("a")
    (place.parent / "new").write_bytes(b"of somebody else")
    os.replace(place.parent / "new", place)
    await made_again(kept, inode(place))
    assert content(f"{place}.other-1") == b"of somebody else"
    assert f"{place}.other-1" in caplog.text
    assert rows(place) == {"a": ""}


async def test_a_file_that_another_gateway_began_in_its_place_is_left_to_it(place: Path, opened: Open) -> None:
    kept = await opened(str(place))
    await kept.write("a")
    remove_all(place)
    with held_elsewhere(place):
        held = inode(place)
        await until(lambda: kept.store.errors > 3)
        assert inode(place) == held
        assert not kept.store.available
    await made_again(kept, held)


async def test_a_store_behind_a_link_is_made_again_where_it_was(place: Path, opened: Open, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(place)
    kept = await opened(str(tmp_path / "link.db"))
    await kept.write("a")
    old = inode(place)
    remove(place)
    await made_again(kept, old)
    assert (tmp_path / "link.db").is_symlink()
    assert rows(place) == {"a": ""}


async def test_a_path_that_is_relative_means_the_same_file_wherever_the_process_goes(
    place: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place.parent)
    kept = await opened("store.db")
    await kept.write("a")
    monkeypatch.chdir(tmp_path)
    await kept.store.file.look()
    await kept.write("b")
    assert rows(place) == {"a": "", "b": ""}


async def test_a_store_that_is_held_can_be_opened_later_by_who_holds_it(place: Path) -> None:
    kept = Kept(str(place), 0.0)
    await kept.store.hold()
    with pytest.raises(StoreRefused, match="another gateway holds it"):
        await Kept(str(place), 0.0).store.hold()
    await kept.store.open()
    await kept.write("a")
    await kept.store.close()
    assert rows(place) == {"a": ""}


async def test_transactions_that_follow_each_other_share_a_look(
    place: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 60.0)
    monkeypatch.setattr(store_connections, "LOOKS_APART", 60.0)
    kept = await opened(str(place))
    looks: list[str] = []
    found = kept.store.file._identity

    def look(path: str) -> FileIdentity:
        looks.append(path)
        return found

    monkeypatch.setattr(store_connections, "identity", look)
    for number in range(5):
        await kept.write(str(number))
    assert looks == [str(place)]


async def test_a_store_in_memory_has_no_place(opened: Open) -> None:
    kept = await opened(MEMORY)
    await kept.store.file.look()
    await kept.store.file.make_again()
    await kept.write("a")
    assert await kept.names() == {"a"}


# -- what is found at the start ----------------------------------------------------------------------------------------


KILLED = """
import sqlite3, sys, os
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for number in range(int(sys.argv[2])):
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"later-{number}", "x" * 500))
os._exit(1)
"""


def killed_after(path: Path, rows: int) -> None:
    """Write so many rows, in a process that does not end in order and leaves its journal."""
    subprocess.run([sys.executable, "-c", KILLED, path, str(rows)], check=False)


@pytest.mark.parametrize("later", [3, 3000])
async def test_a_backup_that_is_copied_back_beside_a_journal_is_what_the_backup_was(
    later: int, opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    kept = await opened()
    await kept.write("a")
    await kept.store.backup(str(copy))
    await kept.store.close()
    killed_after(path, later)
    journal = content(f"{path}-wal")
    assert len(journal) > 500
    shutil.copyfile(copy, path)
    restored = await opened()
    assert await restored.names() == {"a"}
    assert content(f"{path}.other-1-wal") == journal
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"{path}.other-1-wal" in said


async def test_the_journal_of_a_gateway_that_was_killed_is_taken_over(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    kept = await opened()
    await kept.write("a")
    await kept.store.close()
    killed_after(path, 3)
    again = await opened()
    assert await again.names() == {"a", "later-0", "later-1", "later-2"}


async def test_a_journal_without_its_file_is_set_aside(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "store.db-wal").write_bytes(b"a journal")
    kept = await opened()
    assert (tmp_path / "store.db.other-1-wal").read_bytes() == b"a journal"
    assert await kept.names() == set()


async def test_a_journal_of_another_kind_beside_a_store_is_refused(opened: Open, tmp_path: Path) -> None:
    kept = await opened()
    await kept.write("a")
    await kept.store.close()
    (tmp_path / "store.db-journal").write_bytes(b"a journal")
    with pytest.raises(StoreRefused, match=r"store\.db-journal stands beside it"):
        await opened()
    (tmp_path / "store.db-journal").unlink()
    assert await (await opened()).names() == {"a"}


async def test_a_store_that_was_being_made_when_the_power_went_is_made(opened: Open, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as begun:
        begun.execute("PRAGMA journal_mode=WAL")
    (tmp_path / "store.db-journal").write_bytes(b"")
    assert await (await opened()).names() == set()
