"""The operator port for the commands: one HTTP session, failures as one sentence, lists as tables.

A command with actions (`account list`) names them with `Actions`, each with the coroutine that does it.

The address comes from `--operator`, whom to trust there from `--ca`, the token from `TALLYGATE_TOKEN` (never from the
command line, where every user of the machine could read it).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote, urlsplit

import aiohttp

Work = Callable[["Operator", argparse.Namespace], Awaitable[str]]
"""What an action does: it asks the gateway, and returns what is to be printed."""
Document = dict[str, Any]
"""A JSON document of the operator port."""

URL = "http://127.0.0.1:4311"
SILENCE = 40.0
"""Seconds in which a stream of events must tell something: the gateway does every 15 s."""


class OperatorError(Exception):
    """The operator port did not do it; the text is one sentence for a person. `status` is the HTTP status, if any."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class _Answer(dict[str, Any]):
    """A JSON object that a route answers; one that lacks what is looked up is not that of a gateway of this version."""

    def __missing__(self, key: str) -> Any:
        raise OperatorError(f"the answer has no {key!r}: is that a gateway, and of this version?")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--operator` and `--ca`."""
    parser.add_argument(
        "--operator",
        metavar="URL",
        type=address,
        default=URL,
        help="operator port of the gateway (default %(default)s); a token is read from TALLYGATE_TOKEN",
    )
    authorities_argument(parser)


def authorities_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--ca`."""
    parser.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        help="of an https address: trust the authorities in this file (PEM), not those of this machine",
    )


def address(text: str) -> str:
    """Return an http(s) address, without a slash at its end.

    Raises `argparse.ArgumentTypeError`, which says what is wrong.
    """
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        port = parts.port
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"{text} names no host") from None
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{text}: {fault}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise argparse.ArgumentTypeError(f"{text} is no http address, such as {URL}")
    return parts.geturl().rstrip("/")


def bearer() -> str | None:
    """Return the token in `TALLYGATE_TOKEN`, without the line break at its end; None where there is none.

    Raises `OperatorError` where it cannot be one.
    """
    token = os.environ.get("TALLYGATE_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):
        raise OperatorError("TALLYGATE_TOKEN holds a line break or another character that no token has")
    return token or None


class Actions:
    """The actions of a command, each with its own arguments."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._choices = parser.add_subparsers(title="actions", required=True)

    def add(self, name: str, does: str, work: Work, *, lists: bool = False) -> argparse.ArgumentParser:
        """Add an action: `work` does it and returns what is to be printed; one that `lists` can do so as JSON."""
        made = self.add_local(name, does)
        made.set_defaults(work=work)
        if lists:
            made.add_argument("--json", action="store_true", help="as one JSON document")
        arguments(made)
        return made

    def add_local(self, name: str, does: str) -> argparse.ArgumentParser:
        """Add an action that asks no gateway; the caller sets what does it."""
        made: argparse.ArgumentParser = self._choices.add_parser(name, help=does, description=f"{does.capitalize()}.")
        return made


def act(args: argparse.Namespace, work: Work | None = None) -> int:
    """Do `work` (`args.work`, unless given), print what it returns, and return the exit code."""
    doing: Work = work or args.work

    async def speak() -> str:
        async with Operator(args.operator, args.ca) as gateway:
            return await doing(gateway, args)

    try:
        said = asyncio.run(speak())
    except OperatorError as fault:
        raise SystemExit(str(fault)) from None
    if said:
        print(said)
    return 0


def home_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument(
        "--home", metavar="H", help="the other server that the account belongs to; without it, this one"
    )


def who(account: str, home: str | None) -> str:
    """Return an account as people are told of it, with its home where that is another server."""
    return f"{account} of {home}" if home else account


def part(text: str) -> str:
    """Return a text as one step of a path.

    Raises `OperatorError` where it cannot be one: an empty text, as of a variable that is not set, `.` or `..`, or
    bytes of the command line that are not UTF-8.
    """
    if text in {"", ".", ".."}:
        raise OperatorError(f'"{text}" is no name')
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise OperatorError(f"{text!a} is not written in UTF-8") from None


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], none: str) -> str:
    """Rows under headings; `none` where there are no rows."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not lines:
        return none
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in [list(headings), *lines])
    return "\n".join(padded)


class Operator:
    """Requests to one gateway's operator port; use it as `async with`. Everything raises `OperatorError`."""

    def __init__(self, url: str, authorities: Path | None = None, *, timeout: float = 10.0) -> None:
        """`url` without a slash at its end; `authorities`: a PEM file of those to trust, in place of the machine's;
        `timeout` in seconds, for each whole request.
        """
        self.url = url
        self.authorities = authorities
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        token = bearer()
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            connector=aiohttp.TCPConnector(ssl=self._trust()),
        )
        return self

    def _trust(self) -> ssl.SSLContext | bool:
        if self.authorities is None:
            return True
        if not self.url.startswith("https:"):
            raise OperatorError(f"--ca is for an https address, which {self.url} is not")
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as fault:  # ssl.SSLError is one
            why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
            raise OperatorError(f"{self.authorities} cannot be used: {why}") from None

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def json(
        self, method: str, path: str, told: Mapping[str, Any] | None = None, /, **parameters: str | int | None
    ) -> Any:
        """Return the JSON object a route answers, None where it answers nothing (204); `told` is the body, if any.

        Parameters that are None are left out.
        """
        given = {key: str(value) for key, value in parameters.items() if value is not None}
        status, body = await self._request(method, path, given, told)
        if status == 204 or not body:
            return None
        try:
            answer = json.loads(body, object_hook=_Answer)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise OperatorError(f"{self.url}{path} answers no JSON: is it a gateway?", status)
        return answer

    async def items(self, path: str, **parameters: str | int | None) -> list[dict[str, Any]]:
        """Return all items of a list, page by page."""
        return [item async for page in self.pages(path, **parameters) for item in page]

    async def pages(self, path: str, **parameters: str | int | None) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the pages of a list."""
        async for document in self.documents(path, **parameters):
            yield document["items"]

    async def documents(self, path: str, **parameters: str | int | None) -> AsyncIterator[Document]:
        """Yield the pages of a list as whole documents."""
        cursor: str | None = ""
        while cursor is not None:
            document = await self.json("GET", path, limit=1000, cursor=cursor or None, **parameters)
            yield document
            cursor = document["next"]

    async def events(
        self, path: str, last: str | None = None, **parameters: str | None
    ) -> AsyncIterator[tuple[str | None, Document]]:
        """Yield the server-sent events of a route with their ids, for as long as the stream lasts: those after the one
        of id `last`, where that is given. A comment, by which the gateway shows that it lives, is an empty document.
        """
        if self._session is None:
            raise RuntimeError("use it as `async with`")
        given = {key: value for key, value in parameters.items() if value is not None}
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
        patience = aiohttp.ClientTimeout(sock_connect=self._timeout, sock_read=SILENCE)
        try:
            async with self._session.get(self.url + path, params=given, headers=headers, timeout=patience) as answer:
                if answer.status >= 400:
                    raise OperatorError(f"GET {path}: {_explain(answer.status, await answer.read())}", answer.status)
                message: dict[str, str] = {}
                async for line in answer.content:
                    name, _, value = line.decode(errors="replace").rstrip("\n").partition(": ")
                    if name or value:
                        message[name] = value
                        continue
                    yield message.get("id"), json.loads(message.get("data", "{}"), object_hook=_Answer)
                    message = {}
        except (aiohttp.ClientError, OSError) as fault:
            raise self._failed(fault, f"for {SILENCE:g} s") from None
        except ValueError:
            raise OperatorError(f"{self.url}{path} tells no events: is it a gateway?") from None

    async def download(self, path: str, target: IO[bytes], media: str) -> int:
        """Write what a route answers into a file, however long it takes, and return the number of bytes; `media` is the
        type of what it must be.
        """
        if self._session is None:
            raise RuntimeError("use it as `async with`")
        patience = aiohttp.ClientTimeout(sock_connect=self._timeout, sock_read=60.0)
        try:
            async with self._session.get(self.url + path, timeout=patience) as answer:
                if answer.status >= 400:
                    raise OperatorError(f"GET {path}: {_explain(answer.status, await answer.read())}", answer.status)
                if answer.content_type != media:
                    raise OperatorError(f"{self.url}{path} is no {media}: is it a gateway?")
                size = 0
                async for piece in answer.content.iter_chunked(1 << 16):
                    size += target.write(piece)
                return size
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise self._failed(fault, "in time") from None

    async def text(self, path: str) -> str:
        """Return the text a route answers."""
        _, body = await self._request("GET", path, {}, None)
        return body.decode(errors="replace")

    async def _request(
        self, method: str, path: str, parameters: dict[str, str], told: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("use it as `async with`")
        try:
            async with self._session.request(method, self.url + path, params=parameters, json=told) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as fault:
            raise self._failed(fault, f"within {self._timeout:g} s") from None
        if answer.status >= 400:
            raise OperatorError(f"{method} {path}: {_explain(answer.status, body)}", answer.status)
        return answer.status, body

    def _failed(self, fault: Exception, when: str) -> OperatorError:
        return OperatorError(_reason(fault, self.url, when))


def _reason(fault: Exception, url: str, when: str) -> str:
    """Why a request to `url` came to nothing, as one line; `when` is how long an answer was waited for."""
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        told = fault.certificate_error
        why = getattr(told, "verify_message", None) or told
        return f"the certificate of {url} is not trusted: {why}; --ca names a file of authorities to trust"
    if isinstance(fault, aiohttp.ClientConnectorSSLError):
        return f"no TLS with {url}: {_words(fault.os_error)}; a port without TLS is http://"
    if isinstance(fault, aiohttp.ClientConnectorDNSError):
        return f"the host of {url} cannot be found: {fault.os_error.strerror}"
    if isinstance(fault, aiohttp.ClientConnectorError):
        if fault.os_error.errno == errno.ECONNREFUSED:
            return f"no gateway answers at {url}: is it running?"
        return f"{url} cannot be reached: {_words(fault.os_error)}"
    if isinstance(fault, TimeoutError):
        return f"the gateway at {url} did not answer {when}"
    if isinstance(fault, aiohttp.InvalidURL):
        return f"{url} is no address of a gateway"
    if isinstance(fault, aiohttp.TooManyRedirects):
        return f"{url} answers with redirections only: is it a gateway?"
    if isinstance(fault, aiohttp.ClientResponseError):
        return f"{url} does not answer in HTTP: is it the operator port?"
    if isinstance(fault, aiohttp.ClientPayloadError):
        return f"the gateway at {url} broke off in the middle of its answer"
    return f"{url} closed the connection without an answer: is it the operator port, and is that http:// or https://?"


def _words(fault: OSError) -> str:
    """What the system or the TLS library says, without the place in its source."""
    if isinstance(fault, ssl.SSLError) and fault.reason:
        return fault.reason.replace("_", " ").lower()
    return os.strerror(fault.errno) if fault.errno else str(fault.strerror or fault)


def _explain(status: int, body: bytes) -> str:
    try:
        document = json.loads(body)
        code, detail = str(document["error"]), document.get("detail")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail = f"HTTP {status}", None
    if status == 401 and code != "bad_token":
        return "a token is needed: set TALLYGATE_TOKEN"
    return f"{code}: {detail}" if detail else code
