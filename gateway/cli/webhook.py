"""`tallygate webhook`: shows the webhooks of a running gateway, and tests one."""

from __future__ import annotations

import argparse
import asyncio
import json

from gateway import operator_client
from gateway.operator_client import Document, Operator, OperatorError, part, table

HELP = "Show where events are posted to, what became of them, and test a receiver."
EXAMPLES = """\
examples:
  tallygate webhook list
  tallygate webhook test billing

A webhook is a table [[webhook]] of the configuration; gateway/PROTOCOL.md, Webhooks, says what is posted.
"""
LOOKS, PAUSE = 60, 0.25
"""How often, and after how many seconds each, it is looked whether a test was taken."""
HEADINGS = ("webhook", "waiting", "delivered", "dropped", "requests", "failed", "last delivered", "trouble")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `webhook`."""
    actions = operator_client.Actions(parser)
    actions.add("list", "list webhooks, and what became of events since the start", _list, lists=True)
    test = actions.add("test", "post an event `act.webhook.tested`, and say whether it was taken", _test)
    test.add_argument("name", help="name of the webhook, or its place")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return operator_client.act(args)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    found = await gateway.items("/api/webhooks")
    if args.json:
        return json.dumps(found)
    rows = (
        (
            each["name"], each["waiting"], each["delivered"], each["dropped"], each["taken"], each["failed"],
            each["last_delivered"] or "-", each["trouble"] or "-",
        )
        for each in found
    )  # fmt: skip
    return table(HEADINGS, rows, "no webhooks")


async def _test(gateway: Operator, args: argparse.Namespace) -> str:
    before = await _webhook(gateway, args.name)
    id = (await gateway.json("POST", f"/api/webhooks/{part(args.name)}/test"))["id"]
    for _ in range(LOOKS):
        now = await _webhook(gateway, args.name)
        if now["last_id"] == id or (now["taken"] > before["taken"] and not now["waiting"]):
            return f"{now['url']} has taken it"
        if now["failed"] > before["failed"]:
            raise OperatorError(f"{now['url']} has not taken it, and is asked again: {now['trouble']}")
        await asyncio.sleep(PAUSE)
    raise OperatorError(f"{now['url']} has not taken it yet; {now['waiting']} events wait, and it is asked again")


async def _webhook(gateway: Operator, name: str) -> Document:
    found = {each["name"]: each for each in await gateway.items("/api/webhooks")}
    if name not in found:
        raise OperatorError(f"there is no webhook {name}, only {', '.join(found) or 'none at all'}")
    return found[name]
