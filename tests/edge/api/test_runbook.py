"""The runbook at the operator port: as a page, as text, and where alerts lead to."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest

import metrics
from gateway.edge.api.runbook import RUNBOOK, page
from tests.conftest import House, Serve

ALERTS = (Path(metrics.__file__).parent / "rules" / "alerts.yml").read_text(encoding="utf-8")
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def told(house: House, **headers: str) -> tuple[int, str, str]:
    """The status, the content type and the text."""
    async with aiohttp.ClientSession() as session, session.get(house.url + "/runbook", headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


class Shown(HTMLParser):
    """What a page shows: its ids, and its text without marks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as it is called
        """Look at one element."""
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        """Read on."""
        self.text += data


async def test_a_browser_is_shown_a_page_and_others_the_text(serve: Serve) -> None:
    house = await serve()
    assert await told(house) == (200, "text/plain; charset=utf-8", RUNBOOK)
    status, kind, text = await told(house, **BROWSER)
    assert (status, kind, text) == (200, "text/html; charset=utf-8", page(RUNBOOK))


async def test_a_link_of_another_site_may_be_followed_to_it_and_no_more(serve: Serve) -> None:
    house = await serve()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await told(house, **link))[0] == 200
    assert (await told(house, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}))[0] == 403
    assert (await told(house, Host="evil.example"))[0] == 403


def test_every_alert_leads_to_its_section() -> None:
    leads = re.findall(r'runbook_url: "http://\{\{ \$labels\.instance \}\}/runbook#(\w+)"', ALERTS)
    assert len(leads) == ALERTS.count("runbook_url: ") == ALERTS.count("- alert: ") > 15
    assert set(leads) <= set(Shown(page(RUNBOOK)).ids)


def test_the_page_says_all_that_the_text_says_and_shows_no_marks() -> None:
    shown = Shown(page(RUNBOOK)).text
    words = re.findall(r"[\w./-]+", re.sub(r"(?m)^\|[-|]+\|$", "", RUNBOOK))
    assert [word for word in words if word not in shown] == []
    assert re.findall(r"\*|`|^\||^#", shown, re.MULTILINE) == []


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# A title\n\ntext", '<h1 id="a-title">A title</h1>\n<p>text</p>'),
        ("## One\n**Means** a\nb.\n**Do** c.", '<h2 id="one">One</h2>\n<p><strong>Means</strong> a\nb.</p>\n'
         "<p><strong>Do</strong> c.</p>"),
        ("*far* and `a *b* <c>` & <d>", "<p><em>far</em> and <code>a *b* &lt;c&gt;</code> &amp; &lt;d&gt;</p>"),
        ("| a | b |\n|---|---|\n| `c` | d |", "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>"
         "<code>c</code></td><td>d</td></tr></tbody></table>"),
    ],
)  # fmt: skip
def test_the_marks_of_the_text_become_those_of_a_page(text: str, html: str) -> None:
    assert f"\n{html}\n</main>" in page(text)
