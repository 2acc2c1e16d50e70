"""The nodes of a cluster as the log knows them: who lives, who may write, who is over.

A node is known by its incarnation, drawn anew each time it enters. An incarnation that is over never writes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.cluster.entries import Enter

RECENT = 3.0
"""Seconds of lived time within which a node of the same name has been heard, so that its name is taken."""
REMEMBERED = 10_000
"""Entries for which an incarnation that is over is remembered; an `enter` that had read less than that is ignored."""


@dataclass(slots=True)
class Node:
    """A node that lives: `seq` is the number of its last batch, `heard` the lived time of that, in seconds.

    `entered` is the version of the log in which it came in.
    """

    incarnation: str
    name: str
    entered: int
    heard: float
    seq: int = 1


class Nodes:
    """Those who live, in the order in which they came in, and those who are over, with the version of their end."""

    def __init__(self) -> None:
        self.living: dict[str, Node] = {}
        self.over: dict[str, int] = {}

    def __iter__(self) -> Iterator[Node]:
        return iter(tuple(self.living.values()))

    def accepts(self, incarnation: str, seq: int) -> Node | None:
        """Return the node whose next batch this is; None for a batch that counts for nothing."""
        node = self.living.get(incarnation)
        return node if node is not None and seq == node.seq + 1 else None

    def silent(self, life: float, patience: float = RECENT) -> list[Node]:
        """Return the nodes that were not heard for longer than `patience` seconds of lived time, or lately."""
        return [each for each in self if life > each.heard + patience]

    def namesakes(self, enter: Enter) -> list[Node]:
        """Return the nodes whose name somebody enters under."""
        return [each for each in self if each.name == enter.name]

    def may_follow(self, enter: Enter, node: Node, life: float) -> bool:
        """Return whether who enters may take the place of a node: it is known to be over, or was not heard lately."""
        return node.incarnation in enter.previous.split() or life - node.heard > RECENT

    def is_stale(self, incarnation: str, enter: Enter, version: int) -> bool:
        """Return whether an `enter` is a late duplicate: its node lives, is over, or had read too little to tell."""
        return (
            incarnation in self.living or incarnation in self.over or not version - REMEMBERED <= enter.read <= version
        )

    def add(self, node: Node) -> None:
        """Let a node in."""
        self.living[node.incarnation] = node

    def remove(self, node: Node, version: int) -> None:
        """A node is over; old ends are forgotten."""
        del self.living[node.incarnation]
        self.over[node.incarnation] = version
        for incarnation, ended in tuple(self.over.items()):
            if version - ended <= REMEMBERED:
                break
            del self.over[incarnation]

    def leader(self) -> Node | None:
        """Return the node that came in first: it alone does what is done once for all."""
        return next(iter(self), None)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        living = [[each.incarnation, each.name, each.entered, each.heard, each.seq] for each in self]
        return {"living": living, "over": self.over}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Nodes:
        """Return what `to_json` wrote.

        Raises `LookupError`, `TypeError` or `ValueError` where it is not valid.
        """
        nodes = cls()
        for incarnation, name, entered, heard, seq in plain["living"]:
            nodes.add(Node(incarnation, name, entered, heard, seq))
        nodes.over = dict(plain["over"])
        return nodes
