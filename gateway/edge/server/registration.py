"""This gateway's own license: what it may do by the registrar's last answer, and what follows when that is over.

`LicenseStatus` decides; this carries it out. Every accepted answer is written at once, so that a crash forgets none,
and a change of state is shown once it is on disk. When the license has run out, the client doors close and everybody is
sent away; the operator port stays open and says why. A verified answer opens the same doors again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from config.registration_settings import RegistrationSettings
from gateway.core.formats import duration_text, instant, utc, whole_seconds
from gateway.core.registration.agent_protocol import Received, Verdict
from gateway.core.registration.grant import Grant
from gateway.core.registration.license_status import GRANTING, SHUT, ClockReading, LicenseState, LicenseStatus, skew
from gateway.core.registration.offline import OfflineRequest
from gateway.core.wire.messages import RequestFault
from gateway.edge.machine import Clock, boot_id, read_key
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.persistence import Persistence
from gateway.licensing import OFFERS

RESULTS = ("accepted", "refused", "forged", "replayed", "malformed", "late", "lost", "unreachable")
"""How attempts to be verified can end, each counted."""
RECORD_EVERY = 20.0
"""Seconds between two notes of how far time has come; a crash buys no more than that."""
REMINDERS = (12 * 3600.0, 6 * 3600.0, 3600.0, 600.0)
"""Seconds left at which an operator is reminded."""

log = logging.getLogger("tallygate.registration")


class ShownState(NamedTuple):
    """What an operator is told: the state, and when it ends for lack of a connection (seconds UTC)."""

    state: LicenseState
    shutdown_at: float | None


class ClientDoors(Protocol):
    """Opens the client doors, or closes them and sends everybody away; says whether that could be done."""

    def __call__(self, *, open: bool) -> bool: ...  # noqa: D102


class Registration:
    """The registration of this gateway, as `clock` and the answers of a registrar make it.

    `free` says that the configured edition needs a registration. `on_license` is called when another license counts;
    `is_draining` tells whether the gateway is about to end. `switch_doors` opens or closes the client doors, and says
    whether it could; it is asked again until it can.
    """

    def __init__(
        self,
        settings: RegistrationSettings,
        clock: Clock,
        persistence: Persistence,
        *,
        free: bool,
        on_license: Callable[[], None],
        is_draining: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self.boot = clock.boot
        """Seconds since this machine was started, its sleep included."""
        self._persistence = persistence
        self._on_license = on_license
        self._is_draining = is_draining
        self.settings = settings
        self.agent = self.settings.role == "agent"
        self.status = LicenseStatus(self.settings.grace, needed=self.agent or free)
        self.key = b""
        self.installation = self.settings.installation
        self.boot_id = boot_id()
        self.checks = dict.fromkeys(RESULTS, 0)
        self.clone_suspected = False
        self.trouble = ""
        """What kept the agent from having the license verified the last time, for a person."""
        self.skew: int | None = None
        self.switch_doors: ClientDoors | None = None
        self._open = True
        self._nonce: str | None = None
        self._shown = ShownState(LicenseState.OFF, None)
        self._showing: asyncio.Future[None] | None = None
        self._noted = 0.0
        self._reminded = 0
        self._set_back = False

    # -- what it allows ----------------------------------------------------------------------------------------------

    def clock_reading(self) -> ClockReading:
        """Return the present instant."""
        clock = self._clock
        return ClockReading(clock.wall(), clock.boot(), self.boot_id)

    @property
    def grants(self) -> bool:
        """Whether new seats may be granted at this instant."""
        return not self.status.needed or self.status.state(self.clock_reading()) in GRANTING

    @property
    def state(self) -> LicenseState:
        """Where the gateway stands at this instant."""
        return self.status.state(self.clock_reading())

    @property
    def shut(self) -> bool:
        """Whether the client doors must be closed."""
        return self.status.needed and self.state in SHUT

    @property
    def grant(self) -> Grant | None:
        """What the license grants, once a registrar has said so."""
        return self.status.grant

    @property
    def may_ask(self) -> bool:
        """Whether it is this gateway that asks the registrar, at this instant."""
        return True

    @property
    def may_connect(self) -> bool:
        """Whether it may connect to the registrar, which ends the connection that its installation has."""
        return True

    @property
    def ticket(self) -> str | None:
        """The ticket to show the registrar, None where there is none."""
        return self.status.ticket

    def reason(self) -> str | None:
        """Return why nothing is granted, for a person; None where something is."""
        at = self.clock_reading()
        state = self.status.state(at)
        return None if state in GRANTING else f"registration {state}: {self._why(state, at)}"

    def _why(self, state: LicenseState, at: ClockReading) -> str | None:
        """Why the license is in a state, for a person; before the first answer, also what kept it from coming."""
        why = self.status.reason(at)
        return f"{why} ({self.trouble})" if state is LicenseState.UNREGISTERED and self.trouble else why

    def left(self) -> str | None:
        """Return how long service goes on without the registrar, for a person; None where no countdown runs."""
        left = self.status.left(self.clock_reading())
        return None if left == math.inf else duration_text(left)

    # -- the start ---------------------------------------------------------------------------------------------------

    def restore(self, kept: Mapping[str, str]) -> None:
        """Go on from what the store kept under `registration`, `installation` and `request`.

        Raises `KeyRefused`.
        """
        self._nonce = kept.get("request")
        self.installation = self.settings.installation or kept.get("installation", "")
        if not self.installation:
            self.installation = secrets.token_hex(16)
            self._persistence.keep("installation", self.installation)
        if self.agent:
            self.key = read_key(self.settings.key_file)
            self._take_up(kept.get("registration"))
        self._on_license()
        self._open = not self.shut
        self._shown = self._now_shown()

    def _take_up(self, text: str | None) -> None:
        if text is None:
            return
        try:
            same_license = self.status.restore(
                json.loads(text), self.settings.serial, self.key, OFFERS, self.clock_reading()
            )
        except (ValueError, LookupError, TypeError, AttributeError, RequestFault):
            same_license = False
        if not same_license:
            self.status = LicenseStatus(self.settings.grace, needed=True)
            log.error("the stored registration is another license's, or was changed; the gateway is unregistered")
            self._persistence.audit(GATEWAY, "registration.mistrusted", self.settings.serial)

    # -- what happens ------------------------------------------------------------------------------------------------

    def receive(self, heard: Received) -> None:
        """Act upon what a registrar has provably said."""
        at = self.clock_reading()
        if heard.verdict is Verdict.REGISTERED and heard.grant is not None:
            self.clone_suspected = False
            changed = heard.grant != self.status.grant
            self.status.accept(heard.grant, heard.interval, heard.ticket, at, self._compare_clocks(heard.time, at))
            if changed:
                self._on_license()
        elif heard.verdict is Verdict.VERIFIED:
            self.status.confirm(heard.ticket, at, self._compare_clocks(heard.time, at))
        elif heard.verdict is Verdict.REVOKED or heard.reason in {"revoked", "expired"}:
            self.status.record_time(at)
            self.status.revoke(heard.reason)
        elif heard.reason == "in_use" and not self.clone_suspected:
            self.clone_suspected = True
            log.error("clone suspected: the license %s is in use by another installation", self.settings.serial)
            self._persistence.audit(GATEWAY, "clone.suspected", self.settings.serial, {"how": "in_use"})
        self._record(at)
        self.poll()

    def _compare_clocks(self, told: object, at: ClockReading) -> float | None:
        """The registrar's time in seconds UTC, None where it says none; a difference is reported, and no more."""
        try:
            theirs = instant(told)
        except ValueError:
            return None
        differs = skew(theirs, at.wall)
        if differs is not None and self.skew is None:
            log.warning("this clock differs by %d s from the registration server's", -differs)
        self.skew = differs
        return theirs

    def lost(self) -> None:
        """The connection to the registrar is gone."""
        if self.status.connected:
            self.status.lose()
            self.poll()

    async def applied(self) -> None:
        """Wait until what was received counts: here it does at once."""

    def forget_connection(self) -> None:
        """The connection is gone, and nothing else is done about it."""
        self.status.lose()

    def poll(self) -> None:
        """See what time has brought: open or close the doors, remind, and show a change once it is on disk."""
        if not self.status.needed:
            return
        at = self.clock_reading()
        if self.status.grant is not None and abs(at.boot - self._noted) >= RECORD_EVERY:
            self._record(at)
        state = self.status.state(at)
        open, turned = state not in SHUT, self._open == (state in SHUT) and not self._is_draining()
        if turned and self.switch_doors is not None and self.switch_doors(open=open):
            self._open = open
        self._remind(at)
        self._warn_if_set_back(state, at)
        shown = self._now_shown()
        if shown != self._shown and self._showing is None:
            self._show(shown, at)

    def _now_shown(self) -> ShownState:
        at = self.clock_reading()
        return ShownState(self.status.state(at), self.status.shutdown_at(at))

    def _show(self, shown: ShownState, at: ClockReading) -> None:
        if shown.state is not self._shown.state:
            reason = self.status.reason(at)
            detail = {"reason": reason, "shutdown_at": utc(shown.shutdown_at)}
            told = {"event": f"registration.{shown.state}", "detail": detail}
            log.warning("registration: %s%s", shown.state, f" ({reason})" if reason else "", extra=told)
            self._persistence.audit_log.add(GATEWAY, f"registration.{shown.state}", self.settings.serial, detail)
        self._showing = self._record(at)

        def written(done: asyncio.Future[None]) -> None:
            done.exception()  # the store has said it; memory is what counts until it is back
            self._shown, self._showing = shown, None

        self._showing.add_done_callback(written)

    def _remind(self, at: ClockReading) -> None:
        left = self.status.left(at)
        due = sum(left <= each for each in REMINDERS)
        if due > self._reminded and left:
            end = utc(self.status.shutdown_at(at))
            log.warning("registration lost: service ends in %s, at %s, unless it comes back", duration_text(left), end)
        self._reminded = due

    def _warn_if_set_back(self, state: LicenseState, at: ClockReading) -> None:
        """Warn of a clock that was set back where no state tells it (COUNTING.md, Registration: others only warn)."""
        set_back = state is not LicenseState.CLOCK_ROLLBACK and self.status.rolled_back(at)
        if set_back and not self._set_back:
            log.warning("the clock was set back: it has been %s before", utc(self.status.wall_high_water))
        self._set_back = set_back

    def _record(self, at: ClockReading) -> asyncio.Future[None]:
        self._noted = at.boot
        self.status.record_time(at)
        document = self.status.to_json(self.settings.serial, self.key, self.boot_id)
        return self._persistence.keep("registration", json.dumps(document))

    # -- by hand -----------------------------------------------------------------------------------------------------

    async def request(self) -> dict[str, Any]:
        """Ask for a license that is installed by hand (PROTOCOL.md, Offline registration).

        Raises `RequestFault` where there is no serial, and `StoreUnavailable`.
        """
        if not self.agent:
            raise RequestFault("no_serial", 'registration.role is not "agent": there is no serial to ask for')
        self._nonce = secrets.token_hex(16)
        await self._persistence.keep("request", self._nonce)
        return self._last_request.to_json(self._clock.wall())

    async def install(self, answer: Mapping[str, Any]) -> None:
        """Install a license that answers the last request made here.

        Raises `RequestFault` where it does not or is not genuine, and `StoreUnavailable`.
        """
        if not self.agent:
            raise RequestFault("no_serial", 'registration.role is not "agent": there is no license to install for')
        at, serial = self.clock_reading(), self.settings.serial
        installed = self._last_request.install(answer, self.key, OFFERS, self.status, at)
        self._on_license()
        self._persistence.audit_log.add(GATEWAY, "license.installed", serial, installed.audit_detail())
        done = self._record(at)
        self.poll()
        await asyncio.shield(done)

    @property
    def _last_request(self) -> OfflineRequest:
        return OfflineRequest(self.installation, self.settings.serial, self._nonce)

    # -- what is told ------------------------------------------------------------------------------------------------

    @property
    def shown(self) -> ShownState:
        """What an operator is told."""
        waits = self._showing is not None and self._persistence.store.available
        return self._shown if waits else self._now_shown()

    def to_json(self) -> dict[str, Any]:
        """Return all of it, for the operator port; times in RFC 3339."""
        at = self.clock_reading()
        status = self.status
        grant = status.grant
        shown = self.shown
        left = status.left(at)
        lost = shown.state in {
            LicenseState.GRACE,
            LicenseState.EXPIRED,
            LicenseState.CLOCK_ROLLBACK,
        } and not status.fresh(at)
        return {
            "role": self.settings.role,
            "state": shown.state,
            "reason": self._why(status.state(at), at),
            "shutdown_at": utc(shown.shutdown_at),
            "seconds_left": None if left == math.inf else whole_seconds(left),
            "lost_at": utc(status.accepted) if lost and not status.by_hand(at) else None,
            "last_verified": utc(status.accepted) if grant is not None else None,
            "not_after": utc(grant.not_after) if grant is not None else None,
            "needs_connection": grant.needs_connection if grant is not None else None,
            "server": self.settings.server,
            "serial": self.settings.serial,
            "installation": self.installation,
            "offline": status.by_hand(at),
            "clone_suspected": self.clone_suspected,
            "clock_skew_seconds": self.skew,
        }
