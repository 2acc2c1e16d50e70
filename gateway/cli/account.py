"""`tallygate account`: lists, registers, shows and deletes accounts."""

from __future__ import annotations

import argparse
import json

from gateway import operator_client
from gateway.operator_client import Operator, part, table

HELP = "List, register, show and delete accounts."
EXAMPLES = """\
examples:
  tallygate account add ann@example.org
  tallygate token add --account ann@example.org
  tallygate account show ann@example.org
  tallygate account list --json
  tallygate account delete ann@example.org      its sessions are closed, its licenses run out
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `account`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list the registered accounts", _list, lists=True)
    for name, does, work in (
        ("add", "register an account", _add),
        ("show", "show an account and its tokens", _show),
        ("delete", "delete an account, close its sessions, let its licenses run out", _delete),
    ):
        actions.add(name, does, work, lists=name == "show").add_argument("account", help="name of the account")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items = await gateway.items("/api/accounts")
    if args.json:
        return json.dumps(items)
    rows = ((each["account"], each["connections"], len(each["tokens"]), " ".join(each["groups"])) for each in items)
    return table(("account", "connections", "tokens", "groups"), rows, "no account is registered")


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    made = await gateway.json("PUT", f"/api/accounts/{part(args.account)}")
    return f"registered {made['account']}"


async def _show(gateway: Operator, args: argparse.Namespace) -> str:
    shown = await gateway.json("GET", f"/api/accounts/{part(args.account)}")
    if args.json:
        return json.dumps(shown)
    connections = shown["connections"]
    lines = [
        f"{shown['account']}: {connections} connection{'' if connections == 1 else 's'}, "
        f"groups: {' '.join(shown['groups']) or 'none'}",
        table(
            ("token", "created"),
            ((token["fingerprint"], token["created"]) for token in shown["tokens"]),
            "no token",
        ),
    ]
    return "\n".join(lines)


async def _delete(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/accounts/{part(args.account)}")
    return f"deleted {args.account}"
