"""The keys of an issuer of tokens: a JWK Set (RFC 7517), or one secret."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

KEY_TYPES = {"HS256": "oct", "RS256": "RSA", "ES256": "EC"}
"""The type of the keys of each algorithm that is understood (RFC 7518, 3.1 and 6.1); `none` is no algorithm here."""
SECRET_BYTES = 32
"""Bytes of a secret at least: as many as the hash has (RFC 7518, 3.2)."""
MODULUS_BITS = range(2048, 8192 + 1)
"""Bits of an RSA key: fewer are forbidden (RFC 7518, 3.3), more take long to verify."""
LARGEST_EXPONENT = 4
"""Bytes of the public exponent of an RSA key at most; with a larger one a signature takes long to verify."""
MOST_KEYS = 64
"""Keys of a set at most."""

_base64url = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class UnusableKeys(ValueError):
    """What was read has no keys; the text says why, for a person, and nothing of a key."""


class VerificationKey(NamedTuple):
    """A key that verifies signatures: `type` is one of `KEY_TYPES`, `id` the `kid` of tokens that it signs, if it has
    one, `algorithm` the only one that it is for, if it says so. A secret is in `secret`, a public key in `members`.
    """

    type: str
    id: str | None = None
    algorithm: str | None = None
    secret: bytes = b""
    members: Mapping[str, str] = {}

    def fits(self, algorithm: str) -> bool:
        """Return whether signatures of an algorithm are verified by a key of this type, and by this one."""
        return self.type == KEY_TYPES.get(algorithm) and self.algorithm in {None, algorithm}


def decoded(text: str) -> bytes | None:
    """Return the bytes of base64url without padding (RFC 7515, 2); None for anything else."""
    if not _base64url(text) or len(text) % 4 == 1:
        return None
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_secret(content: bytes) -> VerificationKey:
    """Return the key that is the text of a file, without white space around it.

    Raises `UnusableKeys` for one that is short, or a public key: who knows that could sign tokens with it.
    """
    secret = content.removeprefix(b"\xef\xbb\xbf").strip()
    if secret.startswith((b"-----BEGIN", b"{", b"ssh-")):
        raise UnusableKeys("it holds a key, and no secret")
    if len(secret) < SECRET_BYTES:
        raise UnusableKeys(f"a secret has at least {SECRET_BYTES} bytes")
    return VerificationKey("oct", secret=secret)


def read_key_set(content: bytes, *, secrets: bool) -> tuple[list[VerificationKey], list[str]]:
    """Return the keys of a JWK Set that verify signatures, and why others were passed over (RFC 7517, 5).

    `secrets` says whether the document may hold keys that are secrets; what everybody can fetch has none.

    Raises `UnusableKeys` where it is no such document.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UnusableKeys("it is not JSON in UTF-8") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise UnusableKeys("it is no JWK Set: an object with the list `keys`")
    if len(members) > MOST_KEYS:
        raise UnusableKeys(f"it has more than {MOST_KEYS} keys")
    keys: list[VerificationKey] = []
    passed_over: list[str] = []
    for place, member in enumerate(members, 1):
        try:
            keys.append(_key(member, secrets=secrets))
        except UnusableKeys as fault:
            passed_over.append(f"key {place}: {fault}")
    taken: set[tuple[str | None, str]] = set()
    for key in keys:
        if key.id is not None and (key.id, key.type) in taken:
            raise UnusableKeys("two keys of one type have the same kid")
        taken.add((key.id, key.type))
    return keys, passed_over


def _key(member: Any, *, secrets: bool) -> VerificationKey:
    if not isinstance(member, dict):
        raise UnusableKeys("it is no object")
    id, algorithm, type = member.get("kid"), member.get("alg"), member.get("kty")
    if id is not None and not isinstance(id, str):
        raise UnusableKeys("its kid is no text")
    if member.get("use", "sig") != "sig":
        raise UnusableKeys("it is not for signatures (use)")
    operations = member.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        raise UnusableKeys("it is not for verifying (key_ops)")
    if algorithm is not None and algorithm not in KEY_TYPES:
        raise UnusableKeys("its alg is not understood")
    if not isinstance(type, str) or type not in _READ:
        raise UnusableKeys("its kty is not understood")
    if algorithm is not None and KEY_TYPES[algorithm] != type:
        raise UnusableKeys("its alg is that of another kty")
    if type == "oct" and not secrets:
        raise UnusableKeys("it is a secret that others can fetch")
    return _READ[type](member)._replace(id=id, algorithm=algorithm)


def _bytes(member: Mapping[str, Any], name: str) -> bytes:
    text = member.get(name)
    found = decoded(text) if isinstance(text, str) else None
    if found is None:
        raise UnusableKeys(f"its {name} is no base64url")
    return found


def _secret(member: Mapping[str, Any]) -> VerificationKey:
    secret = _bytes(member, "k")
    if len(secret) < SECRET_BYTES:
        raise UnusableKeys(f"a secret has at least {SECRET_BYTES} bytes")
    return VerificationKey("oct", secret=secret)


def _rsa(member: Mapping[str, Any]) -> VerificationKey:
    modulus = int.from_bytes(_bytes(member, "n"), "big")
    exponent = _bytes(member, "e")
    if modulus.bit_length() not in MODULUS_BITS:
        raise UnusableKeys(f"its n has {modulus.bit_length()} bits, not {MODULUS_BITS[0]} to {MODULUS_BITS[-1]}")
    if len(exponent) > LARGEST_EXPONENT or int.from_bytes(exponent, "big") < 3 or not exponent[-1] & 1:
        raise UnusableKeys("its e is none")
    return VerificationKey("RSA", members={"kty": "RSA", "n": member["n"], "e": member["e"]})


def _elliptic(member: Mapping[str, Any]) -> VerificationKey:
    if member.get("crv") != "P-256":
        raise UnusableKeys("its crv is not P-256")
    if any(len(_bytes(member, name)) != 32 for name in ("x", "y")):
        raise UnusableKeys("its x and y have 32 bytes each")
    return VerificationKey("EC", members={"kty": "EC", "crv": "P-256", "x": member["x"], "y": member["y"]})


_READ: Mapping[str, Callable[[Mapping[str, Any]], VerificationKey]] = {"oct": _secret, "RSA": _rsa, "EC": _elliptic}
