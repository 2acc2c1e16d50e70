"""Operators whom a reverse proxy signs in: whom the gateway believes, what they may, what stays refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import House, Serve, settings_of
from tests.edge.api.operators import Port, outside
from tests.edge.raw import Peer
from tests.wire_client import PATIENCE

SSO: dict[str, Any] = {
    "operator__trust_proxy": "127.0.0.5/32",
    "operator__proxy_hosts": "gateway.example",
    "operator__admin_groups": "admins",
    "operator__read_groups": "support",
}
PROXY, ELSEWHERE = "127.0.0.5", "127.0.0.6"
HOST = {"Host": "gateway.example:8443"}


def named(user: str = "ann@ex.org", groups: str = "admins", **more: str) -> dict[str, str]:
    """The headers of a proxy that has signed somebody in."""
    return {**HOST, "X-Forwarded-For": "203.0.113.7", "Remote-User": user, "Remote-Groups": groups, **more}


async def asked(house: House, headers: Mapping[str, str], address: str = PROXY, method: str = "GET") -> tuple[int, str]:
    """How a request through a proxy ends: its status and error."""
    path = "/api/license" if method == "GET" else "/api/accounts/bob"
    status, _, told = await Port(house)(method, path, address=address, headers=headers)
    return status, told.get("error", "") if told else ""


async def actors(house: House) -> list[tuple[str, str]]:
    """Who did what, since the start."""
    await house.runtime.persistence.audit_log.write()
    entries = (await Port(house)("GET", "/api/audit", address="127.0.0.1"))[2]["items"]
    return [(each["actor"], each["action"]) for each in entries if each["actor"] not in {"gateway", "command"}]


async def test_the_groups_of_who_is_signed_in_say_what_they_may_and_the_audit_log_names_them(serve: Serve) -> None:
    house = await serve(**SSO)
    assert await asked(house, named(), method="PUT") == (200, "")
    assert await asked(house, named("bob", "sales, support")) == (200, "")
    assert await asked(house, named("bob", "support"), method="DELETE") == (403, "scope")
    assert await asked(house, named("eve", "sales")) == (403, "scope")
    assert await asked(house, named("eve", "")) == (403, "scope")
    assert await asked(house, named("eve", "Admins")) == (403, "scope")
    assert await asked(house, named("gateway", "admins"), method="DELETE") == (204, "")
    assert await actors(house) == [
        ("proxy:ann@ex.org", "account.added"),
        ("proxy:bob", "refused"),
        ("proxy:eve", "refused"),
        ("proxy:eve", "refused"),
        ("proxy:eve", "refused"),
        ("proxy:gateway", "account.deleted"),
    ]


@pytest.mark.parametrize("address", [ELSEWHERE, "127.0.0.1"])
async def test_the_header_is_believed_of_the_networks_of_the_proxy_only(serve: Serve, address: str) -> None:
    house = await serve(**SSO)
    assert await asked(house, named(), address) == (401, "token_required")
    assert await asked(await serve(), named(), PROXY) == (401, "token_required")
    assert await asked(house, {"Remote-User": "eve", "Remote-Groups": "admins"}, address, "PUT") == (200, "")
    assert [actor for actor, _ in await actors(house)] == ["unknown", "loopback"]


async def test_on_another_address_the_header_opens_to_the_proxy_and_no_token_is_needed_first(
    serve: Serve, tmp_path: Path
) -> None:
    house = await serve(**SSO, **outside(tmp_path / "t.db"))
    assert await asked(house, named(), method="PUT") == (200, "")
    assert await asked(house, named(), ELSEWHERE) == (401, "token_required")


async def test_who_comes_from_the_proxy_unnamed_needs_a_token_on_loopback_too(
    serve: Serve, store: tuple[Path, str, str]
) -> None:
    path, admin, reader = store
    house = await serve(**SSO, store__path=path)
    for headers in ({}, HOST, {"Remote-User": ""}, {"Remote-Groups": "admins"}):
        assert await asked(house, headers) == (401, "token_required")
    ask = Port(house)
    assert (await ask("PUT", "/api/accounts/bob", admin, address=PROXY))[0] == 200
    assert (await ask("PUT", "/api/accounts/bob", reader, address=PROXY, headers=named()))[0] == 403
    assert (await ask("GET", "/api/license", "wrong", address=PROXY, headers=named()))[2]["error"] == "bad_token"
    basic = named(Authorization="Basic YW5uOnNlY3JldA==")
    assert await asked(house, basic) == (200, "")
    assert await asked(house, basic, ELSEWHERE) == (401, "bad_token")


@pytest.mark.parametrize("user", ["a" * 129, " ", "ann\u200b", ".."])
async def test_what_is_no_name_is_refused(serve: Serve, user: str) -> None:
    assert (await asked(await serve(**SSO), named(user)))[0] == 401


async def test_two_names_are_refused(serve: Serve) -> None:
    house = await serve(**SSO)
    lines = [f"{name}: {value}" for name, value in [*named().items(), ("Remote-User", "eve"), ("Connection", "close")]]
    async with await Peer.to(house.operator, PROXY) as client:
        await client.send("\r\n".join(["GET /api/license HTTP/1.1", *lines, "", ""]).encode())
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"bad_user"' in answer


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost", "gateway.example.evil", "", "[::1"])
async def test_a_page_that_goes_past_the_proxy_has_another_host(serve: Serve, host: str) -> None:
    assert await asked(await serve(**SSO), named(Host=host)) == (403, "foreign_host")


async def test_pages_of_other_sites_are_refused_as_ever(serve: Serve) -> None:
    house = await serve(**SSO)
    own = named(Origin="https://gateway.example:8443", **{"Sec-Fetch-Site": "same-origin"})
    assert await asked(house, own, method="PUT") == (200, "")
    for foreign in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                    {"Sec-Fetch-Site": "same-site"}):  # fmt: skip
        assert await asked(house, named(**foreign), method="PUT") == (403, "cross_site")
        assert await asked(house, named(**foreign)) == (403, "cross_site")
    form = named(**{"Content-Type": "application/x-www-form-urlencoded"})
    assert await asked(house, form, method="PUT") == (400, "malformed")
    page = await Port(house)("GET", "/", address=PROXY, headers=HOST)
    assert page[0] == 200


async def test_a_reload_says_who_may_from_now_on(serve: Serve) -> None:
    house = await serve(**SSO)
    authorization = house.gateway.operator.authorization
    assert authorization.can_spare("ops", None)
    house.gateway.reload(settings_of(**SSO | {"operator__admin_groups": "board"}))
    assert await asked(house, named()) == (403, "scope")
    assert await asked(house, named("ann", "board"), method="PUT") == (200, "")
    house.gateway.reload(settings_of())
    assert await asked(house, named("ann", "board")) == (401, "token_required")


async def test_a_stream_ends_for_who_may_no_more(serve: Serve) -> None:
    house = await serve(**SSO)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(PROXY, 0))) as session,
        session.get(house.url + "/api/events", headers=named("bob", "support")) as events,
    ):
        assert events.status == 200
        await events.content.readline()
        house.gateway.reload(settings_of(**SSO | {"operator__read_groups": "board"}))
        async with asyncio.timeout(PATIENCE):
            while await events.content.readline():
                pass


async def test_everybody_whom_the_proxy_names_may_look(serve: Serve) -> None:
    house = await serve(**SSO | {"operator__read_groups": '["*"]'})
    assert await asked(house, named("eve", "")) == (200, "")
    assert await asked(house, named("eve", ""), method="PUT") == (403, "scope")


async def test_headers_may_have_other_names(serve: Serve) -> None:
    names = {"operator__user_header": "X-Auth-Request-User", "operator__groups_header": "X-Auth-Request-Groups"}
    house = await serve(**SSO, **names)
    assert await asked(house, named()) == (401, "token_required")
    sent = {**HOST, "X-Auth-Request-User": "ann", "X-Auth-Request-Groups": "admins"}
    assert await asked(house, sent, method="PUT") == (200, "")


async def test_no_token_takes_the_name_of_who_is_signed_in(serve: Serve) -> None:
    house = await serve()
    status, told = await house.http("POST", "/api/tokens/proxy:ann", json={"scope": "read"})
    assert (status, told["error"]) == (409, "reserved")
