"""IP addresses: one text for each, which are of this machine, and which are taken for one machine's."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def ip_address(address: str | bytes) -> Address:
    """Return the IP address that is given as text (without its zone, `%eth0`) or packed.

    An IPv4 address that a socket of both families has mapped into IPv6 is itself (RFC 4291, 2.5.5.2). Raises
    `ValueError` where it is no address.
    """
    found = ipaddress.ip_address(address.partition("%")[0] if isinstance(address, str) else address)
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""The IPv4 addresses within IPv6."""


def ip_network(text: str) -> IPNetwork:
    """Return the network that a text names, that of a single address too; one within the IPv4 addresses of IPv6 is the
    one of IPv4.

    Raises `ValueError`, with words for a person, where it names none.
    """
    address, slash, prefix = text.partition("/")
    try:
        base = ipaddress.ip_address(address.partition("%")[0])
        found = ipaddress.ip_network(f"{base}/{prefix}" if slash else base, strict=False)
    except ValueError:
        raise ValueError(f"{text} looks like an address or a network, and is none") from None
    if found.network_address != base:
        raise ValueError(f"{text} has bits set to the right of its prefix: is {found} meant?")
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(MAPPED):
        return ipaddress.IPv4Network((ip_address(found.network_address.packed).packed, found.prefixlen - 96))
    return found


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach a host: an address (IPv6 in brackets or not) or a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


NETWORKS = 4096
"""Networks that are remembered: one takes 30 microseconds to make, and each accept of a socket asks some times."""


@lru_cache(maxsize=NETWORKS)
def _ipv6_network(address: str, prefix: int) -> str:
    found = ip_address(address)
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((found.packed, prefix), strict=False))


def network(address: str, ipv6_prefix: int) -> str:
    """Return whose an address is taken to be where limits are shared: an IPv4 address, or the IPv6 network with a
    prefix of so many bits, since one machine has many IPv6 addresses.

    What is no address, such as the name of a socket file, is its own.
    """
    return _ipv6_network(address, ipv6_prefix) if ":" in address else address
