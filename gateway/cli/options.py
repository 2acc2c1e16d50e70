"""The options that all commands with a configuration share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from config.loader import load, sources
from config.settings import Settings
from gateway.edge.storage.store_lock import belongs, held_store


def config_options(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--set`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="TOML file; without it, the built-in defaults. Variables such as TALLYGATE_LISTEN__TCP=5307 override it",
    )
    set_option(
        parser, "overrides one key above all, such as license.model=trueconf or listen.tcp=0; may be given again"
    )


def set_option(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds `--set`, which may be given several times; `args.set` is a list of `KEY=VALUE`."""
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=help)


def refuse_store(path: Path, own: str | None = None) -> None:
    """End the command where a file that is to be written belongs to a store: `own`, or one that a gateway holds."""
    store = own if own is not None and belongs(str(path), own) else held_store(str(path))
    if store is not None:
        raise SystemExit(f"{path}: it belongs to the store {store} of a gateway")


def settings_from(args: argparse.Namespace) -> Settings:
    """Return the settings that the options and the environment ask for.

    Raises ConfigError with every fault.
    """
    return load(args.config, args.set, os.environ)


def sources_of(args: argparse.Namespace) -> dict[str, str]:
    """Return where the value of each key comes from that the options and the environment give."""
    return sources(args.config, args.set, os.environ)
