"""A gateway that was stopped in order goes on exactly where it was; one that was not begins with what the disk has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.admission import state_json
from gateway.edge.gateway import Gateway, running
from gateway.edge.machine import Clock
from gateway.edge.restarting import KeptState, kept_state
from gateway.edge.storage.offline_store import offline_store
from tests.conftest import House, settings_of, until
from tests.wire_client import Wire

LINGER = {"license__model": "floating", "license__floating__linger": "60s", "license__floating__key": "device"}


class Times:
    """Clocks that stand still until a test moves them; the machine may be started anew between two runs."""

    def __init__(self) -> None:
        self.mono = 5000.0
        self.wall = float(round(time.time() // 3600 * 3600 + 600))
        self.clock = Clock(lambda: self.mono, lambda: self.wall)

    def live(self, seconds: float, house: House) -> None:
        """Let a gateway live through so many seconds."""
        self.mono += seconds
        self.wall += seconds
        house.runtime.tick()

    def away(self, seconds: float) -> None:
        """Let time pass in which no gateway runs, and the machine is started again."""
        self.mono = 7.25
        self.wall += seconds


class Runs:
    """Runs of a gateway on one store, one after the other."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.times = Times()
        self.last: Gateway | None = None

    def settings(self, **overrides: Any) -> Any:
        return settings_of(**{"store__path": str(self.store), **overrides})

    @contextlib.asynccontextmanager
    async def run(self, **overrides: Any) -> AsyncIterator[House]:
        opened = running(self.settings(**overrides), clock=self.times.clock)
        async with contextlib.AsyncExitStack() as clients, opened as gateway:
            gateway.runtime.ticker.stop()
            self.last = gateway
            yield House(gateway, clients)
            await clients.aclose()

    async def kept(self, **overrides: Any) -> KeptState | None:
        return await kept_state(self.settings(**overrides), self.times.clock)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "t.db")


def plain(state: Any) -> dict[str, Any]:
    """A state without what is another one in every run."""
    written: dict[str, Any] = json.loads(json.dumps(state_json.to_json(state)))
    for name in ("run", "redistribute_at", "digest"):
        del written[name]
    return written


async def lose(house: House, wire: Wire) -> None:
    """Cut a connection, and let its gateway notice."""
    await wire.drop()
    await until(lambda: not any(listener.connections for listener in house.runtime.client_listeners))


async def a_day(house: House, times: Times) -> None:
    """A bit of everything that outlives the sessions."""
    group = {"accounts": ["boss"], "permanent": True}
    for method, path, body in (
        ("PUT", "/api/accounts/ann", None),
        ("PUT", "/api/groups/board", group),
        ("PUT", "/api/bans/192.0.2.7", {"for": "900s"}),
        ("PUT", "/api/conferences/planned", {"scheduled": True}),
    ):
        status, told = await house.http(method, path, json=body)
        assert status in {200, 201}, told
    wires = [await house.welcomed(account=f"user{number}", device="d") for number in range(3)]
    for number, wire in enumerate(wires):
        times.live(1.5, house)
        answer = await wire.ask("join", conference="room")
        assert answer["type"] == ("joined" if number < 2 else "denied"), answer
    for wire in wires:
        await wire.drop()
    await lose(house, wires[0])


async def test_what_was_written_down_is_the_state_at_the_stop(runs: Runs) -> None:
    terms = {"license__model": "trueconf", "license__trueconf__pro": 2, "license__floating__linger": "60s"}
    async with runs.run(**terms) as house:
        await a_day(house, runs.times)
    assert runs.last is not None
    before = plain(runs.last.runtime.state)
    runs.times.away(300.0)
    kept = await runs.kept(**terms)
    assert kept is not None
    assert plain(kept.state) == before
    assert kept.state.run != runs.last.runtime.state.run, "the ids of sessions are never those of another run"
    assert not kept.state.sessions.by_number
    assert not kept.state.conferences.by_id
    assert kept.clock.mono() == 5004.5


async def test_a_stop_that_is_hurried_while_it_writes_its_last_transaction_is_one_in_order(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with runs.run() as house:
        await house.http("PUT", "/api/conferences/planned", json={"scheduled": True})
        reached = asyncio.Event()

        async def close_slowly() -> None:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as slow:
            slow.setattr(house.runtime.persistence.store, "close", close_slowly)
            closing = asyncio.create_task(house.gateway.close(drain=0))
            await reached.wait()
            closing.cancel()
            await asyncio.wait({closing})
        runs.times.wall += 0.25
        await house.gateway.close(drain=0)
    kept = await runs.kept()
    assert kept is not None
    assert [*kept.state.conferences.declared] == ["planned"]


async def test_a_run_goes_on_with_leases_bans_counts_and_declarations(runs: Runs) -> None:
    terms = {"license__model": "trueconf", "license__trueconf__pro": 2}
    async with runs.run(**terms) as house:
        await a_day(house, runs.times)
        before = await house.http("GET", "/api/license")
    runs.times.away(300.0)
    async with runs.run(**terms) as house:
        after = await house.http("GET", "/api/license")
        for name in ("grants", "denials", "high_water"):
            shown = [told["models"]["trueconf"]["pools"]["pro"].get(name) for _, told in (before, after)]
            assert shown[0] == shown[1], name
        assert await house.used("pro") == 2
        _, conferences = await house.http("GET", "/api/conferences?limit=100")
        assert "planned" in json.dumps(conferences)
        (ban,) = house.runtime.state.directory.bans
        assert ban.until == runs.times.wall - 300.0 - 4.5 + 900.0
        runs.times.live(25 * 3600.0, house)
        assert await house.used("pro") == 1, "leases end by the wall clock, all but the permanent one"


async def test_a_seat_that_lingers_does_so_for_the_rest_of_its_time(runs: Runs) -> None:
    async with runs.run(**LINGER) as house:
        wire = await house.welcomed(account="ann", device="d")
        await lose(house, wire)
        assert await house.used("seats") == 1
        runs.times.live(20.0, house)
    runs.times.away(3600.0)
    async with runs.run(**LINGER) as house:
        runs.times.live(39.0, house)
        assert await house.used("seats") == 1
        runs.times.live(2.0, house)
        assert await house.used("seats") == 0


async def test_a_denial_before_the_stop_is_no_true_one_if_a_seat_follows_in_time(runs: Runs) -> None:
    terms = {"license__epop__users": 0, "license__shadow": "[]"}
    async with runs.run(**terms) as house:
        wire = await house.welcomed(account="ann", device="d")
        assert (await wire.ask("join", conference="room"))["type"] == "denied"
        runs.times.live(30.0, house)
    runs.times.away(10.0)
    async with runs.run(**{**terms, "license__epop__users": 1}) as house:
        runs.times.live(10.0, house)
        wire = await house.welcomed(account="ann", device="d")
        assert (await wire.ask("join", conference="room"))["type"] == "joined", "the limit is the new one"
        runs.times.live(60.0, house)
        tracker = house.runtime.state.primary.pools["concurrent"].denial_tracker
        assert not any(tracker.true_denials.values())
        assert house.runtime.state.primary.pools["concurrent"].interval.granted_after_denial == 1


async def test_an_hour_goes_on_and_time_in_which_nobody_watched_is_none(runs: Runs) -> None:
    terms = {"license__model": "trueconf", "license__shadow": "[]"}
    async with runs.run(**terms) as house:
        wire = await house.welcomed(account="ann", device="d")
        assert (await wire.ask("join", conference="room"))["type"] == "joined"
        runs.times.live(100.0, house)
    runs.times.away(600.0)
    async with runs.run(**terms) as house:
        runs.times.live(50.0, house)
        pool = house.runtime.state.primary.pools["pro"]
        (piece,) = [each for each in house.runtime.state.history.pieces(pool.accounted_until) if each.pool == "pro"]
        assert piece.summary.levels[1] == pytest.approx(150.0)


async def test_a_file_that_was_written_after_the_stop_begins_without_the_state(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    async with runs.run(**LINGER) as house:
        await lose(house, await house.welcomed(account="ann", device="d"))
    shutil.copy(runs.store, runs.store.with_name("copy.db"))
    assert await runs.kept(**LINGER) is not None
    async with runs.run(**LINGER) as house:
        assert await house.used("seats") == 1
        await house.runtime.persistence.barrier()
        assert await runs.kept(**LINGER) is None, "the state of the last run counts once"
    runs.store = runs.store.with_name("copy.db")
    with contextlib.closing(sqlite3.connect(runs.store)) as db, db:
        db.execute("UPDATE meta SET value = '7.0' WHERE name = 'alive'")
    with caplog.at_level(logging.WARNING):
        assert await runs.kept(**LINGER) is None
    assert "written after it" in caplog.text


@pytest.mark.parametrize(
    ("changed", "goes_on"),
    [
        ({"license__floating__linger": "90s"}, False),
        ({"license__floating__limit": "5"}, True),
        ({"license__floating__key": "account"}, False),
        ({"license__model": "epop"}, False),
        ({"license__shadow": "[]"}, False),
        ({"license__overdraft": "3"}, True),
    ],
)
async def test_a_run_goes_on_under_what_a_reload_could_change(
    runs: Runs, changed: dict[str, str], goes_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with runs.run(**LINGER):
        pass
    assert (await runs.kept(**{**LINGER, **changed}) is not None) is goes_on
    assert ("starts without the state" in caplog.text) is not goes_on
    async with runs.run(**{**LINGER, **changed}) as house:
        await house.welcomed(account="ann", device="d")
        terms = house.runtime.state.terms
        assert terms.model == changed.get("license__model", "floating")
        assert terms.overdraft == int(changed.get("license__overdraft", 0))
        assert terms.licenses["floating"].linger == (90.0 if "license__floating__linger" in changed else 60.0)


async def test_a_state_of_another_version_is_none_and_said_to_be_one(
    runs: Runs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_json, "FORMAT", 1)
    async with runs.run():
        pass
    monkeypatch.undo()
    assert await runs.kept() is None
    assert f"without the state of the last stop: format 1: this version reads {state_json.FORMAT}" in caplog.text
    async with runs.run() as house:
        await house.welcomed(account="ann", device="d")


@pytest.mark.parametrize("damage", ["x'00'", "substr(lines, 1, length(lines) - 9)", "x'789c030000000001'"])
async def test_a_state_that_is_damaged_is_none(runs: Runs, damage: str) -> None:
    async with runs.run():
        pass
    with contextlib.closing(sqlite3.connect(runs.store)) as db, db:
        db.execute(f"UPDATE dump SET lines = {damage}")  # noqa: S608 - one of those above
    assert await runs.kept() is None
    async with runs.run() as house:
        await house.welcomed(account="ann", device="d")


async def test_a_table_that_is_damaged_is_made_again_from_the_state(runs: Runs) -> None:
    terms = {"license__model": "trueconf", "license__trueconf__pro": 2}
    async with runs.run(**terms) as house:
        wire = await house.welcomed(account="ann", device="d")
        assert (await wire.ask("join", conference="room"))["type"] == "joined"
        assert (await house.http("PUT", "/api/accounts/ann"))[0] in {200, 201}
    with contextlib.closing(sqlite3.connect(runs.store)) as db, db:
        db.execute("UPDATE lease SET since = 'soon'")
    for crashed in ("once.db", "twice.db"):
        async with runs.run(**terms) as house:
            assert await house.used("pro") == 1
            assert [*house.runtime.state.directory.accounts] == ["ann"]
            await house.runtime.persistence.barrier()
            for suffix in ("", "-wal"):
                shutil.copy(f"{runs.store}{suffix}", runs.store.with_name(f"{crashed}{suffix}"))
        runs.store = runs.store.with_name(crashed)


@pytest.mark.parametrize("names", ["pseudonyms", "none"])
async def test_no_name_is_written_down_where_the_past_has_none(runs: Runs, names: str) -> None:
    async with runs.run(**LINGER, history__names=names) as house:
        await lose(house, await house.welcomed(account="ann", device="d"))
    assert await runs.kept(**LINGER, history__names=names) is None
    with contextlib.closing(sqlite3.connect(runs.store)) as db:
        assert db.execute("SELECT count(*) FROM dump").fetchone() == (0,)


async def test_what_a_command_changes_in_the_file_meanwhile_counts(runs: Runs) -> None:
    async with runs.run():
        pass
    async with offline_store(runs.store, new=False) as store:
        secret = await store.appoint("ops", "admin")
    async with runs.run() as house:
        assert house.runtime.state.directory.operator_of_secret(secret) == ("ops", "admin")


async def test_a_start_that_fails_loses_nothing(runs: Runs) -> None:
    async with runs.run(**LINGER) as house:
        await lose(house, await house.welcomed(account="ann", device="d"))
    async with running(settings_of()) as other:
        with pytest.raises(OSError, match="in use"):
            async with runs.run(**LINGER, listen__tcp=other.ports()["tcp"]):
                pass
    async with runs.run(**LINGER) as house:
        assert await house.used("seats") == 1


async def test_permanent_licenses_take_effect_at_every_start(runs: Runs) -> None:
    terms = {"license__model": "trueconf", "license__trueconf__pro": 1}
    async with runs.run(**terms) as house:
        group = {"accounts": ["boss"], "permanent": True}
        assert (await house.http("PUT", "/api/groups/board", json=group))[0] == 200
        assert house.runtime.state.permanent == []
    async with runs.run(**terms) as house:
        assert house.runtime.state.permanent == ["boss"]
