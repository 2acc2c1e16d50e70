"""The sessions there are, and the views in which they are looked up and counted.

Every count that is shown is the length of one of these views: it is read, not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gateway.core.facts import Session

Name = TypeVar("Name", str, tuple[str, str])


class Sessions:
    """All sessions that have been welcomed, by number, account, device, and by (kind, awake)."""

    def __init__(self) -> None:
        self.by_number: dict[int, Session] = {}
        self.by_account: dict[str, tuple[Session, ...]] = {}
        self.by_device: dict[tuple[str, str], tuple[Session, ...]] = {}
        self.unnamed: set[Session] = set()
        """Sessions without an account or a device name: each is a device of its own."""
        self.by_presence: dict[tuple[str, bool], set[Session]] = {}

    def __len__(self) -> int:
        return len(self.by_number)

    def add(self, session: Session) -> None:
        """Take a session in."""
        self.by_number[session.number] = session
        self.by_presence.setdefault((session.kind, session.awake), set()).add(session)
        identity, device = session.identity, session.device_key
        if identity is not None:
            self.by_account[identity] = (*self.by_account.get(identity, ()), session)
        if device is not None:
            self.by_device[device] = (*self.by_device.get(device, ()), session)
        else:
            self.unnamed.add(session)

    def remove(self, session: Session) -> None:
        """Let a session go."""
        del self.by_number[session.number]
        self.by_presence[session.kind, session.awake].discard(session)
        identity, device = session.identity, session.device_key
        if identity is not None:
            _drop(self.by_account, identity, session)
        if device is not None:
            _drop(self.by_device, device, session)
        else:
            self.unnamed.discard(session)

    def wake(self, session: Session, *, awake: bool) -> None:
        """Note whether a session is awake."""
        if session.awake is not awake:
            self.by_presence[session.kind, session.awake].discard(session)
            session.awake = awake
            self.by_presence.setdefault((session.kind, awake), set()).add(session)

    def of(self, identity: str) -> tuple[Session, ...]:
        """The sessions of an account."""
        return self.by_account.get(identity, ())

    def kin(self, session: Session) -> Sequence[Session]:
        """The sessions of the same account; none for a guest."""
        identity = session.identity
        return self.by_account.get(identity, ()) if identity is not None else ()

    def twin(self, session: Session) -> Session | None:
        """The latest session of the same account and device."""
        device = session.device_key
        twins = self.by_device.get(device) if device is not None else None
        return twins[-1] if twins else None


def _drop(index: dict[Name, tuple[Session, ...]], key: Name, session: Session) -> None:
    left = tuple(each for each in index[key] if each is not session)
    if left:
        index[key] = left
    else:
        del index[key]
