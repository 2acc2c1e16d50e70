"""The life of a session: every state has an answer for every input."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.core.admission.session_states import INPUTS, MOVES, IllegalMove, State, Verb, check
from gateway.core.wire.messages import FIELDS

WELCOMED = (State.AWAKE, State.ASLEEP)


def test_the_table_knows_every_state_and_every_message_and_nothing_else() -> None:
    assert set(MOVES) == set(product(State, FIELDS))
    assert tuple(FIELDS) == INPUTS


@pytest.mark.parametrize("word", INPUTS)
def test_before_the_welcome_only_hello_is_heard(word: str) -> None:
    move = MOVES[State.PENDING, word]
    if word == "hello":
        assert move.verb is Verb.GREET
        assert move.leads_to == set(State)
    else:
        assert move.verb is Verb.EXPECT_HELLO
        assert move.leads_to == {State.CLOSED}


@pytest.mark.parametrize("word", INPUTS)
def test_after_the_end_nothing_is_heard(word: str) -> None:
    move = MOVES[State.CLOSED, word]
    assert move.verb is Verb.IGNORE
    assert move.leads_to == {State.CLOSED}


@pytest.mark.parametrize(("state", "word"), [*product(WELCOMED, INPUTS)])
def test_after_the_welcome_each_message_has_its_verb(state: State, word: str) -> None:
    verbs = {"hello": Verb.ALREADY_WELCOMED, "heartbeat": Verb.ACK}
    assert MOVES[state, word].verb is verbs.get(word, Verb.__members__.get(word.upper()))


@pytest.mark.parametrize(("state", "word"), [*product(WELCOMED, INPUTS)])
def test_after_the_welcome_each_message_leads_where_the_protocol_says(state: State, word: str) -> None:
    also = {"join": State.AWAKE, "sleep": State.ASLEEP, "wake": State.AWAKE}
    expected = {State.CLOSED} if word == "bye" else {state, also.get(word, state)}
    assert MOVES[state, word].leads_to == expected


@pytest.mark.parametrize(("state", "word", "after"), [*product(State, INPUTS, State)])
def test_a_move_goes_only_where_the_table_says(state: State, word: str, after: State) -> None:
    move = MOVES[state, word]
    if after in move.leads_to:
        assert check(move, after) is after
    else:
        with pytest.raises(IllegalMove, match=f"{move.verb.value} may not lead to {after.value}"):
            check(move, after)
