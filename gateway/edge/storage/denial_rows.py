"""Episodes of denials as rows of the table `denial`."""

from __future__ import annotations

from typing import NamedTuple

PUT_DENIAL = "INSERT OR REPLACE INTO denial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class DenialRow(NamedTuple):
    """An episode of denials. Times are in seconds UTC, `wait_seconds` in seconds; `undecided` are the denials that may
    still be followed by a grant.
    """

    number: int
    model: str
    pool: str
    began: float
    last: float
    kind: str
    name: str
    reason: str
    denials: int
    true_denials: int
    granted: int
    wait_seconds: float | None
    home: str

    @property
    def undecided(self) -> int:
        """Denials that may still be followed by a grant."""
        return self.denials - self.true_denials - self.granted
