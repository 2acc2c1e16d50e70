"""The guard of the operator port: tokens, scopes, failed attempts, other sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.edge.api import authorization
from gateway.edge.api.authorization import Allowance, OperatorTokenRequired
from gateway.edge.gateway import Gateway
from gateway.edge.machine import Clock
from gateway.edge.storage.offline_store import offline_store
from gateway.edge.storage.store import StoreRefused
from tests.conftest import Serve, settings_of
from tests.edge.api.operators import Port, outside

PROVEN: dict[str, Any] = {"listen__operator_require_token": "true"}
PROXY = {"X-Forwarded-For": "203.0.113.7"}


# -- on another address ------------------------------------------------------------------------------------------------


async def test_without_a_token_in_the_store_nothing_is_opened_to_other_machines(tmp_path: Path) -> None:
    gateway = Gateway(settings_of(**outside(tmp_path / "t.db")), files=1024)
    with pytest.raises(
        OperatorTokenRequired, match=r"0\.0\.0\.0 is not a loopback.*token add NAME --scope admin --store"
    ):
        await gateway.open()
    assert set(gateway.ports().values()) == {None}


async def test_on_another_address_only_a_token_opens(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, reader = store
    ask = Port(await serve(**outside(path)))
    for place in ("/api/license", "/metrics", "/openapi.json", "/nowhere"):
        status, headers, told = await ask("GET", place)
        assert (status, told["error"]) == (401, "token_required"), place
        assert headers["WWW-Authenticate"] == 'Bearer realm="tallygate"'
    status, headers, told = await ask("GET", "/api/license", "x" * 43)
    assert (status, told["error"]) == (401, "bad_token")
    assert headers["WWW-Authenticate"] == 'Bearer realm="tallygate", error="invalid_token"'
    for token in (admin, reader):
        for place in ("/api/license", "/metrics", "/openapi.json"):
            assert (await ask("GET", place, token, headers={"Host": "gateway.example"}))[0] == 200
    for place in ("/livez", "/readyz"):
        assert (await ask("GET", place))[0] == 200


async def test_metrics_may_be_public(serve: Serve, store: tuple[Path, str, str]) -> None:
    ask = Port(await serve(**outside(store[0]), metrics__public="true"))
    assert (await ask("GET", "/metrics", headers=PROXY))[0] == 200
    assert (await ask("GET", "/api/license"))[0] == 401


async def test_who_may_read_may_not_act_nor_read_secrets(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, reader = store
    ask = Port(await serve(**outside(path)))
    for method, place in (
        ("PUT", "/api/accounts/ann"),
        ("DELETE", "/api/accounts/ann"),
        ("POST", "/api/accounts/ann/token"),
        ("GET", "/api/tokens"),
        ("POST", "/api/tokens/eve"),
        ("GET", "/api/backup"),
    ):
        status, headers, told = await ask(method, place, reader)
        assert (status, told["error"]) == (403, "scope"), place
        assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]
    assert (await ask("PUT", "/api/accounts/ann", admin))[0] == 200
    assert (await ask("GET", "/api/accounts/ann", reader))[2]["account"] == "ann"
    assert (await ask("GET", "/api/tokens", admin))[0] == 200


@pytest.mark.parametrize("header", ["Basic {}", "{}", "Bearer", "Bearer {} {}", "Bearer \xff", "Token {}"])
async def test_only_a_bearer_token_is_one(header: str, serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, _ = store
    ask = Port(await serve(**outside(path)))
    sent = {"Authorization": header.replace("{}", admin)}
    assert (await ask("GET", "/api/license", headers=sent))[2]["error"] == "bad_token"


async def test_acts_carry_the_name_of_the_operator(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, reader = store
    house = await serve(**outside(path))
    ask = Port(house)
    await ask("PUT", "/api/accounts/ann", admin)
    await ask("DELETE", "/api/accounts/ann", reader)
    await ask("DELETE", "/api/accounts/ann", "wrong")
    await house.runtime.persistence.audit_log.write()
    log = (await ask("GET", "/api/audit", reader))[2]["items"]
    assert [(each["actor"], each["action"]) for each in log] == [
        ("command", "operator.added"),
        ("command", "operator.added"),
        ("gateway", "start"),
        ("ops", "account.added"),
        ("prometheus", "refused"),
        ("unknown", "refused"),
    ]


# -- on loopback, and through a proxy ----------------------------------------------------------------------------------


async def test_through_a_proxy_a_good_token_is_enough(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, _ = store
    ask = Port(await serve(store__path=path))
    headers = {**PROXY, "Host": "gateway.example"}
    status, sent, _ = await ask("GET", "/api/license", headers=headers)
    assert (status, "WWW-Authenticate" in sent) == (401, True)
    assert (await ask("GET", "/api/license", admin, headers=headers))[0] == 200


async def test_on_loopback_whoever_shows_a_token_is_held_to_it(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, _, reader = store
    ask = Port(await serve(store__path=path))
    assert (await ask("PUT", "/api/accounts/ann"))[0] == 200
    assert (await ask("PUT", "/api/accounts/ann", reader))[0] == 403
    assert (await ask("GET", "/api/accounts/ann", "wrong"))[0] == 401


async def test_where_loopback_needs_a_token_a_proxy_that_says_nothing_of_itself_opens_nothing(
    serve: Serve, store: tuple[Path, str, str]
) -> None:
    path, admin, reader = store
    ask = Port(await serve(store__path=path, **PROVEN))
    status, headers, told = await ask("GET", "/api/license")
    assert (status, told["error"]) == (401, "token_required")
    assert headers["WWW-Authenticate"] == 'Bearer realm="tallygate"'
    assert (await ask("PUT", "/api/accounts/ann"))[0] == 401
    assert (await ask("PUT", "/api/accounts/ann", reader))[0] == 403
    assert (await ask("PUT", "/api/accounts/ann", admin, headers={"Host": "gateway.example"}))[0] == 200
    assert (await ask("GET", "/", headers={"Host": "gateway.example"}))[0] == 200
    assert (await ask("GET", "/livez"))[0] == 200
    assert (await ask("DELETE", "/api/tokens/ops", admin))[2]["error"] == "last_token"


async def test_where_loopback_needs_a_token_there_must_be_one(tmp_path: Path) -> None:
    gateway = Gateway(settings_of(store__path=tmp_path / "t.db", **PROVEN), files=1024)
    with pytest.raises(OperatorTokenRequired, match=r"operator_require_token.*token add NAME --scope admin --store"):
        await gateway.open()


# -- a token in a file -------------------------------------------------------------------------------------------------


def kept(folder: Path) -> list[Path]:
    """The files of the store."""
    return list(folder.glob("t.db*"))


async def test_a_token_in_a_file_opens_a_port_for_which_the_store_has_none(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    file = tmp_path / "operator.token"
    file.write_text(f"{'a' * 32}\n")
    given = outside(tmp_path / "t.db") | {"listen__operator_token_file": file, "listen__tcp": 0}
    house = await serve(**given)
    ask = Port(house)
    assert (await ask("PUT", "/api/accounts/ann", "a" * 32))[0] == 200
    assert (await ask("PUT", "/api/accounts/ann", "a" * 31))[0] == 401
    assert (await ask("PUT", "/api/accounts/ann"))[0] == 401
    _, _, made = await ask("POST", "/api/tokens/ops", "a" * 32, json={"scope": "admin"})
    assert (await ask("DELETE", "/api/tokens/ops", made["token"]))[0] == 204  # the one of the file is left

    file.write_text("b" * 32)
    house.gateway.reload(settings_of(**given))
    assert (await ask("GET", "/api/license", "a" * 32))[0] == 401
    assert (await ask("GET", "/api/license", "b" * 32))[0] == 200
    file.write_text("short")
    with pytest.raises(OSError, match="it holds no token"):
        house.gateway.reload(house.gateway.settings)
    assert (await ask("GET", "/api/license", "b" * 32))[0] == 200
    house.gateway.reload(settings_of(**outside(tmp_path / "t.db")))
    assert (await ask("GET", "/api/license", "b" * 32))[0] == 401

    assert "a" * 32 not in caplog.text
    assert not any(b"a" * 32 in each.read_bytes() for each in kept(tmp_path))


# -- failed attempts ---------------------------------------------------------------------------------------------------


async def test_failed_attempts_of_an_address_are_few_and_a_good_token_is_always_taken(
    serve: Serve, store: tuple[Path, str, str]
) -> None:
    path, admin, _ = store
    seconds = [1000.0]
    ask = Port(await serve(clock=Clock(lambda: seconds[0], lambda: 1e9), **outside(path)))
    got = [(await ask("GET", "/api/license", f"guess {number}"))[0] for number in range(12)]
    assert got == [401] * authorization.ATTEMPTS + [429] * 2
    status, headers, told = await ask("GET", "/api/license")
    assert (status, told["error"], headers["Retry-After"]) == (429, "rate_limited", "6")
    assert (await ask("GET", "/api/license", admin))[0] == 200
    assert (await ask("GET", "/api/license", "wrong", address="127.0.0.2"))[0] == 401
    seconds[0] += authorization.PAUSE
    assert [(await ask("GET", "/api/license", "wrong"))[0] for _ in range(2)] == [401, 429]
    seconds[0] += 3600
    assert (await ask("GET", "/api/license", "wrong"))[0] == 401


def test_an_allowance_forgets_who_has_been_quiet_longest() -> None:
    allowance = Allowance(2, 1.0, keys=3)
    for key in ("a", "b", "a", "c", "d"):
        allowance.take(key, 0.0)
    assert len(allowance) == 3
    assert [allowance.wait(key, 0.0) for key in ("a", "b", "c", "d")] == [1.0, 0.0, 0.0, 0.0]
    assert allowance.wait("a", 1.0) == 0.0


# -- other sites -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain;charset=a"])
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_what_a_form_can_send_is_not_taken(kind: str, body: bytes, serve: Serve) -> None:
    house = await serve()
    ask = Port(house)
    await ask("PUT", "/api/accounts/ann")
    status, _, told = await ask("POST", "/api/accounts/ann/token", data=body, headers={"Content-Type": kind})
    assert (status, told["error"]) == (400, "malformed")
    assert house.runtime.state.directory.accounts["ann"] == ()


async def test_a_body_says_that_it_is_json(serve: Serve) -> None:
    ask = Port(await serve())
    for kind in ("application/octet-stream", "application/jsonx", "text/json"):
        status, _, _ = await ask("PUT", "/api/groups/g", data=b"{}", headers={"Content-Type": kind})
        assert status == 400
    sent = {"Content-Type": "application/json; charset=utf-8"}
    assert (await ask("PUT", "/api/groups/g", data=b"{}", headers=sent))[0] == 200


async def test_no_cookie_is_ever_set_and_no_other_site_may_read(serve: Serve) -> None:
    ask = Port(await serve())
    for place in ("/api/license", "/metrics", "/livez", "/nowhere"):
        _, headers, _ = await ask("GET", place)
        assert "Set-Cookie" not in headers
        assert not [name for name in headers if name.lower().startswith("access-control-")]


async def test_a_good_token_does_not_make_another_site_welcome(serve: Serve, store: tuple[Path, str, str]) -> None:
    path, admin, _ = store
    ask = Port(await serve(**outside(path)))
    status, _, told = await ask("PUT", "/api/accounts/ann", admin, headers={"Origin": "https://evil.example"})
    assert (status, told["error"]) == (403, "cross_site")


# -- on a file ---------------------------------------------------------------------------------------------------------


async def test_a_store_that_a_gateway_holds_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    await serve(store__path=tmp_path / "t.db")
    with pytest.raises(StoreRefused, match="another gateway holds it"):
        async with offline_store(tmp_path / "t.db"):
            pass


@pytest.mark.parametrize("content", [b"not a database, and longer than a hundred bytes " * 9, b"SQLite format 3\x00"])
async def test_a_file_that_is_no_store_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(StoreRefused):
        async with offline_store(path):
            pass
    assert path.read_bytes() == content


async def test_tokens_of_a_file_are_revoked_too(store: tuple[Path, str, str]) -> None:
    async with offline_store(store[0]) as held:
        assert await held.dismiss("prometheus", None) == 1
        assert await held.dismiss("prometheus", None) == 0
    async with offline_store(store[0]) as held:
        assert set(held.directory.operators) == {"ops"}
