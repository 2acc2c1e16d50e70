"""Every field of every message of the registration check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registration.messages import FIELDS, SPOKEN, read
from gateway.core.wire.messages import RequestFault
from tests.core.registration.sample_messages import GOOD, said


def kind(type: str) -> str | None:
    """What `read` is told of a document that has no type."""
    return None if type in SPOKEN else type


@pytest.mark.parametrize("type", FIELDS)
def test_a_good_message_is_read_whole_and_unknown_fields_are_left_out(type: str) -> None:
    assert read(said(type, unheard_of=[1, {"a": "b"}]), kind(type)) == GOOD[type]


REQUIRED = {
    "terms": {"model"},
    "register": {"protocol", "server", "serial", "nonce"},
    "challenge": {"nonce"},
    "proof": {"mac"},
    "registered": {"model", "interval_seconds", "ticket", "mac"},
    "refused": {"reason"},
    "verify": {"seq", "mac"},
    "verified": {"seq", "ticket", "mac"},
    "revoked": {"reason", "mac"},
    "request": {"server", "serial", "nonce"},
    "answer": {"model", "server", "serial", "nonce", "issued_at", "mac"},
}


@pytest.mark.parametrize(("type", "field"), [(type, field) for type, known in FIELDS.items() for field in known])
def test_a_field_that_is_missing_or_null(type: str, field: str) -> None:
    without = {name: value for name, value in said(type).items() if name != field}
    for message in (without, {**without, field: None}):
        if field in REQUIRED[type]:
            with pytest.raises(RequestFault, match=f"^{field}: required") as fault:
                read(message, kind(type))
            assert fault.value.code == "bad_field"
        else:
            assert read(message, kind(type)) == {**GOOD[type], field: None}


NO_NAME = ["", "a" * 129, "a b", "a/b", "..", "ä", 5, True, ["a"], {"a": 1}]
NO_SERIAL = ["", "a" * 129, " a", "..", "a\u0308", "a\u200d", 5, True, ["a"], {"a": 1}]
NO_NONCE = ["", "0" * 31, "0" * 33, "g" * 32, "0" * 31 + "\n", 5, False, ["0" * 32]]
NO_COUNTS = [[], "1", 1, {"a": -1}, {"a": 10**9 + 1}, {"a": True}, {"a": None}, {"a": "1"}, {"a b": 1}]
TOO_MANY = [{f"p{number}": 1 for number in range(17)}]
NO_FLAG = [0, 1, "true", [], {}]
NO_TIME = ["", "soon", "2026-13-01", "2026-11-21T12:00:00", -1, True, [], {}, 253_402_300_800]
NO_SEQ = [0, -1, 10**9 + 1, True, "1", [1]]
NO_INTERVAL = [0, -1, 86_401, True, "60", [60]]


def too_long(longest: int) -> list[object]:
    return ["a" * (longest + 1), 5, True, ["a"], {}]


WRONG: dict[str, list[object]] = {
    "model": NO_NAME,
    "edition": too_long(32),
    "limits": [*NO_COUNTS, *TOO_MANY],
    "extensions": ["sdk", {"sdk": 1}, [5], [None], ["a b"], ["a"] * 33],
    "needs_connection": NO_FLAG,
    "not_after": NO_TIME,
    "protocol": [0, 2, -1, True, "1", [1]],
    "server": NO_SERIAL,
    "serial": NO_SERIAL,
    "version": too_long(64),
    "nonce": NO_NONCE,
    "ticket": too_long(128),
    "mac": too_long(64),
    "interval_seconds": NO_INTERVAL,
    "reason": too_long(64),
    "seq": NO_SEQ,
    "used": [*NO_COUNTS, *TOO_MANY],
    "issued_at": NO_TIME,
}


@pytest.mark.parametrize(
    ("type", "field"), [(type, field) for type, known in FIELDS.items() for field in known if field != "time"]
)
def test_a_field_that_is_wrong_is_named(type: str, field: str) -> None:
    for value in WRONG[field]:
        with pytest.raises(RequestFault, match=f"^{field}: expected ") as fault:
            read(said(type, **{field: value}), kind(type))
        assert fault.value.code == "bad_field"


@pytest.mark.parametrize("value", [0, -5, "yesterday", "", True, [1], {"a": "b"}])
def test_no_time_of_the_registrars_record_is_a_reason_to_reject(value: object) -> None:
    assert read(said("verified", time=value))["time"] == value


@pytest.mark.parametrize("type", FIELDS)
@pytest.mark.parametrize("value", [1.0, 0.5, {"a": {"b": [1, 2.0]}}, [[3.0]]])
def test_a_number_that_is_not_whole_is_refused_wherever_it_stands(type: str, value: object) -> None:
    with pytest.raises(RequestFault, match="whole"):
        read(said(type, unheard_of=value), kind(type))


@pytest.mark.parametrize(
    ("type", "field", "value"),
    [
        ("verify", "seq", 1.0),
        ("register", "protocol", 1.0),
        ("registered", "interval_seconds", 60.0),
        ("registered", "limits", {"pro": 1.0}),
        ("registered", "not_after", 1.8e9),
    ],
)
def test_a_float_is_not_a_whole_number_even_where_it_is_one(type: str, field: str, value: object) -> None:
    with pytest.raises(RequestFault, match=f"^{field}: expected "):
        read(said(type, **{field: value}))


@pytest.mark.parametrize("type", ["", "hello", "terms", "request", "answer", None, 5, True, ["register"], {}])
def test_a_message_of_another_type_is_unknown(type: object) -> None:
    with pytest.raises(RequestFault) as fault:
        read({**GOOD["register"], **GOOD["registered"], "type": type})
    assert fault.value.code == "unknown_type"
    with pytest.raises(RequestFault):
        read({})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_whatever_a_field_is_the_message_is_read_or_a_fault(data: st.DataObject) -> None:
    type = data.draw(st.sampled_from(sorted(FIELDS)))
    field = data.draw(st.sampled_from(sorted(FIELDS[type])))
    try:
        fields = read(said(type, **{field: data.draw(JSON)}), kind(type))
    except RequestFault as fault:
        assert fault.detail.startswith((f"{field}: ", "numbers are whole"))  # noqa: PT017 - either outcome is good
    else:
        assert fields.keys() == FIELDS[type].keys()
