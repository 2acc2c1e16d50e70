"""`tallygate usage`: shows who used the pools: by account, device, group, day, week or month.

All figures are the gateway's own, exact, up to now; here they are only formatted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence

from gateway import operator_client
from gateway.cli import document_forms
from gateway.operator_client import Document

HELP = "Show who used the pools of a running gateway, how long, and who was refused."
EXAMPLES = """\
examples:
  tallygate usage
  tallygate usage --since 7d --by group
  tallygate usage --by day --model trueconf
  tallygate usage --by account --csv > who.csv
  tallygate usage --absent
"""

BY = ("account", "device", "group", "day", "week", "month")
PATIENCE = 60.0
"""Seconds that a request may take: what is not written yet is written first."""
NAMES = ("account", "home", "device", "address", "group", "begins")
FIELDS = (
    *NAMES, "users", "guests", "days", "first", "last", "connected_seconds", "sessions", "most_sessions", "model",
    "pool", "pool_days", "seat_seconds", "peak", "grants", "denials", "true_denials", "seated", "mean_time_to_seat",
    "max_time_to_seat",
)  # fmt: skip
"""The columns of `--csv`."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `usage`."""
    document_forms.add_since(parser, "from the day of this time on")
    parser.add_argument("--by", choices=BY, default="account", help="by what use is added up (default %(default)s)")
    parser.add_argument("--model", metavar="NAME", help="a license model (default: the one that decides)")
    parser.add_argument("--absent", action="store_true", help="only the accounts that are known and never came")
    document_forms.add_forms(parser, "one line for each pool, of all models unless one is named")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        document = asyncio.run(_ask(args))
        document_forms.show(args, document, FIELDS, rows, _absent if args.absent else render)
    except operator_client.OperatorError as fault:
        print(f"tallygate usage: {fault}", file=sys.stderr)
        return 1
    return 0


async def _ask(args: argparse.Namespace) -> Document:
    async with operator_client.Operator(args.operator, args.ca, timeout=PATIENCE) as gateway:
        if args.absent:
            return {"items": await gateway.items("/api/usage/absent", since=args.since)}
        model, license = args.model, {}
        if not (args.csv or args.json):
            license = await gateway.json("GET", "/api/license")
            model = model or license["model"]
        found: Document = {}
        cursor: str | None = None
        while not found or cursor is not None:
            page = await gateway.json(
                "GET", "/api/usage", since=args.since, by=args.by, model=model, limit=1000, cursor=cursor
            )
            items = [*found.get("items", []), *page["items"]]
            cursor, found = page["next"], {**page, "items": items}
        if license:
            pools = list(license["models"][model]["pools"])
            found |= {"by": args.by, "model": model, "enforced": model == license["model"], "pools": pools}
        return found


def _absent(document: Document) -> str:
    return "\n".join(item["account"] for item in document["items"])


def rows(document: Document) -> Iterator[Document]:
    """Yield one row for each pool of each item; one that used no pool has a row without one."""
    for item in document["items"]:
        for pool in item.get("pools") or [{}]:
            waited = pool.get("time_to_seat", {})
            yield {
                **item,
                **pool,
                "days": item.get("days"),
                "pool_days": pool.get("days"),
                "mean_time_to_seat": waited.get("mean"),
                "max_time_to_seat": waited.get("max"),
            }


def render(document: Document) -> str:
    """Return the table as plain text: hours connected, and hours of a seat in each pool of one model."""
    pools, by = document["pools"], document["by"]
    counted = by not in {"account", "device"}
    head = [by, *(["device"] if by == "device" else []), *(["users"] if counted else ["days"]), "last seen"]
    head += ["connected", "sessions", *pools, "denied", "true"]
    table = [head, *(_line(item, by, pools, counted=counted) for item in document["items"])]
    left = 2 if by == "device" else 1
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    kind = "decides" if document["enforced"] else "in shadow"
    title = f"{document['first_day']} to {document['last_day']} ({document['timezone']}), {document['model']} ({kind})"
    note = "connected and pools: hours; a seat is charged to whom it was granted. true: refused, and not seated soon."
    return "\n".join([title, "", *lines, "", note])


def _line(item: Document, by: str, pools: Sequence[str], *, counted: bool) -> list[str]:
    used = {pool["pool"]: pool for pool in item["pools"]}
    cells = [str(next((item[name] for name in NAMES if item.get(name)), "-"))]
    if item.get("home"):
        cells = [f"{item['account']} of {item['home']}"]
    if by == "device":
        cells = [cells[0] if item["account"] else "-", item["device"] or item["address"] or "-"]
    elif by == "account" and item["account"] is None:
        cells = ["(guests)"]
    elif by == "group" and item["group"] is None:
        cells = ["(in none)"]
    cells += [str(item["users"] if counted else item["days"]), item["last"], _hours(item["connected_seconds"])]
    cells.append(str(item["sessions"]))
    cells += [_hours(used[pool]["seat_seconds"]) if pool in used else "-" for pool in pools]
    return [
        *cells,
        str(sum(each["denials"] for each in item["pools"])),
        str(sum(each["true_denials"] for each in item["pools"])),
    ]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}"
