"""The names of persons in the audit log: they stand beside an entry, and under its hash only a seal of each.

A seal is a keyed hash of the name, with a key of its own. So an entry can be verified with its names and without them:
who is to be forgotten is taken out by deleting names and keys. What is left of them nobody can test a name against.
Which texts of an entry are names of persons is decided here, by its action.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gateway.core.names import folded

OF_ACCOUNTS = frozenset(
    {
        "account.added", "account.deleted", "account.kicked", "host.named", "host.released", "lease.ended",
        "lease.granted", "person.exported", "token.added", "token.revoked",
    }
)  # fmt: skip
"""Actions whose subject is an account; a `home` in the detail says of which server."""
WITH_NAMES = frozenset({"group.set", "session.kicked"})
"""Actions whose detail has names."""
ERASED = "(erased)"
"""What is shown in place of a name that was deleted."""
SEAL = re.compile("~[0-9a-f]{32}")
KEY_BYTES = 16


class SealedName(NamedTuple):
    """A text of an entry that names a person: what stands in the entry for it, the key in hex digits, and whose it is.

    A path of a request that was refused names whoever stands in it: its `account` is empty.
    """

    seal: str
    key: str
    text: str
    account: str
    home: str

    @property
    def holds(self) -> bool:
        """Whether the seal is that of the text."""
        return self.seal == seal_of(bytes.fromhex(self.key), self.text)

    def names(self, account: str, home: str) -> bool:
        """Return whether it names an account of a home (empty: of this server)."""
        if self.account:
            return (self.account, self.home) == (account, home)
        return f"/{account}/" in folded(f"{self.text}/")


def seal_of(key: bytes, text: str) -> str:
    """Return what stands for a text in an entry."""
    return "~" + hmac.digest(key, text.encode(errors="replace"), hashlib.sha256).hex()[:32]


class Sealing:
    """Seals the names of one entry; `make_key` draws `KEY_BYTES` for each."""

    def __init__(self, make_key: Callable[[], bytes]) -> None:
        self._make_key = make_key
        self._names: dict[tuple[str, str, str], SealedName] = {}

    @property
    def names(self) -> tuple[SealedName, ...]:
        """What was sealed."""
        return tuple(self._names.values())

    def entry(self, action: str, subject: str, detail: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the subject and the detail of an entry with seals in place of names."""
        return with_names_replaced(action, subject, detail, self._seal)

    def _seal(self, text: str, account: str, home: str) -> str:
        if not text:
            return text
        known = self._names.get((text, account, home))
        if known is None:
            key = self._make_key()
            known = SealedName(seal_of(key, text), key.hex(), text, account, home)
            self._names[text, account, home] = known
        return known.seal


def with_names_replaced(
    action: str, subject: str, detail: Mapping[str, Any], replace: Callable[[str, str, str], str]
) -> tuple[str, dict[str, Any]]:
    """Return the subject and the detail of an entry with something else in place of names: `replace` is given a text,
    and the account and home that it names (of a path of a request: empty texts).
    """
    told, home = dict(detail), str(detail.get("home", ""))
    revoked = action == "license.revoked" and "model" in detail  # without: one that a registrar sold
    banned = action.startswith("ban.") and detail.get("kind") == "account"
    if action in OF_ACCOUNTS or revoked or banned:
        subject = replace(subject, subject, home)
    elif action == "refused":
        subject = replace(subject, "", "")
    elif action == "session.kicked" and isinstance(detail.get("account"), str):
        who = detail["account"]
        told["account"] = replace(who, who, home)
        told["address"] = replace(str(detail.get("address", "")), who, home)
    elif action == "group.set" and isinstance(detail.get("accounts"), list | tuple):
        told["accounts"] = [replace(str(each), str(each), "") for each in detail["accounts"]]
    return subject, told


def unsealed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value of JSON with `names` in place of their seals, and `ERASED` where there is none."""
    if isinstance(value, str):
        return names.get(value, ERASED) if SEAL.fullmatch(value) else value
    if isinstance(value, list):
        return [unsealed(each, names) for each in value]
    if isinstance(value, dict):
        return {key: unsealed(each, names) for key, each in value.items()}
    return value
