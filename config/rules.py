"""The rules between keys: each value may be good and the whole still wrong.

A rule names the keys it looks at and is not asked while one of them is itself at fault, so that a fault is said once.
Pure: whether a file can be read is the loader's question.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from config.reading import duration
from config.values import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config.settings import Settings


LONGEST_GRACE = 12 * 3600.0
"""Seconds that a license which needs the connection goes on without it (COUNTING.md, Registration)."""


class ConfigFault(NamedTuple):
    """One thing wrong with a configuration: the key (or file) it is about, the reason, and what was probably meant."""

    key: str
    reason: str
    nearest: str | None = None

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.key}: {self.reason}" + (f' (did you mean "{self.nearest}"?)' if self.nearest else "")


class Rule(NamedTuple):
    """A rule: the keys it takes together, and the faults it finds."""

    keys: tuple[str, ...]
    check: Callable[[Settings], Iterator[ConfigFault]]


def loopback(host: str) -> bool:
    """Whether only programs of this machine reach a door on this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def _silence(settings: Settings) -> Iterator[ConfigFault]:
    heartbeat = settings.heartbeat
    if heartbeat.timeout <= heartbeat.interval:
        reason = f"must exceed heartbeat.interval ({duration(heartbeat.interval)}), is {duration(heartbeat.timeout)}"
        yield ConfigFault("heartbeat.timeout", reason)


def _tls(settings: Settings) -> Iterator[ConfigFault]:
    listen = settings.listen
    if bool(listen.tls_certificate) != bool(listen.tls_key):
        missing, given = ("tls_key", "tls_certificate") if listen.tls_certificate else ("tls_certificate", "tls_key")
        yield ConfigFault(f"listen.{missing}", f"is missing, needed with listen.{given}")


def _doors(settings: Settings) -> Iterator[ConfigFault]:
    accounts, host = settings.accounts, settings.listen.host
    if not loopback(host) and accounts.mode != "token" and not accounts.trust_claims:
        reason = 'not a loopback address: needs accounts.mode = "token" or accounts.trust_claims = true'
        yield ConfigFault("listen.host", f"{quote(host)} is {reason}")


def _ports(settings: Settings) -> Iterator[ConfigFault]:
    listen, registrar = settings.listen, settings.registrar
    ports = {"listen.tcp": listen.tcp, "listen.websocket": listen.websocket, "listen.operator": listen.operator}
    if registrar.enabled:
        ports["registrar.port"] = registrar.port
    first: dict[int, str] = {}
    for key, port in ports.items():
        if port and first.setdefault(port, key) != key:
            yield ConfigFault(key, f"port {port} is already taken by {first[port]}")


def _reserve(settings: Settings) -> Iterator[ConfigFault]:
    floating = settings.license.terms["floating"]
    reserved = len(set(floating.reserve))
    if floating.limit and reserved > floating.limit:
        yield ConfigFault(
            "license.floating.reserve", f"has {reserved} keys, license.floating.limit is {floating.limit}"
        )


def _agent(settings: Settings) -> Iterator[ConfigFault]:
    if settings.registration.role == "agent":
        for field in ("server", "serial", "key_file"):
            if not getattr(settings.registration, field):
                yield ConfigFault(f"registration.{field}", 'is missing, needed with registration.role = "agent"')


def _grace(settings: Settings) -> Iterator[ConfigFault]:
    if settings.registration.grace > LONGEST_GRACE:
        yield ConfigFault("registration.grace", f"is more than {duration(LONGEST_GRACE)}, which no license allows")


def _pinning(settings: Settings) -> Iterator[ConfigFault]:
    registration = settings.registration
    for field in ("tls_ca", "tls_fingerprint"):
        if getattr(registration, field) and not registration.tls:
            yield ConfigFault(f"registration.{field}", "has no effect without registration.tls = true")


RULES: tuple[Rule, ...] = (
    Rule(("listen.host", "accounts.mode", "accounts.trust_claims"), _doors),
    Rule(("listen.tcp", "listen.websocket", "listen.operator", "registrar.port", "registrar.enabled"), _ports),
    Rule(("listen.tls_certificate", "listen.tls_key"), _tls),
    Rule(("heartbeat.timeout", "heartbeat.interval"), _silence),
    Rule(("license.floating.reserve", "license.floating.limit"), _reserve),
    Rule(("registration.role", "registration.server", "registration.serial", "registration.key_file"), _agent),
    Rule(("registration.grace",), _grace),
    Rule(("registration.tls", "registration.tls_ca", "registration.tls_fingerprint"), _pinning),
)


def warnings(settings: Settings) -> list[ConfigFault]:
    """What is good, and probably not what was meant."""
    return [*_unregistered(settings), *_readable(settings), *_believed(settings)]


def _unregistered(settings: Settings) -> Iterator[ConfigFault]:
    terms = settings.license.terms[settings.license.model]
    if settings.registration.role != "agent" and getattr(terms, "edition", "") == "free":
        reason = '"free" grants nothing without registration.role = "agent" and a license'
        yield ConfigFault("license.trueconf.edition", reason)


def _believed(settings: Settings) -> Iterator[ConfigFault]:
    accounts = settings.accounts
    if settings.listen.proxy_protocol_from and accounts.mode != "token" and not accounts.trust_claims:
        reason = "brings clients from elsewhere, and whatever account they claim is believed: see accounts.mode"
        yield ConfigFault("listen.proxy_protocol_from", reason)


def _readable(settings: Settings) -> Iterator[ConfigFault]:
    registration, registrar = settings.registration, settings.registrar
    host = registration.server.rpartition(":")[0].strip("[]")
    if registration.role == "agent" and not registration.tls and not loopback(host):
        yield ConfigFault(
            "registration.tls", f"is off: others on the way to {registration.server} can read what is said"
        )
    if registrar.enabled and not settings.listen.tls_certificate and not loopback(registrar.host):
        reason = "others on the way can read what registered servers say"
        yield ConfigFault(
            "registrar.host", f"{quote(registrar.host)} is served without listen.tls_certificate: {reason}"
        )
