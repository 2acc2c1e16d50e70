"""A `hello` that came whole is answered when the cluster has decided, however long that takes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Join, Shifted
from tests.conftest import until
from tests.etcd import Members

pytestmark = pytest.mark.debian


@pytest.fixture
def restless(members: Members) -> Iterator[Members]:
    """Members that a test may stop; they go on after it."""
    yield members
    members.signal(signal.SIGCONT)


async def test_a_hello_that_waits_for_the_log_is_not_taken_for_one_that_never_came(
    join: Join, restless: Members
) -> None:
    a = await join("a", heartbeat__hello_deadline="1s", store__deadline="20s")
    says_nothing, wire = await a.connect(), await a.connect()
    await until(lambda: a.node.proposer.outstanding is None)
    restless.signal(signal.SIGSTOP)
    asked = asyncio.create_task(wire.hello(account="ann"))
    assert [each["reason"] for each in await says_nothing.gone()] == ["hello_timeout"]
    another = await a.connect()
    assert [each["reason"] for each in await another.gone()] == ["hello_timeout"]
    assert not asked.done()
    restless.signal(signal.SIGCONT)
    assert (await asked)["type"] == "welcome"


async def test_a_node_that_tried_to_come_in_for_long_is_not_kept_out_by_its_own_attempts(
    join: Join, restless: Members, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.edge.cluster.node.ENTER_TIMEOUT", 0.5)
    clocks = Shifted()
    a = await join("a", clocks=clocks)
    restless.signal(signal.SIGSTOP)
    clocks.boot_offset += 26.0
    await until(lambda: a.node.fences == 1)
    incarnation = a.node.incarnation
    await until(lambda: a.node.incarnation != incarnation and a.node.previous.count(" ") == 3)
    given_up = a.node.previous.split()
    assert given_up[0] == incarnation
    monkeypatch.setattr("gateway.edge.cluster.node.ENTER_TIMEOUT", 10.0)  # a busy machine may need it from here on
    restless.signal(signal.SIGCONT)
    await a.come_in()
    assert [each.incarnation for each in a.node.replica.nodes] == [a.node.incarnation]
    assert set(a.node.replica.nodes.over) >= {incarnation}
    assert "waits to come in" not in caplog.text
