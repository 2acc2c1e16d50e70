"""The rules: Prometheus accepts them, their own tests pass, and every alert says what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import metrics
from tests.programs import outcome, program

PLACE = Path(metrics.__file__).parent
RULES = sorted((PLACE / "rules").glob("*.yml"))
TESTS = sorted((PLACE / "rules" / "tests").glob("*.yml"))
RUNBOOK = (PLACE / "RUNBOOK.md").read_text(encoding="utf-8")
ALERTS = [
    (block.split("\n", 1)[0], block)
    for block in (PLACE / "rules" / "alerts.yml").read_text(encoding="utf-8").split("- alert: ")[1:]
]
"""Name and text of each alert."""
CASES = "".join(path.read_text(encoding="utf-8") for path in TESTS)


@pytest.mark.debian
async def test_prometheus_accepts_the_rules() -> None:
    promtool = program("promtool", "prometheus")
    code, told = await outcome(promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))
    assert code == 0, told


@pytest.mark.debian
async def test_the_rules_pass_their_own_tests() -> None:
    promtool = program("promtool", "prometheus")
    code, told = await outcome(promtool, "test", "rules", *map(str, TESTS))
    assert code == 0, told
    assert told.count("SUCCESS") == len(TESTS) == 5


@pytest.mark.parametrize("name", dict(ALERTS))
def test_an_alert_has_cases_that_fire_and_cases_that_are_silent(name: str) -> None:
    assert re.search(rf"alertname: {name}\n +exp_alerts:\n +- exp_labels", CASES)
    assert re.search(rf"\{{eval_time: \w+, alertname: {name}\}}", CASES)


@pytest.mark.parametrize(("name", "text"), ALERTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(ALERTS)])
def test_an_alert_says_what_it_is_and_what_to_do(name: str, text: str) -> None:
    assert re.search(r"\n +labels:\n +severity: (critical|warning)\n", text)
    assert re.search(r"\n +annotations:\n +summary: \S", text)
    assert re.search(r"\n +description: \S", text)
    assert f'runbook_url: "http://{{{{ $labels.instance }}}}/runbook#{name.lower()}"\n' in text
    section = re.search(rf"\n## {name}\n(.*?)(?=\n## |\Z)", RUNBOOK, re.DOTALL)
    assert section
    assert re.findall(r"(?m)^\*\*(.+?)\*\*", section[1]) == ["Means", "Matters", "Look at", "Do"]


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert re.findall(r"(?m)^## (\w+)$", RUNBOOK) == list(dict.fromkeys(name for name, _ in ALERTS))
