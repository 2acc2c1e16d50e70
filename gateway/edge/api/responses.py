"""What requests to the operator port say, field by field, and what it answers: JSON, also for errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

from aiohttp import web

from gateway.core.counting.session import Identity, identity
from gateway.core.formats import DURATION_FORM, read_duration, timestamp, utc
from gateway.core.names import NAME_FORM, folded, is_account, is_name, normalized
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.schemas import DURATION, ID, TIME, Time, query

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
    415: web.HTTPUnsupportedMediaType,
    422: web.HTTPUnprocessableEntity,
    429: web.HTTPTooManyRequests,
    503: web.HTTPServiceUnavailable,
}


SINCE = query(
    "since",
    {"anyOf": [TIME, DURATION]},
    'From this instant on, or for so long until now, such as "30d".',
)
UNTIL = query("until", {"anyOf": [TIME, DURATION]}, "Only to before this instant, or to so long ago.")
SORT_ORDERS = ("oldest", "newest")
"""Which entries of a log come first."""
HOME = query("home", ID, "The other server that the account belongs to; without it this one.")
BAN = query("ban", DURATION, 'And keep whom it was out for so long, such as "5m".')


def fail(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with `{"error": code, "detail": detail}`."""
    text = json.dumps({"error": code, "detail": detail})
    raise ERRORS[status](text=text, content_type="application/json", headers=headers)


def refuse(fault: RequestFault) -> NoReturn:
    """Answer a fault: what is wrong in itself is 422, what does not fit to what is here 409."""
    fail(422 if fault.code == "bad_field" else 409, fault.code, fault.detail)


def code_of(error: web.HTTPException) -> str:
    """Return the `error` that a refusal is answered with: ours as it is, aiohttp's own in the same words."""
    if error.content_type == "application/json" and error.text:
        return str(json.loads(error.text)["error"])
    return HTTPStatus(error.status).phrase.lower().replace(" ", "_")


def done() -> web.Response:
    """Return the answer to an act that has nothing to show."""
    return web.Response(status=204)


def utc_text(seconds: float) -> Time:
    """RFC 3339 in UTC, whole seconds, of an instant that is known."""
    return str(utc(seconds))


def step(request: web.Request, name: str) -> str:
    """Return a step of the path, which is written in UTF-8."""
    try:
        unquote(request.rel_url.raw_path, errors="strict")
    except UnicodeDecodeError:
        fail(422, "bad_field", f"{name}: expected UTF-8")
    return request.match_info[name]


def named(request: web.Request, name: str) -> str:
    """Return the name in the path, as it is kept."""
    text = step(request, name)
    if not is_name(text):
        fail(422, "bad_field", f"{name}: expected {NAME_FORM}")
    return normalized(text)


def named_account(request: web.Request) -> str:
    """Return the account in the path, as it is kept."""
    return account("account", step(request, "account"))


def named_identity(request: web.Request, own_home: str) -> Identity:
    """Return who the account in the path and the home in the query are; `own_home` is the name of this server."""
    return identity(named_account(request), home(request, own_home) or "")


def home(request: web.Request, own_home: str) -> str | None:
    """Return the home of `?home=`, empty for this server; None where it is not asked for."""
    text = request.query.get("home")
    found = None if text is None else account("home", text)
    return "" if found == own_home else found


def account(name: str, text: str) -> str:
    """Return an account or a home as it is kept; `name` says where it stands."""
    if not is_account(text):
        fail(422, "bad_field", f"{name}: expected {NAME_FORM}")
    return folded(text)


async def body(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in the body, an empty one for an empty body. The guard has checked its media type."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        told = json.loads(raw, parse_float=_number)
    except (ValueError, RecursionError):
        fail(400, "malformed", "the body is not JSON")
    if not isinstance(told, dict):
        fail(422, "bad_field", "expected a JSON object")
    return told


def _number(text: str) -> float:
    """A number of a body; 5.0 is the whole number 5, as JSON Schema has it."""
    value = float(text)
    return int(value) if value.is_integer() else value


def field(told: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """Return one field of a body, of the JSON type `kind`."""
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
    """Return the seconds of a duration such as "5m"; `name` says where it stands."""
    try:
        return read_duration(text)
    except ValueError:
        fail(422, "bad_field", f"{name}: expected {DURATION_FORM}")


def ban(request: web.Request) -> float | None:
    """Return the seconds of `?ban=5m`."""
    text = request.query.get("ban")
    return None if text is None else seconds("ban", text)


def since(request: web.Request, now: float) -> float:
    """Return the instant of `?since=` in seconds UTC, from RFC 3339 or a time before `now`; 0 where it is not given."""
    text = request.query.get("since")
    if text is None:
        return 0.0
    try:
        return timestamp(text) if "-" in text else max(now - read_duration(text), 0.0)
    except ValueError:
        fail(422, "bad_field", f'since: expected {DURATION_FORM}, or a time such as "2026-11-21T12:00:00Z"')


def sort_order(request: web.Request) -> str:
    """Return which entries come first: the word of `?order=`."""
    order = request.query.get("order", SORT_ORDERS[0])
    if order not in SORT_ORDERS:
        fail(422, "bad_field", f"order: expected one of {', '.join(SORT_ORDERS)}")
    return order


def until(request: web.Request, now: float) -> float | None:
    """Return the instant of `?until=`, in seconds UTC, read as that of `?since=`; None where it is not asked for."""
    text = request.query.get("until")
    if text is None:
        return None
    try:
        return timestamp(text) if "-" in text else max(now - read_duration(text), 0.0)
    except ValueError:
        fail(422, "bad_field", f'until: expected {DURATION_FORM}, or a time such as "2026-11-21T12:00:00Z"')


def asked_account(request: web.Request, own_home: str) -> tuple[str, str] | None:
    """Return the account and the home of `?account=&home=`; the home is empty for this server, also where it is named
    as `own_home`. None where no account is asked for.
    """
    asked, at = request.query.get("account"), home(request, own_home)
    return None if asked is None else (account("account", asked), at or "")
