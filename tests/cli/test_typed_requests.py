"""Short words that a person types, and the messages they become."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.typed_requests import BY_ITSELF, NotUnderstood, completions, help_text, request_of, usage
from gateway.core.admission.requests import REQUESTS
from gateway.core.names import NAME_FORM

NOWHERE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("join weekly", {"type": "join", "conference": "weekly"}),
        ("JOIN weekly public host", {"type": "join", "conference": "weekly", "access": "public", "host": True}),
        ("join host host", {"type": "join", "conference": "host", "host": True}),
        ("join a call scheduled=false", {"type": "join", "conference": "a", "mode": "call", "scheduled": False}),
        ("join conference=a access=internal", {"type": "join", "conference": "a", "access": "internal"}),
        ("join a server=gw-2", {"type": "join", "conference": "a", "server": "gw-2"}),
        ('join "board room" host', {"type": "join", "conference": "board room", "host": True}),
        ('join conference="a b"', {"type": "join", "conference": "a b"}),
        ("join o'brien#1", {"type": "join", "conference": "o'brien#1"}),
        ("  leave  weekly ", {"type": "leave", "conference": "weekly"}),
        ("sleep", {"type": "sleep"}),
        ("pro", {"type": "request_pro"}),
        ("quit", {"type": "bye"}),
        (' {"type":"join","conference":7,"new":[1]}', {"type": "join", "conference": 7, "new": [1]}),
    ],
)
def test_a_line_becomes_a_message(line: str, message: dict[str, Any]) -> None:
    assert request_of(line) == message


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("jion weekly", "'jion' is no request (did you mean join?); `help` shows what there is"),
        ("42", "'42' is no request; `help` shows what there is"),
        ("hello", "hello is said without being asked for; `help` shows what can be typed"),
        ("heartbeat", "heartbeat is said without being asked for; `help` shows what can be typed"),
        ("leave", f"conference: required, a name of {NAME_FORM}: leave CONFERENCE"),
        ('leave "a b', "a double quote is open: a name with spaces stands between two of them"),
        ("leave a b", "'b' is not expected here: leave CONFERENCE"),
        ("leave a conference=b", "conference was said before 'conference=b': leave CONFERENCE"),
        ("{", "this is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"conference":"a"}', 'a message has a "type", such as {"type":"join","conference":"weekly"}'),
        ('{"type":"join","conference":1e999}', "this cannot be sent: a number of JSON is finite"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_what_is_expected(line: str, why: str) -> None:
    with pytest.raises(NotUnderstood) as fault:
        request_of(line)
    assert str(fault.value) == why


@pytest.mark.parametrize("word", ["a=true", "host=yes", "access=secret", "mode="])
def test_a_word_that_no_field_takes_is_refused(word: str) -> None:
    with pytest.raises(NotUnderstood, match=r"join CONFERENCE \[host\]"):
        request_of(f"join weekly {word}")


def test_every_message_that_can_be_typed_is_explained() -> None:
    lines = [line.strip() for line in help_text().splitlines()]
    for type in REQUESTS.keys() - BY_ITSELF:
        at = next(place for place, line in enumerate(lines) if line.startswith(usage(type)))
        assert lines[at] != usage(type) or lines[at + 1][:1].islower(), type
    assert max(map(len, lines)) < 100


def test_the_usage_of_join_names_every_field() -> None:
    assert (
        usage("join") == "join CONFERENCE [host] [internal|public] [group|call] [scheduled] [server=SERVER] [wait=WAIT]"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("s", ["sleep", "start"]),
        ("he", ["help"]),
        ("leave ", ["daily", "weekly"]),
        ("leave we", ["weekly"]),
        ("leave weekly ", []),
        ("join a s", ["scheduled", "server="]),
        ("join a p", ["public"]),
        ("nothing w", []),
        ("hello w", []),
    ],
)
def test_a_word_is_completed(line: str, words: list[str]) -> None:
    assert completions(line, frozenset({"weekly", "daily"})) == words


def test_a_name_with_spaces_is_completed_with_its_quotes() -> None:
    assert completions('leave "bo', frozenset({"board room"})) == ['"board room"']


def test_nothing_is_completed_where_nothing_is_known() -> None:
    assert completions("leave ", NOWHERE) == []


def test_seconds_to_wait_are_a_number() -> None:
    assert request_of("join weekly wait=60") == {"type": "join", "conference": "weekly", "wait": 60}
    assert request_of("join 60") == {"type": "join", "conference": "60"}
    assert request_of("pro wait=5") == {"type": "request_pro", "wait": 5}


@pytest.mark.parametrize("word", ["wait=x", "wait=0", "wait=-1", "wait=99999999999999999999", "wait=1.5", "wait="])
def test_what_is_no_number_of_seconds_is_refused(word: str) -> None:
    with pytest.raises(NotUnderstood, match="wait: expected"):
        request_of(f"join weekly {word}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("active", {"type": "heartbeat", "active": True}),
        ("Active wait=60", {"type": "heartbeat", "active": True, "wait": 60}),
        ("idle", {"type": "heartbeat", "active": False}),
    ],
)
def test_whether_somebody_uses_it_can_be_typed(line: str, message: dict[str, Any]) -> None:
    assert request_of(line) == message
    assert line.split(maxsplit=1)[0].lower() in help_text()
