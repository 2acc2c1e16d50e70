"""Do all nodes come to the same state? Each batch tells what its node had; here that is compared with one's own.

Equal commands give equal decisions, unless a program or a machine is at fault. The node that is alone with its result
must stop granting; of two that differ, the one that came in later does.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.cluster.entries import Seen

KEPT = 10_000
"""Versions whose digests are kept for comparing."""
MOST_NODES = 1000
"""Nodes of which is known whether they agree; of more, those that were heard first are forgotten."""


class DigestRing:
    """The digests of the last versions, and which nodes had others; `mismatches` counts those."""

    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._agreeing: dict[str, bool] = {}
        self.mismatches = 0

    def note(self, version: int, digest: str) -> None:
        """Keep the digest of a version."""
        self._digests[version] = digest
        self._digests.pop(version - KEPT, None)

    def compare(self, node: str, seen: Seen) -> bool | None:
        """Return whether a node had the same digest; None where that version is not known here."""
        digest = self._digests.get(seen.version)
        if digest is None:
            return None
        agrees = digest == seen.digest
        if node not in self._agreeing and len(self._agreeing) >= MOST_NODES:
            del self._agreeing[next(iter(self._agreeing))]
        self._agreeing[node] = agrees
        self.mismatches += not agrees
        return agrees

    def is_outvoted(self, own: str, living: Sequence[str]) -> bool:
        """Return whether this node is the one that is wrong, among those that live, the oldest first."""
        others = [self._agreeing[node] for node in living if node != own and node in self._agreeing]
        against, with_us = others.count(False), others.count(True) + 1
        if against != with_us:
            return against > with_us
        differing = [node for node in living if self._agreeing.get(node) is False]
        agreeing = [node for node in living if node == own or self._agreeing.get(node)]
        return living.index(agreeing[0]) > living.index(differing[0]) if agreeing and differing else False
