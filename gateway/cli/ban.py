"""`tallygate ban`: lists, adds and lifts bans of accounts and of addresses."""

from __future__ import annotations

import argparse
import json

from gateway import operator_client
from gateway.cli.argument_kinds import duration
from gateway.operator_client import Operator, part, table

HELP = "List, add and lift bans of accounts, and of addresses of guests. A ban closes nothing: see `kick --ban`."
EXAMPLES = """\
examples:
  tallygate ban list
  tallygate ban add ann@example.org --for 2h
  tallygate ban add 192.0.2.7 --for 30d
  tallygate ban lift ann@example.org
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `ban`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list the bans", _list, lists=True)
    add = actions.add("add", "keep an account or an address out for a while", _add)
    add.add_argument("subject", help="an account, or the address of guests")
    add.add_argument("--for", dest="span", metavar="TIME", type=duration, required=True, help="how long, such as 2h")
    actions.add("lift", "let somebody in again", _lift).add_argument("subject", help="who is banned")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items = await gateway.items("/api/bans")
    if args.json:
        return json.dumps(items)
    return table(("banned", "until"), ((each["subject"], each["until"]) for each in items), "nobody is banned")


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    made = await gateway.json("PUT", f"/api/bans/{part(args.subject)}", {"for": args.span})
    return f"{made['subject']} is banned until {made['until']}"


async def _lift(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/bans/{part(args.subject)}")
    return f"{args.subject} is no longer banned"
