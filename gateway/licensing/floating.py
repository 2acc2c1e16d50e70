"""Floating seats: the general software license, for products that are not conferencing at all.

Counted once, from `welcome` to the end of the session: every connection, device, account or address, as `key` says;
with `asleep_counts` off, only while the session is awake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.core.addresses import ip_address
from gateway.core.counting.license_model import (
    CONNECTION_ENDS,
    FORGOTTEN,
    PREEMPTED,
    SLEEP_ENDS,
    LicenseModel,
    PoolTerms,
)
from gateway.core.counting.session import Key, Seat, Session, identity
from gateway.core.names import folded, is_account, is_name, normalized, split_names
from gateway.core.setting_kinds import Count, Seconds, setting
from gateway.licensing.model_info import ModelInfo, PoolInfo, TermsRule


@dataclass(frozen=True, slots=True)
class Floating:
    """Settings of `[license.floating]`."""

    limit: Count = setting(0, live=True, help="Seats, 0 for no limit.")
    key: Literal["connection", "device", "account", "address"] = setting("connection", help="What takes one seat.")
    linger: Seconds = setting(0.0, help="How long a seat is kept for its key after an abrupt loss of the connection.")
    asleep_counts: bool = setting(
        True, help="Whether a session that said it sleeps keeps its seat; if not, waking up asks for one again."
    )
    reserve: tuple[str, ...] = setting(
        (),
        help="Keys that always hold a seat: account, `account/device` or address, as `key` says. An account of another "
        "server is `account/home`; within a name `/` is `%2F`, and `%` is `%25`.",
    )


def floating(terms: Floating) -> LicenseModel:
    """Return the model: one seat for each `key` that has a session, in a conference or not."""

    def seats(session: Session) -> tuple[Seat, ...]:
        if session.rest == PREEMPTED and not session.awake:
            return ()
        return (("seats", _key(terms.key, session)),)

    def seats_awake(session: Session) -> tuple[Seat, ...]:
        return (("seats", _key(terms.key, session)),) if session.awake else ()

    reserve = tuple(key for text in terms.reserve if (key := _reserved(terms.key, text)) is not None)
    causes = (
        *CONNECTION_ENDS,
        *(["redistributed"] if reserve else ()),
        *([FORGOTTEN] if terms.linger else ()),
        *([PREEMPTED] if terms.asleep_counts else SLEEP_ENDS),
    )
    pool = PoolTerms("seats", terms.limit or None, causes, linger=terms.linger, reserve=reserve, keys=terms.key)
    return LicenseModel("floating", pools=(pool,), seats=seats if terms.asleep_counts else seats_awake)


def _key(key: str, session: Session) -> Key:
    """Return what is counted once; a session without an account counts by its connection."""
    who = session.identity
    if key == "address":
        return session.address
    if who is None or key == "connection":
        return session.number
    return who if key == "account" else (who, session.device or session.number)


RESERVABLE = {"account": "an account", "device": '"account/device"', "address": "an IP address"}
"""What can be reserved, for people; the number of a connection is not known before it is there."""


def _reserved(key: str, text: str) -> Key | None:
    """Return the key that a text reserves, as sessions have it; None where none can have it.

    An account of another home is written with its home, "ann/partner.example", and its device comes last.
    """
    if key == "address":
        try:
            return str(ip_address(text))
        except ValueError:
            return None
    try:
        *names, device = split_names(text) if key == "device" else (*split_names(text), "")
    except ValueError:
        return None
    if key == "connection" or not 1 <= len(names) <= 2 or not all(map(is_account, names)):
        return None
    who = identity(folded(names[0]), folded(names[1]) if len(names) > 1 else "")
    if key == "account":
        return who
    return (who, normalized(device)) if is_name(device) else None


def _reserve_fits(terms: Floating) -> Iterator[tuple[str, str]]:
    if terms.reserve and terms.key not in RESERVABLE:
        yield "reserve", f'has keys, but with license.floating.key = "{terms.key}" none can be reserved'
        return
    keys = [_reserved(terms.key, text) for text in terms.reserve]
    for text, key in zip(terms.reserve, keys, strict=True):
        if key is None:
            yield "reserve", f'"{text[:60]}" is not {RESERVABLE[terms.key]}, as license.floating.key asks'
    reserved = len(set(keys))
    if terms.limit and reserved > terms.limit:
        yield "reserve", f"has {reserved} keys, license.floating.limit is {terms.limit}"


FLOATING = ModelInfo(
    "floating",
    "Floating",
    Floating,
    floating,
    {"seats": PoolInfo("Seats", "seat", "seats", limit="limit")},
    product="floating",
    rules=(TermsRule(("reserve", "limit", "key"), _reserve_fits),),
)
