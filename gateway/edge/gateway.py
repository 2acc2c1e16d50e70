"""The gateway as one thing: it opens in order, closes in the opposite one, and tells which ports it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import ssl
import time
from asyncio import selector_events, sslproto
from collections.abc import AsyncIterator
from pathlib import Path

from config import keys
from config.settings import Settings
from gateway.edge import restarting
from gateway.edge.api.server import OperatorPort
from gateway.edge.cluster.dump_writer import DumpWriter
from gateway.edge.cluster.housekeeping import Housekeeping
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.garbage import GarbageCollection
from gateway.edge.joining import FollowedLog
from gateway.edge.machine import Clock, certificate_ends, read_token
from gateway.edge.ready_file import ReadyFile
from gateway.edge.restarting import KeptState
from gateway.edge.server.epoll_transport import Epoll
from gateway.edge.server.registration_agent import RegistrationAgent
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.command_recorder import CommandRecorder
from gateway.edge.storage.store import MEMORY
from gateway.edge.webhooks.posting_duty import PostingDuty, of_one_alone
from gateway.edge.webhooks.webhooks import Webhooks, receivers

READ_SIZE = 16384
"""Bytes that are read from a connection at once."""

log = logging.getLogger("tallygate")


class Gateway:
    """Everything that `serve` runs. `files` is how many files the process may open; `ready` is the file in which the
    ports are told, once all are open and again when doors close or open. Without `clients` it is a registrar alone. A
    node of a cluster has `followed` the log before; any other goes on from what the last run has `kept`, if it has.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        files: int,
        clock: Clock | None = None,
        ready: Path | None = None,
        record: Path | None = None,
        clients: bool = True,
        followed: FollowedLog | None = None,
        kept: KeptState | None = None,
    ) -> None:
        self.settings = settings
        self._ready = ReadyFile(ready) if ready is not None else None
        self._recorder = CommandRecorder(record) if record is not None else None
        self._trouble = ""
        self._goes_on = (
            clients and followed is None and settings.history.names == "names" and settings.store.path != MEMORY
        )
        self.runtime = Runtime(
            settings,
            kept.clock if kept is not None else clock or Clock(time.monotonic, time.time),
            files=files,
            clients=clients,
            node=followed.node if followed is not None else None,
            token_key=followed.token_key if followed is not None else None,
            state=kept.state if kept is not None else None,
        )
        self.runtime.persistence.goes_on_from = kept.noted if kept is not None else None
        if followed is None:
            self.runtime.registration.switch_doors = self._switch_doors
        self._node = self.runtime.node
        if followed is not None:
            self.dump_writer = DumpWriter(followed.node, self.runtime.persistence.store.write)
            self.housekeeping = Housekeeping(followed.node)
            self.runtime.persistence.unprojected = followed.unprojected
            followed.node.on_diverged = self.runtime.persistence.keep_divergence
        self._doors_open = False
        self._garbage = GarbageCollection(self.runtime.clock.mono)
        self.agent = RegistrationAgent(self.runtime.registration, self._used)
        self.operator = OperatorPort(self.runtime)
        self.webhooks = Webhooks(
            self.runtime.recent.events,
            self.runtime.persistence.outgoing,
            self.runtime.clock,
            _posting_duty(self._node) if self._node is not None else of_one_alone(),
        )
        self.runtime.persistence.outgoing.gather = self.webhooks.gather

    async def open(self) -> None:
        """Open the operator port, then the doors.

        Raises `OSError` where a port cannot be bound or the ready file not be written, `OperatorTokenRequired` where
        the operator port would be open to everybody, `KeyRefused` where a license has no key, `StoreRefused` or
        `StoreUnavailable`; nothing stays open then.
        """
        listen = self.settings.listen
        self._garbage.start()
        lean_buffers()
        try:
            await self.runtime.persistence.store.hold()
            if self._ready is not None:
                self._ready.clear()
            context = tls_context(listen.tls_certificate, listen.tls_key)
            operator_tls = tls_context(listen.operator_tls_certificate, listen.operator_tls_key)
            self.runtime.certificate_ends = certificate_ends(listen.tls_certificate, listen.operator_tls_certificate)
            await self.runtime.restore()
            self.runtime.persistence.seat_store.restore(self.runtime.now())
            if self._recorder is not None:
                self._recorder.open(self.runtime.state)
                self.runtime.record(self._recorder)
            self.operator.authorization.use_token(read_token(listen.operator_token_file))
            issuers = self.runtime.sign_in.issuers
            issuers.start(issuers.prepare(self.settings.accounts))
            self.webhooks.use(receivers(self.settings.webhook), self.settings.webhook)
            await self.operator.open(listen.operator_host, listen.operator, operator_tls)
            if listen.transport == "epoll" and hasattr(select, "epoll"):
                self.runtime.epoll = Epoll()
            for listener in self.runtime.listeners:
                listener.tls, listener.epoll = context, self.runtime.epoll
            if self.settings.registrar.enabled:
                self.runtime.registrar.listener.open(self.settings.registrar.host, self.settings.registrar.port)
            if self._node is not None:
                self.housekeeping.start()
                if self.settings.cluster.role == "active":
                    self._node.activate()
            elif self.runtime.clients and not self.runtime.registration.shut:
                self._open_doors()
            if self._ready is not None:
                self._ready.write(self.ports())
        except BaseException:
            await self.close(drain=0)
            raise
        self.runtime.on_tick = self._on_tick
        self.runtime.ticker.start()
        if self.runtime.registration.agent:
            self.agent.start()
        self._garbage.freeze()

    def _open_doors(self) -> None:
        """Open the client doors, on the ports that they had before."""
        listen = self.settings.listen
        for listener, port in ((self.runtime.tcp, listen.tcp), (self.runtime.websocket, listen.websocket)):
            listener.open(listen.host, listener.last_port or port, reuse_port=listen.reuse_port)
        self.runtime.recent.events.note(
            "gateway.doors_opened", {"tcp": self.runtime.tcp.port, "websocket": self.runtime.websocket.port}
        )

    def _switch_doors(self, *, open: bool) -> bool:
        """Open the client doors again, or close them and send everybody away; whether that could be done."""
        if not self.runtime.clients:
            return True
        if open:
            try:
                self._open_doors()
            except OSError as fault:
                self.runtime.tcp.close()
                if self._trouble != str(fault):  # tried again with every tick, said once
                    self._trouble = str(fault)
                    log.error("the license is verified again, but the client doors cannot be opened: %s", fault)
                return False
            self._trouble = ""
        else:
            self.runtime.close_all("unregistered")
            self.runtime.recent.events.note("gateway.doors_closed", {"reason": "unregistered"})
        self._tell_ports()
        return True

    def _on_tick(self) -> None:
        self._garbage.poll()
        self.agent.poll()
        self.webhooks.poll()
        self._follow_node()

    def _follow_node(self) -> None:
        """Open the client doors once this node of a cluster may speak, and its license is good; where it may not speak,
        they were closed at once.
        """
        if self._node is None or not self.runtime.clients:
            return
        self.dump_writer.poll()
        if not self._node.may_speak or self._node.is_lagging or self.runtime.draining:
            if self._doors_open and self.runtime.tcp.port is None:
                self._doors_open = False
                self._tell_ports()
        else:
            doors_open = not self.runtime.registration.shut
            if doors_open is not self._doors_open and self._switch_doors(open=doors_open):
                self._doors_open = doors_open

    def status(self) -> str:
        """Return how it stands, as one line for people."""
        runtime = self.runtime
        if not runtime.clients:
            return f"{len(runtime.registrar.registrar.licenses)} licenses sold"
        if runtime.registration.shut:
            return f"clients are not let in: {runtime.registration.reason()}"
        held = sum(len(listener.connections) for listener in runtime.client_listeners)
        pools = (
            f"{name} {pool.used}" if pool.terms.limit is None else f"{name} {pool.used} of {pool.terms.limit}"
            for name, pool in runtime.state.primary.pools.items()
        )
        what = "draining, " if runtime.draining else ""
        return f"{what}{held} connection{'' if held == 1 else 's'}; {', '.join(pools)}"

    def _used(self) -> dict[str, int]:
        """Return how many seats are held now in each pool of the primary model."""
        return {name: pool.used for name, pool in self.runtime.state.primary.pools.items()}

    async def close(self, drain: float | None = None) -> None:
        """Send the clients away over `drain` seconds (the setting's, unless given), then close everything."""
        early = asyncio.create_task(
            self.runtime.persistence.usage_store.write_released(self.runtime.now), name="use that is over"
        )
        try:
            await self._send_away(self.settings.listen.drain if drain is None else drain)
        finally:
            early.cancel()
            await asyncio.wait({early})
        await self.runtime.sign_in.issuers.close()
        if self._node is not None:
            await self._node.depart()
            await self.dump_writer.close()
            await self.housekeeping.close()
            await self._node.close()
        if self.runtime.epoll is not None:
            self.runtime.epoll.close()
            self.runtime.epoll = None
        self.runtime.ticker.stop()
        self.runtime.dispatcher.waiting_clients.close()
        await self.operator.close()
        if self._node is None:
            restarting.end_sessions(self.runtime)
        self.runtime.history_store.close(self.runtime.now())
        self.runtime.persistence.usage_store.close(self.runtime.now())
        last = await restarting.written_down(self.runtime, self.settings) if self._goes_on else ()
        await self.webhooks.close()
        await self.runtime.persistence.close(last)
        if self._recorder is not None:
            self._recorder.close()
        self._garbage.stop()
        self._tell_ports()

    async def _send_away(self, drain: float) -> None:
        """Let nobody in any more, and send away who is there, over `drain` seconds."""
        self.runtime.persistence.seat_store.begin_drain()
        if self.runtime.tcp.port is not None:
            self.runtime.recent.events.note("gateway.doors_closed", {"reason": "draining"})
        await self.runtime.stop_accepting()
        self.runtime.dispatcher.refuse_waiting("draining")
        self._tell_ports()
        await self.runtime.drain(drain)
        await self.agent.close()
        self.runtime.registrar.close()
        await self.runtime.abort_remaining()

    def _tell_ports(self) -> None:
        if self._ready is not None:
            try:
                self._ready.update(self.ports())
            except OSError as fault:
                log.error("the ready file cannot be written: %s", fault)

    def reload(self, settings: Settings) -> keys.Changes:
        """Take what can change without dropping a socket; returns what was changed and what waits for a restart.

        Raises `OSError` or `ssl.SSLError`; nothing is taken then.
        """
        before = {effect.key: effect.text for effect in keys.effective(self.settings)}
        changed = keys.changes(self.settings, settings)
        adopted = keys.adopt(self.settings, settings)
        listen = adopted.listen
        token = read_token(listen.operator_token_file)
        context = tls_context(listen.tls_certificate, listen.tls_key)
        operator_tls = tls_context(listen.operator_tls_certificate, listen.operator_tls_key)
        ends = certificate_ends(listen.tls_certificate, listen.operator_tls_certificate)
        issuers = self.runtime.sign_in.issuers.prepare(adopted.accounts)
        posted_to = receivers(adopted.webhook)
        for listener in self.runtime.listeners:
            listener.tls = context
        self.runtime.certificate_ends = ends
        self.operator.renew(operator_tls)
        self.operator.authorization.use_token(token)
        self.runtime.sign_in.issuers.start(issuers)
        self.webhooks.use(posted_to, adopted.webhook)
        self.settings = adopted
        self.runtime.recent.events.thresholds = adopted.events.thresholds
        self.runtime.apply_settings(adopted)
        if self._node is not None and adopted.cluster.role == "active" and not self._node.active:
            self._node.activate()
        after = {effect.key: effect.text for effect in keys.effective(settings)}
        told = {
            "changed": {key: [before[key], after[key]] for key in changed.live},
            "waiting": {key: [before[key], after[key]] for key in changed.restart},
        }
        self.runtime.persistence.audit(GATEWAY, "reload", "", told)
        return changed

    def ports(self) -> dict[str, int | None]:
        """Return the ports in use; None for a door that is closed."""
        return {
            "tcp": self.runtime.tcp.port,
            "websocket": self.runtime.websocket.port,
            "registrar": self.runtime.registrar.listener.port,
            "operator": self.operator.port,
        }


def _posting_duty(node: ClusterNode) -> PostingDuty:
    """Return the duty to post what all gateways have: that of the leader."""
    replica = node.replica
    return PostingDuty(
        lambda: node.is_leader,
        lambda: replica.at,
        lambda: node.positions.applied_until(replica.nodes.leader()),
    )


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Return the server side of TLS; None where it is off.

    Raises `ssl.SSLError` or `OSError` where the files are not a certificate and its key.
    """
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def lean_buffers() -> None:
    """Let asyncio's transports read in small pieces.

    Its own choice, 256 KiB for each read and for each TLS connection, costs memory that messages of 4 KiB never use,
    and lets one client keep the loop busy for a whole buffer of tiny frames. The attributes are not documented: where
    they are gone, nothing is set.
    """
    for owner in (sslproto.SSLProtocol, getattr(selector_events, "_SelectorTransport", None)):
        if isinstance(getattr(owner, "max_size", None), int):
            setattr(owner, "max_size", READ_SIZE)  # noqa: B010 - the types do not know it


@contextlib.asynccontextmanager
async def running(settings: Settings, *, files: int = 1024, clock: Clock | None = None) -> AsyncIterator[Gateway]:
    """A gateway that is open inside the block; it is closed without a drain."""
    clock = clock or Clock(time.monotonic, time.time)
    gateway = Gateway(settings, files=files, clock=clock, kept=await restarting.kept_state(settings, clock))
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close(drain=0)
