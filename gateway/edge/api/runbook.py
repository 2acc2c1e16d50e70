"""The runbook: what to do about each alert, as a page for a browser and as the text that it is.

`metrics/RUNBOOK.md` is read once. Of Markdown it uses, and the page knows, headings, paragraphs, tables, **bold**,
*italics* and `code`; a heading is reached by its name in small letters, as `runbook_url` of the alerts does.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from importlib import resources

from aiohttp import hdrs, web

from gateway.edge.api.routes import LINK, Route
from gateway.edge.api.static_files import HEADERS
from gateway.edge.server.runtime import Runtime

HTML, TEXT = "text/html", "text/plain"
RUNBOOK = (resources.files("metrics") / "RUNBOOK.md").read_text("utf-8")
"""The text, as it is delivered with the program."""

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Runbook - tallygate</title>
<link rel="icon" href="/page/icon.svg">
<link rel="stylesheet" href="/page/style.css">
<link rel="stylesheet" href="/page/runbook.css">
<main class="runbook">
{}
</main>
</html>
"""
_BOLD, _ITALICS = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"\*(\S[^*]*)\*")


@Route("GET", "/runbook", scope=LINK, summary="What to do about each alert.", media=(HTML, TEXT))
async def get_runbook(_: Runtime, request: web.Request) -> web.Response:
    """Show the runbook: a page to whoever asks for HTML, the text to others."""
    headers = {**HEADERS, hdrs.VARY: hdrs.ACCEPT}
    if HTML in request.headers.get(hdrs.ACCEPT, ""):
        return web.Response(text=page(RUNBOOK), content_type=HTML, charset="utf-8", headers=headers)
    return web.Response(text=RUNBOOK, content_type=TEXT, charset="utf-8", headers=headers)


def page(text: str) -> str:
    """Return a document of HTML that shows a text in Markdown."""
    return _PAGE.format("\n".join(_blocks(text)))


def _blocks(text: str) -> Iterator[str]:
    """Each heading, paragraph and table as HTML; a line that begins in bold begins a paragraph."""
    for block in re.split(r"\n{2,}", text.strip()):
        lines = block.split("\n")
        while lines and (heading := re.fullmatch(r"(#{1,6}) (.+)", lines[0])):
            level, title = len(heading[1]), heading[2]
            yield f'<h{level} id="{html.escape(_anchor(title))}">{_inline(title)}</h{level}>'
            lines.pop(0)
        if lines and lines[0].startswith("|"):
            yield _table(lines)
            continue
        for piece in re.split(r"\n(?=\*\*)", "\n".join(lines)):
            if piece:
                yield f"<p>{_inline(piece)}</p>"


def _table(lines: list[str]) -> str:
    head, _, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    told = "".join(f"<th>{_inline(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{told}</tr></thead><tbody>{body}</tbody></table>"


def _inline(text: str) -> str:
    """Return a line as HTML, with bold and italics; within code nothing is marked."""
    pieces = html.escape(text, quote=False).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else _marked(piece) for place, piece in enumerate(pieces))


def _marked(text: str) -> str:
    return _ITALICS.sub(r"<em>\1</em>", _BOLD.sub(r"<strong>\1</strong>", text))


def _anchor(title: str) -> str:
    """How a heading is reached: its words in small letters, as readers of Markdown have it."""
    return re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
