"""`tallygate check`: what it says of good and bad configurations, the file limit and the ports."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.keys import KEYS, document
from config.values import quote
from gateway.cli import check
from gateway.cli.main import main
from gateway.edge.storage.offline_store import offline_store
from tests.edge.storage.test_store_lock import held_elsewhere

ANY_PORTS = ("--set", "listen.tcp=0", "--set", "listen.websocket=0", "--set", "listen.operator=0")


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", "--verbose", action="count", default=0)
    check.arguments(parser)
    return check.run(parser.parse_args(argv))


def test_a_good_configuration_is_said_to_be_good_with_what_differs_from_the_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*ANY_PORTS, "--set", "license.epop.users=25") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:5] == [
        "configuration is good",
        "  listen.tcp = 0  (--set)",
        "  listen.websocket = 0  (--set)",
        "  listen.operator = 0  (--set)",
        "  license.epop.users = 25  (--set)",
    ]
    assert said.err == ""


def test_where_each_value_comes_from_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[license.epop]\nusers = 25\n[store]\npath = 'a.db'\n[heartbeat]\ninterval = '30s'\n", "utf-8")
    monkeypatch.setenv("TALLYGATE_LICENSE__EPOP__USERS", "30")
    monkeypatch.setenv("TALLYGATE_LISTEN__TCP", "1")
    assert run("--config", str(path), *ANY_PORTS, "-v") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  license.epop.users = 30  (environment)" in lines
    assert "  listen.tcp = 0  (--set)" in lines
    assert '  store.path = "a.db"  (file)' in lines
    assert '  heartbeat.interval = "30s"  (file)' in lines
    assert '  listen.drain = "10s"  (default)' in lines


def test_a_variable_that_stands_for_nothing_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TALLYGATE_LISTEN_TCP", "5307")
    assert run(*ANY_PORTS) == 1
    assert capsys.readouterr().err == (
        'TALLYGATE_LISTEN_TCP: stands for no key (did you mean "TALLYGATE_LISTEN__TCP"?)\n'
    )


def test_verbose_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ANY_PORTS, "-v") == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert shown == list(KEYS)


def test_every_fault_has_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[license]\nmodle = 'epop'\n[heartbeat]\ntimeout = '1s'\n", encoding="utf-8")
    assert run("--config", str(path)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        'license.modle: unknown key (did you mean "license.model"?)',
        "heartbeat.timeout: must exceed heartbeat.interval (30s), is 1s",
    ]


def test_what_is_good_and_probably_not_meant_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ANY_PORTS, "--set", "license.model=trueconf", "--set", "license.trueconf.edition=free") == 0
    assert 'license.trueconf.edition: "free" grants nothing without' in capsys.readouterr().out


def test_the_file_limit_bounds_the_connections(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20_000))
    assert run(*ANY_PORTS) == 0
    assert "file limit: 1024 soft, 20000 hard; max_connections 19936" in capsys.readouterr().out.splitlines()
    assert run(*ANY_PORTS, "--set", "listen.max_connections=30000") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "listen.max_connections 30000 does not fit: 64 files are kept for other uses" in lines


CERTIFICATE = Path(__file__).parents[1] / "config" / "tls" / "certificate.pem"
END = datetime(2126, 10, 28, 19, 2, 52, tzinfo=UTC).timestamp()
OF_CLIENTS = f"--set=listen.tls_certificate={CERTIFICATE}", f"--set=listen.tls_key={CERTIFICATE.with_name('key.pem')}"
OF_OPERATORS = tuple(word.replace("listen.", "listen.operator_") for word in OF_CLIENTS)
OF_THE_REGISTRAR = (
    *("--set=registration.role=agent", "--set=registration.server=registrar.example:4310"),
    *("--set=registration.serial=S-1", "--set=registration.tls=true", f"--set=registration.tls_ca={CERTIFICATE}"),
)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (OF_CLIENTS, "listen.tls_certificate"),
        (OF_OPERATORS, "listen.operator_tls_certificate"),
        (OF_THE_REGISTRAR, "registration.tls_ca"),
    ],
)
def test_the_end_of_a_certificate_is_told_warned_of_and_then_a_fault(
    words: tuple[str, ...],
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = tmp_path / "key"
    secret.write_text("00" * 32)
    secret.chmod(0o600)
    if key.startswith("registration"):
        words = (*words, f"--set=registration.key_file={secret}")
    told = "2126-10-28T19:02:52Z"
    for left, line in (
        (30 * 86400, f"{key}: good until {told}"),
        (30 * 86400 - 1, f"warning: {key}: {quote(str(CERTIFICATE))} ends in 30 days, at {told}"),
        (2 * 86400, f"warning: {key}: {quote(str(CERTIFICATE))} ends in 2 days, at {told}"),
    ):
        monkeypatch.setattr(time, "time", lambda left=left: END - left)
        assert run(*ANY_PORTS, *words) == 0
        assert [each for each in capsys.readouterr().out.splitlines() if told in each] == [line]
    monkeypatch.setattr(time, "time", lambda: END)
    assert run(*ANY_PORTS, *words) == 1
    assert capsys.readouterr().err == f"{key}: {quote(str(CERTIFICATE))} ended at {told}\n"


def test_a_certificate_that_is_none_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, authority = tmp_path / "key", tmp_path / "ca.pem"
    key.write_text("00" * 32)
    authority.write_text("-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----")
    words = (*OF_THE_REGISTRAR[:-1], f"--set=registration.tls_ca={authority}", f"--set=registration.key_file={key}")
    assert run(*ANY_PORTS, *words) == 1
    said = capsys.readouterr().err
    assert said == f"registration.tls_ca: {quote(str(authority))} is no certificate authority in PEM\n"
    authority.write_text(CERTIFICATE.read_text().replace(" CERTIFICATE", " TRUSTED CERTIFICATE"))
    assert run(*ANY_PORTS, *words) == 0


def test_without_a_file_limit_there_is_none_to_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    assert run(*ANY_PORTS) == 0
    assert "file limit: 1024 soft, none hard; max_connections no limit" in capsys.readouterr().out.splitlines()


def test_a_port_in_use_is_said_but_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        assert run(*ANY_PORTS, "--set", f"listen.tcp={port}") == 0
    assert run(*ANY_PORTS, "--set", f"listen.tcp={port}") == 0
    said = capsys.readouterr().out.splitlines()
    assert said.count(f"listen.tcp: 127.0.0.1:{port} is in use") == 1
    assert said.count(f"listen.tcp: 127.0.0.1:{port} is free") == 1
    assert said.count("listen.websocket: picked at start on 127.0.0.1") == 2


def test_a_file_limit_that_leaves_no_connection_is_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert run(*ANY_PORTS) == 1
    assert capsys.readouterr() == (
        "",
        "open files: 64 leave none for connections, 64 are kept for other uses: raise the limit (ulimit -n)\n",
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65, 65))
    assert run(*ANY_PORTS) == 0


def test_a_store_that_could_not_be_opened_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for path, reason in (
        ("none/t.db", 'there is no directory "none"'),
        ("file/t.db", 'there is no directory "file"'),
        (".", '"." is no regular file'),
        ("/dev/null", '"/dev/null" is no regular file'),
    ):
        assert run(*ANY_PORTS, "--set", f"store.path={path}") == 1
        assert capsys.readouterr() == ("", f"store.path: {reason}\n")


@pytest.mark.parametrize("part", [".", "t.db"])
def test_a_store_that_may_not_be_written_is_a_fault(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.db").touch()
    monkeypatch.setattr(os, "access", lambda place, _: place != Path(part))  # root may write everywhere
    assert run(*ANY_PORTS, "--set", "store.path=t.db") == 1
    assert capsys.readouterr().err == f'store.path: "{part}" cannot be written to by this user\n'


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_can_read_is_warned_of(
    mode: int, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    key = Path("license.key")
    key.write_text("0f" * 32)
    key.chmod(mode)
    assert run(*ANY_PORTS, "--set", f"registration.key_file={key}") == 0
    warning = f'warning: registration.key_file: other users can read "{key}": chmod 600 it'
    assert (warning in capsys.readouterr().out.splitlines()) == warned


def test_an_address_of_another_machine_is_a_fault_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    # 192.0.2.0/24 is reserved for documentation: no machine has such an address.
    assert run(*ANY_PORTS, "--set", "listen.host=192.0.2.1", "--set", "accounts.trust_claims=true") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == 'listen.host: cannot listen on "192.0.2.1": Cannot assign requested address\n'


def test_the_commented_default_file_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--defaults", "--write-defaults", "--write-defaults=-"):
        assert run(option) == 0
        assert capsys.readouterr().out == document()


def test_the_commented_default_file_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("what was there before, and is longer than nothing")
    assert run("--write-defaults", str(file)) == 0
    assert file.read_text(encoding="utf-8") == document()
    assert run("--write-defaults", str(tmp_path / "nowhere" / "gateway.toml")) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{tmp_path}/nowhere/gateway.toml: cannot be written: No such file or directory\n"


@pytest.mark.parametrize(
    ("content", "good"),
    [
        (b"0f" * 32, True),
        (b"  " + b"0F" * 32 + b"\n\n", True),
        (b"\xef\xbb\xbf" + b"0f" * 32 + b"\r\n", True),
        (b"", False),
        (b"0f" * 31, False),
        (b"0f" * 33, False),
        (b"0g" * 32, False),
        (b"\xff" * 64, False),
        (b"\xd9\xa1" * 64, False),  # digits, but none of ours
    ],
)
def test_a_key_file_holds_64_hex_digits(
    content: bytes, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.key").write_bytes(content)
    assert run(*ANY_PORTS, "--set", "registration.key_file=demo.key") == (0 if good else 1)
    said = 'registration.key_file: "demo.key" holds no key: a key is 64 hex digits\n'
    assert capsys.readouterr().err == ("" if good else said)


def test_the_defaults_are_not_written_over_a_store_that_a_gateway_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_elsewhere(tmp_path / "t.db"):
        assert main(["check", "--write-defaults", str(tmp_path / "t.db")]) == 1
    path = tmp_path / "t.db"
    assert capsys.readouterr().err == f"tallygate: {path}: it belongs to the store {path} of a gateway\n"
    assert (tmp_path / "t.db").read_bytes() == b""


@pytest.mark.parametrize("text", ["", "a" * 31, "a b" * 20, "ä" * 40, "a" * 513], ids=range(5))
def test_a_token_file_holds_a_token_and_what_it_holds_is_not_said(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("operator.token")
    path.write_text(text, encoding="utf-8")
    assert run(*ANY_PORTS, "--set", f"listen.operator_token_file={path}") == 1
    assert capsys.readouterr().err == (
        f'listen.operator_token_file: "{path}" holds no token: a token has at least 32 printable ASCII characters '
        "without a space\n"
    )


def test_a_token_file_that_others_can_read_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("operator.token")
    path.write_text("a" * 32, encoding="utf-8")
    path.chmod(0o640)
    warning = f'warning: listen.operator_token_file: other users can read "{path}": chmod 600 it'
    assert run(*ANY_PORTS, "--set", f"listen.operator_token_file={path}") == 0
    assert warning in capsys.readouterr().out
    path.chmod(0o600)
    assert run(*ANY_PORTS, "--set", f"listen.operator_token_file={path}") == 0
    assert warning not in capsys.readouterr().out


def test_a_rule_for_seats_of_a_group_that_the_store_does_not_have_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.db"
    rule = '[{ pool = "seats", group = "engineers", most = 1 }]'
    given = (f"license.rule={rule}", "license.model=floating", f"store.path={store}")
    settings = [each for setting in given for each in ("--set", setting)]

    async def make() -> None:
        async with offline_store(store):
            pass

    def warned() -> list[str]:
        assert run(*ANY_PORTS, *settings) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: license.rule")]

    assert warned() == []  # there is no store yet that could have it
    asyncio.run(make())
    assert warned() == ['warning: license.rule: item 1: no group "engineers": there is none yet']
    for group, told in (
        (
            "engineer",
            ['warning: license.rule: item 1: no group "engineers": there are engineer (did you mean "engineer"?)'],
        ),
        ("engineers", []),
    ):
        with contextlib.closing(sqlite3.connect(store)) as file, file:
            file.execute("INSERT INTO team (name, accounts, permanent) VALUES (?, '[]', 0)", (group,))
        assert warned() == told
    store.write_bytes(b"not a store")
    assert warned() == []
