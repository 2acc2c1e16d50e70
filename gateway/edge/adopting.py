"""What a person does to a cluster whose gateways do not run: begin it anew from a file, leave a command out."""

from __future__ import annotations

import asyncio
import secrets
import time
import zlib
from pathlib import Path

from config.settings import Settings
from gateway.core.admission import state_json
from gateway.core.admission.returning import keep_seats
from gateway.core.admission.state import State
from gateway.core.cluster import dump
from gateway.core.cluster.entries import Batch, Genesis, encode
from gateway.core.cluster.replica import SEMANTICS, Replica
from gateway.core.counting.session import Instant
from gateway.core.registration.registrar import Registrar
from gateway.edge.cluster.etcd import Etcd, EtcdFailed, Head
from gateway.edge.joining import ClusterRefused, etcd_of
from gateway.edge.storage.audit_log import COMMAND
from gateway.edge.storage.node_file import LEVEL, SKIPPED, put_dump
from gateway.edge.storage.offline_store import offline_store, refuse_other_file
from gateway.edge.storage.persistence import INCARNATION, VERSION, Persistence
from gateway.edge.terms import cluster_terms
from gateway.licensing import MODELS

QUIET = 2.5
"""Seconds in which nothing comes into the log of a cluster of which no node lives."""


async def adopt(settings: Settings, file: Path) -> str:
    """Begin the cluster anew from the store in `file`: leases, accounts and history go on, sessions do not.

    The log that etcd has, if it has one, is deleted. Returns the identity of the new cluster. Raises `ClusterRefused`,
    `StoreRefused` or `StoreUnavailable`.
    """
    if not settings.cluster.etcd:
        raise ClusterRefused("cluster.etcd: is missing: this configuration has no cluster")
    refuse_other_file(file, new=False)
    etcd = etcd_of(settings.cluster)
    try:
        url = await _member(etcd)
        await _is_quiet(etcd, url)
        return await _adopt(settings, file, etcd, url)
    except EtcdFailed as fault:
        raise ClusterRefused(str(fault)) from fault
    finally:
        await etcd.close()


async def _adopt(settings: Settings, file: Path, etcd: Etcd, url: str) -> str:
    cluster, at = secrets.token_hex(4), Instant(0.0, round(time.time(), 3))
    terms = cluster_terms(settings)
    state = State(terms, MODELS, at, cluster)
    persistence = Persistence(str(file), state, Registrar(lambda: "", 1), lambda: at, settings)
    stored = await persistence.open()
    try:
        keep_seats(state, stored.seats, at)
        state.license.installation = stored.meta.get("installation", "")
        replica = Replica.adopted(state, cluster, settings.cluster.patience)
        genesis = Genesis(cluster, SEMANTICS, settings.cluster.patience, terms.to_json(), state_json.digest(state))
        head = await _begin(etcd, url, encode(Batch("", 0, at.wall, genesis=genesis)))
        replica.revision = head.modified
        packed = zlib.compress(b"".join(dump.lines(replica)), LEVEL)
        persistence.store.write([put_dump(head.cluster, replica.version, replica.revision, packed)])
        persistence.keep(VERSION, str(replica.version))
        persistence.keep(INCARNATION, "")
        persistence.audit_log.add(COMMAND, "cluster.adopted", cluster)
        await persistence.barrier()
    finally:
        await persistence.close()
    return cluster


async def _member(etcd: Etcd) -> str:
    """Return a member that answers.

    Raises `EtcdFailed`, with what is the matter with each.
    """
    faults = []
    for url in etcd.urls:
        try:
            await etcd.head(url)
        except EtcdFailed as fault:
            faults.append(str(fault))
        else:
            return url
    raise EtcdFailed("; ".join(faults))


async def _is_quiet(etcd: Etcd, url: str) -> None:
    """Refuse where gateways still write.

    Raises `ClusterRefused` or `EtcdFailed`.
    """
    before = await etcd.head(url)
    if before.version:
        await asyncio.sleep(QUIET)
        if await etcd.head(url) != before:
            raise ClusterRefused("gateways of this cluster run: stop them first")


async def _begin(etcd: Etcd, url: str, genesis: bytes) -> Head:
    await etcd.delete(url)
    await etcd.put(url, genesis)
    head = await etcd.head(url)
    if head.version != 1:
        raise ClusterRefused("somebody else began a cluster at this moment")
    return head


async def skip(settings: Settings, revision: int) -> str:
    """Have this node leave out the commands of an entry; returns the path of its store.

    Raises `StoreRefused` or `StoreUnavailable`.
    """
    path = settings.store.path
    async with offline_store(Path(path), new=False) as store:
        skipped = {*map(int, store.meta.get(SKIPPED, "").split()), revision}
        await store.keep(SKIPPED, " ".join(map(str, sorted(skipped))), "cluster.skip", str(revision))
    return path
