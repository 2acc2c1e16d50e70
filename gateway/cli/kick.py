"""`tallygate kick`: closes a session, or every session of an account, and may keep it out for a while."""

from __future__ import annotations

import argparse
import asyncio
import sys
from urllib.parse import quote

from gateway import operator_client
from gateway.cli.argument_kinds import duration

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
    parser.add_argument("--ban", metavar="TIME", type=duration, help="refuse who was kicked for so long, such as 5m")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        print(asyncio.run(_kick(args)))
    except operator_client.OperatorError as fault:
        print(f"tallygate kick: {fault}", file=sys.stderr)
        return 1
    return 0


async def _kick(args: argparse.Namespace) -> str:
    banned = f", banned for {args.ban}" if args.ban else ""
    async with operator_client.Operator(args.operator) as gateway:
        if args.account is None:
            path = f"/api/connections/{quote(args.session, safe='')}"
            try:
                await gateway.json("DELETE", path, ban=args.ban)
            except operator_client.OperatorError as fault:
                if fault.status == 404:
                    raise operator_client.OperatorError(f"there is no session {args.session}", 404) from None
                raise
            return f"closed session {args.session}{banned}"
        answer = await gateway.json("DELETE", f"/api/accounts/{quote(args.account, safe='')}/connections", ban=args.ban)
        number = answer if isinstance(answer, int) else next((n for n in (answer or {}).values()), 0)
        if not number and args.ban is None:
            raise operator_client.OperatorError(f"nobody is connected as {args.account}")
        return f"closed {number} session{'' if number == 1 else 's'} of {args.account}{banned}"
