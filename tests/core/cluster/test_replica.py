"""Every node makes the same of the log, and what counts for nothing counts for nothing everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.admission.decision import AuditNote, Decision, LeaseBefore, Withdraw
from gateway.core.admission.recording import RollingDigest
from gateway.core.cluster import dump
from gateway.core.cluster.divergence import MOST_NODES, DigestRing
from gateway.core.cluster.entries import Batch, Enter, Genesis, LogEntry, Seen, encode
from gateway.core.cluster.replica import SEMANTICS, Gap, Outcome, Replica
from gateway.licensing import MODELS
from tests.core.admission.random_day import START
from tests.core.admission.test_determinism import pythons
from tests.core.cluster.log_harness import PATIENCE, LogHarness, hello, random_log

ROOT = Path(__file__).parents[3]
PRINT_DIGEST = """
from tests.core.cluster.log_harness import random_log
from gateway.core.admission import state_json
replica = random_log(5, 400).replica
print(replica.digest, state_json.digest(replica.state), replica.nodes.to_json())
"""

LIVELY = (0, 2, 3, 4)
"""Seeds of logs at whose end there are sessions."""


def applied(entries: list[LogEntry], replica: Replica | None = None) -> Replica:
    replica = replica or Replica(MODELS)
    for entry in entries:
        list(replica.apply(entry))
    return replica


def whole(replica: Replica) -> list[bytes]:
    return list(dump.lines(replica))


@pytest.mark.parametrize("seed", LIVELY)
def test_a_second_replica_comes_to_the_same_state(seed: int) -> None:
    harness = random_log(seed, 300)
    assert len(harness.replica.state.sessions.by_number) > 3
    assert whole(applied(harness.entries)) == whole(harness.replica)


@pytest.mark.parametrize("seed", LIVELY)
def test_one_that_was_written_down_and_read_anywhere_goes_on_the_same_way(seed: int) -> None:
    harness = random_log(seed, 300)
    place = Random(seed).randrange(2, len(harness.entries))  # noqa: S311 - the same each time
    half = applied(harness.entries[:place])
    again = dump.read(whole(half), MODELS)
    assert whole(applied(harness.entries[place:], again)) == whole(harness.replica)


def test_a_dump_that_is_cut_or_changed_is_none() -> None:
    written = whole(random_log(1, 60).replica)
    changed = [*written[:1], written[1].replace(b"trueconf", b"truecomf"), *written[2:]]
    for damaged in (written[:-1], written[1:], [], changed, [b"x"], [b"[]"], written[:3] + written[4:]):
        with pytest.raises(state_json.NotAState):
            dump.read(damaged, MODELS)


def test_other_processes_come_to_the_same_state() -> None:
    printed = set()
    for seed, python in enumerate((*pythons(), sys.executable)):
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [python, "-c", PRINT_DIGEST], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        printed.add(done.stdout)
    assert len(printed) == 1


def test_entries_that_are_repeated_shuffled_or_nonsense_change_no_state() -> None:
    harness = random_log(2, 200)
    before = state_json.digest(harness.replica.state), harness.replica.digest, harness.replica.life
    values = [each.value for each in harness.entries]
    Random(1).shuffle(values)  # noqa: S311 - the same each time
    nonsense = [b"", b"[]", b"{", b'{"n": "n1", "s": "2"}', b'{"n": 1, "s": 2}', b'{"n":"x","s":1,"enter":{}}', b"\xff"]
    for value in [*values, *nonsense]:
        harness.put_bytes(value)
    assert (state_json.digest(harness.replica.state), harness.replica.digest, harness.replica.life) == before


def test_a_command_that_nobody_can_apply_is_counted_and_the_others_go_on() -> None:
    harness = LogHarness()
    harness.enter("n1")
    number = harness.hello("n1", "ann", "d")
    batch = harness.batch("n1", c.Join(number, "room"))
    poison: list[list[Any]] = [
        ["x"],
        [["Nothing", 1]],
        [["Join", number, {}], 0],
        [["Join", number, "other"], False],
        [["Join", number, "other"], 0, 7],
    ]
    fails = c.to_json(Withdraw("join", number, leases=(LeaseBefore("moon", "pro", "ann", False, None),)))
    outcomes = harness.put(batch._replace(commands=(*poison, [fails], *batch.commands)))
    assert [each.ignored for each in outcomes] == [*["malformed"] * 5, "failed", ""]
    assert harness.replica.failures == 6
    assert [*harness.replica.state.conferences.by_id] == ["room"]
    assert whole(applied(harness.entries)) == whole(harness.replica)


@pytest.mark.parametrize("change", [{"licenses": {}}, {"model": "other"}, {"overdraft": "much"}])
def test_a_genesis_that_is_none_begins_no_cluster(change: dict[str, Any]) -> None:
    replica = Replica(MODELS)
    genesis = Genesis("c2", SEMANTICS, PATIENCE, {**LogHarness().terms.to_json(), **change})
    list(replica.apply(LogEntry(1, 1, encode(Batch("", 0, 1.0, genesis=genesis)))))
    list(replica.apply(LogEntry(2, 2, encode(Batch("n1", 1, enter=Enter("a", SEMANTICS, "", 1))))))
    assert not replica.begun
    assert replica.failures == 1


def test_no_instant_is_so_late_that_nothing_after_it_has_a_date() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.put(harness.batch("n1")._replace(at=1e12, leads=True))
    assert (harness.replica.failures, harness.replica.at) == (1, START)


def test_a_missing_entry_is_noticed_and_nothing_is_changed() -> None:
    harness = random_log(3, 50)
    replica = applied(harness.entries[:20])
    before = whole(replica)
    with pytest.raises(Gap):
        list(replica.apply(harness.entries[21]))
    assert whole(replica) == before


def test_a_later_genesis_counts_for_nothing() -> None:
    harness = LogHarness()
    before = state_json.digest(harness.replica.state)
    harness.put(Batch("", 0, harness.at + 5, genesis=Genesis("other", SEMANTICS, 1.0, harness.terms.to_json())))
    assert harness.replica.cluster == "c1"
    assert state_json.digest(harness.replica.state) == before


def test_a_cluster_that_goes_on_from_a_file_cannot_be_begun_without_it() -> None:
    replica = Replica(MODELS)
    genesis = Genesis("c2", SEMANTICS, PATIENCE, {}, state="digest")
    list(replica.apply(LogEntry(1, 1, encode(Batch("", 0, 1.0, genesis=genesis)))))
    assert replica.needs_file
    with pytest.raises(RuntimeError):
        assert replica.state


# -- nodes -----------------------------------------------------------------------------------------------------------


def test_a_node_of_other_rules_or_other_terms_does_not_enter() -> None:
    harness = LogHarness()
    assert harness.enter("n1", semantics=SEMANTICS + 1) == "other_semantics"
    assert harness.enter("n2", terms="00") == "other_terms"
    assert harness.enter("n3") == ""
    assert [each.incarnation for each in harness.replica.nodes] == ["n3"]


def test_a_name_is_taken_while_its_node_is_heard_and_its_successor_ends_it_later() -> None:
    harness = LogHarness()
    harness.enter("n1", "a")
    harness.enter("n2", "b")
    number = harness.hello("n1", "ann")
    assert harness.enter("n3", "a") == "name_taken"
    for _ in range(4):
        harness.say("n2", seconds=1.0)
    assert harness.enter("n4", "a") == ""
    assert [each.incarnation for each in harness.replica.nodes] == ["n2", "n4"]
    assert number not in harness.replica.state.sessions.by_number


def test_a_successor_that_knows_its_predecessor_to_be_over_does_not_wait() -> None:
    harness = LogHarness()
    harness.enter("n1", "a")
    harness.hello("n1", "ann")
    assert harness.enter("n2", "a", previous="n1") == ""
    assert [each.incarnation for each in harness.replica.nodes] == ["n2"]
    assert not harness.replica.state.sessions.by_number


def test_an_incarnation_that_is_over_neither_enters_nor_writes_again() -> None:
    harness = LogHarness()
    harness.enter("n1", "a")
    first = harness.entries[-1].value
    harness.put(harness.batch("n1")._replace(depart=True))
    before = state_json.digest(harness.replica.state)
    harness.put_bytes(first)
    harness.say("n1", hello("ann"))
    assert not list(harness.replica.nodes)
    assert state_json.digest(harness.replica.state) == before


def test_an_enter_that_had_read_too_little_is_ignored() -> None:
    harness = LogHarness()
    harness.replica.version = 20_000
    enter = Enter("a", SEMANTICS, "", 9_999)
    list(harness.replica.apply(LogEntry(20_001, 1, encode(Batch("n9", 1, enter=enter)))))
    assert harness.replica.repeats == 1
    assert not harness.replica.refused_entry


def test_silence_of_patience_ends_a_node_and_its_sessions_in_order() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    numbers = [harness.hello("n1", name) for name in ("ann", "bob")]
    kept = harness.hello("n2", "cid")
    ended = []
    for second in range(1, 40):
        outcomes = harness.say("n2", seconds=1.0)
        ended += [(second, each.command.session) for each in outcomes if isinstance(each.command, c.End)]
    assert ended == [(31, number) for number in numbers]
    assert list(harness.replica.state.sessions.by_number) == [kept]


def test_a_gap_in_which_nobody_could_write_ends_nobody() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    harness.say("n1")
    for _ in range(5):
        harness.say("n1", seconds=600.0)
        harness.say("n2", seconds=0.1)
    assert len(list(harness.replica.nodes)) == 2


def test_time_does_not_leap_a_day_unless_nobody_else_was_there() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.say("n1", seconds=2 * 24 * 3600.0)
    assert harness.replica.at < harness.at - 24 * 3600.0
    harness.put(harness.batch("n1")._replace(leads=True))
    assert harness.replica.at == harness.at


# -- lines ------------------------------------------------------------------------------------------------------------


def full(harness: LogHarness, *nodes: str) -> list[int]:
    """Let nodes enter, and the last one welcome as many clients as there is room for."""
    for node in nodes:
        harness.enter(node)
    limit = harness.terms.licenses["trueconf"].online
    return [harness.hello(nodes[-1], f"user{number}", "d") for number in range(limit)]


def waits(harness: LogHarness, node: str, account: str, seconds: int = 600) -> int:
    """Have a client wait to be welcomed; returns its place."""
    (outcome,) = [each for each in harness.say(node, c.Wait(hello(account, "d"), seconds, "id")) if each.place == 0]
    assert outcome.decision is not None
    assert outcome.decision.queue is not None
    assert outcome.decision.queue.place is not None, outcome.decision.answer
    return outcome.decision.queue.place


def served(outcomes: list[Outcome]) -> list[tuple[int, int | None]]:
    """The places that were served, and the sessions that began."""
    queues = [each.decision.queue for each in outcomes if each.decision is not None]
    return [(each.place, each.decision.session) for queue in queues if queue for each in queue.served]


def test_who_waits_is_served_in_the_order_of_the_log_and_belongs_to_its_own_node() -> None:
    harness = LogHarness()
    numbers = full(harness, "n1", "n2", "n3")
    first, second = waits(harness, "n1", "ann"), waits(harness, "n2", "bob")
    sessions = harness.replica.state.sessions.by_number
    for place, node in ((first, "n1"), (second, "n2")):
        ((found, number),) = served(harness.say("n3", c.End(numbers.pop(), "bye")))
        assert found == place
        assert number is not None
        assert sessions[number].node == node
    assert whole(applied(harness.entries)) == whole(harness.replica)


def test_one_that_waits_and_is_served_in_the_same_step_belongs_to_its_own_node() -> None:
    harness = LogHarness()
    numbers = full(harness, "n1", "n2")
    waits(harness, "n1", "ann")
    ends = [c.End(number, "bye") for number in numbers[:2]]
    outcomes = harness.say("n2", *ends, c.Wait(hello("bob", "d"), 60))
    assert {harness.replica.state.sessions.by_number[number or 0].node for _, number in served(outcomes)} == {"n1"}
    assert outcomes[-1].decision is not None
    assert outcomes[-1].decision.session is not None
    assert harness.replica.state.sessions.by_number[outcomes[-1].decision.session].node == "n2"


def test_the_end_of_a_node_ends_the_waiting_of_its_clients_only() -> None:
    harness = LogHarness()
    full(harness, "n1", "n2", "n3")
    waits(harness, "n1", "ann")
    kept = waits(harness, "n2", "bob")
    harness.put(harness.batch("n1")._replace(depart=True))
    assert [*harness.replica.state.lines] == [kept]
    (outcome,) = harness.say("n3", c.GiveUp(kept))
    assert outcome.ignored == "stale", "it waits at another node"
    harness.say("n3", c.EndHellos("draining", "n3"))
    assert [*harness.replica.state.lines] == [kept]
    (outcome,) = harness.say("n2", c.EndHellos("draining", "n2"))
    assert served([outcome]) == [(kept, None)]
    assert whole(applied(harness.entries)) == whole(harness.replica)


def test_a_request_that_would_wait_counts_for_nothing_once_its_session_has_moved() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    number = harness.hello("n1", "ann", "d")
    late = harness.batch("n1", c.Wait(c.Join(number, "room"), 60))
    harness.say("n2", c.Resume(number, 0, "192.0.2.9", "tcp"))
    assert [each.ignored for each in harness.put(late)] == ["stale"]
    (outcome,) = harness.say("n2", c.Wait(c.Join(number, "room"), 60))
    assert outcome.decision is not None


def test_a_wait_ends_by_the_time_lived_through() -> None:
    harness = LogHarness()
    full(harness, "n1", "n2")
    waits(harness, "n1", "ann", seconds=10)
    harness.say("n2", seconds=3600.0)
    assert len(harness.replica.state.lines) == 1, "nobody could write, so nobody was kept waiting"
    outcomes = [outcome for _ in range(10) for outcome in harness.say("n2", seconds=1.0)]
    ((_, session),) = served(outcomes)
    assert session is None


# -- sessions --------------------------------------------------------------------------------------------------------


def test_the_last_seat_is_given_once_whichever_node_asks() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    limit = harness.terms.licenses["trueconf"].online
    told = []
    for place in range(limit + 3):
        (outcome,) = harness.say(("n1", "n2")[place % 2], hello(f"user{place}", "d"))
        assert outcome.decision is not None
        told.append((outcome.decision.answer or {})["type"])
    assert told == ["welcome"] * limit + ["denied"] * 3


def test_a_session_that_was_resumed_elsewhere_ignores_its_old_node() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    number = harness.hello("n1", "ann", "d")
    late_end, late_join = c.End(number, "closed"), c.Join(number, "room")
    stale = harness.batch("n1", late_end, late_join)
    (outcome,) = harness.say("n2", c.Resume(number, 0, "192.0.2.9", "tcp"))
    assert outcome.decision is not None
    assert outcome.decision.closings == [(number, "replaced")]
    assert [each.ignored for each in harness.put(stale)] == ["stale", "stale"]
    assert harness.replica.state.sessions.by_number[number].node == "n2"
    (outcome,) = harness.say("n1", c.Resume(number, 0, "192.0.2.9", "tcp"))
    assert outcome.ignored == "stale"


def test_a_lost_session_outlives_its_node_until_it_may_no_longer_be_resumed() -> None:
    harness = LogHarness()
    harness.enter("n1")
    harness.enter("n2")
    number = harness.hello("n1", "ann", "d")
    harness.say("n1", c.End(number, "reset"))
    harness.put(harness.batch("n1")._replace(depart=True))
    (outcome,) = harness.say("n2", c.Resume(number, 0, "192.0.2.1", "tcp"))
    assert outcome.decision is not None
    assert outcome.decision.session == number


def test_nodes_that_are_long_over_are_forgotten_when_it_is_asked_who_agrees() -> None:
    ring = DigestRing()
    ring.note(1, "d")
    for number in range(2 * MOST_NODES):
        ring.compare(f"n{number}", Seen(1, "other" if number == 5 else "d"))
    last = f"n{2 * MOST_NODES - 1}"
    assert ring.mismatches == 1
    assert not ring.is_outvoted("own", ["n5", last, "own"])
    ring.compare(last, Seen(1, "other"))
    assert ring.is_outvoted("own", [last, "own"])


def test_a_node_that_is_alone_with_its_result_or_came_last_is_outvoted() -> None:
    harness = LogHarness()
    for name in ("n1", "n2", "n3"):
        harness.enter(name)
    ring, nodes = harness.replica.ring, ["n1", "n2", "n3"]
    for node in nodes:
        harness.say(node)
    assert not any(ring.is_outvoted(node, nodes) for node in nodes)
    harness.put(harness.batch("n2")._replace(seen=Seen(harness.replica.version, "ff")))
    assert ring.mismatches == 1
    assert not ring.is_outvoted("n3", nodes)
    assert not ring.is_outvoted("n1", ["n1", "n2"])
    assert ring.is_outvoted("n3", ["n2", "n3"])
    harness.put(harness.batch("n1")._replace(seen=Seen(harness.replica.version, "ff")))
    assert ring.is_outvoted("n3", nodes)


def test_what_a_node_tells_of_itself_is_never_that_of_half_an_entry() -> None:
    harness = LogHarness()
    harness.enter("n1")
    batch = harness.batch("n1", hello("ann"), hello("bob"), seconds=1.0)
    before = harness.replica.seen
    entry = LogEntry(len(harness.entries) + 1, 1000, encode(batch))
    for _ in harness.replica.apply(entry):
        assert harness.replica.seen == before
    assert harness.replica.seen == Seen(entry.version, harness.replica.digest)


def test_nodes_that_would_write_other_audit_entries_have_come_to_different_states() -> None:
    digests = set()
    for name in ("one", "two"):
        decision = Decision()
        decision.audit.append(AuditNote("ban.added", name))
        digests.add(RollingDigest().add(decision))
    assert len(digests) == 2
