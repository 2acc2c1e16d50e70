"""A JSON Web Token in compact form (RFC 7519): what it says, and whether an issuer's token may say that.

The algorithm is never taken from the token: it must be one of those that the issuer is configured with, and the key
must be of its type (RFC 8725, 3.1). Whether the signature is good is asked elsewhere, of what `parsed` returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from gateway.core.names import folded, is_account, is_name, normalized
from gateway.core.web_tokens.key_set import decoded
from gateway.core.wire.json_lines import Malformed, TooLong, parse

LAST_INSTANT = 2**53
"""Seconds: no token has another instant; beyond it a double tells no seconds apart."""
SHOWN = 60
"""Characters of what a token says that a person is shown at most."""


class IssuerTerms(NamedTuple):
    """What tokens of an issuer must say: `iss` is its name, `aud` one of `audiences`, the algorithm one of
    `algorithms`. `account_claim`, `device_claim` and `groups_claim` name the claims that say who somebody is; empty
    where there is none. Clocks may be `leeway` seconds apart; a token has at most `longest` characters.
    """

    name: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    account_claim: str = "sub"
    device_claim: str = ""
    groups_claim: str = ""
    leeway: float = 30.0
    longest: int = 4096


class WebToken(NamedTuple):
    """A token as it came: what it says, the bytes that were signed, and their signature."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


class Proof(NamedTuple):
    """What a token proves: an account of this server, its device and its groups, if it says them."""

    account: str
    device: str | None = None
    groups: tuple[str, ...] = ()


class TokenFlaw(NamedTuple):
    """Why a token proves nothing, for a person; never a part of its signature.

    `retry_after` says in how many seconds the same token may be good: its key may be known by then.
    """

    reason: str
    retry_after: float | None = None


def parsed(text: str) -> WebToken | TokenFlaw:
    """Take a token apart, without believing anything of it."""
    parts = text.split(".")
    if len(parts) != 3 or not text.isascii():
        return TokenFlaw("it has not the three parts of a signed token")
    header, claims, signature = (decoded(part) for part in parts)
    if header is None or claims is None:
        return TokenFlaw("it is not in base64url")
    try:
        said = WebToken(parse(header), parse(claims), text.rpartition(".")[0].encode(), signature or b"")
    except (Malformed, TooLong) as fault:
        return TokenFlaw(f"it is not JSON: {fault}")
    return said


def algorithm_of(token: WebToken, terms: IssuerTerms) -> str | TokenFlaw:
    """Return the algorithm of a token, one of the issuer's."""
    algorithm, extensions = token.header.get("alg"), token.header.get("crit")
    if not isinstance(algorithm, str) or algorithm not in terms.algorithms:
        return TokenFlaw(f"its algorithm {shown(algorithm)} is none of {', '.join(terms.algorithms)}")
    if extensions is not None:
        return TokenFlaw("its header asks for what is not understood (crit)")
    return algorithm


def key_id_of(token: WebToken) -> str | None:
    """Return the `kid` of a token, if it has one that is a text."""
    id = token.header.get("kid")
    return id if isinstance(id, str) else None


def proof_of(token: WebToken, terms: IssuerTerms, now: float) -> Proof | TokenFlaw:
    """Return what the claims of a token say at `now` (seconds UTC), if its signature is good."""
    claims = token.claims
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(each in terms.audiences for each in audiences if isinstance(each, str)):
        return TokenFlaw(f"its audience {shown(audience)} is none of {', '.join(terms.audiences)}")
    ends, begins = claims.get("exp"), claims.get("nbf")
    if not _is_number(ends):
        return TokenFlaw("it does not say when it ends (exp)")
    if ends + terms.leeway <= now:
        return TokenFlaw(f"it has expired {now - ends:.0f} s ago")
    if begins is not None and not _is_number(begins):
        return TokenFlaw("when it begins is no number (nbf)")
    if begins is not None and begins - terms.leeway > now:
        return TokenFlaw(f"it is not valid for another {begins - now:.0f} s")
    account, device = claims.get(terms.account_claim), None
    if not isinstance(account, str) or not is_account(account):
        return TokenFlaw(f"its claim {terms.account_claim} is no name of an account: {shown(account)}")
    if terms.device_claim:
        device = claims.get(terms.device_claim)
        if not is_name(device):
            return TokenFlaw(f"its claim {terms.device_claim} is no name of a device: {shown(device)}")
        device = normalized(str(device))
    groups = _groups(claims.get(terms.groups_claim)) if terms.groups_claim else ()
    return Proof(folded(account), device, groups)


def _groups(claim: object) -> tuple[str, ...]:
    """The names of groups in a claim, a text or a list of them; what is no name is of no group here."""
    named = claim if isinstance(claim, list) else [claim]
    return tuple(sorted({normalized(each) for each in named if isinstance(each, str) and is_name(each)}))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LAST_INSTANT


def shown(value: object) -> str:
    """Return what a token says as JSON on one line, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
