"""The records of the models: each is whole, and says what a person reads."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest

from gateway.core.registration.grant import Grant
from gateway.licensing import DEFAULT_MODEL, MODELS, redistribution_interval
from gateway.licensing.model_info import PoolInfo, PoolNeed
from gateway.licensing.trueconf import TrueConf


def usual_terms() -> dict[str, Any]:
    return {name: info.terms() for name, info in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_record_describes_the_model_it_makes(name: str) -> None:
    info = MODELS[name]
    model = info.model(info.terms())
    assert model.name == info.name == name
    assert set(info.pools) == {pool.name for pool in model.pools}
    assert all(pool.title and pool.seat and pool.seats for pool in info.pools.values())
    settings = {field.name for field in fields(info.terms)}
    assert settings >= {*info.limits.values(), *filter(None, [info.redistribute_every])}
    assert settings >= {field for rule in info.rules for field in rule.fields}
    assert set(info.needs_connection) <= set(info.editions)
    assert model.edition is None or model.edition in info.editions


@pytest.mark.parametrize("name", MODELS)
def test_what_is_told_of_rights_is_told_by_pool(name: str) -> None:
    info = MODELS[name]
    for edition in info.editions:
        assert info.rights is None or set(info.rights(edition)) <= set(info.pools)


def test_one_model_is_the_one_of_a_license_that_names_none() -> None:
    assert [name for name, info in MODELS.items() if info.sold_by_default] == [DEFAULT_MODEL] == ["trueconf"]


def test_the_titles_are_those_of_people() -> None:
    assert MODELS["nefsis-named"].titles() == {
        "title": "Nefsis named hosts",
        "pools": {"hosts": "Named hosts", "participants": "Participants"},
    }


def test_one_seat_is_counted_in_the_singular() -> None:
    pool = PoolInfo("Guests", "guest", "guests", limit="guest")
    assert [pool.counted(number) for number in (0, 1, 2)] == ["0 guests", "1 guest", "2 guests"]


@pytest.mark.parametrize(
    ("model", "needs", "phrase"),
    [
        ("epop", {"concurrent": PoolNeed(1)}, "e/pop: 1 user"),
        ("nefsis-concurrent", {"concurrent": PoolNeed(9)}, "Nefsis: 9 users"),
        ("floating", {"seats": PoolNeed(2)}, "floating: 2 seats"),
        (
            "trueconf",
            {"online": PoolNeed(4), "pro": PoolNeed(3), "guest": PoolNeed(1), "gateway": PoolNeed(0)},
            "TrueConf: 3 PRO / 4 online / 1 guest / 0 gateway connections",
        ),
        (
            "nefsis-named",
            {"hosts": PoolNeed(5), "participants": PoolNeed(None, 25)},
            "Nefsis 5 \N{MULTIPLICATION SIGN} 25: 5 hosts, 25 in one conference",
        ),
        (
            "nefsis-named",
            {"hosts": PoolNeed(7), "participants": PoolNeed(None, 25)},
            "Nefsis 5 \N{MULTIPLICATION SIGN} 25: not possible, 7 hosts",
        ),
        (
            "nefsis-named",
            {"hosts": PoolNeed(1), "participants": PoolNeed(None, 26)},
            "Nefsis 5 \N{MULTIPLICATION SIGN} 25: not possible, 1 host, 26 in one conference",
        ),
    ],
)
def test_what_demand_would_have_needed_is_one_phrase(model: str, needs: dict[str, PoolNeed], phrase: str) -> None:
    info = MODELS[model]
    assert info.sizing_phrase(info.terms(), needs) == phrase


@pytest.mark.parametrize("name", MODELS)
def test_a_record_leaves_alone_what_a_license_does_not_change(name: str) -> None:
    info = MODELS[name]
    grant = Grant(name, "".join(info.editions[:1]), {}, ("x",))
    assert info.sold(info.terms(), grant) == info.terms()
    assert set(info.extensions(grant)) == {"x"}


def test_permanent_licenses_are_redistributed_as_often_as_the_most_eager_model_asks() -> None:
    terms = usual_terms()
    assert redistribution_interval(terms) == 24 * 3600.0
    assert redistribution_interval({**terms, "trueconf": replace(TrueConf(), redistribute_every=60.0)}) == 60.0


def test_without_a_model_that_redistributes_it_is_never_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MODELS, "trueconf")
    assert redistribution_interval(usual_terms()) == math.inf
