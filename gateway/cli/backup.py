"""`tallygate backup`: a copy of the store of a running gateway.

The copy is written beside its place under another name and put there whole, so that an earlier backup is never replaced
by half of a later one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gateway import operator_client
from gateway.operator_client import Operator

HELP = "Copy the store of a running gateway into a file, while it goes on. A gateway can be started on the copy."
EXAMPLES = """\
examples:
  tallygate backup tallygate-$(date +%F).db
  tallygate backup /var/backups/tallygate.db --operator http://127.0.0.1:4311
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `backup`."""
    parser.add_argument("file", type=Path, help="where to; a file of this name is replaced once the copy is complete")
    operator_client.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Do it; gives the exit code."""
    try:
        return operator_client.act(args, _backup)
    except OSError as fault:
        raise SystemExit(f"{args.file}: {fault.strerror}") from None


async def _backup(gateway: Operator, args: argparse.Namespace) -> str:
    target: Path = args.file
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            size = await gateway.download("/api/backup", file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        if os.path.exists(draft):  # noqa: ASYNC240 - nothing else runs here
            os.unlink(draft)
    return f"{target}: {size} bytes"
