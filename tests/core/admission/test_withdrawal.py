"""Withdrawing a grant: afterwards everything is held, counted and said as it was before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.admission.commands import EndConference, PutConference, RequestPro
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision
from gateway.core.admission.replies import entitlements
from gateway.core.admission.snapshot import snapshot
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop, epop
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import DAY, HOUR, START, CoreHarness, told


def harness(pro: int = 10, **terms: Any) -> CoreHarness:
    models = (trueconf(TrueConf(pro=pro, online=99, allow_pro_requests=True, **terms)), nefsis_named(NefsisNamed()))
    return CoreHarness(*models, epop(Epop(99)))


def seen(house: CoreHarness) -> dict[str, Any]:
    """All that can be seen of who holds and does what."""
    state = house.state
    view = snapshot(state, house.now.mono)
    return {
        "pools": {(each.model, each.pool): (each.used, dict(each.leases)) for each in view.pools},
        "claims": [{name: set(pool.claims) for name, pool in ledger.pools.items()} for ledger in state.ledgers],
        "ends": [
            {(name, key): lease.expires for name, pool in ledger.pools.items() for key, lease in pool.leases.items()}
            for ledger in state.ledgers
        ],
        "sessions": {
            number: (session.awake, {each.id for each in session.conferences}, list(map(set, session.seats)))
            for number, session in state.sessions.by_number.items()
        },
        "conferences": {
            id: (
                each.live,
                [(member.number, host) for member, host in each.members.items()],
                each.hosted,
                each.implied_host,
            )
            for id, each in state.conferences.by_id.items()
        },
        "views": (view.conferences, view.members, view.sessions, view.accounts, view.devices),
        "told": {number: entitlements(state, session) for number, session in state.sessions.by_number.items()},
    }


def kept(house: CoreHarness) -> dict[tuple[str, object, str], float | None]:
    """What a store holds that wrote down every change."""
    rows: dict[tuple[str, object, str], float | None] = {}
    for change in house.lease_changes:
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
        for ledger in house.state.ledgers
        for pool in ledger.pools.values()
        for key, lease in pool.leases.items()
    }


def members(house: CoreHarness, conference: str = "room") -> list[Session]:
    """The members of a conference in order of arrival."""
    return list(house.state.conferences.by_id[conference].members)


def request_pro(house: CoreHarness, session: Session) -> Decision:
    return house.apply(RequestPro(session.number))


def test_a_join_that_made_its_conference_leaves_no_trace() -> None:
    house = harness()
    ann = house.hello("ann")
    before = seen(house)
    house.withdraw(house.decide_join(ann, host=True))
    assert seen(house) == before
    assert kept(house) == held(house) == {}


def test_a_host_that_joined_a_living_conference_is_forgotten_as_its_host() -> None:
    house = harness()
    house.joined(house.hello("bob"))
    before = seen(house)
    house.withdraw(house.decide_join(house.hello("ann"), host=True))
    ann = house.state.sessions.by_number[max(house.state.sessions.by_number)]
    house.end(ann)
    assert {**seen(house), "views": None} == {**before, "views": None}
    assert not house.state.conferences.by_id["room"].hosted


def test_who_had_a_license_gets_it_back_with_its_end_and_it_does_end_then() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann)
    house.leave(ann)
    house.wait(DAY - HOUR)
    before = seen(house)
    decision = house.decide_join(ann, "other")
    house.wait(5)
    house.withdraw(decision)
    assert {**seen(house), "views": None} == {**before, "views": None}
    assert kept(house) == held(house)
    house.wait(HOUR - 6)
    assert house.used("pro") == 1
    house.wait(1)
    assert house.used("pro") == 0


def test_a_license_in_use_by_another_device_stays_in_use() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc)
    before = seen(house)
    house.withdraw(house.decide_join(phone))
    assert seen(house) == before
    assert house.expires("ann") is None


def test_a_join_that_woke_its_session_puts_it_to_sleep_again() -> None:
    house = harness()
    ann = house.hello("ann")
    house.sleep(ann)
    before = seen(house)
    house.withdraw(house.decide_join(ann))
    assert seen(house) == before


@pytest.mark.parametrize("held_before", [False, True])
def test_a_request_for_pro_is_undone(held_before: bool) -> None:
    house = harness()
    ann = house.hello("ann")
    if held_before:
        house.request_pro(ann)
        house.wait(HOUR)
    before = seen(house)
    house.withdraw(request_pro(house, ann))
    assert seen(house) == before
    assert kept(house) == held(house)


def test_who_asked_is_denied_because_the_store_is_unavailable() -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    granted = [house.decide_join(ann, host=True, scheduled=True), house.start(ann), request_pro(house, bob)]
    answers = [house.withdraw(decision).answer for decision in reversed(granted)]
    denied = {"type": "denied", "reason": "store_unavailable"}
    assert answers == [
        {**denied, "request": "request_pro"},
        {**denied, "request": "start", "conference": "room"},
        {**denied, "request": "join", "conference": "room"},
    ]


def test_the_other_devices_hear_that_the_license_is_gone_again() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    decision = house.withdraw(house.decide_join(pc))
    assert [message["type"] for message in told(decision, phone)] == ["status"]
    assert told(decision, phone)[0]["seats"] == ["online"]
    assert told(decision, pc) == []


def test_nothing_can_be_withdrawn_where_the_license_leases_nothing() -> None:
    house = CoreHarness(epop(Epop(9)), trueconf(TrueConf()))
    ann = house.hello("ann")
    assert house.decide_join(ann, host=True, scheduled=True).withdraw is None
    assert house.start(ann).withdraw is None


def test_after_a_start_is_undone_all_wait_again_in_their_order() -> None:
    house = harness()
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    house.joined(cid, host=True)
    before = seen(house)
    house.withdraw(house.start(ann))
    assert seen(house) == before
    assert kept(house) == held(house)
    assert [answer["type"] for _, answer in house.start(ann).notices] == ["joined"] * 3


def test_who_was_denied_by_a_start_that_is_undone_waits_again_in_its_place() -> None:
    house = harness(pro=1)
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    for session in (ann, bob, cid):
        house.joined(session, host=True, scheduled=True)
    before = seen(house)
    decision = house.start(bob)
    assert [message["type"] for _, message in decision.notices] == ["joined", "denied", "denied"]
    house.withdraw(decision)
    assert seen(house) == before
    assert members(house) == [ann, bob, cid]


def test_a_start_that_admitted_nobody_is_undone_and_all_wait_again() -> None:
    house = harness(gateway=0)
    house.apply(PutConference("room", Declaration(scheduled=True)))
    ann, bob = house.hello("ann", kind="sip"), house.hello("bob", kind="sip")
    for session in (ann, bob):
        house.joined(session, host=True)
    before = seen(house)
    decision = house.start(ann)
    assert [message["type"] for _, message in decision.notices] == ["denied", "denied"]
    assert house.state.conferences.by_id == {}
    house.withdraw(decision)
    assert seen(house) == before
    assert members(house) == [ann, bob]


def test_who_came_after_a_start_that_is_undone_waits_behind_the_others() -> None:
    house = harness()
    ann, bob, guest = house.hello("ann"), house.hello("bob"), house.hello()
    house.joined(ann, host=True, scheduled=True, access="public")
    house.joined(bob)
    decision = house.start(ann)
    house.joined(guest)
    house.withdraw(decision)
    room = house.state.conferences.by_id["room"]
    assert list(room.members) == [ann, bob, guest]
    assert (room.state, house.used("pro"), house.used("guest")) == ("scheduled", 0, 0)
    assert house.state.conferences.live == {}
    assert house.state.conferences.taking_part == {}
    house.start(ann)
    assert (house.used("pro"), house.used("guest")) == (2, 1)


def test_of_a_session_that_has_gone_only_what_it_left_behind_is_undone() -> None:
    house = harness()
    ann = house.hello("ann")
    decision = house.decide_join(ann)
    house.end(ann)
    house.withdraw(decision)
    assert seen(house)["claims"] == seen(harness())["claims"]


def test_what_a_takeover_left_behind_is_undone() -> None:
    house = harness()
    old = house.hello("ann", "pc")
    decision = house.decide_join(old)
    new = house.hello("ann", "pc")
    house.withdraw(decision)
    assert house.pro() == {}
    assert entitlements(house.state, new)["seats"] == ["online"]


def test_a_license_of_an_account_that_was_deleted_meanwhile_keeps_the_end_of_the_deletion() -> None:
    house = harness()
    ann = house.hello("ann")
    house.request_pro(ann)
    house.wait(HOUR)
    decision = house.decide_join(ann)
    house.forget("ann")
    house.withdraw(decision)
    assert house.pro() == {"ann": "deleted"}
    assert house.expires("ann") == DAY


def test_a_license_that_became_permanent_meanwhile_stays_permanent() -> None:
    house = harness()
    ann = house.hello("ann")
    house.request_pro(ann)
    decision = house.decide_join(ann)
    house.redistribute(["ann"])
    house.withdraw(decision)
    assert house.pro() == {"ann": "permanent"}


# -- who left meanwhile ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves", "ends", "is replaced", "is removed"])
def test_who_left_after_a_start_that_is_undone_is_not_put_back(how: str) -> None:
    house = harness()
    ann, bob, cid = house.hello("ann"), house.hello("bob", "pc"), house.hello("cid")
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    house.joined(cid)
    decision = house.start(ann)
    match how:
        case "leaves":
            house.leave(bob)
        case "ends":
            house.end(bob)
        case "is replaced":
            house.hello("bob", "pc")
        case _:
            house.revoke("bob")
    house.withdraw(decision)
    assert members(house) == [ann, cid]
    assert bob.conferences == ()
    assert house.state.conferences.by_id["room"].state == "scheduled"
    assert list(house.state.conferences.waiting) == [ann, cid]
    assert house.used("pro") == 0
    assert house.used("participants", "nefsis-named") == 0
    assert kept(house) == held(house) == {}


def test_the_host_that_left_after_a_start_that_is_undone_is_not_put_back() -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    decision = house.start(ann)
    house.end(ann)
    house.withdraw(decision)
    assert members(house) == [bob]
    assert house.state.conferences.scheduled == {"room": house.state.conferences.by_id["room"]}
    assert house.join(bob)["reason"] == "already_member"
    house.leave(bob)
    assert house.state.conferences.by_id == {}


def test_who_left_and_came_back_after_a_start_that_is_undone_waits_once() -> None:
    house = harness()
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    house.joined(cid)
    decision = house.start(ann)
    house.leave(bob)
    house.joined(bob, host=True)
    house.withdraw(decision)
    assert set(members(house)) == {ann, bob, cid}
    assert [each.id for each in bob.conferences] == ["room"]
    house.leave(bob)
    assert members(house) == [ann, cid]


@pytest.mark.parametrize("how", ["all leave", "the operator"])
def test_a_conference_that_ended_after_a_start_that_is_undone_does_not_come_back(how: str) -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, host=True, scheduled=True)
    house.joined(bob)
    decision = house.start(ann)
    if how == "all leave":
        house.leave(bob)
        house.end(ann)
    else:
        house.apply(EndConference("room"))
    house.withdraw(decision)
    assert house.state.conferences.by_id == {}
    assert bob.conferences == ()
    assert house.used("pro") == 0
    assert kept(house) == held(house) == {}


# -- a living conference of the name of a dead one -----------------------------------------------------------------


def living(house: CoreHarness, *inside: Session) -> None:
    """`room` is a live conference of these members in every view, and goes on until they leave."""
    state = house.state
    room = state.conferences.by_id["room"]
    assert list(room.members) == list(inside)
    assert state.conferences.live == state.conferences.live_groups == {"room": room}
    assert state.conferences.scheduled == {}
    assert list(state.conferences.taking_part) == list(inside)
    view = snapshot(state, house.now.mono)
    assert (view.conferences, view.members) == (
        {"live": 1, "scheduled": 0},
        {"live": len(inside), "scheduled": 0},
    )
    assert house.used("participants", "nefsis-named") == len(inside)
    for session in inside:
        assert house.leave(session)["type"] == "left"
    assert state.conferences.by_id == state.conferences.live == state.conferences.live_groups == {}


def test_withdrawing_a_start_of_a_dead_conference_leaves_a_living_one_of_its_name_alone() -> None:
    house = harness()
    host, member, xenia, yves = (house.hello(name) for name in ("host", "member", "xenia", "yves"))
    house.joined(host, host=True, scheduled=True)
    house.joined(member)
    decision = house.start(host)
    house.leave(member)
    house.end(host)
    house.joined(xenia, host=True)
    house.joined(yves)
    house.withdraw(decision)
    assert member.conferences == ()
    assert set(house.pro()) == {"xenia", "yves"}
    assert house.leave(member)["reason"] == "not_member"
    living(house, xenia, yves)


def test_withdrawing_a_start_leaves_who_waited_in_the_living_conference_of_the_name() -> None:
    house = harness()
    host, member = house.hello("host"), house.hello("member")
    house.joined(host, host=True, scheduled=True)
    house.joined(member)
    decision = house.start(host)
    house.leave(member)
    house.leave(host)
    house.joined(member, host=True)
    house.withdraw(decision)
    assert host.conferences == ()
    living(house, member)


def test_withdrawing_a_join_of_a_dead_conference_leaves_a_living_one_of_its_name_alone() -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    decision = house.decide_join(ann, host=True)
    house.leave(ann)
    house.joined(bob, host=True)
    house.joined(ann)
    house.withdraw(decision)
    living(house, bob, ann)


def test_withdrawing_a_join_forgets_no_idle_lease_of_a_shadow_that_keeps_as_many_as_it_may() -> None:
    house = CoreHarness(trueconf(TrueConf(pro=9)), nefsis_named(NefsisNamed(hosts=9)), shadow_leases=2)
    for name in ("ann", "bob"):
        host = house.hello(name)
        house.joined(host, host=True)
        house.leave(host)
    cid = house.hello("cid")
    idle = house.ledger("nefsis-named").pools["hosts"].unused_leases
    assert list(idle) == ["ann", "bob"]
    decision = house.decide_join(cid, host=True)
    house.withdraw(decision)
    assert list(idle) == ["ann", "bob"]
    assert house.used("hosts", "nefsis-named") == 2
    house.joined(cid, host=True)
    house.leave(cid)
    assert list(idle) == ["bob", "cid"]


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joins", [10, 40, 160])
def test_withdrawing_many_joins_into_one_conference_touches_each_session_once(
    joins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = CoreHarness(trueconf(TrueConf(pro=1000, online=1000)), nefsis_named(NefsisNamed(participants=1000)))
    sessions = [house.hello(f"user-{number}") for number in range(joins)]
    house.joined(house.hello("host"), host=True)
    before = seen(house)
    decisions = [house.decide_join(session) for session in sessions]
    touched: list[tuple[str, int]] = []
    set_seats = Ledger.set_seats

    def count(ledger: Ledger, session: Session, *rest: Any) -> None:
        touched.append((ledger.model.name, session.number))
        set_seats(ledger, session, *rest)

    monkeypatch.setattr(Ledger, "set_seats", count)
    for decision in reversed(decisions):
        house.withdraw(decision)
    assert sorted(touched) == sorted(
        (ledger.model.name, session.number) for ledger in house.state.ledgers for session in sessions
    )
    assert seen(house) == before


@pytest.mark.parametrize("hosts", [0, 3])
def test_withdrawing_many_joins_asks_the_other_members_for_a_host_once_at_most(
    hosts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = CoreHarness(trueconf(TrueConf(pro=1000, online=1000)), nefsis_named(NefsisNamed(participants=1000)))
    decisions = [house.decide_join(house.hello(f"user-{number}")) for number in range(100)]
    decisions += [house.decide_join(house.hello(f"host-{number}"), host=True) for number in range(hosts)]
    conference = house.state.conferences.by_id["room"]
    asked = 0

    class Members(dict[Session, bool]):
        def values(self) -> Any:
            nonlocal asked
            asked += 1
            return super().values()

    monkeypatch.setattr(conference, "members", Members(conference.members))
    for decision in reversed(decisions):
        assert conference.hosted is any(conference.members[each] for each in conference.members)
        house.withdraw(decision)
    assert not house.state.conferences.by_id
    assert asked == min(hosts, 1)


@pytest.mark.parametrize("gone", [False, True])
def test_a_host_whose_join_is_undone_has_not_hosted_though_it_is_gone(*, gone: bool) -> None:
    house = CoreHarness(trueconf(TrueConf()), nefsis_named(NefsisNamed()))
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann)
    decision = house.decide_join(bob, host=True)
    if gone:
        house.end(bob)
    house.withdraw(decision)
    assert house.state.conferences.by_id["room"].hosted is False


@pytest.mark.parametrize("joins", [10, 160])
def test_what_is_noted_of_a_join_does_not_grow_with_its_conference(joins: int) -> None:
    house = CoreHarness(trueconf(TrueConf(pro=1000, online=1000)))
    for number in range(joins):
        house.joined(house.hello(f"user-{number}"))
    withdraw = house.decide_join(house.hello("late")).withdraw
    assert withdraw is not None
    assert (withdraw.waiting, withdraw.asleep, withdraw.denied, len(withdraw.leases)) == ((), (), (), 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "sleep", "request", "start", "end", "wait"]),
        st.integers(0, 3),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=12,
)


def acted(steps: list[tuple[str, int, str, bool]], pro: int) -> tuple[CoreHarness, list[Session]]:
    """A core in which three accounts with four devices have done something, and their sessions."""
    house = harness(pro)
    people = [house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob"), house.hello("cid")]
    for what, who, where, flag in steps:
        _act(house, people[who], what, where, flag)
    return house, people


@settings(max_examples=10 * settings().max_examples)
@given(before=STEPS, pending=STEPS, pro=st.integers(0, 3))
def test_decisions_undone_the_last_first_leave_what_was_before_them(
    before: list[tuple[str, int, str, bool]], pending: list[tuple[str, int, str, bool]], pro: int
) -> None:
    house, people = acted(before, pro)
    before_all = seen(house)
    decisions = []
    for what, who, where, flag in pending:
        if what in {"join", "request", "start"}:
            decisions.append(_act(house, people[who], what, where, flag))
    for decision in reversed(decisions):
        house.withdraw(decision)
    after = seen(house)
    for each in (before_all, after):  # who is first of two sets of equals is not seen by anybody
        each["told"] = {number: {**told, "seats": set(told["seats"])} for number, told in each["told"].items()}
    assert after == before_all
    assert kept(house) == held(house)
    assert house.now.wall >= START


def _act(house: CoreHarness, session: Session, what: str, where: str, flag: bool) -> Decision:
    if what == "wait":
        return house.wait(HOUR * 7)
    if session.number not in house.state.sessions.by_number:
        return Decision()
    match what:
        case "join":
            return house.decide_join(session, where, host=flag, scheduled=flag)
        case "start":
            return house.start(session, where)
        case "request":
            return request_pro(house, session)
        case "end":
            return house.end(session)
        case "sleep":
            house.sleep(session)
        case "leave":
            house.leave(session, where)
    return Decision()


@settings(max_examples=10 * settings().max_examples)
@given(before=STEPS, pending=STEPS, pro=st.integers(0, 3))
def test_whatever_happened_meanwhile_members_sessions_and_seats_agree_after_a_withdrawal(
    before: list[tuple[str, int, str, bool]], pending: list[tuple[str, int, str, bool]], pro: int
) -> None:
    house, people = acted(before, pro)
    decisions = [_act(house, people[who], what, where, flag) for what, who, where, flag in pending]
    inside = {(session.number, each.number) for session in _present(house) for each in session.conferences}
    for decision in reversed(decisions):
        house.withdraw(decision)
    state = house.state
    for session in _present(house):
        for conference in session.conferences:
            assert state.conferences.by_id[conference.id] is conference
            assert session in conference.members
        for ledger in state.ledgers:
            assert set(session.seats[ledger.index]) == set(ledger.required_seats(session))
    for conference in state.conferences.by_id.values():
        assert conference.members
        assert all(conference in member.conferences for member in conference.members)
        assert (conference.id in state.conferences.live) is conference.live
        assert (conference.id in state.conferences.scheduled) is not conference.live
    assert set(state.conferences.taking_part) == {each for each in _present(house) if each.takes_part}
    denied = {number for each in decisions if each.withdraw for number in each.withdraw.denied}
    after = {(session.number, each.number) for session in _present(house) for each in session.conferences}
    assert {number for number, _ in after - inside} <= denied, "only who was denied by a start comes back"
    assert kept(house) == held(house)


def _present(house: CoreHarness) -> list[Session]:
    return list(house.state.sessions.by_number.values())
