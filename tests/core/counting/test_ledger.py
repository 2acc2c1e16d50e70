"""The ledger of one model: who is admitted to its pools, and what is counted where nobody is refused."""

from __future__ import annotations

from gateway.licensing.floating import Floating, floating
from tests.core.harnesses import LicensedHarness
from tests.core_harness import CoreHarness


def test_a_lowered_limit_drops_nobody_and_grants_nothing_until_use_falls() -> None:
    harness = LicensedHarness("floating", {"floating": Floating(limit=3)})
    held = [harness.hello() for _ in range(3)]
    harness.change_terms({"floating": Floating(limit=1)})
    assert harness.used("seats") == 3
    for session in held[:2]:
        _, refused = harness.knock()
        assert refused.refused is not None
        harness.end(session)
    _, refused = harness.knock()
    assert refused.refused is not None
    harness.end(held[2])
    harness.hello()
    assert harness.used("seats") == 1


def test_a_raised_limit_lets_in_at_once() -> None:
    harness = LicensedHarness("floating", {"floating": Floating(limit=1)})
    harness.hello()
    _, refused = harness.knock()
    assert refused.refused is not None
    harness.change_terms({"floating": Floating(limit=2)})
    harness.hello()
    assert harness.used("seats") == 2


def test_overdraft_admits_so_many_more_and_reports_them_apart() -> None:
    harness = CoreHarness(floating(Floating(limit=1)), overdraft=1)
    harness.hello()
    harness.hello()
    _, refused = harness.knock()
    assert refused.answer is not None
    assert (refused.answer["used"], refused.answer["limit"]) == (2, 1)
    view = harness.view("seats")
    assert (view.used, view.available, view.overdraft_used) == (2, 0, 1)


def test_without_enforcement_everybody_is_admitted_and_the_denials_are_counted() -> None:
    harness = CoreHarness(floating(Floating(limit=1)), enforce=False, overdraft=5)
    for _ in range(3):
        harness.hello()
    assert harness.used("seats") == 3
    assert harness.denied("seats") == {"pool_full": 2}
