"""Floating seats: the general software license, for products that are not conferencing at all.

Counted once, from `welcome` to the end of the session: every connection, device, account or address, as `key` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.core.counting.license_model import CONNECTION_ENDS, FORGOTTEN, LicenseModel, PoolTerms
from gateway.core.counting.session import Key, Seat, Session
from gateway.core.setting_kinds import Count, Seconds, setting
from gateway.licensing.model_info import ModelInfo, PoolInfo, TermsRule


@dataclass(frozen=True, slots=True)
class Floating:
    """Settings of `[license.floating]`."""

    limit: Count = setting(0, live=True, help="Seats, 0 for no limit.")
    key: Literal["connection", "device", "account", "address"] = setting("connection", help="What takes one seat.")
    linger: Seconds = setting(0.0, help="How long a seat is kept for its key after an abrupt loss of the connection.")
    reserve: tuple[str, ...] = setting(
        (), help="Keys that always hold a seat: account, `account/device` or address, as `key` says."
    )


def floating(terms: Floating) -> LicenseModel:
    """Return the model: one seat for each `key` that has a session, in a conference or not."""

    def seats(session: Session, _: bool) -> tuple[Seat, ...]:
        return (("seats", _key(terms.key, session)),)

    reserve = tuple(_reserved(terms.key, text) for text in terms.reserve)
    causes = (*CONNECTION_ENDS, *(["redistributed"] if reserve else ()), *([FORGOTTEN] if terms.linger else ()))
    pool = PoolTerms("seats", terms.limit or None, causes, linger=terms.linger, reserve=reserve)
    return LicenseModel("floating", pools=(pool,), seats=seats)


def _key(key: str, session: Session) -> Key:
    """Return what is counted once; a session without an account counts by its connection."""
    identity = session.identity
    if key == "address":
        return session.address
    if identity is None or key == "connection":
        return session.number
    return identity if key == "account" else (identity, session.device or session.number)


def _reserved(key: str, text: str) -> Key:
    account, slash, device = text.rpartition("/")
    return (account.lower(), device) if key == "device" and slash else text.lower()


def _reserve_fits(terms: Floating) -> Iterator[tuple[str, str]]:
    reserved = len(set(terms.reserve))
    if terms.limit and reserved > terms.limit:
        yield "reserve", f"has {reserved} keys, license.floating.limit is {terms.limit}"


FLOATING = ModelInfo(
    "floating",
    "Floating",
    Floating,
    floating,
    {"seats": PoolInfo("Seats", "seat", "seats", limit="limit")},
    product="floating",
    rules=(TermsRule(("reserve", "limit"), _reserve_fits),),
)
