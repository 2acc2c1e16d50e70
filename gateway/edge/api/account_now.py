"""The API about what is known of one account at this instant, whether it is registered or not."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.admission.bans import BanSubject
from gateway.core.counting.session import account_and_home
from gateway.edge.api.accounts import groups_of
from gateway.edge.api.pro import ProDocument, pro_document, pro_pool
from gateway.edge.api.responses import HOME, named_identity, utc_text
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import Count, HomeOrNull, Id, Time
from gateway.edge.server.runtime import Runtime


class AccountNowDocument(TypedDict):
    """What an account is and holds at this instant; all of it is empty for one that nobody has heard of."""

    account: Id
    home: HomeOrNull
    connections: Count
    registered: bool
    tokens: Count
    groups: list[str]
    banned_until: Time | None
    pro: Annotated[ProDocument | None, "Its PRO license."]
    host_since: Annotated[Time | None, "Since when it is a named host."]


@Route(
    "GET",
    "/api/accounts/{account}/now",
    scope=READ,
    summary="What is known of an account at this instant.",
    answer=AccountNowDocument,
    query=(HOME,),
)
async def get_account_now(runtime: Runtime, request: web.Request) -> web.Response:
    """Show it, also for an account that is not registered."""
    who = named_identity(request, runtime.settings.accounts.home)
    account, home = account_and_home(who)
    state = runtime.state
    groups = await groups_of(state.directory, [account])
    ban = state.directory.bans.by_subject.get(BanSubject("account", account, home))
    pool, hosts = pro_pool(runtime), state.host_ledger()
    held = pool.leases.get(who) or pool.reservations.get(who) if pool is not None else None
    host = hosts.pools[hosts.model.start_pool].leases.get(who) if hosts is not None else None
    return web.json_response(
        AccountNowDocument(
            account=account,
            home=home or None,
            connections=len(state.sessions.of_account(who)),
            registered=not home and account in state.directory.accounts,
            tokens=0 if home else len(state.directory.accounts.get(account, ())),
            groups=[] if home else groups[account],
            banned_until=None if ban is None else utc_text(ban.until),
            pro=None if pool is None or held is None else pro_document(pool, account, held),
            host_since=None if host is None else utc_text(host.since),
        )
    )
