"""The words of the registration check: their code against texts written by hand, and every field of every message."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registration import messages
from gateway.core.registration.messages import FIELDS, SPOKEN, Grant, LicensableModel, canonical, granted, key_of, read
from gateway.core.wire.messages import RequestFault
from gateway.licensing import OFFERS

KEY = bytes(range(32))
OURS = "00112233445566778899aabbccddeeff"
THEIRS = "ffeeddccbbaa99887766554433221100"
NONCES = f"{OURS}\n{THEIRS}"
TERMS = {
    "model": "trueconf",
    "edition": "free",
    "limits": {"pro": 10, "guest": 1},
    "extensions": ["sdk"],
    "needs_connection": True,
    "not_after": "2027-01-31T23:59:59Z",
}
MAC = "0" * 64
GOOD: dict[str, dict[str, Any]] = {
    "terms": TERMS,
    "register": {
        "protocol": 1,
        "server": "gw-1",
        "serial": "DEMO-1",
        "version": "tallygate/0.1.0",
        "nonce": OURS,
        "ticket": "t0",
    },
    "challenge": {"nonce": THEIRS},
    "proof": {"mac": MAC},
    "registered": {**TERMS, "interval_seconds": 60, "time": "2026-11-21T12:00:00Z", "ticket": "t1", "mac": MAC},
    "refused": {"reason": "in_use", "mac": MAC},
    "verify": {"seq": 1, "used": {"online": 3, "guest": 0}, "mac": MAC},
    "verified": {"seq": 1, "time": "2026-11-21T12:01:00Z", "ticket": "t2", "mac": MAC},
    "revoked": {"reason": "Überzogen", "mac": MAC},
    "request": {"server": "gw-1", "serial": "DEMO-1", "nonce": OURS, "time": "2026-11-21T12:00:00Z"},
    "answer": {
        "model": "trueconf",
        "edition": "server",
        "limits": {},
        "extensions": [],
        "needs_connection": False,
        "not_after": None,
        "server": "gw-1",
        "serial": "DEMO-1",
        "nonce": OURS,
        "issued_at": "2026-11-21T12:00:00Z",
        "mac": MAC,
    },
}
"""One good message of each type, in the order of the protocol's tables."""

CANONICAL = {
    "register": '{"nonce":"00112233445566778899aabbccddeeff","protocol":1,"serial":"DEMO-1","server":"gw-1",'
    '"ticket":"t0","type":"register","version":"tallygate/0.1.0"}',
    "registered": '{"edition":"free","extensions":["sdk"],"interval_seconds":60,"limits":{"guest":1,"pro":10},'
    '"model":"trueconf","needs_connection":true,"not_after":"2027-01-31T23:59:59Z","ticket":"t1",'
    '"time":"2026-11-21T12:00:00Z","type":"registered"}',
    "refused": '{"reason":"in_use","type":"refused"}',
    "verify": '{"seq":1,"type":"verify","used":{"guest":0,"online":3}}',
    "verified": '{"seq":1,"ticket":"t2","time":"2026-11-21T12:01:00Z","type":"verified"}',
    "revoked": '{"reason":"Überzogen","type":"revoked"}',
    "answer": '{"edition":"server","extensions":[],"issued_at":"2026-11-21T12:00:00Z","limits":{},"model":"trueconf",'
    '"needs_connection":false,"nonce":"00112233445566778899aabbccddeeff","not_after":null,"serial":"DEMO-1",'
    '"server":"gw-1"}',
}
CODES = {
    "registered": "6a57f86e7634e22b69663b2d0182bbbb64944dc8d6af62e665dd2c91ce4a8852",
    "refused": "88d08f3bee52f01515c6a2fc3a2f10eabe277e592be6c6163f409a7cfdb41b64",
    "verify": "85b2af2c03308bcd8515e4187be9ccb210a133bda40dbc2eca38ee94d2ebb424",
    "verified": "f3e597c68c30da1a45945a7a23e9c0d5da8bb4f31e0b79232c6d5daf1de4f54a",
    "revoked": "7f9c8a951019cc8290d07a961a5aed4bf3958490a3616bb84b695a0537c0d9bf",
}
PROOF = "eab33d207f6ce0415b45c1b0c2396ebbd07a8ada04fa05bd50a9133a860dad9e"
OFFLINE = "8ad298d93d3c43164c270b546a8baf7c3e02af738d292cd98f94b290299d28da"


def said(type: str, **changes: Any) -> dict[str, Any]:
    """A good message, with changes."""
    kind = {"type": type} if type in SPOKEN else {}
    return {**kind, **GOOD[type], **changes}


def unsigned(type: str) -> dict[str, Any]:
    return {name: value for name, value in said(type).items() if name != "mac"}


def by_hand(*lines: str) -> str:
    """The code of some lines, by the letter of the protocol."""
    return hmac.new(KEY, "\n".join(lines).encode("utf-8"), hashlib.sha256).hexdigest()


# -- authentication ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", CANONICAL)
def test_the_canonical_text_is_the_one_written_by_hand(type: str) -> None:
    assert canonical(said(type)) == CANONICAL[type]


@pytest.mark.parametrize("type", CODES)
def test_a_sealed_message_has_the_code_of_the_protocol(type: str) -> None:
    assert by_hand(type, OURS, THEIRS, CANONICAL[type]) == CODES[type]
    sealed = messages.sealed(KEY, NONCES, unsigned(type))
    assert sealed == {**unsigned(type), "mac": CODES[type]}
    assert messages.genuine(KEY, NONCES, sealed)


def test_the_proof_covers_the_registration_and_the_registrars_nonce() -> None:
    assert by_hand("agent", CANONICAL["register"], THEIRS) == PROOF
    assert messages.proof(KEY, said("register"), THEIRS) == PROOF


def test_an_offline_answer_needs_no_conversation() -> None:
    assert by_hand("offline", CANONICAL["answer"]) == OFFLINE
    assert messages.mac(KEY, "offline", canonical(said("answer"))) == OFFLINE


@pytest.mark.parametrize(
    ("key", "nonces", "changes"),
    [
        (KEY[::-1], NONCES, {}),
        (KEY, f"{THEIRS}\n{OURS}", {}),
        (KEY, f"{OURS}\n{OURS}", {}),
        (KEY, NONCES, {"type": "verify"}),
        (KEY, NONCES, {"seq": 2}),
        (KEY, NONCES, {"ticket": "t3"}),
        (KEY, NONCES, {"more": None}),
        (KEY, NONCES, {"mac": CODES["verified"].upper()}),
        (KEY, NONCES, {"mac": CODES["verified"][:-1]}),
        (KEY, NONCES, {"mac": "é" * 64}),
        (KEY, NONCES, {"mac": ""}),
        (KEY, NONCES, {"mac": None}),
        (KEY, NONCES, {"mac": 5}),
    ],
)
def test_what_differs_in_anything_is_not_genuine(key: bytes, nonces: str, changes: dict[str, Any]) -> None:
    message = said("verified", mac=CODES["verified"])
    assert messages.genuine(KEY, NONCES, message)
    assert not messages.genuine(key, nonces, {**message, **changes})


def test_the_order_of_fields_does_not_matter_and_unknown_ones_are_covered() -> None:
    message = messages.sealed(KEY, NONCES, {**unsigned("verified"), "news": {"b": 1, "a": "ä"}})
    assert messages.genuine(KEY, NONCES, dict(reversed(message.items())))
    assert not messages.genuine(KEY, NONCES, {**message, "news": {"b": 1, "a": "a"}})


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 63 + "\n", "\u0660" * 64, " " + "0" * 63])
def test_a_key_is_64_hex_digits(text: str) -> None:
    assert key_of(KEY.hex()) == key_of(KEY.hex().upper()) == KEY
    with pytest.raises(ValueError, match="64 hex digits"):
        key_of(text)


# -- messages ----------------------------------------------------------------------------------------------------------


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
    "server": NO_NAME,
    "serial": NO_NAME,
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


# -- what a license grants ---------------------------------------------------------------------------------------------


def grant_of(**terms: Any) -> Grant:
    return granted(read({"model": "trueconf", **terms}, "terms"), OFFERS)


def test_a_grant_has_what_its_terms_say() -> None:
    assert granted(read(TERMS, "terms"), OFFERS) == Grant(
        "trueconf",
        "free",
        {"pro": 10, "guest": 1},
        ("sdk",),
        True,
        datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp(),
    )


def test_terms_that_are_not_given_have_the_models_defaults() -> None:
    assert grant_of() == Grant("trueconf", "server", {}, (), False, None)
    assert granted(read({"model": "floating"}, "terms"), OFFERS) == Grant("floating", "", {}, (), False, None)


@pytest.mark.parametrize(("edition", "needs"), [("free", True), ("server", False), ("enterprise", False)])
def test_only_the_free_edition_needs_the_connection_unless_it_is_said(edition: str, needs: bool) -> None:
    assert grant_of(edition=edition).needs_connection is needs
    assert grant_of(edition=edition, needs_connection=not needs).needs_connection is not needs


@pytest.mark.parametrize(
    ("terms", "detail"),
    [
        ({"model": "nonesuch"}, "model: expected one of epop, "),
        ({"limits": {"seats": 1}}, "limits: trueconf has no pool seats; expected online, pro, guest, gateway"),
        ({"model": "floating", "limits": {"pro": 1}}, "limits: floating has no pool pro; expected seats"),
        ({"edition": "gold"}, "edition: trueconf has server, free, enterprise"),
    ],
)
def test_what_the_model_does_not_have_makes_the_terms_invalid(terms: dict[str, Any], detail: str) -> None:
    with pytest.raises(RequestFault) as fault:
        grant_of(**terms)
    assert fault.value.code == "bad_field"
    assert fault.value.detail.startswith(detail)


def test_extensions_are_named_once() -> None:
    assert grant_of(extensions=["sdk", "dlp", "sdk"]).extensions == ("sdk", "dlp")


@given(
    model=st.sampled_from(sorted(OFFERS)),
    extensions=st.lists(st.sampled_from(["sdk", "dlp", "ai"]), unique=True),
    needs=st.booleans(),
    end=st.none() | st.integers(0, 253_402_300_799),
    data=st.data(),
)
def test_the_document_of_a_grant_grants_the_same(
    model: str, extensions: list[str], needs: bool, end: int | None, data: st.DataObject
) -> None:
    pools, editions, _ = OFFERS[model]
    limits = data.draw(st.dictionaries(st.sampled_from(pools), st.integers(0, 10**9)))
    edition = data.draw(st.sampled_from(editions or ("",)))
    grant = Grant(model, edition, limits, tuple(extensions), needs, end)
    told = json.loads(json.dumps(grant.to_json()))
    assert granted(read(told, "terms"), OFFERS) == grant


def test_a_license_of_a_model_that_is_not_offered_here_is_invalid() -> None:
    with pytest.raises(RequestFault, match="model: expected one of floating"):
        granted(read(TERMS, "terms"), {"floating": LicensableModel(("seats",))})
