"""`tallygate license`: sells the licenses of a registrar, and installs licenses by hand.

A license is asked for with its serial and proven with its key. The key is printed once; both sides keep it secret.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from config.faults import ConfigError
from gateway import operator_client
from gateway.cli.options import config_options, settings_from
from gateway.core.formats import instant, utc
from gateway.core.names import NAME_FORM, is_name, normalized
from gateway.core.registration.offline import BY_HAND
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.licenses import license_document
from gateway.edge.machine import KeyRefused
from gateway.edge.storage.offline_store import OfflineStore, offline_store
from gateway.edge.storage.store import StoreRefused, StoreUnavailable
from gateway.licensing import DEFAULT_MODEL, OFFERS
from gateway.operator_client import Operator, part, table

HELP = "Sell, change and revoke licenses of a registrar; ask for a license, answer and install it by hand."
EXAMPLES = """\
examples:
  tallygate license add ACME-1 --edition free > acme.key          prints the key, this once
  tallygate license add ACME-2 --edition server --limit pro=50 --not-after 2027-12-31
  tallygate license add CAD-7 --model floating --limit seats=20 --store registrar.db
  tallygate license list
  tallygate license revoke ACME-2                                 its server is told at once

without a network between the two:
  tallygate license request > request.json                        on the licensee's gateway
  tallygate license answer request.json > answer.json             at the vendor's registrar
  tallygate license install answer.json                           on the licensee's gateway
"""
LONGEST = 1 << 20
"""Bytes of a request or an answer at most."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `license`."""
    actions = operator_client.Actions(parser)
    add = actions.add(
        "add",
        "sell a license and print its key, once; or give one that was sold other terms, all anew",
        _add,
        lists=True,
    )
    add.add_argument("serial", type=_serial)
    add.add_argument(
        "--model", choices=tuple(OFFERS), default=DEFAULT_MODEL, help="license model (default %(default)s)"
    )
    add.add_argument("--edition", help="edition, such as free, server or enterprise")
    add.add_argument(
        "--limit",
        metavar="POOL=N",
        type=_limit,
        action="append",
        default=[],
        help="limit of a pool; may be repeated (floating: 0, or none, is no limit)",
    )
    add.add_argument(
        "--extension", metavar="NAME", action="append", default=[], help="such as sdk or ai; may be repeated"
    )
    add.add_argument("--not-after", metavar="DATE", type=_time, help="last day, or RFC 3339 time, of the license")
    add.add_argument(
        "--needs-connection",
        action=argparse.BooleanOptionalAction,
        help="whether it runs out without the registrar (default: the free edition does)",
    )
    add.set_defaults(once="if the license is new, its key is lost: `license remove` it and add it again")
    listed = actions.add("list", "list the licenses that were sold", _list, lists=True)
    show = actions.add("show", "show a license", _show)
    revoke = actions.add("revoke", "revoke a license; its server is told at once", _revoke)
    remove = actions.add("remove", "forget a license; its server is told at once", _remove)
    for each in (show, revoke, remove):
        each.add_argument("serial", type=_serial)
    request = actions.add("request", "ask for a license to be installed by hand", _request)
    answer = actions.add("answer", "answer such a request, at the registrar", _answer)
    install = actions.add("install", "install the answer", _install)
    for each in (answer, install):
        each.add_argument("file", help="JSON file, or - for standard input")
    for each in (request, install):
        config_options(each)
    for each in (add, listed, show, revoke, remove, request, answer, install):
        each.add_argument("--store", metavar="FILE", type=Path, help="work on a store that no gateway holds")
        each.set_defaults(parser=each)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if args.store is None:
        return operator_client.act(args)
    new = not args.store.exists()
    said = asyncio.run(_offline(args))
    if said:
        print(said, flush=True)
    if new:
        print(f"{args.store}: there was no store, a new one was made", file=sys.stderr)
    return 0


def _serial(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"a serial has {NAME_FORM}")
    return normalized(text)


def _limit(text: str) -> tuple[str, int]:
    pool, equals, number = text.partition("=")
    if not (pool and equals and number.isascii() and number.isdigit() and len(number) < 10):
        raise argparse.ArgumentTypeError(f"{text}: expected POOL=N, such as pro=50")
    return pool, int(number)


def _time(text: str) -> str:
    try:
        return str(utc(instant(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a date such as 2027-12-31, or a time in RFC 3339") from None


def _terms(args: argparse.Namespace) -> dict[str, Any]:
    """What `add` asks for, as the body of the request to the operator port."""
    terms = {
        "model": args.model,
        "edition": args.edition,
        "limits": dict(args.limit),
        "extensions": args.extension,
        "needs_connection": args.needs_connection,
        "not_after": args.not_after,
    }
    return {name: value for name, value in terms.items() if value is not None}


def _document(args: argparse.Namespace) -> dict[str, Any]:
    """The request or the answer in the file that is named."""
    piped = args.file == "-"
    try:
        with open(0 if piped else args.file, "rb", closefd=not piped) as file:
            told = json.loads(file.read(LONGEST))
    except OSError as fault:
        raise SystemExit(f"{args.file}: {fault.strerror}") from None
    except (ValueError, RecursionError):
        raise SystemExit(f"{args.file}: no JSON") from None
    if not isinstance(told, dict) or not is_name(told.get("serial")):
        raise SystemExit(f"{args.file}: neither a request nor an answer, it names no serial")
    return told


# -- through the operator port -----------------------------------------------------------------------------------------


async def _add(gateway: Operator, args: argparse.Namespace) -> str:
    made = await gateway.json("PUT", f"/api/licenses/{part(args.serial)}", _terms(args))
    return _sold(args, made)


async def _list(gateway: Operator, args: argparse.Namespace) -> str:
    items, servers = await gateway.items("/api/licenses"), await gateway.items("/api/registrations")
    return _listing(args, items, {each["serial"]: each["address"] for each in servers if each["connected"]})


async def _show(gateway: Operator, args: argparse.Namespace) -> str:
    license = await gateway.json("GET", f"/api/licenses/{part(args.serial)}")
    servers = [each for each in await gateway.items("/api/registrations") if each["serial"] == args.serial]
    return json.dumps(license | {"servers": servers}, indent=2)


async def _revoke(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("POST", f"/api/licenses/{part(args.serial)}/revoke")
    return f"revoked {args.serial}"


async def _remove(gateway: Operator, args: argparse.Namespace) -> str:
    await gateway.json("DELETE", f"/api/licenses/{part(args.serial)}")
    return f"removed {args.serial}"


async def _request(gateway: Operator, _: argparse.Namespace) -> str:
    return json.dumps(await gateway.json("POST", "/api/registration/request"), indent=2)


async def _answer(gateway: Operator, args: argparse.Namespace) -> str:
    told = _document(args)
    return _answered(await gateway.json("POST", f"/api/licenses/{part(told['serial'])}/answer", told))


async def _install(gateway: Operator, args: argparse.Namespace) -> str:
    installed = await gateway.json("POST", "/api/registration/install", _document(args))
    return _installed(installed["serial"], installed["not_after"])


def _answered(answer: dict[str, Any]) -> str:
    if answer["not_after"] is None:
        print(f"{answer['serial']} has no last day: installed by hand, nothing ever ends it", file=sys.stderr)
    return json.dumps(answer, indent=2)


def _sold(args: argparse.Namespace, made: dict[str, Any]) -> str:
    if args.not_after is not None and instant(args.not_after) <= time.time():
        print(f"{args.serial} is over already: it was good until {args.not_after}", file=sys.stderr)
    if args.json:
        return json.dumps(made)
    if "key" not in made:
        print(f"changed {args.serial}; its key stays as it is", file=sys.stderr)
        return ""
    return str(made["key"])


def _listing(args: argparse.Namespace, items: Sequence[Mapping[str, Any]], connected: Mapping[str, str]) -> str:
    """Licenses, and the addresses of the servers that are connected, by serial."""
    if args.json:
        return json.dumps(items)
    rows = (
        (
            each["serial"],
            each["state"],
            each["model"],
            each["edition"],
            " ".join(f"{pool}={n}" for pool, n in each["limits"].items()) or "-",
            each["not_after"] or "no end",
            connected.get(each["serial"], "-"),
        )
        for each in items
    )
    headings = ("serial", "state", "model", "edition", "limits", "not after", "connected")
    return table(headings, rows, "no license was sold")


def _installed(serial: str, not_after: str | None) -> str:
    return f"installed {serial}, good until {not_after or 'it is replaced'}"


# -- on a file ---------------------------------------------------------------------------------------------------------


async def _offline(args: argparse.Namespace) -> str:
    try:
        async with offline_store(args.store, new=args.work in {_add, _request}) as store:
            return await _on(store, args)
    except (StoreRefused, StoreUnavailable, KeyRefused, ConfigError, RequestFault, OSError) as fault:
        raise SystemExit(str(fault)) from None


async def _on(store: OfflineStore, args: argparse.Namespace) -> str:
    now = time.time()
    if args.work in {_show, _revoke, _remove} and args.serial not in store.registrar.licenses:
        raise SystemExit(f"no license has the serial {args.serial}")
    if args.work is _add:
        fresh = await store.sell(args.serial, _terms(args))
        license = store.registrar.licenses[args.serial]
        return _sold(args, license_document(license, now) | ({"key": license.key.hex()} if fresh else {}))
    if args.work is _list:
        return _listing(args, [license_document(each, now) for _, each in sorted(store.registrar.licenses.items())], {})
    if args.work is _show:
        return json.dumps(license_document(store.registrar.licenses[args.serial], now), indent=2)
    if args.work is _revoke:
        await store.revoke(args.serial)
        return f"revoked {args.serial}"
    if args.work is _remove:
        await store.remove(args.serial)
        return f"removed {args.serial}"
    if args.work is _answer:
        return _answered(await store.answer(_document(args)))
    whole = settings_from(args)
    settings = whole.registration
    if whole.cluster.etcd:
        raise SystemExit(BY_HAND)
    if settings.role != "agent":
        raise SystemExit('registration.role is not "agent": name the gateway\'s configuration with --config')
    if args.work is _request:
        return json.dumps(await store.request(settings), indent=2)
    grant = await store.install(settings, _document(args))
    return _installed(settings.serial, utc(grant.not_after))
