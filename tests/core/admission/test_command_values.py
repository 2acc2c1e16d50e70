"""A command that was read has values of the kinds of its fields, or it is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.decision import Withdraw
from gateway.licensing import MODELS
from tests.core.admission.random_day import RandomDay

DIGEST = "5e" * 32
STRANGE: list[Any] = [None, True, 7, -1, 10**30, 1.5, float("nan"), 1e300, "x", "\ud800", [], ["x"], {}, {"x": 1}]


def variants(plain: Any, random: Random) -> Iterator[Any]:
    """Yield what was written with one value of it replaced by something strange, at any depth."""
    if isinstance(plain, list | dict):
        places = range(len(plain)) if isinstance(plain, list) else plain
        for place in places:
            yield _with(plain, place, random.choice(STRANGE))
            for variant in variants(plain[place], random):
                yield _with(plain, place, variant)


def _with(plain: Any, place: Any, value: Any) -> Any:
    copied = plain.copy()
    copied[place] = value
    return copied


@pytest.mark.parametrize("seed", range(3))
def test_a_value_of_another_kind_is_refused_before_anything_is_changed(seed: int) -> None:
    day, random = RandomDay(seed), Random(seed)  # noqa: S311 - the same each time
    read = refused = 0
    for command, at, _ in day.commands(150):
        written = json.loads(json.dumps(c.to_json(command)))
        strange = [each for each in variants(written, random) if each != written]
        for plain in random.sample(strange, min(len(strange), 3)):
            try:
                found = c.from_json(plain, MODELS)
            except (LookupError, TypeError, ValueError):
                refused += 1
                continue
            read += 1
            before = state_json.digest(day.state)
            try:
                apply(day.state, found, at)
            except LookupError:
                assert state_json.digest(day.state) == before, plain
    assert refused > 100
    assert read > 10, "another text of the same kind is a command like any other"


@pytest.mark.parametrize(
    "written",
    [
        ["Hello", "fridge", "ann", "d", "", "", "192.0.2.1", "tcp"],
        ["Hello", "app", "\udc00", "d", "", "", "192.0.2.1", "tcp"],
        ["Hello", "app", "ann", "d", "", "", "192.0.2.1", "pigeon"],
        ["Hello", "app", "ann", "d", "", "", "192.0.2.1", "tcp", DIGEST[2:]],
        ["Hello", "app", "ann"],
        ["Join", True, "room"],
        ["Join", 1, "room", 1],
        ["Join", 2**60, "room"],
        ["Join", 1, "room", False, "secret"],
        ["Wait", ["End", 1, "bye"], 5],
        ["Wait", ["Wake", 1], 0],
        ["Wait", ["Wake", "1"], 5],
        ["End", 1, "boredom"],
        ["KickSession", 1, float("inf")],
        ["KickSession", 1, -1.0],
        ["PutBan", ["account", "ann", ""], 1e300],
        ["PutBan", ["network", "192.0.2.1/8", ""], 60.0],
        ["PutBan", ["planet", "mars", ""], 60.0],
        ["PutConference", "room", ["public", "group", "no", ""]],
        ["PutGroup", "board", ["ann", 7], True],
        ["KickAccount", ["ann"]],
        ["AddAccountToken", "ann", "zz" * 32],
        ["AddOperatorToken", "ops", "owner", DIGEST],
        ["SetGranting", 1],
        ["SetInstallation", None],
        ["RegistrarSaid", "hello"],
        ["RegistrarSaid", "registered", ["epop", "", {"concurrent": -1}, [], False, None]],
        ["RegistrarSaid", "registered", ["epop", "", {"concurrent": 1.5}, [], False, None]],
        ["RegistrarSaid", "registered", ["epop", 7, {}, [], False, None]],
        ["RegistrarSaid", "registered", {"model": "epop"}],
        ["SetTerms", {}],
        ["Nothing"],
        ["Tick", 1],
    ],
)
def test_it_is_told_what_no_field_takes(written: list[Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        c.from_json(written, MODELS)


@pytest.mark.parametrize(
    ("key", "value"),
    [("overdraft", -1), ("on_duplicate", "ask"), ("offsets", [[0.0]]), ("max_memberships", 0), ("model", None)],
)
def test_terms_are_of_their_kinds_too(key: str, value: object) -> None:
    terms = RandomDay(1).state.terms.to_json()
    c.from_json(["SetTerms", terms], MODELS)
    with pytest.raises((LookupError, TypeError, ValueError)):
        c.from_json(["SetTerms", {**terms, key: value}], MODELS)
    for other in ({"most": -1}, {"each": "city"}, {"network": "ten"}, {"network": True}, {"mosst": 1}):
        rule = {"name": "1", "pool": "seats", "most": 1}
        c.from_json(["SetTerms", {**terms, "rules": [rule]}], MODELS)
        with pytest.raises((TypeError, ValueError)):
            c.from_json(["SetTerms", {**terms, "rules": [rule | other]}], MODELS)
    terms["licenses"]["epop"]["users"] = -1
    with pytest.raises(ValueError, match="users"):
        c.from_json(["SetTerms", terms], MODELS)


def test_what_is_only_sent_back_or_shown_may_be_as_it_came() -> None:
    for id in (10**30, "\ud800", None):
        assert c.from_json(["Wait", ["Wake", 1], 5, id], MODELS) == c.Wait(c.Wake(1), 5, id)
    hello = c.from_json(["Hello", "app", None, None, "", "\ud800", "192.0.2.1", "tcp", DIGEST], MODELS)
    assert isinstance(hello, c.Hello)


def test_a_withdrawal_of_what_does_not_count_changes_nothing() -> None:
    day = RandomDay(2)
    list(day.commands(60))
    withdraw = next(each for each in day.undoable if each.leases)
    other = withdraw.leases[0]._replace(pool="moon")
    strange = c.from_json(c.to_json(withdraw._replace(leases=(*withdraw.leases, other))), MODELS)
    assert isinstance(strange, Withdraw)
    before = state_json.digest(day.state)
    with pytest.raises(KeyError):
        apply(day.state, strange, day.now)
    assert state_json.digest(day.state) == before
