"""The license of a cluster: what its registrar says counts at all gateways when it is applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.recording import Recording, Replayed, replay
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.admission.state_json import digest
from gateway.core.admission.terms import Terms
from gateway.core.cluster import dump
from gateway.core.cluster.entries import LogEntry
from gateway.core.cluster.replica import Outcome, Replica
from gateway.core.registration.grant import Grant
from gateway.core.registration.license_status import LicenseState
from gateway.licensing import MODELS
from tests.core.admission.random_day import first_terms
from tests.core.cluster.log_harness import LogHarness, hello, random_log

GRACE = 600.0
INTERVAL = 60


def terms(**changes: object) -> Terms:
    changes = {"model": "epop", "serial": "S-1", "grace": GRACE, **changes}
    return replace(first_terms(), **changes)  # type: ignore[arg-type]


def grant(users: int, *, model: str = "epop", constant: bool = True, until: float | None = None) -> Grant:
    pool = "concurrent" if model == "epop" else "online"
    return Grant(model, "server" if model == "trueconf" else "", {pool: users}, (), constant, until)


def registered(users: int = 1, **changes: object) -> RegistrarSaid:
    return RegistrarSaid("registered", grant(users, **changes), INTERVAL, "t1")  # type: ignore[arg-type]


def cluster(**changes: object) -> LogHarness:
    harness = LogHarness(terms(**changes))
    harness.enter("n1")
    harness.enter("n2")
    return harness


def state(harness: LogHarness) -> LicenseState:
    return harness.replica.state.license.state(harness.replica.at)


def told(outcomes: list[Outcome]) -> list[str]:
    return [note.action for each in outcomes if each.decision is not None for note in each.decision.audit]


def joins(harness: LogHarness, node: str, account: str) -> str:
    """Have somebody come and join; returns how far that went."""
    (welcomed,) = answers(harness.say(node, hello(account, "d")))
    if "reason" in welcomed:
        return str(welcomed["reason"])
    session = max(harness.replica.state.sessions.by_number)
    (answer,) = answers(harness.say(node, c.Join(session, "room")))
    return str(answer.get("reason") or answer["type"])


def answers(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    return [dict(each.decision.answer) for each in outcomes if each.decision is not None and each.decision.answer]


def silence(harness: LogHarness, seconds: float) -> list[Outcome]:
    """Let time pass with ticks of both nodes."""
    outcomes = []
    for _ in range(round(seconds / 20.0)):
        outcomes += [*harness.say("n1", seconds=10.0), *harness.say("n2", seconds=10.0)]
    return outcomes


def test_nothing_is_granted_before_the_registrar_has_confirmed_the_license() -> None:
    harness = cluster()
    assert (state(harness), joins(harness, "n2", "ann")) == (LicenseState.UNREGISTERED, "unregistered")
    outcomes = harness.say("n1", registered())
    assert told(outcomes) == ["registration.registered"]
    assert (state(harness), joins(harness, "n2", "ann")) == (LicenseState.REGISTERED, "joined")
    assert harness.replica.state.license.asker == "n1"


def test_limits_follow_from_the_license_in_the_same_step_and_from_what_is_configured() -> None:
    harness = cluster()
    harness.say("n1", registered(1))
    assert [joins(harness, "n1", "ann"), joins(harness, "n2", "bob")] == ["joined", "pool_full"]
    configured = harness.replica.state.configured
    assert configured == harness.terms
    harness.say("n2", c.SetTerms(replace(configured, retry_after=7.0)))
    state_ = harness.replica.state
    assert (state_.terms.retry_after, state_.primary.pools["concurrent"].terms.limit) == (7.0, 1)
    harness.say("n1", registered(2))
    assert joins(harness, "n2", "cid") == "joined"
    harness.say("n1", registered(9, model="trueconf"))
    assert state_.terms.model == "trueconf"
    assert harness.replica.state.configured.model == "epop"


def test_a_node_enters_under_what_is_configured_whatever_the_license_grants() -> None:
    harness = cluster()
    harness.say("n1", registered(3))
    assert harness.enter("n3") == ""


def test_a_license_of_a_model_that_does_not_count_changes_nothing() -> None:
    licenses = {"epop": first_terms().licenses["epop"]}
    harness = cluster(licenses=licenses)
    before = digest(harness.replica.state)
    (outcome,) = harness.say("n1", registered(3, model="trueconf"))
    assert outcome.ignored == "failed"
    assert digest(harness.replica.state) == before


def test_terms_for_another_license_change_nothing() -> None:
    harness = cluster()
    before = digest(harness.replica.state)
    for serial in ("", "S-2"):
        (outcome,) = harness.say("n1", c.SetTerms(terms(serial=serial, retry_after=7.0)))
        assert (outcome.ignored, digest(harness.replica.state)) == ("failed", before)


def test_an_answer_that_is_old_lets_the_grace_begin_and_then_all_is_over() -> None:
    harness = cluster(resume_window=3600.0)
    harness.say("n1", registered(5))
    assert joins(harness, "n2", "ann") == "joined"
    lost = harness.hello("n2", "bob", "d")
    harness.say("n2", c.End(lost, "reset"))
    assert told(silence(harness, INTERVAL + 20.0)) == ["registration.grace"]
    assert joins(harness, "n2", "cid") == "joined"
    assert lost in harness.replica.state.resumable
    assert told(silence(harness, GRACE)) == ["registration.expired"]
    assert not harness.replica.state.resumable
    assert joins(harness, "n2", "dan") == "unregistered"
    assert told(harness.say("n1", RegistrarSaid("verified", ticket="t2"))) == ["registration.registered"]
    assert joins(harness, "n2", "eve") == "joined"


def test_a_license_that_needs_no_connection_outlives_the_grace_but_not_its_end() -> None:
    harness = cluster()
    harness.say("n1", registered(5, constant=False, until=harness.at + 2 * GRACE))
    silence(harness, GRACE + 100.0)
    assert state(harness) is LicenseState.GRACE
    silence(harness, GRACE)
    assert state(harness) is LicenseState.EXPIRED


def test_a_connection_that_is_lost_is_grace_at_once() -> None:
    harness = cluster()
    harness.say("n1", registered())
    assert told(harness.say("n1", RegistrarSaid("lost"))) == ["registration.grace"]


@pytest.mark.parametrize("reason", ["revoked", "expired"])
def test_a_license_that_is_revoked_grants_nothing_any_more(reason: str) -> None:
    harness = cluster()
    harness.say("n1", registered())
    assert told(harness.say("n1", RegistrarSaid("revoked", reason=reason))) == ["registration.revoked"]
    assert joins(harness, "n2", "ann") == "unregistered"


def test_another_installation_is_suspected_once_until_the_license_is_confirmed() -> None:
    harness = cluster()
    assert told(harness.say("n1", RegistrarSaid("in_use"))) == ["clone.suspected"]
    assert told(harness.say("n1", RegistrarSaid("in_use"))) == []
    harness.say("n1", registered())
    assert not harness.replica.state.license.clone_suspected


def test_the_cluster_is_named_once() -> None:
    harness = cluster()
    harness.say("n1", SetInstallation("one"))
    harness.say("n2", SetInstallation("two"))
    assert harness.replica.state.license.installation == "one"


def test_a_gateway_that_needs_no_license_is_told_nothing() -> None:
    harness = cluster(serial="")
    before = digest(harness.replica.state)
    harness.say("n1", SetInstallation("one"), registered(), RegistrarSaid("revoked", reason="revoked"))
    assert digest(harness.replica.state) == before
    assert joins(harness, "n2", "ann") == "joined"


def test_a_recording_tells_what_had_been_under_other_limits_than_those_of_the_license() -> None:
    harness, recording = cluster(), Recording()
    lines = [recording.header(harness.replica.state, "test")]
    for said in (registered(1), hello("ann", "d"), c.Join(1, "room"), hello("bob", "d"), c.Join(2, "room")):
        (outcome,) = harness.say("n1", said)
        assert outcome.decision is not None
        lines.append(recording.line(said, harness.replica.instant, outcome.decision))
    same = replay(lines, MODELS)
    assert (same.first_difference, used(same)) == (None, 1)
    assert used(replay(lines, MODELS, lambda each: each.changed("license.epop.users", 2))) == 2


def used(replayed: Replayed) -> int:
    return replayed.state.primary.pools["concurrent"].used


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_was_written_down_at_any_entry_has_the_same_license(seed: int) -> None:
    harness = random_log(seed, 300, terms(grace=1e6), (SetInstallation("one"), registered(30, model="trueconf")))
    whole = [*dump.lines(harness.replica)]
    assert harness.replica.state.license.status.grant is not None
    for place in (20, 100, 180):
        replica = Replica(MODELS)
        apply_all(replica, harness.entries[:place])
        again = dump.read([*dump.lines(replica)], MODELS)
        apply_all(again, harness.entries[place:])
        assert [*dump.lines(again)] == whole


def apply_all(replica: Replica, entries: list[LogEntry]) -> None:
    for entry in entries:
        list(replica.apply(entry))
