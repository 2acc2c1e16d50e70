"""`tallygate group`: lists, sets, shows and deletes groups of accounts, which may hold permanent licenses."""

from __future__ import annotations

import argparse
import json

from gateway import operator_client
from gateway.operator_client import Operator, part, table

HELP = "List, set, show and delete groups of accounts. Permanent licenses take effect at the next redistribution."
EXAMPLES = """\
examples:
  tallygate group set staff ann@example.org bob@example.org
  tallygate group set board --permanent zoe@example.org
  tallygate group list
  tallygate group delete staff
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `group`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list the groups", _list, lists=True)
    change = actions.add("set", "say who is in a group: these accounts, and no others", _set)
    change.add_argument("group", help="name of the group")
    change.add_argument("--permanent", action="store_true", help="ask for permanent PRO licenses for its accounts")
    change.add_argument(
        "--priority", type=int, default=0, help="its accounts come before those of a lower one in lines (default 0)"
    )
    change.add_argument("accounts", metavar="account", nargs="+", help="an account of the group")
    actions.add("show", "show a group", _show, lists=True).add_argument("group", help="name of the group")
    actions.add("delete", "delete a group; its accounts stay", _delete).add_argument("group", help="name of the group")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items = await gateway.items("/api/groups")
    if args.json:
        return json.dumps(items)
    rows = (
        (each["group"], _kind(each["permanent"]), str(each["priority"]), " ".join(each["accounts"])) for each in items
    )
    return table(("group", "licenses", "priority", "accounts"), rows, "there is no group")


async def _set(gateway: Operator, args: argparse.Namespace) -> str:
    told = {"accounts": args.accounts, "permanent": args.permanent, "priority": args.priority}
    made = await gateway.json("PUT", f"/api/groups/{part(args.group)}", told)
    number = len(made["accounts"])
    accounts = "1 account" if number == 1 else f"{number} accounts"
    return f"set {made['group']}: {accounts}, {_kind(made['permanent'])} licenses"


async def _show(gateway: Operator, args: argparse.Namespace) -> str:
    shown = await gateway.json("GET", f"/api/groups/{part(args.group)}")
    if args.json:
        return json.dumps(shown)
    return "\n".join([f"{shown['group']}: {_kind(shown['permanent'])} licenses", *shown["accounts"]])


async def _delete(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/groups/{part(args.group)}")
    return f"deleted {args.group}"


def _kind(permanent: bool) -> str:
    return "permanent" if permanent else "temporary"
