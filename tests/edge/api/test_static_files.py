"""The page: its files, what is said with them, and to whom they are given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest

from gateway.edge.api import static_files
from tests.conftest import House, Serve
from tests.edge.raw import Peer

MARKUP = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser")
KEPT = ("localStorage", "sessionStorage", "document.cookie", "indexedDB")
KEEPERS = {"theme.js": {"localStorage"}, "clock.js": {"localStorage"}, "api.js": {"sessionStorage"}}
"""What a module may keep in the browser: the choice of light or dark and of the clock, and the token if asked to."""


async def told(house: House, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """The status, the headers and the body."""
    async with aiohttp.ClientSession() as session, session.get(house.url + path, headers=headers) as response:
        return response.status, response.headers, await response.read()


def imported(name: str) -> set[str]:
    """The modules that a module imports."""
    return set(
        re.findall(r'^(?:import|\} from|import .* from) "\./([^"]+)";', static_files.read()[name].body.decode(), re.M)
    )


class Links(HTMLParser):
    """What a document refers to, and what would run or be styled in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        self.found |= {value for name in ("src", "href") if (value := given.get(name)) and not value.startswith("#")}
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]


# -- the files -----------------------------------------------------------------------------------------------------


def test_every_module_is_reached_from_the_page_and_is_there() -> None:
    leaves = static_files.read()
    reached, new = set(), {"app.js"}
    while new:
        reached |= new
        new = set().union(*(imported(name) for name in new)) - reached
    assert reached == {name for name in leaves if name.endswith(".js")}


def test_the_front_refers_to_our_own_files_and_has_nothing_inline() -> None:
    links = Links()
    links.feed(static_files.read()[static_files.FRONT].body.decode())
    assert links.inline == []
    assert {link.removeprefix("page/") for link in links.found} <= set(static_files.read())
    assert "page/app.js" in links.found


@pytest.mark.parametrize("name", [name for name in static_files.read() if name.endswith(".js")])
def test_nothing_that_is_told_becomes_markup_and_nothing_is_kept(name: str) -> None:
    text = static_files.read()[name].body.decode()
    found = {word for word in (*MARKUP, *KEPT) if word in re.sub(r"/\*.*?\*/|//.*", "", text, flags=re.S)}
    assert found == KEEPERS.get(name, set())


@pytest.mark.parametrize("name", [name for name in static_files.read() if name.endswith(".js")])
def test_a_module_keeps_no_state(name: str) -> None:
    """State is an object's, made when a view is opened and gone with it."""
    assert re.findall(r"^(?:export )?(?:let|var)\b.*", static_files.read()[name].body.decode(), re.M) == []


@pytest.mark.parametrize("name", list(static_files.read()))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = static_files.read()[name].body.decode()
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"'`)]+", text) == []
    assert "@import" not in text


# -- how they are given --------------------------------------------------------------------------------------------


async def test_the_page_is_at_the_root(serve: Serve) -> None:
    house = await serve()
    status, headers, body = await told(house, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body == static_files.read()["index.html"].body


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css", "/page/icon.svg"])
async def test_every_file_says_what_a_browser_may_do_with_it(path: str, serve: Serve) -> None:
    house = await serve()
    status, headers, _ = await told(house, path)
    assert status == 200
    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-cache"


async def test_what_a_browser_has_is_not_sent_again(serve: Serve) -> None:
    house = await serve()
    _, headers, _ = await told(house, "/page/app.js")
    status, again, body = await told(house, "/page/app.js", **{"If-None-Match": f'"other", {headers["ETag"]}'})
    assert (status, again["ETag"], body) == (304, headers["ETag"], b"")
    assert (await told(house, "/page/app.js", **{"If-None-Match": '"other"'}))[0] == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fedge%2Fpage.py", "%2e%2e/edge/page.py", "../edge/page.py", "a/b"])
async def test_there_is_nothing_beside_the_files(name: str, serve: Serve) -> None:
    house = await serve()
    async with await Peer.to(house.operator) as client:
        await client.send(f"GET /page/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert (await client.rest()).startswith(b"HTTP/1.1 404 ")


# -- to whom -------------------------------------------------------------------------------------------------------


async def test_a_foreign_host_gets_nothing_on_loopback(serve: Serve) -> None:
    house = await serve()
    for path in ("/", "/page/app.js"):
        assert (await told(house, path, Host="evil.example"))[0] == 403


async def test_another_site_may_link_to_the_page_and_no_more(serve: Serve) -> None:
    house = await serve()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await told(house, "/", **link))[0] == 200
    assert (await told(house, "/page/app.js", **link))[0] == 403
    assert (await told(house, "/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}))[0] == 403
    assert (await told(house, "/api/license", **link))[0] == 403


async def test_through_a_proxy_the_page_is_shown_and_the_api_asks_for_a_token(serve: Serve) -> None:
    house = await serve()
    through = {"Host": "gateway.example", "X-Forwarded-For": "203.0.113.7"}
    assert (await told(house, "/", **through))[0] == 200
    assert (await told(house, "/page/app.js", **through))[0] == 200
    assert (await told(house, "/api/license", **through))[0] == 401
    assert (await told(house, "/api/events", **through))[0] == 401


async def test_the_client_for_javascript_is_for_everybody(serve: Serve) -> None:
    house = await serve()
    foreign = {"Host": "gateway.example", "Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    for given in ({}, foreign):
        status, headers, body = await told(house, "/client.js", **given)
        assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        assert body == static_files.read_client().body
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert (await told(house, "/client.js", **{"If-None-Match": headers["ETag"]}))[0] == 304


def test_the_client_for_javascript_needs_no_other_file() -> None:
    assert re.findall(r"^import |import\(|require\(", static_files.read_client().body.decode(), re.M) == []
