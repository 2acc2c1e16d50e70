"""Authorization at the operator port: who may ask, and what.

On loopback, whoever can open a socket of this machine is trusted like its owner, and the danger is a browser that works
for somebody else: a Host that is not a local name is a page of another site that found a way here (DNS rebinding), and
`Origin` or `Sec-Fetch-Site` say that another site sends the request. Such a page can send without asking only what a
form can: so bodies are JSON, and nothing that a form sends is taken. There are no cookies.

On any other address, and through a proxy (forwarding headers), a request needs an operator's token. A proxy on this
machine that adds none of these headers looks like its owner: `listen.operator_require_token` is for it. A token has a
scope: `read` for looking, `admin` for everything; each route says which it needs (`routes.Route`), and whoever shows a
token is held to its scope, on loopback too. Who comes from a proxy that signs operators in (`operator.trust_proxy`) and
is named by it needs none (`proxied_operators`).

Attempts that fail may be few from one address, in a table that cannot grow: more are answered 429. A token that is good
is always taken, for behind a proxy or a NAT the honest share their address with others, and 256 random bits are not
guessed.

The page's files are for everybody who may knock: they hold no secret, and from them the token is sent. Only a page of
another site gets none of them, but a link to the page from there may be followed.

Every refusal of an act, and every refusal of a token, is in the audit log; of a flood of them, a few and the number of
the others.
"""

from __future__ import annotations

import hmac
from asyncio import Future
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from aiohttp import hdrs, web

from gateway.core.addresses import ip_address, is_loopback, network
from gateway.core.admission.directory import digest
from gateway.core.formats import whole_seconds
from gateway.edge.api import proxied_operators
from gateway.edge.api.responses import code_of, fail
from gateway.edge.api.routes import ADMIN, LINK, PAGE, READ, Route, route_of
from gateway.edge.server.listening_sockets import plain_address
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.audit_log import FROM_FILE, LOOPBACK, PROXIED, UNKNOWN

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
LOOKING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""What a page of another site can send without being asked first (Fetch standard, CORS-safelisted)."""
FOREIGN_HOST = "without a token this port answers under a local name only, such as http://127.0.0.1 or http://localhost"
"""What a person is told who opens the page under another name of this machine."""
ATTEMPTS, PAUSE = 10, 6.0
"""Failed attempts of one address at once, and seconds until it may fail once more."""
ADDRESSES = 4096
"""Addresses whose failures are remembered."""
REFUSALS, RATE = 100, 0.25
"""Refusals that the audit log takes at once, and seconds until it takes one more."""


class Caller(NamedTuple):
    """Who asks: an operator's name or `loopback`, and the scope; "" where a proxy names somebody who has none."""

    name: str
    scope: str


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


class OperatorTokenRequired(Exception):
    """The operator port would be open to other machines, and no token would open it."""


class Allowance:
    """How often each of many keys may do something: `burst` times at once, then every `pause` seconds."""

    def __init__(self, burst: int, pause: float, keys: int) -> None:
        self._slack = (burst - 1) * pause
        self._pause = pause
        self._keys = keys
        self._due: OrderedDict[str, float] = OrderedDict()
        """When each key would be at rest again; the one that moved last comes last."""

    def __len__(self) -> int:
        return len(self._due)

    def wait(self, key: str, now: float) -> float:
        """Return the seconds until `key` may do it; 0 if it may."""
        return max(self._due.get(key, now) - self._slack - now, 0.0)

    def take(self, key: str, now: float) -> None:
        """`key` does it."""
        self._due[key] = max(self._due.get(key, now), now) + self._pause
        self._due.move_to_end(key)
        if len(self._due) > self._keys:
            self._due.popitem(last=False)


class Authorization:
    """Stands before every route of the operator port of `runtime`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ipv6_prefix = runtime.settings.listen.ipv6_prefix
        self._failures = Allowance(ATTEMPTS, PAUSE, ADDRESSES)
        self._refusals = Allowance(REFUSALS, RATE, 1)
        self._unsaid = 0
        self._digest: bytes | None = None
        """That of the token in `listen.operator_token_file`."""

    def use_token(self, token: str | None) -> None:
        """Take a token of scope `admin` beside those of the store, and no other from now on; None for none."""
        self._digest = None if token is None else digest(token)

    @property
    def _has_other_ways(self) -> bool:
        """Whether an operator elsewhere can have scope `admin` without a token of the store."""
        return self._digest is not None or proxied_operators.signs_in_admins(self._runtime.settings.operator)

    @property
    def _trusts_loopback(self) -> bool:
        """Whether a program of this machine needs no token."""
        listen = self._runtime.settings.listen
        return is_loopback(listen.operator_host) and not listen.operator_require_token

    def check(self) -> None:
        """Whether the port may be opened at all.

        Raises `OperatorTokenRequired`.
        """
        if not self._trusts_loopback and not self._has_other_ways and not self._runtime.state.directory.operators:
            listen, path = self._runtime.settings.listen, self._runtime.settings.store.path
            reason = f"listen.operator_host {listen.operator_host} is not a loopback address"
            if listen.operator_require_token:
                reason = "listen.operator_require_token is true"
            raise OperatorTokenRequired(
                f"{reason} and {path} holds no operator token; make one first: "
                f"tallygate token add NAME --scope admin --store {path}, or name a file in listen.operator_token_file"
            )

    def can_spare(self, name: str, fingerprint: str | None) -> bool:
        """Return whether somebody could still administer this port if a token (None: all of a name's) were gone."""
        return (
            self._trusts_loopback
            or self._has_other_ways
            or any(
                token.scope == ADMIN
                and (owner != name or (fingerprint is not None and token.fingerprint != fingerprint))
                for owner, tokens in self._runtime.state.directory.operators.items()
                for token in tokens
            )
        )

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """What aiohttp calls before each handler."""

        @web.middleware
        async def authorized(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            try:
                self._authorize(request, route_of(request))
                return await handler(request)
            except web.HTTPException as error:
                self._record_refusal(request, error)
                raise

        return authorized

    def _authorize(self, request: web.Request, route: Route | None) -> None:
        """Refuse a request of somebody who may not make it; where there is no route, of somebody who may not look."""
        if route is not None and route.is_open(self._runtime.settings):
            return
        if route is not None and route.scope in {PAGE, LINK}:
            self._check_page(request, route)
            return
        request[CALLER] = self._identify(request)
        _same_site(request)
        _permit(request, route)
        _plain_json(request)

    def _identify(self, request: web.Request) -> Caller:
        """Who asks, by its token, by the word of a proxy, or because it is on this machine."""
        header, proxied = request.headers.get(hdrs.AUTHORIZATION), self._is_proxied(request)
        scheme, _, secret = (header or "").partition(" ")
        if header is not None and (
            scheme.lower() == "bearer" or not proxied
        ):  # proxies may pass on what they asked for
            found = self._owner(secret.strip()) if scheme.lower() == "bearer" else None
            if found is not None:
                return found
            self._fail(request, "bad_token", "no operator has this token", ', error="invalid_token"')
        if proxied:
            return self._signed_in(request)
        if not self._trusts_loopback:
            self._fail(request, "token_required", "this port needs an operator token")
        if any(name in request.headers for name in FORWARDED):
            self._fail(request, "token_required", "requests through a proxy need an operator token")
        if not local(request.headers.get(hdrs.HOST, "")):
            fail(403, "foreign_host", FOREIGN_HOST)
        return Caller(LOOPBACK, ADMIN)

    def remains(self, request: web.Request) -> bool:
        """Return whether the caller would still be let in: an answer may take long, and tokens be revoked meanwhile."""
        caller = request[CALLER]
        if caller.name.startswith(PROXIED):
            return self._is_proxied(request) and self._named(request) == caller
        header = request.headers.get(hdrs.AUTHORIZATION)
        return header is None or self._owner(header.partition(" ")[2].strip()) == caller

    def _is_proxied(self, request: web.Request) -> bool:
        """Whether a request comes from a proxy whose word is taken for who has signed in."""
        return proxied_operators.trusts(self._runtime.settings.operator, request.remote or "")

    def _named(self, request: web.Request) -> Caller | None:
        """Whom the proxy names; None where it names nobody.

        Raises `ValueError`.
        """
        found = proxied_operators.named_by(self._runtime.settings.operator, request.headers)
        return None if found is None else Caller(*found)

    def _signed_in(self, request: web.Request) -> Caller:
        """Who has signed in at the proxy that sends this."""
        try:
            found = self._named(request)
        except ValueError as fault:
            self._fail(request, "bad_user", str(fault))
        if found is None:
            self._fail(request, "token_required", "the proxy names no operator, and there is no token")
        if proxied_operators.host_of(request.headers) not in self._runtime.settings.operator.proxy_hosts:
            fail(403, "foreign_host", "who is signed in by a proxy asks under a name in operator.proxy_hosts only")
        return found

    def _owner(self, secret: str) -> Caller | None:
        """Whose token this is."""
        if self._digest is not None and hmac.compare_digest(self._digest, digest(secret)):
            return Caller(FROM_FILE, ADMIN)
        found = self._runtime.state.directory.operator_of_secret(secret)
        return None if found is None else Caller(*found)

    def _check_page(self, request: web.Request, route: Route) -> None:
        """Refuse a file of the page to pages of other sites."""
        direct = (
            self._trusts_loopback
            and not self._is_proxied(request)
            and not any(name in request.headers for name in FORWARDED)
        )
        if direct and not local(request.headers.get(hdrs.HOST, "")):
            fail(403, "foreign_host", FOREIGN_HOST)
        if route.scope != LINK or request.headers.get("Sec-Fetch-Mode") != "navigate":
            _same_site(request)

    def _fail(self, request: web.Request, code: str, detail: str, why: str = "") -> NoReturn:
        now, address = self._runtime.clock.mono(), network(request.remote or "", self._ipv6_prefix)
        wait = self._failures.wait(address, now)
        if wait:
            after = {"Retry-After": str(whole_seconds(wait))}
            fail(429, "rate_limited", "too many attempts without a good token", after)
        self._failures.take(address, now)
        fail(401, code, detail, {"WWW-Authenticate": f'Bearer realm="tallygate"{why}'})

    def _record_refusal(self, request: web.Request, error: web.HTTPException) -> None:
        """Enter a refusal into the audit log, but no 429: the failures that led to it have been entered."""
        act = request.method not in LOOKING or error.status in {401, 403}
        if not act or not 400 <= error.status < 500 or error.status == 429:
            return
        now = self._runtime.clock.mono()
        if self._refusals.wait("", now):
            self._unsaid += 1
            return
        self._refusals.take("", now)
        caller = request.get(CALLER)
        address = plain_address(request.remote or "")
        detail = {"method": request.method, "status": error.status, "error": code_of(error), "address": address}
        if self._unsaid:
            detail["unsaid"], self._unsaid = self._unsaid, 0
        self._runtime.persistence.audit(caller.name if caller is not None else UNKNOWN, "refused", request.path, detail)


def record_act(
    runtime: Runtime, request: web.Request, action: str, subject: str = "", detail: Mapping[str, Any] | None = None
) -> Future[None]:
    """Enter what somebody asked for into the audit log; done when that is durable.

    The entry joins the commit of whatever is written before the next turn of the loop, so that who waits for the entry
    has waited for the act, of a model in shadow too.
    """
    return runtime.persistence.audit(request[CALLER].name, action, subject, detail)


AUTHORIZATION: web.AppKey[Authorization] = web.AppKey("authorization", Authorization)


def _permit(request: web.Request, route: Route | None) -> None:
    """Refuse what the scope of who asks does not reach to."""
    usual = READ if request.method in LOOKING else ADMIN
    needed = route.scope if route is not None else usual
    caller = request[CALLER]
    if caller.scope == proxied_operators.NOTHING:
        fail(403, "scope", f"no group of {caller.name} is in operator.admin_groups or operator.read_groups")
    if needed == ADMIN and caller.scope != ADMIN:
        challenge = {"WWW-Authenticate": 'Bearer realm="tallygate", error="insufficient_scope", scope="admin"'}
        fail(403, "scope", f"this needs the scope {ADMIN}, {caller.name} has {READ}", challenge)


def _same_site(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2] != request.headers.get(hdrs.HOST, ""):
        fail(403, "cross_site", "requests of other sites are refused")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        fail(403, "cross_site", "requests of other sites are refused")


def _plain_json(request: web.Request) -> None:
    if request.method in LOOKING:
        return
    kind = request.content_type
    if (request.can_read_body and kind != "application/json") or kind in FORMS:
        fail(400, "malformed", "the body must be application/json")


def local(host: str) -> bool:
    """Return whether a Host header names this machine: `localhost`, or a loopback address."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
