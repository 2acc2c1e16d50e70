"""Since when somebody is idle: only to take part in a live conference, to sleep and to be used ends it."""

from __future__ import annotations

from gateway.core.admission import commands as c
from gateway.core.admission.conferences import Declaration
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import answer


def beat(house: LicensedHarness, session: Session, *, active: bool, ago: float = 0.0) -> None:
    """A client says whether somebody uses it."""
    assert house.apply(c.Activity(session.number, active, ago=ago)).answer is None


def asleep(house: LicensedHarness) -> list[Session]:
    """Who sleeps."""
    return [session for session in house.state.sessions.by_number.values() if not session.awake]


def test_who_is_denied_when_a_conference_is_started_goes_on_being_idle() -> None:
    house = LicensedHarness("epop", {"epop": Epop(users=1)}, idle_timeout=10.0)
    ann, bob, cid = house.hello("ann"), house.hello("bob"), house.hello("cid")
    beat(house, cid, active=True)
    for session in (ann, bob, cid):
        house.joined(session, scheduled=True, host=session is ann)
    beat(house, bob, active=False)
    house.wait(7.0)
    beat(house, cid, active=False, ago=7.0)
    told = {number: said["type"] for number, said in house.start(ann).notices}
    assert told == {ann.number: "joined", bob.number: "denied", cid.number: "denied"}
    house.wait(2.9)
    assert asleep(house) == []
    house.wait(0.1)
    assert asleep(house) == [bob, cid]


def test_who_is_admitted_when_a_conference_is_started_begins_anew_when_it_leaves() -> None:
    house = LicensedHarness("epop", {"epop": Epop(users=2)}, idle_timeout=10.0)
    ann, bob = house.hello("ann"), house.hello("bob")
    beat(house, bob, active=False)
    house.joined(ann, scheduled=True, host=True)
    house.joined(bob)
    house.wait(7.0)
    house.start(ann)
    house.wait(7.0)
    assert asleep(house) == []
    house.leave(bob)
    house.wait(9.9)
    assert asleep(house) == []
    house.wait(0.1)
    assert asleep(house) == [bob]


def test_no_license_is_taken_from_who_waited_for_the_conference_that_is_started() -> None:
    terms = TrueConf(pro=1, allow_pro_requests=True)
    house = LicensedHarness("trueconf", {"trueconf": terms}, preempt=True)
    house.apply(c.PutGroup("vips", ("vip",), permanent=False, priority=1))
    house.apply(c.PutConference("room", Declaration(scheduled=True)))
    host, vip, ann = house.hello(kind="sip"), house.hello("vip"), house.hello("ann")
    house.joined(host, host=True)
    house.joined(vip)
    house.joined(ann)
    assert house.request_pro(ann)["type"] == "granted"
    beat(house, ann, active=False)
    told = {number: said["type"] for number, said in house.start(host).notices}
    assert told == {host.number: "joined", vip.number: "denied", ann.number: "joined"}
    house.leave(ann)
    assert answer(house.decide_join(vip))["type"] == "joined"
