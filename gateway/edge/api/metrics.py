"""The API about metrics, as Prometheus reads them."""

from __future__ import annotations

import secrets
from importlib import metadata

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.core.registration.license_status import LicenseState
from gateway.edge.api.routes import READ, Route
from gateway.edge.cluster.node import STATES
from gateway.edge.server.runtime import Runtime
from metrics.cluster_families import ClusterView
from metrics.collector import GatewayCollector, ListenerView, RegistrationView, StoreView, View
from metrics.event_families import EventsView, WebhookView
from metrics.process import ProcessCollector

REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)


def registry_of(runtime: Runtime) -> CollectorRegistry:
    """Return what is scraped of a gateway and its process."""
    version = metadata.version("tallygate")
    counts_as = runtime.state.run if runtime.node is not None else secrets.token_hex(4)
    registry = CollectorRegistry()
    registry.register(GatewayCollector(lambda: _view(runtime, version, counts_as)))
    registry.register(ProcessCollector())
    return registry


@Route(
    "GET",
    "/metrics",
    scope=READ,
    open_if=lambda settings: settings.metrics.public,
    summary="Metrics for Prometheus.",
    media=("text/plain", "application/openmetrics-text"),
)
async def get_metrics(_: Runtime, request: web.Request) -> web.Response:
    """Show them in the format that is asked for."""
    registry, wanted = request.app[REGISTRY], request.headers.get(hdrs.ACCEPT, "")
    try:
        encode, content_type = choose_encoder(wanted if wanted.isascii() else "")
    except (TypeError, ValueError):  # not a version: such a header is ignored (RFC 9110, 12.5.1)
        encode, content_type = choose_encoder("")
    return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})


# -- what is read of the state -----------------------------------------------------------------------------------------


def _view(runtime: Runtime, version: str, counts_as: str) -> View:
    store, events = runtime.persistence.store, runtime.recent.events
    return View(
        snapshot=runtime.snapshot(),
        refusals=runtime.dispatcher.refusals,
        listeners=[
            ListenerView(
                transport=listener.transport,
                pending=listener.connections.waiting + len(listener.connections.queued),
                open=len(listener.connections) - len(listener.connections.pending) - len(listener.connections.queued),
                accepted=listener.accepted,
                heartbeats=listener.heartbeats,
                rejected=listener.rejected,
                closed=listener.closed,
                durations=listener.durations,
            )
            for listener in runtime.client_listeners
        ],
        connections_limit=runtime.budget.max_connections,
        store=StoreView(store.commits, store.pending, store.errors),
        events=EventsView(events.counts, events.dropped),
        webhooks=_webhooks(runtime),
        registration=_registration(runtime),
        cluster=_cluster(runtime),
        counts_as=counts_as,
        lag=runtime.ticker.lag,
        certificate_ends=runtime.certificate_ends,
        draining=runtime.draining,
        version=version,
        started=runtime.started,
    )


def _webhooks(runtime: Runtime) -> list[WebhookView]:
    now = runtime.clock.wall()
    return [
        WebhookView(
            name, *queue.totals, len(queue.waiting), 0.0 if queue.oldest is None else max(now - queue.oldest, 0.0)
        )
        for name, queue in runtime.persistence.outgoing.queues.items()
    ]


def _cluster(runtime: Runtime) -> ClusterView | None:
    if runtime.node is None:
        return None
    node, replica = runtime.node, runtime.node.replica
    silent = len(replica.nodes.silent(replica.life))
    return ClusterView(
        state=node.state,
        states=STATES,
        version=replica.version,
        lag=node.lag,
        clock_offset=node.time.offset,
        fences=node.fences,
        mismatches=replica.ring.mismatches,
        failures=replica.failures,
        late=runtime.replicated.late,
        over_share=runtime.replicated.over_share,
        nodes={"alive": len(replica.nodes.living) - silent, "silent": silent},
        etcd_size=node.etcd.health.size,
    )


def _registration(runtime: Runtime) -> RegistrationView:
    registration, service = runtime.registration, runtime.registrar
    shown, grant = registration.shown, registration.grant
    return RegistrationView(
        state=shown.state,
        states=tuple(LicenseState),
        verified=registration.status.accepted if grant is not None else None,
        shutdown_at=shown.shutdown_at,
        not_after=grant.not_after if grant is not None else None,
        checks=registration.checks,
        servers=len(service.registrar.conversations),
        served={**service.results, **service.listener.rejected},
        clones=service.registrar.clones,
    )
