"""The server processes under measurement: how each is started, how its CPU and memory are read, how many it holds.

CPU is the kernel's own clock of the process (nanoseconds, all threads, user and system); memory is its anonymous
resident pages. Every server is stopped by its own handle, whatever happens in between.
"""

import asyncio
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

from gateway.edge.storage.offline_store import offline_store
from tests.polling import wait_until

from . import cache
from .load import Fault, Load

PATIENCE = 30.0  # seconds for a server to come up or to forget its clients
ROOMY = 20000  # above anything one process may hold

SETTINGS = (
    "listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.enabled=false", "listen.accept_rate=0",
    "listen.message_rate=0", f"listen.max_pending={ROOMY}", "heartbeat.timeout=600s", f"license.epop.users={ROOMY}",
    f"license.nefsis-concurrent.users={ROOMY}", f"license.nefsis-named.hosts={ROOMY}",
    f"license.nefsis-named.participants={ROOMY}", f"license.trueconf.pro={ROOMY}", f"license.trueconf.online={ROOMY}",
    f"license.trueconf.guest={ROOMY}", f"license.trueconf.gateway={ROOMY}",
)  # fmt: skip
"""Limits out of the way: the benchmark measures what serving costs, not what refusing costs."""


class Server:
    """A small server that speaks `control.py`: the floor, or a peer."""

    transport = "websocket"
    answers: ClassVar[bool] = True  # on stdout, as control.py does

    def __init__(self, command: list[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process that writes it
        out = subprocess.PIPE if self.answers else self._log
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=self._log, cwd=cache.ROOT)
        self._clock = (~self.process.pid << 3) | 2  # clock_getcpuclockid(3)
        try:
            self.port = self._ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self) -> int:
        return int(self._line()["port"])

    def _line(self) -> dict[str, int]:
        out = self.process.stdout
        if out is None or not select.select([out], [], [], PATIENCE)[0]:
            raise Fault("a server did not answer in time")
        line = out.readline()
        if not line:
            raise Fault(f"a server died: {self._last_words()}")
        answer: dict[str, int] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        return (self._log.read().decode(errors="replace").strip().splitlines() or ["no word"])[-1]

    def _ask(self, question: bytes) -> int:
        if self.process.stdin is None:
            raise Fault("a server without stdin")
        self.process.stdin.write(question + b"\n")
        self.process.stdin.flush()
        return self._line()["connections"]

    def collect(self) -> None:
        """Have garbage collected where the server can be told to."""
        self._ask(b"collect")

    def connections(self) -> int:
        """How many connections it still counts."""
        return self._ask(b"count")

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return time.clock_gettime(self._clock)

    def memory(self) -> int:
        """Anonymous resident bytes, once two readings half a second apart agree."""
        self.collect()
        # What is read twice alike has settled; a pause lies between two readings, and there is no event for it.
        before, now = -1, self._anonymous()
        until = time.monotonic() + 8
        while abs(now - before) > 65536 and time.monotonic() < until:
            time.sleep(0.5)
            before, now = now, self._anonymous()
        return now

    def _anonymous(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
        raise Fault("no Anonymous: in smaps_rollup")

    def wait_for(self, connections: int) -> None:
        """Wait until it counts so many."""
        wait_until(
            lambda: self.connections() == connections,
            PATIENCE,
            lambda: Fault(f"still {self.connections()} connections, not {connections}"),
            every=0.02,
        )

    def load(self, *, join: int = 0, accounts: bool = False, resume: bool = False, source: int = 1) -> Load:
        """Connect a load program to it."""
        return Load(self.port, self.transport, join=join, accounts=accounts, resume=resume, source=source)

    def stop(self) -> None:
        """Kill the process; whatever it knew was read before."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.kill()
        self.process.wait()
        self._log.close()


class Floor(Server):
    """The bare server."""

    transport = "tcp"

    def __init__(self, backlog: int = 4096) -> None:
        super().__init__(cache.floor(backlog))


class Broker(Server):
    """mosquitto: it has no ready line, and says no count at once."""

    transport = "mqtt"
    answers = False

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__(cache.mosquitto(self.port))

    def _ready(self) -> int:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Fault(f"mosquitto died: {self._last_words()}")
            with socket.socket() as probe:
                up = probe.connect_ex(("127.0.0.1", self.port)) == 0
            time.sleep(0.2 if up else 0.05)  # until it has closed the connection of the probe
            if up:
                self._own_files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
                return self.port
        raise Fault("mosquitto did not come up")

    def collect(self) -> None:
        """Nothing to collect in C."""

    def connections(self) -> int:
        """The files it has open, less those it had without clients."""
        files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        self._own_files = min(self._own_files, files)
        return files - self._own_files


class Gateway(Server):
    """`tallygate serve` as a user starts it, limits out of the way; `settings` are further `--set` arguments."""

    answers = False
    action: ClassVar[str] = "serve"

    def __init__(self, transport: str = "tcp", settings: Iterable[str] = ()) -> None:
        self.transport = transport
        self._folder = tempfile.TemporaryDirectory(prefix="tallygate-bench-")
        self._file = Path(self._folder.name) / "ready.json"
        self.store = Path(self._folder.name) / "bench.db"
        command = [sys.executable, "-m", "gateway", self.action, "--ready-file", str(self._file)]
        for setting in (*SETTINGS, f"store.path={self.store}", *settings):
            command += ["--set", setting]
        self._operator: http.client.HTTPConnection | None = None
        self.prepare()
        super().__init__(command)

    def prepare(self) -> None:
        """Do what must be done before the start."""

    def _ready(self) -> int:
        wait_until(self._is_ready, PATIENCE, lambda: Fault("the gateway wrote no ready file"))
        said = json.loads(self._file.read_text())
        self._operator = http.client.HTTPConnection("127.0.0.1", said["operator"], timeout=PATIENCE)
        return int(said[self.transport])

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise Fault(f"the gateway did not start: {self._last_words()}")
        return self._file.exists() and bool(self._file.read_text().strip())

    def _get(self, path: str) -> str:
        if self._operator is None:
            raise Fault("the gateway has no operator port")
        self._operator.request("GET", path)
        answer = self._operator.getresponse()
        text = answer.read().decode()
        if answer.status != http.HTTPStatus.OK:
            raise Fault(f"{path} answered {answer.status}")
        return text

    def scrape(self) -> str:
        """The text of /metrics."""
        return self._get("/metrics")

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        return next(float(line.split()[1]) for line in self.scrape().splitlines() if line.startswith(f"{name} "))

    def collect(self) -> None:
        """The gateway is measured as it runs."""

    def connections(self) -> int:
        """Sessions it counts; when none, whatever /metrics counts most: 0 only when all are 0."""
        sessions = int(json.loads(self._get("/api/connections/count"))["count"])
        if sessions:
            return sessions
        counts: dict[str, float] = {}
        for line in self.scrape().splitlines():
            name = line.partition("{")[0]
            if name in {"tallygate_connections", "tallygate_sessions", "tallygate_conference_members"}:
                counts[name] = counts.get(name, 0) + float(line.rpartition(" ")[2])
            elif name == "tallygate_license_used":
                counts[line] = float(line.rpartition(" ")[2])
        if "tallygate_connections" not in counts:
            raise Fault("/metrics has no tallygate_connections")
        return int(max(counts.values()))

    def stop(self) -> None:
        """End the process and its folder."""
        if self._operator is not None:
            self._operator.close()
        super().stop()
        self._folder.cleanup()


class Registrar(Gateway):
    """`tallygate registrar` with so many licenses; `keys` is a JSON file of their keys by serial.

    Its interval is long, so that agents may be silent between two phases; they are verified as often as they ask.
    """

    action = "registrar"

    def __init__(self, licenses: int) -> None:
        self._licenses = licenses
        super().__init__("registrar", ["registrar.port=0", "registrar.interval=600s"])

    def prepare(self) -> None:
        """Sell the licenses."""
        self.keys = self.store.with_name("keys.json")
        self.keys.write_text(json.dumps(asyncio.run(self._sell())))

    async def _sell(self) -> dict[str, str]:
        async with offline_store(self.store) as store:
            terms = {"edition": "free"}
            await asyncio.gather(*(store.sell(f"S-{number}", terms) for number in range(self._licenses)))
            return {serial: license.key.hex() for serial, license in store.registrar.licenses.items()}
