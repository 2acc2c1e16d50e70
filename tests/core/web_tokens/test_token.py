"""What the parts of a token must be, and what its claims must say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.web_tokens.token import IssuerTerms, Proof, TokenFlaw, WebToken, algorithm_of, parsed, proof_of
from tests.web_tokens import AUDIENCE, ISSUER, assembled, base64url, by_secret

NOW = 1_800_000_000.0
TERMS = IssuerTerms(ISSUER, (AUDIENCE, "other"), ("HS256",), leeway=30.0)
SIGNER = by_secret(bytes(32))


def said(terms: IssuerTerms = TERMS, **claims: Any) -> Proof | TokenFlaw:
    """What comes out of a token with these claims at `NOW`."""
    token = parsed(SIGNER.token(**{"exp": NOW + 60} | claims))
    assert isinstance(token, WebToken)
    return proof_of(token, terms, NOW)


def reason(found: Proof | TokenFlaw) -> str:
    """Why a token proves nothing."""
    assert isinstance(found, TokenFlaw)
    assert found.retry_after is None
    return found.reason


def test_a_good_token_proves_the_account_without_case() -> None:
    assert said(sub="Ann@Example.ORG") == Proof("ann@example.org")


def test_claims_of_the_issuer_say_who_somebody_is() -> None:
    terms = TERMS._replace(account_claim="upn", device_claim="did", groups_claim="grp")
    found = said(terms, upn="bob", did="laptop", grp=["staff", "staff", "admins", 7, "\0"])
    assert found == Proof("bob", "laptop", ("admins", "staff"))
    assert said(terms, upn="bob", did="laptop", grp="staff") == Proof("bob", "laptop", ("staff",))
    assert said(terms, upn="bob", did="laptop") == Proof("bob", "laptop")


@pytest.mark.parametrize("audience", ["other", ["x", AUDIENCE], [3, "other"]])
def test_one_audience_is_enough(audience: object) -> None:
    assert isinstance(said(aud=audience), Proof)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": NOW - 30}, "it has expired 30 s ago"),
        ({"exp": None}, "it does not say when it ends (exp)"),
        ({"exp": "2030"}, "it does not say when it ends (exp)"),
        ({"exp": True}, "it does not say when it ends (exp)"),
        ({"exp": 10**400}, "it does not say when it ends (exp)"),
        ({"exp": -(10**400)}, "it does not say when it ends (exp)"),
        ({"nbf": NOW + 31}, "it is not valid for another 31 s"),
        ({"nbf": "soon"}, "when it begins is no number (nbf)"),
        ({"aud": None}, "its audience null is none of tallygate, other"),
        ({"aud": "elsewhere"}, 'its audience "elsewhere" is none of tallygate, other'),
        ({"aud": []}, "its audience [] is none of tallygate, other"),
        ({"aud": {AUDIENCE: 1}}, 'its audience {"tallygate": 1} is none of tallygate, other'),
        ({"sub": None}, "its claim sub is no name of an account: null"),
        ({"sub": 7}, "its claim sub is no name of an account: 7"),
        ({"sub": " ann"}, 'its claim sub is no name of an account: " ann"'),
        ({"sub": "a" * 200}, f'its claim sub is no name of an account: "{"a" * 56}...'),
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_named(claims: dict[str, Any], expected: str) -> None:
    assert reason(said(**claims)) == expected


def test_clocks_may_be_apart_by_the_leeway() -> None:
    assert isinstance(said(exp=NOW - 29, nbf=NOW + 30), Proof)


def test_a_device_that_an_issuer_is_to_say_must_be_said() -> None:
    assert reason(said(TERMS._replace(device_claim="did"))) == "its claim did is no name of a device: null"


@pytest.mark.parametrize("algorithm", ["none", "None", "HS512", "RS256", "hs256", "", None, 5, ["HS256"]])
def test_the_algorithm_is_one_of_the_issuer_and_never_that_of_the_token(algorithm: object) -> None:
    token = parsed(SIGNER.token({"alg": algorithm}))
    assert isinstance(token, WebToken)
    assert "is none of HS256" in reason(algorithm_of(token, TERMS))  # type: ignore[arg-type]


def test_a_header_that_asks_for_more_is_refused() -> None:
    token = parsed(SIGNER.token({"crit": ["b64"], "b64": False}))
    assert isinstance(token, WebToken)
    assert algorithm_of(token, TERMS) == TokenFlaw("its header asks for what is not understood (crit)")


HEADER = base64url(json.dumps({"alg": "HS256"}).encode())


@pytest.mark.parametrize(
    "claims",
    [
        b"[]",
        b"null",
        b"{",
        b"{\xff}",
        b'{"sub":"a","sub":"b"}',
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b'{"exp":NaN}',
        b'{"sub":"\\ud800"}',
    ],
)
def test_claims_that_are_no_object_are_no_token(claims: bytes) -> None:
    assert reason(parsed(f"{HEADER}.{base64url(claims)}.x")).startswith("it is not JSON")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d.e", f"{HEADER}.!.x", f"{HEADER}=.{HEADER}.x", f"{HEADER}.{HEADER}\n.x", "ä.ö.ü"]
)
def test_what_is_no_token(text: str) -> None:
    assert isinstance(parsed(text), TokenFlaw)


def test_a_signature_that_is_none_is_an_empty_one() -> None:
    token = parsed(assembled({"alg": "none"}, {"sub": "ann"}, lambda _: b""))
    assert isinstance(token, WebToken)
    assert token.signature == b""
