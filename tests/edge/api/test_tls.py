"""The operator port under TLS: its certificate, its limits, what those get who speak something else."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.edge.api import tls_acceptor
from gateway.edge.api.http_server import HttpConnection
from gateway.edge.api.tls_acceptor import TlsAcceptor
from gateway.operator_client import Operator, OperatorError
from tests.cli.program import run_here
from tests.conftest import House, Serve, settings_of, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY

PAIR = {"listen__operator_tls_certificate": CERTIFICATE, "listen__operator_tls_key": PRIVATE_KEY}
FIRST = ssl.PEM_cert_to_DER_cert(Path(CERTIFICATE).read_text())


def at(house: House) -> str:
    """The address of the operator port."""
    return house.url.replace("http:", "https:")


def acceptor(house: House) -> TlsAcceptor[HttpConnection]:
    """Who accepts at the operator port."""
    server = house.gateway.operator.server
    assert server is not None
    assert server.acceptor is not None
    return server.acceptor


@asynccontextmanager
async def silent(house: House) -> AsyncIterator[asyncio.StreamReader]:
    """Somebody who connects, and says nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.operator)
    try:
        yield reader
    finally:
        writer.close()


async def shown(house: House) -> bytes:
    """The certificate that is shown to who comes now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", house.operator, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def test_commands_speak_to_it_and_trust_the_authority_that_they_are_given(serve: Serve) -> None:
    house = await serve(**PAIR)
    status = await run_here("status", "--json", "--operator", at(house), "--ca", CERTIFICATE)
    assert (status.code, status.err) == (0, "")
    for words in (("report", "--since", "1d"), ("usage", "--since", "1d"), ("account", "list"), ("audit", "verify")):
        assert (await run_here(*words, "--operator", at(house), "--ca", CERTIFICATE)).code == 0, words
    kicked = await run_here("kick", "--account", "ann", "--operator", at(house), "--ca", CERTIFICATE)
    assert kicked.err == "tallygate kick: nobody is connected as ann\n"
    assert "is not trusted" in (await run_here("status", "--operator", at(house))).err


@pytest.mark.parametrize(
    ("authorities", "why"),
    [
        ("/nowhere/ca.pem", "/nowhere/ca.pem cannot be used: No such file or directory"),
        (PRIVATE_KEY, f"{PRIVATE_KEY} cannot be used: it holds no certificate in PEM"),
    ],
)
async def test_what_is_no_authority_is_told(authorities: str, why: str) -> None:
    with pytest.raises(OperatorError) as fault:
        await Operator("https://127.0.0.1:4311", Path(authorities)).__aenter__()
    assert str(fault.value) == why
    with pytest.raises(OperatorError, match=r"--ca is for an https address, which http://127\.0\.0\.1:4311 is not"):
        await Operator("http://127.0.0.1:4311", Path(CERTIFICATE)).__aenter__()


async def test_a_renewed_certificate_is_shown_to_who_comes_and_who_is_in_stays(serve: Serve, tmp_path: Path) -> None:
    house = await serve(**PAIR)
    pair = tmp_path / "new.pem", tmp_path / "new.key"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=renewed")
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", *kind, "-days", "2", "-keyout", str(pair[1]), "-out", str(pair[0]),
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    async with Operator(at(house), Path(CERTIFICATE)) as old:
        await old.json("GET", "/api/license")
        assert await shown(house) == FIRST
        before = house.runtime.certificate_ends["operators"]
        renewed = settings_of(listen__operator_tls_certificate=pair[0], listen__operator_tls_key=pair[1])
        assert "listen.operator_tls_certificate" in house.gateway.reload(renewed).live
        assert await shown(house) == ssl.PEM_cert_to_DER_cert(pair[0].read_text())
        await old.json("GET", "/api/license")
        assert house.runtime.certificate_ends["operators"] < before
    pair[1].write_text("")
    with pytest.raises(ssl.SSLError):
        house.gateway.reload(renewed)
    assert await shown(house) == ssl.PEM_cert_to_DER_cert(pair[0].read_text())


async def test_tls_is_not_switched_while_it_is_open(serve: Serve) -> None:
    house = await serve()
    assert "listen.operator_tls_certificate" in house.gateway.reload(settings_of(**PAIR)).restart
    assert (await house.http("GET", "/livez"))[0] == 200


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x00\x01x"]
)
async def test_who_speaks_no_tls_is_closed_and_a_line_of_the_log(
    said: bytes, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    house = await serve(**PAIR, listen__operator_idle_timeout="300ms")  # for more of a record that is begun
    reader, writer = await asyncio.open_connection("127.0.0.1", house.operator)
    writer.write(said)
    assert b"HTTP" not in await reader.read()
    writer.close()
    await until(lambda: not acceptor(house).arriving)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no TLS with 127.0.0.1: " in caplog.text
    await shown(house)


async def test_who_does_not_shake_hands_takes_a_place_for_so_long_only(serve: Serve) -> None:
    house = await serve(**PAIR, listen__operator_max_connections=2, listen__operator_idle_timeout="300ms")
    async with silent(house) as first, silent(house), silent(house) as third:
        assert await third.read() == b""
        assert len(acceptor(house).arriving) == 2
        assert await first.read() == b""
        await until(lambda: not acceptor(house).arriving)
        async with Operator(at(house), Path(CERTIFICATE)) as operator:
            await operator.json("GET", "/api/license")


async def test_an_idle_connection_makes_room_for_who_arrives(serve: Serve) -> None:
    house = await serve(**PAIR, listen__operator_max_connections=1)
    server = house.gateway.operator.server
    assert server is not None
    for _ in range(3):
        async with Operator(at(house), Path(CERTIFICATE)) as kept:
            await kept.json("GET", "/api/license")
            await until(lambda: any(each.idle_since is not None for each in server.connections))
            async with Operator(at(house), Path(CERTIFICATE)) as another:
                await another.json("GET", "/api/license")
        await until(lambda: not server.connections)


async def test_an_answer_that_was_taken_waits_for_nobody(serve: Serve) -> None:
    house = await serve(**PAIR)
    server = house.gateway.operator.server
    assert server is not None
    deadline = house.gateway.settings.listen.operator_write_timeout
    async with Operator(at(house), Path(CERTIFICATE)) as operator, asyncio.timeout(deadline / 3):
        await operator.json("GET", "/api/license")
        (connection,) = server.connections
        await until(lambda: connection.idle_since is not None)
        await operator.json("GET", "/api/license")
        assert server.connections == [connection]


async def test_a_handshake_that_is_under_way_does_not_keep_the_port_from_closing(serve: Serve) -> None:
    house = await serve(**PAIR)
    async with silent(house) as client:
        await until(lambda: len(acceptor(house).arriving) == 1)
        await house.gateway.operator.close()
        assert await client.read() == b""


async def test_without_files_nothing_is_accepted_for_a_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await serve(**PAIR)
    monkeypatch.setattr(tls_acceptor, "OUT_OF_FILES_PAUSE", 0.01)
    acceptor(house)._out_of_files(OSError(24, "Too many open files"))
    assert "not accepting for 0.01 s" in caplog.text
    await shown(house)
    with pytest.raises(OSError, match="Bad file"):
        acceptor(house)._out_of_files(OSError(9, "Bad file descriptor"))
