"""A node that is too far behind to follow the log takes the newest file that another gateway of the cluster has.

What a peer sends is believed only where it is a whole store of this program, with a node of the same cluster in it
that is further than this one. The store that stood here is kept beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp

from config.settings import ClusterSettings, Settings
from gateway.core.admission.state_json import NotAState
from gateway.core.cluster import dump
from gateway.edge.machine import read_token
from gateway.edge.storage.node_file import SKIPPED, read
from gateway.edge.storage.persistence import DIVERGENCE, INCARNATION, TAKEN
from gateway.edge.storage.store_copy import Restored, restore
from gateway.edge.storage.store_lock import StoreRefused
from gateway.licensing import MODELS

ANSWER_TIMEOUT = 5.0
"""Seconds for a peer to say where it stands."""
SILENCE = 10.0
"""Seconds without a byte after which a peer that sends its file is left."""
WHOLE_FILE = 900.0
"""Seconds in which a whole file must have come, however large."""
CHUNK_BYTES = 1 << 16

log = logging.getLogger("tallygate.cluster")


class PeerFailed(Exception):
    """A peer has no file to go on from; the text is for a person."""


class OwnPlace(NamedTuple):
    """Where this node stands: the cluster it knows (empty: none yet), the entry it has applied, the identity of etcd,
    its last incarnation, the revisions that are left out, and whether it has `diverged` from the others.
    """

    cluster: str
    version: int
    etcd: str
    incarnation: str
    skipped: frozenset[int]
    diverged: bool = False


class PeerStanding(NamedTuple):
    """What a peer says of itself."""

    url: str
    cluster: str
    version: int


async def take_file(settings: Settings, own: OwnPlace) -> None:
    """Put the newest file of a peer in the place of this node's own.

    Raises `PeerFailed`, with what is the matter with each peer.
    """
    cluster, faults = settings.cluster, list[str]()
    try:
        token = read_token(cluster.peer_token_file)
    except OSError as fault:
        raise PeerFailed(f"cluster.peer_token_file {cluster.peer_token_file}: {fault.strerror}") from fault
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(ssl=_tls(cluster))
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        found: list[PeerStanding] = []
        for url, told in zip(
            cluster.peers,
            await asyncio.gather(*(_standing(session, url) for url in cluster.peers), return_exceptions=True),
            strict=True,
        ):
            if isinstance(told, PeerFailed):
                faults.append(f"{url}: {told}")
            elif isinstance(told, BaseException):
                raise told
            else:
                found.append(told)
        for peer in sorted(found, key=lambda each: each.version, reverse=True):
            try:
                await _take(session, peer, settings.store.path, own)
            except PeerFailed as fault:
                faults.append(f"{peer.url}: {fault}")
            else:
                return
    raise PeerFailed("; ".join(faults))


async def _standing(session: aiohttp.ClientSession, url: str) -> PeerStanding:
    """Ask a peer where it stands."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
    async with _answer(session, f"{url}/api/cluster", timeout) as response:
        try:
            told = await response.json()
            cluster, version = told["cluster"], told["version"]
        except (ValueError, LookupError, TypeError, aiohttp.ContentTypeError) as fault:
            raise PeerFailed("it is no operator port of a gateway") from fault
    if not isinstance(cluster, str) or type(version) is not int or not cluster:
        raise PeerFailed("it is no gateway of a cluster")
    return PeerStanding(url, cluster, version)


async def _take(session: aiohttp.ClientSession, peer: PeerStanding, path: str, own: OwnPlace) -> None:
    if own.cluster and peer.cluster != own.cluster:
        raise PeerFailed(f"it is of cluster {peer.cluster}, this node is of {own.cluster}")
    try:
        with _file_beside(path) as fetched:
            await _download(session, peer, fetched)
            restored = await asyncio.to_thread(_put_in_place, fetched, Path(path), peer, own)
    except OSError as fault:
        raise PeerFailed(f"its file cannot be kept: {fault.strerror or fault}") from fault
    kept = f"; the store that stood there is kept as {restored.kept}" if restored.kept is not None else ""
    log.warning("%s: this node goes on from the file of %s%s", path, peer.url, kept)


@contextlib.contextmanager
def _file_beside(path: str) -> Iterator[Path]:
    """A new file on the disk of the store, which is gone afterwards."""
    number, name = tempfile.mkstemp(prefix="tallygate-", suffix=".peer", dir=Path(path).absolute().parent)
    os.close(number)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


async def _download(session: aiohttp.ClientSession, peer: PeerStanding, target: Path) -> None:
    timeout = aiohttp.ClientTimeout(total=WHOLE_FILE, sock_connect=ANSWER_TIMEOUT, sock_read=SILENCE)
    with target.open("wb") as file:
        async with _answer(session, f"{peer.url}/api/backup", timeout) as response:
            async for piece in response.content.iter_chunked(CHUNK_BYTES):
                await asyncio.to_thread(file.write, piece)


@contextlib.asynccontextmanager
async def _answer(
    session: aiohttp.ClientSession, url: str, patience: aiohttp.ClientTimeout
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A good answer of a peer, while it is read.

    Raises `PeerFailed`.
    """
    try:
        async with session.get(url, timeout=patience, allow_redirects=False) as response:
            if response.status in {401, 403}:
                raise PeerFailed("it wants the token of an operator with scope admin (cluster.peer_token_file)")
            if response.status != 200:
                raise PeerFailed(f"it answers {response.status}")
            yield response
    except TimeoutError as fault:
        raise PeerFailed("it is too slow") from fault
    except (aiohttp.ClientPayloadError, asyncio.IncompleteReadError) as fault:
        raise PeerFailed("it has sent a part of its answer only") from fault
    except aiohttp.ClientError as fault:
        raise PeerFailed(str(fault) or type(fault).__name__) from fault


def _put_in_place(fetched: Path, path: Path, peer: PeerStanding, own: OwnPlace) -> Restored:
    """Look whether a file is what it should be, and put it in the place of the own one."""
    try:
        file = read(str(fetched))
        replica = dump.read(file.dump, MODELS)
    except (ValueError, NotAState) as fault:
        raise PeerFailed(f"its file has no node in it: {fault}") from fault
    if replica.cluster != (own.cluster or peer.cluster):
        raise PeerFailed(f"its file is of cluster {replica.cluster}")
    if own.etcd and file.etcd != own.etcd:
        raise PeerFailed(f"its file is of another etcd: its cluster is {file.etcd}, that of the log is {own.etcd}")
    if replica.version <= own.version and not own.diverged:
        raise PeerFailed(f"its file ends with entry {replica.version}, no later than {own.version} of this node")
    skipped = " ".join(map(str, sorted(file.skipped | own.skipped)))
    try:
        with contextlib.closing(sqlite3.connect(fetched)) as db, db:
            told = {INCARNATION: own.incarnation, SKIPPED: skipped, DIVERGENCE: TAKEN if own.diverged else ""}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", told.items())
        return restore(fetched, path)
    except (StoreRefused, sqlite3.Error) as fault:
        raise PeerFailed(f"its file is not used: {fault}") from fault


def _tls(cluster: ClusterSettings) -> ssl.SSLContext | bool:
    """By whom peers over https are known: the public authorities, and that of the cluster.

    Raises `PeerFailed`.
    """
    try:
        context = ssl.create_default_context()
        if cluster.tls_ca:
            context.load_verify_locations(cluster.tls_ca)
    except (OSError, ssl.SSLError) as fault:
        raise PeerFailed(f"cluster.tls_ca: {fault}") from fault
    return context
