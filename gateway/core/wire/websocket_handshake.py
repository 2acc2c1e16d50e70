"""The opening handshake of a WebSocket (RFC 6455, section 4) in the server's role, without IO.

The rule: a connection says one HTTP/1.1 request and nothing after it counts until it is judged. `Upgrade.feed` takes
whatever the socket gave, cut anywhere, and returns None while the request is unfinished, then exactly once `Accepted`
or `Refused`. A refusal is a value: the whole response, after which the connection is to be closed.

Theory of operation. Only what is new in each read is searched for the end of the head, so the work is linear however
the bytes are cut, and a head above HEAD_LIMIT is refused without being read. Syntax that two readers could understand
differently (a bare CR or LF, NUL and other controls, folded lines, a space before the colon, two Hosts, a body) is
refused as soon as it is seen (RFC 9112, sections 2.2, 3.2, 5.1, 5.2). Then follow, in this order, the HTTP version, the
path, the method, the upgrade itself, the key and the Origin. Extensions offered are not taken up.

The clients of one application all say the same but for their keys, thousands at once after an outage. So the answer to
a request is remembered without its key; one with an Origin is judged each time.

An Origin is what a browser says about the page that opens the connection; other clients send none and are not bound by
it. Without a list, a page may only reach the host it came from; and from a browser on this machine, only if that host
is a local name, for any name of the web can be made to mean 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple

from gateway.core.addresses import is_loopback

PATH: Final = "/ws"
SUBPROTOCOL: Final = "tallygate.v1"
HEAD_LIMIT: Final = 8192
"""Bytes of a request line and its headers, the empty line included."""
REMEMBERED: Final = 64
"""Requests whose answer is remembered, each of at most HEAD_LIMIT bytes."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_END: Final = b"\r\n\r\n"
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_STRAY: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n")
_PLAIN: Final = bytes(code for code in range(256) if code in b"\t\r\n" or (code >= 0x20 and code != 0x7F))
_USUAL: Final = f"GET {PATH} HTTP/1.1"
_COMMON: Final = {
    name: name.lower()
    for name in (
        "Host",
        "Upgrade",
        "Connection",
        "Origin",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "User-Agent",
    )
}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE: Final = re.compile(rf"({_TOKEN.pattern}) ([!-\"$-~]+) HTTP/([0-9])\.([0-9])")
_TARGET: Final = re.compile(r"(?:(?:http|ws)s?://([^/?]+))?(/[^?]*)(?:\?.*)?", re.IGNORECASE)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(?::([0-9]*))?", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
_KEY_SIZE: Final = 24
_KEY_BYTES: Final = re.compile(_KEY.pattern.encode())
_BEFORE_KEY: Final = b"\r\nSec-WebSocket-Key: "
_SOME_KEY: Final = b"A" * (_KEY_SIZE - 2) + b"=="
_ORIGIN: Final = re.compile(rb"\norigin:", re.IGNORECASE)


class Accepted(NamedTuple):
    """The client may speak WebSocket: send `response`, then decode `rest`, the bytes that came after the request."""

    response: bytes
    subprotocol: str | None
    rest: bytes


class Refused(NamedTuple):
    """The client may not: send `response`, a complete one with `status`, and close."""

    status: int
    response: bytes


def refuse(status: int, detail: str, *headers: str) -> Refused:
    """Return a complete refusal: `detail` is its text, `headers` are further lines ("Retry-After: 5")."""
    body = f"{detail}\n".encode()
    connection = "close, Upgrade" if any(line.startswith("Upgrade:") for line in headers) else "close"
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *headers,
        f"Connection: {connection}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "\r\n",
    )
    return Refused(status, "\r\n".join(lines).encode() + body)


TOO_SLOW: Final = refuse(408, "the request did not come in time")
"""For the door to send when the handshake's deadline has come."""

_CONTROLS: Final = refuse(400, "a control character or a bare CR or LF is in the request")
_REQUEST_LINE: Final = refuse(400, "the request line is malformed")
_HEADER: Final = refuse(400, "a header is malformed")
_BAD_HOST: Final = refuse(400, "one valid Host is required")
_BODY: Final = refuse(400, "the request must not have a body")
_BAD_KEY: Final = refuse(400, "one Sec-WebSocket-Key of 16 bytes in base64 is required")
_TWO_ORIGINS: Final = refuse(400, "more than one Origin")
_FORBIDDEN: Final = refuse(403, "pages of this origin may not connect")
_FOREIGN_HOST: Final = refuse(403, "from this machine, the Host must be a local name")
_ELSEWHERE: Final = refuse(404, f"the path is {PATH}")
_METHOD: Final = refuse(405, "the method is GET", "Allow: GET")
_NO_UPGRADE: Final = refuse(426, "this is a WebSocket", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
_VERSION: Final = refuse(426, "the WebSocket version is 13", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
_TOO_LARGE: Final = refuse(431, f"the request is above {HEAD_LIMIT} bytes")
_HTTP_10: Final = refuse(400, "HTTP/1.1 is required")
_HTTP_MAJOR: Final = refuse(505, "HTTP/1.1 is required")


class Origins:
    """Whose pages may connect: `allowed` lists origins ("https://app.example.org"), "*" any, nothing the same host."""

    __slots__ = ("_allowed", "_any", "listed")

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        origins = tuple(allowed)
        self._any = "*" in origins
        self.listed = bool(origins)
        """Whether it is said which origins may connect, so that the names of the host do not matter."""
        self._allowed = frozenset(map(_origin, origins))

    def permits(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` may reach `host`, as its request's Host names it."""
        if self._any:
            return True
        if self._allowed:
            return _origin(origin) in self._allowed
        scheme, separator, page = origin.partition("://")
        if not separator or scheme.lower() not in _PORTS:
            return False
        return _authority(page, scheme) == _authority(host, scheme)


class Upgrade:
    """Reads the request of one connection, which comes from `address`."""

    __slots__ = ("_address", "_head", "_origins")

    def __init__(self, origins: Origins, address: str) -> None:
        self._head = bytearray()
        self._origins = origins
        self._address = address

    def feed(self, data: bytes) -> Accepted | Refused | None:
        """Return what became of the request, None while it is unfinished; not to be called again after an answer."""
        return (None if self._head else _remembered_answer(data)) or self._read(data)

    def _read(self, data: bytes) -> Accepted | Refused | None:
        head = self._head
        seen = len(head)
        head += data
        end = head.find(_END, max(0, seen - 3), HEAD_LIMIT)
        if (end != len(head) - 4 or not _clean(head)) and _STRAY.search(
            head, max(0, seen - 1), HEAD_LIMIT if end < 0 else end + 4
        ):
            return _CONTROLS
        if end >= 0:
            # An empty line before the request is what some clients leave of an earlier one (RFC 9112, 2.2).
            return self._judge(head[:end].decode("latin-1").removeprefix("\r\n"), bytes(head[end + 4 :]))
        return _TOO_LARGE if len(head) >= HEAD_LIMIT else None

    def _judge(self, head: str, rest: bytes) -> Accepted | Refused:
        first, *lines = head.split("\r\n")
        if first == _USUAL:
            method, target = "GET", PATH
        else:
            line = _LINE.fullmatch(first)
            if line is None:
                return _REQUEST_LINE
            method, target, major, minor = line.groups()
            if major != "1":
                return _HTTP_MAJOR
            if minor == "0":
                return _HTTP_10
        headers = _headers(lines)
        if headers is None:
            return _HEADER
        place = _TARGET.fullmatch(target)
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return _BAD_HOST
        if "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]:
            return _BODY
        if place is None or place[2] != PATH:
            return _ELSEWHERE
        if method != "GET":
            return _METHOD
        return self._answer(headers, place[1] or hosts[0], rest)

    def _answer(self, headers: dict[str, list[str]], host: str, rest: bytes) -> Accepted | Refused:
        """Judges a GET of the right path by the fields RFC 6455, 4.2.1 names."""
        connection, protocols = _items(headers, "connection"), _items(headers, "upgrade")
        if "upgrade" not in map(str.lower, connection) or "websocket" not in map(str.lower, protocols):
            return _NO_UPGRADE
        if headers.get("sec-websocket-version") != ["13"]:
            return _VERSION
        keys = headers.get("sec-websocket-key", [])
        if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
            return _BAD_KEY
        origins = headers.get("origin")
        if origins is not None:
            if len(origins) > 1:
                return _TWO_ORIGINS
            if not self._origins.permits(origins[0], host):
                return _FORBIDDEN
            if not self._origins.listed and is_loopback(self._address) and not is_loopback(_authority(host, "ws")[0]):
                return _FOREIGN_HOST
        chosen = SUBPROTOCOL if SUBPROTOCOL in _items(headers, "sec-websocket-protocol") else None
        return _accepted(keys[0].encode(), chosen, rest)


def _accepted(key: bytes, subprotocol: str | None, rest: bytes = b"") -> Accepted:
    chosen = b"" if subprotocol is None else f"\r\nSec-WebSocket-Protocol: {subprotocol}".encode()
    return Accepted(_SWITCHING + _accept(key) + chosen + _END, subprotocol, rest)


def _remembered_answer(data: bytes) -> Accepted | Refused | None:
    """Return the answer to a whole request from what is remembered; None where the request must be read."""
    before, _, rest = data.partition(_BEFORE_KEY)
    key = rest[:_KEY_SIZE]
    if len(data) > HEAD_LIMIT or not _KEY_BYTES.fullmatch(key):
        return None
    answer = _answer_without_key(before, rest[_KEY_SIZE:])
    return _accepted(key, answer.subprotocol) if isinstance(answer, Accepted) else answer


@lru_cache(REMEMBERED)
def _answer_without_key(before: bytes, after: bytes) -> Accepted | Refused | None:
    """Return the answer that a request gets whatever its valid key is; None where it depends on more."""
    request = b"".join((before, _BEFORE_KEY, _SOME_KEY, after))
    if request.find(_END) != len(request) - len(_END) or _ORIGIN.search(request):
        return None
    return Upgrade(Origins(), "")._read(request)  # noqa: SLF001  # `feed` would ask here again


def accept(key: str) -> str:
    """Return the Sec-WebSocket-Accept that proves a server has read `key` (RFC 6455, 4.2.2)."""
    return _accept(key.encode()).decode()


def _accept(key: bytes) -> bytes:
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def _clean(head: bytearray) -> bool:
    """Return whether a head surely has no forbidden character. Most heads pass; the others are looked at closely."""
    ends = head.count(b"\r\n")
    return not head.translate(None, _PLAIN) and ends == head.count(b"\r") == head.count(b"\n")


def _headers(lines: list[str]) -> dict[str, list[str]] | None:
    """Values by lower-case name, in order; None if a line is no header."""
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        lower = _COMMON.get(name)
        if lower is None:
            if not _TOKEN.fullmatch(name):
                return None
            lower = name.lower()
        if not colon:
            return None
        headers.setdefault(lower, []).append(value.strip(" \t"))
    return headers


def _items(headers: dict[str, list[str]], name: str) -> list[str]:
    """The members of a header that is a list, over all its lines."""
    return [item.strip(" \t") for line in headers.get(name, ()) for item in line.split(",")]


def _origin(origin: str) -> tuple[str, str, str]:
    """Scheme, host and port: what makes two origins the same (RFC 6454, section 5)."""
    scheme, _, page = origin.lower().partition("://")
    return (scheme, *_authority(page, scheme))


def _authority(authority: str, scheme: str) -> tuple[str, str]:
    """Host and port, the port that of `scheme` where none is named."""
    match = _HOST.fullmatch(authority)
    host, port = match.groups() if match else (authority, None)
    return host.lower(), port or _PORTS.get(scheme.lower(), "")
