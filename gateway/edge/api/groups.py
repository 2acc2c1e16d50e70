"""The API about groups of accounts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.commands import DeleteGroup, PutGroup
from gateway.core.admission.directory import Group
from gateway.core.formats import is_id
from gateway.edge.api.acts import act
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

    async def groups(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.state.directory.groups, _group)

    async def put_group(self, request: web.Request) -> web.Response:
        name = named(request, "group")
        told = await body(request)
        only(told, "accounts", "permanent")
        accounts: list[Any] = field(told, "accounts", list, [])
        if not all(is_id(account) for account in accounts):
            fail(422, "bad_field", "accounts: expected a list of account names")
        permanent = field(told, "permanent", bool, False)
        folded = tuple(account.lower() for account in accounts)
        await act(self._runtime, request, PutGroup(name, folded, permanent))
        return web.json_response(_group(name, Group(tuple(dict.fromkeys(folded)), permanent)))

    async def get_group(self, request: web.Request) -> web.Response:
        name = named(request, "group")
        group = self._runtime.state.directory.groups.get(name)
        if group is None:
            fail(404, "no_such_group", "no group has this name")
        return web.json_response(_group(name, group))

    async def delete_group(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, DeleteGroup(named(request, "group")))
        return web.Response(status=204)


def _group(name: str, group: Group) -> dict[str, Any]:
    return {"group": name, "accounts": list(group.accounts), "permanent": group.permanent}
