"""The life of a session: every state has an answer for every input."""

from __future__ import annotations

from itertools import product

import pytest
from gateway.core.admission.session_states import INPUTS, MOVES, Action, IllegalMove, SessionState, check

from gateway.core.wire.messages import FIELDS

WELCOMED = (SessionState.AWAKE, SessionState.ASLEEP)


def test_the_table_knows_every_state_and_every_message_and_nothing_else() -> None:
    assert set(MOVES) == set(product(SessionState, FIELDS))
    assert tuple(FIELDS) == INPUTS


@pytest.mark.parametrize("word", INPUTS)
def test_before_the_welcome_only_hello_is_heard(word: str) -> None:
    move = MOVES[SessionState.PENDING, word]
    if word == "hello":
        assert move.action is Action.SIGN_IN
        assert move.leads_to == set(SessionState)
    else:
        assert move.action is Action.EXPECT_HELLO
        assert move.leads_to == {SessionState.CLOSED}


@pytest.mark.parametrize("word", INPUTS)
def test_after_the_end_nothing_is_heard(word: str) -> None:
    move = MOVES[SessionState.CLOSED, word]
    assert move.action is Action.IGNORE
    assert move.leads_to == {SessionState.CLOSED}


@pytest.mark.parametrize(("state", "word"), [*product(WELCOMED, INPUTS)])
def test_after_the_welcome_each_message_has_its_verb(state: SessionState, word: str) -> None:
    verbs = {"hello": Action.ALREADY_WELCOMED, "heartbeat": Action.ACK}
    assert MOVES[state, word].action is verbs.get(word, Action.__members__.get(word.upper()))


@pytest.mark.parametrize(("state", "word"), [*product(WELCOMED, INPUTS)])
def test_after_the_welcome_each_message_leads_where_the_protocol_says(state: SessionState, word: str) -> None:
    also = {"join": SessionState.AWAKE, "sleep": SessionState.ASLEEP, "wake": SessionState.AWAKE}
    expected = {SessionState.CLOSED} if word == "bye" else {state, also.get(word, state)}
    assert MOVES[state, word].leads_to == expected


@pytest.mark.parametrize(("state", "word", "after"), [*product(SessionState, INPUTS, SessionState)])
def test_a_move_goes_only_where_the_table_says(state: SessionState, word: str, after: SessionState) -> None:
    move = MOVES[state, word]
    if after in move.leads_to:
        assert check(move, after) is after
    else:
        with pytest.raises(IllegalMove, match=f"{move.action.value} may not lead to {after.value}"):
            check(move, after)
