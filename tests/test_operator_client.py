"""The client of the operator port: why a request came to nothing, and what can be no address and no token."""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.operator_client import Operator, OperatorError, address
from tests.cli.program import run, run_here
from tests.conftest import Serve
from tests.sources import ROOT

TLS = ROOT / "tests" / "config" / "tls"


@asynccontextmanager
async def answering(answer: bytes, *, tls: bool = False, reading: bool = True) -> AsyncIterator[str]:
    """The host and port of a server that answers whatever it is asked with the same bytes, and closes."""
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reading:
            await reader.read(4096)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def failed(url: str) -> str:
    """The sentence about a request that came to nothing."""
    async with Operator(url) as gateway:
        with pytest.raises(OperatorError) as fault:
            await gateway.json("GET", "/api/license")
    assert "\n" not in str(fault.value)
    return str(fault.value)


async def test_a_certificate_that_is_not_trusted_is_named_as_the_reason() -> None:
    async with answering(b"", tls=True) as place:
        url = f"https://{place}"
        reason = f"the certificate of {url} is not trusted: self-signed certificate; --ca names a file of"
        assert (await failed(url)).startswith(reason)
        for command in (("kick", "--account", "ann"), ("audit", "verify"), ("report",)):
            ended = await run_here(*command, "--operator", url)
            assert (ended.code, ended.out) == (1, "")
            assert reason in ended.err
            assert ended.err.count("\n") == 1


async def test_a_port_without_tls_is_named_as_one(serve: Serve) -> None:
    house = await serve()
    url = house.url.replace("http:", "https:")
    assert await failed(url) == f"no TLS with {url}: wrong version number; a port without TLS is http://"


async def test_a_port_that_wants_tls_closes_without_an_answer() -> None:
    async with answering(b"", tls=True) as place:
        assert "closed the connection without an answer" in await failed(f"http://{place}")
    async with answering(b"") as place:
        assert "closed the connection without an answer" in await failed(f"http://{place}")


async def test_a_host_that_is_not_known_is_named() -> None:
    url = "http://no-such-host.invalid:4311"
    assert (await failed(url)).startswith(f"the host of {url} cannot be found: ")


async def test_a_port_where_nobody_listens_is_asked_for(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    assert await failed(url) == f"no gateway answers at {url}: is it running?"


async def test_a_port_that_speaks_no_http_is_not_the_operators(serve: Serve) -> None:
    house = await serve()
    url = f"http://127.0.0.1:{house.tcp}"
    assert await failed(url) == f"{url} does not answer in HTTP: is it the operator port?"


async def test_an_answer_that_breaks_off_is_said_to() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{") as place:
        assert await failed(f"http://{place}") == f"the gateway at http://{place} broke off in the middle of its answer"


async def test_redirections_in_a_circle_are_no_gateway() -> None:
    async with answering(b"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\n\r\n") as place:
        assert await failed(f"http://{place}") == f"http://{place} answers with redirections only: is it a gateway?"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b"<html>", b"[" * 100_000], ids=["{}", "[]", "7", "html", "deep"])
async def test_an_answer_that_no_gateway_gives_is_one_sentence(body: bytes, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    copy = tmp_path / "copy.db"
    async with answering(answer) as place:
        for command in (
            ("account", "list"),
            ("status",),
            ("usage",),
            ("report",),
            ("events",),
            ("kick", "--account", "ann"),
            ("token", "add", "ops", "--scope", "read"),
            ("load", "--connections", "1", "--duration", "1"),
            ("backup", str(copy)),
        ):
            begun = run if command[0] == "load" else run_here  # it takes signals, which no thread can
            ended = await begun(*command, "--operator", f"http://{place}")
            assert (ended.code, ended.out) == (1, ""), command
            assert ended.err.count("\n") == 1, ended.err
    assert not copy.exists()


async def test_an_address_that_is_none_is_said_to_be() -> None:
    assert await failed("http://0.0.0.256:1") == "http://0.0.0.256:1 is no address of a gateway"


@pytest.mark.parametrize(
    "text", ["ftp://gateway", "", "http://", "http://gateway:99999", "http://gateway:0", "http://[::1", "http://a..b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        address(text)


def test_an_address_is_completed() -> None:
    assert address("gateway:4311") == "http://gateway:4311"
    assert address("https://[::1]:4311/") == "https://[::1]:4311"


@pytest.mark.parametrize("token", ["a\nb", "a\rb", "a\x7fb", "é", "a\udcffb"])
async def test_what_can_be_no_token_is_refused_before_anything_is_asked(
    token: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYGATE_TOKEN", token)
    ended = await run_here("status", "--operator", f"http://127.0.0.1:{closed_port}")
    assert (ended.code, ended.out) == (1, "")
    assert "TALLYGATE_TOKEN holds a line break or another character that no token has" in ended.err
    assert ended.err.count("\n") == 1


async def test_the_line_break_that_a_file_ends_with_is_no_part_of_a_token(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve()
    _, made = await house.http("POST", "/api/tokens/ops", json={"scope": "admin"})
    monkeypatch.setenv("TALLYGATE_TOKEN", f"{made['token']}\r\n")
    async with Operator(house.url) as gateway:
        assert (await gateway.json("GET", "/api/tokens"))["items"][0]["name"] == "ops"
