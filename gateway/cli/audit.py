"""`tallygate audit`: shows the audit log, and verifies that no entry of it was changed, removed or put in."""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway import operator_client
from gateway.cli.argument_kinds import entry_hash
from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import BEGINNING, AuditEntry, ChainBroken, ChainWalk
from gateway.edge.storage.audit_entries import ENTRIES, ENTRIES_BEFORE_SEALS, entry_of
from gateway.edge.storage.schema import SEALED_AUDIT
from gateway.operator_client import Operator

HELP = "Show the audit log, or verify that no entry of it was changed, removed or put in."
EXAMPLES = """\
examples:
  tallygate audit show --since 7d
  tallygate audit show --since 2026-11-01T00:00:00Z --json
  tallygate audit verify
  tallygate audit verify --store tallygate.db           a file, or a backup of one
  tallygate audit verify --has 91c7…                    and that an entry noted earlier is still there

What a chain of hashes cannot show is that its end was cut off, or that all of it was written anew. Keep the hash
that `verify` prints somewhere else, and give it to a later `verify --has`.
"""
PAGE = 1000
"""Entries that are read from a file at once."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `audit`."""
    actions = operator_client.Actions(parser)
    show = actions.add("show", "show entries, the oldest first", _show)
    show.add_argument("--since", metavar="WHEN", default="1d", help="so long ago, or RFC 3339 (default %(default)s)")
    show.add_argument("--json", action="store_true", help="one JSON object per line")
    verify = actions.add("verify", "walk the chain of hashes from the first entry to the last", _verify)
    verify.add_argument("--store", metavar="FILE", type=Path, help="read this file, not a running gateway")
    verify.add_argument("--has", metavar="HASH", type=entry_hash, help="fail if no entry has this hash")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        if getattr(args, "store", None) is not None:
            print(_verify_file(args.store, args.has))
            return 0
        return operator_client.act(args)
    except ChainBroken as fault:
        raise SystemExit(f"the audit log is broken: {fault}") from None
    except sqlite3.Error as fault:
        raise SystemExit(f"{args.store}: {fault}") from None


async def _show(gateway: Operator, args: argparse.Namespace) -> str:
    async for page in gateway.pages("/api/audit", since=args.since):
        for each in page:
            print(json.dumps(each) if args.json else _line(each))
    return ""


def _line(each: dict[str, Any]) -> str:
    detail = " ".join(f"{key}={_word(value)}" for key, value in each["detail"].items())
    return f"{each['seq']:>6}  {each['time']}  {each['actor']}  {each['action']}  {each['subject']}  {detail}".rstrip()


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def _verify(gateway: Operator, args: argparse.Namespace) -> str:
    walk = Walk(args.has)
    async for page in gateway.pages("/api/audit"):
        walk.take([audit_chain.entry_from_json(each) for each in page])
    return walk.end()


def _verify_file(path: Path, wanted: str | None) -> str:
    """Verify a file, whether or not a gateway holds it."""
    walk = Walk(wanted)
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        ((version,),) = file.execute("PRAGMA user_version").fetchall()
        rows = file.execute(f"{ENTRIES if version >= SEALED_AUDIT else ENTRIES_BEFORE_SEALS} ORDER BY seq")
        while page := rows.fetchmany(PAGE):
            walk.take([entry_of(row) for row in page])
    return walk.end()


class Walk:
    """Verifies the chain page by page, and looks for an entry of a hash (None: of none).

    Raises `ChainBroken`, and `SystemExit` where no entry has the hash.
    """

    def __init__(self, wanted: str | None) -> None:
        self._wanted = wanted
        self._found = wanted is None
        self._chain = ChainWalk()

    def take(self, page: Sequence[AuditEntry]) -> None:
        """Verify the next entries."""
        self._chain.take(page)
        self._found = self._found or any(self._wanted in _hashes(entry) for entry in page)

    def end(self) -> str:
        """Return what was found, for a person."""
        last = self._chain.end()
        if not self._found:
            raise SystemExit(f"no entry has the hash {self._wanted}: its end was cut off, or this is another log")
        if last == BEGINNING:
            return "the audit log is empty"
        first = self._chain.first
        entries = "1 entry" if last.seq == first else f"{last.seq - first + 1} entries"
        forgotten = "" if first == 1 else f", those before {first} were forgotten"
        return f"the audit log holds: {entries}{forgotten}, the last has the hash {last.hash}"


def _hashes(entry: AuditEntry) -> tuple[str, ...]:
    """The hash of an entry, and the one that it says the last entry had before all were chained anew."""
    if entry.action == audit_chain.CHAINED_ANEW:
        return entry.hash, json.loads(entry.detail)["hash"]
    return (entry.hash,)
