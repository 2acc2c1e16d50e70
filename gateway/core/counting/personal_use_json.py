"""Who used the pools as plain data, and back; without what is over and waits for the store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from gateway.core.counting.personal_use import OnlySeat, OnlyVisit, PersonalUse, PoolShares
from gateway.core.counting.pool_json import key_from_json, person_from_json
from gateway.core.counting.session import Person, identity
from gateway.core.counting.use_shares import Day, DenialShare, OwnSeats, Share

SHARE = ("held", "first", "since", "seat_seconds", "peak", "own_peak", "grants")
DENIED = ("denials", "true_denials", "seated", "wait_seconds", "longest_wait_seconds")


def use_to_json(use: PersonalUse) -> dict[str, Any]:
    """Return it as plain data."""
    return {
        "days": [[each.day, each.part, each.begins, each.ends, each.offset] for each in use.days()],
        "shares_of_today": use.shares_of_today,
        "places": [
            {
                "shares": [[person, *_share_to_json(found)] for person, found in place.by_person.items()],
                "charged": [[key, person] for key, person in place.charged.items()],
            }
            for place in use.places
        ],
    }


def fill_use(use: PersonalUse, plain: Mapping[str, Any]) -> None:
    """Fill that of a new state with what was written, place by place."""
    days = [Day(*each) for each in plain["days"]]
    for day, following in pairwise(days):
        day.next = following
    by_part = {day.part: day for day in days}
    use.oldest, use.today = days[0], days[-1]
    use.shares_of_today = plain["shares_of_today"]
    use.persons.clear()
    for place, told in zip(use.places, plain["places"], strict=True):
        _fill_place(place, told, by_part)
    use.turn_all()


def _share_to_json(found: OnlySeat | OnlyVisit | Share) -> list[Any]:
    """Return plain data. Of an only seat the instant of its grant and None, or None and the day at whose beginning it
    was held already; with its end where it is over. Of a share its day and all its fields.
    """
    if isinstance(found, tuple):
        return [*_share_to_json(found[0]), found[1]]
    if isinstance(found, Day):
        return [None, found.part]
    if not isinstance(found, Share):
        return [found, None]
    denied = None if found.denied is None else [getattr(found.denied, name) for name in DENIED]
    return [None, found.day.part, found.own is not None, denied, *(getattr(found, name) for name in SHARE)]


def _fill_place(place: PoolShares, told: Mapping[str, Any], days: Mapping[int, Day]) -> None:
    place.by_person.clear()
    place.charged.clear()
    place.own_seats.clear()
    for plain, granted, part, *values in told["shares"]:
        person = person_from_json(plain)
        seat = granted if part is None else days[part]
        place.by_person[person] = (seat, *values, False) if len(values) == 1 else seat
        if person[0]:
            place.use.persons.add(identity(*person[:2]), person)
        if len(values) > 1:
            place.by_person[person] = _share_from_json(place, person, days[part], values)
    for key, plain in told["charged"]:
        place.charged[key_from_json(key)] = person_from_json(plain)


def _share_from_json(place: PoolShares, person: Person, day: Day, plain: list[Any]) -> Share:
    shares_account, denied, *values = plain
    share = Share(person, day, 0.0)
    for name, value in zip(SHARE, values, strict=True):
        setattr(share, name, value)
    if denied is not None:
        share.denied = DenialShare()
        for name, value in zip(DENIED, denied, strict=True):
            setattr(share.denied, name, value)
    if shares_account:
        share.own = own = place.own_seats.setdefault(identity(*person[:2]), OwnSeats())
        own.held += share.held
        own.shares += 1
    return share
