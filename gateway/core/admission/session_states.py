"""The life of a session: one table, every state against every input.

A move is looked up, never improvised. The table says which verb answers an input; what the verb decides (a wake may be
refused) sets the next state, which must be one of those the move allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from gateway.core.wire.messages import FIELDS


class State(StrEnum):
    """Where a connection stands."""

    PENDING = "pending"
    """Accepted; no `hello` yet."""
    AWAKE = "awake"
    ASLEEP = "asleep"
    """Said `sleep`: connected, not online."""
    CLOSED = "closed"
    """The last message has been sent; whatever still arrives is not read."""


class Verb(StrEnum):
    """What is done about an input."""

    GREET = "greet"
    EXPECT_HELLO = "expect_hello"
    ALREADY_WELCOMED = "already_welcomed"
    ACK = "ack"
    JOIN = "join"
    START = "start"
    LEAVE = "leave"
    SLEEP = "sleep"
    WAKE = "wake"
    REQUEST_PRO = "request_pro"
    BYE = "bye"
    IGNORE = "ignore"


class Move(NamedTuple):
    """The verb that answers, and the states it may lead to (the present one is always among them)."""

    verb: Verb
    leads_to: frozenset[State]


class IllegalMove(RuntimeError):
    """A bug of the gateway: a decision led to a state that its move does not allow."""


INPUTS = tuple(FIELDS)
"""Everything a session can be told: the types of messages."""


def _moves() -> dict[tuple[State, str], Move]:
    pending, awake, asleep, closed = State
    table: dict[tuple[State, str], Move] = {}
    for word in INPUTS:
        table[pending, word] = Move(Verb.EXPECT_HELLO, frozenset({closed}))
        table[closed, word] = Move(Verb.IGNORE, frozenset({closed}))
    table[pending, "hello"] = Move(Verb.GREET, frozenset({pending, awake, asleep, closed}))
    for state in (awake, asleep):
        stay = frozenset({state})
        table[state, "hello"] = Move(Verb.ALREADY_WELCOMED, stay)
        table[state, "heartbeat"] = Move(Verb.ACK, stay)
        table[state, "join"] = Move(Verb.JOIN, frozenset({state, awake}))
        table[state, "start"] = Move(Verb.START, stay)
        table[state, "leave"] = Move(Verb.LEAVE, stay)
        table[state, "sleep"] = Move(Verb.SLEEP, frozenset({state, asleep}))
        table[state, "wake"] = Move(Verb.WAKE, frozenset({state, awake}))
        table[state, "request_pro"] = Move(Verb.REQUEST_PRO, stay)
        table[state, "bye"] = Move(Verb.BYE, frozenset({closed}))
    return table


MOVES = _moves()


def check(move: Move, after: State) -> State:
    """The state after a move.

    Raises `IllegalMove` if the table does not know the way.
    """
    if after not in move.leads_to:
        raise IllegalMove(f"{move.verb.value} may not lead to {after.value}")
    return after
