"""The PROXY protocol, versions 1 and 2: the header by which a proxy names the client it speaks for.

`read` is given the first bytes of a connection, again and again as more arrive, and takes nothing: the caller removes
the header once its length is known, so that what follows reaches TLS or the session untouched.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from gateway.core.addresses import ip_address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST = 536
"""Bytes of header that are accepted: 107 of version 1; 16 and 520 of addresses and extensions of version 2."""


class NotProxied(ValueError):
    """The connection does not begin with a PROXY header, or with one that says nothing."""


class Header(NamedTuple):
    """`size` in bytes, and the client's address; None where the proxy speaks for itself (health checks)."""

    size: int
    address: str | None


def read(head: bytes) -> Header | None:
    """The header at the beginning of `head`, or None while it is incomplete.

    Raises `NotProxied`.
    """
    if head.startswith(SIGNATURE[: len(head)]):
        return _version_2(head)
    if head.startswith(b"PROXY "[: len(head)]):
        return _version_1(head)
    raise NotProxied("no PROXY header")


def _version_1(head: bytes) -> Header | None:
    end = head.find(b"\r\n", 0, 107)
    if end < 0:
        if len(head) >= 107:
            raise NotProxied("PROXY header without an end")
        return None
    words = head[:end].split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return Header(end + 2, None)
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:
        raise NotProxied("PROXY header is not of TCP4 or TCP6")
    return Header(end + 2, _address(words[2], 4 if words[1] == b"TCP4" else 6))


def _version_2(head: bytes) -> Header | None:
    if len(head) < 16:
        return None
    size = 16 + int.from_bytes(head[14:16])
    if head[12] >> 4 != 2 or size > LONGEST:
        raise NotProxied("PROXY header is not of version 2, or too long")
    if len(head) < size:
        return None
    command, family = head[12] & 0xF, head[13] >> 4
    if command > 1:
        raise NotProxied("PROXY header has an unknown command")
    if command == 0 or family == 0:
        return Header(size, None)
    width = {1: 4, 2: 16}.get(family, 0)
    if not width or size < 16 + 2 * width + 4:
        raise NotProxied("PROXY header names no address")
    return Header(size, str(ip_address(head[16 : 16 + width])))


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise NotProxied("PROXY header names no address") from None
    if address.version != version:
        raise NotProxied("PROXY header names an address of another family")
    return str(ip_address(str(address)))
