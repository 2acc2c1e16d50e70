"""`tallygate status`: shows how full the pools are, as `lmstat -a` does.

The documents of the gateway are rendered as they are: nothing that the gateway counts is computed here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import textwrap

from gateway import operator_client
from gateway.cli.argument_kinds import pause
from gateway.core.formats import duration_text
from gateway.operator_client import Document

HELP = "Show pools, connections, conferences and the registration of a running gateway."
EXAMPLES = """\
examples:
  tallygate status
  tallygate status --watch
  tallygate status --watch 0.5 --operator http://127.0.0.1:4311
  tallygate status --json
"""

SEARCHED, HOLDERS = 200, 20
"""Sessions that are asked for, and holders of seats that are shown."""
WIDTH = 80
_COLUMNS = ("used", "limit", "available", "reserved", "high water", "denied")
_HOME, _REST_OF_LINE, _REST_OF_SCREEN, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `status`."""
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        const=2.0,
        type=pause,
        help="show it again every so many seconds (default 2) until Ctrl-C, through restarts of the gateway",
    )
    parser.add_argument("--json", action="store_true", help="the documents of the gateway, one line each time")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        asyncio.run(_show(args))
    except operator_client.OperatorError as fault:
        print(f"tallygate status: {fault}", file=sys.stderr)
        return 1
    return 0


async def _show(args: argparse.Namespace) -> None:
    """Show it once, or again and again: then a gateway that does not answer for a while ends nothing."""
    show = _redraw if args.watch is not None and not args.json and sys.stdout.isatty() else _print
    async with operator_client.Operator(args.operator, args.ca) as gateway:
        document = await gather(gateway)
        if show is _redraw:
            sys.stdout.write(_CLEAR)
        fault: str | None = None
        while True:
            if fault is None:
                show(json.dumps(document) if args.json else render(document))
            if args.watch is None:
                return
            await asyncio.sleep(args.watch)
            before = fault
            try:
                document, fault = await gather(gateway), None
            except operator_client.OperatorError as error:
                if error.status is not None and error.status < 500:
                    raise
                fault = str(error)
            if fault is not None and fault != before:
                _complain(fault, redraw=show is _redraw)


def _print(text: str) -> None:
    print(text, flush=True)


def _redraw(text: str) -> None:
    """Draw the text over the one before, cut to what the terminal can show."""
    columns, lines = shutil.get_terminal_size()
    shown = [line[:columns] for line in text.splitlines()]
    if len(shown) >= lines:
        shown[lines - 2 :] = [f"... {len(shown) - lines + 2} more lines"[:columns]]
    sys.stdout.write(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in shown) + _REST_OF_SCREEN)
    sys.stdout.flush()


def _complain(fault: str, *, redraw: bool) -> None:
    """Say that the gateway does not answer; on a terminal in the first line, above what was seen last."""
    if redraw:
        columns, _ = shutil.get_terminal_size()
        sys.stdout.write(_HOME + fault[:columns] + _REST_OF_LINE)
        sys.stdout.flush()
    else:
        print(f"tallygate status: {fault}", file=sys.stderr)


async def gather(gateway: operator_client.Operator) -> Document:
    """Return what is shown: `license` and `cluster`, as `GET /api/...` gives them; how many `connections` and
    `conferences` there are, and how many connections are `asleep` or `idle`; and the first `SEARCHED` `sessions`.
    """
    sessions = await gateway.json("GET", "/api/connections", limit=SEARCHED)
    counted = await gateway.json("GET", "/api/connections/count")
    return {
        "operator": gateway.url,
        "license": await gateway.json("GET", "/api/license"),
        "cluster": await gateway.json("GET", "/api/cluster"),
        "connections": counted["count"],
        "asleep": counted["asleep"],
        "idle": counted["idle"],
        "conferences": len(await gateway.items("/api/conferences")),
        "sessions": sessions["items"],
    }


def render(document: Document) -> str:
    """Return the status as plain text; within 80 columns for any count below a million."""
    terms: Document = document["license"]
    models: dict[str, Document] = terms.get("models", {})
    edition = f" {terms['edition']}" if terms.get("edition") else ""
    mode = "enforced" if terms.get("enforce", True) else "counted only, not enforced"
    lines = [
        f"{document['operator']}: {terms.get('model')}{edition}, {mode}",
        f"connections {document['connections']}{_resting(document)}   conferences {document['conferences']}",
        *_registration(terms.get("registration") or {}),
        *_cluster(document.get("cluster") or {}),
        "",
    ]
    rows: list[tuple[str, ...]] = [("", *_COLUMNS)]
    for model in sorted(models, key=lambda name: (name != terms.get("model"), name)):
        rows.append((f"{'*' if model == terms.get('model') else ' '} {model}",))
        rows.extend((f"    {pool}", *_cells(counts)) for pool, counts in models[model]["pools"].items())
    names = max(len(row[0]) for row in rows)
    widths = [max(len(row[column]) for row in rows if len(row) > 1) for column in range(1, len(rows[0]))]
    for name, *cells in rows:
        line = name.ljust(names) + "".join("  " + c.rjust(w) for c, w in zip(cells, widths, strict=False))
        lines.append(line.rstrip())
    pools: dict[str, Document] = models.get(str(terms.get("model")), {}).get("pools", {})
    lines += _rules(pools)
    lines += _counted("kept for those who come back", "returning", pools)
    lines += _counted("waiting in line", "waiting", pools)
    lines += ["", "* decides who is admitted; the others count the same traffic in its shadow"]
    lines += _holders(document.get("sessions", []), document["connections"])
    return "\n".join(lines)


def _resting(document: Document) -> str:
    """How many of the connections sleep or are idle, if any are."""
    counts = [f"{document[name]} {name}" for name in ("asleep", "idle") if document.get(name)]
    return f" ({', '.join(counts)})" if counts else ""


def _counted(title: str, name: str, pools: dict[str, Document]) -> list[str]:
    """A figure of the pools of the enforced model that seldom is anything but 0."""
    counts = ((pool, counts.get(name, 0)) for pool, counts in pools.items())
    told = ", ".join(f"{pool} {count}" for pool, count in counts if count)
    return ["", f"{title}: {told}"] if told else []


def _rules(pools: dict[str, Document]) -> list[str]:
    """The rules for seats of the enforced model, if there are any."""
    rows = [
        (
            pool,
            each["name"],
            str(each["used"]),
            "-" if each["limit"] is None else f"{each['limit']}" + (f" each {each['each']}" if each["each"] else ""),
            f"{each['kept']} of {each['reserve']}" if each["reserve"] else "-",
        )
        for pool, counts in pools.items()
        for each in counts.get("rules", ())
    ]
    return ["", operator_client.table(("pool", "rule", "used", "at most", "kept free"), rows, "")] if rows else []


def _holders(sessions: list[Document], connections: int) -> list[str]:
    """Who holds seats of the enforced model, the longest connected first; a screenful."""
    holders = [each for each in sessions if each["seats"]]
    if not holders:
        return []
    rows = (
        (
            operator_client.who(each["account"], each["home"]) if each["account"] else f"({each['kind']})",
            each["device"] or each["address"],
            each["since"],
            " ".join(each["seats"]),
        )
        for each in holders[:HOLDERS]
    )
    more = connections - min(len(holders), HOLDERS)
    rest = [f"... and {more} more sessions: GET /api/connections lists all"] if more > 0 else []
    return ["", operator_client.table(("account", "device", "since", "seats"), rows, ""), *rest]


def _cells(pool: Document) -> tuple[str, ...]:
    used = str(pool.get("used", 0))
    if pool.get("overdraft_used"):
        used += f" (+{pool['overdraft_used']})"
    limit, available = pool.get("limit"), pool.get("available")
    return (
        used,
        "-" if limit is None else str(limit),
        "-" if available is None else str(available),
        str(pool.get("reserved", 0)),
        str(pool.get("high_water", 0)),
        str(pool.get("denied", 0)),
    )


def _cluster(cluster: Document) -> list[str]:
    if cluster.get("state", "off") == "off":
        return []
    lines = [f"cluster node {cluster['name']} is {cluster['state']}, {cluster['lag_seconds']:.1f} s behind"]
    if cluster["mismatches"]:
        lines.append("  nodes have come to different states")
    return [*lines, *(f"  {_node(each)}" for each in cluster["nodes"])]


def _node(node: Document) -> str:
    sessions = f"{node['connections']} session{'' if node['connections'] == 1 else 's'}"
    told = f"{sessions}, {node['lag_seconds']:.1f} s behind, heard {node['silent_seconds']:.1f} s ago"
    return f"node {node['name']}: {told}{', leads' if node['leader'] else ''}"


def _registration(registration: Document) -> list[str]:
    state = registration.get("state")
    if state in {None, "off"}:
        return []
    reason = f": {registration['reason']}" if registration.get("reason") else ""
    lines = textwrap.wrap(f"registration {state}{reason}", WIDTH, subsequent_indent="  ")
    end, left = registration.get("shutdown_at"), registration.get("seconds_left")
    if end and state != "expired":
        lines.append(
            f"  service ends at {end}" + (f", in {duration_text(left)}" if left else "") + ", unless verified before"
        )
    return lines
