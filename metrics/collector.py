"""The collector: one snapshot, rendered as Prometheus families.

Gauges are read from live state at the instant of the scrape, so sums agree within one scrape; counters are totals that
only grow. Labels come from the configuration and from fixed tables, never from what a client said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.core.admission.snapshot import Snapshot
from gateway.core.counting.session import KINDS
from gateway.core.wire.close_codes import ENDINGS
from metrics.histogram import Histogram

PREFIX = "tallygate_"
REJECTIONS = ("too_many_connections", "rate_limited", "draining", "handshake")
"""Why a socket can be turned away before it is a connection."""
REFUSALS = (
    "already_member",
    "not_member",
    "not_allowed",
    "no_such_conference",
    "conference_full",
    "bad_credential",
    "account_unknown",
    "duplicate",
    "banned",
    "unregistered",
    "draining",
    "store_unavailable",
)
"""Refusals that are no license's."""


class ListenerView(NamedTuple):
    """One door at one instant; everything but `pending` and `open` is a total."""

    transport: str
    pending: int
    open: int
    accepted: int
    heartbeats: int
    rejected: Mapping[str, int]
    closed: Mapping[str, int]
    durations: Histogram


class StoreView(NamedTuple):
    """The store at one instant: how long commits took in seconds, writes not committed yet, and failures so far."""

    commits: Histogram
    pending: int
    errors: int


class RegistrationView(NamedTuple):
    """This gateway's own registration, and what its registrar does; times are in seconds UTC, None where there is none.

    `states` are all there are; `checks` and `served` are totals by result.
    """

    state: str
    states: Sequence[str]
    verified: float | None
    shutdown_at: float | None
    not_after: float | None
    checks: Mapping[str, int]
    servers: int
    served: Mapping[str, int]
    clones: int


class View(NamedTuple):
    """What a scrape shows: the snapshot and what the edge adds to it. Times are in seconds UTC."""

    snapshot: Snapshot
    listeners: Sequence[ListenerView]
    store: StoreView
    registration: RegistrationView
    lag: Histogram
    draining: bool
    version: str
    started: float


class GatewayCollector(Collector):
    """Renders what `look` returns, at every scrape."""

    def __init__(self, look: Callable[[], View]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Nothing: a look at registration would be a look at a gateway that is not open yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, in a stable order."""
        view = self._look()
        yield from _listeners(view)
        yield from _counts(view.snapshot)
        yield from _license(view.snapshot)
        yield from _registration(view.registration)
        yield from _store(view.store)
        yield _histogram("event_loop_lag_seconds", "How late the event loop was.", (), {(): view.lag})
        yield _gauge("draining", "1 while clients are being sent away.", (), {(): view.draining})
        yield _gauge("build_info", "1, with the version.", ("version",), {(view.version,): 1})
        yield _gauge("start_time_seconds", "When the gateway started, in seconds UTC.", (), {(): view.started})


Samples = Mapping[tuple[str, ...], float]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], samples: Mapping[tuple[str, ...], Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for values, histogram in samples.items():
        family.add_metric(values, histogram.cumulative(), histogram.total)
    return family


def _totals(known: Iterable[str], seen: Mapping[str, int]) -> dict[str, int]:
    return {**dict.fromkeys(known, 0), **seen}


def _listeners(view: View) -> Iterator[Metric]:
    listeners = view.listeners
    yield _gauge(
        "connections",
        "Client connections.",
        ("transport", "state"),
        {
            (listener.transport, state): value
            for listener in listeners
            for state, value in (("pending", listener.pending), ("open", listener.open))
        },
    )
    yield _counter(
        "connections_accepted",
        "Connections accepted.",
        ("transport",),
        {(listener.transport,): listener.accepted for listener in listeners},
    )
    yield _counter(
        "connections_rejected",
        "Sockets turned away at the door.",
        ("transport", "reason"),
        {
            (listener.transport, reason): count
            for listener in listeners
            for reason, count in _totals(REJECTIONS, listener.rejected).items()
        },
    )
    yield _counter(
        "connections_closed",
        "Connections that ended, by cause.",
        ("transport", "cause"),
        {
            (listener.transport, cause): count
            for listener in listeners
            for cause, count in _totals(ENDINGS, listener.closed).items()
        },
    )
    yield _counter(
        "heartbeats",
        "Heartbeats answered.",
        ("transport",),
        {(listener.transport,): listener.heartbeats for listener in listeners},
    )
    yield _histogram(
        "connection_duration_seconds",
        "How long connections lasted.",
        ("transport",),
        {(listener.transport,): listener.durations for listener in listeners},
    )


def _counts(snapshot: Snapshot) -> Iterator[Metric]:
    presence = {True: "awake", False: "asleep"}
    yield _gauge(
        "sessions",
        "Sessions by kind and presence.",
        ("kind", "presence"),
        {
            (kind, word): snapshot.sessions.get((kind, awake), 0)
            for kind in sorted(KINDS)
            for awake, word in presence.items()
        },
    )
    yield _gauge("accounts_connected", "Distinct accounts with a session.", (), {(): snapshot.accounts})
    yield _gauge("devices_connected", "Distinct devices with a session.", (), {(): snapshot.devices})
    yield _gauge("conferences", "Conferences.", ("state",), {(state,): n for state, n in snapshot.conferences.items()})
    yield _gauge(
        "conference_members",
        "Distinct sessions that take part, or wait.",
        ("state",),
        {(state,): n for state, n in snapshot.members.items()},
    )
    yield _counter(
        "requests_refused",
        "Refusals that are no license's.",
        ("reason",),
        {(reason,): count for reason, count in _totals(REFUSALS, snapshot.refusals).items()},
    )


def _registration(view: RegistrationView) -> Iterator[Metric]:
    yield _gauge(
        "registration_state",
        "1 for the state of this gateway's own registration.",
        ("state",),
        {(state,): state == view.state for state in view.states},
    )
    for name, text, instant in (
        ("last_verified", "When the license was last verified", view.verified),
        ("shutdown", "When service ends unless the registration comes back", view.shutdown_at),
        ("not_after", "When the license ends", view.not_after),
    ):
        samples: Samples = {} if instant is None else {(): instant}
        yield _gauge(f"registration_{name}_timestamp_seconds", f"{text}, in seconds UTC.", (), samples)
    yield _counter(
        "registration_checks", "Attempts to be verified.", ("result",), {(each,): n for each, n in view.checks.items()}
    )
    yield _gauge("registrar_servers", "Servers that are connected and registered.", (), {(): view.servers})
    yield _counter(
        "registrar_checks", "Checks of servers.", ("result",), {(each,): n for each, n in view.served.items()}
    )
    yield _counter("registrar_clones_suspected", "Installations that looked like one of two.", (), {(): view.clones})


def _store(store: StoreView) -> Iterator[Metric]:
    yield _histogram("store_commit_seconds", "How long commits of the store took.", (), {(): store.commits})
    yield _gauge("store_pending", "Writes that are not committed yet.", (), {(): store.pending})
    yield _counter("store_errors", "Failures of the store.", (), {(): store.errors})


def _license(snapshot: Snapshot) -> Iterator[Metric]:
    pools = snapshot.pools
    label = ("model", "pool")
    at = {(pool.model, pool.pool): pool for pool in pools}
    yield _gauge("license_used", "Distinct keys in the pool.", label, {key: pool.used for key, pool in at.items()})
    yield _gauge(
        "license_limit",
        "Keys the pool may hold; absent without a limit.",
        label,
        {key: pool.limit for key, pool in at.items() if pool.limit is not None},
    )
    yield _gauge(
        "license_reserved",
        "Keys that hold their seat, connected or not.",
        label,
        {key: pool.reserved for key, pool in at.items()},
    )
    yield _gauge(
        "license_overdraft_used",
        "Keys above the limit.",
        label,
        {key: pool.overdraft_used for key, pool in at.items()},
    )
    yield _gauge(
        "license_high_water",
        "Highest use in the rolling window.",
        label,
        {key: pool.high_water for key, pool in at.items()},
    )
    yield _gauge(
        "license_leases",
        "Seats that outlive their sessions.",
        (*label, "kind"),
        {(*key, kind): count for key, pool in at.items() for kind, count in pool.leases.items()},
    )
    yield _counter(
        "license_seat_seconds",
        "Integral of use over time: its rate is the exact mean use.",
        label,
        {key: pool.seat_seconds for key, pool in at.items()},
    )
    yield _counter(
        "license_full_seconds",
        "Time at the limit.",
        label,
        {key: pool.full_seconds for key, pool in at.items()},
    )
    yield _counter("license_grants", "Seats granted.", label, {key: pool.grants for key, pool in at.items()})
    yield _counter(
        "license_releases",
        "Seats released, by cause.",
        (*label, "cause"),
        {(*key, cause): count for key, pool in at.items() for cause, count in pool.releases.items()},
    )
    yield _counter(
        "license_denials",
        "Denials; for a model in shadow what it would have refused.",
        (*label, "reason"),
        {(*key, reason): count for key, pool in at.items() for reason, count in pool.denials.items()},
    )
    yield _counter(
        "license_true_denials",
        "Denials that no grant followed in time; for a model in shadow, which turns nobody away, all of them.",
        (*label, "reason"),
        {(*key, reason): count for key, pool in at.items() for reason, count in pool.true_denials.items()},
    )
    enforced = snapshot.model if snapshot.enforce else None
    yield _gauge(
        "license_enforced",
        "1 for the enforced model.",
        ("model",),
        {(model,): model == enforced for model in dict.fromkeys(pool.model for pool in pools)},
    )
