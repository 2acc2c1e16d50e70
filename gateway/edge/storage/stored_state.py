"""What a store holds when it is opened: everything that the next run takes up."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.admission.bans import Ban
from gateway.core.admission.directory import Group, Token
from gateway.core.admission.returning import HeldSeat
from gateway.core.counting.leases import LeaseChange
from gateway.core.registration.registrar import Installation, SoldLicense
from gateway.edge.storage import rows
from gateway.edge.storage.rows import OutgoingEvent
from gateway.edge.storage.seat_store import RECORDED
from gateway.edge.storage.store import Store
from gateway.edge.storage.usage_store import LAST_PART


class StoredState(NamedTuple):
    """What a store holds: when the last run was last known to live, in seconds UTC, what operators said, leases, what
    was sold and to whom, single texts by name, who held seats, and the last numbers of intervals, episodes and parts of
    days. `noted` is when it was last noted that the gateway lives; None where that never was.
    """

    alive_until: float
    accounts: dict[str, tuple[Token, ...]]
    operators: dict[str, tuple[Token, ...]]
    groups: dict[str, Group]
    bans: list[Ban]
    leases: list[LeaseChange]
    licenses: dict[str, SoldLicense]
    installations: dict[tuple[str, str], Installation]
    meta: dict[str, str]
    seats: list[HeldSeat]
    outgoing: list[OutgoingEvent]
    last_interval: int
    last_episode: int
    last_part: int
    noted: float | None


async def read_stored(store: Store, now: float) -> StoredState:
    """Return all that a store holds; `now` is in seconds UTC. Nothing is restored: the file may turn out to be damaged.

    Raises `LookupError`, `ValueError`, `TypeError`, `AttributeError` or `StoreDamaged` where it is, else
    `StoreUnavailable`.
    """
    meta = await rows.read_meta(store)
    last_part = int(meta.pop(LAST_PART, 0))
    noted = float(meta.pop(rows.ALIVE)) if rows.ALIVE in meta else None
    recorded = float(meta.pop(RECORDED, "inf"))
    ((last_interval,),) = await store.read("SELECT max(number) FROM hour")
    ((last_episode,),) = await store.read("SELECT max(number) FROM denial")
    return StoredState(
        alive_until=now if noted is None else min(noted, now),
        accounts=await rows.read_accounts(store),
        operators=await rows.read_operators(store),
        groups=await rows.read_groups(store),
        bans=await rows.read_bans(store, now),
        leases=await rows.read_leases(store),
        licenses=await rows.read_licenses(store),
        installations=await rows.read_installations(store),
        meta=meta,
        seats=await rows.read_seats(store, recorded),
        outgoing=await rows.read_outgoing(store),
        last_interval=last_interval or 0,
        last_episode=last_episode or 0,
        last_part=last_part,
        noted=noted,
    )
