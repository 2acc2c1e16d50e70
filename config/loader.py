"""Loading: a TOML file, the environment and `--set` overrides become Settings, or every fault in them at once.

Three steps. What was written is gathered as key and raw value, a later `--set` above an earlier one above the
environment above the file; each value is then read by the kind of its key; then files and the rules between keys are
checked. No step stops at its first fault, and a rule is not checked while a key that it looks at is at fault.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from config.environment import gather, variable_of
from config.faults import ConfigError, ConfigFault, read_toml
from config.keys import KEYS, SECTIONS, build, flatten
from config.reading import nearest, parse, read
from config.rules import RULES
from config.settings import Settings
from config.token_keys import key_flaws
from config.values import File, KindError, quote
from config.whole_files import read_bytes, read_text, unusable_authorities
from gateway.core.formats import TOKEN_FORM, is_hex, is_token

ENVIRONMENT = "environment"
NOTHING: Mapping[str, str] = MappingProxyType({})
PAIRS = (
    ("listen.tls_certificate", "listen.tls_key"),
    ("listen.operator_tls_certificate", "listen.operator_tls_key"),
    ("cluster.tls_certificate", "cluster.tls_key"),
)
"""The certificates that this gateway shows to others, each with its key."""
SHORTEST_SECRET = 32
"""Characters of the secret of a cluster at least."""


def load(path: Path | None, overrides: Sequence[str] = (), environment: Mapping[str, str] = NOTHING) -> Settings:
    """Return the settings of the file (None: the defaults), changed by variables, then by overrides `key=value`.

    Raises ConfigError with every fault of the file, the variables, the overrides, the files they name and the rules
    between them. A file that is no TOML is the only fault reported of it.
    """
    found = _gathered(path, overrides, environment)
    written, faults = found.written, found.faults
    values: dict[str, Any] = {}
    bad: set[str] = set()
    for name in KEYS:
        if name in written:
            try:
                values[name] = read(KEYS[name].kind, written[name])
            except KindError as error:
                bad.add(name)
                shown = f"{name} ({variable_of(name)})" if found.sources[name] == ENVIRONMENT else name
                faults += (ConfigFault(shown, flaw.reason, flaw.nearest) for flaw in error.flaws)
    settings = build(values)
    for fault in _unreadable(values):
        bad.add(fault.key)
        faults.append(fault)
    for rule in RULES:
        if bad.isdisjoint(rule.keys):
            faults += rule.check(settings)
    for certificate, key in PAIRS:
        if bad.isdisjoint({certificate, key}):
            faults += _pair(settings, certificate, key)
    for name, check in FILE_CHECKS.items():
        if name not in bad:
            faults += check(settings)
    if faults:
        raise ConfigError(faults)
    return settings


def sources(path: Path | None, overrides: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return where the value of each key comes from that does not have its default, of what `load` accepts."""
    return _gathered(path, overrides, environment).sources


class _Gathered(NamedTuple):
    """What was written: the raw value of each key, where it stands, and the faults so far."""

    written: dict[str, Any]
    sources: dict[str, str]
    faults: list[ConfigFault]


def _gathered(path: Path | None, overrides: Sequence[str], environment: Mapping[str, str]) -> _Gathered:
    found = _Gathered({}, {}, [])
    try:
        table = {} if path is None else read_toml(path)
    except ConfigError as error:
        table = {}
        found.faults.extend(error.faults)

    def take(source: str, faults: Callable[[dict[str, Any]], Iterable[ConfigFault]]) -> None:
        written: dict[str, Any] = {}
        found.faults.extend(faults(written))
        found.written.update(written)
        found.sources.update(dict.fromkeys(written, source))

    take("file", lambda written: _gather(table, written))
    take(ENVIRONMENT, lambda written: gather(environment, written))
    take("--set", lambda written: _override(overrides, written))
    return found


def _gather(table: Mapping[str, Any], written: dict[str, Any]) -> Iterator[ConfigFault]:
    """Takes the known keys of a TOML document into `written`; yields a fault for everything else."""
    for section, value in table.items():
        if section in SECTIONS:
            yield from _gather_section(section, value, written)
        elif section in KEYS:
            written[section] = value
        elif isinstance(value, dict):
            yield ConfigFault(_dotted(section), "unknown section", _nearest_section(section))
        else:
            yield ConfigFault(_dotted(section), "unknown key", _nearest_key(section))


def _gather_section(section: str, table: object, written: dict[str, Any]) -> Iterator[ConfigFault]:
    if not isinstance(table, dict):
        yield ConfigFault(section, f"is a section, write it as [{section}]")
        return
    for field, value in table.items():
        name = f"{section}.{field}"
        if name in SECTIONS:
            yield from _gather_section(name, value, written)
        elif name in KEYS:
            written[name] = value
        elif isinstance(value, dict):
            yield ConfigFault(_dotted(section, field), "unknown section", _nearest_section(name))
        else:
            yield ConfigFault(_dotted(section, field), "unknown key", _nearest_key(name))


def _override(overrides: Sequence[str], written: dict[str, Any]) -> Iterator[ConfigFault]:
    for override in overrides:
        name, equals, text = override.partition("=")
        name, text = name.strip(), text.strip()
        if not equals:
            yield ConfigFault("--set", f"expected key=value, found {quote(override)}")
        elif name in KEYS:
            written[name] = parse(KEYS[name].kind, text)
        elif name in SECTIONS:
            yield ConfigFault(name, f"is a section, expected one of its keys, such as {_first(name)}")
        else:
            yield ConfigFault(_dotted(*name.split(".")), "unknown key", _nearest_key(name))


def _first(section: str) -> str:
    return next(name for name, key in KEYS.items() if key.section == section)


def _nearest_key(name: str) -> str | None:
    """Return the key that was probably meant: one with a similar field in this section, or else in any section."""
    section, _, field = name.rpartition(".")
    if section not in SECTIONS:
        section = _nearest_section(section) or section
    here = {key.field: key.name for key in KEYS.values() if key.section == section}
    everywhere = {key.field: key.name for key in reversed(list(KEYS.values()))}
    if like := nearest(field, here):
        return here[like]
    like = nearest(field, everywhere, likeness=0.8)
    return None if like is None else everywhere[like]


def _nearest_section(name: str) -> str | None:
    """Return the section that was probably meant, by its last part: `[epop]` means `[license.epop]`."""
    sections = {section.rpartition(".")[2]: section for section in SECTIONS}
    like = nearest(name.rpartition(".")[2], sections)
    return None if like is None else sections[like]


def _dotted(*parts: str) -> str:
    """Return a key for a message, on one line: parts with unusual characters are quoted."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_.-]+", part) else quote(part) for part in parts)


def _unreadable(values: Mapping[str, Any]) -> Iterator[ConfigFault]:
    for name, value in values.items():
        if value and any(isinstance(mark, File) for mark in get_args(KEYS[name].kind)):
            try:
                read_bytes(value)
            except OSError as error:
                yield ConfigFault(name, f"{quote(value)} cannot be read: {error.strerror}")


def _pair(settings: Settings, certificate: str, key: str) -> Iterator[ConfigFault]:
    """Whether the certificate and the key that two settings name can be used, and belong together."""
    value = flatten(settings)
    if value[certificate] and value[key]:
        try:
            # Without a passphrase here the library would ask for one on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(value[certificate], value[key], password="")
        except (OSError, ValueError) as error:
            words = str(getattr(error, "reason", None) or "").replace("_", " ").lower()
            reason = words if words not in {"", "pem lib"} else "not a certificate and a key in PEM"
            yield ConfigFault(certificate, f"cannot be used with {key}: {reason}")


def _key(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the file of the license's key holds one."""
    yield from _content("registration.key_file", settings.registration.key_file, _is_key, "key: a key is 64 hex digits")


def _token(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the file of an operator's token holds one."""
    yield from _content(
        "listen.operator_token_file", settings.listen.operator_token_file, is_token, f"token: a token has {TOKEN_FORM}"
    )


def _cluster_secret(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the secret of the cluster can be used, and is one."""
    try:
        cluster_secret(settings.cluster.secret_file)
    except ValueError as fault:
        if settings.cluster.secret_file:
            yield ConfigFault("cluster.secret_file", str(fault))


def cluster_secret(path: str) -> bytes:
    """Return the secret of a cluster, from its file.

    Raises `ValueError`, with words for a person, where it cannot be used.
    """
    try:
        secret, mode = read_text(path, errors="strict"), os.stat(path).st_mode
    except OSError as error:
        raise ValueError(f"{quote(path)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{quote(path)} is not UTF-8") from None
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(f"{quote(path)} has fewer than {SHORTEST_SECRET} characters")
    if mode & 0o077:
        raise ValueError(f"others may read {quote(path)}: use chmod 600")
    return secret.encode()


def _peer_token(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the file of the token for peers holds one."""
    path = settings.cluster.peer_token_file
    yield from _content("cluster.peer_token_file", path, is_token, f"token: a token has {TOKEN_FORM}")


def _authorities(key: str, path: str) -> Iterator[ConfigFault]:
    """Whether a file holds certificates of authorities, where one is named."""
    if path and (why := unusable_authorities(path)):
        yield ConfigFault(key, f"{quote(path)} {why}")


def _token_keys(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the files of issuers of tokens hold keys that are good for their algorithms."""
    for place, issuer in enumerate(settings.accounts.jwt, 1):
        yield from (ConfigFault("accounts.jwt", f"item {place}: {flaw}") for flaw in key_flaws(issuer))


def _webhooks(settings: Settings) -> Iterator[ConfigFault]:
    """Whether the files of webhooks hold what they should, and others cannot read their secrets."""
    for place, hook in enumerate(settings.webhook, 1):
        for fault in _content("webhook", hook.secret_file, is_token, f"secret: it has {TOKEN_FORM}"):
            yield fault._replace(reason=f"item {place}: secret_file: {fault.reason}")
        with contextlib.suppress(OSError):
            if hook.secret_file and os.stat(hook.secret_file).st_mode & 0o007:
                reason = f"item {place}: secret_file: others may read {quote(hook.secret_file)}; use chmod 600"
                yield ConfigFault("webhook", reason)
        if hook.ca and (why := unusable_authorities(hook.ca)):
            yield ConfigFault("webhook", f"item {place}: ca: {quote(hook.ca)} {why}")


def _is_key(text: str) -> bool:
    return is_hex(text, 64)


def _content(key: str, path: str, good: Callable[[str], bool], expected: str) -> Iterator[ConfigFault]:
    """What is wrong with the secret in a file that `key` names, if it names one; never the secret itself."""
    if not path:
        return
    try:
        text = read_text(path)
    except OSError as error:
        yield ConfigFault(key, f"{quote(path)} cannot be read: {error.strerror}")
        return
    if not good(text):
        yield ConfigFault(key, f"{quote(path)} holds no {expected}")


FILE_CHECKS: Mapping[str, Callable[[Settings], Iterator[ConfigFault]]] = {
    "registration.key_file": _key,
    "listen.operator_token_file": _token,
    "cluster.secret_file": _cluster_secret,
    "cluster.peer_token_file": _peer_token,
    "cluster.tls_ca": lambda settings: _authorities("cluster.tls_ca", settings.cluster.tls_ca),
    "registration.tls_ca": lambda settings: _authorities("registration.tls_ca", settings.registration.tls_ca),
    "accounts.jwt": _token_keys,
    "webhook": _webhooks,
}
"""What is checked of the files that a key names, unless the key is itself at fault."""
