"""The API about tokens: of operators, and of accounts."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.gateway import running
from gateway.edge.storage import audit_log
from tests.conftest import House, Serve, settings_of
from tests.edge.api.operators import Port, outside


async def test_a_token_is_replaced_without_anybody_being_locked_out(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, old, _ = store
    ask = Port(await serve(**outside(path)))
    status, _, made = await ask("POST", "/api/tokens/ops", old, json={"scope": "admin"})
    assert (status, made["name"], made["scope"]) == (200, "ops", "admin")
    _, _, listed = await ask("GET", "/api/tokens", made["token"])
    ops = next(each for each in listed["items"] if each["name"] == "ops")
    former = next(each["fingerprint"] for each in ops["tokens"] if each["fingerprint"] != made["fingerprint"])
    assert (await ask("GET", "/api/license", old))[0] == 200
    assert (await ask("DELETE", f"/api/tokens/ops/{former}", made["token"]))[0] == 204
    assert (await ask("GET", "/api/license", old))[0] == 401
    assert (await ask("GET", "/api/license", made["token"]))[0] == 200
    assert (await ask("DELETE", f"/api/tokens/ops/{former}", made["token"]))[0] == 404


async def test_the_last_token_that_may_administer_stays(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, _ = store
    ask = Port(await serve(**outside(path)))
    (fingerprint,) = (
        each["tokens"][0]["fingerprint"]
        for each in (await ask("GET", "/api/tokens", admin))[2]["items"]
        if each["name"] == "ops"
    )
    for place in ("/api/tokens/ops", f"/api/tokens/ops/{fingerprint}"):
        status, _, told = await ask("DELETE", place, admin)
        assert (status, told["error"]) == (409, "last_token")
    assert (await ask("DELETE", "/api/tokens/prometheus", admin))[0] == 204


@pytest.mark.parametrize("name", sorted(audit_log.RESERVED))
async def test_names_of_the_audit_log_are_no_operators(name: str, serve: Serve) -> None:
    ask = Port(await serve())
    status, _, told = await ask("POST", f"/api/tokens/{name}", json={"scope": "read"})
    assert (status, told["error"]) == (409, "reserved")


@pytest.mark.parametrize("told", [{}, {"scope": "all"}, {"scope": 1}, {"scope": "read", "more": 1}])
async def test_a_token_has_a_scope_and_nothing_else(told: dict[str, Any], serve: Serve) -> None:
    ask = Port(await serve())
    assert (await ask("POST", "/api/tokens/ops", json=told))[2]["error"] == "bad_field"


async def test_tokens_outlive_the_process_and_are_nowhere_to_be_read(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with running(settings_of(store__path=path)) as gateway:
        ask = Port(House(gateway, contextlib.AsyncExitStack()))
        secret = (await ask("POST", "/api/tokens/ops", json={"scope": "admin"}))[2]["token"]
        await ask("PUT", "/api/accounts/ann")
        client = (await ask("POST", "/api/accounts/ann/token"))[2]["token"]
    kept = b"".join((tmp_path / name).read_bytes() for name in os.listdir(tmp_path))
    assert secret.encode() not in kept
    assert client.encode() not in kept
    house = await serve(**outside(path), accounts__mode="token")
    assert (await Port(house)("GET", "/api/license", secret))[0] == 200
    await house.welcomed(account="ann", token=client)


async def test_a_clients_token_is_replaced_without_the_client_being_locked_out(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    ask = Port(house)
    await ask("PUT", "/api/accounts/ann")
    old = (await ask("POST", "/api/accounts/ann/token"))[2]
    new = (await ask("POST", "/api/accounts/ann/token"))[2]
    shown = (await ask("GET", "/api/accounts/ann"))[2]["tokens"]
    assert [each["fingerprint"] for each in shown] == [old["fingerprint"], new["fingerprint"]]
    assert (await ask("DELETE", f"/api/accounts/ann/token/{old['fingerprint']}"))[0] == 204
    assert (await (await house.connect()).hello(account="ann", token=old["token"]))["reason"] == "bad_credential"
    await house.welcomed(account="ann", token=new["token"])
    status, _, told = await ask("DELETE", f"/api/accounts/ann/token/{old['fingerprint']}")
    assert (status, told["error"]) == (404, "no_such_token")


async def test_a_token_of_another_account_proves_nothing(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    ask = Port(house)
    for account in ("ann", "bob"):
        await ask("PUT", f"/api/accounts/{account}")
    token = (await ask("POST", "/api/accounts/bob/token"))[2]["token"]
    assert (await (await house.connect()).hello(account="ann", token=token))["reason"] == "bad_credential"
