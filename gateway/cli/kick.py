"""`tallygate kick`: closes a session, or every session of an account, and may keep it out for a while."""

from __future__ import annotations

import argparse
import asyncio
import sys

from gateway import operator_client
from gateway.cli.argument_kinds import duration
from gateway.operator_client import part, who

HELP = "Close a session, or all sessions of an account. The client is told `kicked` and does not come back by itself."
EXAMPLES = """\
examples:
  tallygate kick s-5f0c1a
  tallygate kick --account ann@example.org
  tallygate kick --account ann@example.org --ban 5m
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `kick`."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("session", nargs="?", help="id of the session, as the list of connections shows it")
    who.add_argument("--account", metavar="A", help="close every session of this account instead")
    operator_client.home_argument(parser)
    parser.add_argument("--ban", metavar="TIME", type=duration, help="refuse who was kicked for so long, such as 5m")
    operator_client.arguments(parser)
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if args.home is not None and args.account is None:
        args.parser.error("--home needs --account")
    try:
        print(asyncio.run(_kick(args)))
    except operator_client.OperatorError as fault:
        print(f"tallygate kick: {fault}", file=sys.stderr)
        return 1
    return 0


async def _kick(args: argparse.Namespace) -> str:
    banned = f", banned for {args.ban}" if args.ban else ""
    async with operator_client.Operator(args.operator, args.ca) as gateway:
        if args.account is None:
            path = f"/api/connections/{part(args.session)}"
            try:
                await gateway.json("DELETE", path, ban=args.ban)
            except operator_client.OperatorError as fault:
                if fault.status == 404:
                    raise operator_client.OperatorError(f"there is no session {args.session}", 404) from None
                raise
            return f"closed session {args.session}{banned}"
        path = f"/api/accounts/{part(args.account)}/connections"
        number = (await gateway.json("DELETE", path, ban=args.ban, home=args.home))["kicked"]
        name = who(args.account, args.home)
        if not number and args.ban is None:
            raise operator_client.OperatorError(f"nobody is connected as {name}")
        return f"closed {number} session{'' if number == 1 else 's'} of {name}{banned}"
