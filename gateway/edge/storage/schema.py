"""The schema of the store: one script for each version, applied in order; a script that was released never changes.

Times are seconds UTC, keys are JSON. A lease that has no `expires` is in use, or has no end.
"""

from __future__ import annotations

SEALED_AUDIT = 8
"""The version from which on entries of the audit log have seals in place of names."""
APPLICATION = 0x74616C79
"""The application id that marks a file as a store (`taly`, in ASCII)."""

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
        """CREATE TABLE operator (name TEXT NOT NULL, digest TEXT NOT NULL, created REAL NOT NULL, scope TEXT NOT NULL,
            PRIMARY KEY (name, digest)) WITHOUT ROWID""",
        """CREATE TABLE audit (
            seq INTEGER PRIMARY KEY, time TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
            subject TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)""",
        """CREATE TRIGGER audit_changed BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END""",
        """CREATE TRIGGER audit_deleted BEFORE DELETE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END""",
        # What is written again after an unknown outcome changes nothing; REPLACE would not fire the trigger above.
        """CREATE TRIGGER audit_again BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
            BEGIN SELECT RAISE(IGNORE); END""",
        # History: what happened in an hour, from events. An hour may have several pieces; `levels` is packed.
        """CREATE TABLE hour (
            start REAL NOT NULL, number INTEGER PRIMARY KEY, model TEXT NOT NULL, pool TEXT NOT NULL,
            peak INTEGER NOT NULL, seats INTEGER, full_seconds REAL NOT NULL, grants INTEGER NOT NULL,
            true_denials INTEGER NOT NULL, seated INTEGER NOT NULL, waited REAL NOT NULL, longest REAL NOT NULL,
            releases TEXT NOT NULL, denials TEXT NOT NULL, levels BLOB NOT NULL)""",
        "CREATE INDEX hour_start ON hour (start)",
        # Seats that were held, for sizing; `key` and `room` are numbers that mean nothing outside one run.
        """CREATE TABLE hold (
            model TEXT NOT NULL, pool TEXT NOT NULL, ended REAL NOT NULL, key INTEGER NOT NULL, began REAL NOT NULL,
            room INTEGER, cause TEXT NOT NULL, PRIMARY KEY (model, pool, ended, key)) WITHOUT ROWID""",
        """CREATE TABLE denial (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, pool TEXT NOT NULL, began REAL NOT NULL,
            last REAL NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
            refusals INTEGER NOT NULL, true_denials INTEGER NOT NULL, seated INTEGER NOT NULL, after REAL)""",
        "CREATE INDEX denial_began ON denial (began)",
    ),
    (
        # What the registrar sold, and the servers that use it. `key` is a secret that both sides must hold.
        """CREATE TABLE license (
            serial TEXT PRIMARY KEY, key TEXT NOT NULL, granted TEXT NOT NULL, created REAL NOT NULL, revoked REAL)
            WITHOUT ROWID""",
        """CREATE TABLE installation (
            serial TEXT NOT NULL, server TEXT NOT NULL, ticket TEXT, verified REAL, used TEXT NOT NULL,
            address TEXT NOT NULL, version TEXT NOT NULL, clones INTEGER NOT NULL,
            PRIMARY KEY (serial, server)) WITHOUT ROWID""",
    ),
    (
        # The order in which leases were granted: of equal remaining time the later grant loses first.
        "ALTER TABLE lease ADD COLUMN number INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # Somebody of another server is a name and a home; a row with one text is split at its only `/`.
        """UPDATE OR REPLACE lease SET key = '["' || substr(key, 2, instr(key, '/') - 2) || '", "' ||
            substr(key, instr(key, '/') + 1, length(key) - instr(key, '/') - 1) || '"]' WHERE key LIKE '"%/%"'""",
        "ALTER TABLE denial ADD COLUMN home TEXT NOT NULL DEFAULT ''",
        """UPDATE denial SET home = substr(who, instr(who, '/') + 1), who = substr(who, 1, instr(who, '/') - 1)
            WHERE kind = 'account' AND instr(who, '/')""",
        # A ban of an address was one of its guests.
        "ALTER TABLE ban RENAME TO ban_before",
        """CREATE TABLE ban (
            kind TEXT NOT NULL, name TEXT NOT NULL, home TEXT NOT NULL, until REAL NOT NULL,
            PRIMARY KEY (kind, name, home)) WITHOUT ROWID""",
        """INSERT INTO ban SELECT
            CASE WHEN subject NOT GLOB '*[^0-9.]*' AND subject GLOB '*.*.*.*'
                OR subject NOT GLOB '*[^0-9a-f:.]*' AND subject GLOB '*:*:*' THEN 'guests' ELSE 'account' END,
            CASE WHEN instr(subject, '/') THEN substr(subject, 1, instr(subject, '/') - 1) ELSE subject END,
            CASE WHEN instr(subject, '/') THEN substr(subject, instr(subject, '/') + 1) ELSE '' END,
            until FROM ban_before""",
        "DROP TABLE ban_before",
    ),
    (
        # A node of a cluster, written down (`gateway.core.cluster.dump`, packed): with the log after it, all there is.
        """CREATE TABLE dump (
            place INTEGER PRIMARY KEY CHECK (place = 1), etcd TEXT NOT NULL, version INTEGER NOT NULL,
            revision INTEGER NOT NULL, lines BLOB NOT NULL)""",
    ),
    (
        # Who used the pools: a row for each person, pool and part of a day; empty names stand for connections.
        """CREATE TABLE usage (
            day INTEGER NOT NULL, part INTEGER NOT NULL, model TEXT NOT NULL, pool TEXT NOT NULL,
            account TEXT NOT NULL, home TEXT NOT NULL, device TEXT NOT NULL, address TEXT NOT NULL,
            seat_seconds REAL NOT NULL, peak INTEGER NOT NULL, own_peak INTEGER NOT NULL, grants INTEGER NOT NULL,
            denials INTEGER NOT NULL, true_denials INTEGER NOT NULL, seated INTEGER NOT NULL, waited REAL NOT NULL,
            longest REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
            PRIMARY KEY (day, model, pool, account, home, device, address, part)) WITHOUT ROWID""",
        "CREATE INDEX usage_person ON usage (account, home, device, address, day)",
        # To count distinct persons without a look at the rows of every pool.
        """CREATE INDEX usage_came ON usage (day, account, home, device, address)
            WHERE model = '' OR denials > 0""",
    ),
    (
        # Whose accounts come first in lines.
        "ALTER TABLE team ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # Names of persons stand beside the entries, which `gateway.edge.storage.audit_chaining` chains anew with seals.
        # Names may be deleted, and entries of which an entry says so.
        "DROP TRIGGER audit_changed",
        "DROP TRIGGER audit_deleted",
        "DROP TRIGGER audit_again",
        "ALTER TABLE audit RENAME TO audit_before",
        """CREATE TABLE audit (
            seq INTEGER PRIMARY KEY, time TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
            subject TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)""",
        """CREATE INDEX audit_forgotten ON audit (json_extract(detail, '$.through'))
            WHERE action = 'audit.forgotten'""",
        """CREATE TABLE audit_name (
            seq INTEGER NOT NULL, seal TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, account TEXT NOT NULL,
            home TEXT NOT NULL, PRIMARY KEY (seq, seal)) WITHOUT ROWID""",
        "CREATE INDEX audit_name_account ON audit_name (account, home)",
        """CREATE TRIGGER audit_changed BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END""",
        """CREATE TRIGGER audit_deleted BEFORE DELETE ON audit WHEN NOT EXISTS
                (SELECT 1 FROM audit WHERE action = 'audit.forgotten' AND json_extract(detail, '$.through') >= OLD.seq)
            BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END""",
        """CREATE TRIGGER audit_again BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
            BEGIN SELECT RAISE(IGNORE); END""",
    ),
    (
        # Who held the seats of the enforced model; `until` is a monotonic instant, of a seat that is kept already.
        """CREATE TABLE seat (
            model TEXT NOT NULL, pool TEXT NOT NULL, key TEXT NOT NULL, account TEXT NOT NULL, home TEXT NOT NULL,
            device TEXT NOT NULL, address TEXT NOT NULL, until REAL, PRIMARY KEY (model, pool, key)) WITHOUT ROWID""",
    ),
    (
        # Events that wait for the receivers of webhooks.
        """CREATE TABLE outgoing (
            hook TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
            persons TEXT NOT NULL, PRIMARY KEY (hook, number)) WITHOUT ROWID""",
    ),
)
