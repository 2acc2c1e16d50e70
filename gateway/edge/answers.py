"""What the operator port says: JSON, pages of lists, and errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NoReturn, TypeVar

from aiohttp import web

from config.reading import parse, read
from config.values import KindError, Seconds
from gateway.core.facts import is_id

PAGE = 100
"""Items of a page, unless `limit` says otherwise."""
LONGEST_PAGE = 1000
BODY_LIMIT = 1 << 20
"""Bytes of a request's body."""

T = TypeVar("T")

ERRORS: Mapping[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    404: web.HTTPNotFound,
    409: web.HTTPConflict,
    422: web.HTTPUnprocessableEntity,
    503: web.HTTPServiceUnavailable,
}


def fail(status: int, code: str, detail: str) -> NoReturn:
    """End the request with `{"error": code, "detail": detail}`."""
    raise ERRORS[status](text=json.dumps({"error": code, "detail": detail}), content_type="application/json")


def page(
    request: web.Request, found: Iterable[T], mark: Callable[[T], str], render: Callable[[T], Any]
) -> web.Response:
    """One page of `found`: at most `limit` items, and the `cursor` of the next page, made by `mark` of the last one."""
    limit = _limit(request)
    items = list(islice(found, limit + 1))
    more = mark(items[limit - 1]) if len(items) > limit else None
    return web.json_response({"items": [render(item) for item in items[:limit]], "next": more})


def listed(request: web.Request, found: Mapping[str, T], render: Callable[[str, T], Any]) -> web.Response:
    """One page of a mapping, in order of its keys."""
    after = request.query.get("cursor")
    keys = (key for key in sorted(found) if after is None or key > after)
    return page(request, keys, str, lambda key: render(key, found[key]))


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST_PAGE)) else 0
    if not 1 <= limit <= LONGEST_PAGE:
        fail(422, "bad_field", f"limit: expected an integer from 1 to {LONGEST_PAGE}")
    return limit


def named(request: web.Request, name: str, *, fold: bool = False) -> str:
    """The id in the path; accounts are folded to lower case."""
    text = request.match_info[name]
    if not is_id(text):
        fail(422, "bad_field", f"{name}: expected 1-128 characters of A-Z a-z 0-9 . _ @ : + -")
    return text.lower() if fold else text


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object."""
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type != "application/json":
        fail(400, "malformed", "the body must be application/json")
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        fail(400, "malformed", "the body is not JSON")
    if not isinstance(told, dict):
        fail(422, "bad_field", "expected a JSON object")
    return told


def field(told: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """One field of a body, of the JSON type `kind`."""
    value = told.get(name, default)
    if type(value) is not kind:
        fail(422, "bad_field", f"{name}: expected {kind.__name__}")
    return value


def only(told: Mapping[str, Any], *names: str) -> None:
    """Refuse fields that nobody would read."""
    for name in told:
        if name not in names:
            fail(422, "bad_field", f"{name[:64]}: unknown; expected {', '.join(names) or 'no field'}")


def ban(request: web.Request) -> float | None:
    """Seconds of `?ban=5m`."""
    text = request.query.get("ban")
    if text is None:
        return None
    try:
        return float(read(Seconds, parse(Seconds, text)))
    except KindError:
        fail(422, "bad_field", 'ban: expected a duration such as "5m"')
