"""`tallygate load` with a profile: clients that come and go, on one machine and on several, against a real gateway."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import load
from tests.cli.program import begin, end, run, said
from tests.cli.test_load import against, parsed
from tests.conftest import House, Serve

LIVELY = """
clients = 60
rate = 60
arrivals = "random"
duration = "4s"
heartbeat = "300ms"
addresses = 20
[[group]]
share = 2
accounts = "distinct"
clients_per_account = 2
websocket = 50
conferences = 4
hold = { mean = "600ms", shape = "exponential" }
away = { mean = "200ms", shape = "uniform" }
retry = { mean = "200ms" }
drop = 20
half_open = 20
[[group]]
awake = { mean = "400ms", shape = "exponential" }
asleep = { mean = "400ms", shape = "exponential" }
conferences = 4
wait = 1
[[spike]]
at = "2s"
come = 20
cut = 15
within = "500ms"
"""


async def loaded(house: House, tmp_path: Path, text: str, *argv: str) -> tuple[int, dict[str, Any]]:
    profile = tmp_path / "profile.toml"
    profile.write_text(text, encoding="utf-8")
    command = [each for each in against(house, "--profile", str(profile), *argv) if each not in {"--ramp", "500"}]
    ended = await run(*command)
    assert ended.out, ended.err
    return ended.code, json.loads(ended.out)


def test_options_replace_what_a_profile_says_of_all(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text('clients = 7\nrate = 3\nduration = "1m"\n', encoding="utf-8")
    profile = load.profile_of(parsed("--profile", str(path)))
    assert (profile.clients, profile.rate, profile.duration, profile.heartbeat) == (7, 3.0, 60.0, None)
    profile = load.profile_of(parsed("--profile", str(path), "--connections", "9", "--heartbeat", "2"))
    assert (profile.clients, profile.rate, profile.duration, profile.heartbeat) == (9, 3.0, 60.0, 2.0)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--profile", "p.toml", "--kind", "sip"), "--kind: is said by the groups of the profile"),
        (("--join", "h:1", "--connections", "5"), "--connections: is said by the machine that leads"),
        (("--lead", "h:1"), "--lead and --machines need each other"),
    ],
)
def test_options_that_contradict_each_other_are_refused(argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        load.run(parsed(*argv))


async def test_every_fault_of_a_profile_is_said_and_nothing_is_contacted(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text('rates = 5\nclients = "many"\n', encoding="utf-8")
    ended = await run("load", "--profile", str(path), "--host", "no-such-host.invalid")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        f'{path}: rates: unknown key (did you mean "rate"?)',
        f'{path}: clients: expected an integer, found the string "many"',
    ]


@pytest.mark.slow
@pytest.mark.parametrize("window", ["0s", "1s"])
async def test_clients_that_come_and_go_and_fail_are_counted_right(window: str, serve: Serve, tmp_path: Path) -> None:
    house = await serve(
        license__epop__users=30, heartbeat__interval="300ms", heartbeat__timeout="2s", heartbeat__resume_window=window
    )
    course = tmp_path / "course.csv"
    code, seen = await loaded(house, tmp_path, LIVELY, "--csv", str(course), "--seed", "3")
    assert (seen["errors"], seen["lost"]) == ({}, {})
    assert seen["holding"]["drift"] == seen["after"]["drift"] == 0, seen
    assert code == 0
    assert min(seen[name] for name in ("left", "cut", "timed_out", "retried")) > 0
    assert seen["welcomed"] > 120
    assert seen["full"] == {"concurrent": 30}
    rows = list(csv.DictReader(course.read_text(encoding="utf-8").splitlines()))
    assert 4 <= len(rows) <= 8
    assert sum(int(row["cut"]) for row in rows) > 0
    assert max(int(row["asleep"]) for row in rows) > 0
    assert any(float(row["ack_p99"] or 0) > 0 for row in rows)


async def test_who_drops_comes_back_to_its_session(serve: Serve, tmp_path: Path) -> None:
    house = await serve(license__epop__users=10, heartbeat__resume_window="1m")
    text = """
    clients = 10
    rate = 100
    duration = "1500ms"
    [[group]]
    conferences = 1
    [[spike]]
    at = "500ms"
    cut = 10
    """
    code, seen = await loaded(house, tmp_path, text)
    assert (code, seen["cut"], seen["members"], seen["denied"]) == (0, 10, 10, {})
    assert seen["welcomed"] == 20


async def test_a_summary_says_that_a_limit_is_no_fault(serve: Serve) -> None:
    house = await serve()
    argv = against(house, "--connections", "25", "--conferences", "5", "--duration", "0.1")
    ended = await run(*(each for each in argv if each != "--json"))
    assert ended.code == 0
    assert "denied      15: join pool_full 15\n" in ended.out
    assert "by the license (concurrent: 10), which is no fault: it lets in so many\n" in ended.out


async def test_more_clients_at_once_than_the_gateway_takes_are_refused(serve: Serve, tmp_path: Path) -> None:
    house = await serve(listen__max_connections=10)
    path = tmp_path / "profile.toml"
    path.write_text('clients = 100\n[[group]]\nhold = { mean = "1s" }\naway = { mean = "4s" }\n', encoding="utf-8")
    ended = await run(*(each for each in against(house, "--profile", str(path)) if each not in {"--ramp", "500"}))
    assert ended.err == "tallygate load: 20 connections are wanted, and the gateway has room for 10 of its 10\n"


async def test_a_file_that_cannot_be_written_is_said_before_anything_is_done(serve: Serve, tmp_path: Path) -> None:
    house = await serve()
    ended = await run(*against(house, "--csv", str(tmp_path / "none" / "x.csv")))
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "No such file or directory" in ended.err
    assert house.runtime.tcp.accepted == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
async def test_several_machines_share_one_load(serve: Serve, tmp_path: Path) -> None:
    house = await serve(license__epop__users=30, heartbeat__interval="300ms", heartbeat__timeout="2s")
    profile, place = tmp_path / "profile.toml", f"127.0.0.1:{free_port()}"
    profile.write_text(LIVELY, encoding="utf-8")
    argv = against(house, "--profile", str(profile), "--lead", place, "--machines", "3")
    leading = await begin(*(each for each in argv if each not in {"--ramp", "500"}))
    await said(leading.stderr, "0 of 2 other machines")
    joining = [await begin("load", "--join", place) for _ in range(2)]
    ended = await end(leading)
    seen = json.loads(ended.out)
    assert (ended.code, seen["lost"], seen["errors"]) == (0, {}, {})
    assert seen["holding"]["drift"] == seen["after"]["drift"] == 0
    assert seen["cut"] >= 15
    assert [(await end(each))[:2] for each in joining] == [(0, "")] * 2


async def test_machines_whose_leader_is_gone_say_bye(serve: Serve) -> None:
    house = await serve()
    place = f"127.0.0.1:{free_port()}"
    argv = against(house, "--connections", "20", "--duration", "3600", "--lead", place, "--machines", "2")
    leading = await begin(*argv)
    await said(leading.stderr, "0 of 1 other machines")
    joining = await begin("load", "--join", place)
    await said(leading.stderr, "holding")
    leading.kill()
    await end(leading)
    ended = await end(joining)
    assert "Traceback" not in ended.err
    assert await house.http("GET", "/api/connections/count") == (200, {"count": 0, "asleep": 0, "idle": 0})


async def test_nobody_to_join_is_said() -> None:
    ended = await run("load", "--join", f"127.0.0.1:{free_port()}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("tallygate load: nobody leads a load at 127.0.0.1:")


async def test_a_load_that_cannot_begin_leaves_the_course_of_the_last_one(tmp_path: Path, closed_port: int) -> None:
    course = tmp_path / "course.csv"
    course.write_text("the last one\n")
    nobody = f"http://127.0.0.1:{closed_port}"
    ended = await run("load", "--connections", "1", "--csv", str(course), "--operator", nobody)
    assert (ended.code, course.read_text()) == (1, "the last one\n")
