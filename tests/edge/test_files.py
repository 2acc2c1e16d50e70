"""Files that others read: whole or as they were, and a pipe, a device or a link stays what it is."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from gateway.edge.files import written_whole


def write(path: Path, text: bytes = b"new") -> None:
    with written_whole(path, durable=True) as file:
        file.write(text)


def test_what_was_written_stands_there_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with written_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with contextlib.suppress(KeyError), written_whole(path) as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_new_file_has_the_mode_that_is_asked_for_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
        with written_whole(tmp_path / "b", mode=0o600) as file:
            file.write(b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o600]


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    for name, target in (("link", "vault/there"), ("dangling", "vault/new")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "vault" / "there").write_bytes(b"old")
    for name in ("link", "dangling"):
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert {each.name: each.read_bytes() for each in (tmp_path / "vault").iterdir()} == {"there": b"new", "new": b"new"}


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads from this pipe"):
        write(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(path)
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.lstat().st_mode)


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    write(tmp_path / "null")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize(
    ("name", "why"), [("", "Is a directory"), ("no/file", "No such file"), ("a" * 256, "too long")]
)
def test_what_cannot_be_a_file_is_an_os_error(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=why):
        write(tmp_path / name)
    assert not os.listdir(tmp_path)
