"""`tallygate connect`: through a pipe, and at a terminal with a person before it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import sys
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cli import connect
from gateway.cli.connect import ClientPort
from gateway.edge.gateway import running
from tests.cli.program import PATIENCE, Ended, begin, end, said
from tests.conftest import House, Serve, settings_of, until

TLS = Path(__file__).parents[1] / "config" / "tls"


async def piped(lines: str, *argv: str, **environment: str) -> Ended:
    """The command with these lines in its pipe."""
    process = await begin("connect", *argv, stdin=PIPE, environment=environment)
    assert process.stdin is not None
    process.stdin.write(lines.encode())
    process.stdin.close()
    return await end(process)


def at(house: House) -> str:
    return f"127.0.0.1:{house.tcp}"


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gw.example.org", ClientPort("gw.example.org")),
        ("127.0.0.1:5307", ClientPort("127.0.0.1", 5307)),
        ("[::1]:5307", ClientPort("::1", 5307)),
        ("::1", ClientPort("::1")),
        ("ws://127.0.0.1:4308/ws", ClientPort("127.0.0.1", 4308, "websocket")),
        ("wss://gw.example.org", ClientPort("gw.example.org", None, "websocket", True)),
    ],
)
def test_an_address_is_read(text: str, address: ClientPort) -> None:
    assert connect.address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":4307", "a:0", "a:70000", "a:b", "http://a:4311", "a/b", "ws://a/other", "ws://x@a/ws", "a" * 70]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        connect.address(text)


# -- through a pipe ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_lines_of_a_pipe_are_said_one_after_the_other(serve: Serve, transport: str) -> None:
    house = await serve()
    address = at(house) if transport == "tcp" else f"ws://127.0.0.1:{house.websocket}/ws"
    ended = await piped("join weekly\r\n\nleave weekly\nsleep\nwake\n", address, "--account", "ann")
    assert (ended.code, ended.err) == (0, "")
    first, *lines = ended.out.splitlines()
    assert re.fullmatch(r"welcome: session s-\S+, model epop; seats: none; `help` shows what can be said", first)
    assert lines == [
        "joined weekly (group, internal, live); seats: concurrent",
        "left weekly; seats: none",
        "asleep; seats: none",
        "awake; seats: none",
    ]


async def test_what_was_refused_or_not_understood_is_a_failure_of_a_pipe(serve: Serve) -> None:
    house = await serve(license__epop__users=1)
    await (await house.welcomed()).ask("join", conference="a")
    full, typo, wrong = await asyncio.gather(
        piped("join b\nsleep\n", at(house)), piped("jion b\n", at(house)), piped('{"type":"start"}\n', at(house))
    )
    assert full.out.splitlines()[1:] == ["denied join b: pool_full, concurrent 1 of 1", "asleep; seats: none"]
    assert typo.out.splitlines()[1:] == ["'jion' is no request (did you mean join?); `help` shows what there is"]
    assert "error bad_field: conference: required" in wrong.out
    assert (full.code, typo.code, wrong.code) == (1, 1, 1)


async def test_help_is_shown_and_bye_ends_it(serve: Serve) -> None:
    house = await serve()
    ended = await piped("help\nbye\njoin weekly\n", at(house))
    assert "  leave CONFERENCE          end the membership in a conference\n" in ended.out
    assert "joined" not in ended.out
    assert ended.code == 0


async def test_the_wire_is_shown_on_request_without_the_token(serve: Serve) -> None:
    house = await serve()
    ended = await piped("join a\n", at(house), "-v", TALLYGATE_ACCOUNT_TOKEN="t-secret")  # noqa: S106 - of nobody
    assert '> {"type":"join","conference":"a","id":1}\n< {"type":"joined","id":1,"conference":"a"' in ended.out
    assert "t-secret" not in ended.out + ended.err


async def test_a_token_is_read_from_a_file(serve: Serve, tmp_path: Path) -> None:
    house = await serve(accounts__mode="token")
    token = (await house.http("PUT", "/api/accounts/ann"))[1]
    _, made = await house.http("POST", "/api/accounts/ann/token")
    assert token is not None
    file = tmp_path / "ann.token"
    file.write_text(made["token"] + "\n")
    good = await piped("join a\n", at(house), "--account", "ann", "--token-file", str(file))
    bad = await piped("", at(house), "--account", "ann")
    gone = await piped("", at(house), "--token-file", str(tmp_path / "none"))
    assert good.code == 0, good
    assert (bad.code, bad.err) == (1, "tallygate: denied hello: bad_credential\n")
    assert (gone.code, gone.err) == (1, f"tallygate: {tmp_path}/none cannot be read: No such file or directory\n")


async def test_it_speaks_tls_to_whom_it_trusts(serve: Serve) -> None:
    house = await serve(listen__tls_certificate=TLS / "certificate.pem", listen__tls_key=TLS / "key.pem")
    localhost = f"localhost:{house.tcp}"
    trusted, untrusted, plain = await asyncio.gather(
        piped("join a\n", localhost, "--ca", str(TLS / "certificate.pem")),
        piped("", localhost, "--tls"),
        piped("", localhost),
    )
    assert trusted.code == 0, trusted
    assert (untrusted.code, untrusted.err.count("\n")) == (1, 1)
    assert f"the certificate of {localhost} is not trusted: " in untrusted.err
    assert (plain.code, plain.err.count("\n")) == (1, 1), plain.err


async def test_why_there_is_no_connection_is_one_line(serve: Serve, closed_port: int, tmp_path: Path) -> None:
    house = await serve()
    empty = tmp_path / "empty.pem"
    empty.touch()
    nobody, wrong_door, operators, other, no_authority = await asyncio.gather(
        piped("", f"127.0.0.1:{closed_port}"),
        piped("", f"127.0.0.1:{house.websocket}"),
        piped("", f"127.0.0.1:{house.operator}", "--websocket"),
        piped("", at(house), "--tls"),
        piped("", at(house), "--ca", str(empty)),
    )
    assert nobody.err == f"tallygate: no gateway answers at 127.0.0.1:{closed_port}: is it running?\n"
    assert f"127.0.0.1:{house.websocket} does not speak lines over TCP as a gateway does: " in wrong_door.err
    assert "does not speak WebSocket as a gateway does: upgrade refused: HTTP 404" in operators.err
    assert f"no TLS with {at(house)}: " in other.err
    assert no_authority.err == f"tallygate: {empty} cannot be used: it holds no certificate in PEM\n"
    for ended in (nobody, wrong_door, operators, other, no_authority):
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)


async def test_input_that_is_no_text_and_output_that_nobody_reads_end_it_in_one_line(serve: Serve) -> None:
    house = await serve()
    closed = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"{sys.executable} -m gateway connect {at(house)} <&-; echo $?"), stdout=PIPE, stderr=PIPE
    )
    told = await end(closed)
    assert (told.out.splitlines()[-1], told.err) == ("0", "")
    full = os.open("/dev/full", os.O_WRONLY)
    process = await begin("connect", at(house), stdin=PIPE, stdout=full)
    os.close(full)
    ended = await end(process)
    assert (ended.code, ended.err) == (1, "tallygate: standard output cannot be written: No space left on device\n")


async def test_it_comes_back_after_a_loss_and_a_line_waits_until_then(serve: Serve) -> None:
    house = await serve()
    process = await begin("connect", at(house), "--account", "ann", stdin=PIPE)
    assert process.stdin is not None
    await said(process.stdout, "welcome")
    for connection in tuple(house.runtime.tcp.connections):
        connection.transport.abort()
    await said(process.stdout, "* connection lost: ")
    process.stdin.write(b"join weekly\n")
    await said(process.stdout, "* welcome: session")
    await said(process.stdout, "joined weekly")
    process.stdin.close()
    assert (await end(process)).code == 0


async def test_it_ends_where_the_gateway_ends_it_for_good(serve: Serve) -> None:
    house = await serve()
    process = await begin("connect", at(house), "--account", "ann", stdin=PIPE)
    await said(process.stdout, "welcome")
    await house.http("DELETE", "/api/accounts/ann/connections")
    ended = await end(process)
    assert ended.out == "* the gateway closes the connection, for good: kicked\n"
    assert (ended.code, ended.err) == (1, "tallygate: the connection has ended: kicked\n")


async def test_an_end_for_good_is_told_though_the_lines_end_too(serve: Serve) -> None:
    house = await serve()
    process = await begin("connect", at(house), "--account", "ann", stdin=PIPE)
    await said(process.stdout, "welcome")
    process.send_signal(signal.SIGSTOP)
    await house.http("DELETE", "/api/accounts/ann/connections")
    assert process.stdin is not None
    process.stdin.close()
    process.send_signal(signal.SIGCONT)
    ended = await end(process)
    assert (ended.code, ended.err) == (1, "tallygate: the connection has ended: kicked\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_a_signal_ends_the_session_in_order(serve: Serve, number: int, code: int) -> None:
    house = await serve()
    process = await begin("connect", at(house), stdin=PIPE)
    await said(process.stdout, "welcome")
    process.send_signal(number)
    ended = await end(process)
    assert (ended.code, ended.err) == (code, "")
    assert (
        'tallygate_connections_closed_total{cause="bye",transport="tcp"} 1' in (await house.http("GET", "/metrics"))[1]
    )


# -- at a terminal -----------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal with the command on it; what it shows gathers in `shown`."""

    def __init__(self, screen: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(screen, self._read)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._screen, keys.encode())

    async def shows(self, text: str) -> None:
        """Wait until a text stands on it that was not waited for before, and forget all up to there."""
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.shown:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown: {self.shown!r}") from None
        self.shown = self.shown.partition(text)[2]

    async def ends(self) -> int:
        """The exit code."""
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def _read(self) -> None:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the other side is closed
            asyncio.get_running_loop().remove_reader(self._screen)
            return
        self.shown += data.decode()
        self._changed.set()


@asynccontextmanager
async def terminal(*argv: str) -> AsyncIterator[Terminal]:
    screen, keys = pty.openpty()
    settings = termios.tcgetattr(keys)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "connect", *argv),
        stdin=keys,
        stdout=keys,
        stderr=keys,
        env={**os.environ, "TERM": "xterm", "INPUTRC": "/dev/null"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        yield Terminal(screen, process)
        assert termios.tcgetattr(keys) == settings, "the terminal is not as it was"
    finally:
        asyncio.get_running_loop().remove_reader(screen)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(screen)
        os.close(keys)


def leave_by_key(key: str) -> Callable[[Terminal], None]:
    return lambda screen: screen.type(key)


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (leave_by_key("\x03"), 130),
        (leave_by_key("\x04"), 0),
        (leave_by_key("bye\n"), 0),
        (lambda screen: screen.process.terminate(), 0),
    ],
    ids=["ctrl-c", "ctrl-d", "bye", "sigterm"],
)
async def test_a_person_leaves_and_the_terminal_is_as_before(
    serve: Serve, leave: Callable[[Terminal], None], code: int
) -> None:
    house = await serve()
    async with terminal(at(house)) as screen:
        await screen.shows("can be said\r\n")
        await screen.shows("> ")
        leave(screen)
        assert await screen.ends() == code, screen.shown
    await until(lambda: not house.runtime.state.sessions)


async def test_a_line_is_edited_called_back_and_completed(serve: Serve) -> None:
    house = await serve()
    async with terminal(at(house)) as screen:
        await screen.shows("> ")
        screen.type("join weekl\x1b[D\x1b[Dx\x7f\x05y\n")
        await screen.shows("joined weekly (group, internal, live)")
        await screen.shows("> ")
        screen.type("\x1b[A")
        await screen.shows("join weekly")
        screen.type("\x15le\tw\t\n")
        await screen.shows("left weekly")
        await screen.shows("> ")
        screen.type("\x04")
        assert await screen.ends() == 0


async def test_what_comes_unasked_stands_above_what_is_being_typed(serve: Serve) -> None:
    house = await serve()
    async with terminal(at(house)) as screen:
        await screen.shows("> ")
        screen.type("join weekly\n")
        await screen.shows("joined weekly")
        await screen.shows("> ")
        screen.type("leave wee")
        await screen.shows("leave wee")
        await house.http("DELETE", "/api/conferences/weekly")
        await screen.shows("\r\x1b[K* removed weekly: conference_ended; seats: none\r\n> leave wee")
        screen.type("kly\n")
        await screen.shows("denied leave weekly: not_member")
        await screen.shows("> ")
        screen.type("\x04")
        assert await screen.ends() == 0


async def test_it_ends_by_itself_while_a_person_types(serve: Serve) -> None:
    house = await serve()
    async with terminal(at(house), "--account", "ann") as screen:
        await screen.shows("> ")
        screen.type("jo")
        await screen.shows("jo")
        await house.http("DELETE", "/api/accounts/ann/connections")
        await screen.shows("* the gateway closes the connection, for good: kicked\r\n")
        await screen.shows("tallygate: the connection has ended: kicked\r\n")
        assert await screen.ends() == 1


async def test_it_waits_for_a_gateway_that_is_started_again(tmp_path: Path) -> None:
    settings = settings_of(store__path=tmp_path / "store.db")
    async with running(settings) as first:
        port = first.ports()["tcp"]
        screen_stack = contextlib.AsyncExitStack()
        screen = await screen_stack.enter_async_context(terminal(f"127.0.0.1:{port}", "--account", "ann"))
        await screen.shows("> ")
        screen.type("join weekly\n")
        await screen.shows("joined weekly")
    async with screen_stack:
        await screen.shows("* connection lost: ")
        async with running(settings_of(store__path=tmp_path / "store.db", listen__tcp=port)):
            await screen.shows("* welcome: session ")
            await screen.shows("* joined weekly")
            screen.type("\x04")
            assert await screen.ends() == 0
