"""Nefsis: concurrent users, and named hosts (Nefsis, Named versus Concurrent User Licensing).

Counted once under concurrent use: every connection, hosts included, that takes part in a live conference.
Counted once under named use: every account that hosts (its name stays taken), and, in each conference apart, every
connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.counting.license_model import (
    CONFERENCE_ENDS,
    LEASE_ENDS,
    Attempt,
    Holdings,
    LicenseModel,
    PoolTerms,
    Refusal,
    SeatRule,
)
from gateway.core.counting.session import Conference, Seat, Session
from gateway.core.setting_kinds import Count, Positive, setting
from gateway.licensing.epop import one_line
from gateway.licensing.model_info import ModelInfo, PoolInfo, PoolNeed


@dataclass(frozen=True, slots=True)
class NefsisConcurrent:
    """Settings of `[license.nefsis-concurrent]`."""

    users: Count = setting(
        25, live=True, help="Connections, hosts included, that may take part in live conferences at once."
    )


@dataclass(frozen=True, slots=True)
class NefsisNamed:
    """Settings of `[license.nefsis-named]`."""

    hosts: Count = setting(5, live=True, help="Accounts that may be named as hosts (N of `N x M`).")
    participants: Positive = setting(25, live=True, help="Connections in each conference (M of `N x M`).")
    naming: Literal["first-use", "listed"] = setting(
        "first-use", help="Whether an account is named when it first hosts, or only by the operator."
    )
    host_is_participant: bool = setting(True, help="Whether a connection that joined as host counts inside M.")


def nefsis_concurrent(terms: NefsisConcurrent) -> LicenseModel:
    """Return the model: the rule of e/pop; hosts and participants total at most `users`."""
    pool = PoolTerms("concurrent", terms.users, CONFERENCE_ENDS)
    return LicenseModel("nefsis-concurrent", pools=(pool,), seats=one_line, members_only=True)


def nefsis_named(terms: NefsisNamed) -> LicenseModel:
    """Return the model: N named hosts, each with one live conference at a time of at most M connections."""

    def seats_where(*, enforced: bool) -> SeatRule:
        def seats_of(session: Session) -> tuple[Seat, ...]:
            number, all_count = session.number, terms.host_is_participant
            seats: list[Seat] = [
                ("participants", (each.id, number))
                for each in session.conferences
                if each.live and (all_count or not each.members[session])
            ]
            if session.identity is not None:
                for each in session.conferences:
                    hosting = each.members[session] or (not enforced and each.implied_host is session)
                    if hosting and each.live and session not in each.released_hosts:
                        return (("hosts", session.identity), *seats)
            return tuple(seats)

        return seats_of

    def conference(attempt: Attempt, holdings: Holdings) -> Refusal | None:
        room = attempt.conference
        if room is None or not (room.live or attempt.opens):
            return None
        return _host_refused(attempt, room, holdings) or _room_refused(attempt, room, holdings)

    def _host_refused(attempt: Attempt, room: Conference, holdings: Holdings) -> Refusal | None:
        session = attempt.session
        hosting = attempt.host or (not holdings.enforced and room.has_no_host and session.account is not None)
        if not hosting:
            return Refusal("host_not_named", "hosts") if attempt.opens else None
        if session.identity is None:
            return Refusal("host_not_named", "hosts")
        if any(
            other.live and other is not room and _hosts(each, other, holdings.enforced)
            for each in attempt.same_account_sessions
            for other in each.conferences
        ):
            return Refusal("host_busy", "hosts")
        named = holdings.is_leased("hosts", session.identity)
        return Refusal("host_not_named", "hosts") if terms.naming == "listed" and not named else None

    def _room_refused(attempt: Attempt, room: Conference, holdings: Holdings) -> Refusal | None:
        if attempt.request == "start" or (attempt.host and not terms.host_is_participant):
            return None
        if holdings.comes_back("participants", (room.id, attempt.session.number), attempt.session):
            return None
        counted = len(room.members) if terms.host_is_participant else sum(not host for host in room.members.values())
        counted += holdings.awaited("participants", room.id)
        if counted < terms.participants:
            return None
        return Refusal("conference_full", "participants", counted, terms.participants)

    return LicenseModel(
        "nefsis-named",
        pools=(
            PoolTerms("hosts", terms.hosts, LEASE_ENDS, ("pool_full", "host_busy", "host_not_named"), endless=True),
            PoolTerms(
                "participants",
                terms.hosts * terms.participants,
                CONFERENCE_ENDS,
                ("pool_full", "conference_full"),
                binding=False,
            ),
        ),
        seats=seats_where(enforced=True),
        shadow_seats=seats_where(enforced=False),
        conference_rule=conference,
        start_pool="hosts",
        members_only=True,
    )


def _hosts(session: Session, conference: Conference, enforced: bool) -> bool:
    hosting = conference.members[session] or (not enforced and conference.implied_host is session)
    return hosting and session not in conference.released_hosts


def _hosts_by_participants(terms: NefsisNamed, needs: Mapping[str, PoolNeed]) -> str:
    """Return the phrase for named use: it is sold as hosts x participants, and neither makes up for the other."""
    hosts, each = needs["hosts"].seats or 0, needs["participants"].each or 0
    possible = hosts <= terms.hosts and each <= terms.participants
    crowd = f", {each} in one conference" if each > terms.participants or possible else ""
    needed = f"{'' if possible else 'not possible, '}{NEFSIS_NAMED.pools['hosts'].counted(hosts)}{crowd}"
    return f" {terms.hosts} \N{MULTIPLICATION SIGN} {terms.participants}: {needed}"


NEFSIS_CONCURRENT = ModelInfo(
    "nefsis-concurrent",
    "Nefsis concurrent",
    NefsisConcurrent,
    nefsis_concurrent,
    {"concurrent": PoolInfo("Concurrent users", "user", "users", limit="users")},
    product="Nefsis",
)
NEFSIS_NAMED = ModelInfo(
    "nefsis-named",
    "Nefsis named hosts",
    NefsisNamed,
    nefsis_named,
    {
        "hosts": PoolInfo("Named hosts", "host", "hosts", limit="hosts"),
        "participants": PoolInfo("Participants", "participant", "participants", limit="participants"),
    },
    product="Nefsis",
    sizing=_hosts_by_participants,
)
