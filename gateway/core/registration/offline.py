"""A license that is asked for and installed by hand, where there is no network (PROTOCOL.md, Offline registration)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.formats import instant, utc
from gateway.core.registration.authentication import canonical, mac, same
from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.license_status import ClockReading, LicenseStatus
from gateway.core.registration.messages import read
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import RequestFault

BY_HAND = "a gateway of a cluster cannot ask for a license by hand, nor install one"
"""Why it is refused in a cluster: its log has no word for it."""


class OfflineLicense(NamedTuple):
    """A license that was installed by hand: what it grants, and when it was issued (seconds UTC)."""

    grant: Grant
    issued: float

    def audit_detail(self) -> Message:
        """Return what the audit log keeps of it."""
        return {"issued_at": utc(self.issued), "not_after": utc(self.grant.not_after)}


class OfflineRequest(NamedTuple):
    """The last request of an installation for the license with this serial; `nonce` is None if none was made."""

    server: str
    serial: str
    nonce: str | None

    def to_json(self, wall: float) -> Message:
        """Return the document that asks for the license, made at `wall` (seconds UTC)."""
        return {"server": self.server, "serial": self.serial, "nonce": self.nonce, "time": utc(wall)}

    def install(
        self,
        answer: Mapping[str, Any],
        key: bytes,
        offers: Mapping[str, LicensableModel],
        status: LicenseStatus,
        at: ClockReading,
    ) -> OfflineLicense:
        """Record in `status` what the answer to this request grants; `key` is that of the license.

        Raises RequestFault where it answers another request, is not genuine, not newer than the last one, or over;
        `status` is then as it was.
        """
        fields = read(answer, "answer")
        for name, ours in (("server", self.server), ("serial", self.serial)):
            if fields[name] != ours:
                what = "installation" if name == "server" else "serial"
                raise RequestFault("another_" + what, f"the license is for the {what} {fields[name]}, this is {ours}")
        if not same(mac(key, "offline", canonical(answer)), fields["mac"]):
            raise RequestFault("bad_mac", "the license is not genuine, or was made with another key")
        issued = instant(fields["issued_at"])
        if status.issued is not None and issued <= status.issued:
            raise RequestFault(
                "not_newer", f"the license is not newer than {utc(status.issued)}, what was said then holds"
            )
        if fields["nonce"] != self.nonce:
            raise RequestFault("not_requested", "the license does not answer the last request that was made here")
        grant = granted(fields, offers)
        if grant.not_after is not None and max(at.wall, status.their_time(at), issued) > grant.not_after:
            raise RequestFault("expired", f"the license ended at {utc(grant.not_after)}")
        status.install(grant, issued, at)
        return OfflineLicense(grant, issued)
