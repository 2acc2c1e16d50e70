"""`tallygate load`: plans, progress, summary, and the exit code they lead to."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import load, load_summary
from gateway.load.coordinator import Comparison, Coordinator, LoadResult
from gateway.load.participants import Participants
from gateway.load.plan import SPARE, LoadError, Plan, plans
from gateway.load.profile import Profile
from gateway.load.tally import Tally
from tests.cli.program import PATIENCE, begin, end, run, said
from tests.conftest import House, Serve, until

FILES = 20_000


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    load.arguments(parser)
    return parser.parse_args(argv)


def planned(*argv: str, files: int = FILES, address: str = "127.0.0.1") -> list[Plan]:
    args = parsed(*argv)
    (made,) = plans(
        load.profile_of(args),
        [load.machine_of(args, files)],
        address,
        {"tcp": args.tcp_port, "websocket": args.websocket_port},
        seed=args.seed,
        first_all_come=True,
    )
    return made


def tally() -> Tally:
    seen = Tally(attempted=10, connected=10, welcomed=9, joined=7, settled=10, members=7, beats=20, acks=20)
    seen.open = Counter({"tcp": 5, "websocket": 4})
    seen.denied = Counter({"join pool_full": 2, "hello banned": 1})
    for milliseconds in range(1, 21):
        seen.ack.record(milliseconds / 1000)
    return seen


EVEN = Comparison({"sessions": 9, "connections tcp": 5}, {"sessions": 9, "connections tcp": 5})
UNEVEN = Comparison({"sessions": 9, "connections tcp": 3}, {"sessions": 8, "connections tcp": 5})


def test_the_host_is_this_machine_unless_another_is_named() -> None:
    assert parsed().host == "127.0.0.1"
    (plan,) = planned("--tcp-port", "5000", address="192.0.2.7")
    assert (plan.host, plan.ports) == ("192.0.2.7", {"tcp": 5000, "websocket": 4308})


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
async def test_a_host_that_cannot_be_found_is_said_to(host: str) -> None:
    ended = await run("load", "--host", host, "--connections", "1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"tallygate load: the host {host} cannot be found: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("connections", "processes"), [(1, 1), (8000, 1), (8001, 2), (15_000, 2), (40_000, 5)])
def test_processes_follow_from_the_connections(connections: int, processes: int) -> None:
    made = planned("--connections", str(connections))
    assert len(made) == processes
    assert sum(plan.profile.clients for plan in made) == connections


def test_shares_follow_each_other_without_gap() -> None:
    made = planned("--connections", "100", "--processes", "7", "--ramp", "70")
    numbers = [number for plan in made for number in range(plan.first, plan.first + plan.profile.clients)]
    assert numbers == list(range(100))
    assert sum(plan.profile.rate for plan in made) == pytest.approx(70.0)


def test_no_process_holds_more_than_it_may_open() -> None:
    assert max(plan.profile.clients for plan in planned("--connections", "5000", files=1024)) <= 1024 - SPARE
    with pytest.raises(LoadError, match="need 6 processes"):
        planned("--connections", "5000", "--processes", "2", files=1024)


def test_on_loopback_every_process_has_addresses_of_its_own() -> None:
    made = planned("--connections", "15000")
    sources = [source for plan in made for source in plan.sources]
    assert len(sources) == len(set(sources)) >= 3
    assert all(source.startswith("127.0.0.") for source in sources)


@pytest.mark.parametrize("address", ["192.0.2.7", "::1", "fe80::1%eth0"])
def test_elsewhere_the_system_chooses_the_address(address: str) -> None:
    assert planned(address=address)[0].sources == []


def test_a_mix_takes_both_doors_in_turn() -> None:
    (group,) = planned("--transport", "mix")[0].profile.group
    assert [group.uses_websocket(number) for number in range(4)] == [False, True, False, True]


def test_a_seed_makes_the_same_plans_again() -> None:
    assert planned("--seed", "7") == planned("--seed", "7")
    assert planned()[0].seed != planned()[0].seed


def test_a_plan_survives_json() -> None:
    (plan,) = planned("--transport", "mix", "--accounts", "distinct", "--heartbeat", "0.5")
    assert Plan.load(json.loads(json.dumps(plan.dump()))) == plan


def test_the_bar_fits_a_terminal_and_fills_up() -> None:
    seen = Tally(settled=0)
    assert "[....................]" in load_summary.bar("ramping", seen, 15_000)
    full = tally()
    full.settled = full.attempted = 15_000
    full.open = Counter({"tcp": 15_000})
    full.lost = Counter({"closed": 15_000})
    full.errors = Counter({"refused": 15_000})
    line = load_summary.bar("holding", full, 15_000)
    assert "[####################] 15000/15000 open" in line
    assert len(line) <= 79


def test_progress_without_a_terminal_is_a_line_for_each_phase(capsys: pytest.CaptureFixture[str]) -> None:
    progress = load_summary.Progress(10, terminal=False)
    for phase in ("ramping", "ramping", "holding", "holding", "leaving"):
        progress.show(phase, tally())
    progress.end()
    said = capsys.readouterr()
    assert [line.split()[0].split("[")[0] for line in said.err.splitlines()] == ["ramping", "holding", "leaving"]
    assert said.out == ""


def test_progress_on_a_terminal_stays_on_its_line_and_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    progress = load_summary.Progress(10, terminal=True)
    progress.show("ramping", tally())
    progress.show("ramping", tally())
    progress.end()
    said = capsys.readouterr().err
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")


def test_the_summary_says_what_was_denied_and_why() -> None:
    said = load_summary.summary(LoadResult(tally=tally(), holding=EVEN, after=EVEN))
    assert "connected   10 of 10, 9 welcomed, 7 joined" in said
    assert "denied      3: hello banned 1, join pool_full 2" in said
    assert "lost        0" in said
    assert "20 sent, 20 acked" in said
    assert "holding     drift 0" in said
    assert "differs" not in said


def test_the_summary_shows_where_counts_differ() -> None:
    said = load_summary.summary(LoadResult(tally=tally(), holding=UNEVEN))
    assert "holding     drift 3" in said
    assert said.count("differs") == 2
    assert "after bye   not compared" in said


def test_the_document_has_latencies_in_seconds() -> None:
    document = json.loads(json.dumps(load_summary.document(LoadResult(tally=tally(), holding=EVEN))))
    latency = document["heartbeats"]["latency"]
    assert latency["max"] == 0.02
    assert 0.01 <= latency["p50"] < 0.0105
    assert document["welcome"]["latency"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert document["holding"]["drift"] == 0
    assert document["after"] is None


def test_drift_adds_every_difference() -> None:
    assert (EVEN.drift, UNEVEN.drift) == (0, 3)
    assert Comparison({}, {"sessions": 4}).drift == 4


def test_being_denied_is_no_failure() -> None:
    assert LoadResult(tally=tally(), holding=EVEN, after=EVEN).good


@pytest.mark.parametrize("outcome", [LoadResult(holding=UNEVEN), LoadResult(after=UNEVEN)])
def test_drift_is_a_failure(outcome: LoadResult) -> None:
    assert not outcome.good


@pytest.mark.parametrize("counter", ["lost", "errors"])
def test_lost_and_failed_connections_are_failures(counter: str) -> None:
    outcome = LoadResult(tally=tally())
    getattr(outcome.tally, counter)["closed"] += 1
    assert not outcome.good


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        (LoadResult(tally=tally(), holding=EVEN, after=EVEN), 0, ""),
        (LoadResult(tally=tally(), interrupted=True, after=EVEN), 130, ""),
        (LoadResult(tally=tally(), holding=UNEVEN), 1, "tallygate load: drift 3 while holding\n"),
    ],
)
def test_the_exit_code_follows_from_the_outcome(
    outcome: LoadResult, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def loaded(_: argparse.Namespace, __: Profile) -> LoadResult:
        return outcome

    monkeypatch.setattr(load, "_load", loaded)
    assert load.run(parsed("--json")) == code
    said = capsys.readouterr()
    assert said.err == words
    assert json.loads(said.out)["good"] is outcome.good


# Against a real gateway


def against(house: House, *argv: str) -> list[str]:
    """A command line that loads a gateway."""
    listeners = ["--tcp-port", str(house.tcp), "--websocket-port", str(house.websocket), "--operator", house.url]
    return ["load", "--json", "--ramp", "500", *listeners, *argv]


async def loaded(house: House, *argv: str) -> tuple[int, dict[str, Any]]:
    ended = await run(*against(house, *argv))
    return ended.code, json.loads(ended.out)


async def test_a_gateway_that_counts_right_has_no_drift(serve: Serve) -> None:
    house = await serve(license__epop__users=1000)
    code, seen = await loaded(
        house,
        *("--connections", "60", "--processes", "2", "--transport", "mix", "--conferences", "7"),
        *("--heartbeat", "0.2", "--duration", "0.5"),
    )
    assert code == 0
    assert (seen["connected"], seen["welcomed"], seen["joined"], seen["members"]) == (60, 60, 60, 60)
    assert seen["open"] == {"tcp": 30, "websocket": 30}
    assert seen["holding"]["drift"] == 0
    assert seen["holding"]["gateway"] == {
        "connections tcp": 30,
        "connections websocket": 30,
        "conference members": 60,
        "sessions": 60,
        "asleep": 0,
        "waiting in line": 0,
    }
    assert set(seen["after"]["gateway"].values()) == {0}
    assert seen["heartbeats"]["sent"] >= 60
    assert seen["heartbeats"]["acked"] == seen["heartbeats"]["sent"]
    assert seen["heartbeats"]["latency"]["p99"] > 0


async def test_being_denied_is_told_by_reason(serve: Serve) -> None:
    house = await serve()
    code, seen = await loaded(house, "--connections", "25", "--conferences", "5", "--duration", "0.1")
    assert code == 0
    assert (seen["welcomed"], seen["joined"], seen["members"]) == (25, 10, 10)
    assert seen["denied"] == {"join pool_full": 15}
    assert seen["lost"] == seen["errors"] == {}


async def test_those_that_wait_in_line_are_compared_too(serve: Serve) -> None:
    house = await serve(license__model="floating", license__floating__limit=5)
    code, seen = await loaded(house, "--connections", "12", "--wait", "60", "--duration", "0.1")
    assert code == 0
    assert (sum(seen["open"].values()), seen["queued"], seen["denied"]) == (5, 7, {})
    assert seen["holding"]["gateway"]["waiting in line"] == 7
    assert seen["holding"]["drift"] == seen["after"]["drift"] == 0


async def test_who_is_told_that_it_is_too_fast_asks_again(serve: Serve) -> None:
    house = await serve(listen__message_rate=10, listen__message_burst=1, license__epop__users=9)
    load = ("--connections", "4", "--transport", "mix", "--conferences", "2", "--duration", "0.1")
    code, seen = await loaded(house, *load)
    assert (seen["joined"], seen["members"], seen["denied"]) == (4, 4, {})
    assert set(seen["errors"]) == {"too_fast"}
    assert code == 1  # it is told, as every error of the gateway


async def test_distinct_accounts_take_seats_of_their_own(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=12)
    code, seen = await loaded(
        house, "--connections", "20", "--accounts", "distinct", "--transport", "websocket", "--duration", "0.1"
    )
    assert code == 0
    assert (seen["welcomed"], seen["denied"]) == (12, {"hello pool_full": 8})
    assert seen["holding"]["held"]["connections websocket"] == 12


async def test_what_was_there_before_is_not_held_against_it(serve: Serve) -> None:
    house = await serve()
    other = await house.welcomed()
    await other.ask("join", conference="weekly")
    code, seen = await loaded(house, "--connections", "5", "--conferences", "1", "--duration", "0.1")
    assert (code, seen["holding"]["drift"]) == (0, 0)


async def test_a_connection_that_is_lost_is_a_failure(serve: Serve) -> None:
    house = await serve()
    loading = await begin(*against(house, "--connections", "5", "--duration", "1.5"))
    await said(loading.stderr, "holding")
    _, connections = await house.http("GET", "/api/connections")
    await house.http("DELETE", f"/api/connections/{connections['items'][0]['id']}")
    ended = await end(loading)
    seen = json.loads(ended.out)
    assert ended.code == 1
    assert "tallygate load: 1 connections lost" in ended.err
    assert (seen["lost"], seen["open"], seen["holding"]["drift"]) == ({"kicked": 1}, {"tcp": 4}, 0)


@pytest.mark.slow
async def test_a_count_that_is_not_the_loads_own_is_a_drift(serve: Serve) -> None:
    house = await serve()
    loading = await begin(*against(house, "--connections", "5", "--duration", "0.2"))
    await said(loading.stderr, "holding")
    other = await house.welcomed()
    await said(loading.stderr, "leaving")
    await other.say("bye")
    ended = await end(loading)
    assert ended.code == 1
    assert "drift 2 while holding" in ended.err  # one connection, one session


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order_and_with_a_summary(how: signal.Signals, serve: Serve) -> None:
    house = await serve()
    loading = await begin(*against(house, "--connections", "20", "--processes", "2", "--duration", "3600"))
    await said(loading.stderr, "holding")
    loading.send_signal(how)
    ended = await end(loading)
    assert "Traceback" not in ended.err
    seen = json.loads(ended.out)
    assert ended.code == 130
    assert (seen["interrupted"], seen["lost"], seen["after"]["drift"]) == (True, {}, 0)
    assert await house.http("GET", "/api/connections/count") == (200, {"count": 0, "asleep": 0, "idle": 0})


async def test_processes_whose_leader_was_killed_say_bye_and_end_quietly(serve: Serve) -> None:
    house = await serve()
    loading = await begin(*against(house, "--connections", "20", "--processes", "2", "--duration", "3600"))
    await said(loading.stderr, "holding")
    loading.kill()
    ended = await end(loading)  # the processes hold its standard error until they end
    assert "Traceback" not in ended.err
    await until(lambda: not list(house.runtime.connections()))


async def test_where_nobody_listens_every_connection_is_an_error(serve: Serve) -> None:
    house = await serve()
    code, seen = await loaded(house, "--tcp-port", "1", "--connections", "3", "--duration", "0.1")
    assert code == 1
    assert seen["errors"] == {"Connection refused": 3}


async def test_more_connections_than_the_gateway_takes_are_refused_before_one_is_made(serve: Serve) -> None:
    house = await serve(listen__max_connections=10)
    await house.welcomed()
    ended = await run(*against(house, "--connections", "10", "--duration", "0.1"))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "tallygate load: 10 connections are wanted, and the gateway has room for 9 of its 10\n"
    assert house.runtime.tcp.accepted == 1
    code, seen = await loaded(house, "--connections", "1", "--duration", "0.1")
    assert (code, seen["open"]) == (0, {"tcp": 1})


async def test_a_process_whose_ramp_fails_ends_the_load() -> None:
    (plan,) = planned("--connections", "1")
    wrong, participants = dataclasses.replace(plan, ports={}), Participants()
    await participants.start([wrong])
    try:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(LoadError, match="a process of the load died"):
                await Coordinator(participants, wrong.profile, None).run(asyncio.Event(), lambda *_: None)
    finally:
        await participants.close()


@pytest.mark.slow
async def test_a_process_says_at_once_that_all_are_in(serve: Serve) -> None:
    house = await serve()
    (plan,) = planned("--connections", "5")
    code = "import asyncio; from gateway.load import worker; worker.REPORT = 3600.0; asyncio.run(worker._main())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(dataclasses.replace(plan, ports={"tcp": house.tcp}).dump()).encode() + b"\n")
    await said(process.stdout, '"phase": "holding"')
    await process.communicate(b"")
    assert process.returncode == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_a_process_that_dies_is_told_and_leaves_nothing_behind(serve: Serve) -> None:
    house = await serve()
    loading = await begin(*against(house, "--connections", "10", "--processes", "2", "--duration", "3600"))
    await said(loading.stderr, "holding")
    workers = children(loading.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    ended = await end(loading)
    assert (ended.code, ended.err.splitlines()[-1]) == (1, "tallygate load: a process of the load died")
    assert not alive(workers)
