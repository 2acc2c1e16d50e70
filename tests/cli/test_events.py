"""`tallygate events`: what a person and a program read of what happened, and of what happens."""

from __future__ import annotations

import json
import signal

from gateway.edge.api.server import OperatorPort
from tests.cli.program import begin, end, run_here, said
from tests.conftest import Serve

FLOATING = {"license__model": "floating", "license__floating__limit": 1}


async def test_what_happened_is_shown_line_by_line(serve: Serve) -> None:
    house = await serve(events__kept=3, **FLOATING)
    await house.welcomed(account="ann", device="the laptop")
    await (await house.connect()).hello(account="bob")
    ended = await run_here("events", "--operator", house.url, "--kind", "granted", "--kind", "denied")
    assert ended.code == 0
    first, second = ended.out.splitlines()
    assert "granted" in first
    assert 'account=ann device="the laptop"' in first
    assert "reason=pool_full" in second
    assert "1 events before these are not in memory any more" in ended.err
    plain = await run_here("events", "--operator", house.url, "--json", "--since", "1h")
    assert [json.loads(line)["event"] for line in plain.out.splitlines()][-2:] == ["granted", "denied"]
    assert plain.err == ""


async def test_following_goes_on_where_it_was_after_the_operator_port_was_away(serve: Serve) -> None:
    house = await serve(**FLOATING)
    following = await begin("events", "--follow", "--since", "1h", "--operator", house.url)
    await said(following.stdout, "gateway.doors_opened")
    await house.gateway.operator.close()
    await said(following.stderr, "asking again")
    await house.welcomed(account="ann")
    house.gateway.operator = OperatorPort(house.runtime)
    await house.gateway.operator.open("127.0.0.1", house.operator)
    await said(following.stdout, "account=ann")
    following.send_signal(signal.SIGINT)
    ended = await end(following)
    assert ended.code == 130
    assert "gateway.start" not in ended.out


async def test_a_gateway_that_is_not_there_is_said_at_once(closed_port: int) -> None:
    ended = await run_here("events", "--follow", "--operator", f"http://127.0.0.1:{closed_port}")
    assert (ended.code, ended.err) == (
        1,
        f"tallygate: no gateway answers at http://127.0.0.1:{closed_port}: is it running?\n",
    )
    ended = await run_here("events", "--kind", "foo")
    assert ended.code == 2
    assert "invalid choice: 'foo'" in ended.err
