"""Settings from variables of the environment: `TALLYGATE_LISTEN__TCP=5307` stands for `listen.tcp`.

A name is the key in capitals after `TALLYGATE_`, with two underscores for each dot and one for a hyphen. A value is
read as that of `--set` is. Pure: the environment is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from config.faults import ConfigFault
from config.keys import KEYS, SECTIONS
from config.reading import nearest, parse

PREFIX = "TALLYGATE_"


def variable_of(name: str) -> str:
    """Return the variable that a key, or a section, has."""
    return PREFIX + name.replace(".", "__").replace("-", "_").upper()


VARIABLES: Mapping[str, str] = {variable_of(name): name for name in KEYS}
"""The key of each variable."""
_SECTIONS = {variable_of(name): name for name in SECTIONS}
_ONE_UNDERSCORE = {variable.replace("__", "_"): variable for variable in VARIABLES}


def gather(environment: Mapping[str, str], written: dict[str, Any]) -> Iterator[ConfigFault]:
    """Take the values of the variables into `written`, by key; yields a fault for each variable that has no key.

    A variable without two underscores is somebody else's (`TALLYGATE_TOKEN`, and what Kubernetes makes for a service of
    that name), unless two in the place of one would make it a key.
    """
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        if variable in VARIABLES:
            name = VARIABLES[variable]
            written[name] = parse(KEYS[name].kind, text.strip())
        elif variable in _SECTIONS:
            first = next(each for each in VARIABLES if each.startswith(f"{variable}__"))
            yield ConfigFault(variable, f"stands for a section, expected one of its keys, such as {first}")
        elif "__" in variable or variable in _ONE_UNDERSCORE:
            meant = _ONE_UNDERSCORE.get(variable.replace("__", "_")) or nearest(variable, VARIABLES, likeness=0.8)
            yield ConfigFault(variable, "stands for no key", meant)
