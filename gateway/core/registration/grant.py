"""What a license grants: its model, edition, limits and extensions, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.formats import instant, utc
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import RequestFault


class Grant(NamedTuple):
    """What a license grants: limits by pool (pools not named keep the edition's default), and until when.

    `not_after` is in seconds UTC, None for no end; `needs_connection` says that it runs out without the registrar.
    """

    model: str
    edition: str
    limits: Mapping[str, int]
    extensions: tuple[str, ...] = ()
    needs_connection: bool = False
    not_after: float | None = None

    def to_json(self) -> Message:
        """The grant as the fields of a message."""
        return {
            "model": self.model,
            "edition": self.edition,
            "limits": dict(self.limits),
            "extensions": list(self.extensions),
            "needs_connection": self.needs_connection,
            "not_after": utc(self.not_after),
        }


class LicensableModel(NamedTuple):
    """What a license can name of a model: its pools, its editions (the usual one first) and its extensions.

    `needs_connection` are the editions that need the registrar unless the license says otherwise; `by_default` says
    that a license which names no model is one of this.
    """

    pools: tuple[str, ...]
    editions: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    needs_connection: tuple[str, ...] = ()
    by_default: bool = False


def granted(fields: Mapping[str, Any], offers: Mapping[str, LicensableModel]) -> Grant:
    """The grant in the checked fields of a message; `offers` tells what each license model has.

    Raises `Fault` where the model is unknown or does not have the edition or one of the pools.
    """
    model, limits = fields["model"], fields["limits"] or {}
    if model not in offers:
        raise RequestFault("bad_field", f"model: expected one of {', '.join(offers)}")
    pools, editions, _, needs_connection, _ = offers[model]
    edition = fields["edition"] or "".join(editions[:1])
    for pool in limits:
        if pool not in pools:
            raise RequestFault("bad_field", f"limits: {model} has no pool {pool}; expected {', '.join(pools)}")
    if editions and edition not in editions:
        raise RequestFault("bad_field", f"edition: {model} has {', '.join(editions)}")
    end = fields["not_after"]
    return Grant(
        model,
        edition,
        dict(limits),
        tuple(dict.fromkeys(fields["extensions"] or ())),
        edition in needs_connection if fields["needs_connection"] is None else fields["needs_connection"],
        None if end is None else instant(end),
    )
