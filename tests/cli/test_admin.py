"""The commands that administer a gateway: what they do, what they print, and how they fail."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.operator_client import table
from tests.cli.program import Shell, run, run_here
from tests.conftest import Serve

# -- through the operator port -----------------------------------------------------------------------------------------


async def test_accounts_and_their_tokens(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    shell = Shell(house)
    assert await shell.said("account", "list") == "no account is registered\n"
    assert await shell.said("account", "add", "Ann@Example.org") == "registered ann@example.org\n"
    old = (await shell.said("token", "add", "--account", "ann@example.org")).strip()
    new = (await shell.said("token", "add", "--account", "ann@example.org")).strip()
    for token in (old, new):
        await house.welcomed(account="ann@example.org", device=token[:8].strip("-_"), token=token)
    first, second = json.loads(await shell.said("account", "show", "ann@example.org", "--json"))["tokens"]
    assert (await shell.said("token", "revoke", "--account", "ann@example.org", first["fingerprint"])).startswith("rev")
    assert (await (await house.connect()).hello(account="ann@example.org", token=old))["reason"] == "bad_credential"
    shown = await shell.said("account", "show", "ann@example.org")
    assert shown.startswith("ann@example.org: 1 connection, groups: none\n")
    assert second["fingerprint"] in shown
    assert first["fingerprint"] not in shown
    assert (await shell.said("account", "list")).splitlines()[1].split() == ["ann@example.org", "1", "1"]
    assert await shell.said("account", "delete", "ann@example.org") == "deleted ann@example.org\n"
    assert "no_such_account" in await shell.failed("account", "show", "ann@example.org")


async def test_groups(serve: Serve) -> None:
    shell = Shell(await serve(license__model="trueconf"))
    assert await shell.said("group", "set", "staff", "--permanent", "Ann", "bob") == (
        "set staff: 2 accounts, permanent licenses\n"
    )
    assert await shell.said("group", "show", "staff") == "staff: permanent licenses\nann\nbob\n"
    assert json.loads(await shell.said("group", "list", "--json")) == [
        {"group": "staff", "accounts": ["ann", "bob"], "permanent": True, "priority": 0}
    ]
    assert await shell.said("group", "delete", "staff") == "deleted staff\n"
    assert await shell.said("group", "list") == "there is no group\n"
    assert "no_such_group" in await shell.failed("group", "delete", "staff")


@pytest.mark.parametrize("name", ["", ".", ".."])
@pytest.mark.parametrize(
    "words",
    [
        ("account", "delete"),
        ("person", "erase"),
        ("group", "delete"),
        ("ban", "lift"),
        ("revoke",),
        ("kick", "--account"),
    ],
)
async def test_what_is_no_name_is_said_to_be_none(words: tuple[str, ...], name: str, closed_port: int) -> None:
    ended = await run_here(*words, name, "--operator", f"http://127.0.0.1:{closed_port}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith(f': "{name}" is no name\n')


async def test_hosts(serve: Serve) -> None:
    shell = Shell(await serve(license__model="nefsis-named", **{"license__nefsis-named__hosts": 1}))
    assert (await shell.said("host", "add", "Ann")).startswith("ann is a named host since 2")
    assert "pool_full: all 1 names are taken" in await shell.failed("host", "add", "bob")
    (row,) = (await shell.said("host", "list")).splitlines()[1:]
    assert (row.split()[0], row.split()[-1]) == ("ann", "no")
    assert await shell.said("host", "remove", "ann") == "ann is no named host any more\n"
    assert await shell.said("host", "list") == "no host is named\n"


async def test_bans(serve: Serve) -> None:
    house = await serve()
    shell = Shell(house)
    assert (await shell.said("ban", "add", "Ann", "--for", "2h")).startswith("account ann is banned until 2")
    assert (await (await house.connect()).hello(account="ann"))["reason"] == "banned"
    assert (await shell.said("ban", "list")).splitlines()[1].startswith("ann ")
    assert await shell.said("ban", "lift", "ann") == "ann is no longer banned\n"
    await house.welcomed(account="ann")
    assert "nobody of this name is banned" in await shell.failed("ban", "lift", "ann")


async def test_a_network_and_an_account_of_another_server_are_banned(serve: Serve) -> None:
    house = await serve(federation__homes=["partner.example"])
    shell = Shell(house)
    await house.welcomed(account="ann", home="partner.example")
    said = await shell.said("ban", "add", "Ann", "--home", "Partner.Example", "--for", "2h")
    assert said.startswith("account ann of partner.example is banned until 2")
    assert said.endswith("; closed 1 session\n")
    assert (await shell.said("ban", "add", "127.0.0.0/8", "--for", "2h")).startswith("network 127.0.0.0/8 is banned")
    assert (await (await house.connect()).hello())["reason"] == "banned"
    rows = [line.split() for line in (await shell.said("ban", "list")).splitlines()[1:]]
    assert [row[:-1] for row in rows] == [["127.0.0.0/8", "network"], ["ann", "of", "partner.example", "account"]]
    assert "looks like an address or a network, and is none" in await shell.failed("ban", "add", "10/8", "--for", "2h")
    assert await shell.said("ban", "lift", "127.0.0.0/8") == "127.0.0.0/8 is no longer banned\n"
    assert "nobody of this name is banned" in await shell.failed("ban", "lift", "ann")
    lifted = await shell.said("ban", "lift", "ann", "--home", "partner.example")
    assert lifted == "ann of partner.example is no longer banned\n"
    await house.welcomed(account="ann", home="partner.example")
    await shell.said("kick", "--account", "ann", "--home", "partner.example")
    assert "nobody is connected as ann of" in await shell.failed(
        "kick", "--account", "ann", "--home", "partner.example"
    )


async def test_a_pro_license_is_revoked(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="c")
    shell = Shell(house)
    assert await shell.said("revoke", "ann") == "revoked the PRO license of ann\n"
    assert (await wire.hear())["reason"] == "license_withdrawn"
    assert "no_such_license" in await shell.failed("revoke", "ann")


async def test_operators_tokens(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(await serve())
    token = (await shell.said("token", "add", "prometheus", "--scope", "read")).strip()
    name, scope, fingerprint, _ = (await shell.said("token", "list")).splitlines()[1].split()
    assert (name, scope) == ("prometheus", "read")
    monkeypatch.setenv("TALLYGATE_TOKEN", token)
    assert "needs the scope admin" in await shell.failed("account", "add", "ann")
    monkeypatch.setenv("TALLYGATE_TOKEN", "wrong")
    assert "bad_token: no operator has this token" in await shell.failed("account", "list")
    monkeypatch.delenv("TALLYGATE_TOKEN")
    assert await shell.said("token", "revoke", "prometheus", fingerprint) == f"revoked {fingerprint} of prometheus\n"
    assert await shell.said("token", "list", "--json") == "[]\n"


# -- the audit log -----------------------------------------------------------------------------------------------------


async def test_the_audit_log_is_shown_and_verified(serve: Serve) -> None:
    house = await serve()
    shell = Shell(house)
    await house.http("PUT", "/api/groups/staff", json={"accounts": ["ann"]})
    lines = (await shell.said("audit", "show", "--since", "1h")).splitlines()
    assert lines[-1].split()[2:] == ["loopback", "group.set", "staff", 'accounts=["ann"]', "permanent=false"]
    shown = [json.loads(line) for line in (await shell.said("audit", "show", "--json")).splitlines()]
    assert [each["action"] for each in shown] == ["start", "group.set"]
    verified = await shell.said("audit", "verify", "--has", shown[0]["hash"])
    assert verified == f"the audit log holds: 2 entries, the last has the hash {shown[1]['hash']}\n"
    missing = "0" * 64
    assert await shell.failed("audit", "verify", "--has", missing) == (
        f"tallygate: no entry has the hash {missing}: its end was cut off, or this is another log\n"
    )
    assert "bad_field" in await shell.failed("audit", "show", "--since", "yesterday")


async def test_a_changed_entry_is_named_by_port_and_by_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    house = await serve(store__path=path)
    for name in ("a", "b", "c"):
        await house.http("PUT", f"/api/accounts/{name}")
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("DROP TRIGGER audit_changed")
        file.execute("UPDATE audit SET subject = 'nobody' WHERE seq = 3")
    assert await Shell(house).failed("audit", "verify") == "tallygate: the audit log is broken: entry 3 was changed\n"
    ended = await run_here("audit", "verify", "--store", str(path))
    assert ended == (1, "", "tallygate: the audit log is broken: entry 3 was changed\n")


async def test_a_file_is_verified_while_a_gateway_holds_it_and_without(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    await (
        house.runtime.persistence.audit_log.write()
    )  # until then nothing says that the entry of the start is in the file
    ended = await run_here("audit", "verify", "--store", str(tmp_path / "t.db"))
    assert ended.out.startswith("the audit log holds: 1 entry")
    await house.gateway.close(drain=0)
    ended = await run_here("audit", "verify", "--store", str(tmp_path / "t.db"))
    assert ended.out.startswith("the audit log holds: 2 entries")


@pytest.mark.parametrize("content", [None, b"no database, whatever its name is" * 9])
def test_a_file_that_is_no_store_is_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    assert main(["audit", "verify", "--store", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"tallygate: {path}: ")


# -- the backup --------------------------------------------------------------------------------------------------------


async def test_a_backup_is_a_store_of_its_own(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    await house.http("PUT", "/api/accounts/ann")
    target = tmp_path / "backups" / "b.db"
    target.parent.mkdir()
    target.write_text("an earlier one")
    said = await Shell(house).said("backup", str(target))
    assert said == f"{target}: {target.stat().st_size} bytes\n"
    assert os.listdir(target.parent) == ["b.db"]
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".backup")]
    assert target.stat().st_mode & 0o077 == 0
    verified = await run_here("audit", "verify", "--store", str(target))
    assert verified.out.startswith("the audit log holds: 2 entries")
    copy = await serve(store__path=target)
    assert [each["account"] for each in (await copy.http("GET", "/api/accounts"))[1]["items"]] == ["ann"]


async def test_a_backup_that_fails_leaves_the_earlier_one(serve: Serve, tmp_path: Path) -> None:
    shell = Shell(await serve())
    target = tmp_path / "b.db"
    target.write_text("an earlier one")
    ended = await run_here("backup", str(target), "--operator", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "tallygate: no gateway answers at http://127.0.0.1:1: is it running?\n"
    assert (os.listdir(tmp_path), target.read_text()) == (["b.db"], "an earlier one")
    assert "No such file or directory" in await shell.failed("backup", str(tmp_path / "none" / "b.db"))


def inodes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in folder.iterdir()}


async def test_a_backup_does_not_replace_the_store_that_it_copies(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    shell = Shell(await serve(store__path=path))
    before = inodes(tmp_path)
    assert before.keys() >= {"t.db", "t.db-wal", "t.db-shm", "t.db.lock"}
    for name in before:
        said = await shell.failed("backup", str(tmp_path / name))
        assert said == f"tallygate: {tmp_path / name}: it belongs to the store {path} of a gateway\n"
    assert inodes(tmp_path) == before


async def test_a_backup_into_a_pipe_leaves_stdout_alone(serve: Serve, tmp_path: Path) -> None:
    shell, pipe = Shell(await serve(store__path=tmp_path / "t.db")), tmp_path / "pipe"
    os.mkfifo(pipe)
    assert await shell.failed("backup", str(pipe)) == f"tallygate: {pipe}: nobody reads from this pipe\n"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)  # room for all of it
    ended = await shell("backup", str(pipe))
    with os.fdopen(reader, "rb") as read:
        copy = read.read()
    assert (ended.code, ended.out, ended.err) == (0, "", f"{pipe}: {len(copy)} bytes\n")
    assert copy.startswith(b"SQLite format 3")


async def test_a_backup_to_a_folder_is_one_line(serve: Serve) -> None:
    assert await Shell(await serve()).failed("backup", ".") == "tallygate: .: Is a directory\n"


# -- on a file ---------------------------------------------------------------------------------------------------------


async def test_the_first_token_is_made_before_the_gateway_runs(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    outside = ("--set", "listen.operator_host=0.0.0.0", "--set", f"store.path={path}")
    free = [f"--set={key}=0" for key in ("listen.tcp", "listen.websocket", "listen.operator", "registrar.port")]
    refused = await run("serve", *free, *outside)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert f"make one first: tallygate token add NAME --scope admin --store {path}" in refused.err
    made = await run_here("token", "add", "ops", "--scope", "admin", "--store", str(path))
    assert (made.code, made.err) == (0, "")
    house = await serve(listen__operator_host="0.0.0.0", store__path=path)  # noqa: S104 - that is what is guarded
    headers = {"Authorization": f"Bearer {made.out.strip()}"}
    assert (await house.http("GET", "/api/license", headers=headers))[0] == 200
    held = await run_here("token", "list", "--store", str(path))
    assert (held.code, held.err) == (1, f"tallygate: {path}: another gateway holds it\n")


def test_tokens_of_a_file_are_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(tmp_path / "t.db")]
    assert main(["token", "add", "ops", "--scope", "admin", *store]) == 0
    capsys.readouterr()
    assert main(["token", "list", "--json", *store]) == 0
    ((shown,),) = (each["tokens"] for each in json.loads(capsys.readouterr().out))
    assert main(["token", "revoke", "ops", shown["fingerprint"], *store]) == 0
    assert main(["token", "revoke", "ops", *store]) == 1
    assert main(["token", "add", "gateway", "--scope", "admin", *store]) == 1
    assert capsys.readouterr().err == (
        "tallygate: no operator has this token\ntallygate: gateway: no name for an operator\n"
    )


# -- usage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "account",
        "account add",
        "account rename ann",
        "group set staff",
        "host add",
        "ban add ann",
        "ban add ann --for soon",
        "revoke",
        "backup",
        "audit",
        "token add",
        "token add ops",
        "token add ops --scope all",
        "token add ops --scope read --account ann",
        "token add --account ann --scope read",
        "token add --account ann --store t.db",
        "token revoke",
        "token revoke --account ann",
        "token revoke ops 123 --account ann",
    ],
)
def test_wrong_usage_has_code_two(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "usage: tallygate" in capsys.readouterr().err


def test_a_table_is_as_wide_as_its_widest_cell() -> None:
    rows = [("a", 1, None), ("longer", 10_000, "x")]
    assert table(("name", "n", "m"), rows, "none").splitlines() == [
        "name    n      m",
        "a       1",
        "longer  10000  x",
    ]
    assert table(("name",), [], "none") == "none"
