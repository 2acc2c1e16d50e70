"""Before a gateway of a cluster opens: the log is followed to its end, from the newest file there is."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from typing import NamedTuple

from config.loader import cluster_secret
from config.settings import ClusterSettings, Settings
from gateway.core.admission.state_json import NotAState
from gateway.core.admission.terms import Terms
from gateway.core.cluster import dump
from gateway.core.cluster.entries import Genesis, LogEntry
from gateway.core.cluster.replica import SEMANTICS, Outcome, Replica
from gateway.edge.catching_up import OwnPlace, PeerFailed, take_file
from gateway.edge.cluster.etcd import Etcd, EtcdFailed, EtcdStatus
from gateway.edge.cluster.follower import Behind, LogLost
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.machine import Clock
from gateway.edge.storage.node_file import NodeFile, read
from gateway.edge.storage.persistence import DIVERGED, OUT, Projected
from gateway.edge.terms import cluster_terms, differences
from gateway.licensing import MODELS

log = logging.getLogger("tallygate.cluster")


class ClusterRefused(Exception):
    """This gateway cannot be part of the cluster; the text is for a person."""


class NodeBehind(ClusterRefused):
    """The log goes on without this node, which stands at `own`; a newer file would do."""

    def __init__(self, text: str, own: OwnPlace) -> None:
        super().__init__(text)
        self.own = own


class FollowedLog(NamedTuple):
    """A node that has followed the log to its end, the key by which all nodes make resume tokens, and what was decided
    since its file was written.
    """

    node: ClusterNode
    token_key: bytes
    unprojected: list[Projected]


async def follow(settings: Settings, clock: Clock) -> FollowedLog:
    """Follow the log of the cluster from this node's file on to its end; where there is none yet, begin it. Where the
    log has gone on without this node, the newest file of a peer is taken.

    Raises `ClusterRefused`.
    """
    try:
        return await _follow(settings, clock)
    except NodeBehind as behind:
        if not settings.cluster.peers:
            raise ClusterRefused(f"{behind}; cluster.peers names nobody to take one from") from behind
        log.warning("%s: %s; the peers are asked", settings.store.path, behind)
        try:
            await take_file(settings, behind.own)
        except PeerFailed as fault:
            raise ClusterRefused(f"{behind}; no peer has one: {fault}") from fault
    return await _follow(settings, clock)


async def _follow(settings: Settings, clock: Clock) -> FollowedLog:
    cluster = settings.cluster
    secret = _secret(cluster)
    terms = cluster_terms(settings)
    etcd = etcd_of(cluster)
    file, replica = await asyncio.to_thread(_from_file, settings.store.path)
    if file.divergence in {DIVERGED, OUT}:
        await etcd.close()
        raise _refused_for_divergence(settings.store.path, file, replica)
    node = ClusterNode(etcd, replica, cluster.name, clock, previous=file.incarnation)
    node.follower.etcd_cluster, node.follower.skipped = file.etcd if file.dump else "", file.skipped
    unprojected: list[Projected] = []

    def note(entry: LogEntry, outcomes: list[Outcome], _: object) -> None:
        if entry.version > file.projected:
            unprojected.extend(
                Projected(entry.version, decision, each.actor, replica.at)
                for each in outcomes
                if each.decision is not None
                for decision in each.decision.with_served()
                if decision.changes or decision.audit
            )

    node.on_outcomes = note
    try:
        await _can_be_relied_upon(etcd)
        await node.open(lambda identity: Genesis(identity, SEMANTICS, cluster.patience, terms.to_json()))
        _compare(node.replica, terms, cluster.patience)
    except Behind as fault:
        await node.close()
        own = OwnPlace(replica.cluster, replica.version, node.follower.etcd_cluster, file.incarnation, file.skipped)
        raise NodeBehind(str(fault), own) from fault
    except (LogLost, EtcdFailed) as fault:
        await node.close()
        raise ClusterRefused(str(fault)) from fault
    except BaseException:
        await node.close()
        raise
    key = hashlib.blake2b(node.replica.cluster.encode(), key=secret, digest_size=32).digest()
    return FollowedLog(node, key, unprojected)


async def _can_be_relied_upon(etcd: Etcd) -> None:
    """Refuse members of etcd whose version may lose data; one that does not answer yet is looked at later.

    Raises `ClusterRefused`.
    """
    told = await asyncio.gather(*map(etcd.status, etcd.urls), return_exceptions=True)
    for url, status in zip(etcd.urls, told, strict=True):
        if isinstance(status, EtcdStatus) and status.flaw:
            raise ClusterRefused(f"{url}: {status.flaw}")


def _refused_for_divergence(path: str, file: NodeFile, replica: Replica) -> ClusterRefused:
    """Return why a node does not go on from a state that is another one than that of the others."""
    words = f"{path}: this node came to another state than the others"
    if file.divergence == OUT:
        return ClusterRefused(f"{words} again: test this machine, then start it on a backup of another gateway")
    own = OwnPlace(replica.cluster, replica.version, file.etcd, file.incarnation, file.skipped, diverged=True)
    return NodeBehind(f"{words}: it must take the file of one of them", own)


def _from_file(path: str) -> tuple[NodeFile, Replica]:
    """Read the node that a file has; one that cannot be read counts for none, and the log is read from its beginning.

    Raises `ClusterRefused`.
    """
    try:
        file = read(path)
    except ValueError as fault:
        raise ClusterRefused(str(fault)) from fault
    if file.alone:
        raise ClusterRefused(
            f"{path}: it is the store of a gateway alone, and would become that of the cluster: "
            "`tallygate cluster adopt` begins a cluster with what is in it; else take another store.path"
        )
    if not file.dump:
        return file, Replica(MODELS)
    try:
        return file, dump.read(file.dump, MODELS)
    except NotAState as fault:
        log.warning("%s: the stored node is not used: %s", path, fault)
        return file._replace(dump=()), Replica(MODELS)


def _compare(replica: Replica, terms: Terms, patience: float) -> None:
    found = differences(replica.state.configured, terms)
    if replica.patience != patience:
        found.append(f"patience: {replica.patience:g}, {patience:g}")
    if found:
        raise ClusterRefused("the cluster has other terms than this configuration (" + "; ".join(found) + ")")


def etcd_of(cluster: ClusterSettings) -> Etcd:
    """Return the etcd of a configuration.

    Raises `ClusterRefused`.
    """
    return Etcd(cluster.etcd, f"{cluster.prefix}/log", _tls(cluster))


def _secret(cluster: ClusterSettings) -> bytes:
    try:
        secret = cluster_secret(cluster.secret_file)
    except ValueError as fault:
        raise ClusterRefused(f"cluster.secret_file: {fault}") from fault
    return hashlib.blake2b(secret, digest_size=64).digest()


def _tls(cluster: ClusterSettings) -> ssl.SSLContext | None:
    if not cluster.tls_ca and not cluster.tls_certificate:
        return None
    try:
        context = ssl.create_default_context(cafile=cluster.tls_ca or None)
        if cluster.tls_certificate:
            context.load_cert_chain(cluster.tls_certificate, cluster.tls_key)
    except (OSError, ssl.SSLError) as fault:
        raise ClusterRefused(f"cluster.tls_certificate: {fault}") from fault
    return context
