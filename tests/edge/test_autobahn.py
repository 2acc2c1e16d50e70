"""The Autobahn fuzzing client, sections 1 to 7 and 10, against an echo behind the gateway's WebSocket door.

Nothing may FAIL. Cases that are judged otherwise than OK stand in `autobahn_expected.json`, with why that is meant.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.wire import websocket_frames
from gateway.core.wire.websocket_frames import Event, ProtocolError
from gateway.edge.server.websocket import WebSocketConnection
from tests.conftest import Serve
from tests.programs import missing

pytestmark = [pytest.mark.debian, pytest.mark.timeout(180), pytest.mark.usefixtures("each_transport")]

EXPECTED = Path(__file__).with_name("autobahn_expected.json")
VENV = Path(os.environ.get("TALLYGATE_AUTOBAHN", Path(__file__).parents[2] / ".venv-autobahn"))
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
PATIENCE = 170.0
"""Seconds the whole run may take."""


class Echo(WebSocketConnection):
    """Sends every message back, and says nothing of its own: the suite takes every message for an echo."""

    def receive(self, payload: bytes) -> None:
        """Echo text."""
        self.transport.write(websocket_frames.text(payload))

    def _take(self, event: Event | ProtocolError) -> None:
        if not isinstance(event, ProtocolError) and event.opcode == websocket_frames.BINARY:
            self.transport.write(websocket_frames.binary(event.payload))
        else:
            super()._take(event)

    def send(self, message: dict[str, Any]) -> None:
        """Nothing."""


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


async def test_the_fuzzing_client_finds_nothing_but_the_recorded_deviations(serve: Serve, tmp_path: Path) -> None:
    wstest = VENV / "bin" / "wstest"
    if not wstest.exists():
        missing(f"the Autobahn suite is not installed in {VENV}: bash tests/edge/autobahn.sh {VENV.name}")
    # The suite's messages and pace are above what a client is allowed, and it never says hello.
    house = await serve(
        listen__message_rate=0, listen__outbound_limit=16 << 20, heartbeat__hello_deadline="1h", listen__accept_rate=0
    )
    house.runtime.websocket._make = Echo
    listener = house.runtime.websocket
    listener.apply_limits(replace(listener.limits, message_limit=1 << 20))
    cases = await report(wstest, f"ws://127.0.0.1:{house.websocket}/ws", tmp_path)
    assert len(cases) >= 240, "the suite left cases out"
    deviations = {case: judged for case, result in cases.items() if (judged := result["behavior"]) != "OK"} | {
        f"{case} close": judged for case, result in cases.items() if (judged := result["behaviorClose"]) != "OK"
    }
    expected = json.loads(EXPECTED.read_bytes())
    assert deviations == {case: entry["judged"] for case, entry in expected.items()}
