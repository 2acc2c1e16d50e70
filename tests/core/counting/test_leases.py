"""Leases and reservations: seats that outlive sessions, and what a store is told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.admission.state_json import from_json, to_json
from gateway.core.counting.leases import MIN_STALE, LeaseChange
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
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


@pytest.mark.parametrize(
    ("model", "pool", "ends", "order"),
    [
        ("trueconf", "pro", {"ann": HOUR, "bob": None, "cid": 3 * HOUR, "dan": 2 * HOUR}, ["ann", "dan", "cid", "bob"]),
        ("nefsis-named", "hosts", dict.fromkeys(("ann", "bob", "cid")), ["ann", "bob", "cid"]),
    ],
)
def test_after_a_restart_whose_lease_runs_out_first_has_been_idle_longest(
    model: str, pool: str, ends: dict[str, float | None], order: list[str]
) -> None:
    harness = CoreHarness(trueconf(TrueConf()), nefsis_named(NefsisNamed()))
    leases = harness.ledger(model).leases
    for key, end in ends.items():
        expires = None if end is None else START + end
        leases.restore(LeaseChange(model, pool, key, START - DAY, expires, False, None), START, harness.now)
    leases.order_restored()
    assert list(harness.ledger(model).pools[pool].unused_leases) == order


def shadows(kept: int, **terms: Any) -> LicensedHarness:
    """e/pop decides; the models that lease and linger watch, and keep so many seats for nobody."""
    licenses = {
        "epop": Epop(users=99),
        "nefsis-named": NefsisNamed(hosts=2, participants=9),
        "trueconf": TrueConf(pro=2, online=9),
        "floating": Floating(limit=2, key="account", linger=HOUR),
    }
    return LicensedHarness("epop", licenses, shadow_leases=kept, **terms)


def come_and_go(harness: LicensedHarness, *accounts: str, cause: str = "closed") -> None:
    for account in accounts:
        session = harness.hello(account)
        harness.joined(session, account, host=True)
        harness.end(session, cause)


LEASING = [("trueconf", "pro"), ("nefsis-named", "hosts"), ("floating", "seats")]


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_a_shadow_keeps_so_many_seats_for_nobody_and_forgets_the_longest_idle(model: str, pool: str) -> None:
    harness = shadows(kept=3)
    come_and_go(harness, "ann", "bob", "cid")
    assert harness.used(pool, model) == 3  # right up to the bound, above the limit too
    come_and_go(harness, *[f"made-up-{number}" for number in range(20)])
    view = harness.view(pool, model)
    assert (view.used, view.grants, view.releases["forgotten"]) == (3, 23, 20)
    assert view.high_water == 4  # of whom one was connected
    assert list(harness.ledger(model).pools[pool].claims) == ["made-up-17", "made-up-18", "made-up-19"]


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_who_came_back_is_not_the_one_that_was_idle_longest(model: str, pool: str) -> None:
    harness = shadows(kept=3)
    come_and_go(harness, "ann", "bob", "cid", "ann", "dan", "ann", "eve")
    assert set(harness.ledger(model).pools[pool].claims) == {"dan", "ann", "eve"}
    assert harness.view(pool, model).releases["forgotten"] == 2


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_a_lowered_number_ends_nothing_until_the_next_seat_is_let_go(model: str, pool: str) -> None:
    harness = shadows(kept=4)
    come_and_go(harness, "ann", "bob", "cid", "dan")
    harness.change_terms(shadow_leases=2)
    eve = harness.hello("eve")
    harness.joined(eve, "eve", host=True)
    assert (harness.used(pool, model), harness.view(pool, model).releases["forgotten"]) == (5, 0)
    harness.end(eve, "closed")
    assert set(harness.ledger(model).pools[pool].claims) == {"dan", "eve"}
    assert harness.view(pool, model).releases["forgotten"] == 3


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_a_shadow_counts_everybody_who_is_connected_whatever_it_keeps(model: str, pool: str) -> None:
    harness = shadows(kept=1)
    sessions = [harness.hello(f"user-{number}") for number in range(5)]
    for number, session in enumerate(sessions):
        harness.joined(session, f"room-{number}", host=True)
    assert harness.used(pool, model) == 5
    for session in sessions:
        harness.end(session, "reset")
    assert (harness.used(pool, model), harness.view(pool, model).releases["forgotten"]) == (1, 4)


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_a_seat_that_is_kept_stays_when_its_owner_comes_and_goes(model: str, pool: str) -> None:
    harness = shadows(kept=2)
    come_and_go(harness, "ann", "bob", "ann", "bob", "ann")
    assert (harness.used(pool, model), harness.view(pool, model).releases["forgotten"]) == (2, 0)


@pytest.mark.parametrize(("model", "pool"), LEASING)
def test_what_a_shadow_does_not_keep_the_enforced_model_keeps(model: str, pool: str) -> None:
    harness = shadows(kept=1)
    limits: dict[str, Any] = {
        "nefsis-named": NefsisNamed(hosts=9, participants=9),
        "trueconf": TrueConf(pro=9, online=9),
        "floating": Floating(limit=9, key="account", linger=HOUR),
    }
    harness.change_terms({model: limits[model]}, model=model)
    come_and_go(harness, "ann", "bob", "cid", "dan")
    assert (harness.used(pool, model), harness.view(pool, model).releases["forgotten"]) == (4, 0)
    harness.change_terms(model="epop")
    assert harness.used(pool, model) == 4  # nobody is dropped by new terms
    come_and_go(harness, "eve")
    assert harness.view(pool, model).releases["forgotten"] == 4
    assert set(harness.ledger(model).pools[pool].claims) == {"eve"}


def test_a_model_that_is_not_enforced_keeps_no_more_than_a_shadow() -> None:
    licenses = {"trueconf": TrueConf(pro=1, online=1, allow_pro_requests=True)}
    harness = LicensedHarness("trueconf", licenses, enforce=False, shadow_leases=2)
    come_and_go(harness, "ann", "bob", "cid")
    assert harness.used("pro") == 2
    assert harness.pro() == {"bob": "temporary", "cid": "temporary"}
    bob, dan = harness.hello("bob"), harness.hello("dan")
    assert harness.request_pro(bob)["type"] == "granted"  # one that was renewed has not been idle longest
    assert harness.request_pro(dan)["type"] == "granted"
    assert harness.pro() == {"bob": "temporary", "dan": "temporary"}
    view = harness.view("pro")
    assert (view.releases["forgotten"], view.high_water) == (2, 3)


def test_a_redistribution_leaves_no_more_for_nobody_than_a_shadow_keeps() -> None:
    harness = shadows(kept=2)
    harness.redistribute(["ann", "bob", "cid", "dan"])
    assert harness.used("pro", "trueconf") == 4
    harness.redistribute(["dan", "eve"])
    assert harness.pro() == {"bob": "temporary", "cid": "temporary", "dan": "permanent", "eve": "permanent"}
    view = harness.view("pro", "trueconf")
    assert (view.releases["forgotten"], view.high_water) == (1, 4)


def test_what_a_deleted_account_held_is_kept_apart() -> None:
    harness = shadows(kept=1)
    come_and_go(harness, "ann")
    harness.forget("ann")
    come_and_go(harness, "bob")
    assert harness.pro() == {"ann": "deleted", "bob": "temporary"}
    cid = harness.hello("cid")
    harness.joined(cid, "cid", host=True)
    harness.forget("cid")  # and takes nobody's place while its sessions end
    assert harness.pro() == {"ann": "deleted", "bob": "temporary", "cid": "deleted"}


def test_a_host_that_is_named_takes_the_place_of_the_one_that_was_idle_longest() -> None:
    harness = shadows(kept=2)
    harness.change_terms({"nefsis-named": NefsisNamed(hosts=3, participants=9)})
    come_and_go(harness, "ann", "bob")
    assert harness.name_host("cid").refused is None
    assert harness.name_host("bob").refused is None  # it is one, which changes nothing
    assert list(harness.ledger("nefsis-named").pools["hosts"].claims) == ["bob", "cid"]
    view = harness.view("hosts", "nefsis-named")
    assert (view.releases["forgotten"], view.high_water) == (1, 2)


def test_a_name_that_is_taken_away_takes_nobody_elses_place() -> None:
    harness = shadows(kept=2)
    come_and_go(harness, "ann", "bob")
    cid = harness.hello("cid")
    harness.joined(cid, "cid", host=True)
    assert harness.unname("cid").refused is None
    view = harness.view("hosts", "nefsis-named")
    assert (view.used, view.releases["revoked"], view.releases["forgotten"]) == (2, 1, 0)


def test_what_a_shadow_keeps_is_the_same_after_the_state_was_written_and_read() -> None:
    harness = shadows(kept=2)
    come_and_go(harness, "ann")
    dan = harness.hello("dan")
    harness.joined(dan, "dan", host=True)
    harness.state = from_json(to_json(harness.state), MODELS)
    come_and_go(harness, "bob", "cid")
    assert [harness.used(pool, model) for model, pool in LEASING] == [3, 3, 3]
    harness.end(harness.state.sessions.by_number[dan.number])
    assert [harness.used(pool, model) for model, pool in LEASING] == [2, 2, 2]


def test_the_order_of_becoming_idle_is_written_and_read() -> None:
    harness = shadows(kept=3)
    come_and_go(harness, "ann", "bob", "cid", "ann")
    harness.state = from_json(json.loads(json.dumps(to_json(harness.state))), MODELS)
    come_and_go(harness, "dan")
    for model, pool in LEASING:
        assert set(harness.ledger(model).pools[pool].claims) == {"cid", "ann", "dan"}


def test_states_that_differ_in_the_order_of_becoming_idle_have_other_digests() -> None:
    harnesses = [shadows(kept=3), shadows(kept=3)]
    for harness, order in zip(harnesses, (("ann", "bob"), ("bob", "ann")), strict=True):
        sessions = {name: harness.hello(name) for name in ("ann", "bob")}
        for name, session in sessions.items():
            harness.joined(session, name, host=True)
        for name in order:
            harness.end(sessions[name])
    states = [to_json(harness.state) for harness in harnesses]
    assert states[0]["ledgers"]["trueconf"]["pro"]["unused_leases"] == ["ann", "bob"]
    assert states[1]["ledgers"]["trueconf"]["pro"]["unused_leases"] == ["bob", "ann"]
    assert states[0]["digest"] != states[1]["digest"]


def test_what_waits_to_run_out_does_not_grow_with_leases_that_ended() -> None:
    harness = shadows(kept=1)
    for number in range(3000):
        come_and_go(harness, f"made-up-{number}")
        harness.revoke(f"made-up-{number}")
    assert len(harness.ledger("trueconf").leases._expiries) <= MIN_STALE + 2
    come_and_go(harness, "ann")
    harness.wait(DAY)
    assert harness.used("pro", "trueconf") == 0
