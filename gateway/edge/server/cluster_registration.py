"""The license of a cluster at one of its gateways: the log says how it stands, the oldest of them asks the registrar.

What the registrar says becomes a command, and counts at all gateways when it is applied; until then the agent waits.
Only the gateway that came in first, and may speak, asks: so there are never two that do. One that takes over shows no
ticket, since the last answer to the one before it may not have come into the log (PROTOCOL.md, Tickets).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from config.registration_settings import RegistrationSettings
from gateway.core.admission.decision import Decision
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.formats import utc
from gateway.core.registration.agent_protocol import Received, Verdict
from gateway.core.registration.license_status import ClockReading, skew
from gateway.core.registration.offline import BY_HAND
from gateway.core.registration.shared_license import log_reading
from gateway.core.wire.messages import RequestFault
from gateway.edge.machine import Clock, read_key
from gateway.edge.server.registration import Registration
from gateway.edge.server.replicated_sequencer import ReplicatedSequencer
from gateway.edge.server.sequencer import NotDecided, Sequencer
from gateway.edge.storage.persistence import Persistence

log = logging.getLogger("tallygate.registration")


class ClusterRegistration(Registration):
    """The registration of a cluster, at the gateway whose commands `sequencer` puts into the log."""

    def __init__(
        self,
        settings: RegistrationSettings,
        clock: Clock,
        persistence: Persistence,
        sequencer: ReplicatedSequencer,
        *,
        on_license: Callable[[], None],
        is_draining: Callable[[], bool],
    ) -> None:
        super().__init__(settings, clock, persistence, free=False, on_license=on_license, is_draining=is_draining)
        self._sequencer = sequencer
        self._license = sequencer.state.license
        self.status = self._license.status
        self.installation = self._license.installation
        self._grant = self.status.grant
        self._named_by = ""
        self._saying: asyncio.Future[Decision] | None = None
        self._unsure = False
        """Whether an answer of the registrar was not seen in the log."""

    def clock_reading(self) -> ClockReading:
        """Return the present instant of the log."""
        return log_reading(self._sequencer.node.replica.at)

    @property
    def grants(self) -> bool:
        """Whether new seats may be granted, as the log has it."""
        return self._sequencer.state.granting

    @property
    def may_ask(self) -> bool:
        """Whether this gateway is the one that asks the registrar, and the log knows what for."""
        return self._sequencer.node.is_leader and bool(self._license.installation)

    @property
    def may_connect(self) -> bool:
        """Whether it may connect to the registrar: not while another one may ask of which this gateway has not heard,
        because one of its name came in.
        """
        return self.may_ask and self._sequencer.node.is_recent

    @property
    def ticket(self) -> str | None:
        """The ticket to show, None where it may not be the last one."""
        same_asker = self._license.asker == self._sequencer.incarnation and not self._unsure
        return self.status.ticket if same_asker else None

    def restore(self, kept: Mapping[str, str]) -> None:  # noqa: ARG002 - the log has it all
        """Take what the log has so far.

        Raises `KeyRefused`.
        """
        self.key = read_key(self.settings.key_file)
        self._on_license()
        self._shown = self._now_shown()

    # -- what happens ------------------------------------------------------------------------------------------------

    def receive(self, heard: Received) -> None:
        """Have all gateways know what the registrar has provably said."""
        at = self.clock_reading()
        if heard.verdict is Verdict.REGISTERED:
            told = self._compare_clocks(heard.time, at)
            self._say(RegistrarSaid("registered", heard.grant, heard.interval, heard.ticket, told=told))
        elif heard.verdict is Verdict.VERIFIED:
            self._say(RegistrarSaid("verified", ticket=heard.ticket, told=self._compare_clocks(heard.time, at)))
        elif heard.verdict is Verdict.REVOKED or heard.reason in {"revoked", "expired"}:
            self._say(RegistrarSaid("revoked", reason=heard.reason))
        elif heard.reason == "in_use":
            log.error("clone suspected: the license %s is in use by another installation", self.settings.serial)
            self._say(RegistrarSaid("in_use"))

    async def applied(self) -> None:
        """Wait until what the registrar said last counts.

        Raises `TimeoutError` where the log did not take it in time.
        """
        saying, self._saying = self._saying, None
        if saying is None:
            return
        try:
            await saying
        except NotDecided as fault:
            self._unsure = True
            raise TimeoutError from fault
        self._unsure = False

    def lost(self) -> None:
        """The connection to the registrar is gone; a gateway that may not speak cannot say so, and its successor does
        better.
        """
        if self.status.connected and self._sequencer.node.is_leader:
            self._sequencer.submit(RegistrarSaid("lost"))

    forget_connection = lost

    def _say(self, said: RegistrarSaid) -> None:
        self._saying = asyncio.get_running_loop().create_future()
        self._sequencer.submit(said, applied=self._saying)

    def poll(self) -> None:
        """See what the log has brought: another license, another state; have the cluster named where it is not."""
        license = self._license
        self.clone_suspected = license.clone_suspected
        self.skew = skew(self.status.registrar_time, self.status.latest_time) if self.status.grant else None
        if license.installation != self.installation:
            self.installation = license.installation
            self._persistence.keep("installation", self.installation)
        if self.status.grant != self._grant:
            self._grant = self.status.grant
            self._on_license()
        if not license.installation and self._sequencer.node.is_leader:
            self._name_installation(self._sequencer.incarnation)
        at = self.clock_reading()
        self._remind(at)
        shown = self._now_shown()
        if shown.state is not self._shown.state:
            reason = self.status.reason(at)
            ends = f", service ends at {utc(shown.shutdown_at)}" if shown.shutdown_at is not None else ""
            log.warning("registration: %s%s%s", shown.state, f" ({reason})" if reason else "", ends)
        self._shown = shown

    def _name_installation(self, incarnation: str) -> None:
        if self._named_by != incarnation:  # what an incarnation proposes is applied, unless it is over before
            self._named_by = incarnation
            self._sequencer.submit(SetInstallation(self.settings.installation or secrets.token_hex(16)))

    # -- by hand -----------------------------------------------------------------------------------------------------

    async def request(self) -> dict[str, Any]:
        """Refuse to ask by hand.

        Raises `RequestFault`.
        """
        raise RequestFault("in_a_cluster", BY_HAND)

    async def install(self, answer: Mapping[str, Any]) -> None:  # noqa: ARG002 - whatever it is
        """Refuse to install by hand.

        Raises `RequestFault`.
        """
        raise RequestFault("in_a_cluster", BY_HAND)


def registration_of(
    settings: RegistrationSettings,
    clock: Clock,
    persistence: Persistence,
    sequencer: Sequencer,
    *,
    on_license: Callable[[], None],
    is_draining: Callable[[], bool],
) -> Registration:
    """Return the registration of a gateway: that of its cluster, where it is part of one that registers."""
    if isinstance(sequencer, ReplicatedSequencer) and settings.role == "agent":
        return ClusterRegistration(
            settings, clock, persistence, sequencer, on_license=on_license, is_draining=is_draining
        )
    free = sequencer.state.primary.model.edition == "free"
    return Registration(settings, clock, persistence, free=free, on_license=on_license, is_draining=is_draining)
