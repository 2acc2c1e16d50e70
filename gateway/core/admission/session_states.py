"""The life of a session: one table, every state against every input.

A move is looked up, never improvised. The table says which verb answers an input; what the verb decides (a wake may be
refused) sets the next state, which must be one of those the move allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from gateway.core.wire.messages import FIELDS


class SessionState(StrEnum):
    """Where a connection stands."""

    PENDING = "pending"
    """Accepted; no `hello` yet."""
    AWAKE = "awake"
    ASLEEP = "asleep"
    """Said `sleep`: connected, not online."""
    CLOSED = "closed"
    """The last message has been sent; whatever still arrives is not read."""


class Action(StrEnum):
    """What is done about an input."""

    SIGN_IN = "greet"
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

    action: Action
    leads_to: frozenset[SessionState]


class IllegalMove(RuntimeError):
    """A bug of the gateway: a decision led to a state that its move does not allow."""


INPUTS = tuple(FIELDS)
"""Everything a session can be told: the types of messages."""


def _moves() -> dict[tuple[SessionState, str], Move]:
    pending, awake, asleep, closed = SessionState
    table: dict[tuple[SessionState, str], Move] = {}
    for word in INPUTS:
        table[pending, word] = Move(Action.EXPECT_HELLO, frozenset({closed}))
        table[closed, word] = Move(Action.IGNORE, frozenset({closed}))
    table[pending, "hello"] = Move(Action.SIGN_IN, frozenset({pending, awake, asleep, closed}))
    for state in (awake, asleep):
        stay = frozenset({state})
        table[state, "hello"] = Move(Action.ALREADY_WELCOMED, stay)
        table[state, "heartbeat"] = Move(Action.ACK, stay)
        table[state, "join"] = Move(Action.JOIN, frozenset({state, awake}))
        table[state, "start"] = Move(Action.START, stay)
        table[state, "leave"] = Move(Action.LEAVE, stay)
        table[state, "sleep"] = Move(Action.SLEEP, frozenset({state, asleep}))
        table[state, "wake"] = Move(Action.WAKE, frozenset({state, awake}))
        table[state, "request_pro"] = Move(Action.REQUEST_PRO, stay)
        table[state, "bye"] = Move(Action.BYE, frozenset({closed}))
    return table


MOVES = _moves()


def check(move: Move, after: SessionState) -> SessionState:
    """The state after a move.

    Raises `IllegalMove` if the table does not know the way.
    """
    if after not in move.leads_to:
        raise IllegalMove(f"{move.action.value} may not lead to {after.value}")
    return after
