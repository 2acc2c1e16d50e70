"""The messages that clients may send: one row for each, with its fields, when it may be said, and what it asks for.

`read` checks a message against its row; `expected` tells, before anything is done, what a connection in a given state
answers to it (PROTOCOL.md, States).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.core.admission.commands import LONGEST_WAIT, Command, Join, Leave, RequestPro, Sleep, Start, Wake
from gateway.core.counting.session import KINDS
from gateway.core.names import NAME_FORM, folded, is_account, is_name, normalized
from gateway.core.wire.messages import (
    VERSION,
    Field,
    MessageFields,
    Request,
    RequestFault,
    checked,
    is_boolean,
    is_integer,
    one_of,
    text,
)


class SessionState(StrEnum):
    """Where a connection stands."""

    PENDING = "pending"
    """Accepted; no `hello` yet."""
    AWAKE = "awake"
    QUEUED = "queued"
    """Its `hello` waits for a seat."""
    ASLEEP = "asleep"
    """Said `sleep`: connected, not online."""
    CLOSED = "closed"
    """The last message has been sent; whatever still arrives is not read."""


WELCOMED = frozenset({SessionState.AWAKE, SessionState.ASLEEP})
_NAME = Field(is_name, f"a name of {NAME_FORM}", kept=normalized)
_ACCOUNT = Field(is_account, f"a name of {NAME_FORM}", kept=folded)
_CONFERENCE = _NAME._replace(required=True)
_WAIT = Field(
    lambda value: is_integer(value) and 1 <= value <= LONGEST_WAIT,  # type: ignore[operator]
    f"an integer from 1 to {LONGEST_WAIT}",
)
_FLAG = Field(is_boolean, "true or false", default=False)


class RequestType(NamedTuple):
    """One message: its `fields`, the `states` in which it is acted upon, and the command it becomes.

    `command` makes the command from the number of the session and the fields; None where the connection itself answers.
    """

    fields: Mapping[str, Field]
    states: frozenset[SessionState] = WELCOMED
    command: Callable[[int, Mapping[str, Any]], Command] | None = None


def _join(session: int, fields: Mapping[str, Any]) -> Join:
    return Join(
        session,
        fields["conference"],
        fields["host"],
        fields["access"],
        fields["mode"],
        fields["scheduled"],
        fields["server"] or "",
    )


REQUESTS: dict[str, RequestType] = {
    "hello": RequestType(
        {
            "protocol": Field(is_integer, "the integer 1", required=True),
            "client": Field(text(64), "a text of at most 64 characters", default=""),
            "kind": Field(one_of(*sorted(KINDS)), "one of " + ", ".join(sorted(KINDS))),
            "account": _ACCOUNT,
            "device": _NAME,
            "home": _ACCOUNT,
            "token": Field(text(), "a text"),
            "resume": Field(text(), "a text"),
            "wait": _WAIT,
        },
        frozenset({SessionState.PENDING}),
    ),
    "heartbeat": RequestType(
        {"seq": Field(is_integer, "an integer"), "active": Field(is_boolean, "true or false"), "wait": _WAIT},
        WELCOMED | {SessionState.QUEUED},
    ),
    "join": RequestType(
        {
            "conference": _CONFERENCE,
            "host": _FLAG,
            "access": Field(one_of("internal", "public"), '"internal" or "public"', default="internal"),
            "mode": Field(one_of("group", "call"), '"group" or "call"', default="group"),
            "scheduled": _FLAG,
            "server": _ACCOUNT,
            "wait": _WAIT,
        },
        command=_join,
    ),
    "start": RequestType(
        {"conference": _CONFERENCE}, command=lambda session, fields: Start(session, fields["conference"])
    ),
    "leave": RequestType(
        {"conference": _CONFERENCE}, command=lambda session, fields: Leave(session, fields["conference"])
    ),
    "sleep": RequestType({}, command=lambda session, _: Sleep(session)),
    "wake": RequestType({"wait": _WAIT}, command=lambda session, _: Wake(session)),
    "request_pro": RequestType({"wait": _WAIT}, command=lambda session, _: RequestPro(session)),
    "bye": RequestType({}, WELCOMED | {SessionState.QUEUED}),
}

FIELDS = {type: MessageFields(row.fields) for type, row in REQUESTS.items()}
"""What `checked` needs to know of these messages."""


def read(message: Mapping[str, Any]) -> Request:
    """Check one message against its row.

    Raises `RequestFault` with code `unknown_type`, `bad_field` or `unsupported_protocol`.
    """
    request = checked(message, FIELDS)
    if request.type == "hello" and request.fields["protocol"] != VERSION:
        detail = f"protocol: this gateway speaks {VERSION}"
        raise RequestFault("unsupported_protocol", detail, request.id, hello=True)
    return request


class Expected(StrEnum):
    """What is due to a message in a state: to be acted upon, to be passed over, or one of the protocol's errors."""

    ACT = "act"
    IGNORE = "ignore"
    HELLO_EXPECTED = "hello_expected"
    ALREADY_WELCOMED = "already_welcomed"
    QUEUED = "queued"


def expected(state: SessionState, type: str) -> Expected:
    """Return what a connection in `state` does about a message of `type`."""
    if state in REQUESTS[type].states:
        return Expected.ACT
    if state is SessionState.CLOSED:
        return Expected.IGNORE
    if state is SessionState.QUEUED:
        return Expected.QUEUED
    return Expected.HELLO_EXPECTED if state is SessionState.PENDING else Expected.ALREADY_WELCOMED
