"""The house rules: the core and the licenses are pure, and imports go one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPURE = (
    "asyncio",
    "aiohttp",
    "sqlite3",
    "aiosqlite",
    "prometheus_client",
    "time",
    "logging",
    "os",
    "socket",
    "random",
    "secrets",
    "threading",
    "subprocess",
    "pathlib",
)
OURS = ("gateway", "metrics", "config")
ALLOWED = {
    "gateway/core": ("gateway.core",),
    "gateway/licensing": ("gateway.core", "gateway.licensing", "config.values"),
    "gateway/edge": ("gateway.core", "gateway.licensing", "gateway.edge", "metrics", "config"),
    "config": ("config", "gateway.licensing", "gateway.core.formats"),
    "metrics": ("metrics", "config", "gateway.core"),
}
"""Which modules of ours each room may import."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def files(*rooms: str) -> list[Path]:
    found = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(found) >= len(rooms)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("gateway/core", "gateway/licensing"), ids=name)
def test_core_and_licenses_read_no_clock_open_nothing_and_draw_no_lots(path: Path) -> None:
    assert [module for module in imports(path) if within(module, IMPURE)] == []


@pytest.mark.parametrize("path", [path for room in ALLOWED for path in files(room)], ids=name)
def test_imports_go_one_way(path: Path) -> None:
    room = max((room for room in ALLOWED if path.is_relative_to(ROOT / room)), key=len)
    ours = [module for module in imports(path) if within(module, OURS)]
    assert [module for module in ours if not within(module, ALLOWED[room])] == []


def test_the_walk_sees_indirect_and_late_imports(tmp_path: Path) -> None:
    path = tmp_path / "sly.py"
    path.write_text("import os.path\ndef f():\n    from asyncio import sleep\n    return sleep\n")
    assert [within(module, IMPURE) for module in imports(path)] == [True, True]
