"""`tallygate connect`: a client for people, who type what to say and read what the gateway answers.

The reference client does all that a program would: it says hello and beats, and comes back after a loss.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from config.whole_files import read_text
from gateway.cli.answer_text import answer_text, end_text, printable
from gateway.cli.streams import OutputFailed
from gateway.cli.typed_lines import ReadingEnded, TypedLines
from gateway.cli.typed_requests import HELP_WORDS, NotUnderstood, completions, help_text, request_of
from gateway.client import Client, Closed, Denied, RequestError
from gateway.client_connection import ConnectionEnd, ServerProtocolError, Transport
from gateway.core.counting.session import KINDS
from gateway.core.names import NAME_FORM, is_name

HELP = """\
Speak to a gateway as a client: type what to say, read what it answers. Hello and heartbeats are said by themselves, and
a lost connection is made again. Lines may come through a pipe; each waits for the answer to the one before.
Exit code 1 when there is no connection, when the gateway ends it for good, or when it refused a line of a pipe."""
EXAMPLES = """\
examples:
  tallygate connect --account ann@example.org --device laptop
  tallygate connect ws://127.0.0.1:4308/ws -v
  tallygate connect gateway.example.org:4317 --tls --account ann@example.org --token-file ann.token
  (echo join weekly; sleep 60) | tallygate connect --account ann@example.org
"""
VARIABLE = "TALLYGATE_ACCOUNT_TOKEN"
"""The variable of the environment that may hold the token of an account."""
NAME = "tallygate-connect/1"


class ClientPort(NamedTuple):
    """Where a gateway listens: `port` None is the usual one, `transport` and `tls` None are not said by the address."""

    host: str
    port: int | None = None
    transport: Transport | None = None
    tls: bool | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `connect`."""
    add = parser.add_argument
    add(
        "address",
        metavar="HOST[:PORT]",
        nargs="?",
        type=address,
        default=ClientPort("127.0.0.1"),
        help="a client port of the gateway, or the address of its WebSocket such as ws://HOST:4308/ws "
        "(default 127.0.0.1, with port 4307, or 4308 for --websocket)",
    )
    add("--account", metavar="NAME", type=_name, help="who you are (default: a guest)")
    add("--device", metavar="NAME", type=_name, help="which installation of a client this is (default: one of its own)")
    add("--home", metavar="NAME", type=_name, help="the server that the account belongs to")
    add("--kind", choices=sorted(KINDS), help="what the client is (default: app)")
    add(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="file with the token that proves the account, read for each connection; without it, one is read from "
        + VARIABLE,
    )
    add("--websocket", action="store_true", help="speak WebSocket, not lines over TCP")
    add("--tls", action="store_true", help="speak TLS, and trust the authorities of this machine")
    add("--ca", metavar="FILE", type=Path, help="speak TLS, and trust the authorities in this file (PEM)")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    client: Client
    lines = TypedLines(lambda line: completions(line, client.conferences))
    dialog = Dialog(lines, raw=args.verbose > 0)
    client = dialog.client = _client(args, dialog)
    with lines:
        code = 0
        try:
            lines.wait(dialog.open())
            code = dialog.converse()
        except (Denied, RequestError, OSError) as fault:
            raise SystemExit(_failure(fault, client)) from None
        except KeyboardInterrupt:
            code = 130
        except ReadingEnded:
            code = 0
        finally:
            lines.finish(dialog.close())
    if dialog.fault is not None:
        raise dialog.fault
    if dialog.over is not None:
        raise SystemExit(f"the connection has ended: {end_text(dialog.over)}")
    return code


class Dialog:
    """A client, and a person or a pipe that has it say things.

    With `raw` every message is shown as it is on the wire too.
    """

    client: Client

    def __init__(self, lines: TypedLines, *, raw: bool) -> None:
        self.over: ConnectionEnd | None = None
        """How the gateway has ended it for good; None where it has not."""
        self.fault: OutputFailed | None = None
        """Why nothing can be shown any more."""
        self.raw = raw
        self._lines = lines
        self._watching: asyncio.Task[None] | None = None

    def show(self, text: str) -> None:
        """Show a line; where that cannot be done, it is the end."""
        try:
            self._lines.show(text)
        except OutputFailed as fault:
            self.fault = fault
            self._lines.end()

    def hear(self, message: Mapping[str, Any]) -> None:
        """Show what came unasked."""
        self.show(f"* {answer_text(message)}")

    def trace(self, way: str, text: str) -> None:
        """Show a message as it is on the wire."""
        self.show(f"{'<' if way == 'received' else '>'} {printable(text)}")

    async def open(self) -> None:
        """Connect and be welcomed.

        Raises `Denied`, `RequestError` or `OSError`.
        """
        await self.client.connect()
        self.show(_greeting(self.client))
        self._watching = asyncio.create_task(self._watch(), name="what becomes of the connection")

    def converse(self) -> int:
        """Have each line said until there are no more, or one is `bye`; in the thread that reads.

        Returns 1 where a line of a pipe was not understood or was refused, else 0.
        """
        code = 0
        while (line := self._read()) is not None:
            if not line.strip():
                continue
            if line.strip().lower() in HELP_WORDS:
                self.show(help_text())
                continue
            try:
                message = request_of(line)
            except NotUnderstood as fault:
                self.show(printable(str(fault)))
                good = False
            else:
                if message["type"] == "bye":
                    break
                good = self._lines.wait(self._say(message))
            code = code or (0 if good or self._lines.terminal else 1)
        return code

    async def close(self) -> None:
        """End the session in order."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self.client.bye()
        end = self.client.end
        last = end.last if end is not None else None
        if end is not None and not end.reconnect and last is not None and last["type"] == "closing":
            self.over = end  # which came while the lines ended

    def _read(self) -> str | None:
        try:
            return self._lines.read()
        except (OSError, UnicodeDecodeError) as fault:
            why = fault.strerror if isinstance(fault, OSError) else "it is not text"
            raise SystemExit(f"standard input cannot be read: {why}") from None

    def _say_activity(self, message: dict[str, Any]) -> bool:
        """Have heartbeats say whether somebody uses this client. No answer comes; its effects are told later."""
        active, wait = message.get("active"), message.get("wait")
        if isinstance(active, bool):
            self.client.say_active(active, wait=wait)
            self.show(f"heartbeats say from now on that {'somebody' if active else 'nobody'} uses this")
        else:
            self.show("heartbeats are sent by themselves")
        return True

    async def _say(self, message: dict[str, Any]) -> bool:
        """Say one thing and show the answer; whether it was granted."""
        if message["type"] == "heartbeat":
            return self._say_activity(message)
        fields = {name: value for name, value in message.items() if name not in {"type", "id"}}
        try:
            await self.client.ready()
            answer: Mapping[str, Any] = await self.client.request(message["type"], on_queued=self.hear, **fields)
        except (Denied, RequestError) as refusal:
            self.show(answer_text(refusal.message))
            return False
        except Closed:
            self.show("the connection was lost before the answer came: whether it was done is unknown")
            return False
        except TimeoutError:
            self.show("no answer came in time")
            return False
        self.show(answer_text(answer))
        return True

    async def _watch(self) -> None:
        """Tell of every loss; after the last one end the reading."""
        while True:
            end = await self.client.lost()
            if self.client.end is None:
                self.show(f"* connection lost: {end_text(end)}; connecting again ...")
            try:
                await self.client.ready()
            except Closed as fault:
                self.over = fault.end
                self._lines.end()
                return


def address(text: str) -> ClientPort:
    """Return the address of a client port.

    Raises `argparse.ArgumentTypeError`.
    """
    wrong = argparse.ArgumentTypeError(f"expected HOST, HOST:PORT or ws://HOST:PORT/ws, found {text!r}")
    bare = text.count(":") > 1 and "[" not in text and "//" not in text  # an IPv6 address by itself
    try:
        parts = urlsplit(text if "//" in text else f"tcp://[{text}]" if bare else f"tcp://{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        raise wrong from None
    if not host or port == 0 or parts.username is not None or parts.query or parts.fragment:
        raise wrong
    if parts.scheme == "tcp" and not parts.path:
        return ClientPort(host, port)
    if parts.scheme in {"ws", "wss"} and parts.path in {"", "/", "/ws"}:
        secure = parts.scheme == "wss"
        return ClientPort(host, port, "websocket", secure or None)
    raise wrong


def _name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"expected {NAME_FORM}, found {text!r}")
    return text


def _client(args: argparse.Namespace, dialog: Dialog) -> Client:
    where: ClientPort = args.address
    return Client(
        where.host,
        where.port,
        transport="websocket" if args.websocket else where.transport or "tcp",
        account=args.account,
        device=args.device,
        kind=args.kind,
        home=args.home,
        token=_token(args.token_file) if args.token_file is None else _from_file(args.token_file),
        name=NAME,
        ssl=_tls(args.ca) if args.tls or args.ca or where.tls else None,
        on_message=dialog.hear,
        on_queued=dialog.hear,
        trace=dialog.trace if dialog.raw else None,
    )


def _from_file(file: Path) -> Callable[[], Awaitable[str]]:
    """Return a function that reads the token anew for each connection, since a token may be replaced in its file.

    Raises `SystemExit` where the file cannot be read now.
    """
    _token(file)

    async def read() -> str:
        return await asyncio.to_thread(read_text, file, "strict")

    return read


def _token(file: Path | None) -> str | None:
    """The token of the account, without the line end of its file.

    Raises `SystemExit` where the file cannot be read.
    """
    if file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        return read_text(file, "strict")
    except (OSError, UnicodeDecodeError) as fault:
        raise SystemExit(f"{file} cannot be read: {getattr(fault, 'strerror', None) or 'it is not text'}") from None


def _tls(authorities: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as fault:  # ssl.SSLError is one
        why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
        raise SystemExit(f"{authorities} cannot be used: {why}") from None


def _greeting(client: Client) -> str:
    seats = ", ".join(client.seats) or "none"
    return f"welcome: session {client.session}, model {client.model}; seats: {seats}; `help` shows what can be said"


def _failure(fault: Exception, client: Client) -> str:
    """Why there is no connection, as one line."""
    host = f"[{client.host}]" if ":" in client.host else client.host
    place = f"{host}:{client.port}"
    if isinstance(fault, Denied | RequestError):
        return answer_text(fault.message)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate of {place} is not trusted: {fault.verify_message}; --ca names a file of authorities"
    if isinstance(fault, ssl.SSLError):
        return f"no TLS with {place}: {(fault.reason or str(fault)).replace('_', ' ').lower()}"
    if isinstance(fault, ConnectionRefusedError):
        return f"no gateway answers at {place}: is it running?"
    if isinstance(fault, Closed) and isinstance(fault.end.error, ServerProtocolError):
        spoken = "WebSocket" if client.transport == "websocket" else "lines over TCP"
        return f"{place} does not speak {spoken} as a gateway does: {end_text(fault.end)}; is it that client port?"
    if isinstance(fault, Closed):
        return f"{place} closed the connection: {end_text(fault.end)}; is TLS spoken there?"
    if isinstance(fault, TimeoutError):
        return f"the gateway at {place} did not answer in time"
    return f"{place} cannot be reached: {getattr(fault, 'strerror', None) or fault}"
