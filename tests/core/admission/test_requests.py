"""The table of requests: every state has an answer for every message, and every message leads where it may."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from gateway.core.admission.commands import Command, Join, Leave, RequestPro, Sleep, Start, Wake
from gateway.core.admission.requests import REQUESTS, WELCOMED, Expected, SessionState, expected, read
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core_harness import CoreHarness

TYPES = ("hello", "heartbeat", "join", "start", "leave", "sleep", "wake", "request_pro", "bye")
COMMANDS: dict[str, Command] = {
    "join": Join(7, "room"),
    "start": Start(7, "room"),
    "leave": Leave(7, "room"),
    "sleep": Sleep(7),
    "wake": Wake(7),
    "request_pro": RequestPro(7),
}
"""What each message asks of session 7, where its connection does not answer it itself."""
IN_ROOM = {"conference": "room"}
FIELDS: dict[str, dict[str, Any]] = {"hello": {"protocol": 1}, **dict.fromkeys(("join", "start", "leave"), IN_ROOM)}


def command(type: str, session: int = 7, **fields: Any) -> Command | None:
    """The command that a message becomes."""
    request = read({"type": type, **FIELDS.get(type, {}), **fields})
    make = REQUESTS[type].command
    return None if make is None else make(session, request.fields)


def test_the_table_knows_every_message_and_nothing_else() -> None:
    assert tuple(REQUESTS) == TYPES
    assert {SessionState.AWAKE, SessionState.ASLEEP} == WELCOMED


@pytest.mark.parametrize("type", TYPES)
def test_before_the_welcome_only_hello_is_heard(type: str) -> None:
    due = expected(SessionState.PENDING, type)
    assert due is (Expected.ACT if type == "hello" else Expected.HELLO_EXPECTED)


@pytest.mark.parametrize("type", TYPES)
def test_after_the_end_nothing_is_heard(type: str) -> None:
    assert expected(SessionState.CLOSED, type) is Expected.IGNORE


@pytest.mark.parametrize(("state", "type"), [*product(sorted(WELCOMED), TYPES)])
def test_after_the_welcome_everything_but_another_hello_is_acted_upon(state: SessionState, type: str) -> None:
    assert expected(state, type) is (Expected.ALREADY_WELCOMED if type == "hello" else Expected.ACT)


@pytest.mark.parametrize("type", TYPES)
def test_each_message_has_its_command_or_is_answered_by_its_connection(type: str) -> None:
    assert command(type) == COMMANDS.get(type)


def test_a_join_hands_on_all_its_fields_and_a_server_in_lower_case() -> None:
    fields = {"host": True, "access": "public", "mode": "call", "scheduled": True, "server": "Far.Example"}
    assert command("join", **fields) == Join(7, "room", True, "public", "call", True, "far.example")


@pytest.mark.parametrize(("asleep", "type"), [*product((False, True), COMMANDS)])
@pytest.mark.parametrize("granted", [True, False])
def test_after_the_welcome_each_message_leads_where_the_protocol_says(asleep: bool, type: str, granted: bool) -> None:
    harness = CoreHarness(trueconf(TrueConf(pro=granted, online=1, allow_pro_requests=True)))
    ann = harness.hello("ann")
    if asleep:
        harness.sleep(ann)
        if not granted:
            harness.hello("bob")
    asked = command(type, ann.number)
    assert asked is not None
    decision = harness.apply(asked)
    follows = {"join": True, "sleep": False, "wake": True} if decision.refused is None else {}
    assert ann.awake is follows.get(type, not asleep)
    if type in {"join", "request_pro"} or (type == "wake" and asleep):
        assert (decision.refused is None) is granted
