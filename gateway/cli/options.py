"""The options that all commands with a configuration share."""

from __future__ import annotations

import argparse
from pathlib import Path

from config.loader import load
from config.settings import Settings


def config_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and `--set`."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="TOML file; without it, the built-in defaults")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="overrides one key, such as license.model=trueconf or listen.tcp=0; may be given again",
    )


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings that the options ask for.

    Raises ConfigError with every fault.
    """
    return load(args.config, args.set)
