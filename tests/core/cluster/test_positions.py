"""How far each node has come in the log, as the others know it."""

from __future__ import annotations

from gateway.core.cluster.positions import KEPT, Position, Positions


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
