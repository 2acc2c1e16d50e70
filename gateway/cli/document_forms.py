"""A document of the gateway as a text for people, as CSV or as JSON, for the commands that show one."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.operator_client import Document

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula."""


def add_since(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--since`; `text` says what begins then."""
    parser.add_argument(
        "--since",
        metavar="TIME",
        default="30d",
        help=f"{text}: so long ago (30d, 12h) or a time in RFC 3339 (default %(default)s)",
    )


def add_forms(parser: argparse.ArgumentParser, line: str) -> None:
    """Add `--csv` and `--json`; `line` says what a line of CSV is."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help=line)
    form.add_argument("--json", action="store_true", help="all of it, as one document")


def show(
    args: argparse.Namespace,
    document: Document,
    columns: Sequence[str],
    rows: Callable[[Document], Iterable[Mapping[str, Any]]],
    render: Callable[[Document], str],
) -> None:
    """Print a document in the form that the arguments ask for: JSON, CSV with these columns and rows, or text.

    In CSV a text that a spreadsheet would take for a formula is kept a text, as on the page: clients choose names.
    """
    if args.json:
        print(json.dumps(document))
    elif args.csv:
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows(document))
    else:
        text = render(document)
        print(text, end="\n" if text else "")


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
