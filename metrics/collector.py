"""The collector: renders one snapshot as Prometheus families.

Gauges are read from the live state at the instant of the scrape, so sums agree within one scrape; counters are totals
that only grow. Labels come from the configuration and from fixed tables, never from what a client said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway.core.admission.snapshot import Snapshot
from gateway.core.counting.session import KINDS
from gateway.core.wire.close_codes import ENDINGS
from metrics.cluster_families import ClusterView, cluster_families
from metrics.event_families import EventsView, WebhookView, event_families
from metrics.families import Samples, counter, gauge, histogram
from metrics.histogram import Histogram
from metrics.license_families import license_families

REJECTIONS = ("too_many_connections", "rate_limited", "draining", "handshake")
"""Reasons for which a socket is refused before it becomes a connection."""
REFUSALS = (
    "already_member",
    "not_member",
    "not_allowed",
    "no_such_conference",
    "conference_full",
    "conference_limit",
    "bad_credential",
    "keys_unavailable",
    "account_unknown",
    "duplicate",
    "banned",
    "unregistered",
    "draining",
    "store_unavailable",
    "rate_limited",
)
"""Reasons for which a request is refused, other than the limits and rules of a license."""


class ListenerView(NamedTuple):
    """One listener at one instant; everything but `pending` and `open` is a total."""

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
    """This gateway's own registration, and what its registrar does; times are in seconds UTC, None where unknown.

    `states` lists every state there is; `checks` and `served` are totals by result.
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
    """What a scrape shows: the snapshot, and what the edge adds to it. Times are in seconds UTC.

    `refusals` counts, by reason, the refusals that clients of this gateway were told and that are not a license's.
    """

    snapshot: Snapshot
    refusals: Mapping[str, int]
    listeners: Sequence[ListenerView]
    connections_limit: int
    store: StoreView
    events: EventsView
    webhooks: Sequence[WebhookView]
    registration: RegistrationView
    cluster: ClusterView | None
    counts_as: str
    """The same for gateways that count as one, and for no others."""
    lag: Histogram
    certificate_ends: Mapping[str, float]
    draining: bool
    version: str
    started: float


class GatewayCollector(Collector):
    """Calls `look` at every scrape, and renders the view that it returns."""

    def __init__(self, look: Callable[[], View]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Return no family: the registry asks when it is set up, before the gateway is open."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all families, in a stable order."""
        view = self._look()
        yield from _listeners(view)
        yield from _counts(view.snapshot)
        yield _refusals(view.refusals)
        yield from license_families(view.snapshot)
        yield from _registration(view.registration)
        yield from _store(view.store)
        yield from event_families(view.events, view.webhooks)
        if view.cluster is not None:
            yield from cluster_families(view.cluster)
        yield histogram(
            "event_loop_lag_seconds",
            "How late the event loop came to a timer that is due four times a second, in seconds.",
            (),
            {(): view.lag},
        )
        yield gauge(
            "certificate_end_timestamp_seconds",
            "Time at which the certificate for clients, or for operators, ends, in seconds UTC.",
            ("port",),
            {(port,): end for port, end in view.certificate_ends.items()},
        )
        yield gauge(
            "draining",
            "1 while the gateway drains: it sends its clients away and accepts no new ones.",
            (),
            {(): view.draining},
        )
        yield gauge(
            "build_info", "Always 1; the label has the version of the gateway.", ("version",), {(view.version,): 1}
        )
        yield gauge(
            "cluster_info",
            "Always 1; gateways with the same label count as one, and show the same of license, sessions, conferences.",
            ("cluster",),
            {(view.counts_as,): 1},
        )
        yield gauge("start_time_seconds", "Time at which the gateway started, in seconds UTC.", (), {(): view.started})


def _totals(known: Iterable[str], seen: Mapping[str, int]) -> dict[str, int]:
    return {**dict.fromkeys(known, 0), **seen}


def _listeners(view: View) -> Iterator[Metric]:
    listeners = view.listeners
    yield gauge(
        "connections",
        "Client connections by state: pending until the client is welcomed, then open.",
        ("transport", "state"),
        {
            (listener.transport, state): value
            for listener in listeners
            for state, value in (("pending", listener.pending), ("open", listener.open))
        },
    )
    yield gauge(
        "connections_limit",
        "Connections that there may be at once, of clients and of servers that register here.",
        (),
        {(): view.connections_limit},
    )
    yield counter(
        "connections_accepted",
        "Client connections accepted.",
        ("transport",),
        {(listener.transport,): listener.accepted for listener in listeners},
    )
    yield counter(
        "connections_rejected",
        "Client sockets refused before they became connections, by reason.",
        ("transport", "reason"),
        {
            (listener.transport, reason): count
            for listener in listeners
            for reason, count in _totals(REJECTIONS, listener.rejected).items()
        },
    )
    yield counter(
        "connections_closed",
        "Client connections that ended, by cause.",
        ("transport", "cause"),
        {
            (listener.transport, cause): count
            for listener in listeners
            for cause, count in _totals(ENDINGS, listener.closed).items()
        },
    )
    yield counter(
        "heartbeats",
        "Heartbeats of clients that were acknowledged.",
        ("transport",),
        {(listener.transport,): listener.heartbeats for listener in listeners},
    )
    yield histogram(
        "connection_duration_seconds",
        "Duration of client connections that ended, in seconds.",
        ("transport",),
        {(listener.transport,): listener.durations for listener in listeners},
    )


def _counts(snapshot: Snapshot) -> Iterator[Metric]:
    presence = {True: "awake", False: "asleep"}
    yield gauge(
        "sessions",
        "Sessions by kind of client and by presence.",
        ("kind", "presence"),
        {
            (kind, word): snapshot.sessions.get((kind, awake), 0)
            for kind in sorted(KINDS)
            for awake, word in presence.items()
        },
    )
    yield gauge("sessions_idle", "Sessions awake that nobody uses, in no live conference.", (), {(): snapshot.idle})
    yield gauge("accounts_connected", "Distinct accounts that have a session.", (), {(): snapshot.accounts})
    yield gauge("devices_connected", "Distinct devices that have a session.", (), {(): snapshot.devices})
    yield gauge(
        "conferences", "Conferences by state.", ("state",), {(state,): n for state, n in snapshot.conferences.items()}
    )
    yield gauge(
        "conference_members",
        "Distinct sessions that take part in a live conference, or wait in a scheduled one.",
        ("state",),
        {(state,): n for state, n in snapshot.members.items()},
    )


def _refusals(refusals: Mapping[str, int]) -> Metric:
    return counter(
        "requests_refused",
        "Requests of clients of this gateway that were refused for a reason that is not a license limit, by reason.",
        ("reason",),
        {(reason,): count for reason, count in _totals(REFUSALS, refusals).items()},
    )


def _registration(view: RegistrationView) -> Iterator[Metric]:
    yield gauge(
        "registration_state",
        "1 for the state that this gateway's own registration is in, 0 for the others.",
        ("state",),
        {(state,): state == view.state for state in view.states},
    )
    for name, text, instant in (
        ("last_verified", "Time at which the license was last verified", view.verified),
        ("shutdown", "Time at which service ends if the license is not verified before", view.shutdown_at),
        ("not_after", "Time at which the license ends", view.not_after),
    ):
        samples: Samples = {} if instant is None else {(): instant}
        yield gauge(f"registration_{name}_timestamp_seconds", f"{text}, in seconds UTC.", (), samples)
    yield counter(
        "registration_checks",
        "Attempts of this gateway to have its license verified, and messages that it did not believe, by result.",
        ("result",),
        {(each,): n for each, n in view.checks.items()},
    )
    yield gauge(
        "registrar_servers",
        "Servers that are connected to the registrar of this process and registered.",
        (),
        {(): view.servers},
    )
    yield counter(
        "registrar_checks",
        "Registrations and verifications that this registrar answered, and connections that it refused, by result.",
        ("result",),
        {(each,): n for each, n in view.served.items()},
    )
    yield counter(
        "registrar_clones_suspected",
        "Times that two installations seemed to use the same license.",
        (),
        {(): view.clones},
    )


def _store(store: StoreView) -> Iterator[Metric]:
    yield histogram(
        "store_commit_seconds",
        "Duration of the commits of the store that succeeded, in seconds.",
        (),
        {(): store.commits},
    )
    yield gauge("store_pending", "Writes that wait to be committed to the store.", (), {(): store.pending})
    yield counter(
        "store_errors",
        "Failures of the store: a commit that failed or took longer than store.deadline, a file that was found gone, "
        "and each attempt after that to write all of it again that failed.",
        (),
        {(): store.errors},
    )
