"""`tallygate cluster`: shows the cluster, begins it anew from a file, leaves a command out."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from config.faults import ConfigError
from gateway import operator_client
from gateway.cli.options import config_options, settings_from
from gateway.edge.adopting import adopt, skip
from gateway.edge.joining import ClusterRefused
from gateway.edge.storage.store import StoreRefused, StoreUnavailable
from gateway.operator_client import Operator, table

HELP = "Show the cluster of a running gateway; begin a cluster from a file; leave a command of the log out."
EXAMPLES = """\
examples:
  tallygate cluster status
  tallygate cluster status --json
  tallygate cluster adopt a.db --config cluster.toml    while none of its gateways runs
  tallygate cluster skip 81234 --config cluster.toml    on every node, while none runs
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `cluster`."""
    actions = operator_client.Actions(parser)
    actions.add("status", "show the nodes, and whether they agree", _status, lists=True)
    adopting = actions.add_local("adopt", "begin the cluster anew from the store of one gateway")
    adopting.add_argument("file", type=Path, help="the store; its leases, accounts and history are kept")
    skipping = actions.add_local("skip", "leave out the commands of an entry that no node can apply")
    skipping.add_argument("revision", type=int, help="revision of the entry in etcd")
    for each, work in ((adopting, _adopt), (skipping, _skip)):
        config_options(each)
        each.set_defaults(offline=work)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if not hasattr(args, "offline"):
        return operator_client.act(args)
    try:
        print(asyncio.run(args.offline(args)))
    except ConfigError as fault:
        raise SystemExit(str(fault)) from None
    except (ClusterRefused, StoreRefused, StoreUnavailable) as fault:
        raise SystemExit(str(fault)) from fault
    return 0


async def _status(gateway: Operator, args: argparse.Namespace) -> str:
    shown = await gateway.json("GET", "/api/cluster")
    if args.json:
        return json.dumps(shown)
    if shown["state"] == "off":
        return "this gateway is no node of a cluster"
    rows = (
        (
            each["name"],
            each["incarnation"],
            each["connections"],
            f"{each['lag_seconds']:g} s",
            f"{each['silent_seconds']:g} s",
            "leads" if each["leader"] else "",
        )
        for each in shown["nodes"]
    )
    return "\n".join(
        [
            f"{shown['name']} of cluster {shown['cluster']}: {shown['state']}, entry {shown['version']}, "
            f"lag {shown['lag_seconds']:g} s, clock {shown['clock_offset_seconds']:+g} s",
            f"digest {shown['digest']}, mismatches {shown['mismatches']}, failures {shown['failures']}, "
            f"fences {shown['fences']}, etcd {shown['etcd_bytes'] / 2**20:.1f} MiB",
            *(f"etcd complains: {each}" for each in shown["etcd_alarms"]),
            table(("node", "incarnation", "sessions", "lag", "silent", ""), rows, "no node lives"),
        ]
    )


async def _adopt(args: argparse.Namespace) -> str:
    cluster = await adopt(settings_from(args), args.file)
    return f"{args.file} begins cluster {cluster}: start one gateway on it, and the others on copies of it"


async def _skip(args: argparse.Namespace) -> str:
    path = await skip(settings_from(args), args.revision)
    return f"{path}: the commands of revision {args.revision} will be left out; do the same on every node"
