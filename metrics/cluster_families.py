"""What a node of a cluster shows beside everything that a gateway does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric

from metrics.families import counter, gauge


class ClusterView(NamedTuple):
    """The cluster at one instant, as this node knows it: where the node stands among `states`, the entries applied, by
    how much it is behind and its clock is ahead (seconds), totals, the nodes in the cluster, by whether they are heard,
    and the size of etcd's database in bytes.
    """

    state: str
    states: Sequence[str]
    version: int
    lag: float
    clock_offset: float
    fences: int
    mismatches: int
    failures: int
    late: int
    over_share: int
    nodes: Mapping[str, int]
    etcd_size: int


def cluster_families(view: ClusterView) -> Iterator[Metric]:
    """Yield the families of a node."""
    yield gauge(
        "cluster_state",
        "1 for the state that this node of the cluster is in, 0 for the others.",
        ("state",),
        {(state,): state == view.state for state in view.states},
    )
    for name, text, value in (
        ("applied_version", "Entries of the log that this node has applied.", view.version),
        (
            "lag_seconds",
            "Seconds for which an entry of this node has been on its way; of a node that is not in the cluster, such "
            "as a standby, those by which it is behind.",
            view.lag,
        ),
        (
            "clock_offset_seconds",
            "Seconds by which the clock of this node is ahead of the log's time, at its last entry; of a standby 0.",
            view.clock_offset,
        ),
        ("etcd_db_bytes", "Size of the largest database among the members of etcd, in bytes.", view.etcd_size),
    ):
        yield gauge(f"cluster_{name}", text, (), {(): value})
    yield gauge(
        "cluster_nodes",
        "Nodes in the cluster: alive, or silent for more than 3 s and not yet given up.",
        ("state",),
        {(state,): count for state, count in view.nodes.items()},
    )
    for name, text, value in (
        (
            "fences",
            "Times that this node sent its clients away: it saw no entry of its own in time, or others gave it up.",
            view.fences,
        ),
        ("digest_mismatches", "Entries by which another node told another digest than this one has.", view.mismatches),
        ("apply_failures", "Commands of the log that could not be applied, on any node.", view.failures),
        ("late_commands", "Commands of this node that were not decided within store.deadline.", view.late),
        (
            "refused_commands",
            "Requests that were refused because this node had asked for cluster.share a second.",
            view.over_share,
        ),
    ):
        yield counter(f"cluster_{name}", text, (), {(): value})
