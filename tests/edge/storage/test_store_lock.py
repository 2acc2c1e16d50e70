"""One process holds a store, under whatever name it is opened and whatever became of the lock file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.edge.storage.store_lock import MEMORY, StoreRefused, belongs, held_store, hold

HOLD = """
import sys
from gateway.edge.storage.store_lock import hold
lock = hold(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """Another process holds the store at `path` inside the block."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "held\n"
            yield
        finally:
            other.stdin.close()


def refused(path: Path) -> None:
    with pytest.raises(StoreRefused, match="another gateway holds it"):
        hold(str(path))


def test_a_store_is_refused_by_its_name_a_link_to_it_and_a_second_name(tmp_path: Path) -> None:
    path, link, second = (tmp_path / name for name in ("t.db", "link.db", "second.db"))
    with held_elsewhere(path):
        link.symlink_to(path)
        os.link(path, second)
        for each in (path, link, second):
            refused(each)
    hold(str(path)).close()


def test_a_store_is_refused_without_its_lock_file_and_the_lock_file_without_the_store(tmp_path: Path) -> None:
    path, lock = tmp_path / "t.db", tmp_path / "t.db.lock"
    with held_elsewhere(path):
        lock.unlink()
        refused(path)
    with held_elsewhere(path):
        path.unlink()
        refused(path)


def test_a_store_that_was_given_back_is_free_and_one_in_memory_always_is(tmp_path: Path) -> None:
    first, second = hold(MEMORY), hold(MEMORY)
    first.close()
    second.close()
    for _ in range(2):
        lock = hold(str(tmp_path / "t.db"))
        lock.close()


def test_what_belongs_to_a_store_that_is_held_is_known(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    names = [f"t.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal", ".lock")]
    with held_elsewhere(path):
        (tmp_path / "link").symlink_to("t.db-wal")
        for name in [*names, "link", "../" + tmp_path.name + "/t.db"]:
            assert held_store(str(tmp_path / name)) == os.path.realpath(path), name
        for name in ("other.db", "t.db-old", "", "no/t.db"):
            assert held_store(str(tmp_path / name)) is None, name
    assert [held_store(str(tmp_path / name)) for name in names] == [None] * 5


def test_what_belongs_to_a_store_is_known_without_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    assert belongs(str(path), str(path))
    path.touch()
    os.link(path, tmp_path / "second.db")
    (tmp_path / "link").symlink_to("t.db-wal")
    for name in ("t.db", "t.db-wal", "t.db-shm", "t.db-journal", "t.db.lock", "second.db", "link"):
        assert belongs(str(tmp_path / name), str(path)), name
    for name in ("other.db", "t.db-old", ""):
        assert not belongs(str(tmp_path / name), str(path)), name


def test_a_pipe_is_not_asked_whether_it_is_a_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert held_store(str(tmp_path / "pipe")) is None
