"""Leases and reservations: seats that outlive sessions, and what a store is told of them."""

from __future__ import annotations

from gateway.core.counting.leases import LeaseChange
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import DAY, HOUR, START, CoreHarness


def test_a_lease_is_noted_when_it_begins_when_it_runs_and_when_it_ends() -> None:
    harness = CoreHarness(trueconf(TrueConf()))
    ann = harness.hello("ann")
    harness.joined(ann)
    harness.wait(HOUR)
    harness.leave(ann)
    harness.wait(DAY)

    def change(expires: float | None, ended: str | None = None) -> LeaseChange:
        return LeaseChange("trueconf", "pro", "ann", START, expires, False, ended, number=1)

    end = START + HOUR + DAY
    assert harness.changes == [change(None), change(end), change(end, "expired")]


def test_joining_a_second_conference_is_no_change_of_the_lease() -> None:
    harness = CoreHarness(trueconf(TrueConf()))
    ann, other = harness.hello("ann", "pc"), harness.hello("ann", "phone")
    harness.joined(ann, "a")
    harness.joined(ann, "b")
    harness.joined(other, "a")
    harness.leave(ann, "a")
    harness.leave(ann, "b")
    assert [change.expires for change in harness.lease_changes] == [None]
    harness.end(other)
    assert [change.expires for change in harness.lease_changes] == [None, START + DAY]


def test_the_next_expiry_is_that_of_a_lease_that_runs_out() -> None:
    harness = CoreHarness(trueconf(TrueConf()))
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    harness.leave(ann)
    harness.wait(HOUR)
    harness.joined(bob)
    harness.leave(bob)
    assert harness.ledger().leases.next_expiry() == START + DAY
    harness.joined(ann)
    assert harness.ledger().leases.next_expiry() == START + HOUR + DAY
    harness.revoke("bob")
    assert harness.ledger().leases.next_expiry() is None


def test_who_is_refused_for_a_full_leased_pool_hears_when_the_next_lease_ends() -> None:
    harness = CoreHarness(trueconf(TrueConf(pro=1, online=9)))
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    assert "retry_after_seconds" not in harness.join(bob)
    harness.leave(ann)
    harness.wait(HOUR)
    assert harness.join(bob)["retry_after_seconds"] == DAY - HOUR


def test_renewing_a_lease_again_and_again_piles_nothing_up() -> None:
    harness = CoreHarness(trueconf(TrueConf()))
    ann = harness.hello("ann")
    for _ in range(500):
        harness.joined(ann)
        harness.leave(ann)
        harness.wait(1.0)
    assert len(harness.ledger().leases._expiries) == 1
    for _ in range(100):
        harness.revoke("ann")
        harness.joined(ann)
        harness.leave(ann)
        harness.wait(1.0)
    harness.wait(2 * DAY)
    assert harness.used("pro") == 0
    assert harness.ledger().leases._expiries == []


def test_no_key_is_reserved_beyond_the_limit_whatever_it_becomes() -> None:
    def sold(limit: int) -> dict[str, Floating]:
        return {"floating": Floating(limit=limit, key="account", reserve=("ann", "bob", "cid", "dan"))}

    harness = LicensedHarness("floating", sold(0))
    book = harness.ledger().pools["seats"]
    assert list(book.reservations) == ["ann", "bob", "cid", "dan"]
    stays = harness.hello("dan")
    harness.change_terms(sold(2))
    assert list(book.reservations) == ["ann", "bob"]
    assert set(book.claims) == {"ann", "bob", "dan"}, "nobody is dropped"
    _, refused = harness.knock("cid")
    assert refused.refused is not None
    harness.change_terms(sold(3))
    assert list(book.reservations) == ["ann", "bob"], "the third seat is dan's, as long as he stays"
    harness.end(stays)
    harness.change_terms(sold(3))
    assert list(book.reservations) == ["ann", "bob", "cid"]
    assert book.grants - sum(book.releases.values()) == book.used == 3


def test_a_name_lasts_until_the_operator_ends_it() -> None:
    harness = CoreHarness(nefsis_named(NefsisNamed()))
    ann = harness.hello("ann")
    harness.joined(ann, host=True)
    harness.end(ann)
    harness.wait(400 * DAY)
    assert harness.used("hosts") == 1
    assert harness.view("hosts").leases == {"permanent": 1}
    harness.unname("ann")
    assert harness.used("hosts") == 0
    assert harness.lease_changes[-1].ended == "revoked"


# -- from the last run -------------------------------------------------------------------------------------------------


def restored(change: LeaseChange, alive_until: float) -> CoreHarness:
    """A gateway that takes up what its last run, which lived until then, has written down."""
    harness = CoreHarness(trueconf(TrueConf()), nefsis_named(NefsisNamed()))
    harness.ledger(change.model).leases.restore(change, alive_until, harness.now)
    return harness


def test_a_lease_that_was_running_out_ends_when_it_was_to_end() -> None:
    change = LeaseChange("trueconf", "pro", "ann", START - DAY, START + HOUR, False, None)
    harness = restored(change, START - 60.0)
    assert harness.expires("ann") == HOUR
    harness.wait(HOUR)
    assert harness.pro() == {}
    assert harness.lease_changes == [change._replace(ended="expired", number=1)]


def test_a_lease_that_was_in_use_runs_out_from_the_last_instant_of_that_run() -> None:
    harness = restored(LeaseChange("trueconf", "pro", "ann", START - DAY, None, False, None), START - HOUR)
    assert harness.expires("ann") == DAY - HOUR
    harness.joined(harness.hello("ann"))
    assert harness.expires("ann") is None


def test_a_lease_of_a_deleted_account_and_a_reservation_are_what_they_were() -> None:
    deleted = restored(LeaseChange("trueconf", "pro", "ann", START - DAY, START + 1.0, True, None), START)
    assert deleted.pro() == {"ann": "deleted"}
    assert deleted.state.is_deleted("ann")
    deleted.wait(1.0)
    assert deleted.lease_changes[-1].ended == "account_deleted"
    permanent = restored(LeaseChange("trueconf", "pro", "ann", START - DAY, None, False, None, "permanent"), START)
    permanent.wait(2 * DAY)
    assert permanent.pro() == {"ann": "permanent"}


def test_a_name_of_the_last_run_has_no_end() -> None:
    harness = restored(LeaseChange("nefsis-named", "hosts", "ann", START - DAY, None, False, None), START)
    harness.wait(400 * DAY)
    assert harness.used("hosts", "nefsis-named") == 1
