"""Every key of the configuration, and what can be said of it.

A key is written with dots (`listen.tcp`, `license.epop.users`). `flatten` and `build` turn settings into key and value
pairs and back; all else here is a view of those pairs: what is in effect, what differs from the defaults, what a
running gateway can take over, and the commented default file. Pure.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from config.reading import choices, write
from config.settings import LicenseSettings, Settings
from gateway.licensing import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the dataclass and field that hold it, the kind of its value and its default."""

    section: str
    owner: type[Any]
    field: str
    kind: Any
    default: Any

    @property
    def name(self) -> str:
        """The key with its section, as in `--set` and in faults."""
        return f"{self.section}.{self.field}"


def _sections() -> dict[str, type[Any]]:
    """Each section and its dataclass, in the order of the default file."""
    found: dict[str, type[Any]] = {}
    for name, owner in get_type_hints(Settings).items():
        found[name] = owner
        if owner is LicenseSettings:
            found |= {f"{name}.{model}": MODELS[model].terms for model in MODELS}
    return found


def _keys() -> dict[str, Key]:
    found: dict[str, Key] = {}
    for section, owner in SECTIONS.items():
        kinds, default = get_type_hints(owner, include_extras=True), owner()
        for each in fields(owner):
            if (owner, each.name) != (LicenseSettings, "terms"):
                key = Key(section, owner, each.name, kinds[each.name], getattr(default, each.name))
                found[key.name] = key
    return found


SECTIONS: Mapping[str, type[Any]] = _sections()
KEYS: Mapping[str, Key] = _keys()

LIVE = frozenset(
    {
        "listen.tls_certificate",
        "listen.tls_key",
        "listen.max_connections",
        "listen.max_connections_per_address",
        "listen.max_pending",
        "listen.accept_rate",
        "listen.message_rate",
        "listen.message_burst",
        "listen.allowed_origins",
        "listen.proxy_protocol_from",
        "heartbeat.hello_deadline",
        "heartbeat.resume_window",
        "license.overdraft",
        "license.epop.users",
        "license.nefsis-concurrent.users",
        "license.nefsis-named.hosts",
        "license.nefsis-named.participants",
        "license.trueconf.pro",
        "license.trueconf.online",
        "license.trueconf.online_packs",
        "license.trueconf.guest",
        "license.trueconf.gateway",
        "license.trueconf.max_conferences",
        "license.trueconf.max_participants",
        "license.floating.limit",
        "conferences.declared_only",
        "federation.homes",
    }
)
"""Keys that a running gateway takes over when it reads its file again; all others wait for the next start."""


class Effect(NamedTuple):
    """One key as it is in effect: its value as TOML, and whether that is the default."""

    key: str
    text: str
    default: bool


class Changes(NamedTuple):
    """Keys that differ between two settings: those a running gateway takes over, and those that need a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def flatten(settings: Settings) -> dict[str, Any]:
    """The value of every key, in the order of `KEYS`."""
    return {name: getattr(_holder(settings, key.section), key.field) for name, key in KEYS.items()}


def _holder(settings: Settings, section: str) -> Any:
    name, _, model = section.partition(".")
    held = getattr(settings, name)
    return held.terms[model] if model else held


def build(values: Mapping[str, Any]) -> Settings:
    """Settings with these values, and the defaults for all keys that are not named."""
    arguments: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        key = KEYS[name]
        arguments[key.section][key.field] = value
    terms = {model: SECTIONS[f"license.{model}"](**arguments[f"license.{model}"]) for model in MODELS}
    arguments["license"]["terms"] = terms
    return Settings(**{name: SECTIONS[name](**arguments[name]) for name in get_type_hints(Settings)})


def effective(settings: Settings) -> list[Effect]:
    """Every key with its value, in the order of the default file."""
    return [Effect(name, write(value), value == KEYS[name].default) for name, value in flatten(settings).items()]


def changes(old: Settings, new: Settings) -> Changes:
    """What differs between the settings of a running gateway and those just read, in the order of the default file."""
    before, after = flatten(old), flatten(new)
    live: list[str] = []
    restart: list[str] = []
    for name, value in after.items():
        if value != before[name]:
            # A renewed certificate is taken over; a door cannot change between TLS and plain while it is open.
            switched = name.startswith("listen.tls_") and not (value and before[name])
            (live if name in LIVE and not switched else restart).append(name)
    return Changes(tuple(live), tuple(restart))


def adopt(old: Settings, new: Settings) -> Settings:
    """The running settings with every change that can be taken over live."""
    after = flatten(new)
    return build(flatten(old) | {name: after[name] for name in changes(old, new).live})


def explain(owner: type[Any]) -> dict[str, str]:
    """The text under each field of a settings dataclass, on one line each, read from its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    texts: dict[str, str] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for above, below in pairwise(body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = " ".join(text.split())
    return texts


def document() -> str:
    """The default configuration as a TOML file with every key, commented for a person."""
    lines = [
        "# The default configuration of tallygate: every key with its default.",
        '# Durations are text: "300ms", "30s", "5m", "24h", "400d". A key without a value here has none by default.',
        "# The running gateway reads its file again on SIGHUP; `tallygate check` says what is wrong with a file.",
    ]
    for section, owner in SECTIONS.items():
        lines += ["", f"[{section}]", f"# {_about(owner)}"]
        texts = explain(owner)
        for key in KEYS.values():
            if key.section == section:
                text = texts[key.field] + _choices(key.kind, texts[key.field])
                lines += ["", *textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")]
                lines.append(f"# {key.field} =" if key.default is None else f"{key.field} = {write(key.default)}")
    return "\n".join(lines) + "\n"


def _about(owner: type[Any]) -> str:
    """What a section is for: from its docstring, or from that of its module where a license model has its own."""
    found = re.match(r"Settings of `[^`]*`: (.*)", owner.__doc__ or "")
    text = found[1] if found else (getattr(inspect.getmodule(owner), "__doc__", None) or "").partition("\n")[0]
    return text[:1].upper() + text[1:] if found else text


def _choices(kind: Any, text: str) -> str:
    """The values to choose from, unless the text has named them all."""
    of = [json.dumps(choice) for choice in choices(kind)]
    return "" if all(choice in text for choice in of) else f" One of {', '.join(of)}."
