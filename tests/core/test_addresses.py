"""IP addresses: one text for each."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.addresses import canonical


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_itself_in_whatever_family_it_is_written(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    texts = (
        str(address),
        f"::ffff:{address}",
        mapped.exploded,
        mapped.compressed.upper(),
        address.packed,
        mapped.packed,
    )
    assert {canonical(text) for text in texts} == {str(address)}


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_has_one_text(address: ipaddress.IPv6Address) -> None:
    assume(address.ipv4_mapped is None)
    assert {canonical(text) for text in (address.exploded, address.compressed.upper(), address.packed)} == {
        str(address)
    }


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.256", "127.1", "::1::", "::ffff:1.2.3"])
def test_what_is_no_address_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        canonical(text)
