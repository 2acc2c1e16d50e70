"""Messages of the gateway as a person reads them."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from gateway.cli import answer_text as module
from gateway.cli.answer_text import answer_text, end_text, printable
from gateway.client import ConnectionEnd
from gateway.core.wire.answers import Answer


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            {"type": "welcome", "session": "s-1", "model": "epop", "heartbeat_seconds": 30, "seats": []},
            "welcome: session s-1, model epop, a heartbeat every 30 s; seats: none",
        ),
        (
            {
                "type": "welcome",
                "session": "s-1",
                "model": "epop",
                "heartbeat_seconds": 30,
                "conferences": ["a", "b"],
                "seats": ["concurrent"],
            },
            "welcome back, resumed: session s-1, model epop, a heartbeat every 30 s, in a, b; seats: concurrent",
        ),
        (
            {"type": "joined", "conference": "a", "access": "public", "mode": "group", "state": "live", "seats": []},
            "joined a (group, public, live); seats: none",
        ),
        (
            {"type": "left", "conference": "a", "seats": ["pro"], "rights": ["x", "y"], "pro_expires": "2026-11-22"},
            "left a; seats: pro; 2 rights; PRO until 2026-11-22",
        ),
        ({"type": "removed", "conference": "a", "reason": "conference_ended"}, "removed a: conference_ended"),
        ({"type": "granted", "pool": "pro", "expires": None}, "granted pro, without an end that is known"),
        (
            {"type": "denied", "request": "join", "reason": "pool_full", "pool": "pro", "used": 9, "limit": 8},
            "denied join: pool_full, pro 9 of 8",
        ),
        (
            {
                "type": "denied",
                "request": "join",
                "reason": "conference_full",
                "conference": "a",
                "used": 2,
                "limit": 2,
            },
            "denied join a: conference_full, members 2 of 2",
        ),
        (
            {"type": "denied", "request": "hello", "reason": "banned", "retry_after_seconds": 7300},
            "denied hello: banned; again after 2 h 01 min",
        ),
        (
            {"type": "closing", "reason": "drained", "code": 1012, "reconnect": True, "retry_after_seconds": 1.5},
            "the gateway closes the connection: drained; again after 1.5 s",
        ),
        (
            {"type": "closing", "reason": "kicked", "code": 4503, "reconnect": False},
            "the gateway closes the connection, for good: kicked",
        ),
        (
            {
                "type": "queued",
                "request": "join",
                "conference": "weekly",
                "pool": "concurrent",
                "position": 2,
                "used": 10,
                "limit": 10,
                "wait_seconds": 60,
            },
            "queued join weekly: place 2, concurrent 10 of 10, for up to 60 s",
        ),
        ({"type": "error", "code": "bad_field", "detail": "why"}, "error bad_field: why"),
        ({"type": "later", "id": 7, "place": 3, "of": ["x"]}, 'later place=3 of=["x"]'),
    ],
)
def test_a_message_is_a_line(message: dict[str, Any], text: str) -> None:
    assert answer_text(message) == text


def test_every_message_but_the_ack_has_words_of_its_own() -> None:
    known = {get_args(get_type_hints(each)["type"])[0] for each in get_args(Answer)}
    assert known - {"ack"} == set(module._WRITE)


def test_a_message_without_its_fields_is_shown_all_the_same() -> None:
    for type in module._WRITE:
        assert answer_text({"type": type}) != ""


def test_no_message_moves_the_cursor_of_a_terminal() -> None:
    text = answer_text({"type": "error", "code": "x\x1b[2J", "detail": "a\nb\u202ec"})
    assert text == "error x\\x1b[2J: a\\nb\\u202ec"
    assert printable("Zürich") == "Zürich"


def test_an_end_is_told_by_its_reason() -> None:
    assert end_text(ConnectionEnd(error=OSError("no\nroute"))) == "no\\nroute"
