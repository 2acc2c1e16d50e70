"""`tallygate person`: shows all that is known of a person, and erases it."""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from pathlib import Path

from gateway import operator_client
from gateway.core.names import NAME_FORM, folded, is_account
from gateway.edge.storage.offline_person import OfflinePerson, PersonPresent
from gateway.edge.storage.offline_store import offline_store
from gateway.edge.storage.store import StoreRefused, StoreUnavailable
from gateway.operator_client import Operator, part, who

HELP = "Show all that is known of a person, or erase it."
EXAMPLES = """\
examples:
  tallygate person export ann@example.org > ann.json
  tallygate person erase ann@example.org
  tallygate person erase ann@example.org --force              connected or with a license: that ends first
  tallygate person erase ann --home partner.example           of another server
  tallygate person erase ann@example.org --store tallygate.db     while no gateway runs

After an erasure no trace is left in the store, and so in no copy made from then on. What it was charged goes on as
nobody's use; the audit log keeps its entries, without the name, and still verifies. Copies made before, recordings and
logs are not touched; in a cluster each gateway is asked for its own file.
"""
PATIENCE = 120.0
"""Seconds that an erasure may take: the file is rewritten."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `person`."""
    actions = operator_client.Actions(parser)
    export = actions.add("export", "write all that is known of a person as JSON", _export)
    erase = actions.add("erase", "forget a person", _erase)
    erase.add_argument("--force", action="store_true", help="end its sessions and licenses first")
    for each in (export, erase):
        each.add_argument("account", help="name of the account")
        operator_client.home_argument(each)
        each.add_argument("--store", metavar="FILE", type=Path, help="work on a store that no gateway holds")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if args.store is None:
        return operator_client.act(args)
    try:
        asyncio.run(_offline(args))
    except PersonPresent as fault:
        raise SystemExit(f"{who(args.account, args.home)} {fault}") from None
    except (StoreRefused, StoreUnavailable, OSError) as fault:
        raise SystemExit(str(fault)) from None
    return 0


async def _export(gateway: Operator, args: argparse.Namespace) -> str:
    home = f"?home={part(args.home)}" if args.home else ""
    document = io.BytesIO()
    await gateway.download(f"/api/persons/{part(args.account)}{home}", document, "application/json")
    return document.getvalue().decode()


async def _erase(gateway: Operator, args: argparse.Namespace) -> str:
    async with Operator(gateway.url, gateway.authorities, timeout=PATIENCE) as patient:
        force = "true" if args.force else None
        erased = await patient.json("DELETE", f"/api/persons/{part(args.account)}", home=args.home, force=force)
    said = _said(args, erased["usage"], erased["denials"], erased["audit"])
    if not erased["rewritten"]:
        said += "\nthe file is large: the next start rewrites it, until then its free space may hold names"
    return said


async def _offline(args: argparse.Namespace) -> None:
    names = [args.account, *([args.home] if args.home else [])]
    for name in names:
        if not is_account(name):
            raise SystemExit(f"{name}: no name; expected {NAME_FORM}")
    async with offline_store(args.store, new=False) as store:
        person = OfflinePerson(store, folded(args.account), folded(args.home or ""))
        if args.work is _export:
            async for piece in person.document():
                sys.stdout.write(piece)
            print()
            return
        counts = await person.erase(force=args.force)
    print(_said(args, counts["usage"], counts["denials"], counts["audit"]))


def _said(args: argparse.Namespace, usage: int, denials: int, audit: int) -> str:
    told = f"{usage} rows of use are nobody's now, {denials} refusals and {audit} names of the audit log are gone"
    return f"erased {who(args.account, args.home)}: {told}"
