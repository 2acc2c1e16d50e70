"""The operator port: who may ask, in which form it answers, and the API about what is live."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

import pytest

from gateway.edge.api import authorization, server
from gateway.edge.storage.offline_store import offline_store
from tests.conftest import House, Serve
from tests.edge.raw import Peer


async def plain(house: House, text: str) -> str:
    """What a request of these very bytes is answered."""
    async with await Peer.to(house.operator) as client:
        await client.send(text.replace("\n", "\r\n").encode())
        return (await client.rest()).decode()


# -- who may ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4311", "127.0.0.1", "127.8.8.8:80", "[::1]:4311", "[::1]"])
async def test_a_local_name_is_a_host(host: str, serve: Serve) -> None:
    house = await serve()
    assert (await house.http("GET", "/api/license", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]:80"]
)
@pytest.mark.parametrize("path", ["/api/license", "/metrics", "/nowhere"])
async def test_another_host_is_another_site_that_found_a_way_here(host: str, path: str, serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("GET", path, headers={"Host": host})
    assert (status, body["error"]) == (403, "foreign_host")
    assert "such as http://127.0.0.1" in body["detail"]


@pytest.mark.parametrize("name", authorization.FORWARDED)
async def test_through_a_proxy_a_token_is_required(name: str, serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("GET", "/api/connections", headers={name: "for=203.0.113.7"})
    assert (status, body["error"]) == (401, "token_required")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_other_sites_may_not_ask(headers: dict[str, str], serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("DELETE", "/api/accounts/ann/connections", headers=headers)
    assert (status, body["error"]) == (403, "cross_site")


async def test_the_same_site_may_ask(serve: Serve) -> None:
    house = await serve()
    headers = {"Origin": house.url, "Sec-Fetch-Site": "same-origin"}
    assert (await house.http("GET", "/api/license", headers=headers))[0] == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_told_to_everybody(path: str, serve: Serve) -> None:
    house = await serve()
    headers = {"Host": "gateway.example", "X-Forwarded-For": "203.0.113.7"}
    assert (await house.http("GET", path, headers=headers))[0] == 200


async def test_any_address_of_ipv6_takes_ipv4_and_shows_it_as_such(serve: Serve, tmp_path: Path) -> None:
    async with offline_store(tmp_path / "t.db") as held:
        token = await held.appoint("ops", "admin")
    house = await serve(listen__operator_host="::", store__path=tmp_path / "t.db")
    for host in ("127.0.0.1", "[::1]"):
        house.url = f"http://{host}:{house.operator}"
        assert (await house.http("GET", "/api/license"))[0] == 401
    await house.runtime.persistence.audit_log.write()
    headers = {"Authorization": f"Bearer {token}"}
    _, audit = await house.http("GET", "/api/audit", headers=headers)
    refused = [entry["detail"]["address"] for entry in audit["items"] if entry["action"] == "refused"]
    assert refused == ["127.0.0.1", "::1"]


async def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    house = await serve()
    with pytest.raises(OSError, match=f"operator port on 127.0.0.1 port {house.tcp}: Address already in use"):
        await serve(listen__operator=house.tcp)


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("POST", "/api/license", 405, "method_not_allowed"),
        ("DELETE", "/metrics", 405, "method_not_allowed"),
        ("DELETE", "/api/connections/s-none", 404, "no_such_session"),
        ("DELETE", "/api/connections/s-0-1", 404, "no_such_session"),
        ("DELETE", "/api/connections/%C3%A9", 404, "no_such_session"),
        ("DELETE", "/api/conferences/none", 404, "no_such_conference"),
        ("DELETE", "/api/conferences/a%0Ab", 422, "bad_field"),
        ("DELETE", "/api/accounts/a%0Ab/connections", 422, "bad_field"),
        ("GET", "/api/connections?limit=0", 422, "bad_field"),
        ("GET", "/api/connections?limit=1001", 422, "bad_field"),
        ("GET", "/api/connections?limit=000001000999999", 422, "bad_field"),
        ("GET", "/api/connections?limit=-1", 422, "bad_field"),
        ("GET", "/api/connections?limit=x", 422, "bad_field"),
        ("GET", "/api/connections?limit=%D9%A1", 422, "bad_field"),
        ("GET", f"/api/connections?limit={'1' * 5000}", 422, "bad_field"),
        ("GET", "/api/connections?cursor=x", 422, "bad_field"),
        ("DELETE", "/api/accounts/ann/connections?ban=soon", 422, "bad_field"),
        ("GET", "/api/accounts/nobody", 404, "no_such_account"),
        ("DELETE", "/api/accounts/nobody", 404, "no_such_account"),
        ("POST", "/api/accounts/nobody/token", 404, "no_such_account"),
        ("PUT", "/api/accounts/a%0Ab", 422, "bad_field"),
        ("GET", "/api/accounts?limit=0", 422, "bad_field"),
        ("GET", "/api/groups/none", 404, "no_such_group"),
        ("DELETE", "/api/groups/none", 404, "no_such_group"),
        ("PUT", "/api/groups/a%0Ab", 422, "bad_field"),
        ("DELETE", "/api/hosts/nobody", 404, "no_such_host"),
        ("PUT", "/api/hosts/a%0Ab", 422, "bad_field"),
        ("DELETE", "/api/pro/nobody", 404, "no_such_license"),
    ],
)
async def test_every_error_is_json(method: str, path: str, status: int, code: str, serve: Serve) -> None:
    house = await serve()
    got, body = await house.http(method, path)
    assert (got, body["error"]) == (status, code)
    assert body.keys() == {"error", "detail"}
    assert isinstance(body["detail"], str)


async def test_a_method_that_is_not_allowed_says_which_is(serve: Serve) -> None:
    house = await serve()
    answer = await plain(house, "POST /api/license HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: 0\n\n")
    assert re.search(r"^Allow: GET,HEAD\r$", answer, re.MULTILINE)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 400),
        (b"[]", "application/json", 422),
        (b'{"colour":"red"}', "application/json", 422),
        (b'{"access":"open"}', "application/json", 422),
        (b'{"access":null}', "application/json", 422),
        (b'{"mode":"chat"}', "application/json", 422),
        (b'{"scheduled":1}', "application/json", 422),
        (b'{"server":"no end "}', "application/json", 422),
        (b"x" * ((1 << 20) + 1), "application/json", 413),
    ],
)
async def test_a_bad_body_is_refused(body: bytes, kind: str, status: int, serve: Serve) -> None:
    house = await serve()
    got, told = await house.http("PUT", "/api/conferences/c", data=io.BytesIO(body), headers={"Content-Type": kind})
    assert got == status
    assert told.keys() == {"error", "detail"}
    assert (await house.http("GET", "/api/conferences"))[1]["items"] == []


async def test_a_body_that_does_not_come_is_a_timeout(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_DEADLINE", 0.1)
    house = await serve()
    head = "PUT /api/conferences/c HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 9\n\n{"
    async with await Peer.to(house.operator) as client:
        await client.send(head.replace("\n", "\r\n").encode())
        async with asyncio.timeout(5):
            line = await client.reader.readline()
        assert line.startswith(b"HTTP/1.1 408 ")


async def test_a_fault_of_ours_is_500_and_in_the_log(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await serve()
    await house.welcomed(account="ann")
    with monkeypatch.context() as broken:
        broken.setattr(house.runtime, "act", None)
        status, body = await house.http("DELETE", "/api/accounts/ann/connections")
    assert (status, body["error"]) == (500, "internal")
    assert "DELETE /api/accounts/ann/connections failed" in caplog.text
