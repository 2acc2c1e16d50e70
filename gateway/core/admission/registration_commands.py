"""Commands about the license that the gateways of a cluster have together; `commands` has all the others."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from gateway.core.admission.command_values import OneOf
from gateway.core.registration.grant import Grant
from gateway.core.setting_kinds import Count


class SetInstallation(NamedTuple):
    """Name the cluster as an installation of its license, once and for all."""

    installation: str


class RegistrarSaid(NamedTuple):
    """The registrar has provably said something to the agent of the cluster, or the connection to it is lost.

    `registered` brings a grant and the seconds to the next answer; that and `verified` bring a ticket and the
    registrar's time (seconds UTC), where it said one; `revoked` has a reason; `in_use` is by another installation.
    """

    said: Annotated[str, OneOf(frozenset({"registered", "verified", "revoked", "in_use", "lost"}))]
    grant: Grant | None = None
    interval: Count = 0
    ticket: str = ""
    reason: str = ""
    told: float | None = None


def said_from_json(told: list[Any]) -> RegistrarSaid:
    """Return what was written of a `RegistrarSaid`.

    Raises `TypeError` or `ValueError` where it is not valid.
    """
    said, grant, *rest = told
    return RegistrarSaid(said, grant_from_json(grant), *rest)


def grant_from_json(told: list[Any] | None) -> Grant | None:
    """Return the grant whose fields were written, in order.

    Raises `TypeError` or `ValueError` where they are not valid.
    """
    if told is None:
        return None
    model, edition, limits, extensions, *rest = told
    if not all(isinstance(pool, str) and type(limit) is int and limit >= 0 for pool, limit in dict(limits).items()):
        raise ValueError("limits of pools were expected")
    return Grant(model, edition, dict(limits), tuple(extensions), *rest)
