"""The order of commands: everything that changes what is counted passes here, one command at a time.

Today this process is the order: a command is applied the moment it is submitted. Whoever submits gets the decision
back, and carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command
from gateway.core.admission.decision import Decision
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant


class Observer(Protocol):
    """Sees each command with its instant and its decision, after it was applied."""

    def __call__(self, command: Command, at: Instant, decision: Decision) -> None: ...  # noqa: D102


class Sequencer:
    """Applies commands to `state` in the order in which they are submitted; `now` tells the present instant.

    `observer` is told of every command, where somebody records them.
    """

    def __init__(self, state: State, now: Callable[[], Instant]) -> None:
        self.state = state
        self.observer: Observer | None = None
        self._now = now

    def submit(self, command: Command, at: Instant | None = None) -> Decision:
        """Apply a command, now unless another instant is given, and return the decision.

        Raises `KeyError` where it names a session that is over.
        """
        at = at or self._now()
        decision = apply(self.state, command, at)
        if self.observer is not None:
            self.observer(command, at, decision)
        return decision
