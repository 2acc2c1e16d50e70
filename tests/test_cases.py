"""The vendors' examples, and cases derived from the rules, against the real server over both transports.

Cases with `groups` put them through the operator port and restart the gateway, so that they take effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.edge.gateway import running
from tests.conftest import House, Serve, settings_of
from tests.wire_client import PATIENCE, Wire

FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
CASES = {path.stem: json.loads(path.read_text()) for path in FILES}
NOT_FIELDS = {"do", "as", "expect", "type", "resume_of"}


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@pytest.mark.parametrize("name", CASES)
async def test_case(name: str, transport: str, serve: Serve, tmp_path: Path) -> None:
    case = CASES[name]
    config = {key.replace(".", "__"): _text(value) for key, value in case["config"].items()}
    if "groups" in case:
        config["store__path"] = str(tmp_path / "tallygate.db")
        async with running(settings_of(**config)) as before, contextlib.AsyncExitStack() as clients:
            for group, body in case["groups"].items():
                assert (await House(before, clients).http("PUT", f"/api/groups/{group}", json=body))[0] == 200
    run = Run(await serve(**config), transport)
    for number, step in enumerate(case["steps"], 1):
        try:
            await getattr(run, step["do"])(step)
        except AssertionError as fault:
            raise AssertionError(f"step {number}, {step}: {fault}") from None


class Run:
    """Plays the steps of one case."""

    def __init__(self, house: House, transport: str) -> None:
        self.house = house
        self.transport = transport
        self.clients: dict[str, Wire] = {}
        self.tokens: dict[str, str] = {}

    async def connect(self, step: dict[str, Any]) -> None:
        wire = await self.house.connect(self.transport)
        fields = _fields(step)
        if "resume_of" in step:
            fields["resume"] = self.tokens[step["resume_of"]]
        answer = await wire.hello(**fields)
        _check(answer, step["expect"])
        self.clients[step["as"]] = wire
        self.tokens[step["as"]] = answer.get("resume", "")

    async def join(self, step: dict[str, Any]) -> None:
        _check(await self.clients[step["as"]].ask("join", **_fields(step)), step["expect"])

    async def say(self, step: dict[str, Any]) -> None:
        wire = self.clients[step["as"]]
        if step["type"] == "heartbeat":
            await wire.say("heartbeat")
            _check(await wire.hear(), step["expect"])
        else:
            _check(await wire.ask(step["type"], **_fields(step)), step["expect"])

    async def see(self, step: dict[str, Any]) -> None:
        _check(await self.clients[step["as"]].hear(), step["expect"])

    async def gone(self, step: dict[str, Any]) -> None:
        await self.clients[step["as"]].gone()

    async def drop(self, step: dict[str, Any]) -> None:
        for name in step["as"]:
            await self.clients[name].drop()

    async def http(self, step: dict[str, Any]) -> None:
        status, body = await self.house.http(step["method"], step["path"], json=step.get("body"))
        assert status == step["status"], body

    async def wait(self, step: dict[str, Any]) -> None:
        await asyncio.sleep(step["seconds"])

    async def get(self, step: dict[str, Any]) -> None:
        status, body = await self.house.http("GET", step["path"])
        assert status == 200, body
        assert {item["account"] for item in body["items"]} == set(step["accounts"])

    async def counts(self, step: dict[str, Any]) -> None:
        wanted = {pool: value if isinstance(value, dict) else {"used": value} for pool, value in step["pools"].items()}
        async with asyncio.timeout(PATIENCE):
            while True:
                _, license = await self.house.http("GET", "/api/license")
                model = step.get("model", license["model"])
                pools = license["models"][model]["pools"]
                shown = {pool: {key: pools[pool][key] for key in value} for pool, value in wanted.items()}
                if shown == wanted:
                    break
                await asyncio.sleep(0.01)  # some of it needs time
        _, text = await self.house.http("GET", "/metrics")
        lines = [line for line in text.splitlines(keepends=True) if "tallygate_license_used" in line]
        used = {
            sample.labels["pool"]: sample.value
            for family in text_string_to_metric_families("".join(lines))  # all of them take ten times as long
            for sample in family.samples
            if sample.name == "tallygate_license_used" and sample.labels["model"] == model
        }
        for pool, value in wanted.items():
            if "used" in value:
                assert used[pool] == value["used"]


def _fields(step: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key not in NOT_FIELDS}


def _check(message: dict[str, Any], expected: str | dict[str, Any]) -> None:
    wanted = {"type": expected} if isinstance(expected, str) else expected
    assert {key: message.get(key) for key in wanted} == wanted, message


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
