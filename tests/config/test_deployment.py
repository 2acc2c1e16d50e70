"""The deployment examples in the real programs: systemd judges the unit, nginx and HAProxy stand before a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import ssl
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

import config
from config.settings import Settings
from gateway.edge.storage.offline_store import offline_store
from tests.cli.program import begin, end, run, said
from tests.conftest import House, Serve
from tests.programs import free_port, outcome, program
from tests.wire_client import TcpWire, WebSocketWire, Wire

EXAMPLES = Path(config.__file__).parent
TLS = Path(__file__).parent / "tls"
CLIENT = "127.0.0.7"
"""The address of who comes through a proxy; the proxy itself comes from 127.0.0.1."""
PATIENCE = 20.0
EXPOSURE = 15
"""What `systemd-analyze security` may give the unit, in tenths; 100 is an unprotected service."""

# -- systemd -----------------------------------------------------------------------------------------------------------


def entries(name: str) -> list[str]:
    """The values of an entry of the unit."""
    return re.findall(rf"(?m)^{name}=(.*)$", (EXAMPLES / "tallygate.service").read_text(encoding="utf-8"))


@pytest.mark.debian
async def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    unit = tmp_path / "tallygate.service"
    text = (EXAMPLES / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/tallygate/bin/tallygate", sys.executable), encoding="utf-8")
    assert await outcome(analyze, "verify", str(unit)) == (0, "")


@pytest.mark.debian
async def test_the_unit_leaves_little_exposed() -> None:
    analyze = program("systemd-analyze", "systemd")
    unit = str(EXAMPLES / "tallygate.service")
    code, told = await outcome(analyze, "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE}", unit)
    assert code == 0, told


def test_the_unit_leaves_time_to_drain() -> None:
    (stop,) = entries("TimeoutStopSec")
    assert float(stop.removesuffix("s")) >= Settings().listen.drain + 2 * Settings().store.deadline


async def test_what_the_unit_runs_starts_reloads_and_ends(tmp_path: Path) -> None:
    (start,), (check, _) = entries("ExecStart"), entries("ExecReload")
    place = tmp_path / "gateway.toml"
    place.write_text(
        f"[listen]\ntcp = 0\nwebsocket = 0\noperator = 0\n[registrar]\nport = 0\n[store]\npath = '{tmp_path}/t.db'\n"
    )
    serve, again = (shlex.split(line.replace("/etc/tallygate/gateway.toml", str(place)))[1:] for line in (start, check))
    process = await begin(*serve)
    try:
        await said(process.stdout, "capacity")
        assert (await run(*again)).code == 0
        process.send_signal(signal.SIGHUP)
        await said(process.stderr, "configuration read again")
        process.send_signal(signal.Signals[entries("KillSignal")[0]])
    except BaseException:
        process.kill()
        raise
    finally:
        ended = await end(process)
    assert (ended.code, ended.complaints) == (0, [])


# -- proxies -----------------------------------------------------------------------------------------------------------


class Front(NamedTuple):
    """A proxy that runs before a gateway: its ports, the token of an operator, and where its files are."""

    house: House
    token: str
    tcp: int
    websocket: int
    operator: int
    folder: Path


class Example(NamedTuple):
    """How a proxy is run: file, Debian's package, arguments that check and run it, and what is put elsewhere."""

    file: str
    package: str
    check: tuple[str, ...]
    serve: tuple[str, ...]
    elsewhere: Mapping[str, str]

    def copy(self, folder: Path, ports: Mapping[str, int]) -> Path:
        """A copy of the example with ports and files of this test, open to this machine only."""
        text = (EXAMPLES / self.file).read_text(encoding="utf-8")
        for old, new in self.elsewhere.items():
            assert old in text
            text = text.replace(old, new.format(folder=folder))
        text, count = re.subn(rf"\b({'|'.join(ports)})\b", lambda found: str(ports[found[0]]), text)
        assert count >= len(ports)
        text = re.sub(r"(?m)^( +listen) +(\d+)", r"\1 127.0.0.1:\2", text)
        text = re.sub(r"(?m)^( +listen) +\[::\]:(\d+)", r"\1 [::1]:\2", text)
        text = re.sub(r"(?m)^( +bind) +:::(\d+) v4v6", r"\1 127.0.0.1:\2,[::1]:\2", text)
        if os.geteuid():
            text = re.sub(r"(?m)^ *(user|group) .*\n", "", text)
        copied = folder / self.file
        copied.write_text(text, encoding="utf-8")
        return copied


PROXIES = {
    "nginx": Example(
        "nginx.conf",
        "nginx libnginx-mod-stream",
        ("-e", "stderr", "-t", "-c"),
        ("-e", "stderr", "-g", "daemon off;", "-c"),
        {
            "/etc/nginx/tls/": "{folder}/",
            "/var/log/nginx/": "{folder}/",
            "/run/nginx.pid": "{folder}/nginx.pid",
            "65536": "512",  # not every machine that runs tests allows so many files
        },
    ),
    "haproxy": Example(
        "haproxy.cfg",
        "haproxy",
        ("-c", "-f"),
        ("-db", "-f"),
        {"/etc/haproxy/tls/": "{folder}/", "/run/haproxy/": "{folder}/"},
    ),
}


@pytest.fixture
async def front(proxy: str, serve: Serve, tmp_path: Path) -> AsyncIterator[Front]:
    """Runs a proxy by its example before a gateway."""
    example = PROXIES[proxy]
    executable = program(proxy, example.package)
    async with offline_store(tmp_path / "t.db") as held:
        token = await held.appoint("ops", "admin")
    house = await serve(listen__proxy_protocol_from="127.0.0.1/32", store__path=tmp_path / "t.db")
    made = Front(house, token, free_port(), free_port(), free_port(), tmp_path)
    path = example.copy(keys(tmp_path), ports(made))
    with (tmp_path / "said").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            executable, *example.serve, str(path), stdout=log, stderr=log, start_new_session=True
        )
    try:
        for port in (made.tcp, made.websocket, made.operator):
            await listening(port, process, tmp_path / "said")
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def keys(folder: Path) -> Path:
    """Put certificate and key where the examples have them: nginx takes two files, HAProxy both in one."""
    certificate, key = ((TLS / name).read_text(encoding="utf-8") for name in ("certificate.pem", "key.pem"))
    (folder / "gateway.pem").write_text(certificate + key, encoding="utf-8")
    (folder / "gateway.key").write_text(key, encoding="utf-8")
    return folder


def ports(front: Front) -> dict[str, int]:
    """The ports of this test by those of the examples."""
    house = front.house
    gateway = {"4307": house.tcp, "4308": house.websocket, "4311": house.operator}
    return gateway | {"4317": front.tcp, "443": front.websocket, "8443": front.operator}


async def listening(port: int, process: Process, log: Path) -> None:
    """Wait until a proxy listens on a port."""
    async with asyncio.timeout(PATIENCE):
        while True:
            assert process.returncode is None, log.read_text()  # noqa: ASYNC240 - it ended: nobody waits any more
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)  # neither program says when it listens
                continue
            writer.close()
            await writer.wait_closed()
            return


@pytest.fixture
def trust() -> ssl.SSLContext:
    """What a client needs to trust the certificate of the tests."""
    return ssl.create_default_context(cafile=TLS / "certificate.pem")


async def client(front: Front, transport: str, trust: ssl.SSLContext, address: str = CLIENT) -> Wire:
    """A client of another address than the proxy's, over TLS; that of an IPv6 address comes over IPv6."""
    host = "::1" if ":" in address else "127.0.0.1"
    if transport == "tcp":
        streams = await asyncio.open_connection(
            host, front.tcp, local_addr=(address, 0), ssl=trust, server_hostname="127.0.0.1"
        )
        return TcpWire(*streams)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0), ssl=trust))
    url = f"https://{f'[{host}]' if ':' in host else host}:{front.websocket}"
    socket = await session.ws_connect(f"{url}/ws", protocols=("tallygate.v1",), origin=url, server_hostname="127.0.0.1")
    return WebSocketWire(session, socket)


class Desk:
    """An operator's requests through the proxy, with the token or without."""

    def __init__(self, front: Front, trust: ssl.SSLContext, *, known: bool = True) -> None:
        headers = {"Authorization": f"Bearer {front.token}"} if known else {}
        self.url = f"https://127.0.0.1:{front.operator}"
        self.session = aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=trust))

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """The status of an answer and, where there is one, its error."""
        async with self.session.request(method, self.url + path, **options) as answer:
            told = await answer.json() if answer.content_type == "application/json" else {}
            return answer.status, told.get("error", "")


@pytest.mark.debian
@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_proxy_has_no_complaint(proxy: str, tmp_path: Path) -> None:
    example = PROXIES[proxy]
    executable = program(proxy, example.package)
    path = example.copy(keys(tmp_path), {port: free_port() for port in ("4307", "4308", "4311", "4317", "443", "8443")})
    code, told = await outcome(executable, *example.check, str(path))
    assert code == 0, told
    assert not re.search("warn|alert|emerg", told, re.IGNORECASE), told


@pytest.mark.debian
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@pytest.mark.parametrize("address", [CLIENT, "::1"])
async def test_a_client_comes_over_tls_and_is_known_by_its_own_address(
    front: Front, transport: str, trust: ssl.SSLContext, address: str
) -> None:
    async with await client(front, transport, trust, address) as wire:
        assert (await wire.hello(account="ann"))["type"] == "welcome"
        await wire.say("heartbeat")
        assert (await wire.hear())["type"] == "ack"
        _, listed = await front.house.http("GET", "/api/connections")
        assert [(each["transport"], each["address"]) for each in listed["items"]] == [(transport, address)]


@pytest.mark.debian
@pytest.mark.parametrize("proxy", PROXIES)
async def test_an_operator_comes_with_a_token_only(front: Front, trust: ssl.SSLContext) -> None:
    async with Desk(front, trust) as desk:
        assert await desk.ask("GET", "/api/license") == (200, "")
        page = {"Origin": desk.url}
        assert await desk.ask("PUT", "/api/groups/board", json={"accounts": ["ann"]}, headers=page) == (
            200,
            "",
        )
        elsewhere = {"Origin": "https://example.org"}
        assert await desk.ask("DELETE", "/api/groups/board", headers=elsewhere) == (403, "cross_site")
    async with Desk(front, trust, known=False) as stranger:
        assert await stranger.ask("GET", "/api/license") == (401, "token_required")
        assert await stranger.ask("GET", "/metrics") == (401, "token_required")
        assert await stranger.ask("GET", "/readyz") == (200, "")


@pytest.mark.debian
@pytest.mark.parametrize("proxy", PROXIES)
async def test_the_page_and_its_events_come_through_as_they_happen(front: Front, trust: ssl.SSLContext) -> None:
    async with Desk(front, trust, known=False) as stranger, stranger.session.get(stranger.url + "/") as page:
        assert (page.status, page.content_type) == (200, "text/html")
        assert "Content-Security-Policy" in page.headers
    async with (
        asyncio.timeout(PATIENCE),
        Desk(front, trust) as desk,
        desk.session.get(desk.url + "/api/events") as events,
    ):
        assert (await state(events))["connections"]["total"] == 0
        async with await client(front, "tcp", trust) as wire:
            await wire.hello(account="ann")
            assert (await state(events))["connections"]["total"] == 1


async def state(events: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next event that speaks of connections."""
    async for line in events.content:
        told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
        if "connections" in told:
            return dict(told)
    raise AssertionError("the stream of events ended")


@pytest.mark.debian
@pytest.mark.parametrize("proxy", ["haproxy"])
async def test_haproxy_asks_the_operator_port_whether_the_doors_are_open(front: Front) -> None:
    assert front.folder.joinpath("admin.sock").is_socket()
    wanted = {"tcp": "L7OK", "websocket": "L7OK", "operators": ""}
    async with asyncio.timeout(PATIENCE):
        while await checks(front.folder / "admin.sock") != wanted:  # noqa: ASYNC110 - HAProxy has no event to wait on
            await asyncio.sleep(0.1)


@pytest.mark.debian
async def test_haproxy_starts_where_it_may_have_few_files(tmp_path: Path) -> None:
    haproxy, files = program("haproxy", "haproxy"), ("prlimit", "--nofile=256:256")
    given = {port: free_port() for port in ("4307", "4308", "4311", "4317", "443", "8443")}
    path = PROXIES["haproxy"].copy(keys(tmp_path), given)
    with (tmp_path / "said").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *files, haproxy, *PROXIES["haproxy"].serve, str(path), stdout=log, stderr=log, start_new_session=True
        )
    try:
        await listening(given["4317"], process, tmp_path / "said")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def checks(socket: Path) -> dict[str, str]:
    """How the last check of each server ended, as HAProxy tells its operator."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"show stat -1 4 -1\n")
    head, *rows = [line.split(",") for line in (await reader.read()).decode().split("\n") if line]
    writer.close()
    await writer.wait_closed()
    found = (dict(zip(head, row, strict=True)) for row in rows)
    return {row["# pxname"]: row["check_status"] for row in found}
