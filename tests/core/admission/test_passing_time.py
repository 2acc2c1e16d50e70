"""What time brings by itself: redistribution at its hour, the ends of what has run out, other terms."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.state_json import digest
from gateway.core.counting.ledger import Ledger
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import HOUR


def harness(**terms: Any) -> LicensedHarness:
    house = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=1)}, redistribute_every=6 * HOUR, **terms)
    house.state.redistribute_at = -math.inf
    return house


def test_the_first_tick_redistributes_and_then_one_at_its_hour() -> None:
    house = harness()
    house.apply(c.PutGroup("board", ("ann",), True))
    house.wait(0)
    assert house.pro() == {"ann": "permanent"}
    house.apply(c.PutGroup("board", ("bob",), True))
    house.wait(6 * HOUR - 1)
    assert house.pro() == {"ann": "permanent"}
    assert house.state.permanent == ["ann"]
    house.wait(1)
    assert house.pro() == {"bob": "permanent"}
    assert house.state.permanent == ["bob"]


def test_those_beyond_the_pool_are_named_in_order() -> None:
    house = harness()
    house.apply(c.PutGroup("board", ("cid", "ann", "bob"), True))
    assert house.wait(0).beyond_pool == ("bob", "cid")
    assert house.pro() == {"ann": "permanent"}


def test_an_unregistered_gateway_redistributes_when_it_may_again() -> None:
    house = harness()
    house.apply(c.PutGroup("board", ("ann",), True))
    house.apply(c.SetGranting(False))
    house.wait(HOUR)
    assert house.pro() == {}
    house.apply(c.SetGranting(True))
    house.wait(1)
    assert house.pro() == {"ann": "permanent"}


def test_time_that_is_told_twice_changes_nothing_more() -> None:
    house = harness(resume_window=30.0)
    ann = house.hello("ann")
    house.joined(ann)
    house.end(ann, "reset")
    house.wait(7 * HOUR)
    once = digest(house.state)
    decision = house.wait(0)
    assert (decision.changes, decision.notices, decision.closings) == ([], [], [])
    assert digest(house.state) == once


def test_the_same_terms_again_change_nothing() -> None:
    house = LicensedHarness(
        "floating",
        {"floating": Floating(limit=3, key="account", reserve=("ann",)), "trueconf": TrueConf(), "epop": Epop()},
        overdraft=1,
    )
    house.joined(house.hello("bob"))
    house.wait(10)
    before = digest(house.state)
    decision = house.change_terms()
    assert (decision.changes, decision.notices) == ([], [])
    assert digest(house.state) == before


@pytest.mark.parametrize("licenses", [{}, {"epop": Epop(users=7)}])
def test_terms_that_leave_out_a_model_that_counts_are_not_taken_by_half(licenses: dict[str, Any]) -> None:
    house = LicensedHarness("epop", {"epop": Epop(users=9), "nefsis-named": NefsisNamed()})
    before = digest(house.state)
    with pytest.raises(KeyError):
        house.apply(c.SetTerms(type(house.terms)("epop", licenses)))
    assert house.view("concurrent").limit == 9
    assert digest(house.state) == before


def test_the_windows_of_the_figures_are_terms_too() -> None:
    house = LicensedHarness("floating", {"floating": Floating(limit=1, key="account")}, true_denial_window=60.0)
    session = house.hello("ann")
    house.knock("bob")
    house.change_terms(true_denial_window=5.0, high_water_window=10.0)
    house.wait(6)
    assert house.view("seats").true_denials == {"pool_full": 1}
    house.end(session)
    house.wait(9)
    assert house.view("seats").high_water == 1
    house.wait(5)
    assert house.view("seats").high_water == 0


def test_the_extensions_of_a_license_go_with_the_model_that_decides() -> None:
    house = LicensedHarness("epop", {"epop": Epop(), "trueconf": TrueConf()})

    def licensed(ledger: Ledger) -> set[str]:
        return {each.name for each in ledger.model.extensions if each.licensed}

    plain = licensed(house.ledger("trueconf"))
    assert "ai" not in plain
    house.change_terms(extensions=("ai",))
    assert licensed(house.ledger("trueconf")) == plain
    house.change_terms(model="trueconf")
    assert licensed(house.ledger("trueconf")) == plain | {"ai"}
