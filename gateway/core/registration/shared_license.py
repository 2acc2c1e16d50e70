"""The license that the gateways of a cluster have together, as their log has it.

Time is that of the log, which never goes back and is the same for all: so all come to the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.registration.grant import Grant
from gateway.core.registration.license_status import ClockReading, LicenseState, LicenseStatus

KEPT = (
    "accepted",
    "wall_high_water",
    "latest_time",
    "registrar_time",
    "boot",
    "answered",
    "connected",
    "interval",
    "ticket",
    "revoked",
)
"""What is written of the status, beside the grant."""


class SharedLicense:
    """The license `serial`, which goes on for `grace` seconds without the registrar; empty where none is needed.

    `installation` is what the registrar knows the cluster by, empty before it is named. `asker` is the gateway whose
    agent had the last answer, `shown` the state that was told last.
    """

    def __init__(self, serial: str, grace: float) -> None:
        self.serial = serial
        self.status = LicenseStatus(grace, needed=bool(serial))
        self.installation = ""
        self.asker = ""
        self.clone_suspected = False
        self.shown = LicenseState.UNREGISTERED if serial else LicenseState.OFF

    @property
    def needed(self) -> bool:
        """Whether a registrar must confirm the license."""
        return self.status.needed

    def state(self, wall: float) -> LicenseState:
        """Return the state at an instant of the log, in seconds UTC."""
        return self.status.state(log_reading(wall))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "serial": self.serial,
            "grace": self.status.grace,
            "installation": self.installation,
            "asker": self.asker,
            "clone_suspected": self.clone_suspected,
            "shown": self.shown,
            "grant": None if self.status.grant is None else [*self.status.grant],
            "status": {name: getattr(self.status, name) for name in KEPT},
        }

    def fill(self, plain: Mapping[str, Any], grant: Grant | None) -> None:
        """Take what `to_json` wrote; `grant` is that which it names.

        Raises `LookupError` or `ValueError` where it is not valid.
        """
        self.installation, self.asker = plain["installation"], plain["asker"]
        self.clone_suspected, self.shown = plain["clone_suspected"], LicenseState(plain["shown"])
        self.status.grant = grant
        for name in KEPT:
            setattr(self.status, name, plain["status"][name])


def log_reading(wall: float) -> ClockReading:
    """Return an instant of the log as a reading of both clocks: there is one, and nobody sets it back."""
    return ClockReading(wall, wall)
