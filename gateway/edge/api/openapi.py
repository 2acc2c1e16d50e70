"""What the operator port can do, as an OpenAPI 3.1 document, for programs and for people who write them.

One entry for each route, by method and path. The document is data: a test holds it against the routes that are
registered, another one sends the gateway what it says may be sent, and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from gateway.core.admission.directory import SCOPES
from gateway.core.counting.session import KINDS
from gateway.core.formats import DURATION_PATTERN, ID_PATTERN, LAST_SECOND
from gateway.core.registration.grant import LicensableModel
from gateway.core.registration.license_status import LicenseState
from gateway.core.registration.messages import EXTENSIONS, LONGEST_EDITION, MOST
from gateway.edge.api.authorization import HEALTH
from gateway.edge.api.responses import LONGEST_PAGE, PAGE, SESSION
from gateway.edge.api.static_files import KINDS as LEAVES
from gateway.licensing import MODELS, OFFERS

Schema = dict[str, Any]

STATUSES: Mapping[int, str] = {
    400: "The body is not JSON, or does not say that it is.",
    401: "A token is needed, or nobody has this one.",
    403: "The token's scope does not reach so far, or the request comes from another site.",
    404: "There is no such thing.",
    405: "Not with this method.",
    408: "The body did not come in time.",
    409: "Not as things stand.",
    413: "The body is too long.",
    422: "A value is not of its kind.",
    429: "Too many attempts without a good token.",
    503: "The store is unavailable. What was asked for is in effect, but not yet durable.",
}
ALWAYS = (401, 403, 405, 429)


def text(about: str = "", **more: Any) -> Schema:
    """A string."""
    return {"type": "string", **({"description": about} if about else {}), **more}


def whole(about: str = "", **more: Any) -> Schema:
    """An integer from 0 on, unless said otherwise."""
    return {"type": "integer", "minimum": 0, **({"description": about} if about else {}), **more}


def either(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def record(*optional: str, **fields: Schema) -> Schema:
    """An object with these fields and no others; all are always there but the `optional` ones."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def each(values: Schema) -> Schema:
    """An object of values of one kind, by name."""
    return {"type": "object", "additionalProperties": values}


BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
TIME = text(format="date-time")
ID = text(pattern=f"^{ID_PATTERN}$")
TOKEN = record("scope", fingerprint=text(), created=TIME, scope=text(enum=list(SCOPES)))
SECRET = text("The secret. It is shown this once.")

POOL = record(
    used=whole("Distinct keys that hold a seat."),
    limit=either(whole()),
    available=either(whole()),
    reserved=whole("Seats kept for their owners, connected or not."),
    overdraft_used=whole("Seats above the limit."),
    high_water=whole("Highest use in the rolling window."),
    denied=whole("Refusals, a total."),
)
REGISTRATION = record(
    role=text(enum=["off", "agent"]),
    state=text("`off`: this gateway needs no registration.", enum=list(LicenseState)),
    reason=either(text("Why it is not registered.")),
    shutdown_at=either(TIME),
    seconds_left=either(whole("Until `shutdown_at`.")),
    lost_at=either(TIME),
    last_verified=either(TIME),
    not_after=either(TIME),
    needs_connection=either(BOOLEAN),
    server=text("The registration server."),
    serial=text(),
    installation=text("The identity of this installation."),
    offline={"type": "boolean", "description": "Whether the license was installed by hand."},
    clone_suspected=BOOLEAN,
    clock_skew_seconds=either({"type": "integer"}),
)
INSTALLATION = record(
    server=text("The identity of the installation."),
    serial=ID,
    model=text(),
    edition=text(),
    connected=BOOLEAN,
    since=either(TIME),
    last_verified=either(TIME),
    used=each(whole()),
    address=text(),
    version=text(),
    clones_suspected=whole("How often it looked like one of two."),
)
NONCE = text(pattern="^[0-9a-fA-F]{32}$")
GRANT = {
    "model": text(enum=list(MODELS)),
    "edition": text(),
    "limits": each(whole()),
    "extensions": several(ID),
    "needs_connection": BOOLEAN,
    "not_after": either(TIME),
}
SOLD = record(
    **GRANT, serial=ID, created=TIME, revoked_at=either(TIME), state=text(enum=["active", "expired", "revoked"])
)


def _terms(model: str, offer: LicensableModel) -> Schema:
    """What a license of a model can be sold with; what is null has its default."""
    end = {
        "anyOf": [TIME, text(format="date"), whole("Seconds UTC.", maximum=LAST_SECOND)],
        "description": "Its last moment.",
    }
    fields = {
        "edition": text(enum=["", *offer.editions]) if offer.editions else text(maxLength=LONGEST_EDITION),
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


TERMS = {"anyOf": [_terms(model, offer) for model, offer in OFFERS.items()]}
LICENSE = record(
    model=text("The enforced model.", enum=list(MODELS)),
    edition=either(text()),
    enforce=BOOLEAN,
    models=each({**record(pools=each({"$ref": "#/components/schemas/Pool"}))}),
    extensions=several(record(name=text(), title=text(), terms=text(), licensed={})),
    titles=each(record(title=text(), pools=each(text("What people call the pool.")))),
    registration=REGISTRATION,
)
CONNECTION = record(
    id=text(pattern=f"^{SESSION}$"),
    transport=text(enum=["tcp", "websocket"]),
    address=text(),
    kind=text(enum=sorted(KINDS)),
    account=either(text()),
    home=either(text("Another server that the account belongs to.")),
    device=either(text()),
    client=either(text()),
    presence=text(enum=["awake", "asleep"]),
    connected=BOOLEAN,
    since=TIME,
    last_heard=either(TIME),
    conferences=several(text()),
    seats=several(text()),
)
ACCESS, MODE = text(enum=["internal", "public"]), text(enum=["group", "call"])
CONFERENCE = record(
    id=text(),
    state=text(enum=["scheduled", "live"]),
    access=ACCESS,
    mode=MODE,
    server=either(text("Another server that the conference is on.")),
    declared=BOOLEAN,
    hosts=several(text()),
    members=whole(),
)
ACCOUNT = record(account=ID, tokens=several(TOKEN), connections=whole(), groups=several(text()))
GROUP = record(group=ID, accounts=several(ID), permanent=BOOLEAN)
PRO = record(
    account=text(),
    kind=text(enum=["permanent", "temporary"]),
    since=TIME,
    expires=either(TIME),
    in_conference=BOOLEAN,
    deleted=BOOLEAN,
)
HOST = record("hosting", account=text(), since=TIME, hosting=BOOLEAN)
BAN = record(subject=text("An account, or an address of guests."), until=TIME)
OPERATOR = record(name=ID, tokens=several(TOKEN))
ENTRY = record(
    seq=whole(minimum=1),
    time=TIME,
    actor=text("An operator, `loopback`, `command`, `gateway` or `unknown`."),
    action=text(),
    subject=text(),
    detail={"type": "object"},
    previous=text("Hash of the entry before.", pattern="^[0-9a-f]{64}$"),
    hash=text("SHA-256 of the canonical JSON of all other fields.", pattern="^[0-9a-f]{64}$"),
)
FIGURES = record(
    "levels",
    "busiest_hour",
    "week",
    start=TIME,
    model=text(),
    pool=text(),
    limit=either(whole()),
    seconds=NUMBER,
    seat_seconds=NUMBER,
    mean=NUMBER,
    max=whole(),
    p50=either(NUMBER),
    p95=either(NUMBER),
    p99=either(NUMBER),
    full_seconds=NUMBER,
    grants=whole(),
    releases=each(whole()),
    denials=each(whole()),
    denied=whole(),
    true_denials=whole(),
    seated=whole(),
    time_to_seat=record(mean=either(NUMBER), max=either(NUMBER)),
    levels=each(NUMBER),
    busiest_hour=NUMBER,
    week=several(several(either(NUMBER))),
)
DENIAL = record(
    *("account", "device", "address"),
    began=TIME,
    last=TIME,
    model=text(),
    pool=text(),
    reason=text(),
    account=text("Who was refused: one of these three says it."),
    device=text(),
    address=text(),
    refusals=whole(minimum=1),
    true_denials=whole(),
    seated=whole(),
    undecided=whole(),
    seconds_to_seat=either(NUMBER),
)
SIZED = record(
    *("seats_each", "erlang_b", "busiest_hour", "demands", "turned_away", "together", "complete"),
    pool=text(),
    limit=either(whole()),
    peak=whole(),
    seats=either(whole("Seats that would have kept true denials under the share.")),
    seats_each=whole("The same for each conference, where the limit is for each."),
    erlang_b=either(whole("The same by the Erlang-B formula.")),
    busiest_hour=NUMBER,
    demands=whole(),
    turned_away=whole(),
    together=NUMBER,
    complete=BOOLEAN,
    note=text(),
)
SIZING = record(model=text(), enforced=BOOLEAN, says=text("As one phrase."), pools=several(SIZED))

SCHEMAS: Mapping[str, Schema] = {
    "Error": record(error=text(), detail=text()),
    "Pool": POOL,
    "License": LICENSE,
    "Registration": REGISTRATION,
    "Installation": INSTALLATION,
    "SoldLicense": SOLD,
    "Connection": CONNECTION,
    "Conference": CONFERENCE,
    "Account": ACCOUNT,
    "Group": GROUP,
    "Pro": PRO,
    "Host": HOST,
    "Ban": BAN,
    "Operator": OPERATOR,
    "Request": record(server=ID, serial=ID, nonce=NONCE, time=TIME),
    "Answer": record(
        **GRANT, server=ID, serial=ID, nonce=NONCE, issued_at=TIME, mac=text("HMAC-SHA256 under the license's key.")
    ),
    "Entry": ENTRY,
    "Figures": FIGURES,
    "Denial": DENIAL,
    "Sizing": SIZING,
}


def like(name: str) -> Schema:
    """One of the schemas above."""
    return {"$ref": f"#/components/schemas/{name}"}


def page(name: str) -> Schema:
    """A page of a list."""
    return record(items=several(like(name)), next=either(text("The `cursor` of the next page.")))


def asked(name: str, schema: Schema, about: str) -> Schema:
    """A parameter of the query; none is required."""
    return {"name": name, "in": "query", "description": about, "schema": schema}


LIMIT = asked("limit", whole(minimum=1, maximum=LONGEST_PAGE, default=PAGE), "Items on a page.")


def cursor(pattern: str | None = None) -> Schema:
    """Where a page begins."""
    return asked("cursor", text(pattern=pattern) if pattern else text(), "`next` of the page before.")


OFFSET = asked("offset", whole(maximum=9_999_999, default=0), "Items to leave out before the page.")
PAGED = (LIMIT, OFFSET, cursor())
SINCE = asked(
    "since",
    {"anyOf": [text(format="date-time"), text(pattern=f"^{DURATION_PATTERN}$")]},
    'From this instant on, or for so long until now, such as "30d".',
)
SPAN = asked("ban", text(pattern=f"^{DURATION_PATTERN}$"), 'And keep whom it was out for so long, such as "5m".')
FILTERS = (
    *(asked(name, text(), "Only these.") for name in ("account", "device", "address", "kind", "conference")),
    asked("q", text(), "Only those with this somewhere in account, device, address or kind; case does not matter."),
)


class Route:
    """One operation: what it does, and the statuses and bodies it answers with.

    `gives` is the schema of the JSON, None for 204, or a schema by content type; `fails` are statuses beside those of
    every route.
    """

    def __init__(
        self,
        does: str,
        gives: Schema | None = None,
        *fails: int,
        query: tuple[Schema, ...] = (),
        told: Schema | None = None,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.does = does
        self.gives = gives
        self.fails = fails
        self.query = query
        self.told = told
        self.kinds = kinds

    def document(self, path: str) -> Schema:
        """The operation object."""
        steps = [step[1:-1] for step in path.split("/") if step.startswith("{")]
        statuses = {*self.fails, *((400, 408, 413, 422) if self.told is not None else ())}
        statuses |= {422} if self.query or {"account", "group", "conference", "name", "serial"} & {*steps} else set()
        statuses |= {*ALWAYS} if path not in HEALTH else {405}
        answers: Schema = {"204": {"description": "Done."}}
        if self.kinds:
            answers = {"200": {"description": "Text, or a file.", "content": {kind: {} for kind in self.kinds}}}
        elif self.gives is not None:
            answers = {"200": {"description": "JSON.", "content": {"application/json": {"schema": self.gives}}}}
        for status in sorted(statuses):
            answers[str(status)] = _failure(status, path)
        operation: Schema = {
            "summary": self.does,
            "parameters": [{**PARAMETERS[step], "name": step, "in": "path", "required": True} for step in steps]
            + list(self.query),
            "responses": answers,
        }
        if self.told is not None:
            required = bool(self.told.get("required"))
            operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": self.told}}}
        if path in HEALTH:
            operation["security"] = []
        return operation


def _failure(status: int, path: str) -> Schema:
    if path in HEALTH and status == 503:
        return {"description": "Not ready, and why.", "content": {"text/plain": {}}}
    answer: Schema = {
        "description": STATUSES[status],
        "content": {"application/json": {"schema": like("Error")}},
    }
    header = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After"}.get(status)
    if header is not None:
        answer["headers"] = {header: {"schema": text(), "required": True}}
    return answer


PARAMETERS: Mapping[str, Schema] = {
    "account": {"schema": ID, "description": "Without case."},
    "group": {"schema": ID},
    "conference": {"schema": ID},
    "name": {"schema": ID, "description": "Name of an operator."},
    "session": {"schema": text(), "description": "Id of a session, as the list of connections shows it."},
    "subject": {"schema": text(pattern=f"^{ID_PATTERN}$"), "description": "An account, or an address of guests."},
    "file": {"schema": text()},
    "fingerprint": {"schema": text(), "description": "Which token, as lists show it."},
    "serial": {"schema": ID},
}
NOTHING: Schema = {"type": "object", "maxProperties": 0}
DECLARATION = record(
    "access",
    "mode",
    "scheduled",
    "server",
    access=ACCESS,
    mode=MODE,
    scheduled=BOOLEAN,
    server=text(pattern=f"^({ID_PATTERN})?$"),
)
TEXTS = ("text/plain",)

ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/livez"): Route("Whether the process answers.", kinds=TEXTS),
    ("GET", "/readyz"): Route("Whether clients are let in.", None, 503, kinds=TEXTS),
    ("GET", "/metrics"): Route("Metrics for Prometheus.", kinds=("text/plain", "application/openmetrics-text")),
    ("GET", "/"): Route("The page.", kinds=("text/html",)),
    ("GET", "/page/{file}"): Route("A file of the page.", None, 404, kinds=tuple(LEAVES.values())),
    ("GET", "/openapi.json"): Route("This document.", {"type": "object"}),
    ("GET", "/api/license"): Route("Every license model and its pools.", like("License")),
    ("GET", "/api/events"): Route(
        "The state for the page, as it changes: server-sent events.", None, 503, kinds=("text/event-stream",)
    ),
    ("GET", "/api/connections"): Route(
        "The sessions.", page("Connection"), query=(*FILTERS, LIMIT, OFFSET, cursor(f"^{SESSION}$"))
    ),
    ("GET", "/api/connections/count"): Route("How many sessions there are.", record(count=whole()), query=FILTERS),
    ("DELETE", "/api/connections/{session}"): Route("Close a session.", None, 404, 503, query=(SPAN,)),
    ("GET", "/api/conferences"): Route(
        "Conferences, live and declared.",
        page("Conference"),
        query=(asked("q", text(), "Only those with this somewhere in the id; case does not matter."), *PAGED),
    ),
    ("PUT", "/api/conferences/{conference}"): Route(
        "Say what a conference is, before anybody joins it.", like("Conference"), 409, told=DECLARATION
    ),
    ("DELETE", "/api/conferences/{conference}"): Route("End a conference.", None, 404, 503),
    ("GET", "/api/accounts"): Route("The registered accounts.", page("Account"), query=PAGED),
    ("GET", "/api/accounts/{account}"): Route("An account and its tokens.", like("Account"), 404),
    ("PUT", "/api/accounts/{account}"): Route("Register an account.", like("Account"), 503, told=NOTHING),
    ("DELETE", "/api/accounts/{account}"): Route("Delete an account and close its sessions.", None, 404, 503),
    ("DELETE", "/api/accounts/{account}/connections"): Route(
        "Close every session of an account.", record(kicked=whole()), 503, query=(SPAN,)
    ),
    ("POST", "/api/accounts/{account}/token"): Route(
        "Give an account one more token.",
        record(account=ID, token=SECRET, fingerprint=text()),
        404,
        503,
        told=NOTHING,
    ),
    ("DELETE", "/api/accounts/{account}/token/{fingerprint}"): Route("Revoke a token.", None, 404, 503),
    ("GET", "/api/groups"): Route("The groups.", page("Group"), query=PAGED),
    ("GET", "/api/groups/{group}"): Route("A group.", like("Group"), 404),
    ("PUT", "/api/groups/{group}"): Route(
        "Say who is in a group.",
        like("Group"),
        409,
        503,
        told=record("accounts", "permanent", accounts=several(ID), permanent=BOOLEAN),
    ),
    ("DELETE", "/api/groups/{group}"): Route("Delete a group; its accounts stay.", None, 404, 503),
    ("GET", "/api/pro"): Route("Who holds a PRO license.", page("Pro"), query=PAGED),
    ("DELETE", "/api/pro/{account}"): Route("Revoke a temporary PRO license.", None, 404, 409, 503),
    ("GET", "/api/hosts"): Route("The named hosts.", page("Host"), 404, query=PAGED),
    ("PUT", "/api/hosts/{account}"): Route("Name a host.", like("Host"), 404, 409, 503),
    ("DELETE", "/api/hosts/{account}"): Route("Free the name of a host.", None, 404, 503),
    ("GET", "/api/bans"): Route("Who is banned.", page("Ban"), query=PAGED),
    ("GET", "/api/bans/{subject}"): Route("A ban.", like("Ban"), 404, 422),
    ("PUT", "/api/bans/{subject}"): Route(
        "Keep an account or an address out.",
        like("Ban"),
        503,
        told=record(**{"for": text('How long, such as "5m".', pattern=f"^{DURATION_PATTERN}$")}),
    ),
    ("DELETE", "/api/bans/{subject}"): Route("Lift a ban.", None, 404, 422, 503),
    ("GET", "/api/tokens"): Route("The operators and their tokens; scope admin.", page("Operator"), query=PAGED),
    ("POST", "/api/tokens/{name}"): Route(
        "Give an operator one more token.",
        record(name=ID, token=SECRET, fingerprint=text(), scope=text(enum=list(SCOPES)), created=TIME),
        409,
        503,
        told=record(scope=text(enum=list(SCOPES))),
    ),
    ("DELETE", "/api/tokens/{name}"): Route("Revoke every token of an operator.", None, 404, 409, 503),
    ("DELETE", "/api/tokens/{name}/{fingerprint}"): Route("Revoke one token of an operator.", None, 404, 409, 503),
    ("GET", "/api/history"): Route(
        "Use of the pools over time, exact.",
        page("Figures"),
        404,
        503,
        query=(
            asked("model", text(), "Only this model."),
            asked("pool", text(), "Only pools of this name."),
            asked("step", text(enum=["hour", "day", "all"], default="hour"), "What is put together."),
            SINCE,
            LIMIT,
            cursor("^[0-9]{1,11}/[^/]*/"),
        ),
    ),
    ("GET", "/api/denials"): Route(
        "Refusals, oldest first.", page("Denial"), 503, query=(SINCE, LIMIT, cursor("^[0-9]{1,18}$"))
    ),
    ("GET", "/api/sizing"): Route(
        "How many seats this demand would have needed, under every model.",
        record(items=several(like("Sizing")), next=either(text()), share=NUMBER, patience_seconds=NUMBER),
        503,
        query=(SINCE,),
    ),
    ("GET", "/api/audit"): Route(
        "The audit log.",
        page("Entry"),
        503,
        query=(
            asked("order", text(enum=["oldest", "newest"], default="oldest"), "Which entries come first."),
            SINCE,
            LIMIT,
            cursor("^[0-9]{1,15}$"),
        ),
    ),
    ("GET", "/api/registration"): Route("This gateway's own registration.", like("Registration")),
    ("POST", "/api/registration/request"): Route(
        "Ask for a license that is installed by hand.", like("Request"), 409, 503, told=NOTHING
    ),
    ("POST", "/api/registration/install"): Route(
        "Install a license by hand.", like("Registration"), 409, 503, told=like("Answer")
    ),
    ("GET", "/api/registrations"): Route("The servers that have registered here.", page("Installation"), query=PAGED),
    ("GET", "/api/licenses"): Route("The licenses that were sold.", page("SoldLicense"), query=PAGED),
    ("GET", "/api/licenses/{serial}"): Route("A license.", like("SoldLicense"), 404),
    ("PUT", "/api/licenses/{serial}"): Route(
        "Sell a license, or change its terms.",
        record("key", **SOLD["properties"], key=text("The key of a new license. It is shown this once.")),
        409,
        503,
        told=TERMS,
    ),
    ("DELETE", "/api/licenses/{serial}"): Route("Forget a license; its server is told at once.", None, 404, 503),
    ("POST", "/api/licenses/{serial}/revoke"): Route(
        "Revoke a license; its server is told at once.", like("SoldLicense"), 404, 503, told=NOTHING
    ),
    ("POST", "/api/licenses/{serial}/answer"): Route(
        "Answer the request of a server without network.", like("Answer"), 404, 409, 503, told=like("Request")
    ),
    ("GET", "/api/backup"): Route(
        "The store as it is now, as one SQLite file; scope admin.", None, 503, kinds=("application/vnd.sqlite3",)
    ),
}


def document() -> Schema:
    """The whole document."""
    paths: dict[str, Schema] = {}
    for (method, path), route in ROUTES.items():
        paths.setdefault(path, {})[method.lower()] = route.document(path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tallygate operator port",
            "version": metadata.version("tallygate"),
            "description": "On loopback no token is needed. A token is held to its scope: `read` looks, `admin` acts.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
