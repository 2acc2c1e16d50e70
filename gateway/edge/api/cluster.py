"""The API about the cluster that this gateway is a node of."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from aiohttp import web

from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import Count
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.server.runtime import Runtime

NOTICED = 0.2
"""Seconds by which a node is behind before a page shows that: less is the way to the log and back."""


class NodeDocument(TypedDict):
    """A node that lives, as the log knows it."""

    name: str
    incarnation: str
    lag_seconds: Annotated[
        float, "By how much it was behind the log at its last entry; for this node, by how much it is."
    ]
    silent_seconds: Annotated[float, "Time of the log since its last entry."]
    connections: Annotated[int, "Sessions that are connected to it."]
    leader: Annotated[bool, "Whether it does what is done once for all."]


class ClusterDocument(TypedDict):
    """The cluster, as this node sees it; without a cluster only `state` `off`."""

    state: Annotated[str, "`off`, `following`, `active`, `slow`, or `fenced`."]
    name: str
    cluster: str
    version: Count
    revision: Count
    digest: str
    lag_seconds: Annotated[
        float, "For how long an entry of this node has been on its way; of a standby, how late it is."
    ]
    clock_offset_seconds: Annotated[float, "By how much this machine's clock is ahead of the time of the log."]
    fences: Annotated[int, "Times that this node had to fall silent."]
    mismatches: Annotated[int, "Entries of others that told another digest."]
    failures: Annotated[int, "Commands that failed on every node."]
    late: Annotated[int, "Commands of this node that were not decided in time."]
    etcd_bytes: Annotated[int, "Size of the largest database among the members of etcd."]
    etcd_alarms: Annotated[list[str], "What is the matter with its members, such as no room, when it was asked last."]
    nodes: list[NodeDocument]


@Route("GET", "/api/cluster", scope=READ, summary="The cluster that this gateway is a node of.", answer=ClusterDocument)
async def get_cluster(runtime: Runtime, _: web.Request) -> web.Response:
    """Show it."""
    return web.json_response(document(runtime))


def document(runtime: Runtime) -> ClusterDocument:
    """Return what is told of the cluster."""
    node = runtime.node
    if node is None:
        return ClusterDocument(
            state="off", name="", cluster="", version=0, revision=0, digest="", lag_seconds=0.0,
            clock_offset_seconds=0.0, fences=0, mismatches=0, failures=0, late=0, etcd_bytes=0, etcd_alarms=[],
            nodes=[],
        )  # fmt: skip
    replica = node.replica
    return ClusterDocument(
        state=node.state,
        name=node.name,
        cluster=replica.cluster,
        version=replica.seen.version,
        revision=replica.revision,
        digest=replica.seen.digest,
        lag_seconds=round(node.lag, 3),
        clock_offset_seconds=round(node.time.offset, 3),
        fences=node.fences,
        mismatches=replica.ring.mismatches,
        failures=replica.failures,
        late=runtime.replicated.late,
        etcd_bytes=node.etcd.health.size,
        etcd_alarms=list(node.etcd.health.alarms),
        nodes=_nodes(node),
    )


def cluster_in_short(runtime: Runtime) -> dict[str, Any] | None:
    """Return what a page shows of the cluster all the time; None where there is none. Seconds are 0 below what is
    usual, lest the page be told of them each second.
    """
    node = runtime.node
    if node is None:
        return None
    silent = {each.incarnation for each in node.replica.nodes.silent(node.replica.life)}
    return {
        "state": node.state,
        "name": node.name,
        "lag": _noticed(node.lag),
        "nodes": [
            {
                "name": each["name"],
                "connections": each["connections"],
                "lag": _noticed(each["lag_seconds"]),
                "silent": each["silent_seconds"] if each["incarnation"] in silent else 0.0,
                "leader": each["leader"],
            }
            for each in _nodes(node)
        ],
        "mismatches": node.replica.ring.mismatches,
        "etcd_alarms": node.etcd.health.alarms,
    }


def _noticed(seconds: float) -> float:
    """Return a lag as a page is told it: rounded, and 0 where it is usual."""
    return round(seconds, 1) if seconds > NOTICED else 0.0


def _nodes(node: ClusterNode) -> list[NodeDocument]:
    replica = node.replica
    held: dict[str, int] = {}
    for session in replica.state.sessions.by_number.values():
        held[session.node] = held.get(session.node, 0) + 1
    leader = replica.nodes.leader()
    return [
        NodeDocument(
            name=each.name,
            incarnation=each.incarnation,
            lag_seconds=round(_lag(node, each.incarnation), 3),
            silent_seconds=round(replica.life - each.heard, 1),
            connections=held.get(each.incarnation, 0),
            leader=each is leader,
        )
        for each in replica.nodes
    ]


def _lag(node: ClusterNode, incarnation: str) -> float:
    position = node.positions.of(incarnation)
    told = position.lag if position is not None else 0.0
    return max(told, node.lag) if incarnation == node.incarnation else told
