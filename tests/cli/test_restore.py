"""`tallygate restore`: the backup stands there afterwards, whatever stood there before, or nothing has changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.edge.storage.schema import APPLICATION, SCHEMA
from tests.cli.program import Shell, run_here
from tests.conftest import Serve
from tests.edge.storage.test_store_lock import held_elsewhere
from tests.edge.storage.test_store_place import inode


@pytest.fixture
async def copy(serve: Serve, tmp_path: Path) -> Path:
    """A backup with one account."""
    (tmp_path / "first").mkdir()
    house = await serve(store__path=tmp_path / "first" / "t.db")
    await house.http("PUT", "/api/accounts/ann")
    await Shell(house).said("backup", str(tmp_path / "copy.db"))
    return tmp_path / "copy.db"


def made(path: Path, accounts: int) -> None:
    """A store that a gateway left when it was killed: what it wrote last is in the journal."""
    path.parent.mkdir(exist_ok=True)
    left = path.with_name("left")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        for statement in (statement for script in SCHEMA for statement in script):
            db.execute(statement)
        db.execute(f"PRAGMA application_id={APPLICATION}")
        db.execute(f"PRAGMA user_version={len(SCHEMA)}")
        db.execute("PRAGMA wal_checkpoint")
        for number in range(accounts):
            db.execute("INSERT INTO account VALUES (?, '[]')", (f"later-{number}",))
        shutil.copyfile(path, left)
        journal = Path(f"{path}-wal").read_bytes()
    left.replace(path)
    Path(f"{path}-wal").write_bytes(journal)


def accounts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [name for (name,) in db.execute("SELECT name FROM account ORDER BY name")]


async def listed(serve: Serve, path: Path) -> list[Any]:
    house = await serve(store__path=path)
    return [each["account"] for each in (await house.http("GET", "/api/accounts"))[1]["items"]]


async def test_a_backup_is_restored_and_what_stood_there_is_kept_with_its_journal(
    serve: Serve, copy: Path, tmp_path: Path
) -> None:
    path = tmp_path / "second" / "t.db"
    made(path, 3)
    path.chmod(0o640)
    before = inode(copy)
    ended = await run_here("restore", str(copy), "--store", str(path))
    said = ended.out.splitlines()
    assert (ended.code, ended.err, len(said)) == (0, "", 2)
    assert said[0].startswith(f"{path}: restored from {copy}, as of 20")
    assert said[1] == f"the store that stood there is kept as {path}.replaced-1"
    assert inode(copy) == before
    assert sorted(os.listdir(path.parent)) == ["t.db", "t.db.lock", "t.db.replaced-1", "t.db.replaced-1-wal"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert accounts(Path(f"{path}.replaced-1")) == ["later-0", "later-1", "later-2"]
    assert await listed(serve, path) == ["ann"]
    assert not list(path.parent.glob("*.other-*"))


async def test_a_backup_is_restored_where_there_was_no_store(serve: Serve, copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    ended = await run_here("restore", str(copy), "--store", str(path))
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    assert await listed(serve, path) == ["ann"]


async def test_a_store_is_restored_with_what_its_journal_holds(serve: Serve, tmp_path: Path) -> None:
    made(tmp_path / "old" / "t.db", 3)
    ended = await run_here("restore", str(tmp_path / "old" / "t.db"), "--store", str(tmp_path / "new.db"))
    assert (ended.code, ended.err) == (0, "")
    assert await listed(serve, tmp_path / "new.db") == ["later-0", "later-1", "later-2"]


async def test_a_store_that_a_gateway_holds_is_refused(copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "held.db"
    with held_elsewhere(path):
        ended = await run_here("restore", str(copy), "--store", str(path))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"tallygate: {path}: a gateway holds it; stop that first\n"
    assert path.read_bytes() == b""


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA application_id={APPLICATION}")
        db.execute(f"PRAGMA user_version={len(SCHEMA) + 1}")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipe (name TEXT)")


def torn(path: Path) -> None:
    made(path.parent / "whole" / "t.db", 1)
    path.write_bytes((path.parent / "whole" / "t.db").read_bytes()[:20000])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "there is no such file"),  # noqa: ARG005
        (Path.mkdir, "there is no such file"),
        (os.mkfifo, "there is no such file"),
        (Path.touch, "it is no store of this program"),
        (lambda path: path.write_bytes(b"garbage " * 1000), "file is not a database"),
        (foreign, "it is no store of this program"),
        (newer, f"schema {len(SCHEMA) + 1} is newer than this program's {len(SCHEMA)}"),
        (torn, ""),
    ],
)
def test_what_is_no_backup_is_refused_and_nothing_is_changed(
    make: Any, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, copy = tmp_path / "store" / "t.db", tmp_path / "copy.db"
    made(path, 1)
    make(copy)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    capsys.readouterr()
    assert main(["restore", str(copy), "--store", str(path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"tallygate: {copy}: {why}")
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_a_store_is_not_restored_from_itself_nor_to_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.db"
    made(path, 1)
    (tmp_path / "link.db").symlink_to(path)
    capsys.readouterr()
    for target, why in (("link.db", "it is the store itself"), ("no/t.db", "No such file"), (".", "")):
        assert main(["restore", str(path), "--store", str(tmp_path / target)]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert why in said
    assert accounts(path) == ["later-0"]
