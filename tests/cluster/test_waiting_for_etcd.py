"""A `hello` that came whole is answered when the cluster has decided, however long that takes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Join
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
