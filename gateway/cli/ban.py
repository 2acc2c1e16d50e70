"""`tallygate ban`: lists, adds and lifts bans of accounts, addresses and networks."""

from __future__ import annotations

import argparse
import json

from gateway import operator_client
from gateway.cli.argument_kinds import duration
from gateway.core.admission.bans import KINDS
from gateway.operator_client import Operator, home_argument, part, table, who

HELP = "List, add and lift bans of accounts, addresses and networks. Whoever is connected and banned is sent away."
EXAMPLES = """\
examples:
  tallygate ban list
  tallygate ban add ann@example.org --for 2h
  tallygate ban add 192.0.2.7 --for 30d
  tallygate ban add 2001:db8::/32 --for 30d
  tallygate ban add ann@example.org --home partner.example --for 2h
  tallygate ban lift ann@example.org
"""

NAMES = {"account": "account", "guests": "guests from", "address": "address", "network": "network"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `ban`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list the bans", _list, lists=True)
    add = actions.add("add", "keep an account, an address or a network out for a while", _add)
    lift = actions.add("lift", "let somebody in again", _lift)
    for each in (add, lift):
        each.add_argument("subject", help="an account, an address, or a network such as 192.0.2.0/24")
        each.add_argument("--kind", choices=KINDS, help="what it is; told apart by its form, unless it is given")
        home_argument(each)
    add.add_argument("--for", dest="span", metavar="TIME", type=duration, required=True, help="how long, such as 2h")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items = await gateway.items("/api/bans")
    if args.json:
        return json.dumps(items)
    rows = ((who(each["subject"], each["home"]), each["kind"], each["until"]) for each in items)
    return table(("banned", "kind", "until"), rows, "nobody is banned")


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    path, told = f"/api/bans/{part(args.subject)}", {"for": args.span}
    made = await gateway.json("PUT", path, told, home=args.home, kind=args.kind)
    number = made["kicked"]
    closed = f"; closed {number} session{'' if number == 1 else 's'}" if number else ""
    return f"{NAMES[made['kind']]} {who(made['subject'], made['home'])} is banned until {made['until']}{closed}"


async def _lift(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/bans/{part(args.subject)}", home=args.home, kind=args.kind)
    return f"{who(args.subject, args.home)} is no longer banned"
