"""Where a gateway stands with its license: what was last granted, when that was last confirmed, and what follows.

The rule (COUNTING.md, Registration): a license that needs the registrar goes on for `grace`
after the last accepted answer, and not a moment longer. So time only goes forward: from the latest that any clock has
ever said, by the clock that counts since the machine was started, asleep or not, and further where the wall clock is
ahead of that. Setting a clock back, restarting or sleeping never makes it earlier; only an answer that was verified
sets it anew. What no clock tells is how long a machine was off whose wall clock is behind by so much.

Nothing here reads a clock: whoever asks says what time it is, by both clocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.core.formats import utc
from gateway.core.registration.authentication import canonical, mac, same
from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.messages import read

WINDOW = 10.0
"""Seconds that an answer is good for at least, however short the interval."""
PACE = 0.9
"""Part of the interval after which the next verification is begun: it must be answered before the interval is over."""
ROLLBACK = 300.0
"""Seconds that the wall clock may go back."""
SKEW = 300.0
"""Seconds that two clocks may differ before it is reported (PROTOCOL.md, registered)."""


class LicenseState(StrEnum):
    """Where a gateway stands. `off`: it needs no registration."""

    OFF = "off"
    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    GRACE = "grace"
    EXPIRED = "expired"
    REVOKED = "revoked"
    CLOCK_ROLLBACK = "clock_rollback"


GRANTING = frozenset({LicenseState.OFF, LicenseState.REGISTERED, LicenseState.GRACE})
"""Where new seats are granted."""
SHUT = frozenset({LicenseState.EXPIRED, LicenseState.REVOKED})
"""Where the client doors are closed and nobody stays."""


class ClockReading(NamedTuple):
    """One instant by two clocks: `wall` in seconds UTC, `boot` in seconds since the machine was started, its sleep
    included. `life` names that start.
    """

    wall: float
    boot: float
    boot_id: str = ""


class LicenseStatus:
    """What a gateway may do. `needed` is False where it runs without a license of a registrar.

    `grace` is in seconds. `accepted` is the wall time of the last accepted answer; `high` the latest wall time seen
    since; `latest` the time that it was at `boot`, going by every clock here, and `theirs` going by the registrar's.
    """

    def __init__(self, grace: float, *, needed: bool) -> None:
        self.needed = needed
        self.grace = grace
        self.grant: Grant | None = None
        self.revoked: str | None = None
        self.issued: float | None = None
        """A license that is installed offline must be issued later than this, in seconds UTC."""
        self.offline = False
        """Whether a license was installed offline; it needs no connection until `until`."""
        self.until: float | None = None
        self.connected = False
        """Whether there is a conversation with the registrar in which this license was confirmed."""
        self.interval = 0
        self.ticket: str | None = None
        self.accepted = self.wall_high_water = self.latest_time = self.registrar_time = self.boot = 0.0
        self._answered = 0.0
        """When it was accepted, by the clock since the machine was started; says something while `connected` only."""

    # -- what happens ------------------------------------------------------------------------------------------------

    def accept(self, grant: Grant, interval: int, ticket: str, at: ClockReading, told: float | None = None) -> None:
        """A registrar has confirmed the license, with these terms; `told` is its time."""
        self.grant, self.interval, self.revoked = grant, interval, None
        self.confirm(ticket, at, told)

    def confirm(self, ticket: str, at: ClockReading, told: float | None = None) -> None:
        """A registrar has verified it again; `told` is its time."""
        self.connected, self.ticket = True, ticket
        self.registrar_time = self.their_time(at) if told is None else told
        self._begin(at)

    def install(self, grant: Grant, issued: float, at: ClockReading) -> None:
        """A license was installed by hand; it needs no connection until it ends (PROTOCOL.md, Offline registration)."""
        self.grant, self.revoked, self.issued = grant, None, issued
        self.offline, self.until = True, grant.not_after
        self.registrar_time = max(self.their_time(at), issued)
        self._begin(at)

    def lose(self) -> None:
        """The conversation is over, for whatever reason."""
        self.connected = False

    def revoke(self, reason: str) -> None:
        """The registrar has said, provably, that the license is no longer good; nothing issued before helps."""
        self.revoked, self.offline = reason, False
        self.issued = max(self.issued or 0.0, self.latest_time)

    def record_time(self, at: ClockReading) -> None:
        """Remember how far time has come."""
        self.latest_time, self.registrar_time = self.time(at), self.their_time(at)
        self.boot = at.boot
        self.wall_high_water = max(self.wall_high_water, at.wall)

    def _begin(self, at: ClockReading) -> None:
        self.accepted = self.wall_high_water = self.latest_time = at.wall
        self.boot = self._answered = at.boot

    # -- what follows ------------------------------------------------------------------------------------------------

    def state(self, at: ClockReading) -> LicenseState:
        """Where it stands now."""
        if not self.needed:
            return LicenseState.OFF
        grant = self.grant
        if self.revoked is not None:
            return LicenseState.REVOKED
        if grant is None:
            return LicenseState.UNREGISTERED
        if self.over(grant.not_after, at):
            return LicenseState.EXPIRED
        if self.by_hand(at):
            return LicenseState.REGISTERED
        fresh = self.fresh(at)
        if grant.needs_connection:
            if not fresh and self.time(at) >= self.accepted + self.grace:
                return LicenseState.EXPIRED
            if self.rolled_back(at):
                return LicenseState.CLOCK_ROLLBACK
        return LicenseState.REGISTERED if fresh else LicenseState.GRACE

    def time(self, at: ClockReading) -> float:
        """The latest that it can be, in seconds UTC, going by every clock there is."""
        return max(at.wall, self.latest_time + max(at.boot - self.boot, 0.0))

    def their_time(self, at: ClockReading) -> float:
        """What time it is, in seconds UTC, by what the registrar said last and what has run since."""
        return self.registrar_time + max(at.boot - self.boot, 0.0)

    def over(self, end: float | None, at: ClockReading) -> bool:
        """Whether the end of a license has come, by the clocks here or by what the registrar's said last: a clock that
        was set back before an answer makes no license longer.
        """
        return end is not None and max(self.time(at), self.their_time(at)) > end

    def by_hand(self, at: ClockReading) -> bool:
        """Whether a license that was installed offline holds, which needs no connection."""
        return self.offline and not self.over(self.until, at)

    def fresh(self, at: ClockReading) -> bool:
        """Whether the last answer is young enough and more can come; a wall clock that was set changes nothing here."""
        return self.connected and at.boot - self._answered < self.window

    @property
    def window(self) -> float:
        """Seconds that an answer is good for: as long as the interval, but no answer outlives the grace."""
        usual = max(WINDOW, self.interval)
        return min(usual, self.grace) if self.grant is not None and self.grant.needs_connection else usual

    @property
    def pause(self) -> float:
        """Seconds from an answer to the next verification."""
        return PACE * min(self.interval, self.window)

    def rolled_back(self, at: ClockReading) -> bool:
        """Whether the wall clock has been set back."""
        return self.grant is not None and at.wall < self.wall_high_water - ROLLBACK

    def shutdown_at(self, at: ClockReading) -> float | None:
        """When it will end, or has ended, for lack of a connection, in seconds UTC; None where no countdown runs."""
        grant = self.grant
        if grant is None or not grant.needs_connection or self.revoked is not None:
            return None
        if self.by_hand(at) or self.fresh(at):
            return None
        return self.accepted + self.grace

    def left(self, at: ClockReading) -> float:
        """Seconds until the countdown is over; infinite where none runs."""
        end = self.shutdown_at(at)
        return math.inf if end is None else max(end - self.time(at), 0.0)

    def reason(self, at: ClockReading) -> str | None:
        """Why it is not registered, for a person; None if it is."""
        state, grant = self.state(at), self.grant
        if state is LicenseState.REVOKED:
            return f"the registration server refuses the license: {self.revoked}"
        if state in {LicenseState.OFF, LicenseState.REGISTERED} or grant is None:
            return (
                None
                if state is not LicenseState.UNREGISTERED
                else "no registration server has confirmed the license yet"
            )
        if self.over(grant.not_after, at):
            return f"the license ended at {utc(grant.not_after)}"
        if state is LicenseState.CLOCK_ROLLBACK:
            return f"the clock was set back: it has been {utc(self.wall_high_water)} before"
        lost = f"no answer of the registration server since {utc(self.accepted)}"
        return f"{lost}, and the grace is over" if state is LicenseState.EXPIRED else lost

    # -- what is kept ------------------------------------------------------------------------------------------------

    def to_json(self, serial: str, key: bytes, life: str) -> dict[str, Any]:
        """What a store keeps of it, authenticated with the license's own key; times are in milliseconds."""
        kept = {
            "serial": serial,
            "grant": None if self.grant is None else self.grant.to_json(),
            "accepted": _ms(self.accepted),
            "high": _ms(self.wall_high_water),
            "latest": _ms(self.latest_time),
            "theirs": _ms(self.registrar_time),
            "boot": _ms(self.boot),
            "life": life,
            "interval": self.interval,
            "ticket": self.ticket,
            "revoked": self.revoked,
            "issued": None if self.issued is None else _ms(self.issued),
            "offline": self.offline,
            "until": None if self.until is None else _ms(self.until),
        }
        return {**kept, "mac": mac(key, "standing", canonical(kept))}

    def restore(
        self, kept: Mapping[str, Any], serial: str, key: bytes, offers: Mapping[str, LicensableModel], at: ClockReading
    ) -> bool:
        """Go on from what a store kept; False, and nothing is taken, if it is another license's or was changed.

        Raises `LookupError`, `TypeError` or `ValueError` where it is not what `document` makes.
        """
        if kept["serial"] != serial or not same(mac(key, "standing", canonical(kept)), kept.get("mac")):
            return False
        self.accepted, self.wall_high_water = kept["accepted"] / 1000, kept["high"] / 1000
        self.latest_time, self.registrar_time = kept["latest"] / 1000, kept["theirs"] / 1000
        self.boot = kept["boot"] / 1000 if kept["life"] == at.boot_id else at.boot
        self.interval, self.ticket, self.revoked = kept["interval"], kept["ticket"], kept["revoked"]
        self.issued = None if kept["issued"] is None else kept["issued"] / 1000
        self.offline, self.until = kept["offline"], None if kept["until"] is None else kept["until"] / 1000
        self.grant = granted(read(kept["grant"], "terms"), offers) if kept["grant"] is not None else None
        self.record_time(at)
        return True


def skew(told: float, wall: float) -> int | None:
    """Seconds by which a registrar's clock differs from ours, if that is worth a report."""
    return round(told - wall) if abs(told - wall) > SKEW else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
