"""Another model decides from now on: nobody is dropped, and it counts as if it had decided from the start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core.admission.replies import entitlements
from gateway.core.admission.state_json import digest
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import DAY, HOUR

WIDE: dict[str, Any] = {
    "epop": Epop(users=99),
    "nefsis-concurrent": NefsisConcurrent(users=99),
    "nefsis-named": NefsisNamed(hosts=99, participants=99),
    "trueconf": TrueConf(pro=99, online=99, guest=99, gateway=99),
    "floating": Floating(limit=99, key="account"),
}
NARROW: dict[str, Any] = {
    "epop": Epop(users=2),
    "nefsis-concurrent": NefsisConcurrent(users=2),
    "nefsis-named": NefsisNamed(hosts=1, participants=2),
    "trueconf": TrueConf(pro=2, online=3, guest=1, gateway=1),
    "floating": Floating(limit=2, key="account"),
}


def counts(harness: LicensedHarness) -> dict[str, dict[str, Any]]:
    """Every pool of every model, by what is the same whoever decides."""
    return {
        ledger.model.name: {
            name: (book.used, book.terms.limit, set(book.claims), sorted(map(str, book.leases)), dict(book.releases))
            for name, book in ledger.pools.items()
        }
        for ledger in harness.state.ledgers
    }


def held(harness: LicensedHarness) -> list[dict[str, Any]]:
    """What each session holds in each model."""
    return [
        {ledger.model.name: set(session.seats[ledger.index]) for ledger in harness.state.ledgers}
        for session in harness.state.sessions.by_number.values()
    ]


def test_the_model_that_decides_already_is_not_followed_anew() -> None:
    harness = LicensedHarness("epop", WIDE)
    ann = harness.hello("ann")
    harness.joined(ann)
    as_it_was = digest(harness.state)
    harness.change_terms(model="epop")
    assert digest(harness.state) == as_it_was
    harness.change_terms(model="trueconf")
    switched = digest(harness.state)
    assert switched != as_it_was
    harness.change_terms(model="trueconf")
    assert digest(harness.state) == switched
    assert harness.state.primary.model.name == "trueconf"


def test_a_model_that_does_not_count_cannot_decide() -> None:
    harness = LicensedHarness("epop", {"epop": WIDE["epop"]})
    before = digest(harness.state)
    with pytest.raises(KeyError):
        harness.change_terms(model="trueconf")
    assert harness.state.primary.model.name == "epop"
    assert digest(harness.state) == before


@pytest.mark.parametrize("enforce", [True, False])
def test_one_model_decides_and_only_where_anything_is_enforced(enforce: bool) -> None:
    harness = LicensedHarness("epop", WIDE, enforce=enforce)
    harness.change_terms(model="floating")
    ledgers = {ledger.model.name: ledger for ledger in harness.state.ledgers}
    assert [name for name, ledger in ledgers.items() if ledger.is_primary] == ["floating"]
    assert [name for name, ledger in ledgers.items() if ledger.enforced] == (["floating"] if enforce else [])


@pytest.mark.parametrize("before", MODELS)
@pytest.mark.parametrize("after", MODELS)
def test_a_changed_model_with_lower_limits_drops_nobody(before: str, after: str) -> None:
    harness = LicensedHarness(before, WIDE)
    sessions = [harness.hello(f"user-{number}", "pc") for number in range(6)]
    for number, session in enumerate(sessions[:5]):
        harness.joined(session, host=number == 0)
    seats, uses = (
        held(harness),
        {name: {pool: each[0] for pool, each in of.items()} for name, of in counts(harness).items()},
    )
    harness.change_terms(NARROW, model=after)
    assert held(harness) == seats
    assert {name: {pool: each[0] for pool, each in of.items()} for name, of in counts(harness).items()} == uses
    assert len(harness.state.sessions.by_number) == 6
    assert len(harness.state.conferences.by_id["room"].members) == 5
    pool = {"trueconf": "pro", "floating": "seats", "nefsis-named": "participants"}.get(after, "concurrent")
    denied = harness.knock("late")[1].answer if after == "floating" else harness.join(sessions[5])
    assert denied is not None
    assert denied["type"] == "denied"
    assert sum(harness.denied(pool).values()) == 1
    for session in sessions[:5]:
        harness.leave(session)
    harness.wait(DAY)
    for session in sessions:
        harness.end(session)
    kept = {"hosts": 1} if after == "nefsis-named" else {}
    assert {name: book.used for name, book in harness.state.primary.pools.items() if book.used} == kept


def test_a_limit_that_is_lowered_lets_in_again_when_enough_have_left() -> None:
    harness = LicensedHarness("epop", WIDE)
    sessions = [harness.hello(f"user-{number}") for number in range(4)]
    for session in sessions:
        harness.joined(session)
    harness.change_terms(NARROW)
    late = harness.hello("late")
    for session in sessions[:2]:
        assert harness.join(late)["reason"] == "pool_full"
        harness.leave(session)
    assert harness.join(late)["reason"] == "pool_full"
    harness.leave(sessions[2])
    harness.joined(late)
    assert harness.used("concurrent") == 2


def test_permanent_licenses_become_temporary_where_the_license_has_them_no_longer() -> None:
    harness = LicensedHarness("trueconf", WIDE)
    (book,) = [ledger.pools["pro"] for ledger in harness.state.ledgers if ledger.model.name == "trueconf"]
    harness.redistribute(["ann", "bob"])
    assert list(book.reservations) == ["ann", "bob"]
    harness.change_terms({"trueconf": TrueConf(edition="free", pro=1)})
    before = len(harness.lease_changes)
    outcome, beyond = harness.redistribute(["ann", "bob"])
    assert beyond == []
    assert len(outcome.changes) == len(harness.lease_changes[before:])
    assert {(change.key, change.kind, change.ended) for change in harness.lease_changes[before:]} == {
        ("ann", "temporary", None),
        ("ann", "permanent", "redistributed"),
        ("bob", "permanent", "redistributed"),
    }
    assert (list(book.reservations), list(book.leases)) == ([], ["ann"])
    harness.wait(DAY)
    assert book.used == 0


def test_the_overdraft_goes_with_the_model_that_decides() -> None:
    harness = LicensedHarness("epop", NARROW, overdraft=1)
    harness.change_terms(model="nefsis-concurrent")
    assert {ledger.model.name: ledger.overdraft for ledger in harness.state.ledgers} == {
        "nefsis-concurrent": 1,
        **dict.fromkeys(set(MODELS) - {"nefsis-concurrent"}, 0),
    }


def test_only_the_pool_of_the_model_that_decides_is_announced() -> None:
    harness = LicensedHarness("epop", WIDE)
    ann, twin = harness.hello("ann", "pc"), harness.hello("ann", "phone")
    harness.joined(ann)
    harness.change_terms(model="trueconf")
    bob, other = harness.hello("bob", "pc"), harness.hello("bob", "phone")
    outcome = harness.decide_join(bob)
    assert [number for number, _ in outcome.notices] == [other.number]
    harness.change_terms(model="epop")
    assert harness.decide_join(harness.hello("cid")).notices == []
    assert "pro_expires" not in entitlements(harness.state, twin)


# -- as if from the start ----------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hello", "hello", "hello", "join", "join", "join", "leave", "end", "sleep", "wake", "wait"]),
        st.integers(0, 7),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=25,
)


def step(harness: LicensedHarness, what: str, place: int, room: str, flag: bool) -> Any:
    """One step, by what is there; its answer."""
    sessions = list(harness.state.sessions.by_number.values())
    if what == "hello":
        _, outcome = harness.knock(f"user-{place}" if place < 6 else None, "pc" if flag else "phone")
        return outcome.answer
    if what == "wait":
        return harness.wait(HOUR * (place + 1) * (5 if flag else 1)).notices
    if not sessions:
        return None
    session = sessions[place % len(sessions)]
    if what == "join":
        return harness.join(session, room, host=flag, access="public")
    if what == "end":
        return harness.end(session, "closed" if flag else "bye").answer
    return {"leave": lambda: harness.leave(session, room), "sleep": lambda: harness.sleep(session)}.get(
        what, lambda: harness.wake(session)
    )()


def declared(harness: LicensedHarness, what: str, place: int, room: str, flag: bool) -> bool:
    """Whether a step is the same under every model: who opens a conference hosts it, with an account, and no other."""
    sessions = list(harness.state.sessions.by_number.values())
    if what != "join" or not sessions:
        return True
    session = sessions[place % len(sessions)]
    if room in harness.state.conferences.by_id:
        return not flag
    elsewhere = any(
        other.hosted or other.implied_host is each
        for each in harness.state.sessions.same_account_sessions(session)
        for other in each.conferences
    )
    return flag and session.account is not None and not elsewhere


@pytest.mark.parametrize("after", MODELS)
@settings(max_examples=5 * settings().max_examples // 3)
@given(before=st.sampled_from(sorted(MODELS)), first=STEPS, then=STEPS, overdraft=st.sampled_from([0, 0, 1]))
def test_the_steps_that_follow_are_decided_as_if_it_had_been_the_law_from_the_start(
    after: str, before: str, first: list[Any], then: list[Any], overdraft: int
) -> None:
    assume(before != after)
    came, was = LicensedHarness(before, WIDE), LicensedHarness(after, WIDE)
    for each in first:
        if declared(came, *each):
            step(came, *each)
            step(was, *each)
    came.change_terms(model=after)
    for harness in (came, was):
        harness.change_terms(NARROW, overdraft=overdraft)
    assert held(came) == held(was)
    assert counts(came) == counts(was)
    for each in then:
        assert step(came, *each) == step(was, *each)
        assert held(came) == held(was)
        assert counts(came) == counts(was)
    for name, book in came.state.primary.pools.items():
        assert book.denial_counts == was.state.primary.pools[name].denial_counts


def test_a_start_that_is_refused_takes_no_name_of_a_host_in_a_model_that_was_there_before() -> None:
    licenses = {**WIDE, "trueconf": TrueConf(pro=1, online=9, guest=1, gateway=1)}
    harness = LicensedHarness("trueconf", licenses, last=True)
    harness.joined(harness.hello("bob"), "full")
    ann = harness.hello("ann")
    harness.joined(ann, host=True, scheduled=True)
    decision = harness.start(ann)
    assert decision.refused is not None
    assert decision.refused.pool == "pro"
    assert (held(harness)[-1]["nefsis-named"], harness.state.lease_changes) == (set(), [])
