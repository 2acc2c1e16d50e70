"""The source files of the project as the tests of its structure read them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sources(*places: str) -> list[Path]:
    """The Python files of some folders, each of which must have one."""
    found = [sorted((ROOT / place).rglob("*.py")) for place in places]
    assert all(found), places
    return [path for files in found for path in files]


def name(path: Path) -> str:
    """The path of a file within the project."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


def faulty(paths: Iterable[Path], faults: Callable[[Path], Iterable[str]]) -> dict[str, list[str]]:
    """The files in which something is found, and what it is."""
    found = {name(path): list(faults(path)) for path in paths}
    return {path: each for path, each in found.items() if each}


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module, or name of a module, that a file imports, wherever it does."""
    found: list[str] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or in one of these."""
    return any(module == package or module.startswith(package + ".") for package in packages)
