"""When certificates end: of those with two digits of the year and with four, and of what is none."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.certificates import ends_of

OURS = Path(__file__).parents[1] / "config" / "tls" / "certificate.pem"


def element(tag: int, content: bytes) -> bytes:
    """An element of DER; a long one has its length in two bytes."""
    size = len(content)
    return bytes([tag, size] if size < 128 else [tag, 0x82, size >> 8, size & 0xFF]) + content


def pem(end: bytes, tag: int = 0x17, *, version: bool = True, issuer: int = 10) -> str:
    """As much of a certificate as comes before its end, and what holds it."""
    begin = element(0x17, b"200101000000Z")
    parts = [
        element(0xA0, element(2, b"\x02")) if version else b"",
        element(2, b"\x01"),
        element(0x30, b""),
        element(0x30, bytes(issuer)),
        element(0x30, begin + element(tag, end)),
    ]
    der = element(0x30, element(0x30, b"".join(parts)))
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


def test_a_real_one() -> None:
    assert ends_of(OURS.read_text()) == [at(2126, 10, 28, 19, 2, 52)]


@pytest.mark.parametrize(
    ("end", "tag", "seconds"),
    [
        (b"270131235959Z", 0x17, at(2027, 1, 31, 23, 59, 59)),
        (b"491231000000Z", 0x17, at(2049, 12, 31)),
        (b"500101000000Z", 0x17, at(1950, 1, 1)),
        (b"20500101000000Z", 0x18, at(2050, 1, 1)),
    ],
)
@pytest.mark.parametrize("version", [True, False])
@pytest.mark.parametrize("issuer", [10, 127, 128, 1000])
def test_each_way_to_write_it(end: bytes, tag: int, seconds: float, version: bool, issuer: int) -> None:
    assert ends_of(pem(end, tag, version=version, issuer=issuer)) == [seconds]


def test_each_of_a_chain_and_none_of_what_has_none() -> None:
    first, second = pem(b"270131235959Z"), pem(b"280131235959Z")
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert ends_of(first + key + second) == [at(2027, 1, 31, 23, 59, 59), at(2028, 1, 31, 23, 59, 59)]
    assert ends_of(key) == []


@pytest.mark.parametrize("end", [b"", b"tomorrow", b"270132000000Z", "2701é".encode()])
def test_one_that_does_not_say_it(end: bytes) -> None:
    with pytest.raises(ValueError, match="does not say when it ends"):
        ends_of(pem(end))


def test_one_that_is_cut() -> None:
    with pytest.raises(ValueError, match="does not say when it ends"):
        ends_of("-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----")
