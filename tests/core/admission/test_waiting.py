"""Waiting in line: who is put there, in which order they are served, and how a wait ends."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.bans import account_subject
from gateway.core.admission.decision import Decision
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import answer


def floating(limit: int = 1, key: Any = "account", **terms: Any) -> LicensedHarness:
    return LicensedHarness("floating", {"floating": Floating(limit=limit, key=key)}, **terms)


def hello(account: str | None, device: str | None = None, address: str = "192.0.2.1") -> c.Hello:
    return c.Hello("app", account, device, "", "", address, "tcp")


def wait(harness: LicensedHarness, request: Any, seconds: int = 60, id: str = "") -> Decision:
    return harness.apply(c.Wait(request, seconds, id or None))


def place_of(decision: Decision) -> int:
    assert decision.queue is not None
    assert decision.queue.place is not None
    return decision.queue.place


def queue(harness: LicensedHarness, *accounts: str) -> list[int]:
    """Have accounts wait to be welcomed."""
    return [place_of(wait(harness, hello(account), id=account)) for account in accounts]


def served(harness: LicensedHarness) -> list[tuple[Any, str]]:
    """Who waits no more since the last look: the id of its request, and the type or the reason of the answer."""
    found = [(each.id, answer(each.decision)) for each in harness.served]
    harness.served.clear()
    return [(id, str(said.get("reason", said["type"]))) for id, said in found]


def test_who_finds_the_pool_full_is_put_in_line_and_told_where() -> None:
    harness = floating(limit=2)
    for account in ("ann", "bob"):
        harness.hello(account)
    first, second = wait(harness, hello("cid"), 60), wait(harness, hello("dan"), 5)
    told = {"type": "queued", "request": "hello", "pool": "seats", "used": 2, "limit": 2}
    assert first.answer == {**told, "position": 1, "wait_seconds": 60}
    assert second.answer == {**told, "position": 2, "wait_seconds": 5}
    assert (first.session, first.refused) == (None, None)
    assert len(harness.state.sessions) == 2
    assert harness.view("seats").waiting == 2
    assert harness.denied("seats") == {}


def test_who_finds_a_seat_does_not_wait() -> None:
    harness = floating()
    assert answer(wait(harness, hello("ann")))["type"] == "welcome"
    assert not harness.state.lines


def test_a_seat_that_becomes_free_goes_to_the_head_in_the_same_step() -> None:
    harness = floating()
    ann = harness.hello("ann")
    queue(harness, "bob", "cid")
    harness.end(ann, "bye")
    assert served(harness) == [("bob", "welcome")]
    assert [each.account for each in harness.state.sessions.by_number.values()] == ["bob"]
    assert harness.used("seats") == 1


def test_a_raised_limit_and_the_end_of_enforcing_serve_the_line() -> None:
    harness = floating()
    harness.hello("ann")
    queue(harness, "bob", "cid", "dan")
    harness.change_terms({"floating": Floating(limit=2, key="account")})
    assert served(harness) == [("bob", "welcome")]
    harness.change_terms(enforce=False)
    assert served(harness) == [("cid", "welcome"), ("dan", "welcome")]


def test_a_lease_that_ends_serves_the_line() -> None:
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=1, online=9)})
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    assert answer(wait(harness, c.Join(bob.number, "room"), 86_400, "j"))["pool"] == "pro"
    harness.leave(ann)
    harness.wait(24 * 3600.0 - 1)
    assert served(harness) == []
    harness.wait(1.0)
    assert served(harness) == [("j", "pool_full")]  # its own time was over in the same second
    assert answer(wait(harness, c.Join(bob.number, "room"), 60))["type"] == "joined"


def test_a_request_that_does_not_wait_never_overtakes_a_line() -> None:
    """The head of the line needs a second pool that is full: its seat in the first stays idle, for nobody else."""
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=1, online=2)})
    ann, bob, cid = harness.hello("ann"), harness.hello("bob"), None
    harness.joined(ann)
    harness.sleep(bob)
    cid = harness.hello("cid")
    place_of(wait(harness, c.Join(bob.number, "room"), id="bob"))
    harness.end(cid, "bye")
    assert harness.used("online") == 1
    said = harness.knock("dan")[1]
    assert answer(said)["reason"] == "pool_full"
    assert answer(said)["used"] < answer(said)["limit"]
    assert answer(wait(harness, hello("eve"), id="eve"))["position"] == 2
    harness.apply(c.RevokeLease("ann"))
    assert served(harness) == [("bob", "joined")]
    harness.end(bob, "bye")
    assert served(harness) == [("eve", "welcome")]


def test_a_seat_that_is_held_already_overtakes_nobody() -> None:
    harness = floating()
    harness.hello("ann", "pc")
    queue(harness, "bob")
    harness.hello("ann", "phone")


def test_who_takes_over_its_own_seat_overtakes_nobody() -> None:
    harness = floating(key="connection")
    old = harness.hello("ann", "pc")
    queue(harness, "bob")
    assert harness.hello("ann", "pc").number != old.number
    assert served(harness) == []


def test_what_a_rule_refuses_does_not_wait() -> None:
    harness = floating()
    harness.hello("ann")
    harness.apply(c.PutBan(account_subject("bob"), 60.0))
    assert answer(wait(harness, hello("bob")))["reason"] == "banned"
    visitor = harness.hello(kind="console")
    assert answer(wait(harness, c.Join(visitor.number, "room")))["reason"] == "not_allowed"
    assert not harness.state.lines


def test_who_is_banned_while_it_waits_is_denied_when_its_turn_has_come() -> None:
    harness = floating()
    ann = harness.hello("ann")
    queue(harness, "bob", "cid")
    harness.apply(c.PutBan(account_subject("bob"), 600.0))
    assert served(harness) == [("bob", "banned")]
    harness.end(ann, "bye")
    assert served(harness) == [("cid", "welcome")]
    assert harness.view("seats").left == {"granted": 1, "timed_out": 0, "gave_up": 0, "refused": 1}


def test_a_line_has_a_limit() -> None:
    harness = floating(queue_limit=1)
    harness.hello("ann")
    queue(harness, "bob")
    assert answer(wait(harness, hello("cid")))["reason"] == "pool_full"
    assert harness.denied("seats") == {"pool_full": 1}
    harness.change_terms(queue_limit=0)
    assert len(harness.state.lines) == 1


def test_asking_again_keeps_the_place_and_moves_its_end() -> None:
    harness = LicensedHarness("epop", {"epop": Epop(users=1)})
    ann, bob, cid = (harness.hello(name) for name in ("ann", "bob", "cid"))
    harness.joined(ann)
    place = place_of(wait(harness, c.Join(bob.number, "room"), 10, "first"))
    place_of(wait(harness, c.Join(cid.number, "room"), 100, "cid"))
    harness.wait(8.0)
    again = wait(harness, c.Join(bob.number, "room"), 10, "second")
    assert (place_of(again), answer(again)["position"], answer(again)["wait_seconds"]) == (place, 1, 10)
    assert answer(wait(harness, c.Join(bob.number, "other"), 10, "other"))["position"] == 3
    harness.wait(8.0)
    harness.end(ann, "bye")
    assert served(harness) == [("second", "joined")]
    harness.end(cid, "bye")
    assert served(harness) == [("other", "joined")]


def test_a_wait_that_is_over_is_denied_and_a_true_denial() -> None:
    harness = floating()
    harness.hello("ann")
    queue(harness, "bob")
    harness.wait(60.0)
    (gone,) = harness.served
    assert gone.decision.answer == {
        "type": "denied",
        "request": "hello",
        "reason": "pool_full",
        "pool": "seats",
        "used": 1,
        "limit": 1,
        "retry_after_seconds": 30,
        "waited_seconds": 60,
    }
    assert harness.denied("seats") == {"pool_full": 1}
    assert harness.view("seats").true_denials == {"pool_full": 1}
    assert harness.view("seats").left["timed_out"] == 1


def test_each_waits_as_long_as_it_said_wherever_it_stands_in_the_line() -> None:
    harness = floating()
    harness.hello("ann")
    wait(harness, hello("bob"), 60, "bob")
    wait(harness, hello("cid"), 5, "cid")
    harness.wait(5.0)
    assert served(harness) == [("cid", "pool_full")]
    assert harness.view("seats").waiting == 1


def test_a_wait_that_ends_with_a_seat_is_a_demand_with_its_time_and_no_denial() -> None:
    harness = floating()
    ann = harness.hello("ann")
    queue(harness, "bob")
    harness.wait(7.5)
    harness.end(ann, "bye")
    assert harness.denied("seats") == {}
    pool = harness.ledger().pools["seats"]
    (episode,) = pool.denial_tracker.finished
    assert (episode.asker, episode.denials, episode.granted) == (("account", "bob"), 0, 1)
    assert episode.wait_seconds == 7.5
    summary = pool.summary(pool.interval, harness.now.mono)
    assert (summary.granted_after_denial, summary.wait_seconds, summary.true_denials) == (1, 7.5, 0)
    view = harness.view("seats")
    assert (view.left["granted"], sum(view.waits), view.waited_seconds) == (1, 1, 7.5)


@pytest.mark.parametrize("way", ["leave", "bye", "kick", "takeover", "delete"])
def test_the_ways_out_of_a_line_are_silent_and_true_denials(way: str) -> None:
    harness = LicensedHarness("epop", {"epop": Epop(users=1)})
    ann, bob = harness.hello("ann"), harness.hello("bob", "pc")
    harness.joined(ann)
    place_of(wait(harness, c.Join(bob.number, "room")))
    if way == "leave":
        assert harness.leave(bob) == {"type": "left", "conference": "room", "seats": []}
        assert harness.leave(bob)["reason"] == "not_member"
    else:
        commands: dict[str, c.Command] = {
            "bye": c.End(bob.number, "bye"),
            "kick": c.KickSession(bob.number),
            "takeover": hello("bob", "pc"),
            "delete": c.DeleteAccount("bob"),
        }
        harness.apply(commands[way])
    assert not harness.state.lines
    assert served(harness) == []
    assert harness.view("concurrent").left["gave_up"] == 1
    assert harness.view("concurrent").true_denials == {"pool_full": 1}


def test_who_waits_to_be_welcomed_is_sent_away_with_its_account() -> None:
    harness = floating()
    harness.hello("ann")
    bob, cid = queue(harness, "bob", "cid")
    kicked = harness.apply(c.KickAccount("bob"))
    assert kicked.queue is not None
    assert kicked.queue.closings == [(bob, "kicked")]
    harness.apply(c.GiveUp(cid))
    harness.apply(c.GiveUp(cid))
    assert not harness.state.lines
    queue(harness, "dan")
    harness.apply(c.EndHellos("draining"))
    assert served(harness) == [("dan", "draining")]


def test_who_goes_to_sleep_in_a_conference_gives_its_seat_to_who_waits_and_keeps_its_license() -> None:
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=2, online=2)})
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    harness.joined(bob)
    queue(harness, "cid")
    assert harness.sleep(ann) == {"type": "asleep", "seats": ["pro"]}
    assert served(harness) == [("cid", "welcome")]
    assert harness.expires("ann") == 24 * 3600.0
    assert harness.expires("bob") is None


def test_sleep_gives_up_the_wait_to_be_awake() -> None:
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=1, online=1)})
    ann = harness.hello("ann")
    harness.sleep(ann)
    harness.hello("bob")
    assert answer(wait(harness, c.Wake(ann.number)))["request"] == "wake"
    harness.sleep(ann)
    assert not harness.state.lines


def test_a_session_asleep_is_awake_when_its_turn_has_come() -> None:
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=1, online=1)})
    ann = harness.hello("ann")
    harness.sleep(ann)
    bob = harness.hello("bob")
    wait(harness, c.Wake(ann.number), id="w")
    harness.end(bob, "bye")
    assert served(harness) == [("w", "awake")]
    assert ann.awake


def test_a_pro_license_is_waited_for_too() -> None:
    terms = TrueConf(pro=1, online=9, allow_pro_requests=True)
    harness = LicensedHarness("trueconf", {"trueconf": terms})
    ann, bob = harness.hello("ann"), harness.hello("bob")
    assert harness.request_pro(ann)["type"] == "granted"
    assert answer(wait(harness, c.RequestPro(bob.number), id="p"))["pool"] == "pro"
    harness.apply(c.RevokeLease("ann"))
    assert served(harness) == [("p", "granted")]
    assert [change.key for change in harness.lease_changes if change.ended is None] == ["ann", "ann", "bob", "bob"]


def test_each_conference_of_a_named_host_has_a_line_of_its_own() -> None:
    harness = LicensedHarness("nefsis-named", {"nefsis-named": NefsisNamed(hosts=2, participants=1)})
    sessions: list[Session] = [harness.hello(name) for name in ("ann", "bob", "cid", "dan")]
    ann, bob, cid, dan = sessions
    harness.joined(ann, "a", host=True)
    harness.joined(bob, "b", host=True)
    told = answer(wait(harness, c.Join(cid.number, "a"), id="a"))
    assert (told["pool"], told["position"], told["used"], told["limit"]) == ("participants", 1, 1, 1)
    assert answer(wait(harness, c.Join(dan.number, "b"), id="b"))["position"] == 1
    assert harness.join(dan, "a")["reason"] == "conference_full"
    assert harness.view("participants").waiting == 2
    harness.end(bob, "bye")
    assert served(harness) == [("b", "host_not_named")]  # the conference has ended with its host
    harness.change_terms({"nefsis-named": NefsisNamed(hosts=2, participants=2)})
    assert served(harness) == [("a", "joined")]


def test_priority_lets_accounts_of_a_group_come_first() -> None:
    harness = floating(queue_order="priority")
    harness.apply(c.PutGroup("staff", ("cid", "dan"), False, 2))
    harness.apply(c.PutGroup("board", ("dan",), False, 5))
    ann = harness.hello("ann")
    queue(harness, "bob", "cid", "dan", "eve")
    order = []
    last = ann
    while harness.state.lines:
        harness.end(last, "bye")
        order += served(harness)
        last = next(iter(harness.state.sessions.by_number.values()))
    assert [id for id, _ in order] == ["dan", "cid", "bob", "eve"]


def test_in_order_of_arrival_groups_count_for_nothing() -> None:
    harness = floating()
    harness.apply(c.PutGroup("board", ("cid",), False, 5))
    ann = harness.hello("ann")
    queue(harness, "bob", "cid")
    harness.end(ann, "bye")
    assert served(harness) == [("bob", "welcome")]


def test_a_resumed_session_keeps_its_place() -> None:
    harness = LicensedHarness("epop", {"epop": Epop(users=1)}, resume_window=30.0)
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    wait(harness, c.Join(bob.number, "room"), id="j")
    harness.end(bob, "reset")
    harness.apply(c.Resume(bob.number, 0, "192.0.2.1", "tcp"))
    harness.end(ann, "bye")
    assert served(harness) == [("j", "joined")]


def test_under_another_model_those_who_wait_do_so_for_its_pools() -> None:
    licenses = {"epop": Epop(users=1), "floating": Floating(limit=2)}
    harness = LicensedHarness("epop", licenses)
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.joined(ann)
    wait(harness, c.Join(bob.number, "room"), id="j")
    harness.change_terms(model="floating")
    assert served(harness) == [("j", "joined")]


def test_a_model_that_is_not_enforced_has_no_lines() -> None:
    harness = floating(enforce=False)
    harness.hello("ann")
    assert answer(wait(harness, hello("bob")))["type"] == "welcome"
