"""What systemd is told: a datagram socket stands in its place."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.edge.service_manager import STATUS_EVERY, UNSENT, ServiceManager
from tests.cli.program import begin, end
from tests.wire_client import PATIENCE


class Manager:
    """A socket where systemd's would be."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        """What has come since the last call."""
        messages: list[str] = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def hears(self, word: str) -> str:
        """Wait for a message that begins with a word."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = (await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode()
                if message.startswith(word):
                    return message


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@tallygate-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")
    made = Manager(address)
    yield made
    made.socket.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


class Timers:
    """The timers of a loop, which a test runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: list[float] = []
        self._call: Callable[[], None] | None = None
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._later)

    def run(self) -> None:
        """The time of the latest has come."""
        call, self._call = self._call, None
        assert call is not None
        call()

    @property
    def waiting(self) -> bool:
        return self._call is not None

    def _later(self, wait: float, call: Callable[[], None]) -> Timers:
        self.waits.append(wait)
        self._call = call
        return self

    def cancel(self) -> None:
        """Be no timer any more."""
        self._call = None


def nothing() -> str:
    return "well"


async def test_what_happens_is_told_in_its_order(manager: Manager) -> None:
    service = ServiceManager(manager.address, None, nothing, lambda: 12.5)
    service.ready()
    service.reloading()
    service.ready()
    service.stopping()
    service.close()
    assert manager.told() == [
        "READY=1\nSTATUS=well",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "READY=1\nSTATUS=well",
        "STOPPING=1\nSTATUS=well",
    ]
    service.ready()
    assert manager.told() == []


async def test_signs_of_life_come_twice_as_often_as_they_are_asked_for(
    one: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    service = ServiceManager(one.address, 6.0, nothing)
    service.reloading()
    assert not timers.waiting
    service.ready()
    service.ready()
    one.told()
    timers.run()
    timers.run()
    assert timers.waits == [3.0, 3.0, 3.0]
    assert one.told() == ["WATCHDOG=1", "WATCHDOG=1"]
    service.stopping()
    timers.run()
    assert one.told() == ["STOPPING=1\nSTATUS=well", "WATCHDOG=1"]
    service.close()
    assert not timers.waiting


async def test_a_status_is_told_when_it_has_changed_and_not_too_often(
    one: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    now, words = [0.0], ["one"]
    service = ServiceManager(one.address, None, lambda: words[0], lambda: now[0])
    service.ready()
    words[0] = "two"
    one.told()
    timers.run()
    assert one.told() == []
    now[0] = STATUS_EVERY
    timers.run()
    assert one.told() == ["STATUS=two"]
    now[0] = 2 * STATUS_EVERY
    timers.run()
    assert one.told() == []
    assert set(timers.waits) == {STATUS_EVERY}
    service.close()


async def test_what_the_manager_does_not_take_is_sent_later(one: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    service = ServiceManager(one.address, 2.0, nothing)
    service.ready()
    while one.told():
        pass
    full = 0
    while len(service._unsent) < UNSENT:
        timers.run()
        full += 1
    service.stopping()
    before = one.told()
    assert 0 < len(before) < full
    timers.run()
    assert [each.partition("\n")[0] for each in one.told()][-2:] == ["STOPPING=1", "WATCHDOG=1"]
    service.close()


async def test_only_the_loop_gives_signs_of_life(one: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, timers = threading.active_count(), Timers(monkeypatch)
    service = ServiceManager(one.address, 2.0, nothing)
    service.ready()
    assert one.told()[-1] == "WATCHDOG=1"
    assert threading.active_count() == threads
    assert one.told() == []  # a loop that hangs runs no timer
    timers.run()
    assert one.told() == ["WATCHDOG=1"]
    service.close()


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_of_another_process_or_none_is_not_ours(
    environment: dict[str, str], watchdog: float | None
) -> None:
    assert ServiceManager.from_environment(environment, nothing)._watchdog == watchdog


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/nowhere/notify"])
async def test_without_a_manager_nothing_is_done(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    service = ServiceManager(address, 2.0, nothing)
    service.ready()
    service.stopping()
    service.close()
    assert timers.waits == []


# -- the process -------------------------------------------------------------------------------------------------------

SERVE = (
    "serve",
    *(each for key in ("listen.tcp", "listen.websocket", "listen.operator") for each in ("--set", f"{key}=0")),
    *("--set", "registrar.enabled=false", "--set", "store.path=:memory:"),
)


async def test_a_gateway_tells_all_of_its_life(manager: Manager) -> None:
    given = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    process = await begin(*SERVE, environment=given)
    assert await manager.hears("READY") == "READY=1\nSTATUS=0 connections; concurrent 0 of 10"
    await manager.hears("WATCHDOG=1")
    process.send_signal(signal.SIGHUP)
    assert (await manager.hears("RELOADING")).startswith("RELOADING=1\nMONOTONIC_USEC=")
    await manager.hears("READY")
    process.terminate()
    assert (await manager.hears("STOPPING")).startswith("STOPPING=1\nSTATUS=")
    assert (await end(process)).code == 0


@pytest.mark.slow
async def test_a_loop_that_hangs_gives_no_sign_of_life_until_it_turns_again(one: Manager, tmp_path: Path) -> None:
    watchdog = 0.6
    file = tmp_path / "gateway.toml"
    file.write_text("[heartbeat]\ninterval = '20s'\n")
    given = {"NOTIFY_SOCKET": one.address, "WATCHDOG_USEC": str(int(watchdog * 1e6))}
    process = await begin(*SERVE, "--config", str(file), environment=given)
    try:
        await one.hears("READY")
        await one.hears("WATCHDOG=1")
        file.unlink()
        os.mkfifo(file)  # the loop waits for who writes into it
        process.send_signal(signal.SIGHUP)
        await one.hears("RELOADING")
        with pytest.raises(TimeoutError):  # systemd would end it now
            async with asyncio.timeout(2 * watchdog):
                await one.hears("WATCHDOG=1")
        await asyncio.to_thread(file.write_text, "[heartbeat]\ninterval = '25s'\n")
        await one.hears("READY")
        await one.hears("WATCHDOG=1")
    finally:
        process.terminate()
        ended = await end(process)
    assert ended.code == 0


async def test_a_gateway_that_cannot_start_is_never_ready(one: Manager, tmp_path: Path) -> None:
    process = await begin(*SERVE, "--set", f"store.path={tmp_path}", environment={"NOTIFY_SOCKET": one.address})
    assert (await end(process)).code == 1
    assert one.told() == []
