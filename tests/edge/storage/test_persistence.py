"""What outlives the process: licenses with their ends, names, groups, bans, accounts and their tokens."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.formats import utc
from gateway.edge.gateway import running
from gateway.edge.machine import Clock
from gateway.edge.storage.persistence import ALIVE_EVERY
from tests.cli import program
from tests.conftest import House, redistribute, settings_of, until
from tests.crash import gateway as process
from tests.crash.storm import seconds
from tests.edge.disk import held, leases, recovered, written
from tests.rules.said import DAY, denied, full, said
from tests.wire_client import Wire

FREE = [f"--set={key}=0" for key in ("listen.tcp", "listen.websocket", "listen.operator", "registrar.port")]


class Times:
    """A clock whose both hands can be put forward, over several runs of a gateway."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.clock = Clock(mono=lambda: time.monotonic() + self.ahead, wall=lambda: time.time() + self.ahead)

    def forward(self, seconds: float, house: House | None = None) -> None:
        """Put it forward; a gateway sees it."""
        self.ahead += seconds
        if house is not None:
            house.runtime.advance(4)


class Runs:
    """Runs of a gateway, one after the other, on one store."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.times = Times()

    @contextlib.asynccontextmanager
    async def run(self, **overrides: Any) -> AsyncIterator[House]:
        """One run, which ends in order."""
        given = {"license__model": "trueconf", "store__path": str(self.store)}
        given["license__trueconf__allow_pro_requests"] = "true"
        async with contextlib.AsyncExitStack() as clients:
            settings = settings_of(**{**given, **overrides})
            async with running(settings, clock=self.times.clock) as gateway:
                house = House(gateway, clients)
                yield house
                await clients.aclose()
                await until(lambda: not any(listener.connections for listener in house.runtime.client_listeners))

    async def crash(self, house: House) -> None:
        """Let the next run begin with what the disk holds at this instant."""
        await written(house.runtime.persistence)
        after = self.store.with_name(f"after-{self.store.name}")
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.store}{suffix}", f"{after}{suffix}")
        self.store = after


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "store.db")


End = Callable[[Runs, House], Awaitable[None]]


async def close(runs: Runs, house: House) -> None:
    """The run will end in order."""


async def crash(runs: Runs, house: House) -> None:
    """The run ends at once."""
    await runs.crash(house)


ENDS = pytest.mark.parametrize("end", [close, crash])


async def pro(house: House) -> dict[str, dict[str, Any]]:
    _, listed = await house.http("GET", "/api/pro")
    return {each["account"]: each for each in listed["items"]}


# -- licenses ----------------------------------------------------------------------------------------------------------


@ENDS
async def test_licenses_that_run_out_end_at_the_same_second(end: End, runs: Runs) -> None:
    async with runs.run() as house:
        ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
        await ann.ask("join", conference="a")
        ends = {"ann": (await ann.ask("leave", conference="a"))["pro_expires"]}
        runs.times.forward(1000, house)
        ends["bob"] = (await bob.ask("request_pro"))["expires"]
        since = {account: each["since"] for account, each in (await pro(house)).items()}
        await end(runs, house)
    runs.times.forward(5000)
    async with runs.run() as house:
        found = await pro(house)
        assert {account: each["expires"] for account, each in found.items()} == ends
        assert {account: each["since"] for account, each in found.items()} == since
        assert await house.used("pro") == 2
        runs.times.forward(DAY - 6000 + 1, house)
        assert set(await pro(house)) == {"bob"}
    runs.times.forward(1000)
    async with runs.run() as house:
        assert await pro(house) == {}
        await written(house.runtime.persistence)
        assert leases(runs.store) == {}


async def test_after_an_end_in_order_who_was_in_a_conference_left_then(runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        runs.times.forward(3 * DAY, house)
        left = runs.times.clock.wall()
    runs.times.forward(DAY / 2)
    async with runs.run() as house:
        ((_, expires),) = held(house).values()
        assert expires is not None
        assert 0 <= expires - left - DAY < 5


async def test_after_a_crash_who_was_in_a_conference_left_when_the_gateway_was_last_known_to_live(runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        for _ in range(3):
            runs.times.forward(ALIVE_EVERY, house)
            await written(house.runtime.persistence)
        lived = runs.times.clock.wall()
        runs.times.forward(ALIVE_EVERY / 2, house)
        await runs.crash(house)
    runs.times.forward(DAY / 2)
    async with runs.run() as house:
        ((_, expires),) = held(house).values()
        assert expires is not None
        assert abs(expires - lived - DAY) < 2
        assert (await pro(house))["ann"]["in_conference"] is False
        await written(house.runtime.persistence)
        assert leases(runs.store) == held(house)
        await runs.crash(house)
    runs.times.forward(100)
    async with runs.run() as house:  # a second crash moves nothing
        assert held(house) == {"ann": ("temporary", expires)}


async def test_it_notes_often_enough_that_it_lives(runs: Runs) -> None:
    async with runs.run() as house:
        await written(house.runtime.persistence)
        for _ in range(6):
            runs.times.forward(5, house)
            await written(house.runtime.persistence)
            ((alive,),) = await house.runtime.persistence.store.read("SELECT value FROM meta WHERE name = 'alive'")
            assert runs.times.clock.wall() - float(alive) < 30


async def test_heartbeats_write_nothing(runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        await written(house.runtime.persistence)
        commits = sum(house.runtime.persistence.store.commits.counts)
        for number in range(40):
            said(await ann.ask("heartbeat", seq=number), "ack")
        assert sum(house.runtime.persistence.store.commits.counts) == commits


async def test_a_clock_that_went_back_gives_no_longer_license(runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        await runs.crash(house)
    runs.times.forward(-3600)
    async with runs.run() as house:
        ((_, expires),) = held(house).values()
        assert expires is not None
        assert expires <= runs.times.clock.wall() + DAY


@ENDS
async def test_licenses_of_a_shadow_are_kept_too(end: End, runs: Runs) -> None:
    async with runs.run(license__model="epop") as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a", host=True)
        await ann.ask("leave", conference="a")
        before = held(house)
        assert before
        await end(runs, house)
    async with runs.run() as house:
        assert held(house) == before
        assert await house.used("hosts", "nefsis-named") == 1


async def test_what_is_written_again_leaves_models_alone_that_are_not_in_use(runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        before = (await ann.ask("request_pro"))["expires"]
    async with runs.run(license__model="epop", license__shadow="[]") as house:
        await recovered(house)
        house.runtime.persistence.store.mistrust("a test")
        await recovered(house)
    async with runs.run() as house:
        assert (await pro(house))["ann"]["expires"] == before


# -- accounts, groups, names, bans -------------------------------------------------------------------------------------


@ENDS
async def test_permanent_licenses_come_with_a_restart_and_become_temporary_with_another(end: End, runs: Runs) -> None:
    async with runs.run() as house:
        for group, accounts, permanent in (("board", ["ann", "bob"], True), ("staff", ["cid"], False)):
            await house.http("PUT", f"/api/groups/{group}", json={"accounts": accounts, "permanent": permanent})
        assert await pro(house) == {}
        await end(runs, house)
    async with runs.run() as house:
        assert {account: each["kind"] for account, each in (await pro(house)).items()} == {
            "ann": "permanent",
            "bob": "permanent",
        }
        since = {account: each["since"] for account, each in (await pro(house)).items()}
        await end(runs, house)
    runs.times.forward(3600)
    async with runs.run() as house:
        assert {account: each["since"] for account, each in (await pro(house)).items()} == since
        await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": True})
        await house.http("DELETE", "/api/groups/staff")
        assert {each["kind"] for each in (await pro(house)).values()} == {"permanent"}
        await end(runs, house)
    async with runs.run() as house:
        began = runs.times.clock.wall()
        found = await pro(house)
        assert {account: each["kind"] for account, each in found.items()} == {"ann": "permanent", "bob": "temporary"}
        assert found["bob"]["expires"] in {utc(began + DAY), utc(began + DAY - 1)}
        _, groups = await house.http("GET", "/api/groups")
        assert [group["accounts"] for group in groups["items"]] == [["ann"]]
        await end(runs, house)
    async with runs.run() as house:
        assert (await pro(house))["bob"]["expires"] == found["bob"]["expires"]


@ENDS
async def test_named_hosts_keep_their_names_until_they_are_removed(end: End, runs: Runs) -> None:
    named = {"license__model": "nefsis-named", "license__nefsis-named__hosts": 2}
    async with runs.run(**named) as house:
        ann = await house.welcomed(account="ann")
        said(await ann.ask("join", conference="a", host=True), "joined")
        assert (await house.http("PUT", "/api/hosts/bob"))[0] == 200
        before = (await house.http("GET", "/api/hosts"))[1]["items"]
        await end(runs, house)
    async with runs.run(**named) as house:
        after = (await house.http("GET", "/api/hosts"))[1]["items"]
        assert [(each["account"], each["since"]) for each in after] == [
            (each["account"], each["since"]) for each in before
        ]
        cid = await house.welcomed(account="cid")
        full(await cid.ask("join", conference="c", host=True), "hosts", 2, 2)
        assert (await house.http("DELETE", "/api/hosts/bob"))[0] == 204
        await end(runs, house)
    async with runs.run(**named) as house:
        cid = await house.welcomed(account="cid")
        said(await cid.ask("join", conference="c", host=True), "joined")


@ENDS
async def test_bans_last_until_they_are_over(end: End, runs: Runs) -> None:
    async with runs.run() as house:
        for account, span in (("ann", "1h"), ("bob", "2h"), ("cid", "3h")):
            await house.http("DELETE", f"/api/accounts/{account}/connections?ban={span}")
        await house.http("DELETE", "/api/bans/cid")
        await end(runs, house)
    runs.times.forward(3601)
    async with runs.run() as house:
        _, bans = await house.http("GET", "/api/bans")
        assert [each["subject"] for each in bans["items"]] == ["bob"]
        wire = await house.connect()
        denied(await wire.hello(account="bob"), "banned", "hello")
        await written(house.runtime.persistence)
        assert len(await house.runtime.persistence.store.read("SELECT name FROM ban")) == 1


@ENDS
async def test_accounts_and_their_tokens_survive_as_digests(end: End, runs: Runs) -> None:
    async with runs.run(accounts__mode="token") as house:
        await house.http("PUT", "/api/accounts/ann")
        await house.http("PUT", "/api/accounts/bob")
        _, made = await house.http("POST", "/api/accounts/ann/token")
        await house.http("DELETE", "/api/accounts/bob")
        await end(runs, house)
    assert made["token"].encode() not in content(runs.store)
    async with runs.run(accounts__mode="token") as house:
        await house.welcomed(account="ann", token=made["token"])
        for account, why in (("ann", "bad_credential"), ("bob", "account_unknown")):
            denied(await (await house.connect()).hello(account=account, token=made["token"][1:]), why, "hello")


@ENDS
async def test_a_deleted_account_stays_deleted_until_its_license_ends(end: End, runs: Runs) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204
        before = await pro(house)
        await end(runs, house)
    runs.times.forward(3600)
    async with runs.run() as house:
        assert await pro(house) == before
        assert before["ann"]["deleted"] is True
        denied(await (await house.connect()).hello(account="ann"), "account_unknown", "hello")
        assert (await house.http("DELETE", "/api/pro/ann"))[0] == 409
        runs.times.forward(DAY, house)
        await house.welcomed(account="ann")
        assert await pro(house) == {}


def content(store: Path) -> bytes:
    """Every byte of a store."""
    return b"".join(path.read_bytes() for path in store.parent.glob(f"{store.name}*"))


# -- the file ----------------------------------------------------------------------------------------------------------


def dump(path: Path) -> dict[str, set[tuple[Any, ...]]]:
    """The rows of a store, without when it lived."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in ("lease", "account", "team", "ban")}  # noqa: S608 - the names stand here
    return {name: set(rows) for name, rows in tables.items()}


async def test_what_was_written_piece_by_piece_is_what_would_be_written_at_once(runs: Runs) -> None:
    async with runs.run(license__model="trueconf") as house:
        await house.http("PUT", "/api/groups/board", json={"accounts": ["eve", "ann"], "permanent": True})
        await house.http("PUT", "/api/groups/gone", json={"accounts": ["x"]})
        await house.http("DELETE", "/api/groups/gone")
        for account in ("ann", "bob", "cid"):
            await house.http("PUT", f"/api/accounts/{account}")
            await house.http("POST", f"/api/accounts/{account}/token")
            wire = await house.welcomed(account=account)
            said(await wire.ask("join", conference="a", host=True), "joined")
        redistribute(house)
        await house.http("DELETE", "/api/accounts/bob")
        await house.http("DELETE", "/api/accounts/cid/connections?ban=1h")
        await written(house.runtime.persistence)
        piecemeal = dump(runs.store)
        house.runtime.persistence.store.mistrust("a test")
        await recovered(house)
        assert dump(runs.store) == piecemeal
        assert {name: bool(rows) for name, rows in piecemeal.items()} == dict.fromkeys(piecemeal, True)


@pytest.mark.parametrize(
    "harm",
    [
        """UPDATE lease SET key = '"ann'""",
        "UPDATE lease SET since = 'soon'",
        "UPDATE team SET name = CAST(x'62ff' AS TEXT)",
        "UPDATE meta SET value = 'x'",
        "INSERT INTO license VALUES ('S-1', hex(zeroblob(32)), '[]', 0.0, NULL)",
        "ALTER TABLE team RENAME TO tean",
    ],
)
async def test_a_file_with_a_row_that_cannot_be_read_is_set_aside(
    harm: str, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    async with runs.run() as house:
        ann = await house.welcomed(account="ann")
        await ann.ask("request_pro")
        await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"]})
    with contextlib.closing(sqlite3.connect(runs.store)) as db, db:
        db.execute("DELETE FROM dump")  # as after a crash
        db.execute(harm)
    async with runs.run() as house:
        assert await pro(house) == {}
        assert (await house.http("GET", "/api/groups"))[1]["items"] == []
        bob = await house.welcomed(account="bob")
        said(await bob.ask("request_pro"), "granted")
    assert f"{runs.store} is damaged or no store" in caplog.text
    assert b"ann" in content(runs.store.with_name("store.db.damaged-1"))
    async with runs.run() as house:
        assert set(await pro(house)) == {"bob"}


# -- as a process ------------------------------------------------------------------------------------------------------


async def test_a_second_gateway_on_the_file_says_so_in_one_line_and_the_first_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with process.running(store) as first:
        ended = await program.run("serve", f"--set=store.path={store}", *FREE)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == f"tallygate: cannot start: {store}: another gateway holds it\n"
        assert await first.used() == 0


async def test_a_process_that_was_killed_has_its_licenses_again(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with process.running(store) as first, contextlib.AsyncExitStack() as clients:
        ann, bob = [await clients.enter_async_context(await Wire.open("tcp", first.ports["tcp"])) for _ in range(2)]
        for wire, account in ((ann, "ann"), (bob, "bob")):
            await wire.hello(account=account)
            said(await wire.ask("join", conference="a"), "joined")
        left = await ann.ask("leave", conference="a")
        killed = await first.kill()
    async with process.running(store) as second:
        found = {each["account"]: each for each in await second.leases()}
        assert found["ann"]["expires"] == left["pro_expires"]
        assert killed - 30 <= seconds(found["bob"]["expires"]) - DAY <= killed
        assert [each["in_conference"] for each in found.values()] == [False, False]
