"""A license that is asked for and installed by hand, where there is no network (protocol.md, offline registration)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.formats import instant, utc
from gateway.core.registration.authentication import canonical, mac, same
from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.messages import read
from gateway.core.wire.messages import RequestFault


class Installed(NamedTuple):
    """Which license may be installed by hand: this installation's, of this serial and key, that answers the request
    with this nonce and was issued later than the last one (seconds UTC).
    """

    server: str
    serial: str
    key: bytes
    nonce: str | None
    issued: float | None

    def check(
        self, answer: Mapping[str, Any], offers: Mapping[str, LicensableModel], now: float
    ) -> tuple[Grant, float]:
        """What an answer grants and when it was issued.

        Raises `Fault`.
        """
        fields = read(answer, "answer")
        for name, ours in (("server", self.server), ("serial", self.serial)):
            if fields[name] != ours:
                what = "installation" if name == "server" else "serial"
                raise RequestFault("another_" + what, f"the license is for the {what} {fields[name]}, this is {ours}")
        if not same(mac(self.key, "offline", canonical(answer)), fields["mac"]):
            raise RequestFault("bad_mac", "the license is not genuine, or was made with another key")
        issued = instant(fields["issued_at"])
        if self.issued is not None and issued <= self.issued:
            raise RequestFault(
                "not_newer", f"the license is not newer than {utc(self.issued)}, what was said then holds"
            )
        if fields["nonce"] != self.nonce:
            raise RequestFault("not_requested", "the license does not answer the last request that was made here")
        grant = granted(fields, offers)
        if grant.not_after is not None and max(now, issued) > grant.not_after:
            raise RequestFault("expired", f"the license ended at {utc(grant.not_after)}")
        return grant, issued


def request(server: str, serial: str, nonce: str, wall: float) -> dict[str, Any]:
    """The document with which a license is asked for by hand."""
    return {"server": server, "serial": serial, "nonce": nonce, "time": utc(wall)}
