"""The API about people: accounts and their tokens, groups, PRO licenses, named hosts, bans."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from gateway.core.admission.directory import Ban, Group
from gateway.core.admission.outcome import Decision
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.formats import ip_address, is_id, utc
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import body, fail, field, listed, named, only, seconds
from gateway.edge.server.runtime import Runtime


def people_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    people = _People(runtime)
    return [
        web.get("/api/accounts", people.accounts),
        web.put("/api/accounts/{account}", people.put_account),
        web.get("/api/accounts/{account}", people.get_account),
        web.delete("/api/accounts/{account}", people.delete_account),
        web.post("/api/accounts/{account}/token", people.new_token),
        web.delete("/api/accounts/{account}/token/{fingerprint}", people.revoke_token),
        web.get("/api/groups", people.groups),
        web.put("/api/groups/{group}", people.put_group),
        web.get("/api/groups/{group}", people.get_group),
        web.delete("/api/groups/{group}", people.delete_group),
        web.get("/api/pro", people.pro),
        web.delete("/api/pro/{account}", people.revoke),
        web.get("/api/hosts", people.hosts),
        web.put("/api/hosts/{account}", people.name_host),
        web.delete("/api/hosts/{account}", people.unname_host),
        web.get("/api/bans", people.bans),
        web.get("/api/bans/{subject}", people.get_ban),
        web.put("/api/bans/{subject}", people.put_ban),
        web.delete("/api/bans/{subject}", people.lift_ban),
    ]


class _People:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

    # -- accounts --------------------------------------------------------------------------------------------------

    async def accounts(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.accounts, lambda account, _: self._account(account))

    async def put_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        only(await body(request))
        if account not in self._runtime.directory.accounts:
            self._runtime.directory.accounts[account] = ()
            self._note(request, "account.added", account)
        await self._runtime.persistence.account(account)
        return web.json_response(self._account(account))

    async def get_account(self, request: web.Request) -> web.Response:
        return web.json_response(self._account(self._registered(request)))

    async def delete_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        if not self._known(account):
            fail(404, "no_such_account", "no account has this name")
        directory = self._runtime.directory
        directory.accounts.pop(account, None)
        for name, group in directory.groups.items():
            if account in group.accounts:
                left = tuple(each for each in group.accounts if each != account)
                directory.groups[name] = Group(left, group.permanent)
                self._runtime.persistence.group(name)
        self._note(request, "account.deleted", account)
        self._runtime.persistence.account(account)
        await self._runtime.decided(self._runtime.lease_administration.delete_account(account, self._runtime.now()))
        return web.Response(status=204)

    async def new_token(self, request: web.Request) -> web.Response:
        account = self._registered(request)
        only(await body(request))
        secret = secrets.token_urlsafe(32)
        token = self._runtime.directory.add_account_token(account, secret, self._runtime.clock.wall())
        self._note(request, "token.added", account, {"fingerprint": token.fingerprint})
        await self._runtime.persistence.account(account)
        return web.json_response({"account": account, "token": secret, "fingerprint": token.fingerprint})

    async def revoke_token(self, request: web.Request) -> web.Response:
        account, fingerprint = self._registered(request), request.match_info["fingerprint"]
        if not self._runtime.directory.remove_account_token(account, fingerprint):
            fail(404, "no_such_token", "the account has no token of this fingerprint")
        self._note(request, "token.revoked", account, {"fingerprint": fingerprint})
        await self._runtime.persistence.account(account)
        return web.Response(status=204)

    def _registered(self, request: web.Request) -> str:
        account = named(request, "account", fold=True)
        if account not in self._runtime.directory.accounts:
            fail(404, "no_such_account", "no account of this name is registered")
        return account

    def _known(self, account: str) -> bool:
        """Whether an account is registered, connected, in a group, or holds a license."""
        directory = self._runtime.directory
        pro = self._pro()
        book = pro.pools[pro.model.account_pool] if pro is not None else None
        return (
            account in directory.accounts
            or bool(self._runtime.admission.sessions.of_account(account))
            or any(account in group.accounts for group in directory.groups.values())
            or (book is not None and account in book.claims)
        )

    def _account(self, account: str) -> dict[str, Any]:
        directory = self._runtime.directory
        return {
            "account": account,
            "tokens": [
                {"fingerprint": token.fingerprint, "created": utc(token.created)}
                for token in directory.accounts[account]
            ],
            "connections": len(self._runtime.admission.sessions.of_account(account)),
            "groups": [name for name, group in directory.groups.items() if account in group.accounts],
        }

    # -- groups ----------------------------------------------------------------------------------------------------

    async def groups(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.groups, _group)

    async def put_group(self, request: web.Request) -> web.Response:
        name = named(request, "group")
        told = await body(request)
        only(told, "accounts", "permanent")
        accounts: list[Any] = field(told, "accounts", list, [])
        if not all(is_id(account) for account in accounts):
            fail(422, "bad_field", "accounts: expected a list of account names")
        permanent = field(told, "permanent", bool, False)
        primary = self._runtime.admission.primary.model
        if permanent and primary.account_pool and not primary.allows_reservations:
            fail(409, "extension_missing", "this license has no permanent PRO licenses")
        group = Group(tuple(dict.fromkeys(account.lower() for account in accounts)), permanent)
        self._runtime.directory.groups[name] = group
        self._note(request, "group.set", name, {"accounts": list(group.accounts), "permanent": permanent})
        await self._runtime.persistence.group(name)
        return web.json_response(_group(name, group))

    async def get_group(self, request: web.Request) -> web.Response:
        name = named(request, "group")
        group = self._runtime.directory.groups.get(name)
        if group is None:
            fail(404, "no_such_group", "no group has this name")
        return web.json_response(_group(name, group))

    async def delete_group(self, request: web.Request) -> web.Response:
        name = named(request, "group")
        if self._runtime.directory.groups.pop(name, None) is None:
            fail(404, "no_such_group", "no group has this name")
        self._note(request, "group.deleted", name)
        await self._runtime.persistence.group(name)
        return web.Response(status=204)

    # -- PRO licenses ----------------------------------------------------------------------------------------------

    def _pro(self) -> Ledger | None:
        """The ledger whose seats are leased to accounts, enforced or in shadow."""
        return next((each for each in self._runtime.admission.ledgers if each.model.account_pool), None)

    async def pro(self, request: web.Request) -> web.Response:
        ledger = self._pro()
        if ledger is None:
            return listed(request, {}, lambda _, __: None)
        book = ledger.pools[ledger.model.account_pool]
        holders = {str(key): held for key, held in (*book.leases.items(), *book.reservations.items())}

        def render(account: str, _: object) -> dict[str, Any]:
            lease = book.leases.get(account)
            held = lease or book.reservations[account]
            return {
                "account": account,
                "kind": "permanent" if lease is None else "temporary",
                "since": utc(held.since),
                "expires": utc(lease.expires) if lease is not None else None,
                "in_conference": book.in_use(account),
                "deleted": lease is not None and lease.deleted,
            }

        return listed(request, holders, render)

    async def revoke(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = self._pro()
        book = ledger.pools[ledger.model.account_pool] if ledger is not None else None
        if ledger is None or book is None or account not in book.claims:
            fail(404, "no_such_license", "the account is unknown or has no PRO license")
        if account in book.reservations:
            fail(409, "permanent", "a permanent PRO license cannot be revoked")
        if book.leases[account].deleted:
            fail(409, "account_deleted", "the license of a deleted account cannot be revoked")
        self._note(request, "license.revoked", account, {"model": ledger.model.name})
        await self._runtime.decided(self._runtime.lease_administration.revoke(ledger, account, self._runtime.now()))
        return web.Response(status=204)

    # -- named hosts -----------------------------------------------------------------------------------------------

    def _naming(self) -> Ledger:
        ledger = next((each for each in self._runtime.admission.ledgers if each.model.start_pool), None)
        if ledger is None:
            fail(404, "no_named_hosts", "no license model with named hosts is enforced or in shadow")
        return ledger

    async def hosts(self, request: web.Request) -> web.Response:
        ledger = self._naming()
        book = ledger.pools[ledger.model.start_pool]
        names = {str(key): lease for key, lease in book.leases.items()}
        return listed(
            request,
            names,
            lambda account, lease: {"account": account, "since": utc(lease.since), "hosting": book.in_use(account)},
        )

    async def name_host(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = self._naming()
        if not self._runtime.registration.grants:
            fail(409, "unregistered", str(self._runtime.registration.reason()))
        lease = self._runtime.lease_administration.name_host(ledger, account, self._runtime.now())
        if isinstance(lease, Refusal):
            fail(409, lease.reason, f"all {lease.limit} names are taken")
        outcome = self._runtime.admission.finish(Decision())
        if outcome.changes:
            self._note(request, "host.named", account)
        await self._runtime.decided(outcome)
        return web.json_response({"account": account, "since": utc(lease.since)})

    async def unname_host(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = self._naming()
        if account not in ledger.pools[ledger.model.start_pool].leases:
            fail(404, "no_such_host", "no host has this name")
        self._note(request, "host.released", account)
        await self._runtime.decided(
            self._runtime.lease_administration.release_host(ledger, account, self._runtime.now())
        )
        return web.Response(status=204)

    # -- bans ------------------------------------------------------------------------------------------------------

    async def bans(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.bans, lambda _, ban: _ban(ban))

    async def get_ban(self, request: web.Request) -> web.Response:
        return web.json_response(_ban(self._banned(request)))

    async def put_ban(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        told = await body(request)
        only(told, "for")
        span = seconds("for", field(told, "for", str, ""))
        ban = self._runtime.directory.ban(subject, self._runtime.clock.wall() + span)
        self._note(request, "ban.added", subject, {"until": utc(ban.until)})
        await self._runtime.persistence.ban(subject)
        return web.json_response(_ban(ban))

    async def lift_ban(self, request: web.Request) -> web.Response:
        subject = self._banned(request).subject
        del self._runtime.directory.bans[subject]
        self._note(request, "ban.lifted", subject)
        await self._runtime.persistence.ban(subject)
        return web.Response(status=204)

    def _banned(self, request: web.Request) -> Ban:
        ban = self._runtime.directory.bans.get(_subject(request))
        if ban is None:
            fail(404, "no_such_ban", "nobody of this name is banned")
        return ban


def _subject(request: web.Request) -> str:
    """Who is banned: an account, with `/` and its home where that is another server, or an address."""
    text = request.match_info["subject"].lower()
    if not all(is_id(part) for part in text.split("/", 1)):
        fail(422, "bad_field", "subject: expected an account or an address")
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _group(name: str, group: Group) -> dict[str, Any]:
    return {"group": name, "accounts": list(group.accounts), "permanent": group.permanent}


def _ban(ban: Ban) -> dict[str, Any]:
    return {"subject": ban.subject, "until": utc(ban.until)}
