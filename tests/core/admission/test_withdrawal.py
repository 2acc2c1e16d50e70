"""Undoing a decision: afterwards everything is held, counted and said as it was before."""

from __future__ import annotations

from typing import Any

import pytest
from gateway.core.admission.outcome import Decision
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.snapshot import snapshot
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop, epop
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import DAY, HOUR, START, CoreHarness, request


def harness(pro: int = 10, **terms: Any) -> CoreHarness:
    models = (trueconf(TrueConf(pro=pro, online=99, allow_pro_requests=True, **terms)), nefsis_named(NefsisNamed()))
    return CoreHarness(*models, epop(Epop(99)))


def state(house: CoreHarness) -> dict[str, Any]:
    """All that can be seen of who holds and does what."""
    admission = house.admission
    seen = snapshot(admission, house.now.mono)
    return {
        "pools": {(each.model, each.pool): (each.used, dict(each.leases)) for each in seen.pools},
        "claims": [{name: set(book.claims) for name, book in ledger.pools.items()} for ledger in admission.ledgers],
        "ends": [
            {(name, key): lease.expires for name, book in ledger.pools.items() for key, lease in book.leases.items()}
            for ledger in admission.ledgers
        ],
        "sessions": {
            number: (session.awake, {each.id for each in session.conferences}, list(map(set, session.seats)))
            for number, session in admission.sessions.by_number.items()
        },
        "conferences": {
            id: (
                each.live,
                [(member.number, host) for member, host in each.members.items()],
                each.hosted,
                each.implied_host,
            )
            for id, each in admission.conferences.by_id.items()
        },
        "views": (seen.conferences, seen.members, seen.sessions, seen.accounts, seen.devices),
        "told": {number: admission.entitlements(session) for number, session in admission.sessions.by_number.items()},
    }


def undo(house: CoreHarness, outcome: Decision) -> Decision:
    """Undo a decision that may have been refused."""
    undone = Decision() if outcome.undo is None else outcome.undo(house.now)
    house.changes += outcome.changes + undone.changes
    return undone


def join(house: CoreHarness, session: Session, conference: str = "room", **fields: Any) -> Decision:
    return house.admission.join(session, request("join", conference=conference, **fields), house.now)


def start(house: CoreHarness, session: Session, conference: str = "room") -> Decision:
    return house.admission.start(session, request("start", conference=conference), house.now)


def kept(house: CoreHarness) -> dict[tuple[str, object, str], float | None]:
    """What a store holds that wrote down every change."""
    rows: dict[tuple[str, object, str], float | None] = {}
    for change in house.changes:
        place = (change.model, change.key, change.kind)
        if change.ended is None:
            rows[place] = change.expires
        else:
            rows.pop(place, None)
    return rows


def held(house: CoreHarness) -> dict[tuple[str, object, str], float | None]:
    """What memory holds of leases."""
    return {
        (ledger.model.name, key, "temporary"): lease.expires
        for ledger in house.admission.ledgers
        for book in ledger.pools.values()
        for key, lease in book.leases.items()
    }


def test_a_join_that_made_its_conference_leaves_no_trace() -> None:
    house = harness()
    ann = house.hello("ann")
    before = state(house)
    undo(house, join(house, ann, host=True))
    assert state(house) == before
    assert kept(house) == held(house) == {}


def test_who_had_a_license_gets_it_back_with_its_end_and_it_does_end_then() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann)
    house.leave(ann)
    house.wait(DAY - HOUR)
    before = state(house)
    outcome = join(house, ann, "other")
    house.wait(5)
    undo(house, outcome)
    assert {**state(house), "views": None} == {**before, "views": None}
    assert kept(house) == held(house)
    house.wait(HOUR - 6)
    assert house.used("pro") == 1
    house.wait(1)
    assert house.used("pro") == 0


def test_a_license_in_use_by_another_device_stays_in_use() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc)
    before = state(house)
    undo(house, join(house, phone))
    assert state(house) == before
    assert house.expires("ann") is None


def test_a_join_that_woke_its_session_puts_it_to_sleep_again() -> None:
    house = harness()
    ann = house.hello("ann")
    house.sleep(ann)
    before = state(house)
    undo(house, join(house, ann))
    assert state(house) == before


@pytest.mark.parametrize("held_before", [False, True])
def test_a_request_for_pro_is_undone(held_before: bool) -> None:
    house = harness()
    ann = house.hello("ann")
    if held_before:
        house.request_pro(ann)
        house.wait(HOUR)
    before = state(house)
    outcome = house.admission.request_pro(ann, house.now)
    undo(house, outcome)
    assert state(house) == before
    assert kept(house) == held(house)


def test_after_a_start_is_undone_all_wait_again_in_their_order() -> None:
    house = harness()
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    house.joined(cid, host=True)
    before = state(house)
    undo(house, start(house, ann))
    assert state(house) == before
    assert kept(house) == held(house)
    assert [answer["type"] for _, answer in house.start(ann).notices] == ["joined"] * 3


def test_who_came_after_a_start_that_is_undone_waits_behind_the_others() -> None:
    house = harness()
    ann, bob, guest = house.hello("ann"), house.hello("bob"), house.hello()
    house.joined(ann, host=True, scheduled=True, access="public")
    house.joined(bob)
    outcome = start(house, ann)
    house.joined(guest)
    undo(house, outcome)
    room = house.admission.conferences.by_id["room"]
    assert list(room.members) == [ann, bob, guest]
    assert (room.state, house.used("pro"), house.used("guest")) == ("scheduled", 0, 0)
    assert house.admission.conferences.live == {}
    assert house.admission.conferences.taking_part == set()
    house.start(ann)
    assert (house.used("pro"), house.used("guest")) == (2, 1)


def test_of_a_session_that_has_gone_only_what_it_left_behind_is_undone() -> None:
    house = harness()
    ann = house.hello("ann")
    outcome = join(house, ann)
    house.end(ann)
    undo(house, outcome)
    assert state(house)["claims"] == state(harness())["claims"]


def test_what_a_takeover_left_behind_is_undone() -> None:
    house = harness()
    old = house.hello("ann", "pc")
    outcome = join(house, old)
    new = house.hello("ann", "pc")
    undo(house, outcome)
    assert house.pro() == {}
    assert house.admission.entitlements(new)["seats"] == ["online"]


def test_a_license_of_an_account_that_was_deleted_meanwhile_keeps_the_end_of_the_deletion() -> None:
    house = harness()
    ann = house.hello("ann")
    house.request_pro(ann)
    house.wait(HOUR)
    outcome = join(house, ann)
    house.forget("ann")
    undo(house, outcome)
    assert house.pro() == {"ann": "deleted"}
    assert house.expires("ann") == DAY


def test_a_license_that_became_permanent_meanwhile_stays_permanent() -> None:
    house = harness()
    ann = house.hello("ann")
    house.request_pro(ann)
    outcome = join(house, ann)
    house.redistribute(["ann"])
    undo(house, outcome)
    assert house.pro() == {"ann": "permanent"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "sleep", "request", "start", "end", "wait"]),
        st.integers(0, 3),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=12,
)


@given(before=STEPS, pending=STEPS, pro=st.integers(1, 3))
def test_decisions_undone_the_last_first_leave_what_was_before_them(
    before: list[tuple[str, int, str, bool]], pending: list[tuple[str, int, str, bool]], pro: int
) -> None:
    house = harness(pro)
    people = [house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob"), house.hello("cid")]
    for what, who, where, flag in before:
        _act(house, people[who], what, where, flag)
    before_all = state(house)
    outcomes = []
    for what, who, where, flag in pending:
        if what in {"join", "request", "start"}:
            outcomes.append(_act(house, people[who], what, where, flag))
    for outcome in reversed(outcomes):
        undone = outcome.undo(house.now) if outcome.undo is not None and outcome.refused is None else Decision()
        house.changes += undone.changes
    after = state(house)
    for seen in (before_all, after):  # who is first of two sets of equals is not seen by anybody
        seen["told"] = {number: {**told, "seats": set(told["seats"])} for number, told in seen["told"].items()}
    assert after == before_all
    assert kept(house) == held(house)
    assert house.now.wall >= START


def _act(house: CoreHarness, session: Session, what: str, where: str, flag: bool) -> Decision:
    gone = session.number not in house.admission.sessions.by_number
    outcome = Decision()
    if what == "wait":
        outcome = house.wait(HOUR * 7)
    elif gone:
        return outcome
    elif what == "join":
        outcome = join(house, session, where, host=flag, scheduled=flag)
    elif what == "start":
        outcome = start(house, session, where)
    elif what == "request":
        outcome = house.admission.request_pro(session, house.now)
    elif what == "sleep":
        outcome = house.admission.sleep(session, house.now)
    elif what == "leave":
        outcome = house.admission.leave(session, request("leave", conference=where), house.now)
    elif what == "end":
        return house.end(session)
    if what != "wait":
        house.changes += outcome.changes
    return outcome
