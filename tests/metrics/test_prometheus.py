"""The real Prometheus: its linter has nothing to say, and it scrapes what the gateway holds."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import House, Serve

PATIENCE = 30.0
"""Seconds for Prometheus to start and to scrape once."""


def program(name: str) -> str:
    """The path of a program of Prometheus; without it the test is skipped, on a CI machine it fails."""
    found = shutil.which(name)
    if found is None:
        words = f"{name} is not installed (Debian: apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return found


async def populated(serve: Serve) -> House:
    """A gateway with a few clients."""
    house = await serve(license__model="trueconf")
    for number in range(3):
        wire = await house.welcomed("tcp", account=f"u{number}")
        await wire.ask("join", conference="weekly", access="public")
    await house.welcomed("websocket")
    return house


async def test_promtool_has_no_complaint(serve: Serve) -> None:
    promtool = program("promtool")
    house = await populated(serve)
    _, text = await house.http("GET", "/metrics")
    process = await asyncio.create_subprocess_exec(promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate(text.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def test_prometheus_scrapes_what_the_gateway_holds(serve: Serve, tmp_path: Path) -> None:
    prometheus = program("prometheus")
    house = await populated(serve)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: tallygate\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{house.operator}']}}]\n"
    )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        wanted = {
            'up{job="tallygate"}': 1.0,
            "sum(tallygate_connections)": 4.0,
            'tallygate_connections{transport="tcp",state="open"}': 3.0,
            'tallygate_license_used{model="trueconf",pool="pro"}': 3.0,
            'tallygate_license_enforced{model="trueconf"}': 1.0,
        }
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while [await value(session, query) for query in wanted] != list(wanted.values()):
                assert process.returncode is None, "prometheus ended"
                await asyncio.sleep(0.2)  # Prometheus scrapes when it likes; it has no event to wait on
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def value(session: aiohttp.ClientSession, query: str) -> float | None:
    """What Prometheus says of a query; None while it has nothing to say."""
    try:
        async with session.get("/api/v1/query", params={"query": query}) as response:
            if response.status != 200:
                return None
            told: dict[str, Any] = await response.json()
    except aiohttp.ClientConnectionError:
        return None
    result = told["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
