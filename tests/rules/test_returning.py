"""Seats that are kept for those who come back after a kill, a crash or a restart, over the wire (COUNTING.md,
Returning).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.gateway import Gateway
from gateway.edge.machine import Clock
from gateway.edge.restarting import kept_state
from tests.conftest import House, settings_of, until
from tests.edge.disk import broken, recovered, written
from tests.rules.said import denied, full, pools, said
from tests.wire_client import Wire

KILL, RESTART, DRAIN = "kill", "restart", "drain"
ENDS = pytest.mark.parametrize("end", [KILL, RESTART, DRAIN])


class Runs:
    """Runs of a gateway on one store. Each ends as `end` says, with its clients connected: it is gone at once, a second
    after the last that happened, or sends everybody away, at once or one after the other. Time passes on `forward`.
    """

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store.db"
        self.ahead = self.wall_ahead = 0.0
        mono, wall = time.monotonic(), time.time()
        self.clock = Clock(lambda: mono + self.ahead, lambda: wall + self.ahead + self.wall_ahead)

    @contextlib.asynccontextmanager
    async def run(self, end: str = KILL, **overrides: Any) -> AsyncIterator[House]:
        """One run; the model is e/pop unless another is given."""
        given = {"license__returning": "60s", "store__path": str(self.store), "license__epop__users": 1}
        settings = settings_of(**(given | overrides))
        gateway = Gateway(settings, files=1024, clock=self.clock, kept=await kept_state(settings, self.clock))
        await gateway.open()
        async with contextlib.AsyncExitStack() as clients:
            house = House(gateway, clients)
            try:
                yield house
                if end == KILL:
                    await self.kill(house)
            finally:
                await house.end(drain=0.3 if end == DRAIN else 0)

    async def kill(self, house: House) -> None:
        """Let the next run begin with what the disk holds a second from now."""
        self.forward(house, 0)
        await written(house.runtime.persistence)
        after = self.store.with_name(f"after-{self.store.name}")
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.store}{suffix}", f"{after}{suffix}")
        self.store = after

    def forward(self, house: House, seconds: float) -> None:
        """Put the clock forward; the gateway sees it."""
        self.ahead += seconds
        house.runtime._every_second()

    def rows(self) -> list[tuple[Any, ...]]:
        """Who is in the file: account and until when a seat is kept."""
        with contextlib.closing(sqlite3.connect(self.store)) as file:
            return file.execute("SELECT account, until IS NOT NULL FROM seat ORDER BY account, key").fetchall()


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


async def member(house: House, transport: str = "tcp", conference: str = "c", **hello: Any) -> Wire:
    """A client that takes part in a conference."""
    wire = await house.welcomed(transport, **hello)
    said(await wire.ask("join", conference=conference, host=True, access="public"), "joined")
    return wire


async def kept(house: House, pool: str = "concurrent") -> tuple[int, int]:
    """Use of a pool, and how many of the seats are kept."""
    view = (await pools(house))[pool]
    return view["used"], view["returning"]


async def metric(house: House, name: str) -> float:
    _, text = await house.http("GET", "/metrics")
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"tallygate_{name} "))


# -- after a crash, a kill, a restart, whoever held a seat keeps it ----------------------------------------------------


@ENDS
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_who_held_a_seat_finds_it_and_a_newcomer_does_not(runs: Runs, end: str, transport: str) -> None:
    async with runs.run(end) as house:
        await member(house, transport, account="ann", device="pc")
    async with runs.run() as house:
        assert await kept(house) == (1, 1)
        stranger = await house.welcomed(transport, account="bob", device="pc")
        full(await stranger.ask("join", conference="c"), "concurrent", 1, 1)
        await member(house, transport, account="ann", device="pc")
        assert await kept(house) == (1, 0)
        full(await stranger.ask("join", conference="c"), "concurrent", 1, 1)


@ENDS
async def test_without_the_setting_a_newcomer_takes_the_seat(runs: Runs, end: str) -> None:
    async with runs.run(end, license__returning="0s") as house:
        await member(house, account="ann")
    assert runs.rows() == []
    async with runs.run(license__returning="0s") as house:
        assert await kept(house) == (0, 0)
        await member(house, account="bob")


async def test_a_restart_without_the_setting_keeps_nothing_that_was_recorded(runs: Runs) -> None:
    async with runs.run() as house:
        await member(house, account="ann")
    async with runs.run(license__returning="0s") as house:
        assert await kept(house) == (0, 0)
    assert runs.rows() == []


@ENDS
async def test_the_rest_is_released_as_not_returned_when_the_time_is_over(runs: Runs, end: str) -> None:
    async with runs.run(end, license__epop__users=2) as house:
        for account in ("ann", "bob"):
            await member(house, account=account)
    async with runs.run(license__epop__users=2) as house:
        ann = await member(house, account="ann")
        runs.forward(house, 58)
        assert await kept(house) == (2, 1)
        runs.forward(house, 3)
        assert await kept(house) == (1, 0)
        name = 'license_releases_total{cause="not_returned",model="epop",pool="concurrent"}'
        assert await metric(house, name) == 1
        await member(house, account="cid")
        said(await ann.ask("heartbeat"), "ack")


@ENDS
async def test_who_left_or_had_no_seat_has_none(runs: Runs, end: str) -> None:
    async with runs.run(end, license__epop__users=5) as house:
        await house.welcomed(account="ann")
        await (await member(house, account="bob")).ask("leave", conference="c")
        await (await member(house, account="cid")).say("bye")
        await until(lambda: len(house.runtime.state.sessions) == 2)
        await member(house, account="dan")
    async with runs.run() as house:
        assert await kept(house) == (1, 1)
        await member(house, account="dan")


async def test_a_restart_knows_what_happened_last_and_a_kill_what_happened_a_second_ago(runs: Runs) -> None:
    async with runs.run(RESTART) as house:
        await member(house, account="ann")
    assert runs.rows() == [("ann", 0)]
    async with runs.run(RESTART, license__epop__users=2) as house:
        await member(house, account="ann")
        bob = await member(house, account="bob")
        runs.forward(house, 1)
        await bob.ask("leave", conference="c")
        await written(house.runtime.persistence)
        assert runs.rows() == [("ann", 0), ("bob", 0)]
    assert runs.rows() == [("ann", 0)]


async def test_a_second_kill_keeps_what_is_left_of_the_time(runs: Runs) -> None:
    async with runs.run(license__epop__users=2) as house:
        for account in ("ann", "bob"):
            await member(house, account=account)
    async with runs.run(license__epop__users=2) as house:
        await member(house, account="ann")
        runs.forward(house, 40)
    runs.ahead += 3600
    async with runs.run(license__epop__users=2) as house:
        assert await kept(house) == (2, 2)
        runs.forward(house, 18)
        assert await kept(house) == (2, 2)
        runs.forward(house, 3)
        assert await kept(house) == (1, 1)
        runs.forward(house, 40)
        assert await kept(house) == (0, 0)


@ENDS
async def test_a_wall_clock_that_is_set_changes_nothing(runs: Runs, end: str) -> None:
    async with runs.run(end) as house:
        await member(house, account="ann")
        runs.wall_ahead = -7200.0
    async with runs.run() as house:
        runs.wall_ahead = 7200.0
        runs.forward(house, 50)
        assert await kept(house) == (1, 1)
        runs.forward(house, 12)
        assert await kept(house) == (0, 0)


# -- keyed by account and device, else account, else address -----------------------------------------------------------


@ENDS
async def test_a_key_is_the_account_and_device_else_the_account_else_the_address(runs: Runs, end: str) -> None:
    async with runs.run(end, license__epop__users=3) as house:
        await member(house, account="ann", device="pc")
        await member(house, account="bob")
        await member(house, device="kiosk")
    async with runs.run(license__epop__users=3) as house:
        for hello in ({"account": "ann"}, {"account": "ann", "device": "tv"}, {"account": "bob", "device": "pc"}):
            wire = await house.welcomed(**hello)
            full(await wire.ask("join", conference="c"), "concurrent", 3, 3)
        elsewhere = await house.welcomed(address="127.0.0.2", device="kiosk")
        full(await elsewhere.ask("join", conference="c"), "concurrent", 3, 3)
        for hello in ({"account": "ann", "device": "pc"}, {"account": "bob"}, {}):
            await member(house, **hello)
        assert await kept(house) == (3, 0)


async def test_ten_guests_of_one_address_come_back_to_ten_seats(runs: Runs) -> None:
    async with runs.run(license__epop__users=10) as house:
        for _ in range(10):
            await member(house)
    async with runs.run(license__epop__users=10) as house:
        assert await kept(house) == (10, 10)
        for left in range(9, -1, -1):
            await member(house)
            assert await kept(house) == (10, left)
        full(await (await house.welcomed()).ask("join", conference="c"), "concurrent", 10, 10)


@ENDS
@pytest.mark.parametrize("key", ["connection", "device", "account", "address"])
async def test_floating_seats_are_kept_by_what_counts(runs: Runs, end: str, key: str) -> None:
    terms: dict[str, Any] = {"license__model": "floating", "license__floating__key": key, "license__floating__limit": 1}
    async with runs.run(end, **terms) as house:
        await house.welcomed(account="ann", device="pc")
    async with runs.run(**terms) as house:
        full(await (await house.connect(address="127.0.0.2")).hello(account="bob"), "seats", 1, 1, "hello")
        await house.welcomed(account="ann", device="pc")
        assert await kept(house, "seats") == (1, 0)


@pytest.mark.parametrize("key", ["connection", "account"])
async def test_a_lingering_seat_is_one_that_was_held(runs: Runs, key: str) -> None:
    terms: dict[str, Any] = {
        "license__model": "floating",
        "license__floating__key": key,
        "license__floating__limit": 1,
    }
    terms |= {"license__floating__linger": "30s"}
    async with runs.run(**terms) as house:
        wire = await house.welcomed(account="ann")
        runs.forward(house, 1)
        await wire.drop()
        await until(lambda: not house.runtime.state.sessions)
    async with runs.run(**terms) as house:
        assert await kept(house, "seats") == (1, 1)
        await house.welcomed(account="ann")


# -- no check of the pool, and every other check -----------------------------------------------------------------------


@ENDS
async def test_who_comes_back_needs_no_room_in_the_pool(runs: Runs, end: str) -> None:
    async with runs.run(end, license__epop__users=2) as house:
        for account in ("ann", "bob"):
            await member(house, account=account)
    async with runs.run(license__epop__users=1) as house:
        await member(house, account="ann")
        assert await kept(house) == (2, 1)
        full(await (await house.welcomed(account="cid")).ask("join", conference="c"), "concurrent", 2, 1)


async def test_a_resume_of_before_is_a_new_session_that_finds_its_seat(runs: Runs) -> None:
    async with runs.run(heartbeat__resume_window="30s") as house:
        wire = await house.connect()
        welcome = said(await wire.hello(account="ann", device="pc"), "welcome")
        said(await wire.ask("join", conference="c"), "joined")
        await wire.drop()
        await until(lambda: bool(house.runtime.state.resumable))
    runs.ahead += 5  # a run is known by the second of its beginning
    async with runs.run(heartbeat__resume_window="30s") as house:
        assert await kept(house) == (1, 1)
        again = await house.connect()
        anew = said(await again.hello(account="ann", device="pc", resume=welcome["resume"]), "welcome")
        assert anew["session"] != welcome["session"]
        said(await again.ask("join", conference="c"), "joined")
        assert await kept(house) == (1, 0)


@ENDS
async def test_a_takeover_takes_the_seat_of_before_too(runs: Runs, end: str) -> None:
    async with runs.run(end) as house:
        await member(house, account="ann", device="pc")
    async with runs.run() as house:
        older = await house.welcomed(account="ann", device="pc")
        await member(house, account="ann", device="pc")
        assert [each["reason"] for each in await older.gone()] == ["replaced"]
        assert await kept(house) == (1, 0)


@ENDS
async def test_a_seat_in_a_conference_of_named_use_is_kept_there(runs: Runs, end: str) -> None:
    terms: dict[str, Any] = {
        "license__model": "nefsis-named",
        "license__nefsis_named__hosts": 2,
        "license__nefsis_named__participants": 2,
    }
    terms = {name.replace("nefsis_named", "nefsis-named"): value for name, value in terms.items()}
    async with runs.run(end, **terms) as house:
        await member(house, account="ann")
        said(await (await house.welcomed(account="bob")).ask("join", conference="c"), "joined")
    async with runs.run(**terms) as house:
        assert await kept(house, "participants") == (2, 2)
        assert await kept(house, "hosts") == (1, 0)
        dan = await house.welcomed(account="dan")
        said(await dan.ask("join", conference="c", host=True), "denied", reason="conference_full", used=2, limit=2)
        said(await dan.ask("join", conference="d", host=True), "joined")
        await member(house, account="ann")
        said(await (await house.welcomed(account="bob")).ask("join", conference="c"), "joined")
        assert await kept(house, "participants") == (3, 0)


@ENDS
async def test_a_pro_license_outlives_a_restart_by_its_lease_and_counts_once(runs: Runs, end: str) -> None:
    terms: dict[str, Any] = {"license__model": "trueconf", "license__trueconf__pro": 1, "license__trueconf__online": 2}
    async with runs.run(end, **terms) as house:
        await member(house, account="ann", device="pc")
    async with runs.run(**terms) as house:
        assert (await kept(house, "pro"), await kept(house, "online")) == ((1, 0), (1, 1))
        bob = await house.welcomed(account="bob")
        full(await bob.ask("join", conference="c"), "pro", 1, 1)
        full(await (await house.connect()).hello(account="cid"), "online", 2, 2, "hello")
        await member(house, account="ann", device="pc")
        assert (await kept(house, "pro"), await kept(house, "online")) == ((1, 0), (2, 0))


async def test_guests_and_endpoints_of_trueconf_come_back_by_their_address(runs: Runs) -> None:
    terms: dict[str, Any] = {
        "license__model": "trueconf",
        "license__trueconf__guest": 1,
        "license__trueconf__gateway": 1,
    }
    async with runs.run(**terms) as house:
        await member(house, account="ann")
        for kind in ("browser", "sip"):
            said(await (await house.welcomed(kind=kind)).ask("join", conference="c"), "joined")
    async with runs.run(**terms) as house:
        assert (await kept(house, "guest"), await kept(house, "gateway")) == ((1, 1), (1, 1))
        await member(house, account="ann")
        stranger = await house.welcomed(kind="browser", address="127.0.0.2")
        full(await stranger.ask("join", conference="c"), "guest", 1, 1)
        for kind in ("browser", "sip"):
            said(await (await house.welcomed(kind=kind)).ask("join", conference="c"), "joined")
        assert (await kept(house, "guest"), await kept(house, "gateway")) == ((1, 0), (1, 0))


# -- waiting, bans, deletion, the setting ------------------------------------------------------------------------------


async def test_who_waits_is_served_when_nobody_comes_back(runs: Runs) -> None:
    async with runs.run() as house:
        await member(house, account="ann")
    async with runs.run() as house:
        bob = await house.welcomed(account="bob")
        said(await bob.ask("join", conference="c", wait=600), "queued", position=1, used=1, limit=1)
        await member(house, account="ann")
    async with runs.run() as house:
        bob = await house.welcomed(account="bob")
        said(await bob.ask("join", conference="c", wait=600), "queued", position=1, used=1, limit=1)
        runs.forward(house, 61)
        said(await bob.hear(), "joined", conference="c")


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("DELETE", "/api/accounts/ann/connections", None),
        ("PUT", "/api/bans/ann", {"for": "1h"}),
        ("PUT", "/api/bans/127.0.0.0%2F8", {"for": "1h"}),
        ("DELETE", "/api/accounts/ann", None),
    ],
)
async def test_nothing_is_kept_for_who_is_kicked_banned_or_deleted(
    runs: Runs, method: str, path: str, json: dict[str, str] | None
) -> None:
    async with runs.run() as house:
        await member(house, account="ann")
    async with runs.run() as house:
        assert await kept(house) == (1, 1)
        status, told = await house.http(method, path, **({"json": json} if json else {}))
        assert status < 300, told
        assert await kept(house) == (0, 0)
    async with runs.run() as house:
        assert await kept(house) == (0, 0)


async def test_the_setting_is_taken_from_a_reload_on_and_off(runs: Runs) -> None:
    def settings(returning: str) -> Any:
        given = {"license__returning": returning, "store__path": str(runs.store), "license__epop__users": 1}
        return settings_of(**given)

    async with runs.run(license__returning="0s") as house:
        await member(house, account="ann")
        changed = house.gateway.reload(settings("60s"))
        assert list(changed.live) == ["license.returning"]
    async with runs.run() as house:
        assert await kept(house) == (1, 1)
        house.gateway.reload(settings("0s"))
        assert await kept(house) == (0, 0)
        await member(house, account="bob")
    assert runs.rows() == []


async def test_a_model_that_refuses_nobody_keeps_nothing(runs: Runs) -> None:
    async with runs.run(license__enforce="false") as house:
        await member(house, account="ann")
    async with runs.run(license__enforce="false") as house:
        assert await kept(house) == (0, 0)


async def test_another_model_than_before_keeps_nothing(runs: Runs) -> None:
    async with runs.run() as house:
        await member(house, account="ann")
    async with runs.run(license__model="floating") as house:
        assert await kept(house, "seats") == (0, 0)


async def test_a_disk_that_is_back_knows_who_holds_seats(runs: Runs) -> None:
    async with runs.run(license__epop__users=3) as house:
        gone = await member(house, account="ann")
        runs.forward(house, 1)
        async with broken(house, "failing"):
            await member(house, account="bob")
            runs.forward(house, 1)
            await until(lambda: not house.runtime.persistence.store.available)
            await gone.say("bye")
            await member(house, account="cid")
            runs.forward(house, 1)
        await recovered(house)
        runs.forward(house, 1)
    assert runs.rows() == [("bob", 0), ("cid", 0)]


async def test_a_store_in_memory_keeps_nothing(runs: Runs) -> None:
    for _ in range(2):
        async with runs.run(RESTART, store__path=":memory:") as house:
            assert await kept(house) == (0, 0)
            await member(house, account="ann")


async def test_rules_refuse_whose_seat_is_kept(runs: Runs) -> None:
    async with runs.run() as house:
        await member(house, account="ann")
    async with runs.run(conferences__declared_only="true") as house:
        ann = await house.welcomed(account="ann")
        denied(await ann.ask("join", conference="c"), "no_such_conference")
        assert await kept(house) == (1, 1)
