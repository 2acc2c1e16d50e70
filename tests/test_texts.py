"""The texts: what they name exists, and they know everything that they must.

The protocol's text knows all that the wire knows, the developers' text every module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.keys import KEYS, SECTIONS
from gateway.core.admission.requests import REQUESTS
from gateway.core.registration.messages import FIELDS as REGISTRATION
from gateway.core.registration.messages import SPOKEN
from gateway.core.wire.close_codes import DENIED, ENDINGS
from gateway.licensing import MODELS
from metrics.collector import REFUSALS
from tests.texts import (
    COUNTING,
    DEVELOPMENT,
    PROTOCOL,
    ROOT,
    anchor,
    code,
    file_links,
    headings,
    links,
    mapped,
    rows,
    section,
)

SOURCE = ("gateway", "config", "metrics")
MODULES = {".py", ".js", ".css", ".html", ".svg"}
TEXTS = {path.stem: path for path in (PROTOCOL, COUNTING)}
PLACES = ("gateway", "metrics", "config", "tests", ".github")
KINDS = {".py", ".md", ".toml", ".js", ".yml", ".yaml"}
COLUMNS = 120
WITH_LINKS = [ROOT / "README.md", *(ROOT / ".github").glob("*.md"), *(ROOT / "gateway").glob("*.md")]

_BREAK = re.compile(r"\s*\n\s*(?:(?:#|\*|//)\s)?\s*")
_CITATION = re.compile(r"(PROTOCOL|COUNTING)\.md`?, (?=([^)(\[\].:,\"'`|<>]+))")


def files() -> Iterator[Path]:
    """Yields every file of the project that may cite the texts."""
    yield from (path for path in ROOT.iterdir() if path.suffix in KINDS)
    for place in PLACES:
        yield from (path for path in (ROOT / place).rglob("*") if path.suffix in KINDS)


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Yields each cited heading with the name of its text; several headings are separated by "; "."""
    for name, told in _CITATION.findall(_BREAK.sub(" ", text)):
        for heading in told.split(";"):
            if heading.strip() not in TEXTS:
                yield name, heading.strip()


def cited() -> list[tuple[str, str, str]]:
    """Returns every citation of the project: the file, the text and the heading."""
    found = [(path, path.read_text(encoding="utf-8")) for path in sorted(files())]
    return [(str(path.relative_to(ROOT)), *each) for path, text in found for each in citations(text)]


@pytest.mark.parametrize("name", TEXTS)
def test_every_heading_stands_once(name: str) -> None:
    found = headings(TEXTS[name].read_text())
    assert [heading for heading in found if found.count(heading) > 1] == []


@pytest.mark.parametrize("path", [*TEXTS.values(), DEVELOPMENT], ids=lambda path: path.stem)
def test_links_lead_to_headings(path: Path) -> None:
    text = path.read_text()
    assert links(text) - set(map(anchor, headings(text))) == set()


@pytest.mark.parametrize("path", WITH_LINKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_their_headings(path: Path) -> None:
    for name, place in file_links(path.read_text()):
        target = path.parent / name
        assert target.exists(), name
        assert not place or place in map(anchor, headings(target.read_text())), f"{name}#{place}"


@pytest.mark.parametrize("path", [*TEXTS.values(), DEVELOPMENT], ids=lambda path: path.stem)
def test_lines_are_no_wider_than_the_code(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    assert [number for number, line in lines if len(line) > COLUMNS] == []


def test_what_is_cited_is_a_heading() -> None:
    known = {name: set(headings(path.read_text())) for name, path in TEXTS.items()}
    found = cited()
    assert {name for _, name, _ in found} == set(TEXTS)
    assert [each for each in found if each[2] not in known[each[1]]] == []


def test_citations_are_seen_in_every_form() -> None:
    protocol, counting = (f"{name}.md" for name in TEXTS)
    docstring = f'"""A ({protocol}, Resume; {counting},\n    PRO\n    leases 5; Takeover) b."""'
    comment = f"# `{counting}`, History\n# and"
    assert list(citations(f"{docstring}\n{comment}")) == [
        ("PROTOCOL", "Resume"),
        ("COUNTING", "PRO leases 5"),
        ("COUNTING", "Takeover"),
        ("COUNTING", "History and"),
    ]


@pytest.mark.parametrize("type", [*REQUESTS, *sorted(SPOKEN)])
def test_every_message_has_a_heading_and_every_field_stands_under_it(type: str) -> None:
    text = section(PROTOCOL.read_text(), type)
    fields = REQUESTS[type].fields if type in REQUESTS else REGISTRATION[type]
    assert [field for field in fields if f"`{field}`" not in text] == []


def test_every_message_has_its_row_of_the_states() -> None:
    first = [cells[0] for cells in rows(section(PROTOCOL.read_text(), "States"))]
    assert [type for type in REQUESTS if first.count(f"`{type}`") != 1] == []


def test_every_denial_reason_is_explained_and_no_other() -> None:
    pools = [pool for each in MODELS.values() for pool in each.model(each.terms()).pools]
    licenses = {reason for pool in pools for reason in pool.reasons}
    explained = [cells[0].strip("`") for cells in rows(section(PROTOCOL.read_text(), "Denial reasons"))]
    assert sorted(explained) == sorted({*licenses, *REFUSALS, *DENIED})


def test_every_cause_of_an_end_is_explained_and_what_is_said_last_is_right() -> None:
    table = {cells[0].strip("`"): cells for cells in rows(section(PROTOCOL.read_text(), "Closing")) if len(cells) == 5}
    assert set(table) == set(ENDINGS)
    for cause, ending in ENDINGS.items():
        _, _, last, code, back = table[cause]
        assert last.startswith("`closing`") is ending.says, cause
        if ending.says:
            assert (code, back) == (str(ending.code), "yes" if ending.reconnect else "no"), cause


def test_a_refused_hello_closes_with_the_code_of_the_text() -> None:
    table = [cells for cells in rows(section(PROTOCOL.read_text(), "Closing")) if len(cells) == 3]
    told = {reason.strip(" `"): int(code) for reasons, code, _ in table for reason in reasons.split(",")}
    assert told == {reason: DENIED.get(reason, ENDINGS["denied"].code) for reason in told}
    assert len(told) == 10


def test_every_model_has_a_heading_and_its_pools_stand_under_it() -> None:
    text = COUNTING.read_text()
    sections = [section(text, heading) for heading in headings(text)]
    by_model = {found[1]: each for each in sections if (found := re.match(r"\s*Model `(.*?)`", each))}
    assert set(by_model) == set(MODELS)
    for name, each in MODELS.items():
        under = by_model[name]
        assert [pool.name for pool in each.model(each.terms()).pools if f"`{pool.name}`" not in under] == []


def test_every_worked_example_is_listed() -> None:
    listed = re.findall(r"^- `(.*?)`", section(COUNTING.read_text(), "Worked examples"), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "tests" / "cases").glob("*.json"))


# The developers' text


def modules() -> set[Path]:
    """Every file of the source that is code; a package stands for its `__init__.py`."""
    found = (path for place in SOURCE for path in (ROOT / place).rglob("*") if path.suffix in MODULES)
    return {path for path in found if path.name != "__init__.py"}


def names() -> set[str]:
    """The functions, classes, methods (`Class.method`) and constants of the source."""
    found: set[str] = set()
    for path in (path for place in SOURCE for path in (ROOT / place).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                members = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
                found |= {node.name, *(f"{node.name}.{each.name}" for each in members)}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {each.id for each in targets if isinstance(each, ast.Name)}
    return found


def exists(path: str) -> bool:
    """Whether a path that a developer is told leads somewhere: from `gateway/`, or from the root."""
    return (ROOT / "gateway" / path).exists() or (ROOT / path).exists()


def test_every_module_stands_in_the_map_and_what_stands_there_exists() -> None:
    told = mapped(DEVELOPMENT.read_text())
    assert [path for path in told if not exists(path)] == []
    known = {ROOT / "gateway" / path if (ROOT / "gateway" / path).exists() else ROOT / path for path in told}
    assert [str(path.relative_to(ROOT)) for path in sorted(modules() - known)] == []


def test_every_path_that_developers_are_told_exists() -> None:
    told = [each for each in code(DEVELOPMENT.read_text()) if re.fullmatch(r"[\w.]+(/[\w.-]*)+|[\w-]+\.(py|md)", each)]
    assert len(told) > 50
    assert [path for path in told if not exists(path)] == []


def test_every_function_constant_and_setting_that_developers_are_told_exists() -> None:
    told, known = code(DEVELOPMENT.read_text()), names()
    functions = [each.removesuffix("()") for each in told if re.fullmatch(r"[\w.]+\(\)", each)]
    constants = [each for each in told if re.fullmatch(r"[A-Z][A-Z_]{3,}", each)]
    settings = [each for each in told if each.partition(".")[0] in SECTIONS and re.fullmatch(r"\w+\.\w+", each)]
    assert len(functions) > 50
    assert [each for each in (*functions, *constants) if each not in known] == []
    assert [each for each in settings if each not in KEYS] == []
