"""Rules for seats where other seats are kept for who comes back, or taken from who is idle for somebody else
(COUNTING.md, Rules for seats, Returning, Preemption).
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.admission.decision import Decision
from gateway.core.admission.returning import HeldSeat, keep_seats
from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.counting.session import Session
from gateway.licensing import MODELS
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness

KEYS = pytest.mark.parametrize("key", ["connection", "account", "device"])


def rule(name: str, pool: str = "seats", **given: Any) -> RuleTerms:
    return RuleTerms(name, pool, **given)


def floating(*rules: RuleTerms, limit: int = 3, key: Any = "connection", **terms: Any) -> LicensedHarness:
    licenses = {"floating": Floating(limit=limit, key=key, asleep_counts=False)}
    harness = LicensedHarness("floating", licenses, rules=rules, **terms)
    harness.apply(c.PutGroup("team", ("ann", "bob"), permanent=False))
    harness.apply(c.PutGroup("board", ("vip",), permanent=False, priority=5))
    return harness


def counted(harness: LicensedHarness, pool: str = "seats") -> dict[str, tuple[int, int]]:
    """Of each rule of a pool, how many keys count under it and how many seats are kept free."""
    rules = harness.ledger().pools[pool].rules
    assert rules is not None
    return {name: (each.used, each.kept) for name, each in rules.rules.items()}


def refused(decision: Decision) -> tuple[str, str, int | None, int | None]:
    assert decision.refused is not None
    return decision.refused.rule, decision.refused.pool, decision.refused.used, decision.refused.limit


# -- who comes back ----------------------------------------------------------------------------------------------------


@KEYS
def test_who_comes_back_is_refused_by_no_rule_and_counts_under_it_all_the_time(key: str) -> None:
    harness = floating(rule("most", kind="tv", most=2), returning=60.0, key=key)
    for account in ("ann", "bob"):
        harness.end(harness.hello(account, "1", kind="tv"), "node_lost")
    assert counted(harness) == {"most": (2, 0)}
    harness.change_terms(rules=(rule("most", kind="tv", most=1),))
    assert counted(harness) == {"most": (2, 0)}
    _, decision = harness.knock("cid", "1", kind="tv")
    assert refused(decision) == ("most", "seats", 2, 1)
    for account in ("ann", "bob"):
        harness.hello(account, "1", kind="tv")
        assert counted(harness) == {"most": (2, 0)}
    assert harness.view("seats").returning == 0


@KEYS
def test_who_comes_back_overtakes_those_who_wait_for_a_rule(key: str) -> None:
    harness = floating(rule("most", network="192.0.2.0/24", most=1), returning=60.0, key=key)
    harness.end(harness.hello("ann", "1"), "node_lost")
    waits = harness.apply(c.Wait(c.Hello("app", "cid", "1", "", "", "192.0.2.9", "tcp"), 60, None))
    assert waits.queue is not None
    harness.hello("ann", "1")
    assert counted(harness) == {"most": (1, 0)}
    assert len(harness.state.lines) == 1


@KEYS
def test_a_seat_that_is_kept_after_a_crash_counts_by_what_is_known_of_who_held_it(key: str) -> None:
    rules = (
        rule("group", group="team", reserve=2),
        rule("network", network="192.0.2.0/24", most=5),
        rule("each", each="account", most=3),
        rule("kind", kind="tv", reserve=0, most=1),
    )
    harness = floating(*rules, returning=60.0, key=key)
    held = [
        HeldSeat("floating", "seats", number, account, "", "1", "192.0.2.1")
        for number, account in enumerate(("ann", "", ""), 1)
    ]
    keep_seats(harness.state, held, harness.now)
    if key == "connection":
        assert counted(harness) == {"group": (1, 1), "network": (3, 0), "each": (1, 0), "kind": (0, 0)}
    else:
        assert counted(harness)["group"] == (1, 1)
    harness.hello("ann", "1", kind="tv")
    assert counted(harness)["group"] == (1, 1)
    assert counted(harness)["kind"] == (1, 0)
    again = state_json.from_json(state_json.to_json(harness.state), MODELS)
    rebuilt = again.primary.pools["seats"].rules
    assert rebuilt is not None
    assert {name: (each.used, each.kept) for name, each in rebuilt.rules.items()} == counted(harness)
    harness.wait(60.0)
    assert counted(harness) == {"group": (1, 1), "network": (1, 0), "each": (1, 0), "kind": (1, 0)}


# -- who is idle -------------------------------------------------------------------------------------------------------


def idle(harness: LicensedHarness, account: str, **facts: Any) -> Session:
    """A session that nobody uses."""
    session = harness.hello(account, **facts)
    harness.apply(c.Activity(session.number, active=False))
    harness.wait(1.0)
    return session


def test_of_those_who_are_idle_the_seat_is_taken_that_is_kept_for_nobody_else() -> None:
    harness = floating(rule("kept", group="team", reserve=1), limit=2, preempt=True)
    ann, cid = idle(harness, "ann"), idle(harness, "cid")
    harness.hello("vip")
    assert (ann.awake, cid.awake) == (True, False)
    assert counted(harness) == {"kept": (1, 0)}
    _, decision = harness.knock("vip", "2")
    assert refused(decision) == ("", "seats", 2, 2)
    assert ann.awake


def test_a_seat_beyond_those_that_are_kept_is_taken_as_any() -> None:
    harness = floating(rule("kept", group="team", reserve=1), limit=2, preempt=True)
    ann, bob = idle(harness, "ann"), idle(harness, "bob")
    harness.hello("vip")
    assert (ann.awake, bob.awake) == (False, True)
    assert counted(harness) == {"kept": (1, 0)}


def test_while_seats_are_kept_free_for_others_one_of_the_rest_is_taken() -> None:
    harness = floating(rule("kept", group="team", reserve=1), limit=2, preempt=True)
    cid = idle(harness, "cid")
    harness.hello("vip")
    assert not cid.awake
    assert (harness.used("seats"), counted(harness)) == (1, {"kept": (0, 1)})


def test_somebody_short_of_a_rule_takes_no_seat() -> None:
    harness = floating(rule("most", account="vip", most=1), limit=2, preempt=True)
    cid = idle(harness, "cid")
    harness.hello("vip", "1")
    _, decision = harness.knock("vip", "2")
    assert refused(decision) == ("most", "seats", 1, 1)
    assert cid.awake


def test_a_rule_of_one_pool_refuses_where_a_seat_of_another_could_be_taken() -> None:
    licenses = {"trueconf": TrueConf(online=1, pro=1)}
    denied = rule("none", "pro", account="vip", most=0)
    harness = LicensedHarness("trueconf", licenses, rules=(denied,), preempt=True)
    harness.apply(c.PutGroup("board", ("vip",), permanent=False, priority=5))
    vip = harness.hello("vip")
    harness.sleep(vip)
    ann = idle(harness, "ann")
    decision = harness.decide_join(vip)
    assert decision.answer is not None
    assert decision.answer["type"] == "denied"
    assert ann.awake
    harness.change_terms(rules=())
    assert harness.join(vip)["type"] == "joined"
    assert not ann.awake


def test_no_seat_is_taken_of_a_pool_that_has_one_kept_for_who_asks_while_others_wait() -> None:
    licenses = {"trueconf": TrueConf(online=3, pro=1, allow_pro_requests=True)}
    kept = rule("kept", "online", account="vip", reserve=1)
    harness = LicensedHarness("trueconf", licenses, rules=(kept,), preempt=True)
    harness.apply(c.PutGroup("board", ("vip",), permanent=False, priority=5))
    vip = harness.hello("vip")
    harness.sleep(vip)
    bob, dan = idle(harness, "bob"), idle(harness, "dan")
    assert harness.request_pro(dan)["type"] == "granted"
    waits = harness.apply(c.Wait(c.Hello("app", "ann", None, "", "", "192.0.2.9", "tcp"), 60, None))
    assert waits.queue is not None
    assert harness.join(vip)["type"] == "joined"
    assert (bob.awake, dan.awake, list(harness.pro())) == (True, True, ["vip"])
    assert len(harness.state.lines) == 1


# -- who is denied ----------------------------------------------------------------------------------------------------


def test_a_rule_for_participants_denies_for_a_reason_that_their_pool_is_known_to_have() -> None:
    licenses = {"nefsis-named": NefsisNamed(hosts=2, participants=5)}
    rules = (rule("most", "participants", kind="tv", most=0),)
    harness = LicensedHarness("nefsis-named", licenses, rules=rules)
    before = harness.view("participants").denials
    harness.joined(harness.hello("ann"), host=True)
    assert refused(harness.decide_join(harness.hello("bob", kind="tv"))) == ("most", "participants", 0, 0)
    assert harness.view("participants").denials == {**before, "pool_full": before["pool_full"] + 1}


# -- who has a seat of its own -----------------------------------------------------------------------------------------


def test_who_has_a_reserved_seat_overtakes_those_who_wait_for_a_rule() -> None:
    licenses = {"floating": Floating(limit=3, key="account", reserve=("ann",))}
    rules = (rule("most", network="192.0.2.0/24", most=1),)
    harness = LicensedHarness("floating", licenses, rules=rules)
    harness.hello("bob")
    waits = harness.apply(c.Wait(c.Hello("app", "cid", None, "", "", "192.0.2.9", "tcp"), 60, None))
    assert waits.queue is not None
    harness.hello("ann")
    assert counted(harness) == {"most": (2, 0)}
    assert len(harness.state.lines) == 1


def test_a_permanent_license_counts_by_its_account_whoever_asks_for_one() -> None:
    near, own = rule("near", "pro", network="192.0.2.0/24", most=5), rule("own", "pro", account="ann", most=5)
    licenses = {"trueconf": TrueConf(pro=2, allow_pro_requests=True)}
    harness = LicensedHarness("trueconf", licenses, rules=(near, own))
    ann, bob = harness.hello("ann"), harness.hello("bob")
    harness.redistribute(["ann"])
    assert harness.request_pro(ann) == {"type": "granted", "pool": "pro", "expires": None}
    assert counted(harness, "pro") == {"near": (0, 0), "own": (1, 0)}
    assert harness.request_pro(bob)["type"] == "granted"
    assert counted(harness, "pro") == {"near": (1, 0), "own": (1, 0)}
    harness.joined(ann)
    assert counted(harness, "pro") == {"near": (2, 0), "own": (1, 0)}


# -- who is forgotten --------------------------------------------------------------------------------------------------


def test_nothing_of_an_account_that_is_erased_is_left_in_the_rules() -> None:
    licenses = {"floating": Floating(limit=3, linger=60.0)}
    harness = LicensedHarness("floating", licenses, rules=(rule("kept", group="team", reserve=2),))
    harness.apply(c.PutGroup("team", ("ann", "bob"), permanent=False))
    harness.end(harness.hello("ann"), "closed")
    harness.hello("bob")
    assert counted(harness) == {"kept": (2, 0)}
    harness.apply(c.ErasePerson("ann", force=True))
    assert counted(harness) == {"kept": (1, 1)}
    assert "ann" not in str(state_json.to_json(harness.state))


def test_accounts_of_which_no_address_is_known_are_apart_by_themselves() -> None:
    apart = rule("one each", "pro", most=1, each="address")
    harness = LicensedHarness("trueconf", {"trueconf": TrueConf(pro=3)}, rules=(apart,))
    harness.apply(c.PutGroup("chiefs", ("ann", "bob"), permanent=True))
    harness.state.redistribute_at = 0.0
    harness.apply(c.Tick())
    assert set(harness.ledger().pools["pro"].reservations) == {"ann", "bob"}
    assert counted(harness, "pro") == {"one each": (1, 0)}
