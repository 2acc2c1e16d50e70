"""The agents of many servers, each with its license at one registrar: `python -m tests.bench.agents PORT [KEYS]`.

KEYS is a JSON file of keys by serial; without it the lines are constant and nothing is computed: the same load on a
bare server. Every message is made and checked here, with nothing of the gateway's own code. A line on stdin is an
order, its JSON answer comes when it is done: `grow N` connects and registers until there are N; `run S` has each of
them verified once a second for S seconds, evenly spread, and waits for all answers. Latencies are in microseconds.
"""

import asyncio
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

PATIENCE = 60.0  # seconds for a phase to be answered
SERVER = "5f0c2a9b7d1e4f605f0c2a9b7d1e4f60"
NONCE = "91c7d2e8a4b05f36c1d9e7a2b4f80356"
AT_ONCE = 64  # connections that are unfinished


class Bare(asyncio.Protocol):
    """A connection on which a constant line is answered by any line."""

    line = b'{"seq":1,"type":"verify","used":{"online":12},"mac":"' + b"0" * 64 + b'"}\n'

    def __init__(self, crew: "Crew") -> None:
        self.crew = crew
        self.ready = asyncio.get_running_loop().create_future()
        self.asked = 0.0
        self._tail = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio hands a stream transport to a stream client
        self.begin()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *lines, self._tail = (self._tail + data).split(b"\n")
        for line in lines:
            self.hear(line, now)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the signature is asyncio's
        self.crew.lost += 1

    def begin(self) -> None:
        """Say the first word."""
        self.transport.write(b'{"type":"register"}\n')

    def ask(self) -> None:
        """Ask to be verified."""
        self.asked = time.perf_counter()
        self.transport.write(self.line)

    def hear(self, line: bytes, now: float) -> None:  # noqa: ARG002  # any line is good
        """Take an answer that came at `now`."""
        if not self.ready.done():
            self.ready.set_result(None)
        else:
            self.crew.answered(now - self.asked)


class Agent(Bare):
    """A connection to a registrar, with a license."""

    def __init__(self, crew: "Crew", serial: str, key: bytes) -> None:
        super().__init__(crew)
        self._key = key
        self._nonces = ""
        self._seq = 0
        # Keys are sorted here and below: this is what is authenticated.
        self._register = f'{{"nonce":"{NONCE}","protocol":1,"serial":"{serial}","server":"{SERVER}","type":"register"}}'

    def _mac(self, *words: str) -> str:
        return hmac.new(self._key, "\n".join(words).encode(), hashlib.sha256).hexdigest()

    def begin(self) -> None:
        self.transport.write(self._register.encode() + b"\n")

    def ask(self) -> None:
        self._seq += 1
        text = f'{{"seq":{self._seq},"type":"verify","used":{{"online":12}}}}'
        code = self._mac("verify", self._nonces, text)
        self.asked = time.perf_counter()
        self.transport.write(f'{text[:-1]},"mac":"{code}"}}\n'.encode())

    def hear(self, line: bytes, now: float) -> None:
        message = json.loads(line)
        kind, code = message["type"], message.pop("mac", None)
        if kind == "challenge":
            self._nonces = f"{NONCE}\n{message['nonce']}"
            code = self._mac("agent", self._register, message["nonce"])
            self.transport.write(f'{{"type":"proof","mac":"{code}"}}\n'.encode())
            return
        text = json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if code != self._mac(kind, self._nonces, text):
            self.crew.wrong += 1
        elif kind == "registered":
            self.ready.set_result(None)
        elif kind == "verified" and message["seq"] == self._seq:
            self.crew.answered(now - self.asked)
        else:
            self.crew.wrong += 1


class Crew:
    """All agents of one program, on `port`."""

    def __init__(self, port: int, keys: dict[str, str] | None) -> None:
        self._port = port
        self._keys = list(keys.items()) if keys is not None else None
        self._agents: list[Bare] = []
        self._samples: list[float] = []
        self._due = 0
        self._done = asyncio.Event()
        self.lost = self.wrong = 0

    def answered(self, seconds: float) -> None:
        """Take an answer."""
        self._samples.append(seconds)
        if len(self._samples) == self._due:
            self._done.set()

    async def grow(self, size: int) -> dict[str, float]:
        """Connect and register until there are so many."""
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            while len(self._agents) < size:
                await asyncio.gather(*(self._join() for _ in range(min(AT_ONCE, size - len(self._agents)))))
        return {"held": len(self._agents), "seconds": time.perf_counter() - began, "wrong": self.wrong}

    async def _join(self) -> None:
        agent = Bare(self) if self._keys is None else self._named(len(self._agents))
        self._agents.append(agent)
        await asyncio.get_running_loop().create_connection(lambda: agent, "127.0.0.1", self._port)
        await agent.ready

    def _named(self, number: int) -> Agent:
        if self._keys is None:
            raise RuntimeError("an agent needs a license")
        serial, key = self._keys[number]
        return Agent(self, serial, bytes.fromhex(key))

    async def run(self, seconds: float) -> dict[str, float]:
        """Have each verified once a second."""
        pace = len(self._agents)
        self._samples, self._due = [], round(seconds * pace)
        self._done.clear()
        began, cpu, asked = time.perf_counter(), time.process_time(), 0
        while asked < self._due:
            for _ in range(asked, min(int((time.perf_counter() - began) * pace) + 1, self._due)):
                self._agents[asked % pace].ask()
                asked += 1
            await asyncio.sleep(1 / pace)
        async with asyncio.timeout(PATIENCE):
            await self._done.wait()
        took = time.perf_counter() - began
        ordered = sorted(self._samples)
        return {
            "answers": len(ordered),
            "seconds": took,
            "p50": ordered[len(ordered) // 2] * 1e6,
            "p99": ordered[len(ordered) * 99 // 100] * 1e6,
            "cpu": time.process_time() - cpu,
            "lost": self.lost,
            "wrong": self.wrong,
        }


def main() -> None:
    """Do what stdin says, until it is closed."""
    port, *keys = sys.argv[1:]
    with asyncio.Runner() as runner:
        crew = Crew(int(port), json.loads(Path(keys[0]).read_text()) if keys else None)
        for line in sys.stdin:  # nothing is sent to us between two orders, so nobody waits for the loop
            order, number = line.split()
            answer = runner.run(crew.grow(int(number)) if order == "grow" else crew.run(float(number)))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
