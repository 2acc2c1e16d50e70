"""All keys of the configuration: their values and defaults, what has changed, and the default file.

A key is written with dots (`listen.tcp`, `license.epop.users`). `flatten` and `build` turn settings into key and value
pairs and back; all else here is a view of those pairs: what is in effect, what differs from the defaults, what a
running gateway can take over, and the commented default file. Pure.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from config.reading import choices, is_table, write
from config.settings import LicenseSettings, Settings
from gateway.licensing import MODELS


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key: its section and field, the kind of its value, its default, and what `config.values.setting` says of it.

    `help` explains it; `live` says that a running gateway takes a change of it over when it reads its file again.
    """

    section: str
    field: str
    kind: Any
    default: Any
    help: str
    live: bool

    @property
    def name(self) -> str:
        """The key with its section, if it stands in one, as in `--set` and in faults."""
        return f"{self.section}.{self.field}" if self.section else self.field


def _sections() -> dict[str, type[Any]]:
    """Each section and its dataclass, in the order of the default file."""
    found: dict[str, type[Any]] = {}
    for name, owner in get_type_hints(Settings).items():
        if get_origin(owner) is not None:  # a key that stands in no section
            continue
        found[name] = owner
        if owner is LicenseSettings:
            found |= {f"{name}.{model}": MODELS[model].terms for model in MODELS}
    return found


def _owners() -> list[tuple[str, type[Any]]]:
    """Each section and its dataclass; those keys that stand in none come last, since a file has them there."""
    return [*SECTIONS.items(), ("", Settings)]


def _keys() -> dict[str, ConfigKey]:
    found: dict[str, ConfigKey] = {}
    for section, owner in _owners():
        kinds = get_type_hints(owner, include_extras=True)
        for each in fields(owner):
            if "help" in each.metadata:
                key = ConfigKey(section, each.name, kinds[each.name], each.default, **each.metadata)
                found[key.name] = key
    return found


SECTIONS: Mapping[str, type[Any]] = _sections()
KEYS: Mapping[str, ConfigKey] = _keys()


class Effect(NamedTuple):
    """One key as it is in effect: its value as TOML, and whether that is the default."""

    key: str
    text: str
    default: bool


class Changes(NamedTuple):
    """Keys that differ between two settings: those that a running gateway takes over, and those that need a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def flatten(settings: Settings) -> dict[str, Any]:
    """Return the value of every key, in the order of `KEYS`."""
    return {name: getattr(_holder(settings, key.section), key.field) for name, key in KEYS.items()}


def _holder(settings: Settings, section: str) -> Any:
    if not section:
        return settings
    name, _, model = section.partition(".")
    held = getattr(settings, name)
    return held.terms[model] if model else held


def build(values: Mapping[str, Any]) -> Settings:
    """Return settings with these values, and the defaults for all keys that are not named."""
    arguments: dict[str, dict[str, Any]] = {section: {} for section in (*SECTIONS, "")}
    for name, value in values.items():
        key = KEYS[name]
        arguments[key.section][key.field] = value
    terms = {model: SECTIONS[f"license.{model}"](**arguments[f"license.{model}"]) for model in MODELS}
    arguments["license"]["terms"] = terms
    sections = {name: SECTIONS[name](**arguments[name]) for name in SECTIONS if "." not in name}
    return Settings(**sections, **arguments[""])


def effective(settings: Settings) -> list[Effect]:
    """Return every key with its value, in the order of the default file."""
    return [Effect(name, write(value), value == KEYS[name].default) for name, value in flatten(settings).items()]


def changes(old: Settings, new: Settings) -> Changes:
    """Return what differs between the settings of a running gateway and those just read, in the order of `KEYS`."""
    before, after = flatten(old), flatten(new)
    live: list[str] = []
    restart: list[str] = []
    for name, value in after.items():
        if value != before[name]:
            # A renewed certificate is taken over; a listener cannot change between TLS and plain while it is open.
            switched = name.startswith(("listen.tls_", "listen.operator_tls_")) and not (value and before[name])
            # A standby is made active; a gateway that serves does not become a standby while it runs.
            stands_down = name == "cluster.role" and value == "standby"
            (live if KEYS[name].live and not switched and not stands_down else restart).append(name)
    return Changes(tuple(live), tuple(restart))


def adopt(old: Settings, new: Settings) -> Settings:
    """Return the running settings with every change that can be taken over live."""
    after = flatten(new)
    return build(flatten(old) | {name: after[name] for name in changes(old, new).live})


def document() -> str:
    """Return the default configuration as a TOML file with every key, commented for a person."""
    lines = [
        "# The default configuration of tallygate: every key with its default.",
        '# Durations are text: "300ms", "30s", "5m", "24h", "400d". A key without a value here has none by default.',
        "# The running gateway reads its file again on SIGHUP; `tallygate check` says what is wrong with a file.",
    ]
    for section, owner in _owners():
        lines += ["", f"[{section}]", f"# {_about(owner)}"] if section else []
        for key in KEYS.values():
            if key.section == section:
                text = key.help + _choices(key.kind, key.help)
                lines += ["", *textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")]
                lines += _keys_of_table(key.kind)
                unset = key.default is None or _is_tables(key.kind)
                said = f"# {key.field} =" if section else f"# [[{key.field}]]"
                lines.append(said if unset else f"{key.field} = {write(key.default)}")
    return "\n".join(lines) + "\n"


def _is_tables(kind: Any) -> bool:
    """Whether a key is a list of tables: in the file they come after the section, not among its keys."""
    return get_origin(kind) is tuple and is_table(get_args(kind)[0])


def _keys_of_table(kind: Any) -> Iterator[str]:
    """Yield the lines that explain the keys of one table in a list of tables."""
    if _is_tables(kind):
        for each in fields(get_args(get_args(kind)[0])[0]):
            default = "" if each.default in {None, "", ()} else f" Default: {write(each.default)}."
            text = f"{each.name}: {each.metadata['help']}{default}"
            yield from textwrap.wrap(text, 110, initial_indent="#   ", subsequent_indent="#     ")


def _about(owner: type[Any]) -> str:
    """Return what a section is for: by the docstring of its dataclass, or of its module where that says nothing."""
    found = re.match(r"Settings of `[^`]*`: (.*)", owner.__doc__ or "")
    text = found[1] if found else (getattr(inspect.getmodule(owner), "__doc__", None) or "").partition("\n")[0]
    return text[:1].upper() + text[1:] if found else text


def _choices(kind: Any, text: str) -> str:
    """Return the sentence that lists the values to choose from; empty where the help names them all."""
    of = [json.dumps(choice) for choice in choices(kind)]
    return "" if all(choice in text for choice in of) else f" One of {', '.join(of)}."
