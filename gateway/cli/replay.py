"""`tallygate replay`: applies the commands of a recording again, under the same terms or under others."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config.keys import KEYS
from config.reading import parse, read
from config.values import KindError
from gateway.cli.options import set_option
from gateway.core.admission.recording import NotARecording, Replayed, replay
from gateway.core.admission.snapshot import PoolView, snapshot
from gateway.core.admission.terms import Terms
from gateway.core.formats import utc
from gateway.licensing import MODELS

HELP = "Apply a recording of `serve --record` again, and show pools, peaks and denials."
EXAMPLES = """\
examples:
  tallygate serve --record day.jsonl
  tallygate replay day.jsonl
  tallygate replay day.jsonl --set license.epop.users=20
  tallygate replay day.jsonl --set license.model=nefsis-named --json
"""
NOTE = (
    "under other terms: a client that was refused at hello when it was recorded is taken to be gone at once, since how"
    " long it would have stayed is not known"
)


class UnusableChange(ValueError):
    """A `--set` that says nothing about decisions."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `replay`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="what `serve --record FILE` wrote")
    set_option(parser, "decide under another setting, such as license.epop.users=20; may be given several times")
    parser.add_argument("--json", action="store_true", help="one document")


def run(args: argparse.Namespace) -> int:
    """Show what came of it; 1 where a decision was another one than was recorded, or the file cannot be used."""
    try:
        change = _change(args.set)
        with args.file.open(encoding="utf-8", errors="surrogateescape") as lines:
            replayed = replay(lines, MODELS, change, _progress if sys.stderr.isatty() else lambda _: None)
    except (OSError, NotARecording, UnusableChange) as fault:
        reason = getattr(fault, "strerror", None) or fault
        print(f"tallygate: {args.file}: {reason}", file=sys.stderr)
        return 1
    print(json.dumps(_document(replayed), indent=2) if args.json else _table(replayed, changed=change is not None))
    if replayed.first_difference is not None:
        print(
            f"tallygate: command {replayed.first_difference} was decided differently than it was recorded",
            file=sys.stderr,
        )
        return 1
    return 0


def _change(overrides: list[str]) -> Callable[[Terms], Terms] | None:
    """Return what changes the terms as `--set` says; None where it says nothing.

    Raises `UnusableChange`.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or key not in KEYS:
            raise UnusableChange(f"--set {override}: expected KEY=VALUE with a key of the configuration")
        try:
            values[key] = read(KEYS[key].kind, parse(KEYS[key].kind, text))
        except KindError as fault:
            raise UnusableChange(f"--set {override}: {fault}") from fault

    def change(terms: Terms) -> Terms:
        for key, value in values.items():
            try:
                terms = terms.changed(key, value)
            except KeyError as fault:
                raise UnusableChange(f"--set {key}: no decision of this recording depends on it") from fault
            if terms.model not in terms.licenses:
                raise UnusableChange(f"--set {key}: the model was not counted; recorded: {', '.join(terms.licenses)}")
        return terms

    return change if values else None


def _progress(commands: int) -> None:
    print(f"\r{commands:,} commands", end="", file=sys.stderr, flush=True)


def _peaks(replayed: Replayed) -> dict[tuple[str, str], int]:
    """Return the highest use of each pool since the recording began, from the intervals that were seen."""
    return {
        (timeline.model, timeline.name): max(
            each.peak for each in (*timeline.ended, *timeline.pool.ended_intervals, timeline.pool.interval)
        )
        for timeline in replayed.state.history.timelines
    }


def _pools(replayed: Replayed) -> tuple[PoolView, ...]:
    return snapshot(replayed.state, replayed.state.at.mono).pools


def _document(replayed: Replayed) -> dict[str, Any]:
    peaks = _peaks(replayed)
    return {
        "commands": replayed.applied,
        "skipped": replayed.skipped,
        "begin": utc(replayed.begin),
        "end": utc(replayed.end),
        "model": replayed.state.terms.model,
        "first_difference": replayed.first_difference,
        "pools": [
            {
                "model": pool.model,
                "pool": pool.pool,
                "limit": pool.limit,
                "used": pool.used,
                "peak": peaks[pool.model, pool.pool],
                "grants": pool.grants,
                "denials": dict(pool.denials),
                "true_denials": dict(pool.true_denials),
            }
            for pool in _pools(replayed)
        ],
    }


def _table(replayed: Replayed, *, changed: bool) -> str:
    peaks = _peaks(replayed)
    lines = [
        f"{replayed.applied:,} commands from {utc(replayed.begin)} to {utc(replayed.end)}; "
        f"{replayed.state.terms.model} decides",
        "",
        f"{'model':<18} {'pool':<14} {'limit':>7} {'peak':>7} {'used':>7} {'grants':>9} {'denied':>8} {'true':>8}",
    ]
    for pool in _pools(replayed):
        limit = "-" if pool.limit is None else f"{pool.limit:,}"
        lines.append(
            f"{pool.model:<18} {pool.pool:<14} {limit:>7} {peaks[pool.model, pool.pool]:>7,} {pool.used:>7,}"
            f" {pool.grants:>9,} {pool.denied:>8,} {sum(pool.true_denials.values()):>8,}"
        )
    lines.append("")
    if changed:
        lines.append(f"{NOTE}; {replayed.skipped:,} commands of sessions that were not admitted are left out")
    else:
        same = "every decision was the one that was recorded"
        lines.append(same if replayed.first_difference is None else "NOT every decision was the one that was recorded")
    return "\n".join(lines)
