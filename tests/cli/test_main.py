"""The command line itself: help, exit codes, quiet ends."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, metadata

import pytest

from gateway.cli import status
from gateway.cli.log_lines import JsonLines
from gateway.cli.main import COMMANDS, main


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Leaves the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def python(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"    {name} " in said for name in COMMANDS)
    assert "examples:" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: tallygate {name}")
    assert "examples:" in said
    assert f"tallygate {name}" in said.split("examples:")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_module_has_its_three_parts(name: str) -> None:
    module = import_module(COMMANDS[name][0])
    assert isinstance(module.HELP, str)
    module.arguments(argparse.ArgumentParser())
    assert callable(module.run)


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tallygate {metadata.version('tallygate')}\n"


def test_without_a_command_help_is_shown_and_the_code_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: tallygate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "--watch", "0"],
        ["status", "--operator", "ftp://gateway"],
        ["status", "--operator", "http://gateway:99999"],
        ["kick"],
        ["kick", "s-1", "--account", "ann"],
        ["kick", "s-1", "--ban", "soon"],
        ["load", "--connections", "0"],
        ["load", "--ramp", "inf"],
        ["load", "--tcp-port", "65536"],
        ["load", "--websocket-port", "0"],
        ["load", "--transport", "pigeon"],
        ["load", "--conferences", "-1"],
    ],
)
def test_wrong_usage_has_code_two(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage: tallygate" in capsys.readouterr().err


def test_options_of_all_commands_may_stand_before_and_behind_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args)
        return 0

    monkeypatch.setattr(status, "run", run)
    assert main(["-v", "--log-format", "json", "status"]) == 0
    assert main(["status", "-vv"]) == 0
    assert main(["status"]) == 0
    assert [(args.verbose, args.log_format) for args in seen] == [(1, "json"), (2, "text"), (0, "text")]


def test_ctrl_c_ends_quietly_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", run)
    assert main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_while_the_program_is_imported_ends_quietly_too() -> None:
    program = """
import os, signal, sys
from gateway.__main__ import main

class Interruption:
    def find_spec(self, name, *_):
        if name == "gateway.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interruption())
sys.exit(main())
"""
    ended = python("-c", program)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_failure_is_one_line_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: argparse.Namespace) -> int:
        raise SystemExit("there is no such thing")

    monkeypatch.setattr(status, "run", run)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "tallygate: there is no such thing\n"


def test_a_reader_who_goes_away_is_no_news() -> None:
    program = f"{sys.executable} -m gateway load --help | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    assert ended.stdout in {"0\n", "1\n"}  # 0 where the pipe took everything before it was closed


def test_it_runs_as_a_module() -> None:
    ended = python("-m", "gateway", "--version")
    assert (ended.returncode, ended.stdout) == (0, f"tallygate {metadata.version('tallygate')}\n")


def test_help_imports_no_command() -> None:
    program = (
        "import sys, gateway.cli.main as m; m.main(['--help'])\n"
        "late = {'aiohttp', 'prometheus_client', 'asyncio'} | {module for module, _ in m.COMMANDS.values()}\n"
        "sys.exit(str(sorted(late & set(sys.modules)) or 0))"
    )
    assert python("-c", program).stderr.strip() in {"", "0"}


def test_json_logs_are_one_object_each() -> None:
    record = logging.LogRecord("gateway", logging.WARNING, __file__, 1, "it is %s\nhere", ("late",), None)
    record.created = 1795867200.25
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-28T12:00:00.250Z",
        "level": "warning",
        "logger": "gateway",
        "message": "it is late\nhere",
    }
