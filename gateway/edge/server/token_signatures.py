"""Whether a token was signed by a key: HS256 by the standard library, RS256 and ES256 by PyJWT (the extra `jwt`)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from gateway.core.web_tokens.key_set import UnusableKeys, VerificationKey


class Verifier(NamedTuple):
    """A key, and what tells of signed bytes and a signature whether that is its own."""

    key: VerificationKey
    verifies: Callable[[bytes, bytes], bool]


def verifier_of(key: VerificationKey) -> Verifier:
    """Make a key ready for use.

    Raises `UnusableKeys` where the key is not valid, or the library for it is missing.
    """
    if key.type == "oct":
        prepared = hmac.new(key.secret, digestmod=hashlib.sha256)

        def verifies(signed: bytes, signature: bytes) -> bool:
            made = prepared.copy()
            made.update(signed)
            return hmac.compare_digest(made.digest(), signature)

        return Verifier(key, verifies)
    try:
        algorithms: Any = import_module("jwt.algorithms")
        kind = algorithms.RSAAlgorithm if key.type == "RSA" else algorithms.ECAlgorithm
        algorithm, public = kind(kind.SHA256), kind.from_jwk(dict(key.members))
    except (ImportError, AttributeError):
        raise UnusableKeys(f"keys of type {key.type} need PyJWT[crypto]") from None
    except Exception as fault:  # whatever the library finds wrong with numbers that others wrote
        raise UnusableKeys(f"a key of type {key.type} is not valid: {type(fault).__name__}") from fault
    return Verifier(key, lambda signed, signature: algorithm.verify(signed, public, signature) is True)
