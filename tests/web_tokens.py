"""Issuers of tokens for tests: keys, JWK Sets, tokens, and a server of keys that does as it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://id.example.org", "tallygate"


def base64url(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims_of(**claims: Any) -> dict[str, Any]:
    """Claims of a token that is good; None leaves one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann@example.org", "exp": time.time() + 3600}
    return {name: value for name, value in (good | claims).items() if value is not None}


def assembled(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token of these parts."""
    signed = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    return f"{signed}.{base64url(sign(signed.encode()))}"


class Signer(NamedTuple):
    """A key that signs: its algorithm, its `kid`, and the public part, or the secret, as a JWK."""

    algorithm: str
    id: str | None
    sign: Callable[[bytes], bytes]
    jwk: dict[str, Any]

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims beside good ones; `header` is added to its own."""
        own = {"alg": self.algorithm, "typ": "JWT"} | ({"kid": self.id} if self.id else {})
        return assembled(own | (header or {}), claims_of(**claims), self.sign)


def by_secret(secret: bytes, id: str | None = None) -> Signer:
    """HS256."""
    jwk = {"kty": "oct", "k": base64url(secret)} | ({"kid": id} if id else {})
    return Signer("HS256", id, lambda signed: hmac.digest(secret, signed, hashlib.sha256), jwk)


def by_rsa(id: str | None = None, bits: int = 2048) -> Signer:
    """RS256."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
    jwk = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | ({"kid": id} if id else {})
    jwk.pop("key_ops", None)
    return Signer("RS256", id, lambda signed: algorithm.sign(signed, key), jwk)


def by_curve(id: str | None = None) -> Signer:
    """ES256."""
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ECAlgorithm(ECAlgorithm.SHA256)
    jwk = json.loads(ECAlgorithm.to_jwk(key.public_key())) | ({"kid": id} if id else {})
    jwk.pop("key_ops", None)
    return Signer("ES256", id, lambda signed: algorithm.sign(signed, key), jwk)


def pem_of(jwk: dict[str, Any]) -> bytes:
    """A public RSA key in PEM, as it is published."""
    key = RSAAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "n", "e")})
    assert isinstance(key, rsa.RSAPublicKey)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_set(*signers: Signer) -> bytes:
    """A JWK Set."""
    return json.dumps({"keys": [each.jwk for each in signers]}).encode()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KeyServer:
    """A server of keys: `content` is what it answers, unless `answer` says more."""

    def __init__(self) -> None:
        self.content = b""
        self.answer: Answer | None = None
        self.asked = 0
        self.url = ""
        self._over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked += 1
        return web.Response(body=self.content) if self.answer is None else await self.answer(request)

    async def hang(self, _request: web.Request) -> web.StreamResponse:
        """An answer that does not come before the end."""
        await self._over.wait()
        return web.Response(status=503)

    def end(self) -> None:
        """Let nothing hang any more."""
        self._over.set()


@contextlib.asynccontextmanager
async def serving_keys(*signers: Signer) -> AsyncIterator[KeyServer]:
    """A server of these keys, on this machine."""
    server = KeyServer()
    server.content = key_set(*signers)
    application = web.Application()
    application.router.add_get("/keys", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield server
    finally:
        server.end()
        await runner.cleanup()
