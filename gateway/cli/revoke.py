"""`tallygate revoke`: ends the temporary PRO license of an account at once."""

from __future__ import annotations

import argparse

from gateway import operator_client
from gateway.operator_client import Operator, part, who

HELP = "End the temporary PRO license of an account at once; it is taken out of the conferences that need it."
EXAMPLES = """\
examples:
  tallygate revoke ann@example.org
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `revoke`."""
    parser.add_argument("account", help="who holds the license")
    operator_client.home_argument(parser)
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args, _revoke)


async def _revoke(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/pro/{part(args.account)}", home=args.home)
    return f"revoked the PRO license of {who(args.account, args.home)}"
