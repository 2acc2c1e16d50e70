"""`tallygate check`: says whether a configuration is good, and what a gateway started with it would do here.

A configuration that is at fault, or names an address this machine cannot listen on or a certificate that is over, is an
error. A port in use is only reported: the gateway whose file is being checked may be the one that holds it.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from config.faults import ConfigError, ConfigFault
from config.keys import document, effective
from config.rules import missing_groups, too_few_files, warnings
from config.settings import Settings
from config.values import quote
from config.whole_files import read_text
from gateway.cli.options import config_options, refuse_store, settings_from, sources_of
from gateway.core.certificates import ends_of
from gateway.core.formats import utc
from gateway.edge.files import written_whole
from gateway.edge.server.listening_sockets import listening_sockets
from gateway.edge.storage.offline_store import group_names
from gateway.edge.storage.store_lock import MEMORY

HELP = "Says whether a configuration is good: every fault at once, each setting and its source, file limit and ports."
EXAMPLES = """\
examples:
  tallygate check --config gateway.toml
  tallygate check -v --set license.model=floating     every setting, the defaults too
  tallygate check --write-defaults gateway.toml       a file to start from; replaces one of that name
"""

RENEWAL = 30 * 86400.0
"""Seconds before the end of a certificate from which on it is time for another: authorities give some for 90 days."""
STDOUT = "-"
"""Stands for standard output where a file is named."""


class PortCheck(NamedTuple):
    """A port to be opened: the key that names its port and the one that names its address."""

    port_key: str
    host_key: str
    host: str
    port: int
    shared: bool


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `check`; `--verbose` is every command's."""
    config_options(parser)
    parser.add_argument(
        "--write-defaults",
        metavar="FILE",
        nargs="?",
        const=STDOUT,
        help="write the commented default file (to standard output without FILE) and do nothing else",
    )
    parser.add_argument(
        "--defaults",
        dest="write_defaults",
        action="store_const",
        const=STDOUT,
        help="print the commented default file: --write-defaults without FILE",
    )


def run(args: argparse.Namespace) -> int:
    """Print what can be said of the configuration; return 0 if it is good, 1 with every fault on stderr if not."""
    if args.write_defaults is not None:
        return _write_defaults(args.write_defaults)
    try:
        settings = settings_from(args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    reports: list[str] = []
    faults: list[ConfigFault] = []
    for found in (*map(_probe, _doors(settings)), *_certificates(settings, time.time())):
        if isinstance(found, ConfigFault):
            faults.append(found)
        else:
            reports.append(found)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and (fault := too_few_files(settings, hard)):
        faults.append(fault)
    if fault := _store(settings.store.path):
        faults.append(fault)
    if faults:
        print(*dict.fromkeys(faults), sep="\n", file=sys.stderr)
        return 1
    print("configuration is good")
    written = sources_of(args)
    for key, text, default in effective(settings):
        if args.verbose or not default:
            print(f"  {key} = {text}  ({written.get(key, 'default')})")
    for warning in (*warnings(settings), *_missing_groups(settings), *_open_secrets(settings)):
        print(f"warning: {warning}")
    print(*_files(settings), *reports, sep="\n")
    return 0


def _write_defaults(file: str) -> int:
    if file == STDOUT:
        print(document(), end="")
        return 0
    refuse_store(Path(file))
    try:
        with written_whole(Path(file)) as target:
            target.write(document().encode())
    except OSError as error:
        print(f"{file}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _files(settings: Settings) -> list[str]:
    """What the file limit allows: the gateway raises the soft limit to the hard one when it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    asked = settings.listen.max_connections
    if hard == resource.RLIM_INFINITY:
        room = "no limit" if asked is None else str(asked)
        return [f"file limit: {_limit(soft)} soft, none hard; max_connections {room}"]
    ceiling = settings.listen.ceiling(hard)
    lines = [f"file limit: {_limit(soft)} soft, {hard} hard; max_connections {ceiling}"]
    if asked is not None and asked > ceiling:
        lines.append(
            f"listen.max_connections {asked} does not fit: {settings.listen.spare_files} files are kept for other uses"
        )
    return lines


def _store(path: str) -> ConfigFault | None:
    """The fault of a store that could not be opened or made here, as far as that shows without doing it."""
    if path == MEMORY:
        return None
    file = Path(path)
    if file.exists() and not file.is_file():
        return ConfigFault("store.path", f"{quote(path)} is no regular file")
    if not file.parent.is_dir():
        return ConfigFault("store.path", f"there is no directory {quote(str(file.parent))}")
    for place, mode in ((file.parent, os.W_OK | os.X_OK), (file, os.R_OK | os.W_OK)):
        if place.exists() and not os.access(place, mode):
            return ConfigFault("store.path", f"{quote(str(place))} cannot be written to by this user")
    return None


def _missing_groups(settings: Settings) -> list[ConfigFault]:
    """The warnings about rules for seats that are of no group in the store, where it is this gateway's own."""
    if settings.store.path == MEMORY or settings.cluster.etcd:
        return []
    groups = group_names(Path(settings.store.path))
    return [] if groups is None else missing_groups(settings, groups)


def _open_secrets(settings: Settings) -> Iterator[ConfigFault]:
    """The warnings about secrets that other users of this machine can read."""
    files = {
        "registration.key_file": settings.registration.key_file,
        "listen.operator_token_file": settings.listen.operator_token_file,
        "cluster.peer_token_file": settings.cluster.peer_token_file,
    }
    for key, path in files.items():
        if path and Path(path).stat().st_mode & 0o077:
            yield ConfigFault(key, f"other users can read {quote(path)}: chmod 600 it")
    for place, issuer in enumerate(settings.accounts.jwt, 1):
        path = issuer.secret_file
        if path and Path(path).stat().st_mode & 0o077:
            yield ConfigFault("accounts.jwt", f"item {place}: other users can read {quote(path)}: chmod 600 it")


def _certificates(settings: Settings, now: float) -> Iterator[str | ConfigFault]:
    """Until when the certificates are good, seen at `now` (seconds UTC); a fault of those that are over.

    A chain ends with the first certificate of it, authorities with the last one.
    """
    for key, path, one in (
        ("listen.tls_certificate", settings.listen.tls_certificate, min),
        ("listen.operator_tls_certificate", settings.listen.operator_tls_certificate, min),
        ("cluster.tls_certificate", settings.cluster.tls_certificate, min),
        ("cluster.tls_ca", settings.cluster.tls_ca, max),
        ("registration.tls_ca", settings.registration.tls_ca, max),
    ):
        try:
            ends = ends_of(read_text(path)) if path else []
        except ValueError as fault:
            yield ConfigFault(key, f"{quote(path)}: {fault}")
            continue
        if ends:  # there is another way to write one, which ssl reads too
            end = one(ends)
            if end <= now:
                yield ConfigFault(key, f"{quote(path)} ended at {utc(end)}")
            elif end - now < RENEWAL:
                yield f"warning: {key}: {quote(path)} ends in {(end - now) / 86400:.0f} days, at {utc(end)}"
            else:
                yield f"{key}: good until {utc(end)}"


def _limit(files: int) -> str:
    return "none" if files == resource.RLIM_INFINITY else str(files)


def _doors(settings: Settings) -> list[PortCheck]:
    listen, registrar = settings.listen, settings.registrar
    listeners = [
        PortCheck("listen.tcp", "listen.host", listen.host, listen.tcp, listen.reuse_port),
        PortCheck("listen.websocket", "listen.host", listen.host, listen.websocket, listen.reuse_port),
        PortCheck("listen.operator", "listen.operator_host", listen.operator_host, listen.operator, False),
    ]
    if registrar.enabled:
        listeners.append(PortCheck("registrar.port", "registrar.host", registrar.host, registrar.port, False))
    return listeners


def _probe(listener: PortCheck) -> str | ConfigFault:
    """Whether the gateway could listen there now, tried the way it will; a fault if it never can."""
    place = f"[{listener.host}]:{listener.port}" if ":" in listener.host else f"{listener.host}:{listener.port}"
    try:
        for probe in listening_sockets(listener.host, listener.port, reuse_port=listener.shared):
            probe.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{listener.port_key}: {place} is in use"
        if error.errno == errno.EACCES:
            return ConfigFault(listener.port_key, f"cannot listen on port {listener.port}: {error.strerror}")
        return ConfigFault(listener.host_key, f"cannot listen on {quote(listener.host)}: {error.strerror}")
    return (
        f"{listener.port_key}: {place} is free"
        if listener.port
        else f"{listener.port_key}: picked at start on {listener.host}"
    )
