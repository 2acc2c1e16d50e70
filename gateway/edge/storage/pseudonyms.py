"""How persons stand in the stored past (`history.names`): by name, by a pseudonym, or not at all.

A pseudonym is a keyed hash of the name, with a key that the store keeps: the same person has the same one, so that
reports tell persons apart and count them by group. Whoever has the store can find out whose pseudonym it is by trying
names; whoever has only a report cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from gateway.core.counting.personal_use import NOBODY
from gateway.core.counting.session import Person

PSEUDONYM_KEY = "pseudonym_key"
"""Under which name `meta` has the key, in hex digits."""
LENGTH = 16
"""Hex digits of a pseudonym."""


class Pseudonyms:
    """What is written for a person; `kind` is that of `history.names`. The key comes with the store."""

    def __init__(self, kind: str = "names") -> None:
        self.kind = kind
        self.key = b""

    def take_key(self, kept: str | None) -> str | None:
        """Take the key that the store has; returns a new one that it must keep, where it has none and one is needed."""
        made = secrets.token_hex(32) if kept is None and self.kind == "pseudonyms" else None
        self.key = bytes.fromhex(kept or made or "")
        return made

    def of(self, *names: str) -> str:
        """Return the pseudonym of an account and its home, of these and a device, or of an address."""
        return "~" + hmac.digest(self.key, "\n".join(names).encode(), hashlib.sha256).hex()[:LENGTH]

    def stand_for(self, account: str, home: str) -> list[str]:
        """Return by which names an account may stand in the past, whatever was set when it was written."""
        return [account, *([self.of(account, home)] if self.key else [])]

    def person(self, person: Person) -> Person:
        """Return what is written for a person."""
        if self.kind == "names" or person == NOBODY:
            return person
        if self.kind == "none":
            return NOBODY
        account, home, device, address = person
        return (
            self.of(account, home) if account else "",
            home,
            self.of(account, home, device) if device else "",
            self.of(address) if address else "",
        )

    def asker(self, kind: str, name: str, home: str) -> tuple[str, str]:
        """Return name and home as they are written of who was refused, as in its use; `kind` is that of the name:
        `account`, `device` or `address`.
        """
        account, device, address = (name if kind == each else "" for each in ("account", "device", "address"))
        account, home, device, address = self.person((account, home, device, address))
        return account or device or address, home
