"""`tallygate serve`: runs the gateway until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

from config import keys
from config.faults import ConfigError, ConfigFault
from config.rules import missing_groups, too_few_files, warnings
from config.settings import Settings
from gateway.cli.log_lines import complain, in_json
from gateway.cli.log_writer import log_written_apart
from gateway.cli.options import config_options, refuse_store, settings_from
from gateway.cli.streams import OutputFailed, discard_output
from gateway.core.admission.snapshot import PoolView
from gateway.edge.api.authorization import OperatorTokenRequired
from gateway.edge.gateway import Gateway
from gateway.edge.joining import ClusterRefused, follow
from gateway.edge.machine import Clock, KeyRefused
from gateway.edge.restarting import kept_state
from gateway.edge.service_manager import ServiceManager
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.store import StoreRefused, StoreUnavailable

HELP = "Runs the gateway: client doors, operator port, license models."
SAYS_MORE = 1
"""It tells what happens to it; -v tells it of each client."""
EXAMPLES = """\
examples:
  tallygate serve
  tallygate serve --config gateway.toml
  tallygate serve --set license.model=trueconf --set license.trueconf.pro=20
  tallygate serve --set listen.tcp=0 --ready-file /run/tallygate.json

signals:
  SIGTERM, Ctrl-C   send the clients away over `listen.drain`, then end; a second one ends at once,
                    and so it does when the store does not answer
  SIGHUP            read the configuration again: limits and certificates change, nobody is dropped;
                    during the start, as soon as it is open
"""

LAST_COMMITS = 3.5
"""Seconds beyond the drain in which everything is written and closed; then it goes on as after a second signal."""
STOP_WRITING, HURRY = 0.5, 1.0
"""Seconds that are given, after a second signal, to what is under way and to the close without it. All of this is 5
seconds beyond the drain: a disk that hangs keeps no gateway from ending."""

log = logging.getLogger("tallygate")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    config_options(parser)
    parser.add_argument(
        "--ready-file", metavar="FILE", type=Path, help="where the ports in use are written as JSON, once all are open"
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        type=Path,
        help="write every command to a new file, for `tallygate replay`; it holds names and addresses",
    )


def run(args: argparse.Namespace, *, clients: bool = True) -> int:
    """Runs until a signal; 0 after a drain, 1 if it cannot start. Without `clients` it is a registrar alone."""
    again = asyncio.Event()
    signal.signal(signal.SIGHUP, lambda *_: again.set())  # left alone it would end the process
    try:
        settings = settings_from(args)
    except ConfigError as error:
        if in_json():
            for each in error.faults:
                complain(str(each))
        else:
            print(error, file=sys.stderr)
        return 1
    if args.ready_file is not None:
        refuse_store(args.ready_file, settings.store.path)
    before, files = raise_file_limit()
    if fault := too_few_files(settings, files):
        raise SystemExit(f"cannot start: {fault}")
    with log_written_apart(), asyncio.Runner(loop_factory=fast_loop()) as runner:
        if clients and settings.cluster.etcd:
            making = _made_in_cluster(settings, args, files)
        else:
            making = _made(settings, args, files, clients=clients)
        return runner.run(_serve(making, args, before, files, again))


class Made(NamedTuple):
    """A gateway that can be opened; `failed` is done when it has left its cluster, and says why."""

    gateway: Gateway
    failed: asyncio.Future[str] | None = None


async def _made(settings: Settings, args: argparse.Namespace, files: int, *, clients: bool) -> Made:
    clock = Clock(time.monotonic, time.time)
    record, kept = getattr(args, "record", None), await kept_state(settings, clock) if clients else None
    return Made(
        Gateway(settings, files=files, clock=clock, ready=args.ready_file, record=record, clients=clients, kept=kept)
    )


async def _made_in_cluster(settings: Settings, args: argparse.Namespace, files: int) -> Made:
    followed = await follow(settings, Clock(time.monotonic, time.time))
    record = getattr(args, "record", None)
    gateway = Gateway(settings, files=files, ready=args.ready_file, record=record, followed=followed)
    return Made(gateway, followed.node.failed)


async def _opened(making: Coroutine[Any, Any, Made]) -> Made:
    made = await making
    await made.gateway.open()
    return made


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the event loop of the optional extra `fast`, where it is installed; None for asyncio's own."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ModuleNotFoundError:
        return None
    return factory


def raise_file_limit() -> tuple[int, int]:
    """Raise the soft limit of open files to the hard one; returns both as numbers (unlimited counts as a million)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _files(soft), _files(hard)


def _files(limit: int) -> int:
    return 10**6 if limit == resource.RLIM_INFINITY else limit


def reason(fault: Exception) -> str:
    """Return why the gateway cannot start, with the file that it is about."""
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror
    return str(fault)


async def _serve(
    making: Coroutine[Any, Any, Made], args: argparse.Namespace, before: int, files: int, again: asyncio.Event
) -> int:
    loop = asyncio.get_running_loop()
    stop, at_once = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (at_once if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    opening = asyncio.create_task(_opened(making))
    if not await _before(stop, opening):
        opening.cancel()
        await asyncio.wait({opening})
        return 0
    try:
        gateway, failed = opening.result()
    except (OSError, ClusterRefused, KeyRefused, StoreRefused, StoreUnavailable, OperatorTokenRequired) as fault:
        complain(f"cannot start: {reason(fault)}")
        return 1
    manager = ServiceManager.from_environment(os.environ, gateway.status)
    try:
        _tell_start(gateway, before, files)
        reload = _reloading(gateway, args, manager)
        loop.add_signal_handler(signal.SIGHUP, reload)
        if failed is not None:
            failed.add_done_callback(lambda _: stop.set())
        manager.ready()
        if again.is_set():  # it may have been read before it was changed
            reload()
        await stop.wait()
    finally:
        manager.stopping()
        await _close(gateway, at_once)
        manager.close()
    if failed is not None and failed.done():
        complain(f"this node has left the cluster: {failed.result()}")
        return 1
    return 0


async def _before(event: asyncio.Event, task: asyncio.Task[Any], seconds: float | None = None) -> bool:
    """Whether a task is done before an event comes, or so many seconds have passed."""
    coming = asyncio.create_task(event.wait())
    await asyncio.wait((coming, task), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    coming.cancel()
    return task.done()


async def _close(gateway: Gateway, at_once: asyncio.Event) -> None:
    """Drain and close; after a second signal without the drain, and without the disk if that does not answer."""
    held = sum(len(listener.connections) for listener in gateway.runtime.client_listeners)
    drain = gateway.settings.listen.drain
    if held:
        say(f"draining {held} connection{'' if held == 1 else 's'} over {drain:g} s")
    closing = asyncio.create_task(gateway.close())
    if not await _before(at_once, closing, drain + LAST_COMMITS):
        closing.cancel()
        await asyncio.wait({closing}, timeout=STOP_WRITING)
        last = asyncio.create_task(gateway.close(drain=0))
        _, late = await asyncio.wait({last}, timeout=HURRY)
        if late:
            complain("the store does not answer; ended without it")
            logging.shutdown()
            os._exit(1)  # a thread of the database library waits for the disk, and would be waited for
        last.result()
    else:
        closing.result()
    say("stopped")


def say(text: str, end: str = "\n") -> None:
    """Print, unless nobody can read it: that must not keep the gateway from running, nor from closing. Where the log is
    in JSON it is a line of that.
    """
    if in_json():
        log.info("%s", text)
        return
    try:
        print(text, end=end, flush=True)
    except OutputFailed:
        discard_output()


def _reloading(gateway: Gateway, args: argparse.Namespace, manager: ServiceManager) -> Callable[[], None]:
    def reload() -> None:
        manager.reloading()
        try:
            read_again()
        finally:
            manager.ready()

    def read_again() -> None:
        try:
            changed = gateway.reload(settings_from(args))
        except (ConfigError, OSError) as fault:
            told = {"event": "gateway.reload.refused", "detail": {"why": str(fault)}}
            log.error("the new configuration is not used, the last good one stays in effect: %s", fault, extra=told)
            gateway.runtime.persistence.audit(GATEWAY, "reload.refused", "", {"why": str(fault)})
            return
        log.warning(
            "configuration read again; changed: %s; waiting for a restart: %s",
            ", ".join(changed.live) or "nothing",
            ", ".join(changed.restart) or "nothing",
            extra={"event": "gateway.reload", "detail": changed._asdict()},
        )
        for warning in (*warnings(gateway.settings), *_missing_groups(gateway)):
            log.warning("%s", warning)

    return reload


def _missing_groups(gateway: Gateway) -> list[ConfigFault]:
    """The warnings about rules for seats that are of no group there is."""
    return missing_groups(gateway.settings, gateway.runtime.state.directory.groups) if gateway.runtime.clients else []


def _tell_start(gateway: Gateway, before: int, files: int) -> None:
    """Show where it listens, and have the log say with which settings it has started."""
    settings, runtime = gateway.settings, gateway.runtime
    runtime.recent.events.begin_log()
    if in_json():
        detail = {**gateway.ports(), "model": runtime.state.terms.model, "store": settings.store.path, "files": files}
        log.info("listening", extra={"event": "gateway.listening", "detail": detail})
        for warning in (*warnings(settings), *_missing_groups(gateway)):
            log.warning("%s", warning)
    else:
        say(screen(gateway, before, files))
    changed = {effect.key: effect.text for effect in keys.effective(settings) if not effect.default}
    words = ", ".join(f"{key} = {text}" for key, text in changed.items()) or "all are the defaults"
    log.info("settings: %s", words, extra={"event": "gateway.settings", "detail": changed})


def screen(gateway: Gateway, before: int, files: int) -> str:
    """Return what a person sees at the start: where it listens, what it counts, what it can hold."""
    settings, runtime = gateway.settings, gateway.runtime
    scheme = "https" if settings.listen.operator_tls_certificate else "http"
    lines = [
        f"tallygate {metadata.version('tallygate')}",
        "",
        *(_clients(gateway) if runtime.clients else ()),
        f"  operators  http       {scheme}://{_at(settings.listen.operator_host, gateway.operator.port)}"
        "  (the page; /metrics /readyz /api/license)",
        *_registrar(gateway),
        "",
        *(_licensing(gateway) if runtime.clients else ()),
        *_cluster(gateway),
        f"  store      {settings.store.path}",
        f"  capacity   {runtime.budget.max_connections:,} connections; open files {before:,} raised to {files:,}"
        + (", on uvloop" if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else ""),
        *(f"  warning    {warning}" for warning in (*warnings(settings), *_missing_groups(gateway))),
    ]
    return "\n".join([*lines, ""])


def _clients(gateway: Gateway) -> list[str]:
    listen, runtime = gateway.settings.listen, gateway.runtime
    secure = bool(listen.tls_certificate)
    if any(listener.port is None for listener in runtime.client_listeners):
        return [f"  clients    closed     {runtime.registration.reason() or 'until this node is in the cluster'}"]
    return [
        f"  clients    tcp        {_at(listen.host, runtime.tcp.port)}  ({'TLS' if secure else 'no TLS'})",
        f"             websocket  {'wss' if secure else 'ws'}://{_at(listen.host, runtime.websocket.port)}/ws",
    ]


def _licensing(gateway: Gateway) -> list[str]:
    settings, runtime = gateway.runtime.settings, gateway.runtime
    seen = runtime.snapshot()
    return [
        f"  license    {seen.model}{', ' + seen.edition + ' edition' if seen.edition else ''}: "
        + ", ".join(_limit(pool) for pool in seen.pools if pool.model == seen.model)
        + ("" if settings.license.enforce else "  (not enforced: counts, refuses nobody)")
        + (f", overdraft {settings.license.overdraft}" if settings.license.overdraft else ""),
        f"  shadow     {', '.join(dict.fromkeys(p.model for p in seen.pools if p.model != seen.model)) or 'none'}",
        *_registration(gateway),
        f"  accounts   {_accounts(settings)}",
    ]


def _cluster(gateway: Gateway) -> list[str]:
    cluster, node = gateway.settings.cluster, gateway.runtime.node
    if node is None:
        return []
    members = f"{len(cluster.etcd)} member{'' if len(cluster.etcd) == 1 else 's'} of etcd"
    standby = ", a standby: it follows and serves nobody" if cluster.role == "standby" else ""
    return [f"  cluster    node {cluster.name} of {node.replica.cluster} over {members}{standby}"]


def _registrar(gateway: Gateway) -> list[str]:
    port, sold = gateway.runtime.registrar.listener.port, len(gateway.runtime.registrar.registrar.licenses)
    if port is None:
        return []
    licenses = f"{sold} license{'' if sold == 1 else 's'}"
    return [f"  registrar  tcp        {_at(gateway.settings.registrar.host, port)}  ({licenses})"]


def _registration(gateway: Gateway) -> list[str]:
    registration = gateway.runtime.registration
    if not registration.agent:
        return []
    told = registration.to_json()
    where = f"{told['state']}, license {told['serial']} of {told['server']}"
    return [f"  register   {where}"]


def _at(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _limit(pool: PoolView) -> str:
    return f"{pool.pool} {'no limit' if pool.limit is None else pool.limit}"


def _accounts(settings: Settings) -> str:
    if settings.accounts.mode == "open":
        return "open: a client is believed who it says it is"
    if settings.accounts.mode == "jwt":
        names = ", ".join(each.issuer for each in settings.accounts.jwt)
        return f"jwt: a client proves its account by a token of {names}"
    return "token: a client proves its account"
