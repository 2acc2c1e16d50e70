"""What the operator port can do, as an OpenAPI 3.1 document, for programs and for people who write them.

It is made from the routes (`routes.Route`): there is no other list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, TypedDict

from aiohttp import web

from gateway.edge.api.routes import ADMIN, LINK, OPEN, PAGE, READ, ROUTES, Route
from gateway.edge.api.schemas import ID, Schema, schema_of, text
from gateway.edge.server.runtime import Runtime

STATUSES: Mapping[int, str] = {
    400: "The body is not JSON, or does not say that it is.",
    401: "A token is needed, or nobody has this one.",
    403: "The token's scope does not reach so far, or the request comes from another site.",
    404: "There is no such thing.",
    405: "Not with this method.",
    408: "The body did not come in time.",
    409: "Not as things stand.",
    413: "The body is too long.",
    415: "The body is encoded in another way than those that the header names.",
    422: "A value is not of its kind.",
    429: "Too many attempts without a good token.",
    503: "The store is unavailable. What was asked for is in effect, but not yet durable.",
}
REFUSALS: Mapping[str, frozenset[int]] = {
    OPEN: frozenset({405}),
    PAGE: frozenset({403, 405}),
    LINK: frozenset({403, 405}),
    READ: frozenset({401, 403, 405, 429}),
    ADMIN: frozenset({401, 403, 405, 429}),
}
"""Statuses of every route of a scope."""
TOLD = frozenset({400, 408, 413, 415, 422})
"""Statuses of every route that takes a body."""
HEADERS: Mapping[int, str] = {401: "WWW-Authenticate", 405: "Allow", 415: "Accept-Encoding", 429: "Retry-After"}
"""The header that comes with a status."""
PARAMETERS: Mapping[str, Schema] = {
    "account": {"schema": ID, "description": "Without case."},
    "group": {"schema": ID},
    "conference": {"schema": ID},
    "name": {"schema": ID, "description": "Name of an operator."},
    "session": {"schema": text(), "description": "Id of a session, as the list of connections shows it."},
    "subject": {"schema": ID, "description": "An account, an address or a network."},
    "file": {"schema": text()},
    "fingerprint": {"schema": text(), "description": "Which token, as lists show it."},
    "serial": {"schema": ID},
    "webhook": {"schema": ID, "description": "Name of a webhook, or its place."},
}
"""The parameters of paths, each the same in every path."""


class ErrorDocument(TypedDict):
    """Why a request was refused: a word for a program, and a sentence for a person."""

    error: str
    detail: str


@Route("GET", "/openapi.json", scope=READ, summary="This document.", answer=dict)
async def get_document(_: Runtime, request: web.Request) -> web.Response:
    """Describe the routes of the application that is asked."""
    return web.json_response(document(request.app[ROUTES].values()))


def document(routes: Iterable[Route]) -> Schema:
    """Return the whole document."""
    named: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tallygate operator port",
            "version": metadata.version("tallygate"),
            "description": "No token is needed on loopback, nor by whom a trusted proxy has signed in. A scope holds: "
            "`read` looks, `admin` acts.",
        },
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, named: dict[str, Schema]) -> Schema:
    """One operation; the schemas that it refers to are added to `named`."""
    steps = [step[1:-1] for step in route.path.split("/") if step.startswith("{")]
    path = [{**PARAMETERS[step], "name": step, "in": "path", "required": True} for step in steps]
    operation: Schema = {
        "summary": route.summary,
        "parameters": [*path, *route.query],
        "responses": _answers(route, path, named),
        "security": _security(route),
    }
    if route.body is not None:
        body = schema_of(route.body, named)
        operation["requestBody"] = {"required": _is_required(body, named), "content": _json(body)}
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    """No token, or, where the port asks for one, one of this scope."""
    return [] if route.scope in {OPEN, PAGE, LINK} else [{}, {"token": [route.scope]}]


def _answers(route: Route, path: list[Schema], named: dict[str, Schema]) -> Schema:
    """What can be answered, by status."""
    answers: Schema = {"204": {"description": "Done."}}
    if route.media or route.answer is not None:
        content: Schema = {kind: {} for kind in route.media}
        if route.answer is not None:
            content |= _json(schema_of(route.answer, named))
        answers = {"200": {"description": "Text, or a file." if route.media else "JSON.", "content": content}}
    statuses = {*REFUSALS[route.scope], *route.statuses}
    if route.body is not None:
        statuses |= TOLD
    if route.query or any({"format", "pattern"}.intersection(each["schema"]) for each in path):
        statuses |= {422}
    return answers | {str(status): _failure(status, route, named) for status in sorted(statuses)}


def _failure(status: int, route: Route, named: dict[str, Schema]) -> Schema:
    if route.scope == OPEN and status != 405:
        return {"description": "Not ready, and why.", "content": {kind: {} for kind in route.media}}
    answer: Schema = {"description": STATUSES[status], "content": _json(schema_of(ErrorDocument, named))}
    if status in HEADERS:
        answer["headers"] = {HEADERS[status]: {"schema": text(), "required": True}}
    return answer


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _is_required(body: Schema, named: Mapping[str, Schema]) -> bool:
    """Return whether a body must be there: one of its fields is required."""
    found: Any = named[body["$ref"].rpartition("/")[2]] if "$ref" in body else body
    return bool(found.get("required"))
