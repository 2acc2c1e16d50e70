"""What the operator port says: JSON, pages of lists, and errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Generic, NoReturn, TypedDict, TypeVar

from aiohttp import web

from gateway.core.formats import DURATION_FORM, ID_FORM, is_id, read_duration, timestamp, utc
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.schemas import DURATION, TIME, Schema, Time, query, text, whole

PAGE = 100
"""Items of a page, unless `limit` says otherwise."""
LONGEST_PAGE = 1000
LARGEST_OFFSET = 9_999_999
BODY_LIMIT = 1 << 20
"""Bytes of a request's body."""

T = TypeVar("T")
D = TypeVar("D")

ERRORS: Mapping[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    404: web.HTTPNotFound,
    409: web.HTTPConflict,
    422: web.HTTPUnprocessableEntity,
    429: web.HTTPTooManyRequests,
    503: web.HTTPServiceUnavailable,
}


class Page(TypedDict, Generic[D]):
    """One page of a list."""

    items: list[D]
    next: Annotated[str | None, "The `cursor` of the next page."]


def cursor(pattern: str | None = None) -> Schema:
    """The query parameter that says where a page begins."""
    return query("cursor", text(pattern=pattern) if pattern else text(), "`next` of the page before.")


LIMIT = query("limit", whole(minimum=1, maximum=LONGEST_PAGE, default=PAGE), "Items on a page.")
OFFSET = query("offset", whole(maximum=LARGEST_OFFSET, default=0), "Items to leave out before the page.")
PAGED = (LIMIT, OFFSET, cursor())
SINCE = query(
    "since",
    {"anyOf": [TIME, DURATION]},
    'From this instant on, or for so long until now, such as "30d".',
)
BAN = query("ban", DURATION, 'And keep whom it was out for so long, such as "5m".')


def fail(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with `{"error": code, "detail": detail}`."""
    text = json.dumps({"error": code, "detail": detail})
    raise ERRORS[status](text=text, content_type="application/json", headers=headers)


def refuse(fault: RequestFault) -> NoReturn:
    """Answer a fault: what is wrong in itself is 422, what does not fit to what is here 409."""
    fail(422 if fault.code == "bad_field" else 409, fault.code, fault.detail)


def code_of(error: web.HTTPException) -> str:
    """The `error` that a refusal is answered with: ours as it is, aiohttp's own in the same words."""
    if error.content_type == "application/json" and error.text:
        return str(json.loads(error.text)["error"])
    return HTTPStatus(error.status).phrase.lower().replace(" ", "_")


def done() -> web.Response:
    """The answer to an act that has nothing to show."""
    return web.Response(status=204)


def utc_text(seconds: float) -> Time:
    """RFC 3339 in UTC, whole seconds, of an instant that is known."""
    return str(utc(seconds))


def page(request: web.Request, found: Iterable[T], mark: Callable[[T], str], render: Callable[[T], D]) -> web.Response:
    """One page of `found`: at most `limit` items, and the `cursor` of the next page, made by `mark` of the last one."""
    size = limit(request)
    items = list(islice(found, size + 1))
    more = mark(items[size - 1]) if len(items) > size else None
    return web.json_response(Page[D](items=[render(item) for item in items[:size]], next=more))


def listed(request: web.Request, found: Mapping[str, T], render: Callable[[str, T], D]) -> web.Response:
    """One page of a mapping, in order of its keys."""
    after = request.query.get("cursor")
    keys = [key for key in sorted(found) if after is None or key > after]
    return page(request, keys[offset(request) :], str, lambda key: render(key, found[key]))


def offset(request: web.Request) -> int:
    """How many items come before the page, counted from its cursor."""
    text = request.query.get("offset", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_OFFSET))):
        fail(422, "bad_field", f"offset: expected an integer from 0 to {LARGEST_OFFSET}")
    return int(text)


def limit(request: web.Request) -> int:
    """How many items a page may have."""
    text = request.query.get("limit", str(PAGE))
    size = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST_PAGE)) else 0
    if not 1 <= size <= LONGEST_PAGE:
        fail(422, "bad_field", f"limit: expected an integer from 1 to {LONGEST_PAGE}")
    return size


def named(request: web.Request, name: str, *, fold: bool = False) -> str:
    """The id in the path; accounts are folded to lower case."""
    text = request.match_info[name]
    if not is_id(text):
        fail(422, "bad_field", f"{name}: expected {ID_FORM}")
    return text.lower() if fold else text


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object. The guard has seen that it says it is JSON."""
    raw = await request.read()
    if not raw:
        return {}
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


def seconds(name: str, text: str) -> float:
    """Seconds of a duration such as "5m"; `name` says where it stands."""
    try:
        return read_duration(text)
    except ValueError:
        fail(422, "bad_field", f"{name}: expected {DURATION_FORM}")


def ban(request: web.Request) -> float | None:
    """Seconds of `?ban=5m`."""
    text = request.query.get("ban")
    return None if text is None else seconds("ban", text)


def since(request: web.Request, now: float) -> float:
    """The instant of `?since=`, in seconds UTC: RFC 3339, or so long before `now`; 0 where it is not asked for."""
    text = request.query.get("since")
    if text is None:
        return 0.0
    try:
        return timestamp(text) if "-" in text else max(now - read_duration(text), 0.0)
    except ValueError:
        fail(422, "bad_field", f'since: expected {DURATION_FORM}, or a time such as "2026-11-21T12:00:00Z"')
