"""The audit log of a running gateway: what is in it, when it is durable, and what becomes of it without a disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.admission.commands import PutAccount
from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import AuditEntry
from gateway.edge.gateway import Gateway, running
from gateway.edge.machine import Clock
from gateway.edge.storage import audit_entries, audit_log
from gateway.edge.storage.store import Store, StoreUnavailable
from gateway.edge.storage.store_connections import Statement
from tests.conftest import House, Serve, settings_of, until


async def entries(house: House) -> list[dict[str, Any]]:
    """The whole log, as the operator port shows it, once it is durable."""
    await house.runtime.persistence.audit_log.write()
    return list((await house.http("GET", "/api/audit?limit=1000"))[1]["items"])


async def told(house: House) -> list[tuple[str, str, str]]:
    """Who did what to whom, without the start."""
    return [(each["actor"], each["action"], each["subject"]) for each in (await entries(house))[1:]]


def stored(path: Path) -> list[AuditEntry]:
    """What is in the file."""
    with closing(sqlite3.connect(path)) as file:
        return [audit_entries.entry_of(row) for row in file.execute(f"{audit_entries.ENTRIES} ORDER BY seq")]


# -- what is in it -----------------------------------------------------------------------------------------------------


async def test_every_act_is_an_entry_of_who_did_it(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__allow_pro_requests="true")
    for method, path, body in (
        ("PUT", "/api/accounts/ann", None),
        ("PUT", "/api/accounts/ann", None),
        ("POST", "/api/accounts/ann/token", None),
        ("PUT", "/api/groups/staff", {"accounts": ["ann"]}),
        ("DELETE", "/api/groups/staff", None),
        ("PUT", "/api/hosts/ann", None),
        ("PUT", "/api/hosts/ann", None),
        ("DELETE", "/api/hosts/ann", None),
        ("PUT", "/api/conferences/c", {"access": "public"}),
        ("DELETE", "/api/conferences/c", None),
        ("PUT", "/api/bans/192.0.2.7", {"for": "5m"}),
        ("DELETE", "/api/bans/192.0.2.7", None),
        ("DELETE", "/api/accounts/bob/connections?ban=5m", None),
        ("POST", "/api/tokens/ops", {"scope": "read"}),
        ("DELETE", "/api/tokens/ops", None),
        ("DELETE", "/api/accounts/ann", None),
    ):
        assert (await house.http(method, path, json=body))[0] < 300, path
    async with aiohttp.ClientSession() as session, session.get(house.url + "/api/backup") as copy:
        assert (await copy.read()).startswith(b"SQLite format 3")
    assert await told(house) == [
        ("loopback", "account.added", "ann"),
        ("loopback", "token.added", "ann"),
        ("loopback", "group.set", "staff"),
        ("loopback", "group.deleted", "staff"),
        ("loopback", "host.named", "ann"),
        ("loopback", "host.released", "ann"),
        ("loopback", "conference.declared", "c"),
        ("loopback", "conference.ended", "c"),
        ("loopback", "ban.added", "192.0.2.7"),
        ("loopback", "ban.lifted", "192.0.2.7"),
        ("loopback", "ban.added", "bob"),
        ("loopback", "account.kicked", "bob"),
        ("loopback", "operator.added", "ops"),
        ("loopback", "operator.revoked", "ops"),
        ("loopback", "account.deleted", "ann"),
        ("loopback", "backup", ""),
    ]


async def test_no_secret_is_in_it(serve: Serve) -> None:
    house = await serve()
    await house.http("PUT", "/api/accounts/ann")
    _, client = await house.http("POST", "/api/accounts/ann/token")
    _, operator = await house.http("POST", "/api/tokens/ops", json={"scope": "admin"})
    log = repr(await entries(house))
    assert client["fingerprint"] in log
    assert operator["fingerprint"] in log
    assert client["token"] not in log
    assert operator["token"] not in log


async def test_a_lease_is_granted_once_and_ends_once_whatever_happens_between(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    wire = await house.welcomed(account="ann")
    for _ in range(3):
        await wire.ask("join", conference="c")
        await wire.ask("leave", conference="c")
    await wire.ask("join", conference="c")
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
    assert await told(house) == [
        ("gateway", "lease.granted", "ann"),
        ("loopback", "license.revoked", "ann"),
        ("gateway", "lease.ended", "ann"),
    ]
    log = await entries(house)
    assert log[1]["detail"] == {"model": "trueconf", "pool": "pro", "kind": "temporary", "expires": None}
    assert log[3]["detail"] == {"model": "trueconf", "pool": "pro", "kind": "temporary", "cause": "revoked"}


async def test_leases_of_models_in_shadow_are_no_news(serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="c", host=True)
    assert await house.used("pro", "trueconf") == 1
    assert await told(house) == []


async def test_a_session_that_is_kicked_is_named_with_its_account(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect()
    session = (await wire.hello(account="ann"))["session"]
    await house.http("DELETE", f"/api/connections/{session}")
    (kicked,) = (await entries(house))[1:]
    assert (kicked["action"], kicked["subject"]) == ("session.kicked", session)
    assert kicked["detail"] == {"account": "ann", "address": "127.0.0.1"}


async def test_what_is_refused_is_an_entry_too(serve: Serve) -> None:
    house = await serve()
    await house.http("DELETE", "/api/accounts/nobody")
    await house.http("GET", "/api/accounts/nobody")
    await house.http("PUT", "/api/groups/g", data=b"{", headers={"Content-Type": "application/json"})
    await house.http("DELETE", "/api/license")
    await house.http("GET", "/api/license", headers={"Host": "evil.example"})
    log = (await entries(house))[1:]
    assert {each["action"] for each in log} == {"refused"}
    assert [(each["actor"], each["subject"], each["detail"]["status"], each["detail"]["error"]) for each in log] == [
        ("loopback", "/api/accounts/nobody", 404, "no_such_account"),
        ("loopback", "/api/groups/g", 400, "malformed"),
        ("loopback", "/api/license", 405, "method_not_allowed"),
        ("unknown", "/api/license", 403, "foreign_host"),
    ]


async def test_a_flood_of_refusals_is_a_few_entries_and_a_number(serve: Serve) -> None:
    seconds = [1000.0]
    house = await serve(clock=Clock(lambda: seconds[0], lambda: seconds[0]))
    for _ in range(130):
        await house.http("DELETE", "/api/groups/none")
    seconds[0] += 60
    await house.http("DELETE", "/api/groups/none")
    refused = (await entries(house))[1:]
    assert len(refused) == 101
    assert refused[-1]["detail"]["unsaid"] == 30
    assert sum("unsaid" in each["detail"] for each in refused) == 1


async def test_a_reload_says_what_changed_and_what_waits(serve: Serve) -> None:
    house = await serve()
    house.gateway.reload(settings_of(license__epop__users=3, listen__tcp=5))
    (reload,) = (await entries(house))[1:]
    assert (reload["actor"], reload["action"]) == ("gateway", "reload")
    assert reload["detail"] == {"changed": {"license.epop.users": ["10", "3"]}, "waiting": {"listen.tcp": ["0", "5"]}}


# -- on the disk -------------------------------------------------------------------------------------------------------


async def test_the_chain_goes_on_over_restarts_and_tells_a_crash_from_an_end(tmp_path: Path) -> None:
    settings = settings_of(store__path=tmp_path / "t.db")
    for _ in range(2):
        async with running(settings):
            pass
    crashed = Gateway(settings, files=1024)
    await crashed.open()
    crashed.runtime.persistence._running = False  # what a crash cannot say
    await crashed.close(drain=0)
    async with running(settings):
        pass
    log = stored(tmp_path / "t.db")
    assert audit_chain.verify(log).seq == 7
    starts = [entry.detail.partition('"after":"')[2].partition('"')[0] for entry in log if entry.action == "start"]
    assert starts == ["nothing", "stop", "stop", "crash"]


async def test_an_act_and_its_entry_are_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed: list[list[str]] = []
    real = Store._commit

    async def commit(store: Store, *rest: Any) -> Any:
        batch = [statement.sql for each in store._waiting for statement in (*each.statements, *each.trail)]
        done = await real(store, *rest)
        committed.append(batch)
        return done

    monkeypatch.setattr(Store, "_commit", commit)
    async with running(settings_of(store__path=tmp_path / "t.db", license__model="trueconf")) as gateway:
        runtime = gateway.runtime
        committed.clear()
        await runtime.act(PutAccount("ann"), "ops")
    assert any("account" in "".join(batch) and audit_entries.PUT_ENTRY in batch for batch in committed)
    assert not any("INTO account" in "".join(batch) and audit_entries.PUT_ENTRY not in batch for batch in committed)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'nobody' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit",
    ],
)
async def test_the_file_refuses_to_change_or_forget_entries(sql: str, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with running(settings_of(store__path=path)):
        pass
    before = stored(path)
    with closing(sqlite3.connect(path)) as file, pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
        file.execute(sql)
    assert stored(path) == before


async def test_an_entry_is_not_replaced_by_another_of_its_number(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with running(settings_of(store__path=path)):
        pass
    before = stored(path)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("INSERT OR REPLACE INTO audit VALUES (1, '', '', '', '', '{}', '', '')")
        file.execute("INSERT INTO audit VALUES (2, '', '', '', '', '{}', '', '')")
    assert stored(path) == before


class Disk:
    """A store that can be broken."""

    def __init__(self, house: House) -> None:
        self._recorder = house.runtime.persistence

    async def away(self) -> None:
        """The disk goes, with all that was entered before on it."""
        await self._recorder.audit_log.write()
        db = self._recorder.store.file.db
        assert db is not None
        await db.execute("PRAGMA query_only=ON")
        with pytest.raises(StoreUnavailable):
            await self._recorder.audit("test", "lost", "", {})

    async def back(self) -> None:
        """The disk comes back, and what waited is written."""
        store = self._recorder.store
        assert store.file.db is not None
        await store.file.db.execute("PRAGMA query_only=OFF")
        await until(lambda: store.available)
        await self._recorder.audit_log.write()


async def test_while_the_disk_is_away_entries_wait_and_none_is_lost(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.storage.store.RETRY", 0.01)
    house = await serve(store__path=tmp_path / "t.db")
    disk = Disk(house)
    await disk.away()
    for number in range(3):
        assert (await house.http("PUT", f"/api/groups/g{number}", json={}))[0] == 503
    assert len(stored(tmp_path / "t.db")) == 1
    await disk.back()
    shown = await entries(house)
    assert [each["action"] for each in shown] == ["start", "lost", "group.set", "group.set", "group.set"]
    assert audit_chain.verify(map(audit_chain.entry_from_json, shown)).seq == 5
    assert audit_chain.verify(stored(tmp_path / "t.db")).seq == 5
    assert len(house.runtime.persistence.audit_log._queue) == 0


async def test_what_does_not_fit_while_the_disk_is_away_is_said_to_be_lost(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.storage.store.RETRY", 0.01)
    monkeypatch.setattr(audit_log, "MAX_BACKLOG", 4)
    house = await serve(store__path=tmp_path / "t.db")
    disk = Disk(house)
    await disk.away()
    for number in range(10):
        house.runtime.persistence.audit("ops", "act", str(number))
    await disk.back()
    house.runtime.persistence.audit("ops", "act", "after")
    shown = await entries(house)
    assert [(each["action"], each["subject"]) for each in shown] == [
        ("start", ""),
        ("lost", ""),
        ("act", "0"),
        ("act", "1"),
        ("act", "2"),
        ("gap", ""),
        ("act", "after"),
    ]
    assert shown[5]["detail"] == {"lost": 7}
    assert audit_chain.verify(map(audit_chain.entry_from_json, shown)).seq == 7


async def test_entries_that_waited_are_durable_soon_though_nothing_else_is_written(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.storage.store.RETRY", 0.01)
    house = await serve(store__path=tmp_path / "t.db")
    recorder = house.runtime.persistence
    disk = Disk(house)
    await disk.away()
    assert recorder.store.file.db is not None
    await recorder.store.file.db.execute("PRAGMA query_only=OFF")
    await until(lambda: recorder.store.available)
    recorder.record_alive(house.runtime.clock.mono())
    await until(lambda: not recorder.audit_log._queue)
    assert [entry.action for entry in stored(tmp_path / "t.db")] == ["start", "lost"]


async def test_entries_of_the_largest_numbers_are_read_from_either_end(serve: Serve) -> None:
    house = await serve()
    log = house.runtime.persistence.audit_log
    await log.write()
    (first,) = await log.read(1)
    last = first._replace(seq=(1 << 63) - 2)
    await house.runtime.persistence.store.write([Statement(audit_entries.PUT_ENTRY, audit_entries.entry_row(last))])
    assert await log.read(9, newest_first=True) == [last, first]
    assert await log.read(9) == [first, last]
