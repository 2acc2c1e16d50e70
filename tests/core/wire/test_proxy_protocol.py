"""The PROXY protocol: who the client is, from headers cut anywhere."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.proxy_protocol import LONGEST, SIGNATURE, Header, NotProxied, read


def version_2(command: int, family: int, body: bytes, *, version: int = 2, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return SIGNATURE + bytes([version << 4 | command, family << 4 | 1]) + length.to_bytes(2) + body


V4 = ipaddress.ip_address("203.0.113.7").packed + ipaddress.ip_address("192.0.2.1").packed + b"\x30\x39\x10\xd3"
MAPPED = ipaddress.ip_address("::ffff:203.0.113.7").packed * 2 + b"\x30\x39\x10\xd3"
V6 = ipaddress.ip_address("2001:db8::7").packed + ipaddress.ip_address("2001:db8::1").packed + b"\x30\x39\x10\xd3"
GOOD = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 4307\r\n", "203.0.113.7"),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 12345 4307\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 12345 4307\r\n", "203.0.113.7"),
    (b"PROXY TCP6 0:0:0:0:0:FFFF:CB00:7107 ::ffff:192.0.2.1 12345 4307\r\n", "203.0.113.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (version_2(1, 1, V4), "203.0.113.7"),
    (version_2(1, 2, V6), "2001:db8::7"),
    (version_2(1, 2, MAPPED), "203.0.113.7"),
    (version_2(1, 1, V4 + b"\x03\x00\x04\x01\x02\x03\x04"), "203.0.113.7"),
    (version_2(0, 0, b""), None),
    (version_2(0, 1, V4), None),
    (version_2(1, 0, b""), None),
    (version_2(1, 2, V6 + bytes(LONGEST - 16 - len(V6))), "2001:db8::7"),
]
BAD = [
    b"\n",
    b'{"type":"hello"}\n',
    b"GET /ws HTTP/1.1\r\n",
    b"proxy TCP4 203.0.113.7 192.0.2.1 12345 4307\r\n",
    b"PROXY  TCP4 203.0.113.7 192.0.2.1 12345 4307\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 12345\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 4307 more\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 12345 4307\r\n",
    b"PROXY TCP6 203.0.113.7 192.0.2.1 12345 4307\r\n",
    b"PROXY TCP4 203.0.113.256 192.0.2.1 12345 4307\r\n",
    b"PROXY TCP4 \xff\xfe 192.0.2.1 12345 4307\r\n",
    b"PROXY UDP4 203.0.113.7 192.0.2.1 12345 4307\r\n",
    b"PROXY \r\n",
    b"PROXY " + b"x" * 101,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    version_2(1, 1, V4, version=1),
    version_2(2, 1, V4),
    version_2(15, 0, b""),
    version_2(1, 3, bytes(216)),
    version_2(1, 1, V4[:-1]),
    version_2(1, 2, V4),
    version_2(1, 1, b"", size=LONGEST - 15),
    SIGNATURE[:-1] + b"X",
]


@pytest.mark.parametrize(("head", "address"), GOOD)
def test_a_good_header_names_the_client_however_it_is_cut(head: bytes, address: str | None) -> None:
    for cut in range(len(head)):
        assert read(head[:cut]) is None
    assert read(head) == Header(len(head), address)


@pytest.mark.parametrize(("head", "address"), GOOD)
def test_what_follows_the_header_is_left_alone(head: bytes, address: str | None) -> None:
    for rest in (b"\x16\x03\x01", b'{"type":"hello"}\n', b"\r\n", head):
        assert read(head + rest) == Header(len(head), address)


@pytest.mark.parametrize("head", BAD)
def test_anything_else_is_not_proxied_and_stays_so_with_more_bytes(head: bytes) -> None:
    for more in (b"", b"\r\n" * 600):
        with pytest.raises(NotProxied):
            read(head + more)


@pytest.mark.parametrize("head", BAD)
def test_a_bad_header_is_never_taken_for_a_good_one_while_it_arrives(head: bytes) -> None:
    for cut in range(len(head)):
        try:
            assert read(head[:cut]) is None
        except NotProxied:
            break


@given(
    st.binary(max_size=40)
    | st.binary(max_size=40).map(SIGNATURE.__add__)
    | st.binary(max_size=99).map(b"PROXY ".__add__)
)
def test_any_bytes_are_a_header_or_incomplete_or_refused(head: bytes) -> None:
    try:
        found = read(head + bytes(LONGEST))
    except NotProxied:
        return
    assert found is not None
    assert found.size <= LONGEST


def test_107_bytes_are_the_most_that_version_1_may_have() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert read(longest) == Header(107, None)
