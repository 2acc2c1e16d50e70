"""The OpenAPI document: what it says of each route, and that the gateway keeps what it says."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gateway.edge.api.openapi import document
from gateway.edge.api.routes import ADMIN, READ, routes_of
from gateway.edge.api.server import RESOURCES
from tests.conftest import Serve
from tests.programs import missing, outcome
from tests.sources import ROOT

PATIENCE = 200.0
OURS = ("get", "put", "post", "delete")
ALL = routes_of(RESOURCES)


def references(value: Any) -> set[str]:
    """Every `$ref` in it."""
    if isinstance(value, dict):
        inner = set().union(*(references(each) for each in value.values()))
        return inner | ({value["$ref"]} if "$ref" in value else set())
    return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()


async def test_the_document_is_served_to_whoever_may_look(serve: Serve) -> None:
    house = await serve()
    status, told = await house.http("GET", "/openapi.json")
    assert (status, told) == (200, json.loads(json.dumps(document(ALL))))
    assert told["openapi"].startswith("3.1.")


def test_every_operation_says_what_it_answers_and_which_token_it_needs() -> None:
    paths = document(ALL)["paths"]
    for route in ALL:
        operation = paths[route.path][route.method.lower()]
        (good,) = (status for status in operation["responses"] if status.startswith("2"))
        content = operation["responses"][good].get("content", {})
        json = ("application/json",) if route.answer is not None else ()
        assert set(content) == {*route.media, *json}
        assert good == ("200" if content else "204")
        assert all("schema" in each for kind, each in content.items() if kind == "application/json")
        tokens = [scope for each in operation["security"] for scope in each.get("token", ())]
        assert tokens == ([route.scope] if route.scope in {READ, ADMIN} else [])


def test_every_parameter_of_a_path_is_described() -> None:
    for path, operations in document(ALL)["paths"].items():
        steps = re.findall(r"\{(\w+)\}", path)
        for method in set(OURS) & set(operations):
            described = [each["name"] for each in operations[method]["parameters"] if each["in"] == "path"]
            assert described == steps, (method, path)


def test_every_schema_is_used_and_every_one_used_is_there() -> None:
    told = document(ALL)
    named = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    assert references(told) == named


@pytest.mark.slow
@pytest.mark.timeout(220)
async def test_the_gateway_keeps_what_the_document_says(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        missing("schemathesis is not installed: it comes with the test extra")
    house = await serve(license__model="trueconf", store__path=tmp_path / "t.db")
    wire = await house.welcomed(account="ann", device="laptop", client="demo/1")
    await wire.ask("join", conference="weekly", access="public", host=True)
    for method, path, body in (
        ("PUT", "/api/accounts/ann", None),
        ("PUT", "/api/groups/staff", {"accounts": ["ann"], "permanent": True}),
        ("PUT", "/api/hosts/ann", None),
        ("PUT", "/api/bans/192.0.2.7", {"for": "5m"}),
        ("POST", "/api/tokens/ops", {"scope": "read"}),
    ):
        assert (await house.http(method, path, json=body))[0] == 200
    # Events never end; their own tests hold them to the document.
    monkeypatch.setenv("SCHEMATHESIS_HOOKS", "tests.edge.api.schemathesis_hooks")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    arguments = f"{house.url}/openapi.json --exclude-path /api/events --seed 1 --no-shrink --no-color"
    code, told = await outcome(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        *arguments.split(),
        f"--max-examples={max(settings().max_examples // 12, 1)}",
        "--warnings=off",
        "--suppress-health-check=all",
        "--continue-on-failure",
        cwd=tmp_path,
        patience=PATIENCE,
    )
    assert code == 0, told[-4000:]
