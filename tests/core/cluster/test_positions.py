"""How far each node has come in the log, as the others know it."""

from __future__ import annotations

import pytest

from gateway.core.admission.commands import Command, Leave
from gateway.core.cluster.entries import Seen
from gateway.core.cluster.positions import KEPT, LONGEST_PAUSE, SPOKE_LATELY, TOLERATED_LAG, Position, Positions
from tests.core.cluster.log_harness import LogHarness


def heard(*entries: float) -> Positions:
    """Positions of a log whose entries were at these instants."""
    positions = Positions()
    for version, at in enumerate(entries, 1):
        positions.note(version, at)
    return positions


def test_a_node_that_had_applied_all_before_its_own_entry_is_not_behind() -> None:
    positions = heard(10.0, 11.0, 12.0)
    positions.heard("a", 2, {"a"})
    assert positions.of("a") == Position(11.0, 0.0)
    assert positions.of("b") is None


def test_a_node_is_behind_by_the_age_of_the_oldest_entry_that_it_had_not_applied() -> None:
    positions = heard(10.0, 11.0, 12.5, 14.0)
    positions.heard("a", 1, {"a"})
    assert positions.of("a") == Position(10.0, 3.0)


def test_a_node_that_says_what_cannot_be_is_taken_for_the_nearest_that_can() -> None:
    positions = heard(10.0, 11.0)
    positions.heard("a", 99, {"a"})
    assert positions.of("a") == Position(11.0, 0.0)
    positions.heard("a", -1, {"a"})
    assert positions.of("a") == Position(10.0, 0.0)


def test_only_so_many_times_are_kept_and_only_of_nodes_that_live() -> None:
    positions = heard(*(float(number) for number in range(KEPT + 5)))
    positions.heard("a", 1, {"a"})
    assert positions.of("a") == Position(5.0, KEPT - 2.0)
    positions.heard("b", KEPT, {"b"})
    assert positions.of("a") is None


class TwoNodes:
    """A log into which the nodes `a` and `b` put, and what `a` knows of it."""

    def __init__(self) -> None:
        self.log = LogHarness()
        self.positions = Positions()
        for name in ("a", "b"):
            self.log.enter(name)
            self.follow()

    def follow(self) -> None:
        """Let `a` note the entry that was put last."""
        self.positions.follow(self.log.replica)

    def say(self, name: str, *commands: Command, seconds: float = 0.0, behind: int = 0) -> None:
        """Have a node put an entry, so many seconds after the last one, when it had not applied that many before it."""
        batch = self.log.batch(name, *commands, seconds=seconds)
        self.log.put(batch._replace(seen=Seen(self.log.replica.version - behind, "")))
        self.follow()

    def pause(self) -> float:
        """How long `a` waits before it asks for more."""
        return self.positions.pause_for_others(self.log.replica, "a")


def test_nobody_waits_for_a_node_that_follows_closely() -> None:
    two = TwoNodes()
    two.say("a", seconds=TOLERATED_LAG / 2)
    two.say("b", seconds=TOLERATED_LAG / 2, behind=1)
    assert two.pause() == 0.0


def test_a_node_that_is_behind_is_waited_for_but_not_for_long() -> None:
    two = TwoNodes()
    two.say("a", Leave(1, "room"), seconds=0.1)
    two.say("b", seconds=0.08, behind=1)
    assert two.pause() == pytest.approx(0.08)
    two.say("a", seconds=0.5)
    two.say("b", seconds=0.4, behind=1)
    assert two.pause() == LONGEST_PAUSE
    two.say("b", seconds=0.1)
    assert two.pause() == 0.0


def test_a_node_does_not_wait_for_itself_nor_for_one_that_is_silent() -> None:
    two = TwoNodes()
    two.say("b", seconds=0.1)
    two.say("a", seconds=0.4, behind=1)
    assert two.pause() == 0.0
    two.say("a", seconds=0.1)
    two.say("b", seconds=0.4, behind=1)
    assert two.pause() > 0.0
    for _ in range(3):
        two.say("a", seconds=SPOKE_LATELY / 2)
    assert two.pause() == 0.0
