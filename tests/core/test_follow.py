"""Another model decides from now on: nobody is dropped, and it counts as if it had decided from the start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core.license import Model
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.gate import DAY, HOUR, Gate, request

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


def models(terms: dict[str, Any], *first: str) -> list[Model]:
    names = dict.fromkeys((*first, *MODELS))
    return [MODELS[name].model(terms[name]) for name in names]


def retune(gate: Gate, terms: dict[str, Any], overdraft: int = 0) -> None:
    for ledger in gate.admission.ledgers:
        ledger.retune(MODELS[ledger.model.name].model(terms[ledger.model.name]), overdraft, gate.now)


def counts(gate: Gate) -> dict[str, dict[str, Any]]:
    """Every pool of every model, by what is the same whoever decides."""
    return {
        ledger.model.name: {
            name: (book.used, book.terms.limit, set(book.claims), sorted(map(str, book.leases)), dict(book.releases))
            for name, book in ledger.pools.items()
        }
        for ledger in gate.admission.ledgers
    }


def held(gate: Gate) -> list[dict[str, Any]]:
    """What each session holds in each model."""
    return [
        {ledger.model.name: set(session.seats[ledger.index]) for ledger in gate.admission.ledgers}
        for session in gate.admission.sessions.by_number.values()
    ]


def test_the_model_that_decides_already_is_not_followed_anew() -> None:
    gate = Gate(*models(WIDE, "epop"))
    assert not gate.admission.follow("epop")
    assert gate.admission.follow("trueconf")
    assert not gate.admission.follow("trueconf")
    assert gate.admission.law.model.name == "trueconf"


@pytest.mark.parametrize("enforce", [True, False])
def test_one_model_decides_and_only_where_anything_is_enforced(enforce: bool) -> None:
    gate = Gate(*models(WIDE, "epop"), enforce=enforce)
    gate.admission.follow("floating")
    ledgers = {ledger.model.name: ledger for ledger in gate.admission.ledgers}
    assert [name for name, ledger in ledgers.items() if ledger.leads] == ["floating"]
    assert [name for name, ledger in ledgers.items() if ledger.enforced] == (["floating"] if enforce else [])


@pytest.mark.parametrize("before", MODELS)
@pytest.mark.parametrize("after", MODELS)
def test_a_changed_model_with_lower_limits_drops_nobody(before: str, after: str) -> None:
    gate = Gate(*models(WIDE, before))
    sessions = [gate.hello(f"user-{number}", "pc") for number in range(6)]
    for number, session in enumerate(sessions[:5]):
        gate.joined(session, host=number == 0)
    seats, uses = held(gate), {name: {pool: each[0] for pool, each in of.items()} for name, of in counts(gate).items()}
    gate.admission.follow(after)
    retune(gate, NARROW)
    assert held(gate) == seats
    assert {name: {pool: each[0] for pool, each in of.items()} for name, of in counts(gate).items()} == uses
    assert len(gate.admission.sessions.by_number) == 6
    assert len(gate.admission.conferences.by_id["room"].members) == 5
    pool = {"trueconf": "pro", "floating": "seats", "nefsis-named": "participants"}.get(after, "concurrent")
    denied = gate.knock("late")[1].answer if after == "floating" else gate.join(sessions[5])
    assert denied is not None
    assert denied["type"] == "denied"
    assert sum(gate.denied(pool).values()) == 1
    for session in sessions[:5]:
        gate.leave(session)
    gate.wait(DAY)
    for session in sessions:
        gate.end(session)
    kept = {"hosts": 1} if after == "nefsis-named" else {}
    assert {name: book.used for name, book in gate.admission.law.pools.items() if book.used} == kept


def test_a_limit_that_is_lowered_lets_in_again_when_enough_have_left() -> None:
    gate = Gate(*models(WIDE, "epop"))
    sessions = [gate.hello(f"user-{number}") for number in range(4)]
    for session in sessions:
        gate.joined(session)
    retune(gate, NARROW)
    late = gate.hello("late")
    for session in sessions[:2]:
        assert gate.join(late)["reason"] == "pool_full"
        gate.leave(session)
    assert gate.join(late)["reason"] == "pool_full"
    gate.leave(sessions[2])
    gate.joined(late)
    assert gate.used("concurrent") == 2


def test_permanent_licenses_become_temporary_where_the_license_has_them_no_longer() -> None:
    gate = Gate(*models(WIDE, "trueconf"))
    (book,) = [ledger.pools["pro"] for ledger in gate.admission.ledgers if ledger.model.name == "trueconf"]
    gate.leasing.redistribute(["ann", "bob"], gate.now)
    assert list(book.reservations) == ["ann", "bob"]
    retune(gate, WIDE | {"trueconf": TrueConf(edition="free", pro=1)})
    outcome, beyond = gate.leasing.redistribute(["ann", "bob"], gate.now)
    assert beyond == []
    assert {(change.key, change.kind, change.ended) for change in outcome.changes} == {
        ("ann", "temporary", None),
        ("ann", "permanent", "redistributed"),
        ("bob", "permanent", "redistributed"),
    }
    assert (list(book.reservations), list(book.leases)) == ([], ["ann"])
    gate.wait(DAY)
    assert book.used == 0


def test_the_overdraft_goes_with_the_model_that_decides() -> None:
    gate = Gate(*models(NARROW, "epop"), overdraft=1)
    gate.admission.follow("nefsis-concurrent")
    retune(gate, NARROW, overdraft=1)
    assert {ledger.model.name: ledger.overdraft for ledger in gate.admission.ledgers} == {
        "nefsis-concurrent": 1,
        **dict.fromkeys(set(MODELS) - {"nefsis-concurrent"}, 0),
    }


def test_only_the_pool_of_the_model_that_decides_is_announced() -> None:
    gate = Gate(*models(WIDE, "epop"))
    ann, twin = gate.hello("ann", "pc"), gate.hello("ann", "phone")
    gate.joined(ann)
    gate.admission.follow("trueconf")
    bob, other = gate.hello("bob", "pc"), gate.hello("bob", "phone")
    outcome = gate.admission.join(bob, request("join", conference="room"), gate.now)
    assert [session for session, _ in outcome.news] == [other]
    gate.admission.follow("epop")
    assert gate.admission.join(gate.hello("cid"), request("join", conference="room"), gate.now).news == []
    assert "pro_expires" not in gate.admission.standing(twin)


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


def step(gate: Gate, what: str, place: int, room: str, flag: bool) -> Any:
    """One step, by what is there; its answer."""
    sessions = list(gate.admission.sessions.by_number.values())
    if what == "hello":
        _, outcome = gate.knock(f"user-{place}" if place < 6 else None, "pc" if flag else "phone")
        return outcome.answer
    if what == "wait":
        news = gate.wait(HOUR * (place + 1) * (5 if flag else 1)).news
        return [(session.number, message) for session, message in news]
    if not sessions:
        return None
    session = sessions[place % len(sessions)]
    if what == "join":
        return gate.join(session, room, host=flag, access="public")
    if what == "end":
        return gate.end(session, "closed" if flag else "bye").answer
    return {"leave": lambda: gate.leave(session, room), "sleep": lambda: gate.sleep(session)}.get(
        what, lambda: gate.wake(session)
    )()


def declared(gate: Gate, what: str, place: int, room: str, flag: bool) -> bool:
    """Whether a step is the same under every model: who opens a conference hosts it, with an account, and no other."""
    sessions = list(gate.admission.sessions.by_number.values())
    if what != "join" or not sessions:
        return True
    session = sessions[place % len(sessions)]
    if room in gate.admission.conferences.by_id:
        return not flag
    elsewhere = any(
        other.hosted or other.lieu is each
        for each in gate.admission.sessions.kin(session)
        for other in each.conferences
    )
    return flag and session.account is not None and not elsewhere


@pytest.mark.parametrize("after", MODELS)
@settings(max_examples=2 * settings().max_examples)
@given(before=st.sampled_from(sorted(MODELS)), first=STEPS, then=STEPS, overdraft=st.sampled_from([0, 0, 1]))
def test_the_steps_that_follow_are_decided_as_if_it_had_been_the_law_from_the_start(
    after: str, before: str, first: list[Any], then: list[Any], overdraft: int
) -> None:
    assume(before != after)
    came, was = Gate(*models(WIDE, before)), Gate(*models(WIDE, after))
    for each in first:
        if declared(came, *each):
            step(came, *each)
            step(was, *each)
    assert came.admission.follow(after)
    for gate in (came, was):
        retune(gate, NARROW, overdraft)
    assert held(came) == held(was)
    assert counts(came) == counts(was)
    for each in then:
        assert step(came, *each) == step(was, *each)
        assert held(came) == held(was)
        assert counts(came) == counts(was)
    for name, book in came.admission.law.pools.items():
        assert book.denials == was.admission.law.pools[name].denials
