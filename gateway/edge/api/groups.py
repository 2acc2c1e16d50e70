"""The API about groups of accounts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.directory import Group
from gateway.core.formats import is_id
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import body, fail, field, listed, named, only
from gateway.edge.server.runtime import Runtime


def group_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    groups = _Groups(runtime)
    return [
        web.get("/api/groups", groups.groups),
        web.put("/api/groups/{group}", groups.put_group),
        web.get("/api/groups/{group}", groups.get_group),
        web.delete("/api/groups/{group}", groups.delete_group),
    ]


class _Groups:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

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


def _group(name: str, group: Group) -> dict[str, Any]:
    return {"group": name, "accounts": list(group.accounts), "permanent": group.permanent}
