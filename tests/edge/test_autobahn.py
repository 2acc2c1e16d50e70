"""The Autobahn fuzzing client, sections 1 to 7 and 10, against an echo on the gateway's codec.

Nothing may FAIL. Cases that are judged otherwise than OK stand in `autobahn_expected.json`, with why that is meant.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.core import websocket
from gateway.core.upgrade import Accepted, Origins, Refused, Upgrade
from gateway.core.websocket import Decoder, ProtocolError

EXPECTED = Path(__file__).with_name("autobahn_expected.json")
VENV = Path(os.environ.get("TALLYGATE_AUTOBAHN", Path(__file__).parents[2] / ".venv-autobahn"))
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
PATIENCE = 170.0
"""Seconds the whole run may take."""


class Echo(asyncio.Protocol):
    """Sends every message back. The suite's messages are larger than a client's may be, so the limit is raised."""

    def __init__(self) -> None:
        self.upgrade: Upgrade | None = Upgrade(Origins())
        self.decoder = Decoder(limit=1 << 20)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if self.upgrade is not None:
            answer = self.upgrade.feed(data)
            if answer is None:
                return
            self.upgrade = None
            self.transport.write(answer.response)
            if isinstance(answer, Refused):
                self.transport.close()
                return
            assert isinstance(answer, Accepted)
            data = answer.rest
        for event in self.decoder.feed(data):
            if isinstance(event, ProtocolError):
                self.transport.write(websocket.close(event.code, event.detail))
                self.transport.close()
            elif event.opcode == websocket.CLOSE:
                self.transport.write(websocket.close(event.code))
                self.transport.close()
            elif event.opcode == websocket.PING:
                self.transport.write(websocket.pong(event.payload))
            elif event.opcode != websocket.PONG:
                self.transport.write(websocket.encode(event.opcode, event.payload))


async def report(wstest: Path, url: str, folder: Path) -> dict[str, Any]:
    """The suite's judgment of every case: `{"behavior", "behaviorClose", ...}` by case number."""
    spec = folder / "spec.json"
    server = {"agent": "tallygate", "url": url, "options": {"version": 18}}
    spec.write_text(json.dumps({"outdir": str(folder), "servers": [server], "cases": CASES, "exclude-cases": []}))
    command = (str(wstest), "-m", "fuzzingclient", "-s", str(spec))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    index = folder / "index.json"
    assert process.returncode == 0, output.decode(errors="replace")
    assert index.exists(), output.decode(errors="replace")
    cases: dict[str, Any] = json.loads(index.read_bytes())["tallygate"]
    return cases


async def test_the_fuzzing_client_finds_nothing_but_the_recorded_deviations(tmp_path: Path) -> None:
    wstest = VENV / "bin" / "wstest"
    if not wstest.exists():
        pytest.skip(f"the Autobahn suite is not installed in {VENV}: bash tests/edge/autobahn.sh {VENV.name}")
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        cases = await report(wstest, f"ws://127.0.0.1:{port}/ws", tmp_path)
    assert len(cases) >= 240, "the suite left cases out"
    deviations = {case: judged for case, result in cases.items() if (judged := result["behavior"]) != "OK"} | {
        f"{case} close": judged for case, result in cases.items() if (judged := result["behaviorClose"]) != "OK"
    }
    expected = json.loads(EXPECTED.read_bytes())
    assert deviations == {case: entry["judged"] for case, entry in expected.items()}
