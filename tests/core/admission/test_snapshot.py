"""The operator's view: one struct, whose numbers agree with each other."""

from __future__ import annotations

from typing import NoReturn

import pytest

from gateway.core.admission.commands import PutConference
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.snapshot import snapshot
from gateway.licensing.epop import Epop, epop
from gateway.licensing.floating import Floating, floating
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import HOUR, CoreHarness


def test_it_names_the_enforced_model_and_shows_the_pools_of_all() -> None:
    harness = CoreHarness(trueconf(TrueConf()), epop(Epop()), enforce=False)
    seen = snapshot(harness.state, harness.now.mono)
    assert (seen.model, seen.edition, seen.enforce) == ("trueconf", "server", False)
    assert [(view.model, view.pool) for view in seen.pools] == [
        ("trueconf", "online"),
        ("trueconf", "pro"),
        ("trueconf", "guest"),
        ("trueconf", "gateway"),
        ("epop", "concurrent"),
    ]


def test_a_pool_without_a_limit_has_nothing_to_be_available() -> None:
    harness = CoreHarness(floating(Floating(limit=0)))
    harness.hello()
    view = harness.view("seats")
    assert (view.used, view.limit, view.available, view.overdraft_used) == (1, None, None, 0)


def test_sessions_accounts_and_devices_are_distinct() -> None:
    harness = CoreHarness(epop(Epop()), on_duplicate="allow")
    for account, device in [("ann", "pc"), ("ann", "pc"), ("ann", "phone"), ("bob", "pc"), ("bob", None), (None, "pc")]:
        harness.hello(account, device)
    harness.sleep(harness.hello("cid", kind="room"))
    seen = snapshot(harness.state, harness.now.mono)
    assert seen.sessions == {("app", True): 6, ("room", False): 1, ("room", True): 0}
    assert seen.accounts == 3
    assert seen.devices == 6


def test_members_are_counted_once_and_by_what_they_do() -> None:
    harness = CoreHarness(epop(Epop()))
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann, "a")
    harness.joined(ann, "b")
    harness.joined(ann, "later", scheduled=True)
    harness.joined(bob, "later")
    harness.apply(PutConference("tomorrow", Declaration(scheduled=True)))
    seen = snapshot(harness.state, harness.now.mono)
    assert seen.conferences == {"live": 2, "scheduled": 2}
    assert seen.members == {"live": 1, "scheduled": 2}


def test_a_refusal_that_is_not_the_licenses_is_no_denial_of_a_pool() -> None:
    harness = CoreHarness(epop(Epop(users=0)))
    ann = harness.hello("ann")
    harness.join(ann)
    assert harness.leave(ann)["reason"] == "not_member"
    assert harness.request_pro(ann)["reason"] == "not_allowed"
    assert harness.denied("concurrent") == {"pool_full": 1}
    assert harness.view("concurrent").denied == 1


def test_leases_are_told_by_kind() -> None:
    harness = CoreHarness(trueconf(TrueConf()), nefsis_named(NefsisNamed()))
    harness.redistribute(["boss", "vice"])
    harness.joined(harness.hello("ann"), host=True)
    pro = harness.view("pro")
    assert (pro.used, pro.reserved, pro.available) == (3, 2, 7)
    assert pro.leases == {"temporary": 1, "permanent": 2}
    assert harness.view("hosts", "nefsis-named").leases == {"permanent": 1}
    assert harness.view("online").leases == {}


@pytest.mark.parametrize("hours", [1, 100])
def test_totals_go_on_until_the_instant_of_the_snapshot(hours: int) -> None:
    harness = CoreHarness(epop(Epop(users=1)))
    harness.joined(harness.hello())
    harness.wait(hours * HOUR)
    view = harness.view("concurrent")
    assert view.seat_seconds == view.full_seconds == hours * HOUR


def test_a_snapshot_does_not_change_with_what_happens_later() -> None:
    harness = CoreHarness(epop(Epop()))
    ann = harness.hello("ann")
    harness.joined(ann)
    before = harness.view("concurrent")
    releases = dict(before.releases)
    harness.end(ann, "reset")
    assert before.used == 1
    assert before.releases == releases


def test_a_snapshot_looks_at_no_conference_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unread(dict[str, Declaration]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("all that is declared is looked at")

    harness = CoreHarness(epop(Epop()))
    monkeypatch.setattr(harness.state.conferences, "declared", Unread())
    for name in "abc":
        harness.apply(PutConference(name, Declaration(scheduled=name == "c")))
    ann = harness.hello("ann")

    def seen() -> dict[str, int]:
        return dict(snapshot(harness.state, harness.now.mono).conferences)

    assert seen() == {"live": 0, "scheduled": 3}
    harness.joined(ann, "a")
    harness.joined(ann, "c", host=True)
    assert seen() == {"live": 1, "scheduled": 2}
    harness.leave(ann, "a")
    harness.start(ann, "c")
    assert seen() == {"live": 1, "scheduled": 2}
    harness.dissolve("a")
    harness.dissolve("c")
    assert seen() == {"live": 0, "scheduled": 1}
