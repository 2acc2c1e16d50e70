"""When certificates end: as much of X.509 as that takes (RFC 5280, 4.1).

`ssl` does not tell it of a file that it has loaded.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

VERSION = 0xA0
"""The tag of the version, which may be left out."""
UTC_TIME = 0x17
"""The tag of a time whose year has two digits: 1950 to 2049."""

_certificate = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def ends_of(pem: str) -> list[float]:
    """Return when each certificate of a PEM file ends, in seconds UTC, in the order of the file.

    Raises `ValueError` where one cannot be read.
    """
    return [_end(base64.b64decode(text)) for text in _certificate.findall(pem)]


def _end(der: bytes) -> float:
    try:
        _, at, _ = _element(der, 0)
        _, at, _ = _element(der, at)
        tag, _, end = _element(der, at)
        if tag == VERSION:
            at = end
        for _ in ("serial number", "signature", "issuer"):
            _, _, at = _element(der, at)
        _, at, _ = _element(der, at)
        _, _, at = _element(der, at)
        tag, start, end = _element(der, at)
        return _time(tag, der[start:end].decode("ascii"))
    except (IndexError, ValueError) as fault:
        raise ValueError("a certificate does not say when it ends") from fault


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element that begins at `at`, and where its content begins and ends."""
    tag, length = der[at], der[at + 1]
    at += 2
    if length >= 0x80:
        size = length - 0x80
        length = int.from_bytes(der[at : at + size], "big")
        at += size
    return tag, at, at + length


def _time(tag: int, text: str) -> float:
    if tag == UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
