"""TrueConf told once more: who holds what, and who holds a PRO license until when."""

from __future__ import annotations

import math
from typing import Any

from gateway.core.counting.session import Key
from tests.core.admission.mirror import CLIENTS, ENDPOINTS, LEASE, Mirror, Tale


class TrueConfTale(Tale):
    """TrueConf, retold. PRO leases are `temporary` (until when, None while in use), `permanent`, or of `deleted`
    accounts (until when).
    """

    def __init__(self, name: str, terms: Any, *, enforced: bool, overdraft: int, wall: float) -> None:
        super().__init__(name, terms, enforced=enforced, overdraft=overdraft, wall=wall)
        self.temporary: dict[str, float | None] = {}
        self.granted: dict[str, float] = {}
        self.deleted: dict[str, float] = {}
        self.permanent: list[str] = []
        self.since: dict[str, float] = {}

    @property
    def limits(self) -> dict[str, int | None]:
        terms = self.terms
        pro = None if terms.edition == "enterprise" else terms.pro
        return {"online": terms.online, "pro": pro, "guest": terms.guest, "gateway": terms.gateway}

    def seats(self, mirror: Mirror, number: int) -> list[tuple[str, Key]]:
        person, rooms = mirror.people[number], mirror.live(number)
        found: list[tuple[str, Key]] = []
        local = person.account if not person.home else None
        if local and person.awake:
            found.append(("online", (local, person.device or number)))
        if person.kind in ENDPOINTS and rooms:
            found.append(("gateway", number))
        if person.kind in CLIENTS and person.account is None and any(room.public for room in rooms):
            found.append(("guest", number))
        if local and person.kind in CLIENTS and any(room.group for room in rooms):
            found.append(("pro", local))
        return found

    def lasting(self) -> dict[str, set[Key]]:
        mirror = self.mirror
        arrived = [mirror.people[number].account or "" for room in mirror.rooms.values() for number in room.members]
        self._retell_leases([account for account in arrived if account in self.keys["pro"]])
        return {"pro": {*self.permanent, *self.temporary, *self.deleted}}

    # -- PRO -------------------------------------------------------------------------------------------------------

    def request(self, account: str) -> None:
        """A lease was granted without a conference."""
        if account not in self.permanent:
            self.granted[account] = self.wall + LEASE

    def revoke(self, account: str) -> None:
        """A temporary lease was ended by the operator."""
        del self.temporary[account], self.since[account]

    def forget(self, account: str) -> None:
        """An account was deleted; its sessions are gone already."""
        if account in self.temporary or account in self.permanent or account in self.deleted:
            self.deleted[account] = self.wall + LEASE
            self.temporary.pop(account, None)
            self.permanent = [each for each in self.permanent if each != account]

    def redistribute(self, configured: list[str]) -> list[str]:
        """Steps 5.1 and 5.2, account by account; returns who lost what it had."""
        asked = [account for account in dict.fromkeys(configured) if account not in self.deleted]
        pro = self.limits["pro"]
        room = math.inf if pro is None or not self.enforced else max(pro - len(self.deleted), 0)
        former, before = self.permanent, {*self.permanent, *self.temporary}
        chosen = [account for place, account in enumerate(asked) if place < room]
        self.permanent = [each for each in former if each in chosen] + [each for each in chosen if each not in former]
        for account in self.permanent:
            self.temporary.pop(account, None)
        lost = []
        for _ in [account for account in self.permanent if account not in before]:
            if len(self.deleted) + len(self.permanent) + len(self.temporary) <= self.cap("pro"):
                break
            if self.temporary:
                lost.append(self._shortest())
                del self.temporary[lost[-1]]
        for account in former:
            if account in self.permanent:
                continue
            if len(self.deleted) + len(self.permanent) + len(self.temporary) < self.cap("pro"):
                self.temporary[account] = self.wall + LEASE
                self.since[account] = self.wall
            else:
                lost.append(account)
        return lost

    def _shortest(self) -> str:
        """The temporary holder with the shortest time remaining; of equals the one granted last."""
        full = self.wall + LEASE
        return min(
            reversed(self.temporary),
            key=lambda account: (self.temporary[account] or full, -self.since[account]),
        )

    def _retell_leases(self, present: list[str]) -> None:
        for account in present:
            if account not in self.permanent:
                self.temporary[account] = None
                self.deleted.pop(account, None)
        for account, end in self.granted.items():
            if account not in present:
                self.temporary[account] = end
        self.granted = {}
        for account, expires in self.temporary.items():
            if expires is None and account not in present:
                self.temporary[account] = self.wall + LEASE
        kept = self.temporary.items()
        self.temporary = {account: expires for account, expires in kept if expires is None or expires > self.wall}
        self.deleted = {account: expires for account, expires in self.deleted.items() if expires > self.wall}
        self.since = {account: self.since.get(account, self.wall) for account in self.temporary}
