"""Accounts, groups, bans and operators: what the operator has said about people.

Secrets are kept as SHA-256 only and compared in constant time. A name may have several tokens at once, so that one is
replaced by another without anybody being locked out; each is known by a fingerprint that tells nothing of the secret.
An account that nobody registered is unknown in `token` mode; in `open` mode its claim is believed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.admission.bans import Bans

READ, ADMIN = "read", "admin"
SCOPES = (READ, ADMIN)
"""What an operator's token is good for: looking, or everything."""


class Token(NamedTuple):
    """What is kept of a secret: its digest, when it was made (seconds UTC), and, of an operator's, its scope."""

    digest: bytes
    created: float
    scope: str = ""

    @property
    def fingerprint(self) -> str:
        """By what people tell tokens apart."""
        return self.digest.hex()[:12]

    def to_json(self) -> list[str | float]:
        """Return the token as plain data."""
        return [self.digest.hex(), self.created, self.scope]

    @classmethod
    def from_json(cls, plain: Sequence[Any]) -> Token:
        """Return the token that `to_json` wrote."""
        digest, created, scope = plain
        return cls(bytes.fromhex(digest), created, scope)


class Group(NamedTuple):
    """Accounts, in order; `permanent` asks for permanent PRO licenses for them at the next redistribution. Those of a
    higher `priority` come first where lines are in that order.
    """

    accounts: tuple[str, ...]
    permanent: bool
    priority: int = 0


class Priorities(NamedTuple):
    """The priorities above 0, of accounts by the groups that they are in, and of groups."""

    accounts: Mapping[str, int]
    groups: Mapping[str, int]

    def of(self, account: str, groups: Iterable[str]) -> int:
        """Return the highest priority of an account of this server that a token says is in other groups too."""
        return max([self.accounts.get(account, 0), *(self.groups.get(group, 0) for group in groups)])


class Directory:
    """What is known of accounts, groups and bans."""

    def __init__(self) -> None:
        self.accounts: dict[str, tuple[Token, ...]] = {}
        """The tokens of each registered account."""
        self.operators: dict[str, tuple[Token, ...]] = {}
        """The tokens of each operator; who has none is no operator."""
        self.groups: dict[str, Group] = {}
        self.bans = Bans()
        self._ranked: list[tuple[str, Group]] = []
        self._priorities = Priorities({}, {})
        """What follows from the groups in `_ranked`."""

    def add_account_token(self, account: str, digest: bytes, created: float) -> Token:
        """Let a secret prove `account` from now on, beside those that do (rotation without downtime)."""
        token = Token(digest, created)
        self.accounts[account] = (*self.accounts[account], token)
        return token

    def remove_account_token(self, account: str, fingerprint: str) -> bool:
        """Take one token from an account; whether it had it."""
        kept = tuple(token for token in self.accounts[account] if token.fingerprint != fingerprint)
        revoked = len(kept) < len(self.accounts[account])
        self.accounts[account] = kept
        return revoked

    def proves_account(self, account: str, secret: str | None) -> bool:
        """Return whether `secret` proves `account`."""
        return _among(self.accounts.get(account, ()), secret or "") is not None

    def add_operator_token(self, name: str, scope: str, digest: bytes, created: float) -> Token:
        """Give an operator a token, beside those it has."""
        token = Token(digest, created, scope)
        self.operators[name] = (*self.operators.get(name, ()), token)
        return token

    def remove_operator_tokens(self, name: str, fingerprint: str | None = None) -> int:
        """Take one token from an operator, or all; how many it had of those."""
        held = self.operators.pop(name, ())
        kept = tuple(token for token in held if fingerprint is not None and token.fingerprint != fingerprint)
        if kept:
            self.operators[name] = kept
        return len(held) - len(kept)

    def operator_of_secret(self, secret: str) -> tuple[str, str] | None:
        """Return the name and scope that `secret` proves; the time it takes tells nothing of the others."""
        tokens = {token: name for name, held in self.operators.items() for token in held}
        found = _among(tokens, secret)
        return (tokens[found], found.scope) if found is not None else None

    def permanent_accounts(self) -> list[str]:
        """Return the accounts with permanent licenses, in order of group, then name (COUNTING.md, PRO leases 5)."""
        names = sorted(name for name, group in self.groups.items() if group.permanent)
        return list(dict.fromkeys(account for name in names for account in sorted(self.groups[name].accounts)))

    def members(self, group: str) -> tuple[str, ...]:
        """Return the accounts of a group; none where there is no such group."""
        found = self.groups.get(group)
        return () if found is None else found.accounts

    def priorities(self) -> Priorities:
        """Return all priorities above 0: the same object as long as they are the same."""
        groups = list(self.groups.items())
        if groups != self._ranked:
            accounts: dict[str, int] = {}
            for group in sorted(self.groups.values(), key=lambda each: each.priority):
                if group.priority:
                    accounts |= dict.fromkeys(group.accounts, group.priority)
            named = {name: group.priority for name, group in groups if group.priority}
            found = Priorities(accounts, named)
            self._ranked = groups
            if found != self._priorities:
                self._priorities = found
        return self._priorities


def digest(secret: str) -> bytes:
    """Return what is kept of a secret of 256 random bits."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _among(tokens: Iterable[Token], secret: str) -> Token | None:
    offered = digest(secret)
    matching = [token for token in tokens if hmac.compare_digest(offered, token.digest)]
    return matching[0] if matching else None
