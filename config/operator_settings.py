"""The settings of operators whom a reverse proxy signs in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from config.values import Form, Host, Network
from gateway.core.names import is_name
from gateway.core.setting_kinds import setting

TAKEN = frozenset({"authorization", "connection", "content-length", "content-type", "cookie", "forwarded", "host",
                   "origin", "transfer-encoding", "upgrade", "via"})  # fmt: skip
"""Headers that have a meaning of their own here."""
FETCH = "sec-"
"""What headers begin with that browsers write."""


def _header(text: str) -> str:
    """RFC 9110, 5.6.2. Without underscores: proxies drop such headers, or take them for those with a dash."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}", text) or text.lower() in TAKEN:
        raise ValueError(text)
    if text.lower().startswith(FETCH):
        raise ValueError(text)
    return text


def _group(text: str) -> str:
    if not is_name(text) or "," in text:
        raise ValueError(text)
    return text


HeaderName = Annotated[str, Form("the name of a header that has no meaning of its own, such as Remote-User", _header)]
ProxyGroup = Annotated[str, Form('the name of a group, without a comma, or "*"', _group)]


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Settings of `[operator]`: operators whom a reverse proxy signs in, beside those with tokens."""

    trust_proxy: tuple[Network, ...] = setting(
        (),
        live=True,
        help="Networks of reverse proxies that sign operators in and name them in a header, which they must take from "
        "nobody else. Whoever comes from there unnamed needs a token, on loopback too.",
    )
    proxy_hosts: tuple[Host, ...] = setting(
        (),
        live=True,
        help="Host names, without a port, under which operators open the proxy, and which it passes on; needed with "
        "`operator.trust_proxy`. A page of another site that goes past the proxy has another one.",
    )
    user_header: HeaderName = setting(
        "Remote-User", live=True, help="The header in which such a proxy names the operator."
    )
    groups_header: HeaderName = setting(
        "Remote-Groups", live=True, help="The header in which it names the operator's groups, with commas between them."
    )
    admin_groups: tuple[ProxyGroup, ...] = setting(
        (), live=True, help='Groups whose members may do everything; "*" for everybody whom the proxy names.'
    )
    read_groups: tuple[ProxyGroup, ...] = setting(
        (), live=True, help='Groups whose members may look; "*" for everybody whom the proxy names.'
    )
