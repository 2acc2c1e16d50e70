"""The API about accounts and their tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from secrets import token_urlsafe

import pytest

from tests.conftest import Serve, until
from tests.edge.disk import broken, stuck


async def test_an_account_is_registered_shown_and_deleted(serve: Serve) -> None:
    house = await serve()
    assert await house.http("PUT", "/api/accounts/Ann") == (
        200,
        {"account": "ann", "tokens": [], "connections": 0, "groups": []},
    )
    await house.http("PUT", "/api/groups/staff", json={"accounts": ["ANN"]})
    wire = await house.welcomed(account="ann")
    shown = {"account": "ann", "tokens": [], "connections": 1, "groups": ["staff"]}
    assert (await house.http("PUT", "/api/accounts/ann"))[1] == shown
    assert (await house.http("GET", "/api/accounts/ANN"))[1] == shown
    assert (await house.http("GET", "/api/accounts"))[1] == {"items": [shown], "next": None}
    assert await house.http("DELETE", "/api/accounts/ann") == (204, "")
    (closing,) = await wire.gone()
    assert (closing["reason"], closing["code"], closing["reconnect"]) == ("account_deleted", 4503, False)
    assert (await house.http("GET", "/api/accounts"))[1]["items"] == []
    assert (await house.http("GET", "/api/groups/staff"))[1]["accounts"] == []


async def test_an_account_has_no_fields_to_set(serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("PUT", "/api/accounts/ann", json={"password": "x"})
    assert (status, body["error"]) == (422, "bad_field")


async def test_where_accounts_are_proven_only_the_token_opens(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    unknown = await house.connect()
    assert (await unknown.hello(account="ann", token=token_urlsafe()))["reason"] == "account_unknown"
    await house.http("PUT", "/api/accounts/ann")
    status, made = await house.http("POST", "/api/accounts/Ann/token")
    _, second = await house.http("POST", "/api/accounts/ann/token")
    assert (status, made["account"], len(made["token"]) >= 43) == (200, "ann", True)
    for token in (None, "wrong", made["token"][:-1]):
        refused = await house.connect()
        assert (await refused.hello(account="ann", token=token))["reason"] == "bad_credential"
    for token in (made["token"], second["token"]):
        await house.welcomed(account="ann", token=token)
    assert len((await house.http("GET", "/api/accounts/ann"))[1]["tokens"]) == 2
    guest = await house.connect()
    assert (await guest.hello())["type"] == "welcome"


async def test_a_token_is_shown_when_it_is_durable(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    await house.http("PUT", "/api/accounts/ann")
    async with broken(house, "stalled"):
        made = asyncio.create_task(house.http("POST", "/api/accounts/ann/token"))
        await until(lambda: bool(house.runtime.state.directory.accounts["ann"]))
        await stuck(house)
        for _ in range(3):
            assert (await house.http("GET", "/livez"))[0] == 200
        assert not made.done()
    assert (await made)[0] == 200


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_token_that_is_revoked_lets_nobody_in_and_nobody_stay(serve: Serve, transport: str) -> None:
    house = await serve(accounts__mode="token", heartbeat__resume_window="60s")
    await house.http("PUT", "/api/accounts/ann")
    (_, stolen), (_, good) = [await house.http("POST", "/api/accounts/ann/token") for _ in range(2)]
    thief = await house.connect(transport)
    welcome = await thief.hello(account="ann", device="other", token=stolen["token"])
    ann = await house.welcomed(transport, account="ann", device="pc", token=good["token"])
    assert await house.http("DELETE", f"/api/accounts/ann/token/{stolen['fingerprint']}") == (204, "")
    (closing,) = await thief.gone()
    assert (closing["reason"], closing["code"], closing["reconnect"]) == ("kicked", 4503, False)
    for proof in ({"resume": welcome["resume"]}, {}):
        denied = await (await house.connect(transport)).hello(account="ann", token=stolen["token"], **proof)
        assert (denied["type"], denied["reason"]) == ("denied", "bad_credential")
    assert (await ann.ask("join", conference="m"))["type"] == "joined"
    assert (await house.http("GET", "/api/accounts/ann"))[1]["connections"] == 1


async def test_an_account_that_is_deleted_before_it_is_durable_was_registered_all_the_same(
    serve: Serve, tmp_path: Path
) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    accounts = house.runtime.state.directory.accounts
    async with broken(house, "stalled"):
        put = asyncio.create_task(house.http("PUT", "/api/accounts/ann"))
        await stuck(house)
        delete = asyncio.create_task(house.http("DELETE", "/api/accounts/ann"))
        await until(lambda: "ann" not in accounts)
    assert await put == (200, {"account": "ann", "tokens": [], "connections": 0, "groups": []})
    assert (await delete)[0] == 204


@pytest.mark.parametrize(
    ("path", "told"), [("/api/hosts/ann", None), ("/api/bans/ann", {"for": "1h"}), ("/api/conferences/c", {})]
)
async def test_what_is_undone_before_it_is_durable_was_done_all_the_same(
    path: str, told: dict[str, str] | None, serve: Serve, tmp_path: Path
) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    directory, conferences = house.runtime.state.directory, house.runtime.state.conferences
    named = house.runtime.state.host_ledger()
    assert named is not None
    async with broken(house, "stalled"):
        house.runtime.persistence.audit("ops", "group.set", "board")
        await stuck(house)
        put = asyncio.create_task(house.http("PUT", path, json=told))
        await until(lambda: bool(named.pools["hosts"].leases or list(directory.bans) or conferences.declared))
        delete = asyncio.create_task(house.http("DELETE", path))
        await until(lambda: not (named.pools["hosts"].leases or list(directory.bans) or conferences.declared))
    status, shown = await put
    assert status == 200, shown
    assert shown.get("declared", True)
    assert (await delete)[0] == 204


@pytest.mark.parametrize(
    ("before", "method", "path"),
    [
        ("PUT /api/accounts/ann", "DELETE", "/api/accounts/ann"),
        ("PUT /api/groups/staff", "DELETE", "/api/accounts/ann"),
        ("PUT /api/hosts/bob", "DELETE", "/api/hosts/bob"),
        ("PUT /api/hosts/bob", "PUT", "/api/hosts/ann"),
        ("JOIN", "DELETE", "/api/pro/ann"),
    ],
)
async def test_what_is_answered_is_durable_whichever_model_decides(
    before: str, method: str, path: str, serve: Serve, tmp_path: Path
) -> None:
    house = await serve(store__path=tmp_path / "t.db")  # PRO licenses and named hosts are in shadow
    if before == "JOIN":
        wire = await house.welcomed(account="ann")
        await wire.ask("join", conference="c", host=True, access="public")
    else:
        verb, _, place = before.partition(" ")
        assert (await house.http(verb, place, json={"accounts": ["ann"]} if "groups" in place else {}))[0] == 200
    async with broken(house, "failing"):
        status, told = await house.http(method, path)
        assert (status, told["error"]) == (503, "store_unavailable")
