"""The schema of the store: one script for each version, applied in order; a script that was released never changes.

Times are seconds UTC, keys are JSON. A lease that has no `expires` is in use, or has no end.
"""

from __future__ import annotations

APPLICATION = 0x74616C79
"""What marks a file as ours (`taly`, in ASCII)."""

SCHEMA: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE lease (
            model TEXT NOT NULL, pool TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
            since REAL NOT NULL, expires REAL, deleted INTEGER NOT NULL,
            PRIMARY KEY (model, pool, key, kind)) WITHOUT ROWID""",
        "CREATE TABLE account (name TEXT PRIMARY KEY, tokens TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE team (name TEXT PRIMARY KEY, accounts TEXT NOT NULL, permanent INTEGER NOT NULL)
            WITHOUT ROWID""",
        "CREATE TABLE ban (subject TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
    ),
)
