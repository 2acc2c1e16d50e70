"""The status of a gateway's license: what was last granted, when that was last confirmed, and what follows from it.

The rule (COUNTING.md, Registration): a license that needs the registrar is good for `grace` after the last accepted
answer, and no longer. So time never goes back here: it is the latest time that any clock has shown, plus what the clock
since boot has counted from there (sleep included), or the wall clock where that is later. Setting a clock back, a
restart and sleep make it no earlier; only a verified answer sets it anew. One thing cannot be known: how long a machine
was off whose wall clock was set back by as much.

Nothing here reads a clock: the caller says what time it is, by both clocks.
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
"""Seconds for which an answer is good at least, however short the interval."""
PACE = 0.9
"""Part of the interval after which the next verification begins: it must be answered before the interval is over."""
ROLLBACK = 300.0
"""Seconds that the wall clock may go back."""
SKEW = 300.0
"""Seconds that two clocks may differ before it is reported (PROTOCOL.md, registered)."""


class LicenseState(StrEnum):
    """The state of the license. `off`: the gateway needs no registration."""

    OFF = "off"
    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    GRACE = "grace"
    EXPIRED = "expired"
    REVOKED = "revoked"
    CLOCK_ROLLBACK = "clock_rollback"


GRANTING = frozenset({LicenseState.OFF, LicenseState.REGISTERED, LicenseState.GRACE})
"""States in which new seats are granted."""
SHUT = frozenset({LicenseState.EXPIRED, LicenseState.REVOKED})
"""States in which the client listeners are closed and no session stays."""


class ClockReading(NamedTuple):
    """One instant by two clocks: `wall` in seconds UTC, `boot` in seconds since the machine was started, its sleep
    included. `boot_id` names that start.
    """

    wall: float
    boot: float
    boot_id: str = ""


class LicenseStatus:
    """What a gateway may do. `needed` is False where it runs without a license of a registrar.

    `grace` is in seconds. `accepted` is the wall time of the last accepted answer, `wall_high_water` the latest wall
    time seen since. At `boot`, a reading of the clock since boot, it was `latest_time` by the clocks here and
    `registrar_time` by the registrar's; both in seconds UTC.
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
        self.answered = 0.0
        """When it was accepted, by the clock since boot; meaningful only while `connected`."""

    # -- what happens ------------------------------------------------------------------------------------------------

    def accept(self, grant: Grant, interval: int, ticket: str, at: ClockReading, told: float | None = None) -> None:
        """Record that a registrar has confirmed the license with these terms; `told` is its time (seconds UTC)."""
        self.grant, self.interval, self.revoked = grant, interval, None
        self.confirm(ticket, at, told)

    def confirm(self, ticket: str, at: ClockReading, told: float | None = None) -> None:
        """Record that a registrar has verified the license again; `told` is its time (seconds UTC)."""
        self.connected, self.ticket = True, ticket
        self.registrar_time = self.their_time(at) if told is None else told
        self._begin(at)

    def install(self, grant: Grant, issued: float, at: ClockReading) -> None:
        """Record that a license was installed by hand; it needs no connection until it ends (PROTOCOL.md, Offline
        registration).
        """
        self.grant, self.revoked, self.issued = grant, None, issued
        self.offline, self.until = True, grant.not_after
        self.registrar_time = max(self.their_time(at), issued)
        self._begin(at)

    def lose(self) -> None:
        """Record that the conversation is over, for whatever reason."""
        self.connected = False

    def revoke(self, reason: str) -> None:
        """Record that the registrar has provably revoked the license; nothing issued before can be installed."""
        self.revoked, self.offline = reason, False
        self.issued = max(self.issued or 0.0, self.latest_time)

    def record_time(self, at: ClockReading) -> None:
        """Record how far time has come."""
        self.latest_time, self.registrar_time = self.time(at), self.their_time(at)
        self.boot = at.boot
        self.wall_high_water = max(self.wall_high_water, at.wall)

    def _begin(self, at: ClockReading) -> None:
        self.accepted = self.wall_high_water = self.latest_time = at.wall
        self.boot = self.answered = at.boot

    # -- what follows ------------------------------------------------------------------------------------------------

    def state(self, at: ClockReading) -> LicenseState:
        """Return the state at an instant."""
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
        """Return the latest time that any clock here says, in seconds UTC."""
        return max(at.wall, self.latest_time + max(at.boot - self.boot, 0.0))

    def their_time(self, at: ClockReading) -> float:
        """Return the time by the registrar's last answer plus what has passed since, in seconds UTC."""
        return self.registrar_time + max(at.boot - self.boot, 0.0)

    def over(self, end: float | None, at: ClockReading) -> bool:
        """Return whether the end of a license has come, by the clocks here or by the registrar's: a clock that was set
        back before an answer makes no license longer.
        """
        return end is not None and max(self.time(at), self.their_time(at)) > end

    def by_hand(self, at: ClockReading) -> bool:
        """Return whether a license that was installed offline, which needs no connection, is good."""
        return self.offline and not self.over(self.until, at)

    def fresh(self, at: ClockReading) -> bool:
        """Return whether the last answer is recent and more can come; setting the wall clock changes nothing here."""
        return self.connected and at.boot - self.answered < self.window

    @property
    def window(self) -> float:
        """Seconds for which an answer is good: the interval, but no longer than the grace."""
        usual = max(WINDOW, self.interval)
        return min(usual, self.grace) if self.grant is not None and self.grant.needs_connection else usual

    @property
    def pause(self) -> float:
        """Seconds from an answer to the next verification."""
        return PACE * min(self.interval, self.window)

    def rolled_back(self, at: ClockReading) -> bool:
        """Return whether the wall clock has been set back."""
        return self.grant is not None and at.wall < self.wall_high_water - ROLLBACK

    def shutdown_at(self, at: ClockReading) -> float | None:
        """Return when service ends, or has ended, for lack of a connection (seconds UTC); None without a countdown."""
        grant = self.grant
        if grant is None or not grant.needs_connection or self.revoked is not None:
            return None
        if self.by_hand(at) or self.fresh(at):
            return None
        return self.accepted + self.grace

    def left(self, at: ClockReading) -> float:
        """Return the seconds until the countdown is over; infinite where none runs."""
        end = self.shutdown_at(at)
        return math.inf if end is None else max(end - self.time(at), 0.0)

    def reason(self, at: ClockReading) -> str | None:
        """Return why the gateway is not registered, for a person; None if it is."""
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
        """Return what a store keeps of it, authenticated with the license's own key; times are in milliseconds."""
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
        """Go on from what a store kept; False, and nothing is restored, if it is another license's or was changed.

        Raises `LookupError`, `TypeError` or `ValueError` where it is not what `to_json` made.
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
    """Return the seconds by which a registrar's clock differs from the one here; None where that is little."""
    return round(told - wall) if abs(told - wall) > SKEW else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
