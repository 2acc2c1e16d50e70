"""Which documents are keys, and which keys verify what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.web_tokens.key_set import MOST_KEYS, UnusableKeys, VerificationKey, decoded, read_key_set, read_secret
from tests.web_tokens import base64url, by_curve, by_rsa, by_secret, key_set, pem_of

SECRET = bytes(range(32))
RSA, CURVE = by_rsa("r"), by_curve("e")


def refused(jwk: dict[str, Any], *, secrets: bool = True) -> str:
    """Why a key is passed over."""
    keys, passed_over = read_key_set(json.dumps({"keys": [jwk]}).encode(), secrets=secrets)
    assert keys == []
    (reason,) = passed_over
    return reason


def test_a_set_has_keys_of_every_type_each_for_its_algorithm() -> None:
    keys, passed_over = read_key_set(key_set(RSA, CURVE, by_secret(SECRET, "s")), secrets=True)
    assert passed_over == []
    assert [(key.type, key.id) for key in keys] == [("RSA", "r"), ("EC", "e"), ("oct", "s")]
    fitting = {
        name: [key.id for key in keys if key.fits(name)] for name in ("RS256", "ES256", "HS256", "none", "RS512")
    }
    assert fitting == {"RS256": ["r"], "ES256": ["e"], "HS256": ["s"], "none": [], "RS512": []}


def test_what_others_can_fetch_has_no_secrets() -> None:
    assert refused(by_secret(SECRET).jwk, secrets=False) == "key 1: it is a secret that others can fetch"


def test_the_private_part_of_a_key_is_not_kept() -> None:
    (key,), _ = read_key_set(json.dumps({"keys": [RSA.jwk | {"d": "AQAB", "p": "AQAB"}]}).encode(), secrets=True)
    assert set(key.members) == {"kty", "n", "e"}


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        (RSA.jwk | {"use": "enc"}, "it is not for signatures (use)"),
        (RSA.jwk | {"key_ops": ["encrypt"]}, "it is not for verifying (key_ops)"),
        (RSA.jwk | {"key_ops": "verify"}, "it is not for verifying (key_ops)"),
        (RSA.jwk | {"alg": "RS512"}, "its alg is not understood"),
        (RSA.jwk | {"alg": "HS256"}, "its alg is that of another kty"),
        (RSA.jwk | {"kid": 7}, "its kid is no text"),
        (RSA.jwk | {"kty": "OKP"}, "its kty is not understood"),
        (RSA.jwk | {"kty": ["RSA"]}, "its kty is not understood"),
        (RSA.jwk | {"n": "!"}, "its n is no base64url"),
        (RSA.jwk | {"n": base64url(bytes([255] * 128))}, "its n has 1024 bits, not 2048 to 8192"),
        (RSA.jwk | {"n": base64url(bytes([255] * 2048))}, "its n has 16384 bits, not 2048 to 8192"),
        (RSA.jwk | {"e": base64url(b"\1" * 200)}, "its e is none"),
        (RSA.jwk | {"e": "AQ"}, "its e is none"),
        (CURVE.jwk | {"crv": "P-384"}, "its crv is not P-256"),
        (CURVE.jwk | {"x": "AQAB"}, "its x and y have 32 bytes each"),
        (by_secret(SECRET[:31]).jwk, "a secret has at least 32 bytes"),
    ],
)
def test_a_key_that_verifies_nothing_here_is_passed_over(jwk: dict[str, Any], reason: str) -> None:
    assert refused(jwk) == f"key 1: {reason}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON in UTF-8"),
        (b"\xff\xfe", "it is not JSON in UTF-8"),
        (b"[" * 100_000, "it is not JSON in UTF-8"),
        (b"<html>", "it is not JSON in UTF-8"),
        (b"[]", "it is no JWK Set: an object with the list `keys`"),
        (b'{"keys": {}}', "it is no JWK Set: an object with the list `keys`"),
        (json.dumps({"keys": [{}] * (MOST_KEYS + 1)}).encode(), "it has more than 64 keys"),
        (key_set(RSA, RSA), "two keys of one type have the same kid"),
    ],
)
def test_what_is_no_set_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableKeys) as fault:
        read_key_set(content, secrets=True)
    assert str(fault.value) == reason


def test_a_secret_is_the_text_of_its_file() -> None:
    assert read_secret(b"\xef\xbb\xbf" + SECRET.hex().encode() + b"\r\n") == VerificationKey(
        "oct", secret=SECRET.hex().encode()
    )


@pytest.mark.parametrize("content", [b"short\n", b" " * 40, pem_of(RSA.jwk), key_set(RSA), b"ssh-rsa " + b"A" * 300])
def test_a_short_secret_and_a_public_key_are_no_secrets(content: bytes) -> None:
    with pytest.raises(UnusableKeys):
        read_secret(content)


@pytest.mark.parametrize("text", ["", "A", "AAAAA", "AA==", "A+", "Ä", "A A", "AAA\n"])
def test_what_is_no_base64url(text: str) -> None:
    assert decoded(text) is None
