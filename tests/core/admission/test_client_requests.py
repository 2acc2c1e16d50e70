"""What clients ask about themselves: who is let in before any license is asked, who goes on, and who is lost."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.bans import subject_of
from gateway.core.admission.replies import entitlements
from gateway.core.counting.session import ABRUPT, Instant, Session
from gateway.licensing.epop import Epop, epop
from gateway.licensing.floating import Floating, floating
from tests.core.harnesses import DIGEST, prove, proven_hello
from tests.core_harness import CoreHarness, answer

HERE, THERE = "192.0.2.1", "192.0.2.2"
OTHER_DIGEST = "00" * 32


def harness(limit: int = 9, **terms: Any) -> CoreHarness:
    return CoreHarness(floating(Floating(limit=limit, key="account")), **terms)


def hello(account: str | None = "ann", home: str = "", token: str | None = DIGEST, address: str = HERE) -> c.Hello:
    return c.Hello("app", account, "pc", home, "", address, "tcp", token)


def reason(harness: CoreHarness, command: c.Command) -> str | None:
    """Why a command is refused; None if it is not."""
    refused = harness.apply(command).refused
    return None if refused is None else refused.reason


# -- hello -------------------------------------------------------------------------------------------------------------


def test_what_speaks_against_a_hello_is_asked_in_this_order() -> None:
    house = harness(limit=1, accounts_mode="token", on_duplicate="reject")
    house.apply(c.SetGranting(False))
    house.apply(c.PutBan(subject_of("ann"), 60.0))
    asked = hello(token=OTHER_DIGEST)
    assert reason(house, asked) == "unregistered"
    house.apply(c.SetGranting(True))
    assert reason(house, asked) == "banned"
    house.apply(c.LiftBan(subject_of("ann")))
    assert reason(house, asked) == "account_unknown"
    prove(house, "ann", "bob")
    assert reason(house, asked) == "bad_credential"
    first = house.apply(hello()).session
    assert first is not None
    assert reason(house, hello()) == "duplicate"
    house.apply(c.End(first, "bye"))
    assert reason(house, hello("bob")) is None
    assert reason(house, hello()) == "pool_full"


@pytest.mark.parametrize("token", [None, "", OTHER_DIGEST, DIGEST.upper()])
def test_an_account_is_proven_by_the_digest_of_its_secret_and_by_nothing_else(token: str | None) -> None:
    house = harness(accounts_mode="token")
    prove(house, "ann")
    assert reason(house, hello(token=token)) == "bad_credential"
    house.apply(c.RevokeAccountToken("ann", DIGEST[:12]))
    assert reason(house, hello()) == "bad_credential"
    assert reason(house, hello(None, token=token)) is None


def test_where_claims_are_believed_nobody_proves_anything() -> None:
    house = harness()
    prove(house, "ann")
    assert reason(house, hello(token=OTHER_DIGEST)) is None
    assert reason(house, hello("stranger", token=None)) is None


def test_accounts_of_other_homes_are_let_in_by_the_list_of_homes_and_by_nothing_else() -> None:
    house = harness(accounts_mode="token", homes=("far",), home="near")
    assert reason(house, hello(home="elsewhere")) == "not_allowed"
    assert reason(house, hello(home="far", token=None)) is None
    assert reason(house, hello(home="near", token=None)) == "account_unknown"
    prove(house, "ann")
    own = house.apply(hello(home="near")).session
    assert own is not None
    assert house.state.sessions.by_number[own].identity == "ann"


def test_a_ban_says_when_it_ends_and_one_of_guests_reaches_no_user_of_their_address() -> None:
    house = harness()
    house.apply(c.PutBan(subject_of("ann"), 90.5))
    house.apply(c.PutBan(subject_of(HERE, kind="guests"), 60.0))
    assert answer(house.apply(hello()))["retry_after_seconds"] == 91
    assert answer(house.apply(hello(None)))["retry_after_seconds"] == 60
    assert reason(house, hello(None, address=THERE)) is None
    assert reason(house, hello("bob")) is None
    house.wait(60.0)
    assert reason(house, hello(None)) is None
    assert reason(house, hello()) == "banned"
    house.wait(31.0)
    assert reason(house, hello()) is None
    assert not list(house.state.directory.bans)


def test_a_refused_hello_uses_no_number() -> None:
    house = harness(accounts_mode="token")
    for _ in range(3):
        assert reason(house, hello()) == "account_unknown"
    prove(house, "ann")
    welcome = house.apply(hello())
    assert welcome.session == 1
    assert answer(welcome)["session"] == "s-0-1"


@pytest.mark.parametrize("asked", [c.Join(1, "room"), c.Start(1, "room"), c.Wake(1), c.RequestPro(1)])
def test_an_unregistered_gateway_grants_nothing_and_keeps_what_was_granted(asked: c.Command) -> None:
    house = CoreHarness(epop(Epop()))
    ann = house.hello("ann")
    house.joined(ann, "other")
    house.apply(c.SetGranting(False))
    denied = answer(house.apply(asked))
    assert (denied["reason"], denied["retry_after_seconds"]) == ("unregistered", 30)
    assert ann.takes_part
    house.leave(ann, "other")
    assert house.sleep(ann)["type"] == "asleep"
    assert house.end(ann).refused is None


# -- lost and resumed --------------------------------------------------------------------------------------------------


def lost(house: CoreHarness, session: Session, cause: str = "reset") -> None:
    """A session has lost its connection and waits."""
    house.end(session, cause)
    assert session.number in house.state.resumable


def resume(house: CoreHarness, session: Session, address: str = HERE) -> Any:
    return house.apply(c.Resume(session.number, session.generation, address, "websocket"))


def test_a_lost_session_keeps_everything_and_goes_on_with_another_connection() -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    ann = house.hello("ann", "pc")
    house.joined(ann, "a")
    house.joined(ann, "b", scheduled=True)
    lost(house, ann)
    house.wait(29.9)
    assert house.used("concurrent") == 1
    decision = resume(house, ann, THERE)
    assert decision.answer == {
        "type": "welcome",
        "session": "s-0-1",
        "conferences": ["a", "b"],
        "presence": "awake",
        **entitlements(house.state, ann),
    }
    assert (decision.session, decision.closings) == (1, [])
    assert (ann.address, ann.peer_address, ann.transport, ann.generation) == (HERE, THERE, "websocket", 1)
    house.wait(60)
    assert house.used("concurrent") == 1


def test_who_resumes_a_session_that_is_connected_takes_its_place() -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    ann = house.hello("ann")
    assert resume(house, ann).closings == [(1, "replaced")]
    assert list(house.state.sessions.by_number) == [1]


def test_who_is_banned_does_not_resume_and_the_session_waits_on() -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    ann, guest = house.hello("ann"), house.hello()
    for session in (ann, guest):
        lost(house, session)
    house.apply(c.PutBan(subject_of(THERE), 60.0))
    assert resume(house, ann, THERE).refused.reason == "banned"
    assert resume(house, guest, THERE).refused.reason == "banned"
    assert (ann.generation, list(house.state.resumable)) == (0, [1, 2])
    assert resume(house, guest, HERE).refused is None


@pytest.mark.parametrize("cause", sorted(ABRUPT))
def test_a_lost_session_nobody_resumes_ends_for_the_cause_of_its_loss(cause: str) -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    ann = house.hello("ann")
    house.joined(ann)
    lost(house, ann, cause)
    house.wait(30)
    assert house.state.sessions.by_number == {}
    assert house.state.resumable == {}
    assert house.view("concurrent").releases[cause] == 1


@pytest.mark.parametrize("cause", ["bye", "kicked", "protocol_error", "drained"])
def test_a_session_that_ended_in_order_does_not_wait(cause: str) -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    house.end(house.hello("ann"), cause)
    assert house.state.sessions.by_number == {}


def test_a_session_that_waits_may_be_ended_at_once() -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0)
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    for session in (ann, bob, cid):
        house.joined(session)
        lost(house, session)
    house.end(ann, "closed")
    assert list(house.state.sessions.by_number) == [2, 3]
    house.apply(c.EndResumables())
    assert house.state.sessions.by_number == {}
    releases = house.view("concurrent").releases
    assert (releases["closed"], releases["reset"]) == (1, 2)


def test_of_too_many_lost_sessions_the_one_that_was_lost_first_ends() -> None:
    house = CoreHarness(epop(Epop()), resume_window=30.0, max_resumable=2)
    ann, bob, cid = (house.hello(name) for name in ("ann", "bob", "cid"))
    lost(house, ann, "reset")
    lost(house, bob, "closed")
    assert resume(house, ann).refused is None
    lost(house, ann, "reset")
    lost(house, cid)
    assert list(house.state.resumable) == [ann.number, cid.number]
    assert list(house.state.sessions.by_number) == [ann.number, cid.number]


def test_a_client_that_crashed_is_no_duplicate_of_itself() -> None:
    house = harness(limit=1, on_duplicate="reject", resume_window=30.0)
    ann = house.hello("ann", "pc", address=HERE)
    assert reason(house, hello()) == "duplicate"
    lost(house, ann)
    assert reason(house, hello(address=THERE)) == "duplicate"
    decision = house.apply(hello())
    assert (decision.session, decision.closings) == (2, [(1, "replaced")])
    assert (house.used("seats"), house.state.resumable) == (1, {})


@pytest.mark.parametrize("key", ["connection", "device", "account", "address"])
@pytest.mark.parametrize("policy", ["reject", "takeover"])
def test_who_takes_over_from_a_crashed_session_leaves_no_seat_behind(key: Any, policy: str) -> None:
    house = CoreHarness(floating(Floating(limit=1, key=key, linger=60.0)), on_duplicate=policy, resume_window=30.0)
    lost(house, house.hello("ann", "pc"))
    house.hello("ann", "pc")
    view = house.view("seats")
    assert (view.used, view.limit, view.grants - sum(view.releases.values())) == (1, 1, 1)


def test_a_session_that_is_over_is_an_error_of_who_asks() -> None:
    house = harness()
    ann = house.hello("ann")
    house.end(ann, "bye")
    for command in (c.End(1, "bye"), c.Join(1, "room"), c.Sleep(1), c.Resume(1, 0, HERE, "tcp")):
        with pytest.raises(KeyError):
            house.apply(command)
    assert house.state.at == Instant(house.now.mono, house.now.wall)


def test_a_proven_account_is_taken_over_from_anywhere() -> None:
    house = harness(accounts_mode="token")
    prove(house, "ann")
    assert house.apply(proven_hello("ann", "pc", HERE)).session == 1
    assert house.apply(proven_hello("ann", "pc", THERE)).closings == [(1, "replaced")]
