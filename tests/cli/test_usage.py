"""`tallygate usage`: what a person, a spreadsheet and a program read of who used the pools."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.cli.usage import FIELDS, render
from tests.cli.program import run_here
from tests.conftest import House, Serve


def pool(name: str, hours: float, **more: Any) -> dict[str, Any]:
    return {
        "model": "trueconf",
        "pool": name,
        "days": 2,
        "seat_seconds": hours * 3600,
        "peak": 1,
        "grants": 3,
        "denials": 2,
        "true_denials": 1,
        "seated": 1,
        "time_to_seat": {"mean": 4.0, "max": 4.0},
    } | more


def item(account: str | None, *pools: dict[str, Any]) -> dict[str, Any]:
    return {
        "account": account,
        "days": 3,
        "first": "2026-11-01T08:00:00Z",
        "last": "2026-11-27T16:00:00Z",
        "connected_seconds": 7200.0,
        "sessions": 4,
        "most_sessions": 2,
        "pools": list(pools),
    }


DOCUMENT: dict[str, Any] = {
    "items": [item(None), item("ann@example.org", pool("pro", 26.5), pool("online", 2.0))],
    "first_day": "2026-10-29",
    "last_day": "2026-11-28",
    "timezone": "Europe/Berlin",
    "by": "account",
    "model": "trueconf",
    "enforced": False,
    "pools": ["pro", "online", "guest"],
}


def test_a_person_reads_an_aligned_table() -> None:
    assert (
        render(DOCUMENT)
        == """\
2026-10-29 to 2026-11-28 (Europe/Berlin), trueconf (in shadow)

account          days             last seen  connected  sessions   pro  online  guest  denied  true
(guests)            3  2026-11-27T16:00:00Z        2.0         4     -       -      -       0     0
ann@example.org     3  2026-11-27T16:00:00Z        2.0         4  26.5     2.0      -       4     2

connected and pools: hours; a seat is charged to whom it was granted. true: refused, and not seated soon."""
    )


@pytest.fixture
async def used(serve: Serve) -> House:
    """A gateway that ann used, and that bob of a group never came to."""
    house = await serve()
    ann = await house.welcomed(account="ann", device="phone")
    await ann.ask("join", conference="a")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "bob"]})
    return house


async def test_a_spreadsheet_reads_a_line_for_each_pool_of_every_model(used: House) -> None:
    code, out, _ = await run_here("usage", "--csv", "--operator", used.url)
    found = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert tuple(found[0]) == FIELDS
    assert {(row["account"], row["model"]) for row in found} >= {("ann", "epop"), ("ann", "trueconf")}


async def test_a_spreadsheet_takes_no_name_for_a_formula(serve: Serve) -> None:
    house = await serve()
    names = ['=hyperlink("http://example.org")', "+1", "-1", "@sum(a1)", "a=b"]
    for name in names:
        await house.welcomed(account=name)
    _, out, _ = await run_here("usage", "--csv", "--operator", house.url)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["account"] for row in rows} == {*(f"'{name}" for name in names[:4]), "a=b"}
    assert {row["connected_seconds"][:1] for row in rows} <= set("0123456789")


@pytest.mark.parametrize("by", ["account", "device", "group", "day", "week", "month"])
async def test_each_way_to_put_it_together_is_a_table(used: House, by: str) -> None:
    code, out, fault = await run_here("usage", "--by", by, "--operator", used.url)
    assert (code, fault) == (0, "")
    assert out.splitlines()[2].startswith(by)
    assert "epop (decides)" in out


async def test_a_program_reads_one_document(used: House) -> None:
    _, out, _ = await run_here("usage", "--json", "--by", "device", "--operator", used.url)
    assert [(each["account"], each["device"]) for each in json.loads(out)["items"]] == [("ann", "phone")]


async def test_accounts_that_never_came_are_listed(used: House) -> None:
    assert (await run_here("usage", "--absent", "--operator", used.url))[:2] == (0, "bob\n")
    await used.http("DELETE", "/api/groups/board")
    assert (await run_here("usage", "--absent", "--operator", used.url))[:2] == (0, "")


async def test_a_model_that_does_not_count_is_told_so(used: House) -> None:
    code, out, fault = await run_here("usage", "--model", "none", "--operator", used.url)
    assert (code, out) == (1, "")
    assert "no model of this name counts" in fault


def test_an_unknown_way_is_wrong_usage() -> None:
    assert main(["usage", "--by", "year"]) == 2


def test_a_gateway_that_is_not_there_is_told_so(closed_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--operator", f"http://127.0.0.1:{closed_port}"]) == 1
    assert "is it running?" in capsys.readouterr().err
