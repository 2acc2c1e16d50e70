"""The rules between keys: each value may be good and the whole still wrong.

A rule names the keys it looks at, and is not checked while one of them is itself at fault, so that a fault is reported
once. Pure: whether a file can be read is checked by the loader.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import fields
from typing import NamedTuple

from config.faults import ConfigFault
from config.reading import nearest
from config.seat_rules import RuleFlaw, flaws, unknown_groups, useless
from config.settings import Settings
from config.token_settings import issuer_flaws
from config.values import quote
from config.webhook_settings import readable, webhook_flaws
from gateway.core.addresses import is_loopback
from gateway.core.counting.license_model import PoolTerms
from gateway.core.formats import endpoint, write_duration
from gateway.licensing import MODELS, overridden
from gateway.licensing.model_info import ModelInfo, TermsRule

LONGEST_GRACE = 12 * 3600.0
"""Seconds that a license which needs the connection goes on without it (COUNTING.md, Registration)."""
LONGEST_ID, REST_OF_WELCOME = 128 + 3, 1024
"""Bytes that a conference takes in the `welcome` of a resume at most, and the rest of it (PROTOCOL.md, Limits)."""


LIMITS = tuple(f"license.{name}.{field.name}" for name, info in MODELS.items() for field in fields(info.terms))
"""The settings by which a model has its pools."""


class SettingsRule(NamedTuple):
    """A rule: the keys it takes together, and the faults it finds."""

    keys: tuple[str, ...]
    check: Callable[[Settings], Iterator[ConfigFault]]


def _silence(settings: Settings) -> Iterator[ConfigFault]:
    heartbeat = settings.heartbeat
    if heartbeat.timeout <= heartbeat.interval:
        interval, timeout = write_duration(heartbeat.interval), write_duration(heartbeat.timeout)
        reason = f"must exceed heartbeat.interval ({interval}), is {timeout}"
        yield ConfigFault("heartbeat.timeout", reason)


def _together(section: str, certificate: str, key: str) -> SettingsRule:
    """A certificate is nothing without its key, nor a key without its certificate."""

    def check(settings: Settings) -> Iterator[ConfigFault]:
        named = getattr(settings, section)
        if bool(getattr(named, certificate)) != bool(getattr(named, key)):
            missing, given = (key, certificate) if getattr(named, certificate) else (certificate, key)
            yield ConfigFault(f"{section}.{missing}", f"is missing, needed with {section}.{given}")

    return SettingsRule((f"{section}.{certificate}", f"{section}.{key}"), check)


def _signed_in(settings: Settings) -> Iterator[ConfigFault]:
    operator = settings.operator
    names = ("proxy_hosts", "admin_groups", "read_groups")
    if not operator.trust_proxy:
        for field in names:
            if getattr(operator, field):
                yield ConfigFault(f"operator.{field}", "has no effect without operator.trust_proxy")
        return
    if not operator.proxy_hosts:
        yield ConfigFault("operator.proxy_hosts", "is missing, needed with operator.trust_proxy")
    if not operator.admin_groups and not operator.read_groups:
        yield ConfigFault("operator.admin_groups", "is missing, or operator.read_groups: nobody may do anything")
    for network in operator.trust_proxy:
        if network.endswith("/0"):
            yield ConfigFault("operator.trust_proxy", f"{quote(network)} has everybody in it, who may name anybody")


def _headers(settings: Settings) -> Iterator[ConfigFault]:
    if settings.operator.user_header.lower() == settings.operator.groups_header.lower():
        yield ConfigFault("operator.groups_header", "is operator.user_header too")


def _doors(settings: Settings) -> Iterator[ConfigFault]:
    accounts, host = settings.accounts, settings.listen.host
    if not is_loopback(host) and accounts.mode == "open" and not accounts.trust_claims:
        reason = 'not a loopback address: needs accounts.mode = "token" or "jwt", or accounts.trust_claims = true'
        yield ConfigFault("listen.host", f"{quote(host)} is {reason}")


def _issuers(settings: Settings) -> Iterator[ConfigFault]:
    for reason in issuer_flaws(settings.accounts.jwt):
        yield ConfigFault("accounts.jwt", reason)


def _proven(settings: Settings) -> Iterator[ConfigFault]:
    accounts = settings.accounts
    if accounts.mode == "jwt" and not accounts.jwt:
        yield ConfigFault("accounts.jwt", 'is missing, needed with accounts.mode = "jwt"')
    if accounts.mode != "jwt" and accounts.jwt:
        yield ConfigFault("accounts.jwt", 'has no effect without accounts.mode = "jwt"')


def _ports(settings: Settings) -> Iterator[ConfigFault]:
    listen, registrar = settings.listen, settings.registrar
    ports = {"listen.tcp": listen.tcp, "listen.websocket": listen.websocket, "listen.operator": listen.operator}
    if registrar.enabled:
        ports["registrar.port"] = registrar.port
    first: dict[int, str] = {}
    for key, port in ports.items():
        if port and first.setdefault(port, key) != key:
            yield ConfigFault(key, f"port {port} is already taken by {first[port]}")


def _agent(settings: Settings) -> Iterator[ConfigFault]:
    if settings.registration.role == "agent":
        for field in ("server", "serial", "key_file"):
            if not getattr(settings.registration, field):
                yield ConfigFault(f"registration.{field}", 'is missing, needed with registration.role = "agent"')


def _grace(settings: Settings) -> Iterator[ConfigFault]:
    if settings.registration.grace > LONGEST_GRACE:
        yield ConfigFault(
            "registration.grace", f"is more than {write_duration(LONGEST_GRACE)}, which no license allows"
        )


def _pinning(settings: Settings) -> Iterator[ConfigFault]:
    registration = settings.registration
    for field in ("tls_ca", "tls_fingerprint"):
        if getattr(registration, field) and not registration.tls:
            yield ConfigFault(f"registration.{field}", "has no effect without registration.tls = true")


def _denials(settings: Settings) -> Iterator[ConfigFault]:
    if settings.denials.keep > settings.history.keep:
        longest = write_duration(settings.history.keep)
        yield ConfigFault(
            "denials.keep", f"is more than history.keep ({longest}), for which the times between are kept"
        )


def _cluster(settings: Settings) -> Iterator[ConfigFault]:
    cluster = settings.cluster
    if not cluster.etcd:
        return
    for field in ("name", "secret_file", "prefix"):
        if not getattr(cluster, field):
            yield ConfigFault(f"cluster.{field}", "is missing, needed with cluster.etcd")


def _cluster_beside(settings: Settings) -> Iterator[ConfigFault]:
    if not settings.cluster.etcd:
        return
    if settings.store.path == ":memory:":
        yield ConfigFault("store.path", "a gateway of a cluster needs a file: it is a whole copy of the state")
    if settings.registrar.enabled:
        reason = "a registrar is no part of a cluster; run `tallygate registrar` for it, and set this to false"
        yield ConfigFault("registrar.enabled", reason)


def _webhook(settings: Settings) -> Iterator[ConfigFault]:
    yield from (ConfigFault("webhook", flaw) for flaw in webhook_flaws(settings.webhook))


def _of_model(info: ModelInfo, rule: TermsRule) -> SettingsRule:
    """A rule that a license model has between its own settings."""

    def check(settings: Settings) -> Iterator[ConfigFault]:
        for field, reason in rule.check(settings.license.terms[info.name]):
            yield ConfigFault(f"license.{info.name}.{field}", reason)

    return SettingsRule(tuple(f"license.{info.name}.{field}" for field in rule.fields), check)


def seat_flaw(flaw: RuleFlaw) -> ConfigFault:
    """Return the fault of a rule for seats."""
    meant = nearest(flaw.meant, flaw.known) if flaw.meant else None
    return ConfigFault("license.rule", f"item {flaw.place}: {flaw.reason}", meant)


def missing_groups(settings: Settings, groups: Collection[str]) -> list[ConfigFault]:
    """Return the rules for seats of groups that are not among `groups`: they are of nobody, until there is one, unless
    tokens of issuers name groups.
    """
    if any(each.groups_claim for each in settings.accounts.jwt):
        return []
    return [*map(seat_flaw, unknown_groups(settings.license.rule, groups))]


def _seats(settings: Settings) -> Iterator[ConfigFault]:
    license = settings.license
    decides = _pools(settings, license.model)
    any_model = MODELS if settings.registration.role == "agent" else ()
    pools = {name: pool for model in any_model for name, pool in _pools(settings, model).items()} | decides
    yield from map(seat_flaw, flaws(license.rule, pools, decides))


def _pools(settings: Settings, model: str) -> dict[str, PoolTerms]:
    return {pool.name: pool for pool in MODELS[model].model(settings.license.terms[model]).pools}


RULES: tuple[SettingsRule, ...] = (
    SettingsRule(("license.rule", "license.model", "registration.role", *LIMITS), _seats),
    SettingsRule(("listen.host", "accounts.mode", "accounts.trust_claims"), _doors),
    SettingsRule(("accounts.jwt",), _issuers),
    SettingsRule(("accounts.mode", "accounts.jwt"), _proven),
    SettingsRule(("listen.tcp", "listen.websocket", "listen.operator", "registrar.port", "registrar.enabled"), _ports),
    _together("listen", "tls_certificate", "tls_key"),
    _together("listen", "operator_tls_certificate", "operator_tls_key"),
    SettingsRule(
        ("operator.trust_proxy", "operator.proxy_hosts", "operator.admin_groups", "operator.read_groups"), _signed_in
    ),
    SettingsRule(("operator.user_header", "operator.groups_header"), _headers),
    SettingsRule(("denials.keep", "history.keep"), _denials),
    SettingsRule(("heartbeat.timeout", "heartbeat.interval"), _silence),
    SettingsRule(("registration.role", "registration.server", "registration.serial", "registration.key_file"), _agent),
    SettingsRule(("registration.grace",), _grace),
    SettingsRule(("registration.tls", "registration.tls_ca", "registration.tls_fingerprint"), _pinning),
    SettingsRule(("cluster.etcd", "cluster.name", "cluster.secret_file", "cluster.prefix"), _cluster),
    SettingsRule(("cluster.etcd", "store.path", "registrar.enabled"), _cluster_beside),
    _together("cluster", "tls_certificate", "tls_key"),
    SettingsRule(("webhook",), _webhook),
    *(_of_model(info, rule) for info in MODELS.values() for rule in info.rules),
)


def too_few_files(settings: Settings, files: int) -> ConfigFault | None:
    """Return the fault where a process that may open `files` files could hold no connection at all."""
    if settings.listen.ceiling(files) > 0:
        return None
    spare = settings.listen.spare_files
    reason = f"{files} leave none for connections, {spare} are kept for other uses: raise the limit (ulimit -n)"
    return ConfigFault("open files", reason)


def warnings(settings: Settings) -> list[ConfigFault]:
    """Return what is allowed, and probably not what was meant."""
    return [
        *_unregistered(settings),
        *_overridden(settings),
        *_readable(settings),
        *_believed(settings),
        *_resumed(settings),
        *_few_members(settings),
        *(ConfigFault("webhook", reason) for reason in readable(settings.webhook)),
        *map(seat_flaw, useless(settings.license.rule, _pools(settings, settings.license.model))),
    ]


def _few_members(settings: Settings) -> Iterator[ConfigFault]:
    members = len(settings.cluster.etcd)
    if members in {1, 2}:
        reason = f"{members} of them: nothing is granted while one of them is away; three bear the loss of one"
        yield ConfigFault("cluster.etcd", reason)


def _unregistered(settings: Settings) -> Iterator[ConfigFault]:
    info = MODELS[settings.license.model]
    edition = getattr(settings.license.terms[info.name], "edition", None)
    if settings.registration.role != "agent" and edition in info.needs_connection:
        reason = f'{quote(edition)} grants nothing without registration.role = "agent" and a license'
        yield ConfigFault(f"license.{info.name}.edition", reason)


def overridden_settings(settings: Settings) -> list[str]:
    """Return the keys of the settings that have no effect, since a registrar's license says what they say."""
    model = settings.license.model
    if settings.registration.role != "agent":
        return []
    return [f"license.{model}.{field}" for field in overridden(model, settings.license.terms[model])]


def _overridden(settings: Settings) -> Iterator[ConfigFault]:
    for key in overridden_settings(settings):
        yield ConfigFault(key, "has no effect: the license that a registrar sold says it")


def _believed(settings: Settings) -> Iterator[ConfigFault]:
    accounts = settings.accounts
    if settings.listen.proxy_protocol_from and accounts.mode == "open" and not accounts.trust_claims:
        reason = "brings clients from elsewhere, and whatever account they claim is believed: see accounts.mode"
        yield ConfigFault("listen.proxy_protocol_from", reason)


def _resumed(settings: Settings) -> Iterator[ConfigFault]:
    welcome = settings.conferences.max_per_session * LONGEST_ID + REST_OF_WELCOME
    if welcome > settings.listen.outbound_limit:
        reason = f"a client that resumes is told all of them, up to {welcome} bytes: more than listen.outbound_limit"
        yield ConfigFault("conferences.max_per_session", reason)


def _readable(settings: Settings) -> Iterator[ConfigFault]:
    registration, registrar = settings.registration, settings.registrar
    agent = registration.role == "agent"
    if agent and not registration.tls and not is_loopback(endpoint(registration.server)[0]):
        yield ConfigFault(
            "registration.tls", f"is off: others on the way to {registration.server} can read what is said"
        )
    if registrar.enabled and not settings.listen.tls_certificate and not is_loopback(registrar.host):
        reason = "others on the network can read what registered servers send"
        yield ConfigFault(
            "registrar.host", f"{quote(registrar.host)} is served without listen.tls_certificate: {reason}"
        )
