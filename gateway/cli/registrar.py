"""`tallygate registrar`: runs the registration server alone, without client listeners."""

from __future__ import annotations

import argparse

from gateway.cli import serve

HELP = "Runs the registration server alone: other gateways have their licenses verified on its port."
SAYS_MORE = serve.SAYS_MORE
EXAMPLES = """\
examples:
  tallygate registrar --set store.path=registrar.db
  tallygate license add ACME-1 --edition free > acme.key
  curl http://127.0.0.1:4311/api/registrations
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `registrar`."""
    serve.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run it until it is told to stop; gives the exit code."""
    args.set = [*args.set, "registrar.enabled=true", "registration.role=off", "license.shadow="]
    return serve.run(args, clients=False)
