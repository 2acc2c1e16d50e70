"""The codes of the registration check, against texts written by hand."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from gateway.core.registration.authentication import canonical, genuine, key_of, mac, proof, sealed
from tests.core.registration.sample_messages import OURS, THEIRS, said

KEY = bytes(range(32))
NONCES = f"{OURS}\n{THEIRS}"
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


def unsigned(type: str) -> dict[str, Any]:
    return {name: value for name, value in said(type).items() if name != "mac"}


def by_hand(*lines: str) -> str:
    """The code of some lines, by the letter of the protocol."""
    return hmac.new(KEY, "\n".join(lines).encode("utf-8"), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("type", CANONICAL)
def test_the_canonical_text_is_the_one_written_by_hand(type: str) -> None:
    assert canonical(said(type)) == CANONICAL[type]


@pytest.mark.parametrize("type", CODES)
def test_a_sealed_message_has_the_code_of_the_protocol(type: str) -> None:
    assert by_hand(type, OURS, THEIRS, CANONICAL[type]) == CODES[type]
    message = sealed(KEY, NONCES, unsigned(type))
    assert message == {**unsigned(type), "mac": CODES[type]}
    assert genuine(KEY, NONCES, message)


def test_the_proof_covers_the_registration_and_the_registrars_nonce() -> None:
    assert by_hand("agent", CANONICAL["register"], THEIRS) == PROOF
    assert proof(KEY, said("register"), THEIRS) == PROOF


def test_an_offline_answer_needs_no_conversation() -> None:
    assert by_hand("offline", CANONICAL["answer"]) == OFFLINE
    assert mac(KEY, "offline", canonical(said("answer"))) == OFFLINE


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
    assert genuine(KEY, NONCES, message)
    assert not genuine(key, nonces, {**message, **changes})


def test_the_order_of_fields_does_not_matter_and_unknown_ones_are_covered() -> None:
    message = sealed(KEY, NONCES, {**unsigned("verified"), "news": {"b": 1, "a": "ä"}})
    assert genuine(KEY, NONCES, dict(reversed(message.items())))
    assert not genuine(KEY, NONCES, {**message, "news": {"b": 1, "a": "a"}})


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 63 + "\n", "\u0660" * 64, " " + "0" * 63])
def test_a_key_is_64_hex_digits(text: str) -> None:
    assert key_of(KEY.hex()) == key_of(KEY.hex().upper()) == KEY
    with pytest.raises(ValueError, match="64 hex digits"):
        key_of(text)
