"""A gateway that decides by another rule than the others is found out and leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.admission.commands import Join as JoinCommand
from gateway.core.cluster.replica import Outcome, Replica
from tests.cluster.conftest import Join
from tests.cluster.test_two_gateways import same
from tests.conftest import until

pytestmark = pytest.mark.debian
ENTRIES = 9
"""Entries within which it is noticed: those of three gateways, each of which puts one a second, in 3 s at most."""


def bent(replica: Replica) -> Any:
    """The rule of a replica by which every conference is public."""
    applied = replica._applied

    def apply(place: int | None, command: Any, *rest: Any) -> Outcome:
        return applied(place, command._replace(access="public") if isinstance(command, JoinCommand) else command, *rest)

    return apply


async def test_a_gateway_with_another_rule_leaves_when_it_has_decided_by_it(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = await join("a"), await join("b"), await join("c")
    ann, cid = await a.welcomed(account="ann"), await c.welcomed(account="cid")
    monkeypatch.setattr(c.node.replica, "_applied", bent(c.node.replica))
    seen = a.node.replica.version
    await until(lambda: a.node.replica.version > seen + ENTRIES)
    assert c.node.entered, "what is not used is not wrong"
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    decided = a.node.replica.version
    assert c.node.failed is not None
    assert "another state" in await asyncio.wait_for(c.node.failed, 20.0)
    assert c.node.replica.version <= decided + ENTRIES
    assert [each["reason"] for each in await cid.gone()] == ["store_unavailable"]
    assert (await ann.ask("leave", conference="room"))["type"] == "left"
    assert a.node.entered
    assert b.node.entered
    await until(lambda: same(a, b))


async def test_of_two_gateways_that_differ_the_younger_one_leaves(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await join("a"), await join("b")
    ann = await a.welcomed(account="ann")
    monkeypatch.setattr(a.node.replica, "_applied", bent(a.node.replica))
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert b.node.failed is not None
    assert "another state" in await asyncio.wait_for(b.node.failed, 20.0)
    assert a.node.entered, "who is right nobody knows; one of them must go on"
