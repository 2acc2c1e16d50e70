"""The settings of what is recorded, and how long it is kept: one frozen dataclass for each section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from config.values import TimeZone
from gateway.core.setting_kinds import Duration, Positive, PositiveSeconds, Range, Seconds, setting


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Settings of `[history]`: what reports are made from."""

    keep: PositiveSeconds = setting(
        400 * 86400.0, help="How long use and denials are kept; denials no longer than `denials.keep`."
    )
    names: Literal["names", "pseudonyms", "none"] = setting(
        "names",
        help="How the stored history of use and refusals names persons: by name; by a keyed hash of it, with the key "
        "in the store, by which they can be told apart; or not at all. Present connections always have names.",
    )
    rows_per_name: Positive = setting(
        600,
        help="Ended seats, and refusals, that are kept one by one of each hour, pool and name; all are added up.",
    )
    rows_per_pool: Positive = setting(50_000, help="The same of each hour and pool, whatever the names.")
    recent: Annotated[float, Duration(low=60.0, high=86400.0)] = setting(
        3600.0, help="How long use is kept in memory second by second, for the curves of the operators' page."
    )
    recent_sessions: Positive = setting(5000, help="Ended sessions, the latest, that are kept in memory for the page.")
    true_denial_window: Seconds = setting(
        60.0, help="A refusal followed by a grant within this time was no true denial."
    )
    timezone: TimeZone = setting(
        "UTC", live=True, help='Time zone of the days by which the use of persons is added up, such as "Europe/Berlin".'
    )
    usage_rows_per_day: Positive = setting(
        100_000,
        live=True,
        help="Pairs of a person and a pool whose use is kept apart on a day; the use of more is charged to nobody.",
    )


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Settings of `[events]`: what happened lately, one after the other."""

    kept: Positive = setting(
        10_000, help="Events, the latest, that are kept in memory for `tallygate events` and `/api/events`."
    )
    thresholds: tuple[Annotated[int, Range(1, 99)], ...] = setting(
        (80, 95),
        live=True,
        help="Use of a pool, in percent of its limit, at which there is an event `threshold.reached`; "
        "`threshold.left` comes when it has fallen more than 5 points below.",
    )


@dataclass(frozen=True, slots=True)
class DenialSettings:
    """Settings of `[denials]`: who was refused."""

    keep: Seconds = setting(
        0.0, help="How long refusals are kept one by one, who, when and why; 0 s: as long as `history.keep`."
    )


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings of `[audit]`: the audit log."""

    keep: Seconds = setting(0.0, help="How long entries of the audit log are kept; 0 s: for ever. The oldest go first.")
