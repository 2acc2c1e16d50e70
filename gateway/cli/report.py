"""`tallygate report`: shows how the pools were used, what was denied, and how many seats would have been enough.

All figures are the gateway's own, exact, from its history; here they are only formatted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gateway import operator_client
from gateway.cli import document_forms
from gateway.core.counting.license_model import FORGOTTEN
from gateway.operator_client import Document

HELP = "Show use, denials and sizing of a running gateway over a time."
EXAMPLES = """\
examples:
  tallygate report
  tallygate report --since 7d
  tallygate report --since 2026-11-01T00:00:00Z --csv > november.csv
  tallygate report --json
"""

WIDTH = 80
PATIENCE = 60.0
"""Seconds that a request may take: a long history is read at leisure, heartbeats go first."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
READING = (
    "full: share of the time at the limit; true: denied, and not seated soon after. The model with * decides who is"
    " admitted; the others count the same traffic in its shadow. A shadow sees only admitted traffic: what the enforced"
    " model turned away is not in its figures, and its denials are what it would have refused."
)
FIELDS = (
    "model", "pool", "enforced", "start", "limit", "seconds", "seat_seconds", "mean", "max", "p50", "p95", "p99",
    "full_seconds", "grants", "denied", "true_denials", "seated", "forgotten", "needed", "erlang_b",
)  # fmt: skip
"""The columns of `--csv`."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `report`."""
    document_forms.add_since(parser, "from when on")
    document_forms.add_forms(parser, "one line for each pool")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        document = asyncio.run(_ask(args))
        document_forms.show(args, document, FIELDS, rows, render)
    except operator_client.OperatorError as fault:
        print(f"tallygate report: {fault}", file=sys.stderr)
        return 1
    return 0


async def _ask(args: argparse.Namespace) -> Document:
    async with operator_client.Operator(args.operator, args.ca, timeout=PATIENCE) as gateway:
        return await gather(gateway, args.since)


async def gather(gateway: operator_client.Operator, since: str) -> Document:
    """Return what is shown: `use` (a pool each, over the whole time) and `sizing` (a model each)."""
    use = await gateway.json("GET", "/api/history", since=since, step="all")
    sizing = await gateway.json("GET", "/api/sizing", since=since)
    return {
        "operator": gateway.url,
        "since": since,
        "use": use["items"],
        "sizing": sizing["items"],
        "share": sizing["share"],
        "patience_seconds": sizing["patience_seconds"],
    }


def rows(document: Document) -> Iterator[Document]:
    """Yield one row for each pool, the enforced model's first."""
    for model in document["sizing"]:
        sized = {pool["pool"]: pool for pool in model["pools"]}
        for use in document["use"]:
            if use["model"] == model["model"]:
                found = sized[use["pool"]]
                needed = found.get("seats_each") if found["seats"] is None else found["seats"]
                yield {
                    **use,
                    "enforced": model["enforced"],
                    "forgotten": use["releases"].get(FORGOTTEN, 0),
                    "needed": needed,
                    "erlang_b": found.get("erlang_b"),
                }


def render(document: Document) -> str:
    """Return the report as plain text, within 80 columns for any count below a hundred thousand."""
    use = list(rows(document))
    watched = max((row["seconds"] for row in use), default=0.0)
    start = min((row["start"] for row in use), default="-")
    lines = [f"{document['operator']}: use since {start}, {_span(watched)} of it watched", ""]
    head = ("", "limit", "peak", "mean", "p50", "p95", "p99", "full", "denied", "true")
    lines += _table(head, use, _use)
    lines += ["", *textwrap.wrap(READING, WIDTH)]
    for row in use:
        if row["forgotten"]:
            lines += textwrap.wrap(f"{row['model']} {row['pool']}: {_forgotten(row)}", WIDTH)
    for row in use:
        if row["enforced"] and row["max"]:
            lines += ["", *_week(row)]
    lines += ["", f"seats that keep true denials under {document['share']:.0%} of the recorded demand, replayed", ""]
    lines += _table(("", "limit", "peak", "needed", "Erlang-B", "demands", "turned away"), _pools(document), _sizing)
    lines += ["", *_notes(document), "", "this traffic under"]
    lines += [f"  {model['says']}" for model in document["sizing"]]
    return "\n".join(lines)


def _table(head: Sequence[str], found: Iterable[Document], cells: Any) -> list[str]:
    table: list[tuple[str, ...]] = [tuple(head)]
    model = None
    for row in found:
        if row["model"] != model:
            model = row["model"]
            table.append((f"{'*' if row['enforced'] else ' '} {model}",))
        table.append((f"  {row['pool']}", *cells(row)))
    names = max(len(row[0]) for row in table if len(row) > 1)
    widths = [max(len(row[column]) for row in table if len(row) > 1) for column in range(1, len(head))]
    return [
        (row[0].ljust(names) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths, strict=False)))
        .rstrip()
        for row in table
    ]  # fmt: skip


def _use(row: Document) -> tuple[str, ...]:
    full = row["full_seconds"] / row["seconds"] if row["seconds"] else 0.0
    return (
        _or_none(row["limit"]),
        str(row["max"]),
        f"{row['mean']:.1f}" if row["mean"] < 1000 else f"{row['mean']:.0f}",
        *(str(row[name]) for name in ("p50", "p95", "p99")),
        "-" if row["limit"] is None else f"{full:.1%}",
        str(row["denied"]),
        str(row["true_denials"]),
    )


def _forgotten(row: Document) -> str:
    number = row["forgotten"]
    seats = "1 seat that nobody held was" if number == 1 else f"{number} seats that nobody held were"
    return f"{seats} forgotten, beyond license.shadow_leases: its use may be too low."


def _pools(document: Document) -> Iterator[Document]:
    for model in document["sizing"]:
        for pool in model["pools"]:
            yield {**pool, "model": model["model"], "enforced": model["enforced"]}


def _sizing(row: Document) -> tuple[str, ...]:
    needed = f"{row['seats_each']} each" if row["seats"] is None else str(row["seats"])
    return (
        _or_none(row["limit"]),
        str(row["peak"]),
        needed,
        _or_none(row.get("erlang_b")),
        _or_none(row.get("demands")),
        _or_none(row.get("turned_away")),
    )


def _or_none(value: int | None) -> str:
    return "-" if value is None else str(value)


def _week(row: Document) -> Iterator[str]:
    """Mean use by weekday and hour; where it does not fit three columns, in percent of the busiest hour."""
    known = [mean for day in row["week"] for mean in day if mean is not None]
    highest = max(known, default=0.0)
    scale, what = (1.0, "mean use") if highest < 99.5 else (99 / highest, "mean use in % of the busiest")
    yield f"{row['model']} {row['pool']}, {what} by weekday and hour (UTC)"
    yield "    " + "".join(f"{hour:3}" for hour in range(24))
    for name, day in zip(DAYS, row["week"], strict=True):
        yield f"{name} " + "".join("  -" if mean is None else f"{mean * scale:3.0f}" for mean in day)
    hours = [(mean, name, hour) for name, day in zip(DAYS, row["week"], strict=True) for hour, mean in enumerate(day)]
    ranked = sorted((found for found in hours if found[0]), key=lambda found: -found[0])[:3]
    if ranked:
        yield "busiest: " + ", ".join(
            f"{name} {hour:02}-{(hour + 1) % 24:02} h {mean:.1f}" for mean, name, hour in ranked
        )


def _notes(document: Document) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for model in document["sizing"]:
        for pool in model["pools"]:
            if pool["peak"]:
                told.setdefault(pool["note"], []).append(f"{model['model']} {pool['pool']}")
    for note, pools in told.items():
        yield from textwrap.wrap(f"{', '.join(pools)}: {note}", WIDTH)
    yield from textwrap.wrap(
        "Replayed: each seat is asked for and given back when it was; who finds the pool full is taken to come back as"
        f" soon as one is free, for at most {document['patience_seconds']:g} s. Who was turned away is taken to have"
        " stayed as long as others did on average.",
        WIDTH,
    )


def _span(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds >= 86400 else f"{seconds / 3600:.1f} hours"
