"""Who used the pools as plain data, and back; without what is over and waits for the store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from gateway.core.counting.personal_use import Day, DenialShare, PersonalUse, PoolShares, Share
from gateway.core.counting.pool_json import key_from_json

SHARE = ("held", "first", "since", "seat_seconds", "peak", "own_peak", "grants")
DENIED = ("denials", "true_denials", "seated", "wait_seconds", "longest_wait_seconds")


def use_to_json(use: PersonalUse) -> dict[str, Any]:
    """Return it as plain data."""
    return {
        "days": [[each.day, each.part, each.ends] for each in use.days()],
        "offset": use.offset,
        "shares_of_today": use.shares_of_today,
        "places": [
            {
                "shares": [
                    [share.person, share.day.part, _denied(share), *(getattr(share, name) for name in SHARE)]
                    for share in place.by_person.values()
                ],
                "keys": [[key, share.person] for key, share in place.by_key.items()],
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
    use.today = days[-1]
    use.offset = plain["offset"]
    use.shares_of_today = plain["shares_of_today"]
    for place, told in zip(use.places, plain["places"], strict=True):
        _fill_place(place, told, by_part)
    use.turn_all()


def _denied(share: Share) -> list[Any] | None:
    return None if share.denied is None else [getattr(share.denied, name) for name in DENIED]


def _fill_place(place: PoolShares, told: Mapping[str, Any], days: Mapping[int, Day]) -> None:
    place.by_person.clear()
    place.by_key.clear()
    place.by_account.clear()
    for (account, home, device, address), part, denied, *values in told["shares"]:
        share = Share((account, home, device, address), days[part], 0.0)
        for name, value in zip(SHARE, values, strict=True):
            setattr(share, name, value)
        if denied is not None:
            share.denied = DenialShare()
            for name, value in zip(DENIED, denied, strict=True):
                setattr(share.denied, name, value)
        place.add(share)
    for key, (account, home, device, address) in told["keys"]:
        place.by_key[key_from_json(key)] = place.by_person[account, home, device, address]
