"""The history of an office: days of its traffic, lived by the same books and written by the same archive as a
gateway's, with a clock of their own.

Only the clock is invented. Every step is decided by the admission, hours and holds and refusals are what the books made
of it, and the archive writes them as it would have.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.core.admission.decisions import Admission
from gateway.core.admission.lease_administration import LeaseAdministration
from gateway.core.admission.outcome import GatewayRules
from gateway.core.counting.session import Instant, Session
from gateway.core.reporting.history import History
from gateway.core.wire.messages import Request
from gateway.demo.scenario import DAY
from gateway.edge.storage.history_store import HistoryStore
from gateway.licensing import MODELS

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.demo.scenario import Actor, Office, ScenarioStep
    from gateway.edge.storage.store import Store

LOOK = 600.0
"""Seconds of history between two looks at what has run out and what is to be written."""
ADDRESS = "192.0.2.1"


class SimulatedHistory:
    """The sessions of `office` in the past, under the licenses of `settings`."""

    def __init__(self, office: Office, settings: Settings, start: float) -> None:
        """`start` is in seconds UTC."""
        license = settings.license
        models = [MODELS[name].model(license.terms[name]) for name in (license.model, *license.shadows)]
        self.now = Instant(0.0, start)
        self.admission = Admission(
            models, GatewayRules(), self.now, enforce=license.enforce, overdraft=license.overdraft
        )
        self.leasing = LeaseAdministration(self.admission)
        self.history = History(self.admission.ledgers, settings.history.true_denial_window)
        self._office = office
        self._there: dict[int, Session] = {}
        self._numbers = 0

    def wait(self, until: float) -> None:
        """Let time pass until an instant in seconds UTC."""
        self.now = Instant(until - self.now.wall + self.now.mono, until)

    def take(self, step: ScenarioStep) -> None:
        """Do one step; being refused is an answer."""
        session = self._there.get(step.actor)
        match step.verb:
            case "come":
                if session is None:
                    self._come(self._office.actors[step.actor])
            case "go":
                self._go(step.actor)
            case "sleep" if session is not None:
                self.admission.sleep(session, self.now)
            case "wake" if session is not None:
                self.admission.wake(session, self.now)
            case "join" if session is not None and step.meeting is not None:
                name, access, mode = step.meeting
                if not session.conferences:
                    fields = {"conference": name, "access": access, "mode": mode, "host": step.host, "scheduled": False}
                    self.admission.join(session, Request("join", fields | {"server": None}, None), self.now)
            case "leave" if session is not None and session.conferences and step.meeting is not None:
                self.admission.leave(session, Request("leave", {"conference": step.meeting.name}, None), self.now)

    def _come(self, actor: Actor) -> None:
        self._numbers += 1
        session = Session(
            self._numbers, kind=actor.kind, account=actor.account, device=actor.device, client=actor.client,
            address=ADDRESS, transport=actor.transport, since=self.now.wall,
        )  # fmt: skip
        if self.admission.hello(session, self.now).refused is None:
            self._there[actor.number] = session

    def _go(self, actor: int) -> None:
        session = self._there.pop(actor, None)
        if session is not None:
            self.admission.end(session, "bye", self.now)

    def close(self) -> None:
        """Everybody goes."""
        for actor in list(self._there):
            self._go(actor)


async def write(store: Store, office: Office, settings: Settings, days: int, until: float) -> None:
    """Live the `days` before `until` (seconds UTC), and this day up to then, into a store that is open.

    Raises `StoreUnavailable`.
    """
    first = until // DAY * DAY - days * DAY
    month = SimulatedHistory(office, settings, first)
    archive = HistoryStore(month.history, store, settings.history.keep)
    await archive.open(month.now)
    month.leasing.redistribute(office.team(0), month.now)
    looked = first
    for day in range(days + 1):
        midnight = first + day * DAY
        for step in office.day(day - days, working=time.gmtime(midnight).tm_wday < 5):
            at = midnight + step.at
            if at > until:
                break
            looked = await _look(month, archive, looked, at)
            month.wait(at)
            month.take(step)
    await _look(month, archive, looked, until)
    month.wait(until)
    month.close()
    archive.close(month.now)


async def _look(month: SimulatedHistory, archive: HistoryStore, looked: float, until: float) -> float:
    """Do what a gateway does every second, less often; returns when that was last."""
    while looked + LOOK <= until:
        looked += LOOK
        month.wait(looked)
        month.leasing.expire(month.now)
        archive.poll(month.now)
        await asyncio.sleep(0)
    return looked
