"""The real Prometheus: its linter has nothing to say, and it scrapes what the gateway holds."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.conftest import House, Serve
from tests.metrics.server import PATIENCE, prometheus
from tests.programs import program

pytestmark = pytest.mark.debian


async def populated(serve: Serve) -> House:
    """A gateway with a few clients."""
    house = await serve(license__model="trueconf")
    for number in range(3):
        wire = await house.welcomed("tcp", account=f"u{number}")
        await wire.ask("join", conference="weekly", access="public")
    await house.welcomed("websocket")
    return house


async def test_promtool_has_no_complaint(serve: Serve) -> None:
    promtool = program("promtool", "prometheus")
    house = await populated(serve)
    _, text = await house.http("GET", "/metrics")
    process = await asyncio.create_subprocess_exec(promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate(text.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def test_prometheus_scrapes_what_the_gateway_holds(serve: Serve, tmp_path: Path) -> None:
    house = await populated(serve)
    config = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: tallygate\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{house.operator}']}}]\n"
    )
    async with prometheus(tmp_path, config) as server:
        await server.seen(
            'up{job="tallygate"} == 1',
            "sum(tallygate_connections) == 4",
            'tallygate_connections{transport="tcp",state="open"} == 3',
            'tallygate_license_used{model="trueconf",pool="pro"} == 3',
            'tallygate_license_enforced{model="trueconf"} == 1',
        )
