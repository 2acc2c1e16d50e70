"""Operators whom a reverse proxy has signed in: who asks, and with which scope.

The proxy names the operator in one header and the operator's groups in another. That is believed of peers in
`operator.trust_proxy` only. A page of another site that finds a way past the proxy (DNS rebinding) can send any header,
but not the Host of the proxy: so that must be one of `operator.proxy_hosts`.

In the audit log such an operator has `proxy:` before the name, which no token's name begins with.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from config.operator_settings import OperatorSettings
from gateway.core.addresses import IPNetwork, ip_address
from gateway.core.names import is_name, normalized
from gateway.edge.api.routes import ADMIN, READ
from gateway.edge.storage.audit_log import PROXIED

EVERYBODY = "*"
NOTHING = ""
"""The scope of an operator none of whose groups has one."""


def trusts(settings: OperatorSettings, address: str) -> bool:
    """Return whether a proxy at `address` is believed who it signs in."""
    if not settings.trust_proxy:
        return False
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in each for each in _networks(settings.trust_proxy))


def signs_in_admins(settings: OperatorSettings) -> bool:
    """Return whether somebody may administer the gateway without a token of it."""
    return bool(settings.trust_proxy and settings.admin_groups)


def named_by(settings: OperatorSettings, headers: CIMultiDictProxy[str]) -> tuple[str, str] | None:
    """Return the name, as the audit log has it, and the scope of whom a proxy names; None where it names nobody.

    Raises `ValueError` where it names somebody in a way that cannot be believed.
    """
    users = headers.getall(settings.user_header, [])
    if not any(users):
        return None
    if len(users) > 1:
        raise ValueError(f"there is more than one {settings.user_header}: the proxy must replace what a client sends")
    if not is_name(users[0]):
        raise ValueError(f"{settings.user_header} is no name")
    said = ",".join(headers.getall(settings.groups_header, []))
    return PROXIED + normalized(users[0]), _scope(settings, {each.strip() for each in said.split(",")} | {EVERYBODY})


def host_of(headers: CIMultiDictProxy[str]) -> str:
    """Return the host that a request was sent to, without its port, in lower case."""
    host = headers.get(hdrs.HOST, "")
    name = host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return name.lower()


def _scope(settings: OperatorSettings, groups: set[str]) -> str:
    if not groups.isdisjoint(settings.admin_groups):
        return ADMIN
    return NOTHING if groups.isdisjoint(settings.read_groups) else READ


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, texts))
