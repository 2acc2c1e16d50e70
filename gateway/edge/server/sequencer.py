"""The order of commands: everything that changes what is counted passes here, one command at a time.

Whoever submits gets the decision back, and carries it out. Where this process alone is the order, that is at once;
where the order is the log of a cluster, the decision comes later, and is carried out when it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command
from gateway.core.admission.decision import Decision
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant

log = logging.getLogger("tallygate.sequencer")


class NotDecided(Exception):
    """A cluster has not decided about a command: it may do so later, or never."""


class Observer(Protocol):
    """Sees each command with its instant and its decision, after it was applied."""

    def __call__(self, command: Command, at: Instant, decision: Decision) -> None: ...  # noqa: D102


class Sequencer(Protocol):
    """Where commands are put in order; `state` is what has come of them.

    `observer` is told of every command, where somebody records them.
    """

    observer: Observer | None
    is_shared: bool
    """Whether other processes apply the commands too."""

    @property
    def incarnation(self) -> str:
        """By what the state knows this process among them; empty where it is alone."""

    @property
    def state(self) -> State:
        """The state after all commands so far."""

    def submit(
        self,
        command: Command,
        at: Instant | None = None,
        asker: Any = None,
        id: str | int | None = None,
        *,
        actor: str = "",
        applied: asyncio.Future[Decision] | None = None,
        otherwise: Command | None = None,
    ) -> Decision | None:
        """Have a command applied, and return the decision; None where it comes later.

        `asker` is the connection that asks, `id` what its answer carries, `actor` the operator who does. `applied` is
        done with a decision that comes later, or fails with `NotDecided`. `otherwise` is asked in place of a `resume`
        that came too late. `at` is the instant, where this process alone is the order.
        """


class LocalSequencer:
    """Applies commands to `state` in the order in which they are submitted; `now` tells the present instant."""

    def __init__(self, state: State, now: Callable[[], Instant]) -> None:
        self.state = state
        self.observer: Observer | None = None
        self.is_shared = False
        self.incarnation = ""
        self._now = now

    def submit(
        self,
        command: Command,
        at: Instant | None = None,
        asker: Any = None,  # noqa: ARG002 - the decision is returned to who submits
        id: str | int | None = None,  # noqa: ARG002
        *,
        actor: str = "",  # noqa: ARG002
        applied: asyncio.Future[Decision] | None = None,  # noqa: ARG002
        otherwise: Command | None = None,  # noqa: ARG002
    ) -> Decision:
        """Apply a command, now unless another instant is given, and return the decision.

        Raises `KeyError` where it names a session that is over.
        """
        at = at or self._now()
        decision = apply(self.state, command, at)
        if self.observer is not None:
            self.observer(command, at, decision)
        return decision


def warn_of_small_pool(decision: Decision | None) -> None:
    """Say in the log whose permanent licenses a decision could not put into effect, if anybody's."""
    if decision is not None and decision.beyond_pool:
        log.warning("the PRO pool is too small for the permanent licenses of %s", ", ".join(decision.beyond_pool))
