"""What is wrong with what was written: faults, the error that has all of them, and files that are no TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from config.whole_files import read_bytes


class ConfigFault(NamedTuple):
    """One thing wrong with a configuration: the key (or file) it is about, the reason, and what was probably meant."""

    key: str
    reason: str
    nearest: str | None = None

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.key}: {self.reason}" + (f' (did you mean "{self.nearest}"?)' if self.nearest else "")


class ConfigError(Exception):
    """A configuration that cannot be used; `faults` has all that is wrong with it, its text is one line for each."""

    def __init__(self, faults: Sequence[ConfigFault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises ConfigError with one fault: it cannot be read, or is no TOML, and where.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (at byte {error.start})"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:  # TOMLDecodeError, and integers too long for Python
        reason = f"is not TOML: {_place(str(error), text)}"
    raise ConfigError([ConfigFault(str(path), reason)])


def _place(message: str, text: str) -> str:
    """The parser's message with its place first."""
    found = re.fullmatch(r"(.*) \(at (line [0-9]+, column [0-9]+|end of document)\)", message, re.DOTALL)
    if found is None:
        return message
    place = found[2] if found[2].startswith("line") else f"line {len(text.splitlines()) or 1}, end of file"
    return f"{place}: {found[1][:1].lower()}{found[1][1:]}"
