"""What a gateway that is behind takes from its peers, and what it does not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.core.cluster import dump
from gateway.edge import catching_up
from gateway.edge.catching_up import OwnPlace, PeerFailed, take_file
from gateway.edge.storage.node_file import put_dump, read
from gateway.edge.storage.store import Store
from gateway.licensing import MODELS
from tests.conftest import settings_of
from tests.core.cluster.log_harness import LogHarness, random_log
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY
from tests.etcd import write_secret

TOKEN = "t" * 43
OWN = OwnPlace("c1", 5, "etcd1", "me", frozenset({7}))
FOREIGN = OwnPlace("", 0, "etcd1", "", frozenset())

_names = itertools.count(1)


async def node_file(folder: Path, harness: LogHarness, etcd: str = "etcd1") -> bytes:
    """The store of a node that has applied a log."""
    path = folder / f"peer{next(_names)}.db"
    store = Store(str(path), tuple, time.monotonic)
    await store.open()
    packed = zlib.compress(b"".join(dump.lines(harness.replica)))
    await store.write([put_dump(etcd, harness.replica.version, harness.replica.revision, packed)])
    await store.close()
    return await asyncio.to_thread(path.read_bytes)


def leftovers(folder: Path) -> list[str]:
    """Files that were begun, and are not what they should have become."""
    return [each for each in os.listdir(folder) if each.startswith("tallygate-")]


class Peer:
    """An operator port that answers what a test says."""

    def __init__(self, file: bytes, version: int = 60, cluster: str = "c1") -> None:
        self.file = file
        self.standing: Any = {"state": "active", "cluster": cluster, "version": version}
        self.status = 200
        self.cut = False
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        await self.hangs.wait()
        if self.status != 200:
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        if request.path == "/api/cluster":
            return web.json_response(self.standing) if self.standing else web.Response(text="hello")
        response = web.StreamResponse()
        response.content_length = len(self.file)
        await response.prepare(request)
        await response.write(self.file[: len(self.file) // 2] if self.cut else self.file)
        if self.cut and request.transport is not None:
            request.transport.close()
        return response


Serving = Callable[..., Awaitable[str]]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Serves a peer, and returns its URL."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(peer: Peer, tls: ssl.SSLContext | None = None) -> str:
            app = web.Application()
            app.router.add_get("/{path:.*}", peer.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.callback(peer.hangs.set)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            scheme = "http" if tls is None else "https"
            return f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"

        yield serve


def settings(folder: Path, *peers: str, **overrides: Any) -> Any:
    token = folder / "token"
    token.write_text(TOKEN)
    urls = ",".join(f'"{url}"' for url in peers)
    given = {
        "cluster__etcd": '["http://127.0.0.1:2379"]',
        "cluster__name": "b",
        "cluster__secret_file": str(write_secret(folder)),
        "cluster__peers": f"[{urls}]",
        "cluster__peer_token_file": str(token),
        "registrar__enabled": "false",
        "store__path": str(folder / "own.db"),
    }
    return settings_of(**given | overrides)


async def test_the_newest_file_comes_in_place_of_the_own_one(serving: Serving, tmp_path: Path) -> None:
    files = [await node_file(tmp_path, random_log(seed, batches)) for seed, batches in ((1, 40), (1, 60))]
    older, newer = Peer(files[0], 40), Peer(files[1], 61)
    given = settings(tmp_path, await serving(older), await serving(newer))
    (tmp_path / "own.db").write_bytes(await node_file(tmp_path, random_log(1, 4)))
    await take_file(given, OWN)
    found = read(str(tmp_path / "own.db"))
    assert dump.read(found.dump, MODELS).version > 50
    assert (found.etcd, found.incarnation, found.skipped) == ("etcd1", "me", frozenset({7}))
    assert older.asked == ["/api/cluster"]
    assert {each for each in os.listdir(tmp_path) if "replaced" in each} == {"own.db.replaced-1"}
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"file": b"no store at all" * 100}, "has no node in it"),
        ({"file": b""}, "has no node in it"),
        ({"cut": True}, "a part of its answer only"),
        ({"status": 503}, "answers 503"),
        ({"status": 302}, "answers 302"),
        ({"standing": None}, "no operator port"),
        ({"standing": {"state": "off", "cluster": "", "version": 0}}, "no gateway of a cluster"),
        ({"standing": {"cluster": "c2", "version": 9}}, "it is of cluster c2, this node is of c1"),
    ],
)
async def test_a_peer_that_has_nothing_good_is_named_with_what_is_the_matter(
    serving: Serving, tmp_path: Path, fault: dict[str, Any], words: str
) -> None:
    peer = Peer(await node_file(tmp_path, random_log(1, 40)))
    vars(peer).update(fault)
    url = await serving(peer)
    with pytest.raises(PeerFailed, match=words) as raised:
        await take_file(settings(tmp_path, url), OWN)
    assert url in str(raised.value)
    assert not (tmp_path / "own.db").exists()
    assert leftovers(tmp_path) == []


async def test_a_file_of_another_cluster_or_etcd_or_no_newer_than_the_own_is_not_taken(
    serving: Serving, tmp_path: Path
) -> None:
    harness = random_log(1, 40)
    file = await node_file(tmp_path, harness)
    url = await serving(Peer(file, cluster="c1"))
    lying = await serving(Peer(file, cluster="c7"))
    with pytest.raises(PeerFailed, match="no later than 999 of this node"):
        await take_file(settings(tmp_path, url), OWN._replace(version=999))
    with pytest.raises(PeerFailed, match="another etcd: its cluster is etcd1, that of the log is etcd2"):
        await take_file(settings(tmp_path, url), OWN._replace(etcd="etcd2"))
    with pytest.raises(PeerFailed, match="its file is of cluster c1"):
        await take_file(settings(tmp_path, lying), FOREIGN)
    await take_file(settings(tmp_path, lying, url), FOREIGN)
    assert read(str(tmp_path / "own.db")).dump


async def test_a_peer_that_is_silent_is_left_for_another(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "ANSWER_TIMEOUT", 0.3)
    file = await node_file(tmp_path, random_log(1, 40))
    slow, good = Peer(file, 90), Peer(file)
    slow.hangs.clear()
    await take_file(settings(tmp_path, await serving(slow), await serving(good)), OWN)
    assert good.asked == ["/api/cluster", "/api/backup"]
    with pytest.raises(PeerFailed, match="too slow"):
        await take_file(settings(tmp_path, await serving(slow)), OWN)


async def test_a_peer_wants_a_token_and_is_known_by_its_certificate(serving: Serving, tmp_path: Path) -> None:
    file = await node_file(tmp_path, random_log(1, 40))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE, PRIVATE_KEY)
    secure, plain = await serving(Peer(file), tls), await serving(Peer(file))
    with pytest.raises(PeerFailed, match="scope admin"):
        await take_file(settings(tmp_path, plain, cluster__peer_token_file=""), OWN)
    with pytest.raises(PeerFailed, match="certificate"):
        await take_file(settings(tmp_path, secure), OWN)
    await take_file(settings(tmp_path, secure, cluster__tls_ca=CERTIFICATE), OWN)
    assert read(str(tmp_path / "own.db")).dump
    given = settings(tmp_path, plain)
    (tmp_path / "token").write_text("short")  # since the settings were read
    with pytest.raises(PeerFailed, match="peer_token_file"):
        await take_file(given, OWN)
