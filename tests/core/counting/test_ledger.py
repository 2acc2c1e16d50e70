"""The ledger of one model: seats that outlive sessions, and what a store is told of them."""

from __future__ import annotations

from gateway.core.counting.ledger import LeaseChange
from gateway.core.counting.license_model import LicenseModel
from gateway.licensing.floating import Floating, floating
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import DAY, HOUR, START, CoreHarness


def test_a_lease_is_noted_when_it_begins_when_it_runs_and_when_it_ends() -> None:
    gate = CoreHarness(trueconf(TrueConf()))
    ann = gate.hello("ann")
    gate.joined(ann)
    gate.wait(HOUR)
    gate.leave(ann)
    gate.wait(DAY)

    def change(expires: float | None, ended: str | None = None) -> LeaseChange:
        return LeaseChange("trueconf", "pro", "ann", START, expires, False, ended)

    end = START + HOUR + DAY
    assert gate.changes == [change(None), change(end), change(end, "expired")]


def test_joining_a_second_conference_is_no_change_of_the_lease() -> None:
    gate = CoreHarness(trueconf(TrueConf()))
    ann, other = gate.hello("ann", "pc"), gate.hello("ann", "phone")
    gate.joined(ann, "a")
    gate.joined(ann, "b")
    gate.joined(other, "a")
    gate.leave(ann, "a")
    gate.leave(ann, "b")
    assert [change.expires for change in gate.changes] == [None]
    gate.end(other)
    assert [change.expires for change in gate.changes] == [None, START + DAY]


def test_the_next_expiry_is_that_of_a_lease_that_runs_out() -> None:
    gate = CoreHarness(trueconf(TrueConf()))
    ann, bob = gate.hello("ann"), gate.hello("bob")
    gate.joined(ann)
    gate.leave(ann)
    gate.wait(HOUR)
    gate.joined(bob)
    gate.leave(bob)
    assert gate.ledger().next_expiry() == START + DAY
    gate.joined(ann)
    assert gate.ledger().next_expiry() == START + HOUR + DAY
    gate.revoke("bob")
    assert gate.ledger().next_expiry() is None


def test_who_is_refused_for_a_full_leased_pool_hears_when_the_next_lease_ends() -> None:
    gate = CoreHarness(trueconf(TrueConf(pro=1, online=9)))
    ann, bob = gate.hello("ann"), gate.hello("bob")
    gate.joined(ann)
    assert "retry_after_seconds" not in gate.join(bob)
    gate.leave(ann)
    gate.wait(HOUR)
    assert gate.join(bob)["retry_after_seconds"] == DAY - HOUR


def test_renewing_a_lease_again_and_again_piles_nothing_up() -> None:
    gate = CoreHarness(trueconf(TrueConf()))
    ann = gate.hello("ann")
    for _ in range(500):
        gate.joined(ann)
        gate.leave(ann)
        gate.wait(1.0)
    assert len(gate.ledger()._expiries) == 1
    for _ in range(100):
        gate.revoke("ann")
        gate.joined(ann)
        gate.leave(ann)
        gate.wait(1.0)
    gate.wait(2 * DAY)
    assert gate.used("pro") == 0
    assert gate.ledger()._expiries == []


def test_a_lowered_limit_drops_nobody_and_grants_nothing_until_use_falls() -> None:
    gate = CoreHarness(floating(Floating(limit=3)))
    held = [gate.hello() for _ in range(3)]
    gate.ledger().apply_terms(floating(Floating(limit=1)), 0, gate.now)
    assert gate.used("seats") == 3
    for session in held[:2]:
        _, refused = gate.knock()
        assert refused.refused is not None
        gate.end(session)
    _, refused = gate.knock()
    assert refused.refused is not None
    gate.end(held[2])
    gate.hello()
    assert gate.used("seats") == 1


def test_a_raised_limit_lets_in_at_once() -> None:
    gate = CoreHarness(floating(Floating(limit=1)))
    gate.hello()
    _, refused = gate.knock()
    assert refused.refused is not None
    gate.ledger().apply_terms(floating(Floating(limit=2)), 0, gate.now)
    gate.hello()
    assert gate.used("seats") == 2


def test_no_key_is_reserved_beyond_the_limit_whatever_it_becomes() -> None:
    def sold(limit: int) -> LicenseModel:
        return floating(Floating(limit=limit, key="account", reserve=("ann", "bob", "cid", "dan")))

    gate = CoreHarness(sold(0))
    book = gate.ledger().pools["seats"]
    assert list(book.reservations) == ["ann", "bob", "cid", "dan"]
    stays = gate.hello("dan")
    gate.ledger().apply_terms(sold(2), 0, gate.now)
    assert list(book.reservations) == ["ann", "bob"]
    assert set(book.claims) == {"ann", "bob", "dan"}, "nobody is dropped"
    _, refused = gate.knock("cid")
    assert refused.refused is not None
    gate.ledger().apply_terms(sold(3), 0, gate.now)
    assert list(book.reservations) == ["ann", "bob"], "the third seat is dan's, as long as he stays"
    gate.end(stays)
    gate.ledger().apply_terms(sold(3), 0, gate.now)
    assert list(book.reservations) == ["ann", "bob", "cid"]
    assert book.grants - sum(book.releases.values()) == book.used == 3


def test_overdraft_admits_so_many_more_and_reports_them_apart() -> None:
    gate = CoreHarness(floating(Floating(limit=1)), overdraft=1)
    gate.hello()
    gate.hello()
    _, refused = gate.knock()
    assert refused.answer is not None
    assert (refused.answer["used"], refused.answer["limit"]) == (2, 1)
    view = gate.view("seats")
    assert (view.used, view.available, view.overdraft_used) == (2, 0, 1)


def test_without_enforcement_everybody_is_admitted_and_the_denials_are_counted() -> None:
    gate = CoreHarness(floating(Floating(limit=1)), enforce=False, overdraft=5)
    for _ in range(3):
        gate.hello()
    assert gate.used("seats") == 3
    assert gate.denied("seats") == {"pool_full": 2}


def test_a_name_lasts_until_the_operator_ends_it() -> None:
    gate = CoreHarness(nefsis_named(NefsisNamed()))
    ann = gate.hello("ann")
    gate.joined(ann, host=True)
    gate.end(ann)
    gate.wait(400 * DAY)
    assert gate.used("hosts") == 1
    assert gate.view("hosts").leases == {"permanent": 1}
    gate.unname("ann")
    assert gate.used("hosts") == 0
    assert gate.changes[-1].ended == "revoked"
