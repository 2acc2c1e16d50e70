"""The API about groups of accounts."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from aiohttp import web

from gateway.core.admission.commands import DeleteGroup, PutGroup
from gateway.core.admission.directory import Group
from gateway.core.names import folded, is_account
from gateway.edge.api.acts import act
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import body, done, fail, field, named, only
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import BOOLEAN, ID, Id, record, several, whole
from gateway.edge.server.runtime import Runtime

HIGHEST_PRIORITY = 1000
"""The highest priority of a group."""


class GroupDocument(TypedDict):
    """A group; `permanent` asks for permanent PRO licenses for its accounts."""

    group: Id
    accounts: list[Id]
    permanent: bool
    priority: Annotated[int, "Accounts of a higher one come first in lines, where `license.queue_order` says so."]


@Route("GET", "/api/groups", scope=READ, summary="The groups.", answer=Page[GroupDocument], query=PAGED)
async def list_groups(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    return await listed(request, runtime.state.directory.groups, _document, lambda group: len(group.accounts))


@Route(
    "GET",
    "/api/groups/{group}",
    scope=READ,
    summary="A group.",
    answer=GroupDocument,
    statuses=(404,),
)
async def get_group(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one."""
    name = named(request, "group")
    group = runtime.state.directory.groups.get(name)
    if group is None:
        fail(404, "no_such_group", "no group has this name")
    return web.json_response(_document(name, group))


@Route(
    "PUT",
    "/api/groups/{group}",
    scope=ADMIN,
    summary="Say who is in a group.",
    answer=GroupDocument,
    body=record(
        *("accounts", "permanent", "priority"),
        accounts=several(ID),
        permanent=BOOLEAN,
        priority=whole(maximum=HIGHEST_PRIORITY),
    ),
    statuses=(409, 503),
)
async def put_group(runtime: Runtime, request: web.Request) -> web.Response:
    """Make a group, or change it."""
    name, group = named(request, "group"), _read(await body(request))
    await act(runtime, request, PutGroup(name, *group))
    return web.json_response(_document(name, group))


def _read(told: dict[str, Any]) -> Group:
    """The group that a body describes, each account once and without case."""
    only(told, "accounts", "permanent", "priority")
    accounts: list[Any] = field(told, "accounts", list, [])
    if not all(is_account(account) for account in accounts):
        fail(422, "bad_field", "accounts: expected a list of account names")
    permanent = field(told, "permanent", bool, False)
    priority = told.get("priority", 0)
    if isinstance(priority, bool) or priority not in range(HIGHEST_PRIORITY + 1):
        fail(422, "bad_field", f"priority: expected an integer from 0 to {HIGHEST_PRIORITY}")
    return Group(tuple(dict.fromkeys(folded(account) for account in accounts)), permanent, int(priority))


@Route(
    "DELETE",
    "/api/groups/{group}",
    scope=ADMIN,
    summary="Delete a group; its accounts stay.",
    statuses=(404, 503),
)
async def delete_group(runtime: Runtime, request: web.Request) -> web.Response:
    """Forget a group."""
    name = named(request, "group")
    await act(runtime, request, DeleteGroup(name))
    return done()


def _document(name: str, group: Group) -> GroupDocument:
    return {
        "group": name,
        "accounts": list(group.accounts),
        "permanent": group.permanent,
        "priority": group.priority,
    }
