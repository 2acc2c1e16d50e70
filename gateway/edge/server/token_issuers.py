"""The issuers whose tokens prove accounts (`accounts.mode = "jwt"`): which token proves what (PROTOCOL.md, Accounts).

Each issuer has keys of its own: a `kid` of one says nothing of the keys of another.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Sequence

from config.settings import AccountSettings
from config.token_keys import keys_in_file
from config.token_settings import IssuerSettings
from gateway.core.web_tokens.key_set import UnusableKeys, VerificationKey
from gateway.core.web_tokens.token import (
    Proof,
    TokenFlaw,
    WebToken,
    algorithm_of,
    key_id_of,
    parsed,
    proof_of,
    shown,
)
from gateway.edge.machine import Clock
from gateway.edge.server.key_fetching import KeyFetcher
from gateway.edge.server.token_signatures import Verifier, verifier_of


class Issuer:
    """One issuer: what its tokens must say, and its keys. `fetcher` fetches those that are behind a URL."""

    def __init__(self, settings: IssuerSettings, clock: Clock) -> None:
        self.settings = settings
        self.terms = settings.terms
        self.fetcher = KeyFetcher(settings, clock.mono, self.take) if settings.jwks_url else None
        self._verifiers: Sequence[Verifier] = ()

    def take(self, keys: Iterable[VerificationKey]) -> None:
        """Verify by these keys from now on, and by no other.

        Raises `UnusableKeys` where one of the keys is not valid; the previous keys then stay.
        """
        self._verifiers = tuple(verifier_of(key) for key in keys)

    def go_on_from(self, before: Issuer) -> None:
        """Verify by the keys that were fetched before, until they have been fetched again."""
        if self.settings.jwks_url == before.settings.jwks_url:
            self._verifiers = before._verifiers

    def proof(self, token: WebToken, now: float) -> Proof | TokenFlaw:
        """Return what a token of this issuer proves at `now` (seconds UTC)."""
        algorithm = algorithm_of(token, self.terms)
        if isinstance(algorithm, TokenFlaw):
            return algorithm
        proof = proof_of(token, self.terms, now)
        if isinstance(proof, TokenFlaw):
            return proof
        found = self._verifiers_of(token, algorithm)
        if isinstance(found, TokenFlaw):
            return found
        return proof if found.verifies(token.signed, token.signature) else TokenFlaw("its signature is not good")

    def _verifiers_of(self, token: WebToken, algorithm: str) -> Verifier | TokenFlaw:
        """Return the key that a token names, or the only one where it names none; a secret in a file has no name."""
        fitting = [each for each in self._verifiers if each.key.fits(algorithm)]
        id = None if self.settings.secret_file else key_id_of(token)
        named = fitting if id is None else [each for each in fitting if each.key.id == id]
        if len(named) == 1:
            return named[0]
        if named:
            return TokenFlaw("it names none of several keys (kid)")
        reason = "no key is known yet" if id is None else f"the key {shown(id)} is not known"
        return TokenFlaw(reason, None if self.fetcher is None else self.fetcher.ask())


class TokenIssuers:
    """All issuers, by name; what is fetched for them goes on from `start` to `close`."""

    def __init__(self, clock: Clock) -> None:
        self.by_name: dict[str, Issuer] = {}
        self._clock = clock
        self._stopping: set[asyncio.Task[None]] = set()

    def prepare(self, accounts: AccountSettings) -> dict[str, Issuer]:
        """Return the issuers of the settings, with the keys in their files, and those fetched before.

        Raises `OSError` where the keys of one cannot be used.
        """
        found: dict[str, Issuer] = {}
        for settings in accounts.jwt:
            issuer = found[settings.issuer] = Issuer(settings, self._clock)
            if settings.issuer in self.by_name:
                issuer.go_on_from(self.by_name[settings.issuer])
            if issuer.fetcher is None:
                try:
                    issuer.take(keys_in_file(settings)[0])
                except UnusableKeys as fault:
                    path = settings.secret_file or settings.jwks_file
                    raise OSError(errno.EINVAL, f"the keys of {settings.issuer}: {fault}", path) from fault
        return found

    def start(self, issuers: dict[str, Issuer]) -> None:
        """Believe these issuers from now on, and no other; what is behind a URL is fetched now."""
        loop = asyncio.get_running_loop()
        for issuer in self.by_name.values():
            if issuer.fetcher is not None:
                ending = loop.create_task(issuer.fetcher.stop(), name="end of fetching keys")
                self._stopping.add(ending)
                ending.add_done_callback(self._stopping.discard)
        self.by_name = issuers
        for issuer in issuers.values():
            if issuer.fetcher is not None:
                issuer.fetcher.start()

    async def close(self) -> None:
        """Fetch nothing any more."""
        self.start({})
        while self._stopping:
            await asyncio.wait(set(self._stopping))

    def proof(self, text: str) -> Proof | TokenFlaw:
        """Return what a token proves now."""
        token = parsed(text)
        if isinstance(token, TokenFlaw):
            return token
        name = token.claims.get("iss")
        issuer = self.by_name.get(name) if isinstance(name, str) else None
        if issuer is None:
            return TokenFlaw(f"there is no issuer {shown(name)}")
        if len(text) > issuer.terms.longest:
            return TokenFlaw(f"it has {len(text)} characters, more than {issuer.terms.longest}")
        return issuer.proof(token, self._clock.wall())
