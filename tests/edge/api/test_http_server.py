"""The HTTP server of the operator port: its limits, and what clients get wrong, which is answered and no news."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import select
import socket
import struct
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

import pytest

from config.settings import ListenSettings
from gateway.edge.api.http_server import HttpConnection
from tests.conftest import FREE_PORTS, House, Serve, until
from tests.edge.raw import Peer
from tests.wire_client import Wire

LOCAL = b"Host: localhost\r\nConnection: close\r\n"
PUT = b"PUT /api/accounts/x HTTP/1.1\r\nContent-Type: application/json\r\n" + LOCAL


async def answered(house: House, data: bytes) -> bytes:
    """What the operator port says to these bytes."""
    async with await Peer.to(house.operator) as client:
        await client.send(data)
        return await client.rest()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=x\r\n" + LOCAL, 200),
        (b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=abc\r\n" + LOCAL, 200),
        (b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=2.0\xff\r\n" + LOCAL, 200),
        (b"GET /api/audit?since=9999-12-31T23:59:59-23:59 HTTP/1.1\r\n" + LOCAL, 422),
        (b"GET /api/audit?since=0001-01-01T00:00:00%2B23:59 HTTP/1.1\r\n" + LOCAL, 422),
        (b"GET /api/accounts/%00%FF HTTP/1.1\r\n" + LOCAL, 422),
        (b'GET /page/app.js HTTP/1.1\r\nIf-None-Match: ""W/,\xff\r\n' + LOCAL, 200),
        (PUT + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (PUT + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (PUT + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", 415),
        (PUT + b"Content-Encoding: compress\r\nContent-Length: 4\r\n\r\nabcd", 415),
        (PUT + b"Content-Encoding: zstd\r\nContent-Length: 4\r\n\r\nabcd", 415),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost localhost\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n" + LOCAL, 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + LOCAL, 400),
    ],
)  # fmt: skip
async def test_what_a_client_gets_wrong_is_its_fault_and_a_line_of_the_log_at_most(
    data: bytes, status: int, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    house = await serve()
    if b"\r\n\r\n" not in data:
        data += b"\r\n"
    answer = await answered(house, data)
    assert answer.split(b" ", 2)[1] == b"%d" % status, answer
    if status >= 400:
        assert b'{"error": "' in answer
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []
    assert len(caplog.records) <= 1
    assert (await house.http("GET", "/livez"))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        PUT + b"Content-Length: 50\r\n\r\n{",
        PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET /api/backup HTTP/1.1\r\n" + LOCAL + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: local",
    ],
)
async def test_who_breaks_off_is_no_news(data: bytes, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    house = await serve()
    server = house.gateway.operator.server
    assert server is not None
    async with await Peer.to(house.operator) as client:
        await client.send(data)
        await until(lambda: len(server.connections) == 1)
        client.reset()
        await until(lambda: len(server.connections) == 0)
    assert caplog.records == []


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"compress", b"gzip, gzip"])
async def test_a_body_in_another_encoding_is_told_which_there_are(encoding: bytes, serve: Serve) -> None:
    house = await serve()
    answer = await answered(house, PUT + b"Content-Encoding: " + encoding + b"\r\nContent-Length: 4\r\n\r\nabcd")
    assert answer.split(b" ", 2)[1] == b"415"
    assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in answer
    assert b'{"error": "unsupported_encoding", ' in answer


async def test_a_body_that_does_not_fit_its_encoding_is_told_to(serve: Serve) -> None:
    house = await serve()
    answer = await answered(house, PUT + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nabcd")
    assert b'{"error": "malformed", "detail": "the body is not what its headers say"}' in answer


async def test_a_body_may_be_compressed(serve: Serve) -> None:
    house = await serve()
    told = gzip.compress(b'{"accounts": ["ann"]}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, shown = await house.http("PUT", "/api/groups/staff", data=told, headers=headers)
    assert (status, shown["accounts"]) == (200, ["ann"])


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_there_are_only_so_many_connections(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    house = await serve(listen__operator_max_connections=2)
    server = house.gateway.operator.server
    assert server is not None
    async with await Peer.to(house.operator) as one, await Peer.to(house.operator):
        await until(lambda: len(server.connections) == 2)
        for _ in range(50):
            refused = await answered(house, b"GET /livez HTTP/1.1\r\n" + LOCAL + b"\r\n")
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 15\r\n" in refused
            assert b'{"error": "too_many_connections"' in refused
        assert len(server.connections) == 2
        assert caplog.messages == ["127.0.0.1 was refused: all 2 connections are taken"]
        await one.send(b"GET /livez HTTP/1.1\r\n" + LOCAL + b"\r\n")
        assert (await one.rest()).startswith(b"HTTP/1.1 200 ")
        await until(lambda: len(server.connections) == 1)
        assert (await house.http("GET", "/livez"))[0] == 200


async def test_a_connection_that_is_only_kept_makes_room(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    house = await serve(listen__operator_max_connections=2)
    server = house.gateway.operator.server
    assert server is not None
    async with await Peer.to(house.operator) as kept, await Peer.to(house.operator):
        await kept.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: sum(each.idle_since is not None for each in server.connections) == 1)
        assert len(server.connections) == 2
        assert (await answered(house, b"GET /livez HTTP/1.1\r\n" + LOCAL + b"\r\n")).startswith(b"HTTP/1.1 200 ")
        assert (await kept.rest()).startswith(b"HTTP/1.1 200 ")  # and is closed
    assert caplog.records == []


async def test_a_connection_without_a_request_is_closed(serve: Serve) -> None:
    house = await serve(listen__operator_idle_timeout="100ms")
    for sent in (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        async with await Peer.to(house.operator) as client:
            await client.send(sent)
            await client.rest()  # it ends


async def unread(house: House, client: Peer) -> HttpConnection:
    """Let a client read no more, and the kernel take little in its place; returns the connection with it."""
    assert isinstance(client.writer.transport, asyncio.Transport)
    client.writer.transport.pause_reading()
    server = house.gateway.operator.server
    assert server is not None
    await until(lambda: len(server.connections) == 1)
    (connection,) = server.connections
    assert connection.transport is not None
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return connection


@pytest.mark.parametrize("path", [b"/page/app.js", b"/metrics", b"/livez"])
async def test_who_does_not_read_is_cut_off(path: bytes, serve: Serve) -> None:
    house = await serve(listen__operator_write_timeout="100ms")
    async with await Peer.to(house.operator, room=4096) as client:
        connection = await unread(house, client)
        await client.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path * 200)
        await until(lambda: connection._deadline is not None)
        await until(lambda: connection._transport is None)


async def test_who_reads_in_time_stays(serve: Serve) -> None:
    house = await serve(listen__operator_write_timeout="1h")
    async with await Peer.to(house.operator, room=4096) as client:
        connection = await unread(house, client)
        await client.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: connection._deadline is not None)
        assert isinstance(client.writer.transport, asyncio.Transport)
        client.writer.transport.resume_reading()
        await client.send(b"GET /livez HTTP/1.1\r\n" + LOCAL + b"\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nlive\n")
        assert connection._deadline is None


async def test_few_wait_in_the_kernel(serve: Serve) -> None:
    house = await serve(listen__operator_backlog=3)
    server = house.gateway.operator.server
    assert server is not None
    (listening,) = (each for one in server._servers for each in one.sockets)
    told = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert struct.unpack_from("I", told, 28) == (3,)  # of a listening socket, tcpi_sacked is its backlog


async def test_idle_operators_take_no_file_of_a_client(tmp_path: Path) -> None:
    files, ready = 110, tmp_path / "ready.json"
    serve = (sys.executable, "-m", "gateway", "serve", "--ready-file", str(ready))
    options = [each for key in FREE_PORTS for each in ("--set", key)]
    limited = ("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh")
    process = await asyncio.create_subprocess_exec(*limited, *serve, *options, stdout=DEVNULL, stderr=DEVNULL)
    try:
        async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
            while not ready.exists():
                assert process.returncode is None
                await asyncio.sleep(0.02)
            ports = json.loads(ready.read_text())
            # Nobody waits for the other: who finds the kernel's line full tries again seconds later.
            operators = [stack.enter_context(socket.socket()) for _ in range(files)]
            for operator in operators:
                operator.setblocking(False)
                operator.connect_ex(("127.0.0.1", ports["operator"]))
            most = ListenSettings().operator_max_connections
            await until(lambda: len(select.select([], operators, [], 0)[1]) >= most)
            for _ in range(files - ListenSettings().spare_files):
                wire = await stack.enter_async_context(await Wire.open("tcp", ports["tcp"]))
                assert (await wire.hello())["type"] == "welcome"
    finally:
        process.kill()
        await process.wait()
