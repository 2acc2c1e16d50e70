"""The registrar's licenses: the API about them, and that they outlive restarts and disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.gateway import running
from gateway.edge.machine import Clock
from gateway.edge.storage import store
from tests.conftest import House, License, Serve, settings_of, until
from tests.edge.conftest import Call
from tests.edge.disk import broken, recovered, stuck, written
from tests.edge.registering import START, Time, code, sold, text

REQUEST = {"server": "inst-9", "serial": "S-1", "nonce": "0f" * 16, "time": "2027-01-15T08:00:00Z"}


@contextlib.asynccontextmanager
async def run(path: Path, clock: Clock | None = None) -> AsyncIterator[House]:
    """One run of a gateway on a store."""
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running(settings_of(store__path=path), clock=clock))
        yield House(gateway, stack)


def rows(path: Path) -> tuple[dict[str, float | None], dict[tuple[str, str], tuple[str, int]]]:
    """Licenses in the file with when they were revoked, and servers with their last ticket and clones."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        licenses = dict(file.execute("SELECT serial, revoked FROM license"))
        servers = file.execute("SELECT serial, server, ticket, clones FROM installation").fetchall()
    return licenses, {(serial, server): (ticket, clones) for serial, server, ticket, clones in servers}


def held(house: House) -> tuple[dict[str, float | None], dict[tuple[str, str], tuple[str | None, int]]]:
    """The same of memory."""
    registrar = house.runtime.registrar.registrar
    return (
        {serial: each.revoked for serial, each in registrar.licenses.items()},
        {name: (each.ticket, each.clones) for name, each in registrar.installations.items()},
    )


# -- the API ---------------------------------------------------------------------------------------------------------


async def test_a_license_is_sold_changed_revoked_and_removed(serve: Serve) -> None:
    house = await serve(clock=Time().clock)
    status, told = await house.http("PUT", "/api/licenses/S-1", json={"edition": "free", "not_after": "2027-01-31"})
    key = told.pop("key")
    assert (status, len(bytes.fromhex(key))) == (200, 32)
    assert told == {
        "serial": "S-1",
        "model": "trueconf",
        "edition": "free",
        "limits": {},
        "extensions": [],
        "needs_connection": True,
        "not_after": "2027-01-31T23:59:59Z",
        "created": "2027-01-15T08:00:00Z",
        "revoked_at": None,
        "state": "active",
    }
    assert await house.http("GET", "/api/licenses/S-1") == (200, told)
    status, changed = await house.http("PUT", "/api/licenses/S-1", json={"not_after": "2027-01-14"})
    assert (status, changed["state"], changed["needs_connection"]) == (200, "expired", False)
    assert "key" not in changed
    status, revoked = await house.http("POST", "/api/licenses/S-1/revoke")
    assert (status, revoked["state"], revoked["revoked_at"]) == (200, "revoked", "2027-01-15T08:00:00Z")
    assert (await house.http("PUT", "/api/licenses/S-1", json={}))[0] == 409
    assert (await house.http("DELETE", "/api/licenses/S-1"))[0] == 204
    assert (await house.http("GET", "/api/licenses/S-1"))[0] == 404
    status, again = await house.http("PUT", "/api/licenses/S-1", json={})
    assert status == 200
    assert again["key"] != key
    _, audit = await house.http("GET", "/api/audit")
    said = [each["action"] for each in audit["items"] if each["action"].startswith("license.")]
    assert said == ["license.sold", "license.changed", "license.revoked", "license.removed", "license.sold"]


@pytest.mark.parametrize(
    "terms",
    [
        {"model": "other"},
        {"edition": "gold"},
        {"limits": {"seats": 1}},
        {"limits": {"pro": -1}},
        {"limits": {"pro": 1.5}},
        {"limits": {"pro": True}},
        {"limits": {"pro": 10**10}},
        {"extensions": "sdk"},
        {"extensions": ["a b"]},
        {"needs_connection": 1},
        {"not_after": "tomorrow"},
        {"not_after": "2027-01-31T00:00:00"},
        {"not_after": 1e9 + 0.5},
        {"model": "epop", "edition": "\ud800"},
        {"model": "epop", "edition": "a\nb"},
        {"key": "00"},
    ],
)
async def test_wrong_terms_are_refused(terms: dict[str, Any], serve: Serve) -> None:
    house = await serve()
    status, told = await house.http("PUT", "/api/licenses/S-1", json=terms)
    assert (status, told["error"]) == (422, "bad_field")
    assert (await house.http("GET", "/api/licenses"))[1]["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/revoke"), ("POST", "/answer")],
)
async def test_a_license_that_nobody_sold_is_not_found(method: str, path: str, serve: Serve) -> None:
    house = await serve()
    status, told = await house.http(method, f"/api/licenses/S-1{path}", json=REQUEST if path == "/answer" else None)
    assert (status, told["error"]) == (404, "no_such_license")


async def test_lists_come_in_pages(serve: Serve, call: Call) -> None:
    house = await serve()
    for number in range(5):
        key = await sold(house, f"S-{number}")
        await (await call(house, key, serial=f"S-{number}")).registered()
    for path in ("/api/licenses", "/api/registrations"):
        found, query = [], "?limit=2"
        while True:
            _, told = await house.http("GET", path + query)
            found += [each["serial"] for each in told["items"]]
            if told["next"] is None:
                break
            query = f"?limit=2&cursor={told['next']}"
        assert found == [f"S-{number}" for number in range(5)]
        _, told = await house.http("GET", path + "?offset=3")
        assert len(told["items"]) == 2


async def test_a_request_is_answered_for_the_license_it_is_of(serve: Serve) -> None:
    house = await serve(clock=Time().clock)
    key = await sold(house, edition="free", not_after="2027-12-31")
    status, answer = await house.http("POST", "/api/licenses/S-1/answer", json=REQUEST)
    assert status == 200
    assert answer["mac"] == code(key, "offline", text(answer))
    assert {name: answer[name] for name in ("server", "serial", "nonce", "issued_at", "not_after", "edition")} == {
        "server": "inst-9",
        "serial": "S-1",
        "nonce": "0f" * 16,
        "issued_at": "2027-01-15T08:00:00Z",
        "not_after": "2027-12-31T23:59:59Z",
        "edition": "free",
    }
    for wrong in ({**REQUEST, "serial": "S-2"}, {**REQUEST, "nonce": "0"}, {}, {**REQUEST, "x": 1.5}):
        assert (await house.http("POST", "/api/licenses/S-1/answer", json=wrong))[0] == 422
    await house.http("POST", "/api/licenses/S-1/revoke")
    status, told = await house.http("POST", "/api/licenses/S-1/answer", json=REQUEST)
    assert (status, told["error"]) == (409, "revoked")


async def test_the_key_is_told_once_and_stands_nowhere(license: License, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house = await license({"edition": "free"})
    service = house.registrar
    assert service is not None
    (sale,) = service.runtime.registrar.registrar.licenses.values()
    _, sold = await service.http("PUT", "/api/licenses/OTHER", json={})
    _, request = await house.http("POST", "/api/registration/request")
    _, answer = await service.http("POST", f"/api/licenses/{sale.serial}/answer", json=request)
    assert (await house.http("POST", "/api/registration/install", json=answer))[0] == 200
    told = ""
    for each in (house, service):
        for path in (
            *("/api/license", "/api/registration", "/api/registrations", "/api/licenses", "/api/audit", "/metrics"),
            *(f"/api/licenses/{sale.serial}", "/api/licenses/OTHER", "/readyz", "/openapi.json", "/api/history"),
        ):
            told += json.dumps(await each.http("GET", path))
    told += "".join(record.getMessage() for record in caplog.records) + json.dumps(answer)
    assert sale.serial in told
    for key in (sale.key.hex(), sold["key"]):
        assert key not in told.lower()


async def test_a_license_that_is_removed_while_its_revocation_is_written_was_revoked_all_the_same(
    serve: Serve, tmp_path: Path
) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    licenses = house.runtime.registrar.registrar.licenses
    await house.http("PUT", "/api/licenses/S-1", json={"edition": "free"})
    async with broken(house, "stalled"):
        revoke = asyncio.create_task(house.http("POST", "/api/licenses/S-1/revoke"))
        await stuck(house)
        remove = asyncio.create_task(house.http("DELETE", "/api/licenses/S-1"))
        await until(lambda: not licenses)
    status, shown = await revoke
    assert (status, shown["serial"], shown["state"]) == (200, "S-1", "revoked")
    assert (await remove)[0] == 204


async def test_a_new_license_that_is_removed_before_it_could_be_written_is_removed_once(
    serve: Serve, tmp_path: Path
) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    licenses = house.runtime.registrar.registrar.licenses
    async with broken(house, "stalled"):
        house.runtime.persistence.audit("ops", "group.set", "board")
        await stuck(house)
        sell = asyncio.create_task(house.http("PUT", "/api/licenses/S-1", json={"edition": "free"}))
        await until(lambda: "S-1" in licenses)
        remove = asyncio.create_task(house.http("DELETE", "/api/licenses/S-1"))
        await until(lambda: not licenses)
        house.runtime.persistence.store.mistrust("what waits behind the stalled commit fails")
        assert [(await each)[0] for each in (sell, remove)] == [503, 503]
    assert not licenses


# -- what stays ------------------------------------------------------------------------------------------------------


async def test_licenses_tickets_and_clones_survive_a_restart(tmp_path: Path, call: Call) -> None:
    path, time = tmp_path / "t.db", Time()
    async with run(path, time.clock) as house:
        key = await sold(house, limits={"pro": 5}, not_after="2030-01-01")
        await sold(house, "S-2")
        await house.http("POST", "/api/licenses/S-2/revoke")
        agent = await call(house, key)
        await agent.registered()
        old = (await agent.verified(1, pro=3))["ticket"]
        last = (await agent.verified(2, pro=4))["ticket"]
        other = await call(house, key, server="inst-2")
        await other.registers()
        before = [(await house.http("GET", each))[1] for each in ("/api/licenses", "/api/registrations")]
        before[1]["items"][0].update(connected=False, since=None)
        await agent.close()
        await other.close()
    async with run(path, time.clock) as house:
        after = [(await house.http("GET", each))[1] for each in ("/api/licenses", "/api/registrations")]
        assert after == before
        assert after[1]["items"][0]["clones_suspected"] == 1
        assert after[1]["items"][0]["used"] == {"pro": 4}
        agent = await call(house, key, server="inst-1")
        told = await agent.registered(ticket=last)
        assert told["limits"] == {"pro": 5}
        other = await call(house, key)
        await other.registered(ticket=old)
        assert (await house.http("GET", "/api/registrations"))[1]["items"][0]["clones_suspected"] == 2
        await agent.close()
        await other.close()


async def test_while_the_disk_fails_answers_go_on_and_the_file_is_made_the_same(
    tmp_path: Path, serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY", 0.02)
    path = tmp_path / "t.db"
    house = await serve(store__path=path)
    key, other = await sold(house), await sold(house, "S-2")
    agent = await call(house, key)
    await agent.registered()
    await written(house.runtime.persistence)
    async with broken(house, "failing"):
        for seq in range(1, 6):
            await agent.verified(seq)
        assert (await (await call(house, key, server="inst-2")).registers())["reason"] == "in_use"
        late = await call(house, other, serial="S-2")
        await late.registered()
        status, told = await house.http("PUT", "/api/licenses/S-3", json={})
        assert (status, told["error"]) == (503, "store_unavailable")
        status, _ = await house.http("DELETE", "/api/licenses/S-2")
        assert status == 503
        assert (await late.hear())["type"] == "revoked"
    await recovered(house)
    await written(house.runtime.persistence)
    assert rows(path) == held(house)
    assert set(rows(path)[0]) == {"S-1"}, "a key that nobody was told is no license"
    await agent.verified(6)
    await written(house.runtime.persistence)
    assert rows(path) == held(house)


async def test_a_damaged_license_does_not_bring_the_gateway_up_with_another(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with run(path) as house:
        await sold(house)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute('UPDATE license SET granted = \'{"model":"other"}\'')
        file.commit()
    async with run(path) as house:
        assert (await house.http("GET", "/api/licenses"))[1]["items"] == []
    assert any(name.startswith("t.db.damaged") for name in os.listdir(tmp_path)), "set aside, not lost"


async def test_a_license_without_end_never_ends(serve: Serve, call: Call) -> None:
    time = Time()
    house = await serve(clock=time.clock)
    agent = await call(house, await sold(house))
    await agent.registered()
    time.wall = START + 400 * 366 * 86400
    house.runtime.advance(4)
    await agent.verified(1)
    assert (await house.http("GET", "/api/licenses/S-1"))[1]["state"] == "active"
    await until(lambda: not house.runtime.persistence.store.pending)
