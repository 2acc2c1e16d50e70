"""The API about the license in effect: every license model and its pools."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from aiohttp import web

from config.rules import overridden_settings
from gateway.core.admission.snapshot import RuleView, Snapshot
from gateway.edge.api.registrations import RegistrationDocument
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import Count, Keyword
from gateway.edge.server.runtime import Runtime
from gateway.licensing import MODELS


class RuleDocument(TypedDict):
    """A rule for seats of the pool; `limit` and `each` are null where it has none."""

    name: Annotated[str, "Its own, or its place among all rules, from 1."]
    used: Annotated[Count, "Keys that count under it; with `each`, of the one with most."]
    limit: Annotated[Count | None, "Keys that it allows at most."]
    each: Annotated[str | None, Keyword("enum", ("account", "device", "address", None))]
    reserve: Annotated[Count, "Seats that others cannot take."]
    kept: Annotated[Count, "Seats of `reserve` that are not used."]


class PoolDocument(TypedDict):
    """A pool; `limit` and `available` are null where there is no limit."""

    used: Annotated[Count, "Distinct keys that hold a seat."]
    limit: Count | None
    available: Count | None
    reserved: Annotated[Count, "Seats kept for their owners, connected or not."]
    returning: Annotated[Count, "Seats kept for those who were connected before a restart or the end of a gateway."]
    overdraft_used: Annotated[Count, "Seats above the limit."]
    high_water: Annotated[Count, "Highest use in the rolling window."]
    denied: Annotated[Count, "Refusals, a total."]
    waiting: Annotated[Count, "Requests that wait in line for a seat."]
    left: Annotated[dict[str, Count], "Requests that left the line, by outcome, totals."]
    rules: Annotated[list[RuleDocument], "The rules for its seats, of the enforced model only."]


class ModelDocument(TypedDict):
    """A license model that counts."""

    pools: dict[str, PoolDocument]


class ExtensionDocument(TypedDict):
    """What may be licensed beside the pools."""

    name: str
    title: str
    terms: str
    licensed: bool


class TitlesDocument(TypedDict):
    """What people call a model and its pools."""

    title: str
    pools: dict[str, Annotated[str, "What people call the pool."]]


class LicenseDocument(TypedDict):
    """The license in effect, and all models by name."""

    model: Annotated[str, "The enforced model.", Keyword("enum", tuple(MODELS))]
    edition: str | None
    enforce: bool
    models: dict[str, ModelDocument]
    extensions: list[ExtensionDocument]
    titles: dict[str, TitlesDocument]
    registration: RegistrationDocument
    overridden: Annotated[list[str], "Settings without effect, because the license of a registrar says them."]


@Route(
    "GET",
    "/api/license",
    scope=READ,
    summary="Every license model and its pools.",
    answer=LicenseDocument,
)
async def get_license(runtime: Runtime, _: web.Request) -> web.Response:
    """Show it as it is at this instant."""
    return web.json_response(license_document(runtime, runtime.snapshot()))


def _rule(rule: RuleView) -> RuleDocument:
    return {
        "name": rule.rule,
        "used": rule.used,
        "limit": rule.limit,
        "each": rule.each or None,
        "reserve": rule.reserve,
        "kept": rule.kept,
    }


def license_document(runtime: Runtime, seen: Snapshot) -> LicenseDocument:
    """Return the license as the API and the page show it."""
    models: dict[str, ModelDocument] = {}
    for pool in seen.pools:
        models.setdefault(pool.model, {"pools": {}})["pools"][pool.pool] = {
            "used": pool.used,
            "limit": pool.limit,
            "available": pool.available,
            "reserved": pool.reserved,
            "returning": pool.returning,
            "overdraft_used": pool.overdraft_used,
            "high_water": pool.high_water,
            "denied": pool.denied,
            "waiting": pool.waiting,
            "left": dict(pool.left),
            "rules": [_rule(rule) for rule in seen.rules if (rule.model, rule.pool) == (pool.model, pool.pool)],
        }
    return {
        "model": seen.model,
        "edition": seen.edition,
        "enforce": seen.enforce,
        "models": models,
        "extensions": [cast(ExtensionDocument, each._asdict()) for each in seen.extensions],
        "titles": {name: cast(TitlesDocument, info.titles()) for name, info in MODELS.items()},
        "registration": cast(RegistrationDocument, runtime.registration.to_json()),
        "overridden": overridden_settings(runtime.configured),
    }
