"""The sessions there are, and the views in which they are looked up and counted.

Every count that is shown is the length of one of these views: it is read, not kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from gateway.core.counting.multimap import Multimap
from gateway.core.counting.session import Identity, Session


class Sessions:
    """All sessions that have been welcomed, by number, account, device, and by (kind, awake)."""

    def __init__(self) -> None:
        self.by_number: dict[int, Session] = {}
        self.by_account: Multimap[Identity, Session] = Multimap()
        self.by_device: Multimap[tuple[Identity, str], Session] = Multimap()
        self.by_presence: defaultdict[tuple[str, bool], dict[Session, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self.by_number)

    @property
    def devices(self) -> int:
        """Distinct devices; a session that named none is a device of its own."""
        return len(self.by_number) - self.by_device.surplus

    def add(self, session: Session) -> None:
        """Take a session in."""
        self.by_number[session.number] = session
        self.by_presence[session.kind, session.awake][session] = None
        if session.account is None:
            return
        identity, device = session.identity, session.device_key
        if identity is not None:
            self.by_account.add(identity, session)
        if device is not None:
            self.by_device.add(device, session)

    def remove(self, session: Session) -> None:
        """Let a session go."""
        del self.by_number[session.number]
        self.by_presence[session.kind, session.awake].pop(session, None)
        if session.account is None:
            return
        identity, device = session.identity, session.device_key
        if identity is not None:
            self.by_account.discard(identity, session)
        if device is not None:
            self.by_device.discard(device, session)

    def set_awake(self, session: Session, *, awake: bool) -> None:
        """Note whether a session is awake."""
        if session.awake is not awake:
            self.by_presence[session.kind, session.awake].pop(session, None)
            session.awake = awake
            self.by_presence[session.kind, awake][session] = None

    def of_account(self, identity: Identity) -> tuple[Session, ...]:
        """The sessions of an account, as they are now."""
        return tuple(self.by_account.values_of(identity))

    def same_account_sessions(self, session: Session) -> Collection[Session]:
        """The sessions of the same account; none for a guest."""
        identity = session.identity
        return self.by_account.values_of(identity) if identity is not None else ()

    def same_device_session(self, session: Session) -> Session | None:
        """The latest session of the same account and device."""
        device = session.device_key
        twins = self.by_device.values_of(device) if device is not None else ()
        return next(reversed(tuple(twins)), None)
