"""Lists of the API: one page of a list, however long the list is, without a stop of the loop.

A list is sorted in pieces with turns of the loop between them; the pieces are merged only as far as the page goes. What
is added or goes away meanwhile may be on the page or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Annotated, Generic, NamedTuple, TypedDict, TypeVar

from aiohttp import web

from gateway.edge.api.responses import fail
from gateway.edge.api.schemas import Schema, query, text, whole

PAGE = 100
"""Items of a page, unless `limit` says otherwise."""
LONGEST_PAGE = 1000
LARGEST_OFFSET = 9_999_999
PIECE = 1000
"""Items of a list that are looked at between two turns of the loop."""
HEAVY = 100_000
"""The most that the items of a page may weigh together, such as the accounts of groups."""

T = TypeVar("T")
D = TypeVar("D")


class Page(TypedDict, Generic[D]):
    """One page of a list."""

    items: list[D]
    next: Annotated[str | None, "The `cursor` of the next page."]


def cursor(pattern: str | None = None) -> Schema:
    """Return the query parameter that says where a page begins."""
    return query("cursor", text(pattern=pattern) if pattern else text(), "`next` of the page before.")


LIMIT = query("limit", whole(minimum=1, maximum=LONGEST_PAGE, default=PAGE), "Items on a page.")
OFFSET = query("offset", whole(maximum=LARGEST_OFFSET, default=0), "Items to leave out before the page.")
PAGED = (LIMIT, OFFSET, cursor())


def limit(request: web.Request) -> int:
    """Return how many items a page may have."""
    text = request.query.get("limit", str(PAGE))
    size = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST_PAGE)) else 0
    if not 1 <= size <= LONGEST_PAGE:
        fail(422, "bad_field", f"limit: expected an integer from 1 to {LONGEST_PAGE}")
    return size


def offset(request: web.Request) -> int:
    """Return how many items come before the page, counted from its cursor."""
    text = request.query.get("offset", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_OFFSET))):
        fail(422, "bad_field", f"offset: expected an integer from 0 to {LARGEST_OFFSET}")
    return int(text)


def page(request: web.Request, found: Iterable[T], mark: Callable[[T], str], render: Callable[[T], D]) -> web.Response:
    """Return one page of `found`: at most `limit` items, and the `cursor` of the next page, by `mark` of the last."""
    size = limit(request)
    items = list(islice(found, size + 1))
    more = mark(items[size - 1]) if len(items) > size else None
    return web.json_response(Page[D](items=[render(item) for item in items[:size]], next=more))


class Keys(NamedTuple):
    """The keys on a page, in their order, and the `cursor` of the next page."""

    keys: list[str]
    next: str | None


async def listed(
    request: web.Request,
    found: Mapping[str, T],
    render: Callable[[str, T], D],
    weight: Callable[[T], int] | None = None,
) -> web.Response:
    """Return one page of a mapping, in order of its keys; see `keys_of_page`."""
    heavy = None if weight is None else lambda key: weight(found[key]) if key in found else 0
    keys, more = await keys_of_page(request, found, weight=heavy)
    return web.json_response(Page[D](items=[render(key, found[key]) for key in keys if key in found], next=more))


async def keys_of_page(
    request: web.Request,
    keys: Iterable[str],
    wanted: Callable[[str], bool] | None = None,
    weight: Callable[[str], int] | None = None,
) -> Keys:
    """Return the keys on a page, each once and in order: those that are `wanted`, beyond the cursor and the offset.

    A page whose items weigh more than `HEAVY` together ends early, with one item at least.
    """
    size, skip, after = limit(request), offset(request), request.query.get("cursor")
    runs: list[list[str]] = []
    rest: Iterator[str] = iter(tuple(keys))
    while piece := tuple(islice(rest, PIECE)):
        beyond = (key for key in piece if after is None or key > after)
        runs.append(sorted(key for key in beyond if wanted is None or wanted(key)))
        await asyncio.sleep(0)
    found: list[str] = []
    last, total = None, 0
    rest = merge(*runs)
    while piece := tuple(islice(rest, PIECE)):
        for key in dict.fromkeys(piece):
            if key == last:  # it came at the end of the piece before, too
                continue
            last = key
            if skip:
                skip -= 1
                continue
            total += weight(key) if weight is not None else 0
            if len(found) == size or (found and total > HEAVY):
                return Keys(found, found[-1])
            found.append(key)
        await asyncio.sleep(0)
    return Keys(found, None)
