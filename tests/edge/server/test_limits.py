"""The limits of a listener as one value, and the budget that all listeners share."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import FrozenInstanceError

import pytest

from gateway.core.admission.requests import SessionState
from gateway.edge.server.connection_table import ConnectionTable
from gateway.edge.server.limits import LINGER_TICKS, Limits, SocketBudget, retry_seconds, ticks
from tests.conftest import Serve, settings_of


class Peer:
    """What a table holds, without a socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key: Hashable = None


def test_the_limits_are_those_of_the_settings_in_ticks() -> None:
    limits = Limits.of(
        settings_of(
            listen__message_rate=8,
            listen__message_burst=20,
            heartbeat__hello_deadline="1s",
            heartbeat__interval="1s",
            heartbeat__timeout="2s",
            heartbeat__asleep_timeout="1s",
        )
    )
    assert (limits.burst, limits.refill, limits.unmetered) == (20.0, 2.0, False)
    assert limits.silence == {
        SessionState.PENDING: 4,
        SessionState.QUEUED: 8,
        SessionState.AWAKE: 8,
        SessionState.ASLEEP: 8,
        SessionState.CLOSED: LINGER_TICKS,
    }
    assert Limits.of(settings_of(listen__message_rate=0)).unmetered
    with pytest.raises(FrozenInstanceError):
        limits.burst = 1.0  # type: ignore[misc]  # that it cannot be assigned is the test


def test_a_span_is_one_tick_at_least_and_rounded_up() -> None:
    assert [ticks(seconds) for seconds in (0.0, 0.1, 0.25, 0.26, 1.0)] == [1, 1, 1, 2, 4]


def test_who_was_too_many_for_the_rate_may_come_back_soon() -> None:
    assert [retry_seconds(reason, 29.5) for reason in ("rate_limited", "too_many_connections")] == [1, 30]


def test_the_budget_counts_the_sockets_of_all_listeners() -> None:
    budget = SocketBudget(settings_of(listen__max_connections=4, listen__max_connections_per_address=2).listen, 1024)
    tables: list[ConnectionTable[Peer]] = [ConnectionTable(64), ConnectionTable(64)]
    for table in tables:
        budget.share(table)
        table.add(Peer("192.0.2.1"))
    tables[0].arrive(object(), "192.0.2.2")
    assert (budget.held, budget.room) == (3, 1)
    assert budget.crowded("192.0.2.1")
    assert not budget.crowded("192.0.2.2")
    tables[1].add(Peer("192.0.2.3"))
    assert (budget.held, budget.room) == (4, 0)


def test_the_files_of_the_process_bound_the_connections() -> None:
    listen = settings_of(listen__max_connections=5000).listen
    assert SocketBudget(listen, 200).max_connections == 200 - listen.spare_files


async def test_a_reload_swaps_the_limits_whole_and_for_those_who_are_connected(serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed()
    before = house.runtime.tcp.limits
    house.gateway.reload(settings_of(listen__message_rate=0, listen__max_connections=1, listen__accept_rate=7))
    limits = house.runtime.tcp.limits
    assert before != limits
    assert limits is house.runtime.tcp.shared.limits is house.runtime.websocket.limits
    assert (limits.accept_rate, house.runtime.tcp.shared.unmetered) == (7, True)
    assert house.runtime.registrar.listener.limits.silence != limits.silence
    assert house.runtime.budget.room == 0
    assert (await wire.ask("heartbeat"))["type"] == "ack"
