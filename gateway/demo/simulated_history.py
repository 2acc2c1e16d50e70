"""The history of a simulated office: days of its traffic, decided and written by the same code as in a gateway.

Only the clock is simulated. Every step is a command, and its results are written as a gateway would write them.
"""

from __future__ import annotations

import asyncio
import time

from config.settings import Settings
from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command, End, Hello, Join, Leave, Sleep, Tick, Wake
from gateway.core.admission.decision import Decision
from gateway.core.admission.directory import Group
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant, Session
from gateway.demo.scenario import DAY, Actor, Office, ScenarioStep
from gateway.edge.storage.history_store import HistoryStore
from gateway.edge.storage.store import Store
from gateway.edge.storage.usage_store import UsageStore
from gateway.edge.terms import terms_of
from gateway.licensing import MODELS

LOOK = 600.0
"""Seconds of simulated time between two ticks."""
ADDRESS = "192.0.2.1"


class SimulatedHistory:
    """The sessions of `office` in the past, under the licenses of `settings`."""

    def __init__(self, office: Office, settings: Settings, start: float) -> None:
        """`start` is in seconds UTC."""
        license = settings.license
        self.now = Instant(0.0, start)
        terms = terms_of(settings, None, (license.model, *license.shadows), 0)
        self.state = State(terms, MODELS, self.now)
        self.state.directory.groups["management"] = Group(office.team(0), permanent=True)
        self._office = office
        self._there: dict[int, Session] = {}

    def apply(self, command: Command) -> Decision:
        """Decide now."""
        return apply(self.state, command, self.now)

    def wait(self, until: float) -> None:
        """Let time pass until an instant in seconds UTC."""
        self.now = Instant(until - self.now.wall + self.now.mono, until)

    def take(self, step: ScenarioStep) -> None:
        """Take one step; a refusal is an answer like any other."""
        session = self._there.get(step.actor)
        match step.verb:
            case "come":
                if session is None:
                    self._come(self._office.actors[step.actor])
            case "go":
                self._go(step.actor)
            case "sleep" if session is not None:
                self.apply(Sleep(session.number))
            case "wake" if session is not None:
                self.apply(Wake(session.number))
            case "join" if session is not None and step.meeting is not None:
                name, access, mode = step.meeting
                if not session.conferences:
                    self.apply(Join(session.number, name, host=step.host, access=access, mode=mode))
            case "leave" if session is not None and session.conferences and step.meeting is not None:
                self.apply(Leave(session.number, step.meeting.name))

    def _come(self, actor: Actor) -> None:
        hello = Hello(actor.kind, actor.account, actor.device, "", actor.client, ADDRESS, actor.transport)
        number = self.apply(hello).session
        if number is not None:
            self._there[actor.number] = self.state.sessions.by_number[number]

    def _go(self, actor: int) -> None:
        session = self._there.pop(actor, None)
        if session is not None:
            self.apply(End(session.number, "bye"))

    def close(self) -> None:
        """End all sessions."""
        for actor in list(self._there):
            self._go(actor)


async def write(store: Store, office: Office, settings: Settings, days: int, until: float) -> None:
    """Write the `days` before `until` (seconds UTC), and this day up to then, into a store that is open.

    Raises `StoreUnavailable`.
    """
    first = until // DAY * DAY - days * DAY
    month = SimulatedHistory(office, settings, first)
    archive = HistoryStore(month.state.history, store, settings.history)
    usage = UsageStore(month.state.use, store)
    await archive.open()
    month.apply(Tick())
    looked = first
    for day in range(days + 1):
        midnight = first + day * DAY
        for step in office.day(day - days, working=time.gmtime(midnight).tm_wday < 5):
            at = midnight + step.at
            if at > until:
                break
            looked = await _look(month, archive, usage, looked, at)
            month.wait(at)
            month.take(step)
    await _look(month, archive, usage, looked, until)
    month.wait(until)
    month.close()
    month.apply(Tick())
    archive.close(month.now)
    usage.close(month.now)


async def _look(
    month: SimulatedHistory, archive: HistoryStore, usage: UsageStore, looked: float, until: float
) -> float:
    """Do what a gateway does every second, less often; returns when that was last."""
    while looked + LOOK <= until:
        looked += LOOK
        month.wait(looked)
        month.apply(Tick())
        archive.poll(month.now)
        usage.poll(month.now)
        await asyncio.sleep(0)
    return looked
