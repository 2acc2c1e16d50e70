"""`tallygate demo` as a process: every page has something to show, and nothing is left at the end."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.program import begin, end, run

PATIENCE = 60.0
FREE = ("listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.port=0")


class Demo:
    """A demonstration that runs."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def until(self, path: str, holds: Any) -> Any:
        """What a path answers, once that is so."""
        async with asyncio.timeout(PATIENCE):
            while not holds(found := await self.get(path)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Demo]:
    """It is ended by a signal after the test, among its clients: then it must end cleanly and leave nothing."""
    ready, temporary = tmp_path / "ready.json", tmp_path / "temporary"
    temporary.mkdir()
    process = await begin(
        "demo", "--day", "20s", "--clients", "60", "--ready-file", str(ready), *(f"--set={each}" for each in FREE),
        environment={"TMPDIR": str(temporary)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not ready.exists():
                assert process.returncode is None, await process.communicate()
                await asyncio.sleep(0.05)
        port = json.loads(ready.read_text())["operator"]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            demo = Demo(http)
            yield demo
            await demo.until("/api/connections/count", lambda found: found["count"])
        process.send_signal(getattr(request, "param", signal.SIGTERM))
        ended = await end(process)
        assert ended.code == 0, ended.err
        assert "nothing is left behind" in ended.out
        assert list(temporary.iterdir()) == []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("running", [signal.SIGINT], indirect=True)
async def test_it_ends_cleanly_at_the_other_signal_too(running: Demo) -> None:
    assert (await running.get("/api/license"))["model"] == "trueconf"


@pytest.mark.slow
async def test_every_page_is_alive(running: Demo) -> None:
    async with running.http.get("/") as page:
        assert page.status == 200
    servers = await running.until(
        "/api/registrations",
        lambda found: len(found["items"]) == 4 and any(s["clones_suspected"] for s in found["items"]),
    )
    assert {each["serial"] for each in servers["items"]} == {"DEMO-1", "NORTH-2024", "SOUTH-2025", "PARTNER-7"}
    await running.until("/api/licenses", lambda found: {"active", "revoked"} == {e["state"] for e in found["items"]})
    license = await running.until("/api/license", lambda found: _pools(found)["pro"]["denied"])
    assert license["registration"]["state"] == "registered"
    await running.until("/api/license", lambda found: all(pool["high_water"] for pool in _pools(found).values()))
    groups = (await running.get("/api/groups"))["items"]
    assert all(group["permanent"] for group in groups)
    held = (await running.get("/api/pro"))["items"]
    assert {each["kind"] for each in held} >= {"permanent"}
    await running.until(
        "/api/conferences", lambda found: {each["state"] for each in found["items"]} == {"live", "scheduled"}
    )
    assert (await running.get("/api/audit"))["items"]


async def test_the_history_has_a_month_with_denials(running: Demo) -> None:
    steps = (await running.get("/api/history?model=trueconf&pool=pro&since=40d&step=day"))["items"]
    assert len(steps) >= 31
    assert max(step["max"] for step in steps) == _pools(await running.get("/api/license"))["pro"]["limit"]
    (whole,) = (await running.get("/api/history?model=trueconf&pool=pro&since=40d&step=all"))["items"]
    assert whole["true_denials"] > 0
    tuesday, sunday = whole["week"][1], whole["week"][6]
    assert sum(tuesday[9:17]) > 2 * sum(sunday[9:17])


def _pools(license: dict[str, Any]) -> dict[str, Any]:
    pools: dict[str, Any] = license["models"]["trueconf"]["pools"]
    return pools


async def test_what_is_wrong_is_said_in_one_line() -> None:
    ended = await run("demo", "--set=license.trueconf.prox=1")
    assert ended.code == 1
    assert "license.trueconf.pro" in ended.err
    assert "Traceback" not in ended.err


async def test_clients_without_tokens_are_not_sent_where_tokens_are_needed() -> None:
    ended = await run("demo", "--set=accounts.mode=token")
    assert (ended.code, ended.out) == (1, "")
    assert "no tokens" in ended.err
