"""What the gateways of a cluster have together is added up once, and what gateways alone have for each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.metrics.test_dashboards import DASHBOARDS, expressions, panels
from tests.programs import outcome, program

TOGETHER = re.compile(r"tallygate_(license_\w+|sessions|accounts_connected|devices_connected|conferences|conference_m)")
"""Metrics that all gateways of a cluster show the same of."""
VALUES = {"job": "t", "instance": "a|b|alone", "model": "epop", "pool": "concurrent", "__range": "10m"}
CLUSTERS = {"a": "c1", "b": "c1", "alone": "c2"}


def expression(dashboard: str, title: str) -> str:
    """The first query of a panel, with its variables filled in."""
    (panel,) = [each for each in panels(DASHBOARDS[dashboard]) if each["title"] == title]
    query: str = panel["targets"][0]["expr"]
    for name, value in VALUES.items():
        query = query.replace(f"${name}", value)
    return query


def series(name: str, values: str, labels: str = "") -> list[Mapping[str, str]]:
    """The same of two gateways of one cluster and of one that is alone."""
    return [{"series": f'{name}{{job="t", instance="{each}"{labels}}}', "values": values} for each in CLUSTERS]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_nothing_that_gateways_have_together_is_added_up_over_them(name: str) -> None:
    for query in expressions(DASHBOARDS[name]):
        sums = re.findall(r"\bsum\b(?: by \(([^)]*)\) )?\((.*)", query)
        if sums and TOGETHER.search(query) and "instance" not in sums[0][0]:
            assert sums[0][1].startswith("max without (instance) ("), query


@pytest.mark.debian
async def test_prometheus_counts_a_cluster_once_and_each_gateway_alone(tmp_path: Path) -> None:
    pool = ', model="epop", pool="concurrent"'
    document = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    *(
                        {
                            "series": f'tallygate_cluster_info{{job="t", instance="{name}", cluster="{id}"}}',
                            "values": "1x20",
                        }
                        for name, id in CLUSTERS.items()
                    ),
                    *series("tallygate_license_enforced", "1x20", ', model="epop"'),
                    *series("tallygate_license_high_water", "7x20", pool),
                    *series("tallygate_license_denials_total", "0+2x20", f'{pool}, reason="pool_full"'),
                    *series("tallygate_accounts_connected", "5x20"),
                ],
                "promql_expr_test": [
                    {
                        "expr": expression(*panel),
                        "eval_time": "15m",
                        "exp_samples": [{"labels": labels, "value": value}],
                    }
                    for panel, labels, value in (
                        (("license", "Seats each model needs"), '{model="epop", pool="concurrent"}', 14),
                        (("license", "Denied in this time"), "{}", 40),
                        (("overview", "Denied in this time"), "{}", 40),
                        (("connections", "Accounts"), "{}", 10),
                    )
                ],
            }
        ],
    }
    path = tmp_path / "cluster.yml"
    path.write_text(json.dumps(document), encoding="utf-8")
    code, told = await outcome(program("promtool", "prometheus"), "test", "rules", str(path))
    assert code == 0, told
