"""Accounts, groups and bans: what the operator has said about people.

Secrets are kept as SHA-256 only and compared in constant time. An account that nobody registered is unknown in `token`
mode; in `open` mode its claim is believed.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from gateway.core.facts import Session


class Group(NamedTuple):
    """Accounts, in order; `permanent` asks for permanent PRO licenses for them at the next redistribution."""

    accounts: tuple[str, ...]
    permanent: bool


class Ban(NamedTuple):
    """Whom not to let in, until an instant in seconds UTC. `subject` is an account or an address."""

    subject: str
    until: float


class Directory:
    """What is known of accounts, groups and bans."""

    def __init__(self) -> None:
        self.accounts: dict[str, tuple[bytes, ...]] = {}
        """Digests of the tokens of each registered account."""
        self.groups: dict[str, Group] = {}
        self.bans: dict[str, Ban] = {}

    def grant(self, account: str, token: str) -> None:
        """Let `token` prove `account` from now on, beside the tokens it has (rotation without downtime)."""
        self.accounts[account] = (*self.accounts[account], digest(token))

    def proves(self, account: str, token: str | None) -> bool:
        """Whether `token` proves `account`."""
        offered = digest(token or "")
        return sum(hmac.compare_digest(offered, kept) for kept in self.accounts.get(account, ())) > 0

    def permanent(self) -> list[str]:
        """The accounts configured for permanent licenses: in order of group, then name (PRO: more than the pool)."""
        names = sorted(name for name, group in self.groups.items() if group.permanent)
        return list(dict.fromkeys(account for name in names for account in sorted(self.groups[name].accounts)))

    def banned(self, session: Session, wall: float) -> Ban | None:
        """The ban that keeps a session out at an instant: an account's own, or a guest's by its address.

        Many accounts may share an address; a guest's ban does not reach them.
        """
        ban = self.bans.get(session.identity or session.peer) if self.bans else None
        return ban if ban is not None and ban.until > wall else None

    def ban(self, session: Session, until: float) -> Ban:
        """Keep out whoever this is: the account, or the address of a guest."""
        return self.ban_subject(session.identity or session.peer, until)

    def ban_subject(self, subject: str, until: float) -> Ban:
        """Keep out an account or an address."""
        self.bans[subject] = ban = Ban(subject, until)
        return ban

    def forget_bans(self, wall: float) -> None:
        """Drop the bans that are over."""
        for subject in [subject for subject, ban in self.bans.items() if ban.until <= wall]:
            del self.bans[subject]


def digest(token: str) -> bytes:
    """What is kept of a secret of 256 random bits."""
    return hashlib.sha256(token.encode()).digest()
