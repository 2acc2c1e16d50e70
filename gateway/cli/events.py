"""`tallygate events`: what happened lately, and what happens, line by line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from gateway import operator_client
from gateway.core.event_kinds import KINDS
from gateway.edge.server.recent_events import words_of
from gateway.operator_client import Document, Operator, OperatorError

HELP = "Show what happened lately, the oldest first; with --follow go on with what happens."
EXAMPLES = f"""\
examples:
  tallygate events
  tallygate events --since 10m --kind denied --kind full
  tallygate events --follow
  tallygate events --follow --json | jq .detail

kinds: {", ".join(KINDS)}
"""
RETRY = 1.0
"""Seconds after which a gateway that has gone is asked again."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `events`."""
    parser.add_argument(
        "--kind", metavar="K", action="append", choices=KINDS, help="only events of this kind; may be given again"
    )
    parser.add_argument("--since", metavar="WHEN", help="so long ago, or RFC 3339; --follow begins with it too")
    parser.add_argument("--follow", action="store_true", help="go on with what happens, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args, _follow if args.follow else _list)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    kinds = ",".join(args.kind) if args.kind else None
    dropped = 0
    async for page in gateway.documents("/api/events", kind=kinds, since=args.since):
        dropped = page["dropped"]
        for each in page["items"]:
            _print(each, args)
    if dropped and not args.json:
        print(f"{dropped} events before these are not in memory any more", file=sys.stderr)
    return ""


async def _follow(gateway: Operator, args: argparse.Namespace) -> str:
    """Print events as they happen. After a lost connection the gateway is asked again for all since the last one."""
    kinds, last, since, gone = ",".join(args.kind) if args.kind else None, None, args.since, ""
    while True:
        try:
            async for id, data in gateway.events("/api/events", last, follow="true", kind=kinds, since=since):
                gone, last = "", id or last
                if "dropped" in data:
                    print(f"{data['dropped']} events were dropped: more happen than are read", file=sys.stderr)
                elif data:
                    _print(data, args)
            fault = f"{gateway.url} ended the stream"
        except OperatorError as error:
            if error.status is not None and error.status < 500:
                raise
            if last is None and error.status is None and not gone:
                raise
            fault = str(error)
        if fault != gone:
            print(f"tallygate events: {fault}; asking again", file=sys.stderr)
        gone = fault
        await asyncio.sleep(RETRY)


def _print(event: Document, args: argparse.Namespace) -> None:
    text = f"{event['time']}  {event['event']:<18} {words_of(event['detail'])}".rstrip()
    print(json.dumps(event) if args.json else text, flush=True)
