"""The command `tallygate`: finds the module of a command, has it add its arguments, and runs it.

A command is a module of this package with `HELP` (one sentence), `arguments(parser)` and `run(args) -> int`; optional
`EXAMPLES` end its help, and `SAYS_MORE` is how many `-v` it has without being asked. Only the module of the command
that was asked for is imported, so that help is quick.

Exit codes: 0 good; 1 a failure, said on stderr in one line; 2 usage; 130 ended by Ctrl-C. A command reports a failure
by raising `SystemExit` with the sentence, or by printing it and returning 1. One that prints a secret, which is shown
once, has `once` in its arguments: what is to be done where it could not be printed.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from gateway.cli import streams
from gateway.cli.log_lines import JsonLines, complain
from gateway.cli.streams import OutputFailed


class CommandModule(Protocol):
    """A module of a command."""

    HELP: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""


COMMANDS = {
    "serve": ("gateway.cli.serve", "run the gateway"),
    "replay": ("gateway.cli.replay", "apply a recording of serve --record again, under the same terms or others"),
    "check": ("gateway.cli.check", "say whether a configuration is good"),
    "status": ("gateway.cli.status", "show pools, connections and registration of a running gateway"),
    "report": ("gateway.cli.report", "show use, denials and how many seats would have been enough"),
    "usage": ("gateway.cli.usage", "show who used the pools, and how long"),
    "kick": ("gateway.cli.kick", "close a session, or all sessions of an account"),
    "ban": ("gateway.cli.ban", "keep an account or an address out for a while"),
    "revoke": ("gateway.cli.revoke", "end the temporary PRO license of an account"),
    "account": ("gateway.cli.account", "list, register, show and delete accounts"),
    "person": ("gateway.cli.person", "show all that is known of a person, or erase it"),
    "group": ("gateway.cli.group", "list, set, show and delete groups of accounts"),
    "host": ("gateway.cli.host", "list, name and release named hosts"),
    "license": ("gateway.cli.license", "sell licenses, or ask for one and install it by hand"),
    "registrar": ("gateway.cli.registrar", "run the registration server alone"),
    "token": ("gateway.cli.token", "make, list and revoke tokens of operators and clients"),
    "events": ("gateway.cli.events", "show what happened lately, and follow what happens"),
    "webhook": ("gateway.cli.webhook", "show where events are posted to, and test it"),
    "audit": ("gateway.cli.audit", "show the audit log, or verify it"),
    "cluster": ("gateway.cli.cluster", "show the cluster, begin it from a file, leave a command of its log out"),
    "backup": ("gateway.cli.backup", "copy the store of a running gateway"),
    "restore": ("gateway.cli.restore", "put a backup in the place of a store, while no gateway runs"),
    "demo": ("gateway.cli.demo", "run a gateway with believable traffic, to see every page alive"),
    "connect": ("gateway.cli.connect", "speak to a gateway as a client, line by line"),
    "load": ("gateway.cli.load", "put load on a gateway and compare its counts with what is held"),
}
"""Each command: its module and what it does, in the order of the help."""

EXAMPLES = """\
examples:
  tallygate serve
  tallygate serve --set license.model=trueconf --set license.trueconf.pro=20
  tallygate check --config gateway.toml
  tallygate status --watch
  tallygate load --connections 5000 --conferences 100 --duration 30
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code."""
    streams.prepare()
    try:
        try:
            return _run(sys.argv[1:] if argv is None else list(argv))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OutputFailed as fault:
        streams.discard_output()
        if not fault.reader_gone:
            print(f"tallygate: {fault}", file=sys.stderr)
        return 1
    except SystemExit as end:
        if isinstance(end.code, str):
            complain(end.code)
            return 1
        return end.code or 0


def _run(argv: list[str]) -> int:
    parser, commands = _parser()
    # Names stand before options of the command itself, so the first known word is the command.
    chosen = next((word for word in argv if word in commands), None)
    command: CommandModule | None = None
    if chosen is not None:
        command = _imported(COMMANDS[chosen][0])
        command.arguments(commands[chosen])
        commands[chosen].description = command.HELP
        commands[chosen].epilog = getattr(command, "EXAMPLES", None)
    args = parser.parse_args(argv, argparse.Namespace(verbose=0, log_format="text"))
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    _log(args.verbose + getattr(command, "SAYS_MORE", 0), args.log_format)
    once: str | None = getattr(args, "once", None)
    if once is None:
        return command.run(args)
    streams.check_output()
    try:
        code = command.run(args)
        sys.stdout.flush()
    except OutputFailed as fault:
        streams.discard_output()
        raise SystemExit(f"{fault}; {once}") from None
    return code


def _imported(module: str) -> CommandModule:
    gc.disable()  # what is imported stays: there is no garbage among it to look for
    try:
        return cast(CommandModule, import_module(module))
    finally:
        gc.enable()


class _Version(argparse.Action):
    """Prints which version is installed; what reads that takes as long to import as all else of a short command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"tallygate {import_module('importlib.metadata').version('tallygate')}")
        parser.exit()


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    common = argparse.ArgumentParser(add_help=False)
    # A default here would overwrite what stood before the command.
    common.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS, help="say more; twice, say all")
    common.add_argument(
        "--log-format", choices=("text", "json"), default=argparse.SUPPRESS, help="how log lines are written"
    )
    parser = argparse.ArgumentParser(
        prog="tallygate",
        description="Counts concurrent use the way the license says.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    choices = parser.add_subparsers(metavar="command", title="commands")
    commands = {
        name: choices.add_parser(
            name, help=does, parents=[common], formatter_class=argparse.RawDescriptionHelpFormatter
        )
        for name, (_, does) in COMMANDS.items()
    }
    return parser, commands


def _log(verbose: int, style: str) -> None:
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if style == "json" else text)
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, handlers=[handler], force=True)
