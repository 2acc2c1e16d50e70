"""`tallygate token`: makes, lists and revokes the tokens by which operators and clients prove who they are.

A secret is printed once and kept nowhere. A new one does not end the old ones: add, hand out, then revoke. The sessions
of a client end with the token that proved them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from gateway import operator_client
from gateway.core.admission.directory import Token
from gateway.core.formats import utc
from gateway.core.names import is_name, normalized
from gateway.edge.storage.audit_log import is_reserved
from gateway.edge.storage.offline_store import offline_store
from gateway.edge.storage.store import StoreRefused, StoreUnavailable
from gateway.operator_client import Operator, part, table

HELP = "Make, list and revoke the tokens of operators, and of accounts with --account."
EXAMPLES = """\
examples:
  tallygate token add ops --scope admin
  tallygate token add prometheus --scope read
  tallygate token add ops --scope admin --store tallygate.db     before the gateway runs
  tallygate token add --account ann@example.org                  a client's token
  tallygate token list
  tallygate token list --account ann@example.org
  tallygate token revoke ops 0f3ac2d19b77                        one; without a fingerprint all of them
  tallygate token revoke --account ann@example.org 0f3ac2d19b77
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `token`."""
    actions = operator_client.Actions(parser)
    add = actions.add("add", "make a token and print it, once", _add)
    add.add_argument("name", nargs="?", help="name of the operator")
    add.add_argument("--scope", choices=("read", "admin"), help="what an operator's token is good for")
    add.set_defaults(once="the new token is lost: make another, and revoke the lost one, the latest of `token list`")
    shown = actions.add("list", "list tokens by their fingerprints", _list, lists=True)
    revoke = actions.add("revoke", "revoke one token, or all of an operator", _revoke)
    revoke.add_argument("name", nargs="?", help="name of the operator; the fingerprint, with --account")
    revoke.add_argument("fingerprint", nargs="?", help="which token, as the list shows it")
    for each in (add, shown, revoke):
        each.add_argument("--account", metavar="A", help="the tokens of this account, not of an operator")
        each.add_argument("--store", metavar="FILE", type=Path, help="work on a store that no gateway holds")
        each.set_defaults(parser=each)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    _check(args)
    if args.store is None:
        return operator_client.act(args)
    new = not args.store.exists()
    print(asyncio.run(_offline(args)), flush=True)
    if new:
        print(f"{args.store}: there was no store, a new one was made", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, as wrong usage."""
    name = getattr(args, "name", None)
    if args.account is not None and args.store is not None:
        args.parser.error("--account needs a running gateway, without --store")
    if args.work is _add:
        if (name is None) == (args.account is None):
            args.parser.error("either the name of an operator or --account is needed")
        if (args.scope is None) == (name is not None):
            args.parser.error("--scope is needed for an operator, and no account has one")
    if args.work is _revoke:
        if name is None:
            args.parser.error("a fingerprint is needed with --account" if args.account else "a name is needed")
        if args.account is not None and args.fingerprint is not None:
            args.parser.error("--account and one fingerprint, no name")


# -- through the operator port -----------------------------------------------------------------------------------------


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    if args.account is not None:
        made = await gateway.json("POST", f"/api/accounts/{part(args.account)}/token")
    else:
        made = await gateway.json("POST", f"/api/tokens/{part(args.name)}", {"scope": args.scope})
    return str(made["token"])


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    if args.account is not None:
        tokens = (await gateway.json("GET", f"/api/accounts/{part(args.account)}"))["tokens"]
        return _listing(args, [{"name": args.account, "tokens": tokens}])
    return _listing(args, await gateway.items("/api/tokens"))


async def _revoke(gateway: Operator, args: argparse.Namespace) -> str:
    if args.account is not None:
        await gateway.json("DELETE", f"/api/accounts/{part(args.account)}/token/{part(args.name)}")
        return f"revoked {args.name} of {args.account}"
    steps = [part(each) for each in (args.name, args.fingerprint) if each is not None]
    await gateway.json("DELETE", f"/api/tokens/{'/'.join(steps)}")
    return f"revoked {args.fingerprint or 'every token'} of {args.name}"


def _listing(args: argparse.Namespace, items: list[dict[str, Any]]) -> str:
    if args.json:
        return json.dumps(items)
    rows = (
        (each["name"], token.get("scope", "client"), token["fingerprint"], token["created"])
        for each in items
        for token in each["tokens"]
    )
    return table(("name", "scope", "fingerprint", "created"), rows, "there is no token")


# -- on a file ---------------------------------------------------------------------------------------------------------


async def _offline(args: argparse.Namespace) -> str:
    try:
        async with offline_store(args.store, new=args.work is _add) as store:
            if args.work is _add:
                if not is_name(args.name) or is_reserved(normalized(args.name)):
                    raise SystemExit(f"{args.name}: no name for an operator")
                return await store.appoint(normalized(args.name), args.scope)
            if args.work is _list:
                return _listing(args, [_shown(*each) for each in sorted(store.directory.operators.items())])
            if not await store.dismiss(normalized(args.name), args.fingerprint):
                raise SystemExit("no operator has this token")
            return f"revoked {args.fingerprint or 'every token'} of {args.name}"
    except (StoreRefused, StoreUnavailable, OSError) as fault:
        raise SystemExit(str(fault)) from None


def _shown(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    """An operator as the operator port shows it."""
    shown = [{"fingerprint": each.fingerprint, "scope": each.scope, "created": utc(each.created)} for each in tokens]
    return {"name": name, "tokens": shown}
