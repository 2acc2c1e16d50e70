"""Seats that are kept for those who held them when the gateway, or theirs of a cluster, was gone (COUNTING.md,
Returning).

Such a claim has the key of the seat in the pool, as a session would. Where that key is an account, a device or an
address, whoever has the key has the seat. Where it is a connection, which never comes back, the seat is that of its
owner: the account and device, else the account, else the address, of who held it.
"""

from __future__ import annotations

from gateway.core.counting.session import Identity, Key, Person, Session, identity

NOT_RETURNED = "not_returned"
"""Why a seat is released for which nobody came back in time."""
KEPT_AFTER = frozenset({"drained", "node_lost"})
"""Causes by which a session ends because its gateway does: its seats are kept."""


class KeptSeat:
    """A seat that no session holds any more, kept until a monotonic instant, and who held it: an account (empty for a
    guest), its home, its device, and the address at `hello`.
    """

    __slots__ = ("account", "address", "device", "home", "until")

    def __init__(self, account: str, home: str, device: str, address: str, until: float) -> None:
        self.account = account
        self.home = home
        self.device = device
        self.address = address
        self.until = until

    @property
    def identity(self) -> Identity | None:
        """Who held it; None for a guest."""
        return identity(self.account, self.home) if self.account else None

    @property
    def person(self) -> Person:
        """To whom the seat is charged."""
        return self.account, self.home, self.device, "" if self.account or self.device else self.address


class Returning(KeptSeat):
    """A seat that is kept for who held it when the gateway was gone."""

    __slots__ = ()

    @property
    def peer_address(self) -> str:
        """Where it was held from, for bans."""
        return self.address

    @property
    def owner(self) -> Person:
        """Who may take it over, where its key is a connection."""
        return _owner(self.account, self.home, self.device, self.address)


def held_by(session: Session) -> tuple[str, str, str, str]:
    """Return who holds the seats of a session: its account, home, device and address, as a `KeptSeat` has them."""
    account = session.account or ""
    return account, session.home if account else "", session.device or "", session.address


def _owner(account: str, home: str, device: str, address: str) -> Person:
    return (account, home, device, "") if account else ("", "", "", address)


def place_of(key: Key) -> Identity | None:
    """Return what the key of a connection names beside it: a conference, an account, or nothing (an empty text); None
    for a key that is no connection's.
    """
    if isinstance(key, int):
        return ""
    return key[0] if isinstance(key, tuple) and isinstance(key[1], int) else None


def number_of(key: Key) -> int:
    """Return the number in the key of a connection; 0 for a key that is no connection's."""
    number = key[1] if isinstance(key, tuple) else key
    return number if isinstance(number, int) else 0


def with_number(key: Key, number: int) -> Key:
    """Return the key of a connection with another number."""
    return (key[0], number) if isinstance(key, tuple) else number


class ReturningSeats(dict[Key, Returning]):
    """The claims of a pool by the key under which they are held, and views: those of each owner, how many of each
    conference.
    """

    __slots__ = ("_of_owner", "_of_place")

    def __init__(self) -> None:
        super().__init__()
        self._of_owner: dict[tuple[Identity, Person], dict[Key, None]] = {}
        self._of_place: dict[Identity, int] = {}

    def put(self, key: Key, claim: Returning) -> None:
        """Take a claim in; there is none of that key."""
        self[key] = claim
        place = place_of(key)
        if place is not None:
            self._of_owner.setdefault((place, claim.owner), {})[key] = None
            self._of_place[place] = self._of_place.get(place, 0) + 1

    def take(self, key: Key) -> Returning:
        """Take a claim out."""
        claim = self.pop(key)
        place = place_of(key)
        if place is not None:
            owned = self._of_owner[place, claim.owner]
            del owned[key]
            if not owned:
                del self._of_owner[place, claim.owner]
            self._of_place[place] -= 1
            if not self._of_place[place]:
                del self._of_place[place]
        return claim

    def find(self, key: Key, session: Session) -> Key | None:
        """Return the key of the claim that `session` takes over when it comes to hold `key`; None where it has none."""
        if key in self:
            return key
        place = place_of(key)
        if place is None:
            return None
        owner = _owner(session.account or "", session.home, session.device or "", session.address)
        owned = self._of_owner.get((place, owner))
        return next(iter(owned)) if owned else None

    def count(self, place: Identity) -> int:
        """Return how many seats of a conference are kept."""
        return self._of_place.get(place, 0)
