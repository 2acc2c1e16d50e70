"""`tallygate backup`: copies the store of a running gateway into a file.

The copy is written beside its place under another name and put there whole, so that an earlier backup is never replaced
by half of a later one. A store that a gateway holds is never replaced, nor what belongs to it; a pipe is written to.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway import operator_client
from gateway.cli.options import refuse_store
from gateway.edge.files import is_regular, written_whole
from gateway.operator_client import Operator

HELP = "Copy the store of a running gateway into a file, while it goes on. A gateway can be started on the copy."
EXAMPLES = """\
examples:
  tallygate backup tallygate-$(date +%F).db
  tallygate backup /var/backups/tallygate.db --operator http://127.0.0.1:4311
  tallygate backup /dev/stdout | gzip > tallygate.db.gz
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `backup`."""
    parser.add_argument("file", type=Path, help="where to; a file of this name is replaced once the copy is complete")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        return operator_client.act(args, _backup)
    except OSError as fault:
        raise SystemExit(f"{args.file}: {fault.strerror}") from None


async def _backup(gateway: Operator, args: argparse.Namespace) -> str:
    target: Path = args.file
    refuse_store(target)
    whole = is_regular(target)
    with written_whole(target, mode=0o600, durable=True) as file:
        size = await gateway.download("/api/backup", file, "application/vnd.sqlite3")
    # Where the copy itself goes to stdout, nothing else may.
    print(f"{target}: {size} bytes", file=sys.stdout if whole else sys.stderr)
    return ""
