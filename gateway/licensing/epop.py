"""e/pop: concurrent users (WiredRed, e/pop Concurrent User Licensing).

Counted once: every connection that takes part in at least one live conference, however many conferences.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.counting.license_model import CONFERENCE_ENDS, LicenseModel, PoolTerms
from gateway.core.counting.session import Seat, Session
from gateway.core.setting_kinds import Count, setting
from gateway.licensing.model_info import ModelInfo, PoolInfo


@dataclass(frozen=True, slots=True)
class Epop:
    """Settings of `[license.epop]`."""

    users: Count = setting(10, live=True, help="Connections that may take part in live conferences at once.")


def epop(terms: Epop) -> LicenseModel:
    """Return the model: one seat for each connection in a live conference, once however many conferences."""
    pool = PoolTerms("concurrent", terms.users, CONFERENCE_ENDS)
    return LicenseModel("epop", pools=(pool,), seats=one_line, members_only=True)


def one_line(session: Session) -> tuple[Seat, ...]:
    """Return one seat for a connection that takes part in a live conference."""
    for conference in session.conferences:
        if conference.live:
            return (("concurrent", session.number),)
    return ()


EPOP = ModelInfo(
    "epop", "e/pop", Epop, epop, {"concurrent": PoolInfo("Concurrent users", "user", "users", limit="users")}
)
