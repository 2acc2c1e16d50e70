"""TrueConf Server: online, PRO, guest and gateway licenses (TrueConf, Licensing).

Counted once: `online` every (account, device) that is signed in and awake; `pro` every account that takes part in a
group conference, and for 24 hours after; `guest` every connection without an account in a public conference; `gateway`
every SIP, H.323 or RTSP connection in a conference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.core.counting.license_model import (
    CONFERENCE_ENDS,
    CONNECTION_ENDS,
    LEASE_ENDS,
    PREEMPTED,
    SLEEP_ENDS,
    Attempt,
    Extension,
    Holdings,
    LicenseModel,
    PoolTerms,
    Refusal,
)
from gateway.core.counting.session import Seat, Session
from gateway.core.formats import utc
from gateway.core.registration.grant import Grant
from gateway.core.setting_kinds import Count, PositiveSeconds, setting
from gateway.licensing.model_info import ModelInfo, PoolInfo

USER_RIGHTS = (
    "p2p_call",
    "p2p_collaboration",
    "messenger",
    "finished_conference_chat",
    "address_book",
    "schedule_conference",
    "prepare_slides",
)
PUBLIC_RIGHTS = (
    "join_public_conference",
    "public_conference_chat",
    "public_conference_collaboration",
    "moderate_public_conference",
)
INTERNAL_RIGHTS = (
    "internal_conference_chat",
    "join_internal_conference",
    "moderate_internal_conference",
    "internal_conference_collaboration",
    "instant_conference",
)


@dataclass(frozen=True, slots=True)
class TrueConf:
    """Settings of `[license.trueconf]`; None takes the edition's default."""

    edition: Literal["free", "server", "enterprise"] = setting("server", help="The edition the license is for.")
    support: Literal["basic", "extended", "full"] = setting(
        "basic", help="Technical support package; live streaming needs extended or full."
    )
    pro: Count = setting(
        10,
        live=True,
        help="PRO users: accounts that may take part in group conferences. No limit in the enterprise edition.",
    )
    online: Count | None = setting(
        None,
        live=True,
        help="Online users: devices signed in at once. Default: pro x 3 / 2 rounded up; free edition 1000.",
    )
    online_packs: tuple[Literal[50, 100, 200, 300, 400, 500], ...] = setting(
        (), live=True, help="Extra packs of online users, added to `online`."
    )
    guest: Count = setting(1, live=True, help="Guests in public conferences at once.")
    gateway: Count = setting(1, live=True, help="SIP, H.323 and RTSP endpoints in conferences at once.")
    sdk: bool = setting(False, help="Whether SDK client applications may connect.")
    calendar: bool = setting(False, help="Whether the corporate calendar is owned; it is licensed separately.")
    ai: bool = setting(False, help="Whether the licenses for the AI server are owned.")
    pro_lease: PositiveSeconds = setting(24 * 3600.0, help="How long a temporary PRO license outlives the last leave.")
    redistribute_every: PositiveSeconds = setting(
        24 * 3600.0, help="Time between redistributions of permanent PRO licenses, counted from the start."
    )
    allow_pro_requests: bool = setting(
        False, help="Whether a user may ask for a temporary PRO license without joining a conference."
    )
    max_conferences: Count | None = setting(
        None, live=True, help="Live group conferences at once, 0 for no limit. Default: no limit; free edition 1."
    )
    max_participants: Count | None = setting(
        None,
        live=True,
        help="Members of one live group conference, 0 for no limit. Default: no limit; free edition 10.",
    )


FREE = "free"
"""The edition that needs the connection to the registration server."""
FREE_PARTICIPANTS = 10
"""Members of the one conference of the free edition."""
SUPPORT = {"full": "support-full", "extended": "support-extended"}
"""The packages of technical support that can be sold, the better first, and their names in a license."""
PACKS = {f"online-pack-{size}": size for size in (50, 100, 200, 300, 400, 500)}
"""The packs of online users that can be sold, by their names in a license, which has each at most once."""
OWNED = ("sdk", "calendar", "ai")
"""What a license or the configuration says of it."""
POOLS = ("online", "pro", "guest", "gateway")
"""The pools, in the order in which they are checked and listed."""


def sold(terms: TrueConf, grant: Grant) -> TrueConf:
    """Return the terms under a license that was sold: its edition and extensions.

    The free edition has bounds of its own; the operator may configure narrower ones.
    """
    names = _extensions_of(grant)
    changes: dict[str, Any] = {
        "edition": grant.edition,
        "support": next((level for level, name in SUPPORT.items() if name in names), "basic"),
        "online_packs": tuple(size for name, size in PACKS.items() if name in names),
        **{name: name in names for name in OWNED},
    }
    if grant.edition == FREE:
        stricter = 0 < (terms.max_participants or 0) < FREE_PARTICIPANTS
        changes |= {"max_conferences": None, "max_participants": terms.max_participants if stricter else None}
    return replace(terms, **changes)


def _extensions_of(grant: Grant) -> set[str]:
    """Return the extensions that a license names; the free edition has neither the SDK nor live streaming (COUNTING.md,
    TrueConf).
    """
    return set(grant.extensions) - ({"sdk", "streaming", *SUPPORT.values()} if grant.edition == FREE else set())


def trueconf(terms: TrueConf) -> LicenseModel:
    """Return the model: four pools; what an edition or an extension forbids is refused before any pool is checked."""
    free = terms.edition == FREE
    max_conferences = _or(terms.max_conferences, 1 if free else 0)
    max_participants = _or(terms.max_participants, FREE_PARTICIPANTS if free else 0)
    online = _or(terms.online, 1000 if free else math.ceil(terms.pro * 3 / 2)) + sum(terms.online_packs)

    def forbids(attempt: Attempt, ledger: Holdings) -> Refusal | None:
        session, room = attempt.session, attempt.conference
        strange = (session.kind == "sdk" and not terms.sdk) or (free and session.home)
        if strange and (ledger.enforced or room is None):  # a shadow has recorded it at hello
            return _refusal("extension_missing", attempt)
        if room is None:
            return None
        if attempt.creates and session.role != "user":
            return _refusal("no_such_conference", attempt)
        if session.role == "guest" and (room.access == "internal" or not room.group):
            return _refusal("not_allowed", attempt)
        if free and room.server and session.role == "user":
            return _refusal("extension_missing", attempt)
        return None

    def conference(attempt: Attempt, _: Holdings) -> Refusal | None:
        room = attempt.conference
        if room is None or not room.group:
            return None
        live, members = attempt.live_groups, len(room.members)
        if max_conferences and attempt.opens and live >= max_conferences:
            return Refusal("conference_limit", _pool_of(attempt.session, attempt.request), live, max_conferences)
        joins = attempt.request == "join" and (room.live or attempt.opens)
        if max_participants and joins and members >= max_participants:
            return Refusal("conference_full", _pool_of(attempt.session, attempt.request), members, max_participants)
        return None

    def entitlements(session: Session, holdings: Holdings) -> dict[str, Any]:
        pools = holdings.pools_held(session)
        account = session.account if session.role == "user" else None
        held = account is not None and ("pro" in pools or holdings.holds("pro", account))
        if held and "pro" not in pools:
            pools = [name for name in POOLS if name == "pro" or name in pools]
        expires = holdings.lease_expires("pro", account) if account is not None else None
        return {
            "seats": pools,
            "rights": _rights(session, pro=held or terms.edition == "enterprise"),
            "pro_expires": utc(expires) if expires is not None else None,
        }

    return LicenseModel(
        "trueconf",
        pools=(
            PoolTerms(
                "online",
                online,
                (*CONNECTION_ENDS, *SLEEP_ENDS),
                ("pool_full", "extension_missing", "no_such_conference", "conference_limit", "conference_full"),
            ),
            PoolTerms(
                "pro",
                None if terms.edition == "enterprise" else terms.pro,
                (*LEASE_ENDS, PREEMPTED),
                ("pool_full", "extension_missing", "conference_limit", "conference_full"),
                lease=terms.pro_lease,
            ),
            PoolTerms(
                "guest",
                terms.guest,
                CONFERENCE_ENDS,
                (
                    "pool_full",
                    "extension_missing",
                    "no_such_conference",
                    "not_allowed",
                    "conference_limit",
                    "conference_full",
                ),
            ),
            PoolTerms(
                "gateway",
                terms.gateway,
                CONFERENCE_ENDS,
                ("pool_full", "extension_missing", "no_such_conference", "conference_limit", "conference_full"),
            ),
        ),
        seats=seats,
        forbids=forbids,
        conference_rule=conference if max_conferences or max_participants else None,
        entitlements=entitlements,
        account_pool="pro",
        allows_reservations=not free,
        allows_requests=lambda session: terms.allow_pro_requests and session.role == "user",
        edition=terms.edition,
        extensions=_extensions(terms),
    )


def seats(session: Session) -> tuple[Seat, ...]:
    """Return the seats of a session; federated visitors take none (COUNTING.md, TrueConf)."""
    account = session.account if not session.home else None
    online: tuple[Seat, ...] = ()
    if account is not None and session.awake:
        online = (("online", session.device_key or (account, session.number)),)
    if session.role == "endpoint":
        return (*online, ("gateway", session.number)) if session.takes_part else online
    for room in session.conferences:
        if not room.live:
            continue
        if account is not None and room.group:
            return (*online, ("pro", account))
        if session.account is None and room.access == "public":
            return (("guest", session.number),)
    return online


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _refusal(reason: str, attempt: Attempt) -> Refusal:
    return Refusal(reason, _pool_of(attempt.session, attempt.request))


def _pool_of(session: Session, request: str) -> str:
    """Return the pool under which a refusal without a pool is counted: the one that the session would need."""
    if session.role == "endpoint":
        return "gateway"
    if session.account is None:
        return "guest"
    return "online" if session.home or request == "hello" else "pro"


def _rights(session: Session, *, pro: bool) -> list[str]:
    """Return the rights in the vendor's table, which names only client applications of users and guests."""
    if session.role == "user":
        return [*USER_RIGHTS, *(PUBLIC_RIGHTS + INTERNAL_RIGHTS if pro else ())]
    return list(PUBLIC_RIGHTS) if session.role == "guest" else []


def rights(edition: str | None) -> dict[str, list[str]]:
    """Return the vendor's table for people: what a PRO user, an online user and a guest may do in an edition."""
    everything = [*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS]
    online = everything if edition == "enterprise" else list(USER_RIGHTS)
    return {"pro": everything, "online": online, "guest": list(PUBLIC_RIGHTS)}


def _extensions(terms: TrueConf) -> tuple[Extension, ...]:
    """Return all extensions, as in the first table of the vendor's page."""
    paid = terms.edition != FREE
    enterprise = terms.edition == "enterprise"
    return (
        Extension("ldap", "LDAP/Active Directory", "free", True),
        Extension(
            "gateway",
            "SIP/H.323/RTSP gateway",
            "gateway connections are purchased; 1 in the free edition",
            terms.gateway > 0,
        ),
        Extension(
            "guests", "Public conferences", "guest connections are purchased; 1 in the free edition", terms.guest > 0
        ),
        Extension("interpretation", "Simultaneous interpretation", "free", True),
        Extension("calendar", "Corporate calendar", "licensed separately; a free version is available", terms.calendar),
        Extension("ai", "AI server", "licenses for the integration module and for the server", terms.ai),
        Extension("federation", "Federation", "any paid license", paid),
        Extension("watermark", "Watermark", "any paid license", paid),
        Extension(
            "streaming", "Live streaming", "extended or full technical support", paid and terms.support != "basic"
        ),
        Extension("multicast", "UDP multicast", "any paid license", paid),
        Extension("dlp", "DLP", "included in Enterprise", enterprise),
        Extension("directory", "Directory", "included in Enterprise", enterprise),
        Extension("license-manager", "License Manager", "included in Enterprise", enterprise),
        Extension("border-controller", "Border Controller", "included in Enterprise", enterprise),
        Extension("sdk", "SDK applications", "on request", terms.sdk),
    )


TRUECONF = ModelInfo(
    "trueconf",
    "TrueConf",
    TrueConf,
    trueconf,
    {
        "pro": PoolInfo("PRO users", "PRO", "PRO", limit="pro"),
        "online": PoolInfo("Online users", "online", "online", limit="online"),
        "guest": PoolInfo("Guests", "guest", "guests", limit="guest"),
        "gateway": PoolInfo("Gateway connections", "gateway connection", "gateway connections", limit="gateway"),
    },
    editions=("server", FREE, "enterprise"),
    needs_connection=(FREE,),
    sold_by_default=True,
    sold=sold,
    extensions=_extensions_of,
    further_extensions=(*SUPPORT.values(), *PACKS),
    rights=rights,
    redistribute_every="redistribute_every",
)
