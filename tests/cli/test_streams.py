"""Standard streams that are closed, full, of another character set, or left by their reader."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.program import PATIENCE, run_here
from tests.conftest import Serve


def slow(value: object) -> object:
    """One more of a kind: each of these tests starts many processes."""
    return pytest.param(value, marks=pytest.mark.slow)


FREE_PORTS = ("listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.port=0", "listen.drain=0s")
ONE_AFTER_THE_OTHER = """
import json, sys
from gateway.cli.main import main
codes = []
for words in json.loads(sys.argv[1]):
    codes.append(main(words))
    print(end="\\f")
print(codes)
"""
"""A program that runs several command lines, with a form feed after what each prints."""
CLOSED = "standard output cannot be written: Bad file descriptor"
FULL = "standard output cannot be written: No space left on device"


def command(words: Sequence[str], streams: str) -> list[str]:
    """A command line of bash that runs `tallygate` with its streams redirected."""
    return ["bash", "-c", f'exec "$@" {streams}', "bash", sys.executable, "-m", "gateway", *words]


def run(*words: str, streams: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(words, streams),
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("loop", [slow("asyncio"), "uvloop"])
async def test_a_gateway_runs_and_ends_well_with_whatever_streams(streams: str, loop: str, tmp_path: Path) -> None:
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError\n")
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    settings = [f"--set={each}" for each in (*FREE_PORTS, "store.path=:memory:")]
    reader = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
    process = await asyncio.create_subprocess_exec(
        *command(["serve", "--ready-file", str(ready), *settings], streams),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"},
    )
    try:
        opened = asyncio.Event()
        asyncio.get_running_loop().add_reader(reader, opened.set)
        async with asyncio.timeout(PATIENCE):
            await opened.wait()
            asyncio.get_running_loop().remove_reader(reader)
            assert json.loads(os.read(reader, 4096))["operator"]
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        os.close(reader)
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    "words",
    [("--version",), ("check", "-v"), *(slow(words) for words in (("--help",), ("license", "--help"), ("check",)))],
)
def test_what_cannot_be_printed_is_one_line_and_code_one(words: tuple[str, ...], tmp_path: Path) -> None:
    for streams, why in ((">&-", CLOSED), (">/dev/full", FULL)):
        ended = run(*words, streams=streams, folder=tmp_path)
        assert (ended.returncode, ended.stderr.decode()) == (1, f"tallygate: {why}\n")
    for streams in ("2>&-", "2>/dev/full", "<&-"):
        assert run(*words, streams=streams, folder=tmp_path).returncode == 0
    for streams in (">&- 2>&-", ">/dev/full 2>/dev/full"):
        ended = run(*words, streams=streams, folder=tmp_path)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("load", "--json"),
        *(slow(words) for words in (("report",), ("audit", "show"), ("license", "list"))),
    ],
)
async def test_so_it_is_with_what_a_gateway_answered(words: tuple[str, ...], serve: Serve, tmp_path: Path) -> None:
    house = await serve()
    words = (*words, "--operator", house.url)
    if words[0] == "load":
        words = (*words, "--connections=1", "--duration=0.1", f"--tcp-port={house.tcp}", "--no-compare")
    ended = await asyncio.to_thread(run, *words, streams=">/dev/full", folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1] == f"tallygate: {FULL}"
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "lists", "advice"),
    [
        (("token", "add", "ops", "--scope", "admin"), ("token", "list"), "make another, and revoke the lost one"),
        (("license", "add", "ACME-1"), ("license", "list"), "`license remove` it and add it again"),
        pytest.param(
            *(("license", "add", "ACME-1", "--json"), ("license", "list"), "`license remove` it and add it again"),
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_a_secret_that_cannot_be_printed_is_not_made_or_it_is_said_what_to_do(
    words: tuple[str, ...], lists: tuple[str, ...], advice: str, tmp_path: Path
) -> None:
    store = ("--store", "store.db")
    ended = run(*words, *store, streams=">&-", folder=tmp_path)
    assert (ended.returncode, ended.stderr.decode()) == (1, f"tallygate: {CLOSED}\n")
    assert not (tmp_path / "store.db").exists()
    ended = run(*words, *store, streams=">/dev/full", folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.decode().startswith(f"tallygate: {FULL}; ")
    assert advice in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
    listed = await run_here(*lists, "--store", str(tmp_path / "store.db"))
    assert ("ops" if words[0] == "token" else "ACME-1") in listed.out


def test_a_reader_of_a_secret_who_has_gone_is_told_on_standard_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "token", "add", "ops", "--scope", "read", "--store", "store.db"],
            cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert ended.returncode == 1
    assert b"Broken pipe; the new token is lost" in ended.stderr


@pytest.mark.parametrize("encoding", ["ascii", slow("koi8-r"), slow("cp1251")])
async def test_what_the_terminal_cannot_show_is_escaped(encoding: str, serve: Serve, tmp_path: Path) -> None:
    house = await serve()
    lines = [["report", "--operator", house.url], *([name, "--help"] for name in ("audit", "report", "load"))]
    lines.append(["check", "--set", "store.path=b\u00fccher.db"])
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(lines)],
        cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")
    report, *helps, checked, codes = ended.stdout.decode(encoding).split("\f")
    assert "seats" in report
    assert len(helps) == 3
    assert all("examples:" in each for each in helps)
    assert "\\xfc" in checked
    assert json.loads(codes) == [0] * 5
