"""The models under a license that was sold: whose limits hold, and what an edition and its extensions bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import pytest

from gateway.core.counting.license_model import LicenseModel
from gateway.core.registration.grant import Grant
from gateway.licensing import MODELS, OFFERS, under
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import CoreHarness

CONFIGURED: dict[str, Any] = {
    "epop": Epop(users=999),
    "nefsis-concurrent": NefsisConcurrent(users=999),
    "nefsis-named": NefsisNamed(hosts=999, participants=998, naming="listed", host_is_participant=False),
    "trueconf": TrueConf(
        edition="enterprise",
        support="full",
        pro=999,
        online=998,
        online_packs=(500,),
        guest=997,
        gateway=996,
        sdk=True,
        pro_lease=60.0,
        allow_pro_requests=True,
        max_conferences=995,
        max_participants=994,
    ),
    "floating": Floating(limit=999, key="account", linger=7.0, reserve=("ann",)),
}
"""Terms that an operator has set, all other than the defaults."""


def sold(
    model: str, edition: str = "", extensions: tuple[str, ...] = (), limits: Mapping[str, int] = MappingProxyType({})
) -> Grant:
    usual = "".join(OFFERS[model].editions[:1])
    return Grant(model, edition or usual, limits, extensions)


def limits_of(terms: Any, model: str) -> dict[str, int | None]:
    """The limits of the pools that a model has under these terms."""
    return {pool.name: pool.limit for pool in MODELS[model].model(terms).pools}


def test_every_model_is_offered_with_the_pools_it_has() -> None:
    for name, offer in OFFERS.items():
        model = MODELS[name]
        assert set(offer.pools) == {pool.name for pool in model.model(model.terms()).pools}
        assert {field.name for field in fields(model.terms)} >= set(model.limits.values())


@pytest.mark.parametrize("model", MODELS)
def test_what_was_configured_for_pools_that_a_license_does_not_name_does_not_count(model: str) -> None:
    terms = under(sold(model), CONFIGURED[model])
    usual = MODELS[model].terms()
    for field in MODELS[model].limits.values():
        assert getattr(terms, field) == getattr(usual, field) != getattr(CONFIGURED[model], field)
    assert limits_of(terms, model) == limits_of(usual, model)


@pytest.mark.parametrize(("model", "pool"), [(name, pool) for name, offer in OFFERS.items() for pool in offer.pools])
def test_a_pool_that_a_license_names_has_its_limit_and_the_others_their_default(model: str, pool: str) -> None:
    terms = under(sold(model, limits={pool: 123}), CONFIGURED[model])
    usual = MODELS[model].terms()
    for each, field in MODELS[model].limits.items():
        assert getattr(terms, field) == (123 if each == pool else getattr(usual, field))


@pytest.mark.parametrize("model", MODELS)
def test_what_is_no_limit_stays_as_it_was_configured(model: str) -> None:
    terms = under(sold(model, limits=dict.fromkeys(OFFERS[model].pools, 5)), CONFIGURED[model])
    sold_too = {"edition", "support", "online_packs", "sdk"}
    for field in fields(terms):
        if field.name not in {*MODELS[model].limits.values(), *sold_too}:
            assert getattr(terms, field.name) == getattr(CONFIGURED[model], field.name)


@pytest.mark.parametrize(
    ("edition", "limits", "expected"),
    [
        ("server", {}, {"online": 15, "pro": 10, "guest": 1, "gateway": 1}),
        ("server", {"pro": 25}, {"online": 38, "pro": 25, "guest": 1, "gateway": 1}),
        ("server", {"pro": 25, "online": 30, "guest": 0}, {"online": 30, "pro": 25, "guest": 0, "gateway": 1}),
        ("enterprise", {"online": 30, "pro": 5}, {"online": 30, "pro": None, "guest": 1, "gateway": 1}),
        ("free", {}, {"online": 1000, "pro": 10, "guest": 1, "gateway": 1}),
        ("free", {"pro": 5}, {"online": 1000, "pro": 5, "guest": 1, "gateway": 1}),
    ],
)
def test_the_pools_of_a_trueconf_license(edition: str, limits: dict[str, int], expected: dict[str, int | None]) -> None:
    grant = Grant("trueconf", edition, limits)
    assert limits_of(under(grant, CONFIGURED["trueconf"]), "trueconf") == expected


def test_packs_support_and_sdk_are_the_licenses_to_give() -> None:
    terms = under(sold("trueconf"), CONFIGURED["trueconf"])
    assert (terms.online_packs, terms.support, terms.sdk) == ((), "basic", False)
    assert under(sold("trueconf", extensions=("sdk",)), TrueConf()).sdk
    assert under(sold("trueconf", extensions=("support-extended", "support-full")), TrueConf()).support == "full"
    assert under(sold("trueconf", extensions=("support-extended",)), TrueConf(support="full")).support == "extended"
    packs = under(sold("trueconf", extensions=("online-pack-50", "online-pack-300")), TrueConf(online_packs=(500,)))
    assert packs.online_packs == (50, 300)
    free = sold("trueconf", edition="free", extensions=("sdk", "ai"))
    assert not under(free, TrueConf()).sdk
    shown = with_grant(trueconf(under(free, TrueConf())), free).extensions
    assert {each.name for each in shown if each.licensed} >= {"ai"}
    assert "sdk" not in {each.name for each in shown if each.licensed}


# -- the free edition --------------------------------------------------------------------------------------------------


def free(**configured: Any) -> CoreHarness:
    """A gateway under a free license, whatever was configured."""
    terms = under(sold("trueconf", "free", limits={"pro": 50}), replace(CONFIGURED["trueconf"], **configured))
    return CoreHarness(trueconf(terms), homes=("far",))


@pytest.mark.parametrize("configured", [None, 0, 2, 999])
def test_the_free_edition_has_one_live_group_conference(configured: int | None) -> None:
    house = free(max_conferences=configured)
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, "a")
    assert house.join(bob, "b") | {"reason": "conference_limit", "used": 1, "limit": 1} == house.join(bob, "b")
    house.joined(bob, "call", mode="call")


@pytest.mark.parametrize(("configured", "most"), [(None, 10), (0, 10), (11, 10), (999, 10), (10, 10), (9, 9), (2, 2)])
def test_a_conference_of_the_free_edition_has_ten_members_unless_the_operator_wants_fewer(
    configured: int | None, most: int
) -> None:
    house = free(max_participants=configured)
    sessions = [house.hello(f"user-{number}") for number in range(most + 1)]
    for session in sessions[:most]:
        house.joined(session)
    answer = house.join(sessions[most])
    assert (answer["reason"], answer["used"], answer["limit"]) == ("conference_full", most, most)
    assert len(house.state.conferences.by_id["room"].members) == most


def test_the_free_edition_has_one_guest_and_one_gateway_connection() -> None:
    house = free()
    house.joined(house.hello("ann"), access="public")
    house.joined(house.hello())
    house.joined(house.hello(kind="sip"))
    for kind, pool in (("app", "guest"), ("rtsp", "gateway")):
        answer = house.join(house.hello(kind=kind))
        assert (answer["reason"], answer["pool"], answer["limit"]) == ("pool_full", pool, 1)


def test_the_free_edition_has_no_permanent_pro_no_federation_and_no_sdk() -> None:
    house = free()
    assert not house.state.primary.model.allows_reservations
    for facts in ({"home": "far"}, {"kind": "sdk"}):
        _, outcome = house.knock("ann", **facts)
        assert outcome.refused is not None
        assert outcome.refused.reason == "extension_missing"


# -- extensions --------------------------------------------------------------------------------------------------------


def with_grant(model: LicenseModel, grant: Grant) -> LicenseModel:
    """The model with the extensions that a license brings."""
    return model.with_extensions(MODELS[grant.model].extensions(grant))


def licensed(grant: Grant) -> set[str]:
    model = with_grant(trueconf(under(grant, TrueConf())), grant)
    return {each.name for each in model.extensions if each.licensed}


def test_a_license_adds_the_extensions_it_names_to_those_of_its_edition() -> None:
    plain = licensed(sold("trueconf"))
    assert licensed(sold("trueconf", extensions=("dlp", "ai", "sdk"))) == plain | {"dlp", "ai", "sdk"}
    assert "dlp" in licensed(sold("trueconf", "enterprise"))
    assert licensed(sold("trueconf", extensions=("unheard-of",))) == plain


@pytest.mark.parametrize("model", MODELS)
def test_extensions_change_nothing_else_of_a_model(model: str) -> None:
    made = MODELS[model].model(MODELS[model].terms())
    again = with_grant(made, sold(model, extensions=("sdk", "dlp")))
    assert [each.name for each in again.extensions] == [each.name for each in made.extensions]
    for field in fields(made):
        if field.name != "extensions":
            assert getattr(again, field.name) == getattr(made, field.name)
