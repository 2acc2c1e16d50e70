"""The API about registrations: this gateway's own, and those of the servers that register here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict, cast

from aiohttp import web

from gateway.core.formats import utc
from gateway.core.names import join_names
from gateway.core.registration.license_status import LicenseState
from gateway.core.registration.registrar import Installation, SoldLicense
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import body, only, refuse
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import NOTHING, Count, Id, Keyword, Time
from gateway.edge.server.runtime import Runtime
from gateway.licensing import MODELS

Nonce = Annotated[str, Keyword("pattern", "^[0-9a-fA-F]{32}$")]


class RegistrationDocument(TypedDict):
    """The registration of this gateway, and how long its license lasts."""

    role: Literal["off", "agent"]
    state: Annotated[LicenseState, "`off`: this gateway needs no registration."]
    reason: Annotated[str | None, "Why it is not registered."]
    shutdown_at: Time | None
    seconds_left: Annotated[Count | None, "Until `shutdown_at`."]
    lost_at: Time | None
    last_verified: Time | None
    not_after: Time | None
    needs_connection: bool | None
    server: Annotated[str, "The registration server."]
    serial: str
    installation: Annotated[str, "The identity of this installation."]
    offline: Annotated[bool, "Whether the license was installed by hand."]
    clone_suspected: bool
    clock_skew_seconds: int | None


class InstallationDocument(TypedDict):
    """A server that has registered here."""

    server: Annotated[str, "The identity of the installation."]
    serial: Id
    model: str
    edition: str
    connected: bool
    since: Time | None
    last_verified: Time | None
    used: dict[str, Count]
    address: str
    version: str
    clones_suspected: Annotated[Count, "How often it seemed that another installation uses the same license."]


class GrantDocument(TypedDict):
    """What a license grants."""

    model: Annotated[str, Keyword("enum", tuple(MODELS))]
    edition: str
    limits: dict[str, Count]
    extensions: list[Id]
    needs_connection: bool
    not_after: Time | None


class RequestDocument(TypedDict):
    """A request for a license that is installed by hand."""

    server: Id
    serial: Id
    nonce: Nonce
    time: Time


class AnswerDocument(GrantDocument):
    """The answer to such a request: the license."""

    server: Id
    serial: Id
    nonce: Nonce
    issued_at: Time
    mac: Annotated[str, "HMAC-SHA256 under the license's key."]


# -- this gateway's own ------------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/registration",
    scope=READ,
    summary="This gateway's own registration.",
    answer=RegistrationDocument,
)
async def get_registration(runtime: Runtime, _: web.Request) -> web.Response:
    """Show it."""
    return web.json_response(_registration(runtime))


@Route(
    "POST",
    "/api/registration/request",
    scope=ADMIN,
    summary="Ask for a license that is installed by hand.",
    answer=RequestDocument,
    body=NOTHING,
    statuses=(409, 503),
)
async def request_license(runtime: Runtime, request: web.Request) -> web.Response:
    """Make the document with which the vendor is asked."""
    only(await body(request))
    return web.json_response(await _request(runtime))


async def _request(runtime: Runtime) -> RequestDocument:
    try:
        return cast(RequestDocument, await runtime.registration.request())
    except RequestFault as fault:
        refuse(fault)


@Route(
    "POST",
    "/api/registration/install",
    scope=ADMIN,
    summary="Install a license by hand.",
    answer=RegistrationDocument,
    body=AnswerDocument,
    statuses=(409, 503),
)
async def install_license(runtime: Runtime, request: web.Request) -> web.Response:
    """Take what the vendor answered."""
    told = await body(request)
    await _install(runtime, told)
    return web.json_response(_registration(runtime))


async def _install(runtime: Runtime, told: dict[str, Any]) -> None:
    try:
        await runtime.registration.install(told)
    except RequestFault as fault:
        refuse(fault)


def _registration(runtime: Runtime) -> RegistrationDocument:
    return cast(RegistrationDocument, runtime.registration.to_json())


# -- those that register here ------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/registrations",
    scope=READ,
    summary="The servers that have registered here.",
    answer=Page[InstallationDocument],
    query=PAGED,
)
async def list_registrations(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them, by serial and server."""
    registrar = runtime.registrar.registrar
    known = {join_names(*key): each for key, each in registrar.installations.items()}
    return await listed(request, known, lambda _, each: _installation(each, registrar.licenses.get(each.serial)))


def _installation(each: Installation, license: SoldLicense | None) -> InstallationDocument:
    return {
        "server": each.server,
        "serial": each.serial,
        "model": license.grant.model if license is not None else "",
        "edition": license.grant.edition if license is not None else "",
        "connected": each.since is not None,
        "since": utc(each.since),
        "last_verified": utc(each.verified),
        "used": each.used,
        "address": each.address,
        "version": each.version,
        "clones_suspected": each.clones,
    }
