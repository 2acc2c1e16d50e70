"""`tallygate report`: what a person, a spreadsheet and a program read of a gateway's history."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.cli.report import FIELDS, render, rows
from gateway.licensing import MODELS
from tests.cli.program import run_here
from tests.conftest import House, Serve


def use(model: str, pool: str, **more: Any) -> dict[str, Any]:
    return {
        "start": "2026-10-22T00:00:00Z",
        "model": model,
        "pool": pool,
        "limit": 10,
        "seconds": 30 * 86400.0,
        "seat_seconds": 5.5 * 30 * 86400.0,
        "mean": 5.5,
        "max": 10,
        "p50": 5,
        "p95": 9,
        "p99": 10,
        "full_seconds": 2592.0,
        "grants": 4000,
        "releases": {"bye": 3990},
        "denied": 12,
        "true_denials": 7,
        "seated": 5,
        "week": [[0.0] * 24 for _ in range(7)],
    } | more


def sized(pool: str, **more: Any) -> dict[str, Any]:
    return {
        "pool": pool,
        "limit": 10,
        "peak": 10,
        "seats": 12,
        "erlang_b": 11,
        "demands": 4007,
        "turned_away": 7,
        "note": "Both agree.",
    } | more


def model(name: str, says: str, *pools: dict[str, Any], enforced: bool = False) -> dict[str, Any]:
    return {"model": name, "enforced": enforced, "says": says, "pools": list(pools)}


MONDAY_AT_NINE = [[8.25 if (day, hour) == (0, 9) else 1.0 for hour in range(24)] for day in range(7)]
DOCUMENT: dict[str, Any] = {
    "operator": "http://127.0.0.1:4311",
    "since": "30d",
    "share": 0.01,
    "patience_seconds": 60.0,
    "use": [
        use("nefsis-named", "participants", limit=125, max=37, denied=0, true_denials=0),
        use("epop", "concurrent", week=MONDAY_AT_NINE),
        use("floating", "seats", limit=None),
    ],
    "sizing": [
        model("epop", "e/pop: 12 users", sized("concurrent"), enforced=True),
        model(
            "nefsis-named",
            "Nefsis 5 x 25: not possible, 7 hosts",
            {"pool": "participants", "limit": 125, "peak": 37, "seats": None, "seats_each": 31, "note": "Apart."},
        ),
        model("floating", "floating: 14 seats", sized("seats", limit=None, seats=14)),
    ],
}


def line(word: str, nth: int = 0) -> list[str]:
    return [line for line in render(DOCUMENT).splitlines() if word in line][nth].split()


def test_the_enforced_model_comes_first() -> None:
    assert [row["model"] for row in rows(DOCUMENT)] == ["epop", "nefsis-named", "floating"]
    assert render(DOCUMENT).splitlines()[3].strip() == "* epop"


def test_use_has_peak_mean_percentiles_time_at_the_limit_and_denials_raw_and_true() -> None:
    assert line("concurrent") == ["concurrent", "10", "10", "5.5", "5", "9", "10", "0.1%", "12", "7"]
    assert line("seats ")[:3] == ["seats", "-", "10"]
    assert line("seats ")[7] == "-"


def test_the_busiest_hours_of_the_enforced_model_are_a_table_of_weekdays_and_hours() -> None:
    monday = line("Mon ")
    assert (len(monday), monday[10], monday[11]) == (25, "8", "1")
    assert "busiest: Mon 09-10 h 8.2, " in render(DOCUMENT)


def test_high_use_is_told_in_percent_of_the_busiest_hour() -> None:
    week = [[400.0] * 24, *[[800.0] * 24] * 6]
    said = render(DOCUMENT | {"use": [use("epop", "concurrent", week=week), *DOCUMENT["use"][::2]]})
    assert "in % of the busiest" in said
    assert "Mon  50 50" in said.replace("  ", " ").replace("Mon ", "Mon  ")


def test_shadows_are_told_to_see_only_admitted_traffic() -> None:
    assert "A shadow sees only admitted traffic" in " ".join(render(DOCUMENT).split())


def test_what_a_shadow_has_forgotten_is_told_where_it_has() -> None:
    forgetful = use("floating", "seats", limit=None, releases={"closed": 5, "forgotten": 1200})
    once = use("nefsis-named", "participants", releases={"forgotten": 1})
    document = DOCUMENT | {"use": [once, DOCUMENT["use"][1], forgetful]}
    said = " ".join(render(document).split())
    assert (
        "floating seats: 1200 seats that nobody held were forgotten, beyond license.shadow_leases: its use may be"
        " too low." in said
    )
    assert "nefsis-named participants: 1 seat that nobody held was forgotten," in said
    assert [row["forgotten"] for row in rows(document)] == [0, 1, 1200]
    assert "forgotten" not in render(DOCUMENT)


def test_sizing_has_the_replay_beside_erlang_and_why_they_differ() -> None:
    assert line("concurrent  ", 1) == ["concurrent", "10", "10", "12", "11", "4007", "7"]
    assert line("participants  ", 1)[3:5] == ["31", "each"]
    assert "epop concurrent, floating seats: Both agree." in render(DOCUMENT)


def test_every_model_is_said_in_one_phrase() -> None:
    assert render(DOCUMENT).splitlines()[-4:] == [
        "this traffic under",
        "  e/pop: 12 users",
        "  Nefsis 5 x 25: not possible, 7 hosts",
        "  floating: 14 seats",
    ]


def test_it_fits_eighty_columns() -> None:
    large: dict[str, Any] = dict.fromkeys(("limit", "max", "p50", "p95", "p99", "denied", "true_denials"), 99999)
    crowd = use("nefsis-named", "participants", **large | {"mean": 99_999.9, "full_seconds": 30 * 86400.0})
    again = DOCUMENT | {"use": [crowd, *DOCUMENT["use"][1:]]}
    assert max(len(line) for line in render(again).splitlines()) <= 80


def test_since_and_where_are_told() -> None:
    first = render(DOCUMENT).splitlines()[0]
    assert first == "http://127.0.0.1:4311: use since 2026-10-22T00:00:00Z, 30.0 days of it watched"


# Of a real gateway


async def used(serve: Serve) -> House:
    """A gateway for one, where two came."""
    house = await serve(license__epop__users=1)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="a")
    assert (await bob.ask("join", conference="a"))["type"] == "denied"
    return house


async def test_a_person_reads_a_table(serve: Serve) -> None:
    house = await used(serve)
    ended = await run_here("report", "--since", "1h", "--operator", house.url)
    assert (ended.code, ended.err) == (0, "")
    row = next(line.split() for line in ended.out.splitlines() if line.startswith("  concurrent"))
    assert (row[1:3], row[-2]) == (["1", "1"], "1")
    assert "  e/pop: 1 user" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


async def test_a_spreadsheet_reads_one_line_for_each_pool(serve: Serve) -> None:
    house = await used(serve)
    ended = await run_here("report", "--csv", "--operator", house.url)
    found = list(csv.DictReader(io.StringIO(ended.out)))
    assert tuple(found[0]) == FIELDS
    assert (found[0]["model"], found[0]["pool"], found[0]["max"], found[0]["denied"]) == (
        "epop",
        "concurrent",
        "1",
        "1",
    )
    assert {each["model"] for each in found} == set(MODELS)
    assert len(found) == sum(len(info.pools) for info in MODELS.values())


async def test_a_program_reads_one_document(serve: Serve) -> None:
    house = await used(serve)
    ended = await run_here("report", "--json", "--operator", house.url)
    document = json.loads(ended.out)
    assert document["sizing"][0]["model"] == "epop"
    assert {row["model"] for row in document["use"]} == {model["model"] for model in document["sizing"]}


async def test_a_time_that_is_none_is_told_in_one_line(serve: Serve) -> None:
    house = await serve()
    ended = await run_here("report", "--since", "yesterday", "--operator", house.url)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("tallygate report: GET /api/history: bad_field: since")
    assert ended.err.count("\n") == 1


def test_table_and_document_at_once_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--csv", "--json"]) == 2
    assert "not allowed with" in capsys.readouterr().err
