"""The agent's side of a conversation: every phase, with everything that may arrive in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registration.agent_protocol import (
    AWAITED,
    MAX_UNTRUSTED,
    UNTRUSTED,
    AgentConversation,
    Phase,
    Received,
    Verdict,
)
from gateway.core.registration.authentication import genuine, proof, sealed
from gateway.core.registration.grant import Grant
from gateway.core.wire.json_lines import Message
from gateway.licensing import OFFERS

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
OURS = "0a" * 16
THEIRS = "0b" * 16
NONCES = f"{OURS}\n{THEIRS}"
YESTERDAY = f"{'0c' * 16}\n{THEIRS}"
TERMS: Message = {"model": "trueconf", "edition": "free", "limits": {"pro": 7}, "not_after": None}
GRANT = Grant("trueconf", "free", {"pro": 7}, (), True, None)

BODIES: dict[str, Message] = {
    "registered": {"type": "registered", **TERMS, "interval_seconds": 60, "time": 5, "ticket": "t1"},
    "verified": {"type": "verified", "seq": 1, "time": "now", "ticket": "t2"},
    "refused": {"type": "refused", "reason": "expired"},
    "revoked": {"type": "revoked", "reason": "revoked"},
}


def conversation(phase: Phase, ticket: str | None = "t0") -> AgentConversation:
    """A conversation that has come to a phase."""
    agent = AgentConversation(KEY, OFFERS, server="gw-1", serial="DEMO-1", version="v", nonce=OURS, ticket=ticket)
    if phase is not Phase.CHALLENGE:
        agent.receive({"type": "challenge", "nonce": THEIRS})
    if phase in {Phase.NOTHING, Phase.VERIFIED}:
        agent.receive(sealed(KEY, NONCES, BODIES["registered"]))
    if phase is Phase.VERIFIED:
        agent.verify({})
    assert agent.phase is phase
    return agent


def picture(agent: AgentConversation) -> object:
    """All that a message may change, but for the count of those that cannot be believed."""
    return agent.phase, agent.seq, agent.register.copy(), agent._nonces


MAKERS: dict[str, Callable[[Message], Message]] = {
    "genuine": lambda body: sealed(KEY, NONCES, body),
    "wrong key": lambda body: sealed(OTHER_KEY, NONCES, body),
    "another conversation": lambda body: sealed(KEY, YESTERDAY, body),
    "no nonces": lambda body: sealed(KEY, "", body),
    "unsigned": lambda body: body,
    "empty code": lambda body: {**body, "mac": ""},
    "changed": lambda body: {**sealed(KEY, NONCES, body), "more": 1},
    "another type": lambda body: {**sealed(KEY, NONCES, {**body, "type": "verify"}), "type": body["type"]},
}

G, C, R, N, V = "genuine", Phase.CHALLENGE, Phase.REGISTERED, Phase.NOTHING, Phase.VERIFIED
BELIEVED: dict[tuple[Phase, str, str], Verdict] = {
    (R, "registered", G): Verdict.REGISTERED,
    (R, "refused", G): Verdict.REFUSED,
    (R, "revoked", G): Verdict.REVOKED,
    (N, "refused", G): Verdict.REFUSED,
    (N, "revoked", G): Verdict.REVOKED,
    (V, "verified", G): Verdict.VERIFIED,
    (V, "refused", G): Verdict.REFUSED,
    (V, "revoked", G): Verdict.REVOKED,
    **{(phase, "refused", "unsigned"): Verdict.TURNED_AWAY for phase in Phase},
    # said already, or not asked for
    **{(phase, "registered", G): Verdict.REPLAYED for phase in (N, V)},
    **{(phase, "verified", G): Verdict.REPLAYED for phase in (R, N)},
    # a code is required: without it these are no messages at all
    **{
        (phase, type, "unsigned"): Verdict.MALFORMED
        for phase in Phase
        for type in ("registered", "verified", "revoked")
    },
}
"""What is heard in each phase; everything that is not listed is forged."""


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("type", BODIES)
@pytest.mark.parametrize("made", MAKERS)
def test_what_is_heard_in_each_phase(phase: Phase, type: str, made: str) -> None:
    agent = conversation(phase)
    before, seq = picture(agent), agent.seq
    heard = agent.receive(MAKERS[made](BODIES[type]))
    assert heard.verdict is BELIEVED.get((phase, type, made), Verdict.FORGED)
    assert agent.untrusted == (heard.verdict in UNTRUSTED)
    assert agent.seq == seq
    if heard.verdict in {Verdict.REGISTERED, Verdict.VERIFIED}:
        assert agent.phase is Phase.NOTHING
    else:
        assert picture(agent) == before
        assert heard == Received(heard.verdict, reason=heard.reason)


def test_what_may_come_is_what_the_table_says() -> None:
    listed = {phase: {type for each, type, made in BELIEVED if each is phase and made == G} for phase in Phase}
    for phase, types in AWAITED.items():
        replayed = {type for type in listed[phase] if BELIEVED[phase, type, G] is Verdict.REPLAYED}
        assert listed[phase] - replayed <= types
        assert not replayed & types


# -- the conversation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticket", [None, "", "t0"])
def test_it_begins_with_a_registration_that_shows_the_last_ticket_if_there_is_one(ticket: str | None) -> None:
    register = conversation(C, ticket).register
    shown = {} if ticket is None else {"ticket": ticket}
    assert register == {
        "type": "register",
        "protocol": 1,
        "server": "gw-1",
        "serial": "DEMO-1",
        "version": "v",
        "nonce": OURS,
        **shown,
    }


def test_a_challenge_is_answered_by_the_proof_of_this_registration_once() -> None:
    agent = conversation(C)
    heard = agent.receive({"type": "challenge", "nonce": THEIRS})
    assert heard == Received(Verdict.CHALLENGED, answer={"type": "proof", "mac": proof(KEY, agent.register, THEIRS)})
    assert agent.phase is R
    before = picture(agent)
    assert agent.receive({"type": "challenge", "nonce": "0d" * 16}) == Received(Verdict.REPLAYED)
    assert picture(agent) == before


@pytest.mark.parametrize("phase", [R, N, V])
def test_a_second_challenge_changes_nothing(phase: Phase) -> None:
    agent = conversation(phase)
    before = picture(agent)
    assert agent.receive({"type": "challenge", "nonce": "0d" * 16}).verdict is Verdict.REPLAYED
    assert picture(agent) == before


def test_a_registration_tells_the_grant_the_interval_the_ticket_and_the_time_as_it_came() -> None:
    heard = conversation(R).receive(sealed(KEY, NONCES, BODIES["registered"]))
    assert heard == Received(Verdict.REGISTERED, grant=GRANT, interval=60, ticket="t1", time=5)


def test_a_verification_tells_the_ticket_and_leaves_the_grant() -> None:
    heard = conversation(V).receive(sealed(KEY, NONCES, BODIES["verified"]))
    assert heard == Received(Verdict.VERIFIED, ticket="t2", time="now")


@pytest.mark.parametrize("type", ["refused", "revoked"])
@pytest.mark.parametrize("reason", ["expired", "revoked", "in_use", "anything"])
def test_a_provable_refusal_tells_its_reason(type: str, reason: str) -> None:
    heard = conversation(N).receive(sealed(KEY, NONCES, {"type": type, "reason": reason}))
    assert heard == Received(Verdict[type.upper()], reason=reason)


def test_every_verification_has_the_next_number_and_the_code_of_this_conversation() -> None:
    agent = conversation(N)
    for seq in range(1, 6):
        asked = agent.verify({"pro": seq})
        assert asked == sealed(KEY, NONCES, {"type": "verify", "seq": seq, "used": {"pro": seq}})
        assert genuine(KEY, NONCES, asked)
        answer = sealed(KEY, NONCES, {"type": "verified", "seq": seq, "ticket": f"t{seq}"})
        assert agent.receive(answer).ticket == f"t{seq}"
        assert agent.receive(answer).verdict is Verdict.REPLAYED
    assert agent.untrusted == 5


@pytest.mark.parametrize("seq", [1, 3, 10**9])
def test_only_the_outstanding_number_is_believed(seq: int) -> None:
    agent = conversation(V)
    agent.receive(sealed(KEY, NONCES, BODIES["verified"]))
    agent.verify({})
    assert agent.receive(sealed(KEY, NONCES, {**BODIES["verified"], "seq": seq})).verdict is Verdict.REPLAYED
    assert agent.phase is V
    assert agent.receive(sealed(KEY, NONCES, {**BODIES["verified"], "seq": 2})).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("phase", [C, R, V])
def test_there_is_one_verification_at_a_time_and_none_before_the_registration(phase: Phase) -> None:
    with pytest.raises(RuntimeError, match=f"waiting for {phase}"):
        conversation(phase).verify({})


def test_yesterdays_conversation_said_again_word_by_word_is_worth_nothing() -> None:
    said = [sealed(KEY, YESTERDAY, BODIES[type]) for type in ("registered", "verified")]
    agent = conversation(C)
    assert agent.receive({"type": "challenge", "nonce": THEIRS}).verdict is Verdict.CHALLENGED
    assert [agent.receive(message).verdict for message in said] == [Verdict.FORGED, Verdict.FORGED]
    assert agent.phase is R


@pytest.mark.parametrize(
    "change",
    [{"limits": {"seats": 5}}, {"model": "nonesuch"}, {"edition": "gold"}, {"interval_seconds": 0}, {"ticket": None}],
)
def test_a_genuine_grant_that_makes_no_sense_is_malformed_and_the_next_one_is_taken(change: dict[str, Any]) -> None:
    agent = conversation(R)
    heard = agent.receive(sealed(KEY, NONCES, {**BODIES["registered"], **change}))
    assert heard.verdict is Verdict.MALFORMED
    assert next(iter(change)) in heard.reason
    assert agent.phase is R
    assert agent.receive(sealed(KEY, NONCES, BODIES["registered"])).verdict is Verdict.REGISTERED


@pytest.mark.parametrize("type", ["register", "proof", "verify"])
@pytest.mark.parametrize("phase", Phase)
def test_its_own_words_sent_back_are_worth_nothing(phase: Phase, type: str) -> None:
    echo = {
        "register": conversation(phase).register,
        "proof": {"type": "proof", "mac": proof(KEY, conversation(phase).register, THEIRS)},
        "verify": conversation(N).verify({}),
    }[type]
    agent = conversation(phase)
    before = picture(agent)
    assert agent.receive(echo).verdict in UNTRUSTED
    assert picture(agent) == before


# -- patience ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", Phase)
def test_patience_ends_after_so_much_that_cannot_be_believed_of_whatever_kind(phase: Phase) -> None:
    agent = conversation(phase)
    nonsense: list[Callable[[], Received]] = [
        lambda: agent.receive_garbage("not JSON"),
        lambda: agent.receive({"type": "nonesuch"}),
        lambda: agent.receive(sealed(OTHER_KEY, NONCES, BODIES["revoked"])),
        lambda: agent.receive(sealed(KEY, YESTERDAY, BODIES["registered"])),
    ]
    for number in range(MAX_UNTRUSTED):
        assert not agent.too_many_untrusted
        assert nonsense[number % len(nonsense)]().verdict in UNTRUSTED
    assert agent.too_many_untrusted


def test_what_is_believed_costs_no_patience() -> None:
    agent = conversation(N)
    for seq in range(1, 2 * MAX_UNTRUSTED):
        agent.verify({})
        agent.receive(sealed(KEY, NONCES, {"type": "verified", "seq": seq, "ticket": "t"}))
    assert agent.untrusted == 0


WORDS = st.sampled_from(
    [
        "type",
        "nonce",
        "mac",
        "seq",
        "ticket",
        "reason",
        "registered",
        "verified",
        "revoked",
        "refused",
        THEIRS,
        "0" * 64,
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@given(phase=st.sampled_from([R, N, V]), messages=st.lists(st.dictionaries(WORDS, JSON), max_size=5))
def test_without_the_key_nothing_changes(phase: Phase, messages: list[Message]) -> None:
    agent = conversation(phase)
    before = picture(agent)
    for message in messages:
        assert agent.receive(message).verdict in {*UNTRUSTED, Verdict.TURNED_AWAY}
        assert picture(agent) == before
