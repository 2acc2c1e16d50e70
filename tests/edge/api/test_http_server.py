"""The HTTP server of the operator port: what clients get wrong is answered, and is no news."""

from __future__ import annotations

import gzip
import logging

import pytest
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from gateway.edge.api.http_server import MALFORMED_PAUSE, MalformedLog
from tests.conftest import House, Serve, until
from tests.edge.raw import Peer

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
        (PUT + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (PUT + b"Content-Encoding: zstd\r\nContent-Length: 4\r\n\r\nabcd", 400),
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
        await until(lambda: server.connections == 1)
        client.reset()
        await until(lambda: server.connections == 0)
    assert caplog.records == []


async def test_a_body_may_be_compressed(serve: Serve) -> None:
    house = await serve()
    told = gzip.compress(b'{"accounts": ["ann"]}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, shown = await house.http("PUT", "/api/groups/staff", data=told, headers=headers)
    assert (status, shown["accounts"]) == (200, ["ann"])


def test_malformed_requests_are_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    said = MalformedLog()
    for number in range(1000):
        said.record("127.0.0.1", LineTooLong, 100.0 + number * MALFORMED_PAUSE / 1000)
    said.record("127.0.0.9", BadHttpMessage, 100.0 + MALFORMED_PAUSE)
    assert caplog.messages == [
        "malformed request from 127.0.0.1: LineTooLong; 0 others before it",
        "malformed request from 127.0.0.9: BadHttpMessage; 999 others before it",
    ]
