"""The examples for Prometheus, Alertmanager and Grafana, in the real programs as far as Debian has them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import config
import metrics
from config.settings import Settings
from tests.programs import free_port, outcome, program, serving

EXAMPLES = Path(config.__file__).parent
PROMETHEUS, ALERTMANAGER = EXAMPLES / "prometheus.yml", EXAMPLES / "alertmanager.yml"
RULES = Path(metrics.__file__).parent / "rules"
PATIENCE = 20.0
WHERE = {"job": "tallygate", "instance": "gw"}
POOL = {**WHERE, "model": "epop", "pool": "concurrent"}


@pytest.mark.debian
async def test_prometheus_accepts_its_example_and_finds_the_rules() -> None:
    code, told = await outcome(program("promtool", "prometheus"), "check", "config", str(PROMETHEUS))
    assert code == 0, told
    for path in RULES.glob("*.yml"):
        assert f"{path.name}\n  SUCCESS" in told


def test_prometheus_scrapes_the_default_port_often_enough_for_every_peak() -> None:
    text = PROMETHEUS.read_text(encoding="utf-8")
    assert f"127.0.0.1:{Settings().listen.operator}" in text
    (interval,) = re.findall(r"scrape_interval: (\d+)s", text)
    assert 2 * int(interval) < Settings().metrics.high_water_window
    grafana = (EXAMPLES / "grafana/provisioning/datasources/tallygate.yml").read_text(encoding="utf-8")
    assert f"timeInterval: {interval}s\n" in grafana


@pytest.mark.debian
async def test_alertmanager_accepts_its_example() -> None:
    code, told = await outcome(program("amtool", "prometheus-alertmanager"), "check-config", str(ALERTMANAGER))
    assert code == 0, told


@pytest.mark.debian
@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "desk")])
async def test_alerts_go_out_by_severity(severity: str, receiver: str) -> None:
    amtool = program("amtool", "prometheus-alertmanager")
    code, told = await outcome(
        amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}"
    )
    assert (code, told.split()[-1]) == (0, receiver)


def test_only_alerts_that_exist_are_routed_or_inhibited() -> None:
    known = set(re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text(encoding="utf-8")))
    named = set(re.findall(r"Tallygate[A-Z]\w+", ALERTMANAGER.read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_grafana_is_told_where_the_dashboards_are() -> None:
    text = (EXAMPLES / "grafana/provisioning/dashboards/tallygate.yml").read_text(encoding="utf-8")
    assert "metrics/dashboards/*.json" in text
    assert re.search(r"\n +type: file\n", text)
    assert re.search(r"\n +options:\n +path: /\S+\n", text)


@contextlib.asynccontextmanager
async def alertmanager(place: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """The real Alertmanager with the example's rules, ready; it tells nobody."""
    path = program("prometheus-alertmanager", "prometheus-alertmanager")
    silent = re.sub(r"(?m)^    email_configs:\n(      .*\n)+", "", ALERTMANAGER.read_text(encoding="utf-8"))
    (place / "alertmanager.yml").write_text(silent, encoding="utf-8")
    port = free_port()
    async with serving(
        path,
        f"--config.file={place / 'alertmanager.yml'}",
        f"--storage.path={place / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        port=port,
    ) as session:
        yield session


async def tell(session: aiohttp.ClientSession, *alerts: dict[str, str]) -> None:
    """Have alerts fire."""
    async with session.post("/api/v2/alerts", json=[{"labels": labels} for labels in alerts]) as response:
        assert response.status == 200, await response.text()


async def passes_on(session: aiohttp.ClientSession, *alerts: dict[str, str]) -> None:
    """Wait until these alerts, and no others that fire, are those that people are told of."""
    wanted = sorted(alerts, key=str)
    deadline = time.monotonic() + PATIENCE
    while True:
        async with session.get("/api/v2/alerts") as response:
            known = await response.json()
        found = [each["labels"] for each in known if each["status"]["state"] == "active"]
        if sorted(({key: each[key] for key in sorted(each)} for each in found), key=str) == wanted:
            return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)  # it judges when it likes


def alert(name: str, severity: str, **labels: str) -> dict[str, str]:
    """The labels of an alert."""
    return dict(sorted({"alertname": name, "severity": severity, **(labels or WHERE)}.items()))


@pytest.mark.debian
async def test_what_follows_from_another_alert_is_not_told(tmp_path: Path) -> None:
    pairs = [
        (alert("TallygatePoolFull", "warning", **POOL), alert("TallygatePoolNearLimit", "warning", **POOL)),
        (alert("TallygateLicenseExpiring", "critical"), alert("TallygateLicenseExpiring", "warning")),
        (alert("TallygateShutdownNear", "critical"), alert("TallygateRegistrationLost", "warning")),
        (alert("TallygateMassDisconnect", "critical"), alert("TallygateHeartbeatTimeouts", "warning")),
        (alert("TallygateStoreFailing", "critical"), alert("TallygateStoreSlow", "warning")),
    ]
    elsewhere = alert("TallygatePoolNearLimit", "warning", **{**POOL, "instance": "other"})
    causes, effects = [cause for cause, _ in pairs], [effect for _, effect in pairs]
    async with alertmanager(tmp_path) as session:
        await tell(session, *effects, elsewhere)
        await passes_on(session, *effects, elsewhere)
        await tell(session, *causes)
        await passes_on(session, *causes, elsewhere)
        unlicensed = alert("TallygateUnregistered", "critical")
        await tell(session, unlicensed)
        full, _, _, _, store = causes
        await passes_on(session, unlicensed, full, store, elsewhere)
        down = alert("TallygateDown", "critical")
        await tell(session, down)
        await passes_on(session, down, elsewhere)
