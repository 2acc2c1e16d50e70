"""`tallygate serve` as a process: signals, the start-up screen, and what it does when it cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.cli import serve as module
from tests.cli.program import begin, end, run
from tests.conftest import Serve
from tests.etcd import free_ports, write_secret
from tests.wire_client import PATIENCE, Wire

CONFIG = """
[listen]
tcp = 0
websocket = 0
operator = 0
drain = "{drain}"
[registrar]
port = 0
[store]
path = ":memory:"
"""


class Running:
    """A gateway in a process of its own, with the ports of its ready file."""

    def __init__(self, process: Process, ports: dict[str, Any], config: Path) -> None:
        self.process = process
        self.ports = ports
        self.config = config

    async def welcomed(self, transport: str = "tcp") -> Wire:
        """A client that has been welcomed."""
        wire = await Wire.open(transport, self.ports[transport])
        assert (await wire.hello())["type"] == "welcome"
        return wire

    async def get(self, path: str) -> Any:
        """A document of the operator port."""
        url = f"http://127.0.0.1:{self.ports['operator']}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await (response.json() if response.content_type == "application/json" else response.text())

    async def said(self, words: str) -> str:
        """Wait for a line of its log that holds these words."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                if words in line:
                    return line
        raise AssertionError(f"it ended without saying {words!r}")


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts `serve` with a configuration and waits until it is ready."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(more: str = "", drain: str = "500ms", environment: Mapping[str, str] | None = None) -> Running:
            config, ready = tmp_path / "gateway.toml", tmp_path / "ready.json"
            config.write_text(CONFIG.format(drain=drain) + more)
            argv = ("serve", "--config", str(config), "--ready-file", str(ready))
            process = await begin(*argv, environment=environment, anew=environment is not None)

            async def stop() -> None:
                if process.returncode is None:
                    process.kill()
                await process.communicate()

            stack.push_async_callback(stop)
            async with asyncio.timeout(2 * PATIENCE):
                while not ready.exists():
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            return Running(process, json.loads(ready.read_text()), config)

        yield serve


async def test_sigterm_sends_everybody_away_spread_over_the_drain_and_ends_well(start: Start, tmp_path: Path) -> None:
    gateway = await start(drain="800ms")
    wires = [await gateway.welcomed(transport) for transport in ("tcp", "websocket") for _ in range(4)]
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)

    async def farewell(wire: Wire) -> tuple[float, Any]:
        (closing,) = await wire.gone()
        await wire.close()
        return time.monotonic() - began, closing

    heard = await asyncio.gather(*map(farewell, wires))
    ended = await end(gateway.process)
    assert ended.code == 0
    assert {(each["reason"], each["code"], each["reconnect"]) for _, each in heard} == {("drained", 1012, True)}
    times = sorted(moment for moment, _ in heard)
    assert times[-1] - times[0] > 0.2
    assert "draining 8 connections over 0.8 s" in ended.out
    assert ended.out.endswith("stopped\n")
    assert set(json.loads((tmp_path / "ready.json").read_text()).values()) == {None}


async def test_a_second_signal_ends_the_drain_at_once(start: Start) -> None:
    gateway = await start(drain="60s")
    wires = [await gateway.welcomed() for _ in range(5)]
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    first, *others = [asyncio.ensure_future(wire.gone()) for wire in wires]
    await asyncio.wait([first, *others], return_when=asyncio.FIRST_COMPLETED)
    gateway.process.send_signal(signal.SIGTERM)
    heard = await asyncio.gather(first, *others)
    for wire in wires:
        await wire.close()
    ended = await end(gateway.process)
    assert ended.code == 0
    assert time.monotonic() - began < PATIENCE
    assert {each[-1]["reason"] for each in heard} == {"drained"}


async def test_one_signal_is_enough_where_the_store_does_not_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await serve(listen__drain="0s", store__deadline="10ms")
    codes: list[int] = []
    for name in ("LAST_COMMITS", "STOP_WRITING", "HURRY"):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(os, "_exit", codes.append)
    with monkeypatch.context() as hangs, contextlib.suppress(asyncio.InvalidStateError):
        hangs.setattr(house.runtime.persistence, "close", lambda _: asyncio.Event().wait())
        async with asyncio.timeout(PATIENCE):
            await module._close(house.gateway, asyncio.Event())
    assert codes == [1]
    assert capsys.readouterr().err == "tallygate: the store does not answer; ended without it\n"


async def test_sighup_reads_the_limits_again_and_a_bad_file_keeps_the_last_good_ones(start: Start) -> None:
    gateway = await start("[license.epop]\nusers = 1\n")
    wire, other = await gateway.welcomed(), await gateway.welcomed("websocket")
    await wire.ask("join", conference="c")
    assert (await other.ask("join", conference="c"))["reason"] == "pool_full"
    gateway.config.write_text(CONFIG.format(drain="500ms") + "[license.epop]\nusers = 2\n")
    gateway.process.send_signal(signal.SIGHUP)
    assert "changed: license.epop.users; waiting for a restart: nothing" in await gateway.said("read again")
    assert (await other.ask("join", conference="c"))["type"] == "joined"
    gateway.config.write_text(CONFIG.format(drain="500ms") + "[license.epop]\nusers = -1\n")
    gateway.process.send_signal(signal.SIGHUP)
    assert "the last good one stays" in await gateway.said("license.epop.users")
    license = await gateway.get("/api/license")
    assert license["models"]["epop"]["pools"]["concurrent"]["limit"] == 2
    for each in (wire, other):
        assert (await each.ask("heartbeat"))["type"] == "ack"
        await each.close()


async def test_sighup_during_the_start_is_followed_once_it_is_open(tmp_path: Path) -> None:
    config, ready = tmp_path / "gateway.toml", tmp_path / "ready.json"
    os.mkfifo(config)
    process = await begin("serve", "--config", str(config), "--ready-file", str(ready))
    try:
        with await asyncio.to_thread(config.open, "w") as first:  # it reads its configuration now
            config.unlink()
            config.write_text(CONFIG.format(drain="0s") + "[license.epop]\nusers = 3\n")
            process.send_signal(signal.SIGHUP)
            first.write(CONFIG.format(drain="0s"))
        running = Running(process, {}, config)
        assert "license.epop.users" in await running.said("configuration read again")
        assert ready.exists()
        process.send_signal(signal.SIGTERM)
        assert (await end(process)).code == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_signals_reach_a_gateway_that_waits_for_its_cluster(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    (port,) = free_ports(1)
    etcd = await asyncio.start_server(silent, "127.0.0.1", port)
    config = tmp_path / "gateway.toml"
    config.write_text(
        CONFIG.format(drain="0s")
        .replace(":memory:", str(tmp_path / "a.db"))
        .replace("[registrar]", "[registrar]\nenabled = false")
        + f'[cluster]\netcd = ["http://127.0.0.1:{port}"]\nname = "a"\nsecret_file = "{write_secret(tmp_path)}"\n'
    )
    process = await begin("serve", "--config", str(config))
    try:
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        ended = await end(process)
        assert (ended.code, ended.out) == (0, "")
        assert "Traceback" not in ended.err
    finally:
        if process.returncode is None:
            process.kill()
        etcd.close()


async def test_sighup_with_a_broken_rule_for_seats_keeps_the_rules_there_are(start: Start) -> None:
    seats = '[license]\nmodel = "floating"\n[license.floating]\nlimit = 5\n'
    gateway = await start(seats + '[[license.rule]]\npool = "seats"\nkind = "tv"\nmost = 0\n')

    async def hello() -> str:
        wire = await Wire.open("tcp", gateway.ports["tcp"])
        told = await wire.hello(kind="tv")
        await wire.close()
        return str(told.get("rule", told["type"]))

    async def reload(rule: str, words: str) -> str:
        gateway.config.write_text(CONFIG.format(drain="500ms") + seats + rule)
        gateway.process.send_signal(signal.SIGHUP)
        return await gateway.said(words)

    assert await hello() == "1"
    for rule, why in (
        ('pool = "seets"\nmost = 1', 'item 1: there is no pool "seets"'),
        ('pool = "seats"\nkind = "tv"', "item 1: says neither reserve nor most"),
        ('pool = "seats"\nkind = "tv"\nreserve = 6', "item 1: 6 seats of seats are kept"),
        ('pool = "seats"\nmost', "is not TOML"),
    ):
        assert why in await reload(f"[[license.rule]]\n{rule}\n", "the last good one stays in effect"), why
        assert await hello() == "1"
    told = await reload('[[license.rule]]\npool = "seats"\ngroup = "nobody"\nmost = 0\n', "no group")
    assert 'license.rule: item 1: no group "nobody": there is none yet' in told
    assert await hello() == "welcome"
    assert "conferences.max_per_session" in await reload(
        "[conferences]\nmax_per_session = 10000\n", "a client that resumes"
    )


async def test_a_rule_for_seats_of_a_group_that_is_not_there_is_told_at_the_start(serve: Serve) -> None:
    rule = '[{ pool = "seats", group = "engineers", most = 1 }]'
    house = await serve(license__model="floating", license__rule=rule)
    warning = 'warning    license.rule: item 1: no group "engineers": there is none yet'
    assert warning in module.screen(house.gateway, 1024, 1024)
    assert (await house.http("PUT", "/api/groups/engineers", json={"accounts": ["ann"]}))[0] == 200
    assert "license.rule" not in module.screen(house.gateway, 1024, 1024)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_clients_that_beat_while_the_process_is_stopped_are_not_reaped(
    loop: str, start: Start, tmp_path: Path
) -> None:
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError\n")
    gateway = await start('[heartbeat]\ninterval = "1s"\ntimeout = "3s"\n', environment={"PYTHONPATH": str(tmp_path)})
    assert gateway.process.stdout is not None
    await gateway.process.stdout.readuntil(b"capacity")
    assert (b"on uvloop" in await gateway.process.stdout.readline()) == (loop == "uvloop")
    wires = [await gateway.welcomed(transport) for transport in ("tcp", "websocket") for _ in range(5)]
    await asyncio.sleep(2.3)  # so close to their timeout that a look before the reads would reap them
    gateway.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        for wire in wires:
            await wire.say("heartbeat")
        await asyncio.sleep(0.7)  # the very time that the process is stopped
    gateway.process.send_signal(signal.SIGCONT)
    for wire in wires:
        assert [(await wire.hear())["type"] for _ in range(2)] == ["ack"] * 2
        await wire.say("heartbeat")
        assert (await wire.hear())["type"] == "ack"
    assert (await gateway.get("/api/connections/count"))["count"] == 10
    for wire in wires:
        await wire.close()


async def test_a_port_in_use_is_one_clear_line_and_code_one() -> None:
    free = [f"--set={key}=0" for key in ("listen.tcp", "listen.websocket", "listen.operator", "registrar.port")]
    free.append("--set=store.path=:memory:")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for key in ("tcp", "websocket", "operator"):
            ended = await run("serve", *free, f"--set=listen.{key}={port}")
            assert ended.code == 1
            assert ended.out == ""
            assert ended.err.startswith("tallygate: cannot start: ")
            assert str(port) in ended.err
            assert "in use" in ended.err.lower()
            assert ended.err.count("\n") == 1


@pytest.mark.parametrize("name", ["t.db", "t.db-wal", "t.db.lock"])
async def test_a_ready_file_does_not_take_the_place_of_the_store(name: str, tmp_path: Path) -> None:
    path, ready = tmp_path / "t.db", tmp_path / name
    ready.write_bytes(b"as it was")
    ended = await run("serve", "--set", f"store.path={path}", "--ready-file", str(ready))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"tallygate: {ready}: it belongs to the store {path} of a gateway\n"
    assert ready.read_bytes() == b"as it was"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "command", ["serve", *(pytest.param(each, marks=pytest.mark.slow) for each in ("registrar", "demo"))]
)
async def test_a_file_limit_that_leaves_no_connection_is_one_clear_line(command: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    run_limited = ("bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-m", "gateway")
    process = await asyncio.create_subprocess_exec(
        *run_limited, command, "--ready-file", str(ready), stdout=PIPE, stderr=PIPE
    )
    ended = await end(process)
    assert ended.code == 1
    assert ended.err == (
        "tallygate: cannot start: open files: 64 leave none for connections, 64 are kept for other uses:"
        " raise the limit (ulimit -n)\n"
    )
    assert not ready.exists()


async def test_a_place_where_the_ready_file_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings = [f"--set={key}=0" for key in ("listen.tcp", "listen.websocket", "listen.operator", "registrar.port")]
    place = tmp_path / "none" / "ready.json"
    ended = await run("serve", *settings, "--set=store.path=:memory:", "--ready-file", str(place))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"tallygate: cannot start: {place}: No such file or directory\n"


async def test_a_bad_setting_is_said_and_nothing_starts() -> None:
    ended = await run("serve", "--set", "listen.tpc=1")
    assert (ended.code, ended.out) == (1, "")
    assert "listen.tpc" in ended.err
    assert "listen.tcp" in ended.err


async def test_the_start_up_screen_says_what_a_person_wants_to_know(start: Start) -> None:
    gateway = await start('[license]\nmodel = "trueconf"\n')
    gateway.process.send_signal(signal.SIGTERM)
    ended = await end(gateway.process)
    assert ended.code == 0
    for words in (
        f"127.0.0.1:{gateway.ports['tcp']}",
        f"ws://127.0.0.1:{gateway.ports['websocket']}/ws",
        f"http://127.0.0.1:{gateway.ports['operator']}",
        "trueconf",
        "online 15",
        "pro 10",
        "epop, nefsis-concurrent, nefsis-named",
        "open files",
    ):
        assert words in ended.out, words
    assert max(map(len, ended.out.splitlines())) <= 120


async def test_a_terminal_that_was_closed_keeps_it_from_nothing(tmp_path: Path) -> None:
    config, ready = tmp_path / "gateway.toml", tmp_path / "ready.json"
    config.write_text(CONFIG.format(drain="500ms"))
    terminal, stdout = os.openpty()
    try:
        process = await begin("serve", "--config", str(config), "--ready-file", str(ready), stdout=stdout)
        os.close(stdout)
        while b"capacity" not in await asyncio.to_thread(os.read, terminal, 65536):
            assert process.returncode is None
    finally:
        os.close(terminal)
    process.send_signal(signal.SIGTERM)
    ended = await end(process)
    assert (ended.code, ended.complaints) == (0, [])
    assert set(json.loads(ready.read_text()).values()) == {None}
