"""`tallygate restore`: puts a backup in the place of a store, while no gateway runs on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from config.settings import StoreSettings
from gateway.edge.storage.store_copy import restore
from gateway.edge.storage.store_lock import StoreRefused

HELP = "Put a backup in the place of a store. Stop the gateway first; the store that stood there is kept beside it."
EXAMPLES = """\
examples:
  tallygate restore tallygate-2026-11-01.db
  tallygate restore /var/backups/tallygate.db --store /var/lib/tallygate/tallygate.db
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `restore`."""
    parser.add_argument("file", type=Path, help="the backup; it stays as it is")
    parser.add_argument(
        "--store",
        metavar="FILE",
        type=Path,
        default=Path(StoreSettings().path),
        help="the store of the gateway, its store.path (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        restored = restore(args.file, args.store)
    except StoreRefused as fault:
        raise SystemExit(str(fault)) from None
    except OSError as fault:
        raise SystemExit(f"{fault.filename or args.store}: {fault.strerror}") from None
    print(f"{args.store}: restored from {args.file}" + (f", as of {restored.last}" if restored.last else ""))
    if restored.kept is not None:
        print(f"the store that stood there is kept as {restored.kept}")
    return 0
