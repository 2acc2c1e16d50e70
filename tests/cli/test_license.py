"""`tallygate license` and `registrar`: licenses sold through a gateway and on a file, licenses installed by hand, the
registration server alone, and how each of them fails.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.loader import SHORTEST_SECRET
from gateway.cli.main import main
from gateway.core.names import NAME_FORM
from gateway.core.registration.authentication import canonical, mac
from gateway.core.registration.license_status import LicenseState
from tests.cli.program import Shell, begin, end, run_here, said
from tests.conftest import License, Serve, until
from tests.edge.disk import written

KEY = re.compile(r"[0-9a-f]{64}\n").fullmatch
NOBODY = "127.0.0.1:1"
"""A registration server that does not answer."""


NEW = "{}: there was no store, a new one was made\n"


class File:
    """Commands for a store that no gateway holds, run in this process."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = main(["license", *words, "--store", str(self.path)])
        told = self._capsys.readouterr()
        return code, told.out, told.err.removesuffix(NEW.format(self.path))

    def said(self, *words: str) -> str:
        """What a command that succeeds prints."""
        code, out, err = self(*words)
        assert (code, err) == (0, "")
        return out

    def failed(self, *words: str) -> str:
        """The one line of a command that fails, without the program's name."""
        code, out, err = self(*words)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        return err.removeprefix("tallygate: ").rstrip("\n")


@pytest.fixture
def vendor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> File:
    """The store of a registrar."""
    return File(tmp_path / "vendor.db", capsys)


@pytest.mark.parametrize("words", [("license", "add", "A"), ("token", "add", "ops", "--scope", "read")])
def test_a_store_that_was_not_there_is_said_to_be_new(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "typo.db")
    assert main([*words, "--store", store]) == 0
    assert capsys.readouterr().err == NEW.format(store)
    assert main([*words, "--store", store]) == 0
    assert "new" not in capsys.readouterr().err


def test_a_store_is_not_made_to_list_or_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "typo.db"
    for words in (("license", "list"), ("token", "list"), ("token", "revoke", "ops")):
        assert main([*words, "--store", str(store)]) == 1
        assert capsys.readouterr() == ("", f"tallygate: {store}: there is no store\n")
    assert not store.exists()


# -- selling, through the operator port --------------------------------------------------------------------------------


async def test_the_key_is_printed_alone_and_once(serve: Serve) -> None:
    house = await serve()
    shell = Shell(house)
    key = await shell.said("license", "add", "ACME-1", "--edition", "free")
    assert KEY(key)
    licenses = house.runtime.registrar.registrar.licenses
    assert licenses["ACME-1"].key.hex() == key.strip()
    changed = await shell("license", "add", "ACME-1", "--limit", "pro=50")
    assert changed == (0, "", "changed ACME-1; its key stays as it is\n")
    assert licenses["ACME-1"].key.hex() == key.strip()
    told = await shell.said("license", "show", "ACME-1")
    assert key.strip() not in told
    assert json.loads(told)["limits"] == {"pro": 50}
    made = json.loads(await shell.said("license", "add", "ACME-2", "--json"))
    assert KEY(made["key"] + "\n")
    again = json.loads(await shell.said("license", "add", "ACME-2", "--json"))
    assert again == {name: value for name, value in made.items() if name != "key"}


async def test_what_was_sold_is_listed(serve: Serve) -> None:
    shell = Shell(await serve())
    assert await shell.said("license", "list") == "no license was sold\n"
    terms = ["--edition", "enterprise", "--limit", "pro=50", "--limit", "guest=5", "--extension", "sdk"]
    await shell.said("license", "add", "B", *terms, "--not-after", "2099-12-31", "--needs-connection")
    await shell.said("license", "add", "A", "--model", "floating", "--limit", "seats=20")
    assert [line.split() for line in (await shell.said("license", "list")).splitlines()] == [
        ["serial", "state", "model", "edition", "limits", "not", "after", "connected"],
        ["A", "active", "floating", "seats=20", "no", "end", "-"],
        ["B", "active", "trueconf", "enterprise", "pro=50", "guest=5", "2099-12-31T23:59:59Z", "-"],
    ]
    shown = json.loads(await shell.said("license", "show", "B"))
    assert (shown["extensions"], shown["needs_connection"], shown["servers"]) == (["sdk"], True, [])
    assert [each["serial"] for each in json.loads(await shell.said("license", "list", "--json"))] == ["A", "B"]


async def test_who_is_connected_is_shown_and_told_when_it_is_over(license: License) -> None:
    house = await license({"edition": "free"})
    assert house.registrar is not None
    shell = Shell(house.registrar)
    assert (await shell.said("license", "list")).splitlines()[1].split()[-1] == "127.0.0.1"
    (server,) = json.loads(await shell.said("license", "show", "S-0"))["servers"]
    assert (server["server"], server["connected"]) == (house.runtime.registration.installation, True)
    assert await shell.said("license", "revoke", "S-0") == "revoked S-0\n"
    await until(lambda: house.runtime.registration.state is LicenseState.REVOKED)
    assert (await shell.said("license", "list")).splitlines()[1].split()[:2] == ["S-0", "revoked"]
    assert "409" not in (refused := await shell.failed("license", "add", "S-0"))
    assert "the license S-0 was revoked; remove it to sell it anew, with another key" in refused
    assert await shell.said("license", "remove", "S-0") == "removed S-0\n"
    assert await shell.said("license", "list") == "no license was sold\n"


async def test_what_the_registrar_refuses_is_one_line(serve: Serve, tmp_path: Path) -> None:
    shell = Shell(await serve())
    for action in ("show", "revoke", "remove"):
        assert "no_such_license: no license has this serial" in await shell.failed("license", action, "NONE")
    pool = await shell.failed("license", "add", "A", "--limit", "seats=5")
    assert "limits: trueconf has no pool seats; expected online, pro, guest, gateway" in pool
    edition = await shell.failed("license", "add", "A", "--edition", "gold")
    assert "edition: trueconf has " in edition
    request = tmp_path / "request.json"
    request.write_text('{"serial": "NONE"}')
    assert "no license has this serial" in await shell.failed("license", "answer", str(request))
    for words in (["request"], ["install", str(request)]):
        assert 'registration.role is not "agent"' in await shell.failed("license", *words)
    elsewhere = await run_here("license", "list", "--operator", "http://127.0.0.1:1")
    assert elsewhere == (1, "", "tallygate: no gateway answers at http://127.0.0.1:1: is it running?\n")


# -- selling, on a file ------------------------------------------------------------------------------------------------


def test_licenses_are_sold_on_a_file(vendor: File) -> None:
    key = vendor.said("add", "ACME-1", "--edition", "free")
    assert KEY(key)
    assert vendor.path.stat().st_mode & 0o077 == 0
    assert vendor("add", "ACME-1", "--limit", "pro=5") == (0, "", "changed ACME-1; its key stays as it is\n")
    assert json.loads(vendor.said("show", "ACME-1"))["limits"] == {"pro": 5}
    assert "key" in json.loads(vendor.said("add", "CAD-7", "--model", "floating", "--limit", "seats=20", "--json"))
    assert [line.split()[0] for line in vendor.said("list").splitlines()] == ["serial", "ACME-1", "CAD-7"]
    assert vendor.said("revoke", "CAD-7") == "revoked CAD-7\n"
    assert json.loads(vendor.said("list", "--json"))[1]["state"] == "revoked"
    assert vendor.failed("add", "CAD-7").startswith("the license CAD-7 was revoked; remove it")
    assert vendor.said("remove", "CAD-7") == "removed CAD-7\n"
    for action in ("show", "revoke", "remove"):
        assert vendor.failed(action, "CAD-7") == "no license has the serial CAD-7"
    assert vendor.failed("add", "A", "--limit", "seats=5").startswith("limits: trueconf has no pool seats")


async def test_what_was_sold_on_a_file_is_what_the_registrar_goes_by(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = (await run_here("license", "add", "ACME-1", "--store", "vendor.db")).out
    house = await serve(store__path="vendor.db")
    assert house.runtime.registrar.registrar.licenses["ACME-1"].key.hex() == key.strip()
    held = await run_here("license", "list", "--store", "vendor.db")
    assert held == (1, "", "tallygate: vendor.db: another gateway holds it\n")
    await written(house.runtime.persistence)
    assert await Shell(house).said("audit", "verify")
    actions = [each["action"] for each in (await house.http("GET", "/api/audit"))[1]["items"]]
    assert actions == ["license.sold", "start"]


@pytest.mark.parametrize("words", [["list"], ["show", "A"], ["revoke", "A"], ["remove", "A"], ["answer", "r.json"]])
def test_only_what_makes_something_makes_a_store(vendor: File, words: list[str]) -> None:
    assert vendor.failed(*words) == f"{vendor.path}: there is no store"
    assert not vendor.path.exists()


def test_a_file_that_is_no_store_is_refused_and_left_alone(vendor: File) -> None:
    vendor.path.write_bytes(b"no database, whatever its name is" * 9)
    assert vendor.failed("list").startswith(f"{vendor.path}: ")
    with closing(sqlite3.connect(other := vendor.path.with_name("other.db"))) as file, file:
        file.execute("CREATE TABLE mine (a)")
    vendor.path = other
    assert vendor.failed("list") == f"{other}: it belongs to another program"
    assert sorted(each.name for each in other.parent.iterdir()) == ["other.db", "vendor.db"]


# -- by hand -----------------------------------------------------------------------------------------------------------


def altered(answer: Path, **fields: Any) -> Path:
    """An answer with other fields, and its old code."""
    path = answer.with_name("altered.json")
    path.write_text(json.dumps(json.loads(answer.read_text()) | fields))
    return path


async def test_a_license_is_asked_for_answered_and_installed_between_two_gateways(
    license: License, tmp_path: Path
) -> None:
    house = await license({"edition": "free", "not_after": "2099-12-31"}, registered=False, registration__server=NOBODY)
    assert house.registrar is not None
    ours, vendors = Shell(house), Shell(house.registrar)
    request, answer, other = (tmp_path / f"{name}.json" for name in ("request", "answer", "other"))
    request.write_text(await ours.said("license", "request"))
    assert set(json.loads(request.read_text())) == {"server", "serial", "nonce", "time"}
    answer.write_text(await vendors.said("license", "answer", str(request)))
    install = ("license", "install")
    assert "bad_mac" in await ours.failed(*install, str(altered(answer, limits={"pro": 900})))
    assert "bad_mac" in await ours.failed(*install, str(altered(answer, note="\ud800")))
    assert "another_installation" in await ours.failed(*install, str(altered(answer, server="elsewhere")))
    assert "another_serial" in await ours.failed(*install, str(altered(answer, serial="S-9")))
    assert house.runtime.registration.state is LicenseState.UNREGISTERED
    assert await ours.said(*install, str(answer)) == "installed S-0, good until 2099-12-31T23:59:59Z\n"
    _, told = await house.http("GET", "/api/registration")
    assert (told["state"], told["offline"], told["shutdown_at"]) == ("registered", True, None)
    await house.welcomed()
    assert "not_newer" in await ours.failed(*install, str(answer))
    other.write_text(request.read_text().replace(json.loads(request.read_text())["nonce"], "0" * 32))
    stale = json.loads(answer.read_text()) | {"nonce": "0" * 32, "issued_at": "2099-01-01T00:00:00Z"}
    key = house.registrar.runtime.registrar.registrar.licenses["S-0"].key
    other.write_text(json.dumps(stale | {"mac": mac(key, "offline", canonical(stale))}))
    assert "not_requested" in await ours.failed(*install, str(other))
    assert [each["action"] for each in (await house.registrar.http("GET", "/api/audit"))[1]["items"]][-1] == (
        "license.answered"
    )


async def test_a_license_is_asked_for_answered_and_installed_on_files(
    serve: Serve, vendor: File, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = File(tmp_path / "ours.db", capsys)
    key, request, answer = (tmp_path / name for name in ("demo.key", "request.json", "answer.json"))
    key.write_text("00" * 32)
    config = tmp_path / "gateway.toml"
    config.write_text(f'[registration]\nrole = "agent"\nserver = "{NOBODY}"\nserial = "DEMO-1"\nkey_file = "{key}"\n')

    async def on(file: File, *words: str) -> tuple[int, str, str]:
        return await run_here("license", *words, "--store", str(file.path))

    made = await on(vendor, "add", "DEMO-1", "--limit", "pro=7", "--not-after", "2099-12-31")
    asked = await on(ours, "request", "--config", str(config))
    assert (asked[0], asked[2]) == (0, NEW.format(ours.path))
    request.write_text(asked[1])
    answered = await on(vendor, "answer", str(request))
    assert (answered[0], answered[2]) == (0, "")
    answer.write_text(answered[1])
    install = ("install", str(answer), "--config", str(config))
    forged = await on(ours, *install)
    assert forged == (1, "", "tallygate: the license is not genuine, or was made with another key\n")
    key.write_text(made[1])
    assert await on(ours, *install) == (0, "installed DEMO-1, good until 2099-12-31T23:59:59Z\n", "")
    again = await on(ours, *install)
    assert again[0] == 1
    assert "is not newer than" in again[2]
    with closing(sqlite3.connect(vendor.path)) as file:
        assert [action for (action,) in file.execute("SELECT action FROM audit")] == [
            "license.sold",
            "license.answered",
        ]
    house = await serve(
        store__path=ours.path,
        registration__role="agent",
        registration__server=NOBODY,
        registration__serial="DEMO-1",
        registration__key_file=key,
    )
    assert house.runtime.registration.state is LicenseState.REGISTERED
    _, shown = await house.http("GET", "/api/license")
    assert (shown["model"], shown["models"]["trueconf"]["pools"]["pro"]["limit"]) == ("trueconf", 7)
    await house.welcomed()


async def test_an_answer_may_come_through_a_pipe(serve: Serve, tmp_path: Path) -> None:
    house = await serve()
    await Shell(house).said("license", "add", "DEMO-1")
    request = {"server": "there", "serial": "DEMO-1", "nonce": "0" * 32, "time": "2026-11-21T00:00:00Z"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    with (tmp_path / "request.json").open("rb") as file:
        answering = await begin("license", "answer", "-", "--operator", house.url, stdin=file.fileno())
        ended = await end(answering)
    said = "DEMO-1 has no last day: installed by hand, nothing ever ends it\n"
    assert (ended.code, ended.err) == (0, said)
    assert json.loads(ended.out).items() >= {"server": "there", "nonce": "0" * 32}.items()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        (b"", "no JSON"),
        (b'{"serial": ', "no JSON"),
        (b'{"serial": "\xff"}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "neither a request nor an answer, it names no serial"),
        (b"{}", "neither a request nor an answer, it names no serial"),
        (b'{"serial": ".."}', "neither a request nor an answer, it names no serial"),
    ],
)
def test_a_file_that_is_no_document_is_one_line(content: bytes | None, fault: str, vendor: File) -> None:
    vendor.said("add", "A")
    document = vendor.path.with_name("document.json")
    if content is not None:
        document.write_bytes(content)
    assert vendor.failed("answer", str(document)) == f"{document}: {fault}"


def test_a_request_that_is_none_says_what_is_wrong_with_it(vendor: File) -> None:
    code, _, err = vendor("add", "A", "--not-after", "2020-01-01")
    assert (code, err) == (0, "A is over already: it was good until 2020-01-01T23:59:59Z\n")
    request = vendor.path.with_name("request.json")
    for fields, fault in (
        ({"serial": "A"}, f"server: required, {NAME_FORM}, in the normalization form C"),
        ({"serial": "A", "server": "s", "nonce": "zz"}, "nonce: expected 32 hex digits"),
        ({"serial": "B", "server": "s", "nonce": "0" * 32}, "no license has the serial B"),
        ({"serial": "A", "server": "s", "nonce": "0" * 32}, "the license A is expired"),
    ):
        request.write_text(json.dumps(fields))
        assert vendor.failed("answer", str(request)) == fault


def test_a_gateway_of_a_cluster_has_no_license_by_hand(vendor: File) -> None:
    secret = vendor.path.with_name("secret")
    secret.touch(0o600)
    secret.write_text("s" * SHORTEST_SECRET)
    cluster = ['--set=cluster.etcd=["http://127.0.0.1:2379"]', "--set=cluster.name=a"]
    cluster.append(f"--set=cluster.secret_file={secret}")
    assert vendor.failed("request", *cluster, "--set=registrar.enabled=false") == (
        "a gateway of a cluster cannot ask for a license by hand, nor install one"
    )


def test_asking_on_a_file_needs_the_configuration_and_its_key(vendor: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(vendor.path.parent)
    assert vendor.failed("request") == (
        'registration.role is not "agent": name the gateway\'s configuration with --config'
    )
    vendor.said("add", "A")
    request = vendor.path.with_name("request.json")
    request.write_text('{"serial": "A"}')
    assert "with --config" in vendor.failed("install", str(request))
    agent = ["--set=registration.role=agent", f"--set=registration.server={NOBODY}", "--set=registration.serial=A"]
    vendor.path.with_name("bad.key").write_text("not a key")
    assert vendor.failed("request", *agent) == (
        'registration.key_file: is missing, needed with registration.role = "agent"'
    )
    for file, fault in (
        ("none.key", "cannot be read: No such file or directory"),
        ("bad.key", "holds no key: a key is 64 hex digits"),
    ):
        told = vendor.failed("install", str(request), *agent, f"--set=registration.key_file={file}")
        assert told == f'registration.key_file: "{file}" {fault}'


# -- the registration server alone -------------------------------------------------------------------------------------


async def test_the_registration_server_runs_alone(tmp_path: Path) -> None:
    ready, store = tmp_path / "ready.json", tmp_path / "vendor.db"
    free = [f"--set={key}=0" for key in ("listen.tcp", "listen.websocket", "listen.operator", "registrar.port")]
    await run_here("license", "add", "A", "--store", str(store))
    unregistered = "--set=registration.role=agent"  # the license of a gateway is none of its business
    process = await begin("registrar", *free, unregistered, f"--set=store.path={store}", "--ready-file", str(ready))
    try:
        await said(process.stdout, "(1 license)")
        ports = json.loads(ready.read_text())
        assert (ports["tcp"], ports["websocket"]) == (None, None)
        url = f"http://127.0.0.1:{ports['operator']}"
        sold = await run_here("license", "list", "--operator", url)
        assert sold.out.splitlines()[1].split()[:2] == ["A", "active"]
        process.send_signal(signal.SIGTERM)
        ended = await end(process)
    finally:
        if process.returncode is None:
            process.kill()
    assert (ended.code, ended.complaints) == (0, [])
    assert set(json.loads(ready.read_text()).values()) == {None}


async def test_its_screen_tells_of_no_clients_and_it_is_ready(tmp_path: Path) -> None:
    free = [f"--set={key}=0" for key in ("listen.operator", "registrar.port")]
    ready = tmp_path / "ready.json"
    process = await begin("registrar", *free, "--set=store.path=:memory:", "--ready-file", str(ready))
    try:
        assert process.stdout is not None
        screen = [(await process.stdout.readline()).decode().split() for _ in range(7)]
        words = {line[0]: line for line in screen if line}
        ports = json.loads(ready.read_text())
        assert list(words) == ["tallygate", "operators", "registrar", "store", "capacity"]
        assert words["registrar"][2:4] == [f"127.0.0.1:{ports['registrar']}", "(0"]
        status = await run_here("status", "--operator", f"http://127.0.0.1:{ports['operator']}")
        assert "connections 0" in status.out
    finally:
        process.send_signal(signal.SIGTERM)
        ended = await end(process)
    assert (ended.code, ended.complaints) == (0, [])


# -- usage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "license",
        "license sell A",
        "license add",
        "license add ..",
        "license add A --model none",
        "license add A --limit pro",
        "license add A --limit pro=",
        "license add A --limit =5",
        "license add A --limit pro=-1",
        "license add A --limit pro=1.5",
        "license add A --limit pro=99999999999",
        "license add A --not-after soon",
        "license add A --not-after 2027-13-01",
        "license add A --not-after 2027-12-31T10:00:00",
        "license show",
        "license revoke",
        "license remove",
        "license answer",
        "license install",
        "license list --json=x",
        "registrar now",
    ],
)
def test_wrong_usage_has_code_two(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # in a checkout that is tried out the default store stands
    assert main(line.split()) == 2
    assert "usage: tallygate" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
