"""Whose place a node that enters may take."""

from __future__ import annotations

from gateway.core.cluster.entries import Enter
from gateway.core.cluster.nodes import RECENT, Node, Nodes


def test_a_node_takes_the_place_of_those_it_knows_to_be_over_and_of_those_that_are_silent() -> None:
    nodes, node = Nodes(), Node("n2", "a", 1, 100.0)
    for previous, may in (
        ("n2", True),
        ("n1 n2", True),
        ("n1 n2 n3", True),
        ("", False),
        ("n1", False),
        ("n22", False),
    ):
        enter = Enter("a", 1, "", 1, previous)
        assert nodes.may_follow(enter, node, 100.0 + RECENT) is may
        assert nodes.may_follow(enter, node, 100.1 + RECENT)
