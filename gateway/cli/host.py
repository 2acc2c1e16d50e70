"""`tallygate host`: lists, names and releases the named hosts of Nefsis licensing."""

from __future__ import annotations

import argparse
import json

from gateway import operator_client
from gateway.operator_client import Operator, home_argument, part, table, who

HELP = "List, name and release the hosts of Nefsis licensing. A name stays taken until it is removed here."
EXAMPLES = """\
examples:
  tallygate host list
  tallygate host add ann@example.org
  tallygate host remove ann@example.org
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `host`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list the named hosts", _list, lists=True)
    add = actions.add("add", "make an account a named host", _add)
    for each in (add, actions.add("remove", "free the name of a host", _remove)):
        each.add_argument("account", help="name of the account")
        home_argument(each)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items = await gateway.items("/api/hosts")
    if args.json:
        return json.dumps(items)
    rows = ((who(each["account"], each["home"]), each["since"], "yes" if each["hosting"] else "no") for each in items)
    return table(("host", "since", "hosting now"), rows, "no host is named")


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    made = await gateway.json("PUT", f"/api/hosts/{part(args.account)}", home=args.home)
    return f"{who(made['account'], made['home'])} is a named host since {made['since']}"


async def _remove(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/hosts/{part(args.account)}", home=args.home)
    return f"{who(args.account, args.home)} is no named host any more"
