"""Why a key is in a pool: a session has it, or a seat outlives the sessions that did."""

from __future__ import annotations

from gateway.core.counting.returning import KeptSeat, Returning
from gateway.core.counting.session import Session


class Lease:
    """A seat that outlives its session: it claims its key when the last session lets go, at the latest.

    `since` and `expires` are seconds UTC; `expires` None: not while in use, or never. `number` tells the order in which
    leases were granted.
    """

    __slots__ = ("deleted", "expires", "number", "queued", "since")

    def __init__(self, since: float, number: int, expires: float | None = None, *, deleted: bool = False) -> None:
        self.since = since
        self.number = number
        self.expires = expires
        self.deleted = deleted
        self.queued = False


class Reservation:
    """A key that holds its seat whether its owner is connected or not; since when, in seconds UTC."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since = since


class Linger(KeptSeat):
    """A seat that is kept after an abrupt loss; `cause` is that of the loss."""

    __slots__ = ("cause",)

    def __init__(self, account: str, home: str, device: str, address: str, until: float, cause: str) -> None:
        super().__init__(account, home, device, address, until)
        self.cause = cause


Claim = Session | Lease | Reservation | Linger | Returning
PERSONAL = (Session, KeptSeat)
"""Claims that say to whom the seat is charged."""
