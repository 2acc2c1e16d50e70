"""Reading the texts that the project ships: headings, sections, tables and links of a Markdown file."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "gateway" / "PROTOCOL.md"
COUNTING = ROOT / "gateway" / "COUNTING.md"
DEVELOPMENT = ROOT / "gateway" / "README.md"

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(#([^)]*)\)")
_FILE_LINK = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#([^)]*))?\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"(?<![\w/])\w+\.(?:py|js|css|html|svg)\b")


def prose(text: str) -> str:
    """Returns a text without its blocks of code."""
    return _FENCE.sub("", text)


def headings(text: str) -> list[str]:
    """Returns the headings of a text, in order, without their signs."""
    return [heading for _, heading in _HEADING.findall(prose(text))]


def section(text: str, heading: str) -> str:
    """Returns what stands under a heading, up to the next one of its level or a higher one, blocks of code included."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"there is no heading {heading}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Returns the cells of every table row, without heads and the lines below them."""
    found: list[list[str]] = []
    for line in prose(text).splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if set("".join(cells)) <= {"-"}:
            found.pop()
        else:
            found.append(cells)
    return found


def links(text: str) -> set[str]:
    """Returns the anchors that a text links to within itself."""
    return set(_LINK.findall(prose(text)))


def file_links(text: str) -> list[tuple[str, str]]:
    """Returns the files that a text links to, each with the anchor in it, empty for none."""
    return _FILE_LINK.findall(prose(text))


def anchor(heading: str) -> str:
    """Returns the anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def code(text: str) -> list[str]:
    """Returns what a text shows as code within its sentences, in order."""
    return _CODE.findall(prose(text))


def mapped(text: str) -> list[str]:
    """Returns the files in the map of a text: a block of code with lines of folders, and below each, indented, its
    files.
    """
    found: list[str] = []
    folder = ""
    for line in section(text, "Map").splitlines():
        start = re.match(r"([\w/]+/) ", line)
        if start:
            folder = start[1].removeprefix("gateway/")
        elif line.startswith("  "):
            found += [folder + name for name in _FILE.findall(line)]
    return found
