"""IP addresses: one text for each, which are taken for one machine's, and which are this machine."""

from __future__ import annotations

import ipaddress


def canonical(address: str | bytes) -> str:
    """The one text of an address, which is given as text or packed: IPv4 as a.b.c.d, IPv6 as RFC 5952 writes it.

    An IPv4 address that a socket of both families has mapped into IPv6 is itself (RFC 4291, 2.5.5.2). Raises
    `ValueError` where it is no address.
    """
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def network(address: str) -> str:
    """Whose an address is taken to be where limits are shared: an IPv4 address, or the /64 that one machine has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((ipaddress.IPv6Address(address).packed, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address (IPv6 with or without its brackets), is this machine by its very text."""
    try:
        return ipaddress.ip_address(canonical(host.removeprefix("[").removesuffix("]"))).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
