"""From settings, and what a registrar granted, to the terms under which is decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from config.seat_rules import RuleSettings, names_of
from config.settings import Settings
from gateway.core.admission.terms import Terms
from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.names import split_names
from gateway.core.registration.grant import Grant
from gateway.licensing import MODELS, redistribution_interval, under

MOST_RESUMABLE = 10_000
"""Lost sessions of a cluster that wait, where `listen.max_connections` is not set: the same on every machine."""
FIRST_OFFSET = 946_684_800.0
"""The year 2000 in seconds UTC: what the clocks of a zone did before concerns no day that is counted."""
LAST_OFFSET = 4_102_444_800.0
"""The year 2100: what they show after it is not known."""
WEEK = 7 * 86400.0
"""Seconds; clocks are not changed twice within it."""


def with_grant(settings: Settings, grant: Grant | None) -> Settings:
    """Return the settings with the model and the limits that a license grants in place of the configured ones."""
    if grant is None:
        return settings
    licenses = {**settings.license.terms, grant.model: under(grant, settings.license.terms[grant.model])}
    return replace(settings, license=replace(settings.license, model=grant.model, terms=licenses))


def terms_of(settings: Settings, grant: Grant | None, models: tuple[str, ...], max_resumable: int | None) -> Terms:
    """Return the terms that settings and a grant come to, for the models that count.

    `max_resumable` bounds the lost sessions that wait; None in a cluster, where no machine says how many, and whose
    license is part of its terms.
    """
    registration, in_cluster = settings.registration, max_resumable is None
    settings = with_grant(settings, grant)
    license = settings.license
    extensions = () if grant is None else tuple(sorted(MODELS[grant.model].extensions(grant)))
    return Terms(
        model=license.model,
        licenses={name: license.terms[name] for name in models},
        extensions=extensions,
        enforce=license.enforce,
        overdraft=license.overdraft,
        shadow_leases=license.shadow_leases,
        on_duplicate=license.on_duplicate,
        queue_limit=license.queue_limit,
        queue_order=license.queue_order,
        idle_timeout=license.idle_timeout,
        preempt=license.preempt,
        returning=license.returning,
        rules=rules_of(settings),
        accounts_mode=settings.accounts.mode,
        home=settings.accounts.home,
        homes=tuple(settings.federation.homes),
        declared_only=settings.conferences.declared_only,
        max_memberships=settings.conferences.max_per_session,
        retry_after=settings.heartbeat.interval,
        resume_window=settings.heartbeat.resume_window,
        max_resumable=max_resumable or settings.listen.max_connections or MOST_RESUMABLE,
        high_water_window=settings.metrics.high_water_window,
        true_denial_window=settings.history.true_denial_window,
        offsets=offsets_of(settings.history.timezone),
        max_shares=0 if settings.history.names == "none" else settings.history.usage_rows_per_day,
        redistribute_every=redistribution_interval(license.terms),
        serial=registration.serial if in_cluster and registration.role == "agent" else "",
        grace=registration.grace,
    )


def rules_of(settings: Settings) -> tuple[RuleTerms, ...]:
    """Return the rules for seats, each with its name or its place."""
    rules = settings.license.rule
    return tuple(
        _rule_of(rule, name, settings.accounts.home) for rule, name in zip(rules, names_of(rules), strict=True)
    )


def _rule_of(rule: RuleSettings, name: str, own: str) -> RuleTerms:
    account, home = (*split_names(rule.account), "")[:2] if rule.account else ("", "")
    return RuleTerms(
        name,
        rule.pool,
        rule.group,
        account,
        "" if home == own else home,
        rule.network,
        rule.kind or "",
        rule.reserve,
        rule.most,
        rule.each or "",
    )


@lru_cache(maxsize=4)  # tens of milliseconds, and asked for with every reload and every answer of a registrar
def offsets_of(zone: str) -> tuple[tuple[float, float], ...]:
    """Return from which instant on (seconds UTC) the clocks of a time zone are how many seconds ahead; empty for UTC.

    Raises `ZoneInfoNotFoundError` or `ValueError` where there is no such zone.
    """
    known = ZoneInfo(zone)
    found: list[tuple[float, float]] = []
    for week in range(int((LAST_OFFSET - FIRST_OFFSET) / WEEK)):
        begin = FIRST_OFFSET + week * WEEK
        if not found:
            found.append((0.0, _ahead(known, begin)))
        if _ahead(known, begin + WEEK) != found[-1][1]:
            found.append(_change(known, begin, found[-1][1]))
    return () if found == [(0.0, 0.0)] else tuple(found)


def _change(zone: ZoneInfo, begin: float, ahead: float) -> tuple[float, float]:
    """Return the change of a zone's clocks in the week from `begin` on, to the second."""
    low, high = begin, begin + WEEK
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _ahead(zone, middle) == ahead else (low, middle)
    return high, _ahead(zone, high)


def _ahead(zone: ZoneInfo, wall: float) -> float:
    offset = datetime.fromtimestamp(wall, UTC).astimezone(zone).utcoffset()
    return (offset or timedelta()).total_seconds()


def counting_models(settings: Settings) -> tuple[str, ...]:
    """Return the models that count, the configured one first; a license of a registrar may name any."""
    license = settings.license
    any_model = tuple(MODELS) if settings.registration.role == "agent" else ()
    return tuple(dict.fromkeys((license.model, *license.shadows, *any_model)))


def cluster_terms(settings: Settings) -> Terms:
    """Return the terms of a node of a cluster: nothing in them depends on its machine."""
    return terms_of(settings, None, counting_models(settings), None)


def differences(one: Terms, other: Terms) -> list[str]:
    """Return what differs between two terms, for a person, such as `license.epop.users: 10, 20`."""
    return sorted(_differences(one.to_json(), other.to_json()))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name in dict.fromkeys((*one, *other)):
        a, b = one.get(name), other.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{above}{name}.")
        elif a != b and _plain(a) != _plain(b):
            yield f"{above}{name}: {a}, {b}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
