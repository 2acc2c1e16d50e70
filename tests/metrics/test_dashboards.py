"""The dashboards: Grafana can load them, and no panel and no rule is without data from a real Prometheus.

Grafana is not there: what it would put in place of its variables is put there here, and each query is asked as Grafana
would ask it, over the time shown or, where it says so, for now.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import metrics
from gateway.edge.gateway import running
from metrics.cluster_families import ClusterView, cluster_families
from tests.cli.program import run
from tests.conftest import House, settings_of
from tests.metrics.server import PATIENCE, Prometheus, prometheus
from tests.wire_client import Wire

PLACE = Path(metrics.__file__).parent
DASHBOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (PLACE / "dashboards").glob("*.json")}
NAMES = ["overview", "license", "connections", "registration", "process"]
SELECTOR = re.compile(r"\b(tallygate_\w+|process_\w+|scrape_\w+|up|ALERTS)\b(\{[^}]*\})?")
"""A metric and the braces after it."""
NAME = re.compile(r"\b(?:\w+:)?(?:tallygate|process|scrape)_\w+(?::\w+)*")
"""The name of a metric, recorded ones too."""
COMPARISON = re.compile(r"(==|!=|<=|>=|<|>)(?! bool)")


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every expression of a dashboard that names a series: of panels, annotations and variables."""
    for panel in panels(dashboard):
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["expr"] for each in dashboard["annotations"]["list"] if "expr" in each)


# -- what Grafana reads ------------------------------------------------------------------------------------------------


def test_the_dashboards_are_there() -> None:
    assert sorted(DASHBOARDS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_kept_so_that_changes_can_be_read(name: str) -> None:
    text = (PLACE / "dashboards" / f"{name}.json").read_text(encoding="utf-8")
    assert text == json.dumps(DASHBOARDS[name], indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_its_identity_links_and_variables(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert (dashboard["uid"], dashboard["id"]) == (f"tallygate-{name}", None)
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["title"]
    assert dashboard["description"]
    assert re.fullmatch(r"now-\d+h", dashboard["time"]["from"])
    (link,) = dashboard["links"]
    assert (link["type"], link["tags"], link["includeVars"]) == ("dashboards", dashboard["tags"], True)
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables)[:3] == ["datasource", "job", "instance"]
    assert all(variables[each]["multi"] and variables[each]["includeAll"] for each in ("job", "instance"))


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_says_what_it_shows(name: str) -> None:
    everything = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in panels(DASHBOARDS[name]):
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert refs, panel["title"]
        assert len(set(refs)) == len(refs), panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["yAxis"]["unit"]
        elif panel["type"] == "table":
            units = [each["properties"][0]["id"] for each in panel["fieldConfig"]["overrides"]]
            assert units.count("unit") == len(panel["targets"])
        else:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_no_two_panels_lie_upon_each_other(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARDS[name]["panels"]]
    for title, each in places:
        assert min(each["x"], each["y"]) >= 0, title
        assert each["x"] + each["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_uses_the_variables(name: str) -> None:
    for expression in expressions(DASHBOARDS[name]):
        found = SELECTOR.findall(expression)
        assert found, expression
        for _, braces in found:
            assert 'job=~"$job"' in braces, expression
            assert 'instance=~"$instance"' in braces, expression
        for function, window in re.findall(r"(\w+)\([^()]*\[([^\]]+)\]", expression):
            assert window == "$__rate_interval" or (window, function) == ("$__range", "increase"), expression


def test_limits_are_dashed_lines() -> None:
    shown = [
        panel
        for dashboard in DASHBOARDS.values()
        for panel in panels(dashboard)
        if panel["type"] == "timeseries"
        and any(target.get("legendFormat", "").endswith("limit") for target in panel["targets"])
    ]
    assert [panel["title"] for panel in shown] == ["$pool", "Open files"]
    for panel in shown:
        (style,) = [each for each in panel["fieldConfig"]["overrides"] if each["matcher"]["options"] == "/limit$/"]
        properties = {each["id"]: each["value"] for each in style["properties"]}
        assert properties["custom.lineStyle"]["fill"] == "dash"
        assert properties["custom.fillOpacity"] == 0


# -- what Prometheus answers -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def watched(place: Path, *instances: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes and evaluates every second."""
    config = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
        f"rule_files: ['{PLACE}/rules/*.yml']\n"
        "scrape_configs:\n"
        "  - job_name: tallygate\n"
        f"    static_configs: [{{targets: {list(instances)}}}]\n"
    )
    async with prometheus(place, config) as server:
        yield server


class Queries:
    """Queries that have had no answer yet; what has answered once is forgotten.

    `instances` are put in place of Grafana's variable, the enforced model and all its pools in that of the others.
    """

    def __init__(self, server: Prometheus, instances: list[str]) -> None:
        self._server = server
        self._began = time.time()
        self._values = {
            "job": "tallygate",
            "instance": "|".join(map(re.escape, instances)).replace("\\", "\\\\"),
            "model": "trueconf",
            "pool": "online|pro|guest|gateway",
        }
        self.waiting: dict[str, tuple[str, bool]] = {}

    def add(self, name: str, expression: str, *, instant: bool = False) -> None:
        """Wait for an expression as well; `instant` means its value now, else what it was since the beginning."""
        self.waiting[name] = (expression, instant)

    async def ask(self) -> None:
        """Ask all that have had no answer."""
        now = time.time()
        elapsed = f"{max(10, round(now - self._began))}s"
        for name, (expression, instant) in list(self.waiting.items()):
            query = expression.replace("$__rate_interval", "10s").replace("$__range", elapsed)
            for variable, value in self._values.items():
                query = query.replace(f"${variable}", f"({value})")
            span = {} if instant else {"start": str(self._began), "end": str(now), "step": "1"}
            found = await self._server.ask(query, **span)
            if any(
                math.isfinite(float(value))
                for series in found
                for _, value in (series["values"] if "values" in series else [series["value"]])
            ):
                del self.waiting[name]

    async def answered(self) -> None:
        """Wait until all have had an answer; raises AssertionError with those that have had none."""
        deadline = time.monotonic() + PATIENCE
        while self.waiting:
            await self.ask()
            assert time.monotonic() < deadline, f"no data: {json.dumps(self.waiting, indent=1)}"
            if self.waiting:
                await asyncio.sleep(0.5)  # Prometheus scrapes when it likes; it has no event to wait on


def add_panels(queries: Queries) -> None:
    """Wait for all that the dashboards ask for."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                title = f"{name}: {panel['title']} {target['refId']}"
                queries.add(title, target["expr"], instant=target.get("instant", False))
        for variable in dashboard["templating"]["list"]:
            found = re.fullmatch(r"label_values\((.+), (\w+)\)|query_result\((.+)\)", variable.get("definition", ""))
            if found:
                queries.add(f"{name}: ${variable['name']}", found[3] or f"count by ({found[2]}) ({found[1]})")


async def add_rules(queries: Queries, server: Prometheus) -> None:
    """Wait for all that the rules record, and for both sides of all comparisons in alerts.

    An alert that does not fire is empty as it should be; with `bool` it says yes or no where it has something to judge.
    """
    groups = (await server.get("rules"))["groups"]
    alone = (group for group in groups if group["name"] != "tallygate-cluster")  # this gateway is no node of one
    for number, rule in enumerate(rule for group in alone for rule in group["rules"]):
        parts = re.split(r"(\{[^}]*\})", rule["query"])
        judged = "".join(part if part.startswith("{") else COMPARISON.sub(r"\1 bool", part) for part in parts)
        expression = judged if rule["type"] == "alerting" else rule["name"]
        queries.add(f"rule {number}: {rule['name']}", expression)


async def registered(house: House, queries: Queries) -> None:
    """Wait until the registrar has verified a gateway."""
    async with asyncio.timeout(PATIENCE):
        while (await house.http("GET", "/api/registration"))[1]["state"] != "registered":
            await queries.ask()


async def busy(house: House) -> list[Wire]:
    """Clients that do all that a panel shows: enter, fill pools, are refused, wait, are kicked, lost, silent, go."""
    wires = [await house.welcomed("tcp", account=f"u{number}", device="laptop") for number in range(5)]
    for wire in wires:
        await wire.ask("join", conference="weekly", access="public")  # of five, four have a PRO seat
    guests = [await house.welcomed("websocket", kind=kind) for kind in ("app", "app", "sip")]
    for guest in guests:
        await guest.ask("join", conference="weekly")  # of two guests, one has a seat
    await guests[1].ask("join", conference="weekly", wait=60)
    await guests[0].ask("leave", conference="weekly")
    await wires[0].ask("leave", conference="nowhere")
    await wires[1].ask("sleep")
    gone = [await house.welcomed(transport) for transport in ("tcp", "websocket", "tcp")]
    await gone[0].drop()
    await gone[1].close()
    status, told = await house.http("GET", "/api/connections?account=u4")
    assert status == 200
    await house.http("DELETE", f"/api/connections/{told['items'][0]['id']}")
    return wires


async def load(house: House) -> None:
    """The load test, beside the other clients."""
    ended = await run(
        *("load", "--connections", "8", "--ramp", "50", "--duration", "3", "--transport", "mix", "--heartbeat", "0.5"),
        *("--accounts", "distinct", "--conferences", "1", "--no-compare", "--json"),
        *("--tcp-port", str(house.tcp), "--websocket-port", str(house.websocket)),
    )
    assert json.loads(ended.out), ended.err


def posted_to(place: Path) -> str:
    """A webhook whose receiver is not there."""
    secret = place / "secret"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    return f'[{{ url = "http://127.0.0.1:9/", secret_file = "{secret}" }}]'


@pytest.mark.debian
async def test_no_panel_and_no_rule_is_without_data(tmp_path: Path) -> None:
    """One gateway is the registrar of the other; at last it is closed, and the other one counts down."""
    async with contextlib.AsyncExitStack() as stack:
        vendors = await stack.enter_async_context(contextlib.AsyncExitStack())
        vendor = House(await vendors.enter_async_context(running(settings_of(registrar__interval="1s"))), vendors)
        ends = datetime.now(UTC) + timedelta(days=5)
        limits = {"online": 40, "pro": 4, "guest": 1, "gateway": 1}
        license = {"model": "trueconf", "edition": "free", "limits": limits, "needs_connection": True}
        status, made = await vendor.http(
            "PUT", "/api/licenses/DEMO-1", json={**license, "not_after": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )
        assert status == 200, made
        (tmp_path / "demo.key").write_text(made["key"])
        house = House(
            await stack.enter_async_context(
                running(
                    settings_of(
                        license__model="trueconf",
                        license__trueconf__edition="free",
                        license__rule='[{ pool = "online", kind = "tv", reserve = 1, most = 5 }]',
                        heartbeat__interval="2s",
                        heartbeat__timeout="4s",
                        history__true_denial_window="1s",
                        webhook=posted_to(tmp_path),
                        registration__role="agent",
                        registration__server=f"127.0.0.1:{vendor.gateway.ports()['registrar']}",
                        registration__serial="DEMO-1",
                        registration__key_file=str(tmp_path / "demo.key"),
                    )
                )
            ),
            stack,
        )
        house.runtime.certificate_ends = {"clients": ends.timestamp()}  # these clients speak no TLS
        instances = [f"127.0.0.1:{each.operator}" for each in (house, vendor)]
        server = await stack.enter_async_context(watched(tmp_path, *instances))
        queries = Queries(server, instances)
        add_panels(queries)
        await add_rules(queries, server)
        await registered(house, queries)
        await server.seen("count(count_over_time(up[1m]) > 1) == 2")  # a rate needs what was before
        await asyncio.gather(busy(house), load(house))
        await server.seen("sum(rate(tallygate_registrar_checks_total[10s])) > 0")
        await server.seen('tallygate_connections_closed_total{cause="heartbeat_timeout",transport="tcp"} > 0')
        await queries.ask()
        await vendors.aclose()
        await queries.answered()
        await server.seen('ALERTS{alertname="TallygateTrueDenials",alertstate="firing",pool="pro"}')
        await server.seen('ALERTS{alertname="TallygateLicenseExpiring",alertstate="firing",severity="critical"}')
        texts = [path.read_text(encoding="utf-8") for path in (PLACE / "rules").glob("*.yml")]
        named = {name for text in (*texts, *map(str, DASHBOARDS.values())) for name in NAME.findall(text)}
        view = ClusterView(
            "active", ("active",), 0, 0, 0, 0, 0, 0, 0, 0, {"alive": 1}, 0
        )  # of a node, which this is not
        shown = {sample.name for family in cluster_families(view) for sample in family.samples}
        assert named - shown - set(await server.get("label/__name__/values")) == set()
        rules = [rule for group in (await server.get("rules"))["groups"] for rule in group["rules"]]
        assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []
