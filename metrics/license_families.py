"""The metrics of the pools: what is used, granted, released and denied, in every license model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from gateway.core.admission.snapshot import PoolView, RuleView, Snapshot
from gateway.core.counting.license_model import FORGOTTEN
from gateway.core.counting.waits import BOUNDS
from metrics.families import counter, gauge, histogram
from metrics.histogram import Histogram


def _waits(pool: PoolView) -> Histogram:
    histogram = Histogram(BOUNDS)
    histogram.counts, histogram.total = list(pool.waits), pool.waited_seconds
    return histogram


def _rules(rules: Sequence[RuleView]) -> Iterator[Metric]:
    label = ("model", "pool", "rule")
    at = {(rule.model, rule.pool, rule.rule): rule for rule in rules}
    yield gauge(
        "license_rule_used",
        "Keys of the pool that count under the rule; where that is for each account, device or address, of the one "
        "with most.",
        label,
        {key: rule.used for key, rule in at.items()},
    )
    yield gauge(
        "license_rule_limit",
        "Keys that the rule allows at most; absent where it allows any number.",
        label,
        {key: rule.limit for key, rule in at.items() if rule.limit is not None},
    )
    yield gauge(
        "license_rule_kept",
        "Seats of the pool that the rule keeps from others, and that are not used.",
        label,
        {key: rule.kept for key, rule in at.items() if rule.reserve},
    )


def license_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield the families of every pool of every model."""
    pools = snapshot.pools
    label = ("model", "pool")
    at = {(pool.model, pool.pool): pool for pool in pools}
    yield gauge(
        "license_used",
        "Use of the pool: distinct keys that hold a seat.",
        label,
        {key: pool.used for key, pool in at.items()},
    )
    yield gauge(
        "license_limit",
        "Limit of the pool; absent where it has none.",
        label,
        {key: pool.limit for key, pool in at.items() if pool.limit is not None},
    )
    yield gauge(
        "license_reserved",
        "Keys of the pool that have a reservation, connected or not.",
        label,
        {key: pool.reserved for key, pool in at.items()},
    )
    yield gauge(
        "license_returning",
        "Use of the pool that is kept for those who were connected before a restart or the end of a gateway.",
        label,
        {key: pool.returning for key, pool in at.items()},
    )
    yield gauge(
        "license_overdraft_used",
        "Use of the pool above its limit.",
        label,
        {key: pool.overdraft_used for key, pool in at.items()},
    )
    yield gauge(
        "license_high_water",
        "Highest use of the pool over the last metrics.high_water_window.",
        label,
        {key: pool.high_water for key, pool in at.items()},
    )
    yield gauge(
        "license_leases",
        "Leases of the pool, by kind: seats that outlive their sessions.",
        (*label, "kind"),
        {(*key, kind): count for key, pool in at.items() for kind, count in pool.leases.items()},
    )
    yield counter(
        "license_seat_seconds",
        "Use of the pool added up over time, in seat-seconds; its rate is the exact mean use.",
        label,
        {key: pool.seat_seconds for key, pool in at.items()},
    )
    yield counter(
        "license_full_seconds",
        "Time that the pool was at or above its limit, in seconds.",
        label,
        {key: pool.full_seconds for key, pool in at.items()},
    )
    yield counter(
        "license_grants", "Seats of the pool that were granted.", label, {key: pool.grants for key, pool in at.items()}
    )
    yield counter(
        "license_releases",
        "Seats of the pool that were released, by cause.",
        (*label, "cause"),
        {(*key, cause): count for key, pool in at.items() for cause, count in pool.releases.items()},
    )
    yield counter(
        "license_denials",
        "Requests that the license denied, by reason; for a model that refuses nobody those that it would have denied.",
        (*label, "reason"),
        {(*key, reason): count for key, pool in at.items() for reason, count in pool.denials.items()},
    )
    yield counter(
        "license_true_denials",
        "Denials that no grant followed within history.true_denial_window; for a model that refuses nobody all.",
        (*label, "reason"),
        {(*key, reason): count for key, pool in at.items() for reason, count in pool.true_denials.items()},
    )
    queues = {key: pool for key, pool in at.items() if pool.model == snapshot.model}
    yield gauge(
        "license_queue_length",
        "Requests that wait in line for a seat of the pool.",
        label,
        {key: pool.waiting for key, pool in queues.items()},
    )
    yield histogram(
        "license_queue_wait_seconds",
        "Time in line of the requests that were granted after it, in seconds.",
        label,
        {key: _waits(pool) for key, pool in queues.items()},
    )
    yield counter(
        "license_queue_left",
        "Requests that left the line of the pool: granted, timed_out, gave_up, or refused by a rule.",
        (*label, "outcome"),
        {(*key, outcome): count for key, pool in queues.items() for outcome, count in pool.left.items()},
    )
    yield from _rules(snapshot.rules)
    enforced = snapshot.model if snapshot.enforce else None
    yield counter(
        "license_shadow_forgotten",
        "Seats that a model that refuses nobody has forgotten, beyond license.shadow_leases; its use may be too low.",
        label,
        {
            key: pool.releases[FORGOTTEN]
            for key, pool in at.items()
            if pool.model != enforced and FORGOTTEN in pool.releases
        },
    )
    yield gauge(
        "license_enforced",
        "1 for the enforced model, 0 for the others.",
        ("model",),
        {(model,): model == enforced for model in dict.fromkeys(pool.model for pool in pools)},
    )
