"""The ready file: who writes it, who leaves it alone, and what it may be besides a regular file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path

import pytest

from config.settings import Settings
from gateway.edge.gateway import Gateway
from gateway.edge.machine import KeyRefused
from gateway.edge.ready_file import ReadyFile
from gateway.edge.storage.store import StoreRefused
from tests.conftest import settings_of

PORTS = {"tcp": 1, "websocket": 2, "registrar": None, "operator": 3}
NONE = dict.fromkeys(PORTS)
LEFT = '{"tcp": 4307}\n'


def gateway_of(ready: Path, settings: Settings) -> Gateway:
    return Gateway(settings, files=1024, ready=ready)


async def test_it_is_there_while_the_gateway_is_open_and_says_when_it_closes(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    gateway = gateway_of(ready, settings_of())
    await gateway.open()
    try:
        assert json.loads(ready.read_text()) == gateway.ports()
    finally:
        await gateway.close(drain=0)
    assert json.loads(ready.read_text()) == NONE
    assert os.listdir(tmp_path) == ["ready.json"]


async def test_a_second_gateway_that_is_refused_leaves_it_alone(tmp_path: Path) -> None:
    ready, store = tmp_path / "ready.json", tmp_path / "store.db"
    first, second = (gateway_of(ready, settings_of(store__path=store)) for _ in range(2))
    await first.open()
    try:
        before = ready.read_text()
        with pytest.raises(StoreRefused):
            await second.open()
        assert ready.read_text() == before
    finally:
        await first.close(drain=0)


@pytest.mark.parametrize("key", ["listen__tcp", "listen__websocket", "listen__operator", "registrar__port"])
@pytest.mark.parametrize("left", [None, LEFT])
async def test_a_port_that_cannot_be_had_leaves_none(key: str, left: str | None, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    if left is not None:
        ready.write_text(left)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = gateway_of(ready, settings_of(**{key: taken.getsockname()[1]}))
        with pytest.raises(OSError, match="in use"):
            await gateway.open()
    assert not ready.exists()


async def test_a_key_that_cannot_be_used_leaves_none(tmp_path: Path) -> None:
    ready, key = tmp_path / "ready.json", tmp_path / "license.key"
    ready.write_text(LEFT)
    key.write_text("00" * 32)
    agent = {"registration__role": "agent", "registration__server": "127.0.0.1:9", "registration__serial": "S"}
    gateway = gateway_of(ready, settings_of(**agent, registration__key_file=key))
    key.unlink()
    with pytest.raises(KeyRefused):
        await gateway.open()
    assert not ready.exists()


async def test_a_start_that_is_cancelled_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, held = tmp_path / "ready.json", asyncio.Event()
    ready.write_text(LEFT)
    gateway = gateway_of(ready, settings_of())

    async def restore() -> None:
        held.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(gateway.runtime, "restore", restore)
    opening = asyncio.create_task(gateway.open())
    await held.wait()
    assert not ready.exists(), "what an earlier run left is removed first"
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not ready.exists()


async def test_a_place_where_it_cannot_be_written_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "ready.json", tmp_path):
        gateway = gateway_of(place, settings_of())
        with pytest.raises(OSError, match=str(tmp_path)):
            await gateway.open()
        assert set(gateway.ports().values()) == {None}


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "ready"
    os.mkfifo(pipe)
    ready = ReadyFile(pipe)
    with pytest.raises(OSError, match="nobody reads from this pipe"):
        ready.write(PORTS)
    ready.update(NONE)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ready.clear()
        ready.write(PORTS)
        ready.update(NONE)
        lines = os.read(reader, 4096).splitlines()
    finally:
        os.close(reader)
    assert [json.loads(line) for line in lines] == [PORTS, NONE]
    ready.update(NONE)  # nobody reads it any more
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["ready"]


def fill(pipe: int) -> None:
    """Write into a pipe until it takes no more."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(4096))
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("opened", [False, True])
def test_a_pipe_that_is_full_is_not_waited_for(opened: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "ready"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        fill(writer)
        ready = ReadyFile(Path(f"/dev/fd/{writer}") if opened else pipe)
        with pytest.raises(BlockingIOError, match="nobody reads from this pipe, and it is full"):
            ready.write(PORTS)
        os.read(reader, 1 << 20)
        ready.write(PORTS)
        fill(writer)
        ready.update(NONE)
        assert json.loads(os.read(reader, 1 << 20).split(b"\n")[0]) == PORTS
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_that_is_open_already_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as opened:
        print("before", file=opened, flush=True)
        ready = ReadyFile(Path(f"/dev/fd/{opened.fileno()}"))
        ready.clear()
        ready.write(PORTS)
        print("after", file=opened, flush=True)
    assert log.read_text() == f"before\n{json.dumps(PORTS)}\nafter\n"


def test_through_a_link_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "ready.json"
    link.symlink_to(target.name)
    ready = ReadyFile(link)
    ready.write(PORTS)
    assert link.is_symlink()
    assert json.loads(target.read_text()) == PORTS
    ready.clear()
    assert not target.exists()


def test_nothing_is_updated_that_was_never_written(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ReadyFile(ready).update(NONE)
    assert not ready.exists()
