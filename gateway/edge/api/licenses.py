"""The API about the licenses that the registrar of this process has sold."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict, cast

from aiohttp import web

from gateway.core.formats import LAST_SECOND, utc
from gateway.core.registration import messages
from gateway.core.registration.grant import LicensableModel
from gateway.core.registration.messages import EXTENSIONS, LONGEST_EDITION, MOST
from gateway.core.registration.registrar import SoldLicense
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.authorization import record_act
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.registrations import AnswerDocument, GrantDocument, RequestDocument
from gateway.edge.api.responses import body, done, fail, named, only, refuse, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import (
    BOOLEAN,
    ID,
    NOTHING,
    TIME,
    Id,
    Keyword,
    Schema,
    Time,
    either,
    record,
    several,
    text,
    whole,
)
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import StoreUnavailable
from gateway.licensing import MODELS, OFFERS


class SoldLicenseDocument(GrantDocument):
    """A license that was sold, without its key."""

    serial: Id
    created: Time
    revoked_at: Time | None
    state: Annotated[str, Keyword("enum", ("active", "expired", "revoked"))]


class KeyedLicenseDocument(SoldLicenseDocument):
    """A license that was sold or changed."""

    key: NotRequired[Annotated[str, "The key of a new license. It is shown this once."]]


class OfferDocument(TypedDict):
    """What a license of a model can be sold with."""

    model: str
    title: Annotated[str, "What people call the model."]
    editions: list[str]
    pools: dict[str, Annotated[str, "What people call the pool."]]
    extensions: list[str]


EDITION: Schema = {"anyOf": [text(format="name", minLength=1, maxLength=LONGEST_EDITION), text(maxLength=0)]}
"""An edition of a model that has none of its own."""


def _terms(model: str, offer: LicensableModel) -> Schema:
    """What a license of a model can be sold with; what is null has its default."""
    end = {
        "anyOf": [TIME, text(format="date"), whole("Seconds UTC.", maximum=LAST_SECOND)],
        "description": "Its last moment.",
    }
    fields = {
        "edition": text(enum=["", *offer.editions]) if offer.editions else EDITION,
        "limits": record(*offer.pools, **{pool: whole(maximum=MOST) for pool in offer.pools}),
        "extensions": {
            **several(text(enum=list(offer.extensions)) if offer.extensions else ID),
            "maxItems": EXTENSIONS if offer.extensions else 0,
        },
        "needs_connection": BOOLEAN,
        "not_after": end,
    }
    optional = (*fields, "model") if offer.by_default else tuple(fields)
    return record(*optional, model=text(enum=[model]), **{name: either(each) for name, each in fields.items()})


@Route("GET", "/api/offers", scope=READ, summary="What licenses can be sold.", answer=Page[OfferDocument])
async def list_offers(_: Runtime, __: web.Request) -> web.Response:
    """Show every model that a license can be of; what is sold without a model first."""
    offers = sorted(OFFERS.items(), key=lambda item: not item[1].by_default)
    items: list[OfferDocument] = [
        {
            "model": model,
            "title": MODELS[model].title,
            "editions": list(offer.editions),
            "pools": {pool: MODELS[model].titles()["pools"].get(pool, pool) for pool in offer.pools},
            "extensions": list(offer.extensions),
        }
        for model, offer in offers
    ]
    return web.json_response(Page[OfferDocument](items=items, next=None))


TERMS: Schema = {"anyOf": [_terms(model, offer) for model, offer in OFFERS.items()]}


@Route(
    "GET",
    "/api/licenses",
    scope=READ,
    summary="The licenses that were sold.",
    answer=Page[SoldLicenseDocument],
    query=PAGED,
)
async def list_licenses(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    now = runtime.clock.wall()
    return await listed(request, runtime.registrar.registrar.licenses, lambda _, sold: license_document(sold, now))


@Route(
    "GET",
    "/api/licenses/{serial}",
    scope=READ,
    summary="A license.",
    answer=SoldLicenseDocument,
    statuses=(404,),
)
async def get_license(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one."""
    license = _found(runtime, named(request, "serial"))
    return web.json_response(license_document(license, runtime.clock.wall()))


@Route(
    "PUT",
    "/api/licenses/{serial}",
    scope=ADMIN,
    summary="Sell a license, or change its terms.",
    answer=KeyedLicenseDocument,
    body=TERMS,
    statuses=(409, 503),
)
async def put_license(runtime: Runtime, request: web.Request) -> web.Response:
    """Sell it, or give it other terms; the key of a new one is shown this once."""
    serial, told = named(request, "serial"), await body(request)
    only(told, *messages.TERMS)
    license, fresh = await _sell(runtime, request, serial, told)
    shown = cast(KeyedLicenseDocument, license_document(license, runtime.clock.wall()))
    if fresh:
        shown["key"] = license.key.hex()
    return web.json_response(shown)


async def _sell(runtime: Runtime, request: web.Request, serial: str, told: dict[str, Any]) -> tuple[SoldLicense, bool]:
    """Returns the license, and whether it is new."""
    try:
        fresh = runtime.registrar.issue(serial, told)
    except RequestFault as fault:
        refuse(fault)
    license = runtime.registrar.registrar.licenses[serial]
    record_act(runtime, request, "license.sold" if fresh else "license.changed", serial, license.grant.to_json())
    try:
        await runtime.persistence.license(serial)
    except StoreUnavailable:
        held = runtime.registrar.registrar.licenses.get(serial)
        if fresh and held is not None and held.key == license.key:  # a key that nobody was told is no license
            runtime.registrar.remove(serial)
            record_act(runtime, request, "license.removed", serial)
        raise
    return license, fresh


@Route(
    "POST",
    "/api/licenses/{serial}/revoke",
    scope=ADMIN,
    summary="Revoke a license; its server is told at once.",
    answer=SoldLicenseDocument,
    body=NOTHING,
    statuses=(404, 503),
)
async def revoke_license(runtime: Runtime, request: web.Request) -> web.Response:
    """End a license for good."""
    serial = named(request, "serial")
    only(await body(request))
    license = await _revoke(runtime, request, serial)
    return web.json_response(license_document(license, runtime.clock.wall()))


async def _revoke(runtime: Runtime, request: web.Request, serial: str) -> SoldLicense:
    """Returns the license as it is now: by the time that it is durable, it may be gone."""
    _found(runtime, serial)
    runtime.registrar.revoke(serial)
    record_act(runtime, request, "license.revoked", serial)
    revoked = _found(runtime, serial)
    await runtime.persistence.license(serial)
    return revoked


@Route(
    "DELETE",
    "/api/licenses/{serial}",
    scope=ADMIN,
    summary="Forget a license; its server is told at once.",
    statuses=(404, 503),
)
async def delete_license(runtime: Runtime, request: web.Request) -> web.Response:
    """Forget a license and the servers that used it."""
    serial = named(request, "serial")
    await _delete(runtime, request, serial)
    return done()


async def _delete(runtime: Runtime, request: web.Request, serial: str) -> None:
    _found(runtime, serial)
    runtime.registrar.remove(serial)
    record_act(runtime, request, "license.removed", serial)
    await runtime.persistence.license(serial)


@Route(
    "POST",
    "/api/licenses/{serial}/answer",
    scope=ADMIN,
    summary="Answer the request of a server without network.",
    answer=AnswerDocument,
    body=RequestDocument,
    statuses=(404, 409, 503),
)
async def answer_request(runtime: Runtime, request: web.Request) -> web.Response:
    """Make the license that is installed by hand."""
    serial, told = named(request, "serial"), await body(request)
    return web.json_response(await _answer(runtime, request, serial, told))


async def _answer(runtime: Runtime, request: web.Request, serial: str, told: dict[str, Any]) -> AnswerDocument:
    _found(runtime, serial)
    if told.get("serial") != serial:
        fail(422, "bad_field", f"serial: the request is not of {serial}")
    try:
        answer = runtime.registrar.registrar.answer(told, runtime.clock.wall())
    except RequestFault as fault:
        refuse(fault)
    await record_act(runtime, request, "license.answered", serial, {"server": told["server"]})
    return cast(AnswerDocument, answer)


def _found(runtime: Runtime, serial: str) -> SoldLicense:
    license = runtime.registrar.registrar.licenses.get(serial)
    if license is None:
        fail(404, "no_such_license", "no license has this serial")
    return license


def license_document(license: SoldLicense, now: float) -> SoldLicenseDocument:
    """Return a license as an operator sees it, without its key; `now` is in seconds UTC."""
    return {
        **cast(GrantDocument, license.grant.to_json()),
        "serial": license.serial,
        "created": utc_text(license.created),
        "revoked_at": utc(license.revoked),
        "state": license.state(now),
    }
