"""IP addresses: one text for each."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.addresses import ip_address, network


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
    assert {str(ip_address(text)) for text in texts} == {str(address)}


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_has_one_text(address: ipaddress.IPv6Address) -> None:
    assume(address.ipv4_mapped is None)
    assert {str(ip_address(text)) for text in (address.exploded, address.compressed.upper(), address.packed)} == {
        str(address)
    }


@given(st.ip_addresses(v=6), st.integers(1, 64), st.data())
def test_ipv6_addresses_of_one_prefix_are_the_same_machines(
    address: ipaddress.IPv6Address, prefix: int, data: st.DataObject
) -> None:
    free = 128 - prefix
    upper = int(address) >> free
    host, bit = data.draw(st.integers(0, 2**free - 1)), data.draw(st.integers(0, prefix - 1))
    same = ipaddress.IPv6Address(upper << free | host)
    other = ipaddress.IPv6Address((upper ^ 1 << bit) << free | host)
    assume(not any(each.ipv4_mapped for each in (address, same, other)))
    assert network(str(address), prefix) == network(str(same), prefix) != network(str(other), prefix)


def test_an_ipv4_address_is_one_machines_and_a_link_is_no_part_of_an_address() -> None:
    assert [network(text, 64) for text in ("192.0.2.1", "192.0.2.2")] == ["192.0.2.1", "192.0.2.2"]
    assert network("fe80::1%eth0", 64) == network("fe80::2", 64)


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.256", "127.1", "::1::", "::ffff:1.2.3"])
def test_what_is_no_address_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        str(ip_address(text))
