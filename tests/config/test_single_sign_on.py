"""The example of single sign-on in nginx: whom it lets in, and what the gateway is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.config.test_deployment import PROXIES, TLS, Example, keys, listening
from tests.conftest import House, Serve
from tests.programs import free_port, outcome, program

EXAMPLE = Example(
    "nginx-sso.conf",
    "nginx",
    PROXIES["nginx"].check,
    PROXIES["nginx"].serve,
    {"/etc/nginx/tls/": "{folder}/", "/var/log/nginx/": "{folder}/", "/run/nginx.pid": "{folder}/nginx.pid"},
)
TRUST = {
    "operator__trust_proxy": "127.0.0.1/32",
    "operator__proxy_hosts": "localhost",
    "operator__admin_groups": "gateway-admins",
    "operator__read_groups": "support",
}
"""As the comment of the example has it."""


class Door:
    """Requests to nginx, with the cookies of somebody or without."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self.url = f"https://localhost:{port}"

    async def ask(self, method: str, path: str, user: str = "", groups: str = "", **options: Any) -> tuple[int, Any]:
        """The status of an answer, and its error or where it leads."""
        trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=TLS / "certificate.pem"))
        cookies = {"user": user, "groups": groups} if user else {}
        async with (
            aiohttp.ClientSession(connector=trust, cookies=cookies) as session,
            session.request(method, self.url + path, allow_redirects=False, **options) as answer,
        ):
            told = await answer.json() if answer.content_type == "application/json" else {}
            return answer.status, answer.headers.get("Location") or told.get("error", "")


async def answered(request: web.Request) -> web.Response:
    """Who is signed in, as oauth2-proxy says it."""
    user = request.cookies.get("user")
    if not user:
        return web.Response(status=401)
    said = {"X-Auth-Request-User": user, "X-Auth-Request-Groups": request.cookies["groups"]}
    return web.Response(status=202, headers=said)


@pytest.fixture
async def door(serve: Serve, tmp_path: Path) -> AsyncIterator[Door]:
    """Runs nginx by the example, between a gateway and who knows who is signed in."""
    executable = program("nginx", EXAMPLE.package)
    house = await serve(**TRUST)
    app = web.Application()
    app.router.add_get("/oauth2/auth", answered)
    knowing = web.AppRunner(app)
    await knowing.setup()
    port, asked = free_port(), free_port()
    await web.TCPSite(knowing, "127.0.0.1", asked).start()
    path = EXAMPLE.copy(keys(tmp_path), {"4180": asked, "4311": house.operator, "8443": port})
    with (tmp_path / "said").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            executable, *EXAMPLE.serve, str(path), stdout=log, stderr=log, start_new_session=True
        )
    try:
        await listening(port, process, tmp_path / "said")
        yield Door(house, port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await knowing.cleanup()


@pytest.mark.debian
async def test_nginx_has_no_complaint(tmp_path: Path) -> None:
    executable = program("nginx", EXAMPLE.package)
    path = EXAMPLE.copy(keys(tmp_path), {port: free_port() for port in ("4180", "4311", "8443")})
    code, told = await outcome(executable, *EXAMPLE.check, str(path))
    assert code == 0, told
    assert "warn" not in told


@pytest.mark.debian
async def test_who_is_signed_in_acts_by_name_and_nobody_else(door: Door) -> None:
    admin, own = ("ann", "sales,gateway-admins"), {"Origin": door.url}
    assert await door.ask("PUT", "/api/accounts/bob", *admin, headers=own) == (200, "")
    assert await door.ask("PUT", "/api/accounts/bob", *admin, headers={"Origin": "https://evil.example"}) == (
        403,
        "cross_site",
    )
    assert await door.ask("GET", "/api/license", "bob", "support") == (200, "")
    assert await door.ask("DELETE", "/api/accounts/bob", "bob", "support") == (403, "scope")
    forged = {"Remote-User": "ann", "Remote-Groups": "gateway-admins", "Remote_User": "ann"}
    assert await door.ask("DELETE", "/api/accounts/bob", "bob", "support", headers=forged) == (403, "scope")
    assert await door.ask("GET", "/api/license", headers=forged) == (302, f"{door.url}/oauth2/start?rd=/api/license")
    await door.house.runtime.persistence.audit_log.write()
    _, log = await door.house.http("GET", "/api/audit")
    assert log["error"] == "token_required"  # past nginx, from its own address, without a name
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))) as session,
        session.get(door.house.url + "/api/audit") as answer,
    ):
        entries = (await answer.json())["items"]
    assert ("proxy:ann", "account.added") in {(each["actor"], each["action"]) for each in entries}
