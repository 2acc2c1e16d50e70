"""The few calls of etcd that a log needs, over its JSON gateway: put, watch, look, compact, delete, status.

The log is one key; each put of it is an entry. A call goes to one member and is judged by its HTTP status alone: the
bodies of errors differ between versions. Whole numbers come as texts, and what is false or zero is left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple

import aiohttp

from gateway.core.cluster.entries import LogEntry

PUT_TIMEOUT = 1.2
"""Seconds for an answer; etcd itself waits 7 s for a leader that is gone."""
SILENCE = 3.0
"""Seconds without a byte after which a watch is taken for dead; living nodes put something every second."""
CONNECT_TIMEOUT = 1.0
"""Seconds to connect to a member."""
READ_SIZE = 1 << 20
"""Bytes of a watch that are kept while they are not read."""
FIRST_GOOD = {(3, 4): 22, (3, 5): 6}
"""Of lines of etcd whose first releases may lose or mix up data, the release from which on they do not."""
OLDEST_LINE = (3, 4)
"""The oldest line of etcd that can be used."""


class EtcdFailed(Exception):
    """A member gave no good answer; another one may."""


class Head(NamedTuple):
    """Where the log stands: the identity of the etcd cluster, its revision, and of the key the version (0: there is
    none), the revision of its last value, and that of its first."""

    cluster: str
    revision: int
    version: int
    modified: int
    created: int


class Watched(NamedTuple):
    """One message of a watch: entries in order; `compacted` is the revision up to which the past is gone, if it is."""

    cluster: str
    revision: int
    entries: list[LogEntry]
    compacted: int | None = None


class EtcdStatus(NamedTuple):
    """What a member says of itself: its version, the size of its database in bytes, and whether it lacks space."""

    version: str
    size: int
    alarms: tuple[str, ...]

    @property
    def flaw(self) -> str:
        """Why its version is not to be relied upon, for a person; empty where it is."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", self.version)
        if found is None:
            return ""
        line, release = (int(found[1]), int(found[2])), int(found[3])
        if line >= OLDEST_LINE and release >= FIRST_GOOD.get(line, 0):
            return ""
        return f"etcd {self.version} may lose data: 3.4.22 or 3.5.6 at least is needed"


class EtcdHealth(NamedTuple):
    """How the members are together: the size of the largest database in bytes, and what is the matter with any."""

    size: int = 0
    alarms: tuple[str, ...] = ()


class Etcd:
    """The members at `urls`, and the key of the log; `health` is how they were when all were asked last."""

    def __init__(self, urls: tuple[str, ...], key: str, tls: ssl.SSLContext | None = None) -> None:
        self.health = EtcdHealth()
        self.urls = tuple(url.rstrip("/") for url in urls)
        self._key = base64.b64encode(key.encode()).decode()
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def after(self, url: str) -> str:
        """Return the member to ask where one does not answer."""
        return self.urls[(self.urls.index(url) + 1) % len(self.urls)]

    async def close(self) -> None:
        """Close the connections to all members."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def put(self, url: str, value: bytes) -> str:
        """Put an entry into the log; returns the identity of the etcd cluster.

        Raises `EtcdFailed`: the entry may be in the log all the same.
        """
        answer = await self._call(url, "/v3/kv/put", {"key": self._key, "value": base64.b64encode(value).decode()})
        return str(answer["header"]["cluster_id"])

    async def head(self, url: str, revision: int = 0) -> Head:
        """Return where the log stands, as a majority of the members knows it; or stood at a revision.

        Raises `EtcdFailed`, also where what was then is forgotten.
        """
        then = {"revision": str(revision)} if revision else {}
        answer = await self._call(url, "/v3/kv/range", {"key": self._key, "keys_only": True, **then})
        kv = (answer.get("kvs") or [{}])[0]
        header = answer["header"]
        return Head(
            str(header["cluster_id"]),
            int(header["revision"]),
            int(kv.get("version", 0)),
            int(kv.get("mod_revision", 0)),
            int(kv.get("create_revision", 0)),
        )

    async def delete(self, url: str) -> None:
        """Delete the log.

        Raises `EtcdFailed`.
        """
        await self._call(url, "/v3/kv/deleterange", {"key": self._key})

    async def compact(self, url: str, revision: int) -> None:
        """Forget the values before a revision.

        Raises `EtcdFailed`, also where that was done before.
        """
        await self._call(url, "/v3/kv/compaction", {"revision": str(revision)})

    async def status(self, url: str) -> EtcdStatus:
        """Return what a member says of itself.

        Raises `EtcdFailed`.
        """
        answer = await self._call(url, "/v3/maintenance/status", {})
        errors = tuple(str(each).strip() for each in answer.get("errors") or ())
        return EtcdStatus(str(answer.get("version", "")), int(answer.get("dbSize", 0)), errors)

    async def watch(self, url: str, revision: int) -> AsyncGenerator[Watched, None]:
        """Yield the entries from a revision on, as they come.

        Raises `EtcdFailed` when the member ends the watch or is silent.
        """
        body = {"create_request": {"key": self._key, "start_revision": str(revision)}}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        try:
            async with self._http().post(url + "/v3/watch", json=body, timeout=timeout, ssl=self._ssl()) as response:
                if response.status != 200:
                    raise EtcdFailed(f"{url}: a watch was answered with status {response.status}")
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        if line:
                            yield _watched(url, line)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise EtcdFailed(f"{url}: {_words(fault)}") from fault
        raise EtcdFailed(f"{url}: the watch was ended")

    async def _call(self, url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=PUT_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._http().post(url + path, json=body, timeout=timeout, ssl=self._ssl()) as response:
                if response.status != 200:
                    raise EtcdFailed(f"{url}{path}: status {response.status}")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise EtcdFailed(f"{url}{path}: {_words(fault)}") from fault
        if not isinstance(answer, dict) or "header" not in answer:
            raise EtcdFailed(f"{url}{path}: this is not etcd's answer")
        return answer

    def _ssl(self) -> ssl.SSLContext | bool:
        return self._tls if self._tls is not None else True

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=READ_SIZE)
        return self._session


def _watched(url: str, line: bytes) -> Watched:
    try:
        message = json.loads(line)
        if "result" not in message:
            raise EtcdFailed(f"{url}: the watch was refused")
        result = message["result"]
        header = result["header"]
        gone = int(result.get("compact_revision", 0)) or None
        if result.get("canceled") and gone is None:
            raise EtcdFailed(f"{url}: the watch was canceled")
        entries = [
            LogEntry(int(kv["version"]), int(kv["mod_revision"]), base64.b64decode(kv.get("value", "")))
            for kv in (event["kv"] for event in result.get("events") or () if event.get("type", "PUT") == "PUT")
        ]
        return Watched(str(header["cluster_id"]), int(header.get("revision", 0)), entries, gone)
    except (LookupError, TypeError, ValueError) as fault:
        raise EtcdFailed(f"{url}: the watch cannot be understood: {fault}") from fault


def _words(fault: Exception) -> str:
    return "no answer in time" if isinstance(fault, asyncio.TimeoutError) else str(fault) or type(fault).__name__
