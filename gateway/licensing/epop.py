"""e/pop: concurrent users (WiredRed, e/pop Concurrent User Licensing).

Counted once: every connection that takes part in at least one live conference, however many conferences.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.values import Count, setting
from gateway.core.counting.license_model import CONFERENCE_ENDS, LicenseModel, PoolTerms
from gateway.core.counting.session import Seat, Session
from gateway.licensing.model_info import ModelInfo, PoolInfo


@dataclass(frozen=True, slots=True)
class Epop:
    """Settings of `[license.epop]`."""

    users: Count = setting(10, live=True, help="Connections that may take part in live conferences at once.")


def epop(terms: Epop) -> LicenseModel:
    """One seat for each connection in a live conference, once however many conferences."""
    pool = PoolTerms("concurrent", terms.users, CONFERENCE_ENDS)
    return LicenseModel("epop", pools=(pool,), seats=one_line, members_only=True)


def one_line(session: Session, _: bool) -> tuple[Seat, ...]:
    """A connection in conference takes one seat, like a line of a telephone exchange."""
    return (("concurrent", session.number),) if session.takes_part else ()


EPOP = ModelInfo(
    "epop", "e/pop", Epop, epop, {"concurrent": PoolInfo("Concurrent users", "user", "users", limit="users")}
)
