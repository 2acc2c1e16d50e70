"""`tallygate status` and `kick`: what is shown of a gateway's documents, and what is said when there is none."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from typing import Any

import pytest

from gateway.cli import status
from gateway.cli.main import main
from gateway.cli.status import render
from tests.cli.program import PATIENCE, begin, end, run_here, said
from tests.conftest import Serve


def pool(used: int, limit: int | None, **more: int) -> dict[str, Any]:
    available = None if limit is None else max(0, limit - used)
    return {
        "used": used,
        "limit": limit,
        "available": available,
        "reserved": 0,
        "returning": 0,
        "overdraft_used": 0,
        "high_water": used,
        "denied": 0,
        "waiting": 0,
    } | more


LICENSE: dict[str, Any] = {
    "model": "trueconf",
    "edition": "server",
    "enforce": True,
    "models": {
        "epop": {"pools": {"concurrent": pool(12, 10, high_water=14, denied=3)}},
        "nefsis-named": {"pools": {"hosts": pool(2, 5), "participants": pool(12, 125)}},
        "trueconf": {"pools": {"online": pool(15, 15), "pro": pool(4, None, reserved=3)}},
    },
    "extensions": {},
    "registration": {"state": "off", "shutdown_at": None},
}
DOCUMENT = {"operator": "http://127.0.0.1:4311", "license": LICENSE, "connections": 15, "conferences": 2}


def test_the_enforced_model_comes_first_and_is_marked() -> None:
    lines = render(DOCUMENT).splitlines()
    models = [line for line in lines if line.strip() in {"* trueconf", "epop", "nefsis-named"}]
    assert models == ["* trueconf", "  epop", "  nefsis-named"]


def test_every_pool_has_its_row_of_counts() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in render(DOCUMENT).splitlines() if line.startswith("    ")}
    assert rows["online"] == ["15", "15", "0", "0", "15", "0"]
    assert rows["pro"] == ["4", "-", "-", "3", "4", "0"]
    assert rows["concurrent"] == ["12", "10", "0", "0", "14", "3"]
    assert rows["participants"] == ["12", "125", "113", "0", "12", "0"]


def test_connections_and_conferences_are_told() -> None:
    assert "connections 15   conferences 2" in render(DOCUMENT)


def test_who_waits_in_line_is_told_where_somebody_does() -> None:
    assert "waiting" not in render(DOCUMENT)
    pools = {"online": pool(15, 15, waiting=3), "pro": pool(4, 4, waiting=1), "guest": pool(0, 1)}
    models = {**LICENSE["models"], "trueconf": {"pools": pools}}
    assert "waiting in line: online 3, pro 1" in render(DOCUMENT | {"license": LICENSE | {"models": models}})


def test_seats_that_are_kept_are_told_where_there_are_some() -> None:
    assert "come back" not in render(DOCUMENT)
    models = {**LICENSE["models"], "trueconf": {"pools": {"online": pool(15, 15, returning=3), "guest": pool(0, 1)}}}
    assert "kept for those who come back: online 3\n" in render(DOCUMENT | {"license": LICENSE | {"models": models}})


def test_overdraft_is_told_apart() -> None:
    license = LICENSE | {"models": {"epop": {"pools": {"concurrent": pool(12, 10, overdraft_used=2)}}}}
    assert "12 (+2)" in render(DOCUMENT | {"license": license})


def test_a_model_that_is_not_enforced_says_so() -> None:
    assert "not enforced" in render(DOCUMENT | {"license": LICENSE | {"enforce": False}}).splitlines()[0]


def registration(**told: Any) -> list[str]:
    """The lines of the status that tell of the registration."""
    lines = render(DOCUMENT | {"license": LICENSE | {"registration": told}}).splitlines()
    return lines[2 : lines.index("")]


def test_registration_is_shown_where_there_is_one() -> None:
    assert registration(state="off", shutdown_at=None) == []
    assert registration(state="registered", shutdown_at=None, reason=None) == ["registration registered"]
    assert registration(state="revoked", reason="the registration server refuses the license: revoked") == [
        "registration revoked: the registration server refuses the license: revoked"
    ]


def test_a_countdown_is_shown_with_the_hour_of_its_end() -> None:
    end = "2026-11-22T04:00:00Z"
    assert registration(state="grace", reason="no answer", shutdown_at=end, seconds_left=11 * 3600 + 59 * 60 + 7) == [
        "registration grace: no answer",
        f"  service ends at {end}, in 11 h 59 min, unless verified before",
    ]
    assert f"  service ends at {end}, in 7 s, unless verified before" in registration(
        state="clock_rollback", shutdown_at=end, seconds_left=7
    )


def test_a_countdown_that_is_over_is_not_shown_as_one() -> None:
    told = registration(state="expired", reason="the grace is over", shutdown_at="2026-11-22T04:00:00Z", seconds_left=0)
    assert told == ["registration expired: the grace is over"]


def test_it_fits_eighty_columns() -> None:
    full = {name: pool(99_999, 99_999, reserved=99_999, denied=99_999) for name in ("online", "participants")}
    license = LICENSE | {
        "models": {"nefsis-concurrent": {"pools": full}},
        "registration": {
            "state": "clock_rollback",
            "reason": "the clock was set back: it has been 2026-11-21T16:00:00Z before" + ", and more" * 9,
            "shutdown_at": "2026-11-22T04:00:00Z",
            "seconds_left": 43199,
        },
    }
    assert max(len(line) for line in render(DOCUMENT | {"license": license}).splitlines()) <= 80


def test_columns_are_aligned_to_the_right() -> None:
    lines = [line for line in render(DOCUMENT).splitlines() if "high water" in line or line.startswith("    ")]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("command", [["status"], ["kick", "s-1"], ["load", "--connections", "1"]])
def test_where_no_gateway_answers_it_says_so_in_one_line(
    command: list[str], closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    assert main([*command, "--operator", url]) == 1
    assert capsys.readouterr().err == f"tallygate {command[0]}: no gateway answers at {url}: is it running?\n"


# Of a real gateway


async def test_it_shows_what_is_in_use(serve: Serve) -> None:
    house = await serve(license__epop__users=3)
    for _ in range(2):
        client = await house.welcomed()
        await client.ask("join", conference="weekly")
    shown = await run_here("status", "--operator", house.url)
    assert (shown.code, shown.err) == (0, "")
    assert f"{house.url}: epop, enforced" in shown.out
    assert "connections 2   conferences 1" in shown.out
    row = next(line.split() for line in shown.out.splitlines() if line.split()[:1] == ["concurrent"])
    assert row == ["concurrent", "2", "3", "1", "0", "2", "0"]


async def test_as_json_it_is_the_gateways_own_document(serve: Serve) -> None:
    house = await serve()
    await house.welcomed("websocket")
    shown = await run_here("status", "--json", "--operator", house.url)
    document = json.loads(shown.out)
    assert document["connections"] == 1
    assert document["license"] == (await house.http("GET", "/api/license"))[1]


async def test_watching_goes_on_until_ctrl_c(serve: Serve) -> None:
    house = await serve()
    watching = await begin("status", "--json", "--watch", "0.1", "--operator", house.url)
    for _ in range(3):
        await said(watching.stdout, "epop")
    watching.send_signal(signal.SIGINT)
    ended = await end(watching)
    assert (ended.code, ended.err) == (130, "")


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_watching_goes_on_through_a_restart_of_the_gateway(form: tuple[str, ...], serve: Serve) -> None:
    house = await serve()
    watching = await begin("status", *form, "--watch", "0.1", "--operator", house.url)
    await said(watching.stdout, "epop")
    await house.gateway.operator.close()
    await said(watching.stderr, f"tallygate status: no gateway answers at {house.url}: is it running?")
    await house.welcomed()
    await house.gateway.operator.open("127.0.0.1", house.operator)
    await said(watching.stdout, '"connections": 1' if form else "connections 1 ")
    watching.send_signal(signal.SIGINT)
    ended = await end(watching)
    assert (ended.code, ended.err) == (130, "")


async def test_watching_begins_with_a_gateway_that_answers(closed_port: int) -> None:
    ended = await run_here("status", "--watch", "--operator", f"http://127.0.0.1:{closed_port}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(("lines", "shown"), [(4, ["a", "bbbb", "c"]), (3, ["a", "... "]), (2, ["... "])])
def test_what_is_redrawn_fits_the_terminal(
    lines: int, shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "4")
    monkeypatch.setenv("LINES", str(lines))
    status._redraw("a\nbbbbbb\nc")
    assert capsys.readouterr().out == "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"


async def readable(file: int) -> bytes:
    """What can be read of a terminal, once something can."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(file, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_reader(file)
    return os.read(file, 65536)


async def test_on_a_terminal_it_redraws_in_place(serve: Serve) -> None:
    house = await serve()
    terminal, stdout = pty.openpty()
    try:
        watching = await begin("status", "--watch", "0.1", "--operator", house.url, stdout=stdout)
        await house.welcomed()
        seen = b""
        async with asyncio.timeout(PATIENCE):
            while b"connections 1" not in seen or seen.count(b"\x1b[H") < 2:
                seen += await readable(terminal)
        watching.send_signal(signal.SIGINT)
        assert (await end(watching)).code == 130
    finally:
        os.close(stdout)
        os.close(terminal)
    assert seen.count(b"\x1b[2J") == 1


async def test_on_a_terminal_what_was_seen_last_stays_while_the_gateway_is_away(serve: Serve) -> None:
    house = await serve()
    terminal, stdout = pty.openpty()
    try:
        watching = await begin("status", "--watch", "0.1", "--operator", house.url, stdout=stdout)
        seen = await readable(terminal)
        await house.gateway.operator.close()
        async with asyncio.timeout(PATIENCE):
            while b"no gateway answers" not in seen:
                seen += await readable(terminal)
        watching.send_signal(signal.SIGINT)
        assert (await end(watching)).err == ""
    finally:
        os.close(stdout)
        os.close(terminal)
    assert b"\x1b[J" not in seen[seen.rindex(b"\x1b[H") :]


async def test_kicking_a_session(serve: Serve) -> None:
    house = await serve()
    client = await house.connect()
    session = (await client.hello())["session"]
    kicked = await run_here("kick", session, "--operator", house.url)
    assert kicked == (0, f"closed session {session}\n", "")
    assert [message["reason"] for message in await client.gone()] == ["kicked"]
    again = await run_here("kick", session, "--operator", house.url)
    assert again == (1, "", f"tallygate kick: there is no session {session}\n")


async def test_kicking_an_account_for_a_while(serve: Serve) -> None:
    house = await serve()
    clients = [await house.welcomed(account="ann@example.org", device=device) for device in ("laptop", "phone")]
    kicked = await run_here("kick", "--account", "ann@example.org", "--ban", "5m", "--operator", house.url)
    assert kicked == (0, "closed 2 sessions of ann@example.org, banned for 5m\n", "")
    for client in clients:
        assert [message["reason"] for message in await client.gone()] == ["kicked"]
    refused = await (await house.connect()).hello(account="ann@example.org")
    assert (refused["type"], refused["reason"]) == ("denied", "banned")


async def test_kicking_an_account_of_which_nobody_is_connected_is_a_failure_unless_it_is_banned(serve: Serve) -> None:
    house = await serve()
    kicked = await run_here("kick", "--account", "nobody", "--operator", house.url)
    assert kicked == (1, "", "tallygate kick: nobody is connected as nobody\n")
    banned = await run_here("kick", "--account", "ann", "--ban", "5m", "--operator", house.url)
    assert banned == (0, "closed 0 sessions of ann, banned for 5m\n", "")


def test_who_holds_seats_is_told_a_screenful_at_most() -> None:
    ann = {
        "account": "ann",
        "home": None,
        "device": "pc",
        "address": "::1",
        "since": "2026-11-21T20:00:00Z",
        "seats": ["online"],
    }
    ann["kind"] = "app"
    guest = ann | {"account": None, "device": None, "seats": ["guest"]}
    idle = ann | {"account": "bob", "seats": []}
    lines = render(DOCUMENT | {"sessions": [ann, idle, guest]}).splitlines()
    at = lines.index("account  device  since                 seats")
    assert lines[at + 1 : at + 3] == [
        "ann      pc      2026-11-21T20:00:00Z  online",
        "(app)    ::1     2026-11-21T20:00:00Z  guest",
    ]
    assert lines[at + 3] == "... and 13 more sessions: GET /api/connections lists all"
    assert sum("ann" in line for line in render(DOCUMENT | {"sessions": [ann] * 50}).splitlines()) == 20
