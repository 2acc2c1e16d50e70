"""Nobody buys time: not by a restart, not with a clock, not by a change of what the store keeps."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.core.registration.license_status import LicenseState
from gateway.edge.server import registration_agent
from tests.edge.conftest import Run
from tests.edge.registering import RawRegistrar, Time, denied, lost, registered, shows

HOUR = 3600.0
GRACE = 12 * HOUR
SHUTDOWN = "2027-01-15T20:00:00Z"
PAID = {"edition": "server", "needs_connection": False}


async def test_a_restart_goes_on_with_the_same_countdown(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        time.go(5 * HOUR)
        await shows(house, LicenseState.GRACE)
    time.go(6 * HOUR)
    async with run() as house:
        told = await shows(house, LicenseState.GRACE)
        assert (told["shutdown_at"], told["seconds_left"]) == (SHUTDOWN, HOUR)
        assert not await denied(house)
    time.go(HOUR)
    async with run() as house:
        await shows(house, LicenseState.EXPIRED)
        assert house.gateway.ports()["tcp"] is house.gateway.ports()["websocket"] is None


async def test_a_clock_that_is_set_back_while_it_is_down_buys_nothing(
    run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        time.go(11 * HOUR)
        await shows(house, LicenseState.GRACE)
    time.wall -= 11 * HOUR
    time.boot += HOUR
    async with run() as house:
        await shows(house, LicenseState.EXPIRED)


async def test_a_store_that_was_deleted_begins_unregistered(run: Run, registrar: RawRegistrar, store: Path) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        before = house.runtime.registration.installation
    shutil.rmtree(store.parent)
    store.parent.mkdir()
    async with run() as house:
        assert (await shows(house, LicenseState.UNREGISTERED))["installation"] != before
        assert await denied(house)


@pytest.mark.parametrize("how", ["changed", "another serial", "another key", "no JSON", "a list"])
async def test_what_the_store_keeps_must_be_this_licenses(
    how: str, run: Run, registrar: RawRegistrar, tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
    with contextlib.closing(sqlite3.connect(store)) as file:
        (kept,) = file.execute("SELECT value FROM meta WHERE name = 'registration'").fetchone()
        told = json.loads(kept)
        told["accepted"] += 1000 if how == "changed" else 0
        text = {"no JSON": "{", "a list": "[]"}.get(how, json.dumps(told))
        file.execute("UPDATE meta SET value = ? WHERE name = 'registration'", (text,))
        file.commit()
    if how == "another key":
        (tmp_path / "key").write_text("11" * 32)
    async with run(**({"registration__serial": "S-2"} if how == "another serial" else {})) as house:
        await shows(house, LicenseState.UNREGISTERED)
        assert await denied(house)
        assert "another license's, or was changed" in caplog.text


async def test_a_wall_clock_that_was_set_back_grants_nothing_until_it_is_verified(
    run: Run, registrar: RawRegistrar, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_agent, "CLOCK_CHECK_EVERY", 0.01)
    async with run(license__model="trueconf", license__trueconf__allow_pro_requests="true") as house:
        caller = await registered(house, registrar, limits={"pro": 5})
        member = await house.welcomed(account="ann")
        asleep, other = await house.welcomed(account="bob"), await house.welcomed(account="eve")
        assert (await member.ask("join", conference="c", host=True, scheduled=True))["type"] == "waiting"
        assert (await asleep.ask("sleep"))["type"] == "asleep"
        time.wall -= 300
        assert not await denied(house)
        time.wall -= 1
        told = await shows(house, LicenseState.CLOCK_ROLLBACK)
        assert told["reason"] == "the clock was set back: it has been 2027-01-15T08:00:00Z before"
        assert (await house.http("GET", "/readyz"))[0] == 503
        assert await denied(house)
        for wire, type, fields in (
            (other, "join", {"conference": "d"}),
            (member, "start", {"conference": "c"}),
            (asleep, "wake", {}),
            (other, "request_pro", {}),
        ):
            answer = await wire.ask(type, **fields)
            assert (answer["type"], answer["request"], answer["reason"]) == ("denied", type, "unregistered")
        assert (await member.ask("heartbeat"))["type"] == "ack"
        assert house.gateway.ports()["tcp"] is not None
        verify = await caller.hear()
        assert (verify["type"], verify["seq"]) == ("verify", 1), "asked for before the interval is over"
        await caller.say(caller.verified(1))
        await shows(house, LicenseState.REGISTERED)
        assert (await other.ask("join", conference="d", host=True))["type"] == "joined"
        assert (await member.ask("start", conference="c"))["type"] == "denied", "one conference in the free edition"


async def test_a_host_is_not_named_while_the_clock_is_back(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        await registered(house, registrar, model="nefsis-named", edition="", needs_connection=True)
        time.wall -= 301
        status, told = await house.http("PUT", "/api/hosts/ann")
        assert (status, told["error"]) == (409, "unregistered")


async def test_a_clock_that_catches_up_is_trusted_again(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        time.wall -= 2 * HOUR
        await shows(house, LicenseState.CLOCK_ROLLBACK)
        time.go(2 * HOUR - 300)
        await shows(house, LicenseState.GRACE)


async def test_setting_the_clock_back_does_not_move_the_end(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        time.wall -= 24 * HOUR
        time.go(GRACE - 1)
        await shows(house, LicenseState.CLOCK_ROLLBACK)
        time.go(1)
        await shows(house, LicenseState.EXPIRED)


async def test_a_wall_clock_that_jumps_forward_spends_the_grace_and_not_a_fresh_answer(
    run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run() as house:
        caller = await registered(house, registrar)
        time.wall += 2 * GRACE
        await shows(house, LicenseState.REGISTERED)
        await lost(house, caller, registrar)
        await shows(house, LicenseState.EXPIRED)


async def test_a_suspended_machine_wakes_up_later(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        await registered(house, registrar)
        time.boot += 61
        await shows(house, LicenseState.GRACE)
        time.boot += GRACE
        assert not house.runtime.registration.grants, "before anybody looked"
        await shows(house, LicenseState.EXPIRED)


async def test_a_paid_license_only_warns_of_a_wall_clock_that_was_set_back(
    run: Run, registrar: RawRegistrar, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    async with run() as house:
        await registered(house, registrar, **PAID)
        time.wall -= 1000
        await shows(house, LicenseState.REGISTERED)
        await shows(house, LicenseState.REGISTERED)
        await house.welcomed()
    warning = "the clock was set back: it has been 2027-01-15T08:00:00Z before"
    assert [record.message for record in caplog.records].count(warning) == 1


async def test_a_difference_of_the_clocks_is_reported_and_changes_nothing(
    run: Run, registrar: RawRegistrar, caplog: pytest.LogCaptureFixture
) -> None:
    async with run() as house:
        await registered(house, registrar, time="2027-01-15T08:05:01Z")
        assert (await shows(house, LicenseState.REGISTERED))["clock_skew_seconds"] == 301
        assert "differs" in caplog.text
