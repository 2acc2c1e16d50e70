"""The life of a registered gateway: what it may do with, without, and long after its registrar."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.core.registration.license_status import LicenseState
from gateway.edge.storage.offline_store import offline_store
from tests.conftest import License, Serve, settings_of, until
from tests.edge.conftest import Run
from tests.edge.disk import written
from tests.edge.registering import START, RawRegistrar, Time, denied, lost, registered, shows
from tests.programs import free_port

HOUR = 3600.0
GRACE = 12 * HOUR
SHUTDOWN = "2027-01-15T20:00:00Z"
PAID = {"edition": "server", "needs_connection": False}


# -- the twelve hours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_the_whole_life(transport: str, run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run(license__model="trueconf") as house:
        ports = house.gateway.ports()
        assert (await shows(house, LicenseState.UNREGISTERED))["last_verified"] is None
        assert await denied(house)
        assert (await house.http("GET", "/readyz"))[0] == 503
        caller = await registered(house, registrar)
        client = await house.welcomed(transport, account="ann")
        assert (await house.http("GET", "/readyz"))[1] == "ready\n"

        await lost(house, caller, registrar)
        told = await shows(house, LicenseState.GRACE)
        assert (told["shutdown_at"], told["lost_at"]) == (SHUTDOWN, "2027-01-15T08:00:00Z")
        assert told["seconds_left"] == GRACE
        assert (await house.http("GET", "/readyz")) == (200, "ready; registration lost, service ends in 12 h 00 min\n")
        time.go(GRACE - 1)
        assert (await shows(house, LicenseState.GRACE))["seconds_left"] == 1
        second = await house.welcomed(account="bob")
        assert (await client.ask("join", conference="c", access="public", host=True))["type"] == "joined"

        farewells = [asyncio.create_task(wire.gone()) for wire in (client, second)]  # they read all the time
        time.go(1)
        assert await shows(house, LicenseState.EXPIRED) == told | {
            "state": "expired",
            "seconds_left": 0,
            "reason": "no answer of the registration server since 2027-01-15T08:00:00Z, and the grace is over",
        }
        for farewell in farewells:
            (last,) = await farewell
            assert (last["type"], last["reason"], last["code"]) == ("closing", "unregistered", 4510)
        if transport == "websocket":
            assert client.code == 4510  # type: ignore[attr-defined]
        assert house.gateway.ports() == {**ports, "tcp": None, "websocket": None}
        status, reason = await house.http("GET", "/readyz")
        assert (status, "grace is over" in reason) == (503, True)
        _, metrics = await house.http("GET", "/metrics")
        assert 'tallygate_registration_state{state="expired"} 1.0' in metrics
        found = metrics.partition("\ntallygate_registration_shutdown_timestamp_seconds ")[2]
        assert float(found.partition("\n")[0]) == START + GRACE
        assert house.runtime.state.primary.pools["pro"].used == 1, "a PRO license lasts as long as it was leased for"
        await client.close()
        await second.close()


async def test_who_waits_to_be_resumed_is_over_too(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run(heartbeat__resume_window="20h") as house:
        caller = await registered(house, registrar)
        client = await house.welcomed()
        await client.close()
        await until(lambda: bool(house.runtime.state.resumable))
        await lost(house, caller, registrar)
        time.go(GRACE)
        await shows(house, LicenseState.EXPIRED)
        await until(lambda: not house.runtime.state.resumable)
        assert house.runtime.state.ledger_of("floating").pools["seats"].used == 0


async def test_a_verified_answer_opens_the_same_doors_again(run: Run, registrar: RawRegistrar, time: Time) -> None:
    async with run() as house:
        ports = house.gateway.ports()
        silent = await lost(house, await registered(house, registrar), registrar)
        time.go(3 * GRACE)
        await shows(house, LicenseState.EXPIRED)
        silent.close()
        await registered(house, registrar)
        told = await shows(house, LicenseState.REGISTERED)
        assert (told["shutdown_at"], told["lost_at"], told["last_verified"]) == (None, None, "2027-01-16T20:00:00Z")
        assert house.gateway.ports() == ports
        await house.welcomed()
        await written(house.runtime.persistence)
        _, audit = await house.http("GET", "/api/audit")
        said = [each["action"] for each in audit["items"] if each["action"].startswith("registration.")]
        assert [each.partition(".")[2] for each in said] == ["registered", "grace", "expired", "registered"]


async def test_an_answer_that_was_asked_for_before_the_machine_slept_is_late(
    run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run() as house:
        silent = await lost(house, await registered(house, registrar), registrar)
        time.go(GRACE)
        await shows(house, LicenseState.EXPIRED)
        await silent.accept()
        await silent.gone()
        assert house.runtime.registration.checks["late"] == 1
        await shows(house, LicenseState.EXPIRED)


async def test_a_license_that_needs_no_connection_stays_in_grace_for_ever(
    run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run(license__model="trueconf") as house:
        await lost(house, await registered(house, registrar, **PAID), registrar)
        time.go(100 * 24 * HOUR)
        told = await shows(house, LicenseState.GRACE)
        assert (told["shutdown_at"], told["seconds_left"], told["needs_connection"]) == (None, None, False)
        await house.welcomed()


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("edition", ["free", "server"])
async def test_every_license_ends_at_its_end(
    edition: str, connected: bool, run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run() as house:
        caller = await registered(house, registrar, edition=edition, not_after="2027-01-15T08:00:05Z")
        client = await house.welcomed()
        if not connected:
            await lost(house, caller, registrar)
        time.go(5)
        assert not await denied(house)
        time.go(0.5)
        told = await shows(house, LicenseState.EXPIRED)
        assert told["reason"] == "the license ended at 2027-01-15T08:00:05Z"
        assert (await client.gone())[-1]["reason"] == "unregistered"
        assert house.gateway.ports()["tcp"] is None


async def test_reminders_are_logged_on_the_way(
    run: Run, registrar: RawRegistrar, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tallygate.registration")
    async with run() as house:
        await lost(house, await registered(house, registrar), registrar)
        said: list[str] = []
        reminded = []
        for left in (GRACE, GRACE - 1, 6 * HOUR + 1, 6 * HOUR, 2 * HOUR, HOUR + 1, HOUR, 601, 600, 599, 1, 0):
            time.go(START + GRACE - left - time.wall)
            house.runtime.registration.poll()
            before = len(said)
            said = [each.getMessage() for each in caplog.records if "service ends in" in each.getMessage()]
            reminded += [left] * (len(said) - before)
        assert reminded == [GRACE, 6 * HOUR, HOUR, 600]
        assert [each.partition("ends in ")[2].partition(",")[0] for each in said] == [
            "12 h 00 min",
            "6 h 00 min",
            "1 h 00 min",
            "10 min 00 s",
        ]
        assert all(SHUTDOWN in each for each in said)


# -- the registrar says no -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["revoked", "expired"])
@pytest.mark.parametrize("type", ["revoked", "refused"])
async def test_a_revoked_license_ends_at_once_and_stays_so_over_a_restart(
    type: str, reason: str, run: Run, registrar: RawRegistrar
) -> None:
    async with run() as house:
        caller = await registered(house, registrar, **PAID)
        client = await house.welcomed()
        if type == "refused":
            caller = await lost(house, caller, registrar)
            await caller.challenge()
        await caller.say(caller.sealed({"type": type, "reason": reason}))
        assert (await client.gone())[-1]["reason"] == "unregistered"
        told = await shows(house, LicenseState.REVOKED)
        assert told["reason"] == f"the registration server refuses the license: {reason}"
        assert told["shutdown_at"] is None
        await (await registrar.call()).challenge()
    async with run() as house:
        await shows(house, LicenseState.REVOKED)
        assert house.gateway.ports()["tcp"] is None
        (await registrar.call()).close()
        await registered(house, registrar)
        await shows(house, LicenseState.REGISTERED)
        assert house.gateway.ports()["tcp"] is not None


async def test_a_license_in_use_elsewhere_is_a_suspicion_and_a_lost_connection(
    run: Run, registrar: RawRegistrar
) -> None:
    async with run() as house:
        silent = await lost(house, await registered(house, registrar), registrar)
        await silent.challenge()
        await silent.say(silent.sealed({"type": "refused", "reason": "in_use"}))
        await silent.gone()
        told = await shows(house, LicenseState.GRACE)
        assert told["clone_suspected"]
        await written(house.runtime.persistence)
        _, audit = await house.http("GET", "/api/audit")
        (entry,) = [each for each in audit["items"] if each["action"] == "clone.suspected"]
        assert entry["subject"] == "S-1"
        await registered(house, registrar)
        assert not (await shows(house, LicenseState.REGISTERED))["clone_suspected"]


# -- without a registrar ---------------------------------------------------------------------------------------------


async def test_the_free_edition_without_a_registrar_grants_nothing(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__edition="free")
    told = await shows(house, LicenseState.UNREGISTERED)
    assert told["role"] == "off"
    assert await denied(house)
    assert (await house.http("GET", "/readyz"))[0] == 503


async def test_without_either_nothing_is_asked_of_anybody(serve: Serve) -> None:
    house = await serve()
    told = await shows(house, LicenseState.OFF)
    assert (told["reason"], told["shutdown_at"]) == (None, None)
    await house.welcomed()


# -- what the license says -------------------------------------------------------------------------------------------


def limits(told: dict[str, Any]) -> dict[str, Any]:
    """The limits of the enforced model."""
    return {pool: view["limit"] for pool, view in told["models"][told["model"]]["pools"].items()}


async def test_the_license_replaces_what_is_configured_and_a_lower_limit_drops_nobody(
    run: Run, registrar: RawRegistrar
) -> None:
    async with run(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=2) as house:
        caller = await registered(house, registrar, **PAID, limits={"online": 3}, extensions=["sdk"])
        _, told = await house.http("GET", "/api/license")
        assert limits(told) == {"online": 3, "pro": 10, "guest": 1, "gateway": 1}
        assert {each["name"] for each in told["extensions"] if each["licensed"]} >= {"sdk"}
        wires = [await house.welcomed(account=f"a{number}", device=f"d{number}") for number in range(3)]
        caller.close()
        await registered(house, registrar, **PAID, limits={"online": 1})
        await until(lambda: house.runtime.state.primary.pools["online"].terms.limit == 1)
        for wire in wires:
            assert (await wire.ask("heartbeat"))["type"] == "ack"
        refused = await (await house.connect()).hello(account="late")
        assert (refused["reason"], refused["used"], refused["limit"]) == ("pool_full", 3, 1)


async def test_the_license_may_be_of_another_model_from_now_on(run: Run, registrar: RawRegistrar) -> None:
    async with run(license__epop__users=1) as house:
        caller = await registered(house, registrar)
        wire = await house.welcomed(account="ann")
        caller.close()
        await registered(house, registrar, model="epop", edition="", limits={"concurrent": 7})
        await until(lambda: house.runtime.state.primary.model.name == "epop")
        _, told = await house.http("GET", "/api/license")
        assert (told["model"], limits(told)) == ("epop", {"concurrent": 7})
        assert (await wire.ask("join", conference="c"))["type"] == "joined"
        assert (await house.welcomed(account="bob")) is not wire


async def test_a_reload_keeps_the_limits_of_the_license(
    run: Run, registrar: RawRegistrar, tmp_path: Path, store: Path
) -> None:
    async with run(license__model="trueconf") as house:
        await registered(house, registrar, **PAID, limits={"pro": 5})
        settings = settings_of(
            license__model="trueconf",
            license__trueconf__pro=50,
            listen__message_burst=99,
            registration__role="agent",
            registration__server=f"127.0.0.1:{registrar.port}",
            registration__serial="S-1",
            registration__key_file=tmp_path / "key",
            store__path=store,
        )
        house.gateway.reload(settings)
        assert house.runtime.tcp.limits.burst == 99
        assert limits((await house.http("GET", "/api/license"))[1])["pro"] == 5


async def test_a_reload_does_not_make_a_free_edition_of_a_gateway_without_a_registrar(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    house.gateway.reload(settings_of(license__model="trueconf", license__trueconf__edition="free"))
    _, told = await house.http("GET", "/api/license")
    assert (told["edition"] == "free") == (told["registration"]["state"] != "off")


# -- by hand ---------------------------------------------------------------------------------------------------------


async def test_a_license_is_installed_by_hand(license: License) -> None:
    time = Time()
    house = await license({"edition": "free", "not_after": "2027-02-01"}, clock=time.clock, registered=False)
    service = house.registrar
    assert service is not None
    await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)
    await house.gateway.agent.close()
    house.runtime.registration.lost()
    time.go(GRACE)
    await shows(house, LicenseState.EXPIRED)

    async def asked() -> Any:
        return (await house.http("POST", "/api/registration/request"))[1]

    async def answered(request: Any, serial: str = "S-0") -> Any:
        status, answer = await service.http("POST", f"/api/licenses/{serial}/answer", json=request)
        assert status == 200, answer
        return answer

    async def refused(answer: Any) -> Any:
        status, told = await house.http("POST", "/api/registration/install", json=answer)
        assert status in {409, 422}
        return told["error"]

    answer = await answered(await asked())
    assert await refused(answer | {"mac": "00" * 32}) == "bad_mac"
    assert await refused(answer | {"limits": {"pro": 1000}}) == "bad_mac"
    assert await refused(answer | {"surrogate": "\ud800"}) == "bad_mac"
    assert await refused({}) == "bad_field"
    assert await refused(answer | {"x": 1.5}) == "bad_field"
    assert await refused(answer | {"server": "another"}) == "another_installation"
    await service.http("PUT", "/api/licenses/S-9", json={})
    request = await asked()
    assert await refused(await answered(request | {"serial": "S-9"}, "S-9")) == "another_serial"
    assert await refused(await answered(request | {"server": "inst-2"})) == "another_installation"
    assert await refused(answer) == "not_requested", "a later request was made"
    answer = await answered(request)
    status, told = await house.http("POST", "/api/registration/install", json=answer)
    assert (status, told["state"], told["offline"], told["shutdown_at"]) == (200, "registered", True, None)
    await until(lambda: house.gateway.ports()["tcp"] is not None)
    await house.welcomed()
    assert await refused(answer) == "not_newer"
    time.go(10 * 24 * HOUR)
    await shows(house, LicenseState.REGISTERED)
    time.go(10 * 24 * HOUR)
    await shows(house, LicenseState.EXPIRED)


async def test_who_has_no_serial_cannot_ask(serve: Serve) -> None:
    house = await serve()
    for path in ("/api/registration/request", "/api/registration/install"):
        status, told = await house.http("POST", path)
        assert (status, told["error"]) == (409, "no_serial")


async def test_a_gateway_that_is_its_own_registrar_loses_nothing_when_it_ends(serve: Serve, tmp_path: Path) -> None:
    path, key, port = tmp_path / "own.db", tmp_path / "own.key", free_port()
    async with offline_store(path) as store:
        await store.sell("OWN", {"edition": "free"})
        key.write_text(store.registrar.licenses["OWN"].key.hex())
    house = await serve(
        store__path=path,
        registrar__port=port,
        registration__role="agent",
        registration__server=f"127.0.0.1:{port}",
        registration__serial="OWN",
        registration__key_file=key,
    )
    await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)
    await house.gateway.close(drain=0)
    with contextlib.closing(sqlite3.connect(path)) as file:
        actions = [action for (action,) in file.execute("SELECT action FROM audit ORDER BY seq")]
    assert actions[-2:] == ["registration.registered", "stop"]
