"""What clients may say: every field with its default, its kind and its limits."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission.requests import REQUESTS, read
from gateway.core.counting.session import KINDS
from gateway.core.wire.messages import Request, RequestFault

FIELDS = {type: row.fields for type, row in REQUESTS.items()}
MINIMAL: dict[str, dict[str, Any]] = {
    "hello": {"protocol": 1},
    "heartbeat": {},
    "join": {"conference": "weekly"},
    "start": {"conference": "weekly"},
    "leave": {"conference": "weekly"},
    "sleep": {},
    "wake": {},
    "request_pro": {},
    "bye": {},
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "hello": {
        "protocol": 1,
        "client": "",
        "kind": None,
        "account": None,
        "device": None,
        "home": None,
        "token": None,
        "resume": None,
        "wait": None,
    },
    "heartbeat": {"seq": None, "active": None, "wait": None},
    "join": {
        "conference": "weekly",
        "host": False,
        "access": "internal",
        "mode": "group",
        "scheduled": False,
        "server": None,
        "wait": None,
    },
    **{type: MINIMAL[type] for type in ("start", "leave", "sleep", "bye")},
    **{type: {"wait": None} for type in ("wake", "request_pro")},
}
IDS = [("hello", "account"), ("hello", "device"), ("hello", "home"), ("join", "conference"), ("join", "server")]
IDS += [("start", "conference"), ("leave", "conference")]
TEXTS = [("hello", "client", 64)]
SECRETS = [("hello", "token"), ("hello", "resume")]
FLAGS = [("join", "host"), ("join", "scheduled")]
WORDS = [("join", "access", {"internal", "public"}), ("join", "mode", {"group", "call"}), ("hello", "kind", KINDS)]


def say(type: str, **fields: Any) -> Request:
    return read({"type": type, **MINIMAL.get(type, {}), **fields})


def fault(**message: Any) -> RequestFault:
    with pytest.raises(RequestFault) as caught:
        read(message)
    return caught.value


def refuses(type: str, **fields: Any) -> bool:
    """Whether a field is refused, with its name in the detail."""
    found = fault(**{"type": type, **MINIMAL[type], **fields})
    (name,) = fields
    return found.code == "bad_field" and found.detail.startswith(f"{name}: ")


@pytest.mark.parametrize("type", [*FIELDS])
def test_fields_that_are_not_given_have_their_defaults(type: str) -> None:
    assert say(type) == Request(type, DEFAULTS[type], None)


@pytest.mark.parametrize("type", [*FIELDS])
def test_null_is_not_given(type: str) -> None:
    optional = {name: None for name, field in FIELDS[type].items() if not field.required}
    assert say(type, **optional) == say(type)


@pytest.mark.parametrize(
    ("type", "name"), [(type, name) for type, known in FIELDS.items() for name in known if known[name].required]
)
def test_a_required_field_may_not_be_missing_or_null(type: str, name: str) -> None:
    without = {key: value for key, value in MINIMAL[type].items() if key != name}
    for message in (without, {**without, name: None}):
        found = fault(type=type, **message)
        assert (found.code, found.detail.split(":")[0]) == ("bad_field", name)


def test_required_are_the_protocol_of_hello_and_the_conference_of_a_request() -> None:
    required = {(type, name) for type, known in FIELDS.items() for name, field in known.items() if field.required}
    assert required == {(type, name) for type, fields in MINIMAL.items() for name in fields}


@pytest.mark.parametrize("type", [*FIELDS])
def test_unknown_keys_are_ignored(type: str) -> None:
    assert say(type, future=[1, {"a": None}]) == say(type)


@pytest.mark.parametrize(("type", "name"), IDS)
def test_names_are_read_as_they_are_kept_accounts_and_homes_without_case(type: str, name: str) -> None:
    folded = name in {"account", "home", "server"}
    for good in ("a", "a-za-z0-9._@:+-", "x" * 128, "...", "0", "o'brien", "a b", "a/b", "\u00e4"):
        assert say(type, **{name: good}).fields[name] == good
    for given in ("\u00c4", "A\u0308"):
        assert say(type, **{name: given}).fields[name] == ("\u00e4" if folded else "\u00c4")
    wrong: list[Any] = ["", "x" * 129, ".", "..", " a", "a\n", "a\0", "a\u200db", "a\u0378", 1, True, [], {}]
    for bad in wrong:
        assert refuses(type, **{name: bad})


@pytest.mark.parametrize(("type", "name", "limit"), TEXTS)
def test_texts_have_a_limit_in_characters(type: str, name: str, limit: int) -> None:
    for good in ("", "ä" * limit):
        assert say(type, **{name: good}).fields[name] == good
    wrong: list[Any] = ["x" * (limit + 1), 1, False, []]
    for bad in wrong:
        assert refuses(type, **{name: bad})


@pytest.mark.parametrize(("type", "name"), SECRETS)
def test_secrets_are_any_text_for_an_unknown_one_is_no_fault(type: str, name: str) -> None:
    for good in ("", "x" * 4000):
        assert say(type, **{name: good}).fields[name] == good
    wrong: list[Any] = [1, False, []]
    for bad in wrong:
        assert refuses(type, **{name: bad})


@pytest.mark.parametrize(("type", "name"), FLAGS)
def test_flags_are_true_or_false(type: str, name: str) -> None:
    for good in (True, False):
        assert say(type, **{name: good}).fields[name] is good
    wrong: list[Any] = [0, 1, "true", []]
    for bad in wrong:
        assert refuses(type, **{name: bad})


@pytest.mark.parametrize(("type", "name", "words"), WORDS)
def test_words_are_from_a_list(type: str, name: str, words: set[str]) -> None:
    for good in words:
        assert say(type, **{name: good}).fields[name] == good
    wrong: list[Any] = ["", "other", next(iter(words)).upper(), 1, [next(iter(words))]]
    for bad in wrong:
        assert refuses(type, **{name: bad})


def test_seq_is_any_integer() -> None:
    for good in (0, -1, 10**300):
        assert say("heartbeat", seq=good).fields["seq"] == good
    wrong: list[Any] = [1.0, "1", True, []]
    for bad in wrong:
        assert refuses("heartbeat", seq=bad)


def test_only_protocol_1_is_spoken() -> None:
    for other in (0, 2, -1):
        assert fault(type="hello", protocol=other).code == "unsupported_protocol"
    wrong: list[Any] = ["1", 1.0, True, []]
    for bad in wrong:
        assert refuses("hello", protocol=bad)


@pytest.mark.parametrize("id", ["", "x" * 64, 0, -1, 10**300])
def test_an_id_is_kept_with_the_request_and_with_its_fault(id: str | int) -> None:
    assert say("sleep", id=id).id == id
    assert fault(type="nonsense", id=id).id == id
    assert fault(type="leave", id=id).id == id
    assert fault(type="hello", protocol=2, id=id).id == id


@pytest.mark.parametrize("id", ["x" * 65, 1.5, True, [], {}])
def test_an_id_that_is_none_is_a_bad_field_and_is_not_echoed(id: Any) -> None:
    found = fault(type="sleep", id=id)
    assert (found.code, found.id) == ("bad_field", None)


@pytest.mark.parametrize("type", ["nonsense", "", "HELLO", "welcome"])
def test_unknown_types_are_named_so(type: str) -> None:
    assert fault(type=type).code == "unknown_type"


@pytest.mark.parametrize("type", [None, 1, True, [], {}])
def test_the_type_is_a_text(type: Any) -> None:
    assert fault(type=type).code == "bad_field"
    assert fault().code == "bad_field"


def test_a_fault_says_whether_it_was_meant_for_a_hello() -> None:
    assert fault(type="hello").hello
    assert fault(type="hello", protocol=1, kind="toaster").hello
    assert fault(type="hello", protocol=1, id=[]).hello
    assert not fault(type="join").hello
    assert not fault(type="nonsense").hello


def test_defaults_are_not_shared_between_requests() -> None:
    say("join").fields["host"] = True
    assert say("join").fields["host"] is False


@pytest.mark.parametrize("type", ["hello", "join", "wake", "request_pro"])
def test_a_wait_is_a_whole_number_of_seconds_of_a_day(type: str) -> None:
    assert say(type, wait=1).fields["wait"] == 1
    assert say(type, wait=86_400).fields["wait"] == 86_400
    assert all(refuses(type, wait=value) for value in (0, -1, 86_401, 1.5, True, "60", [60]))


def test_of_several_faults_the_first_field_of_the_text_is_named_whatever_is_said_first() -> None:
    with pytest.raises(RequestFault, match=r"^conference: required, "):
        read({"mode": "x", "host": 1, "type": "join"})
    with pytest.raises(RequestFault, match=r"^host: expected true or false$"):
        read({"mode": "x", "host": 1, "type": "join", "conference": "weekly"})
