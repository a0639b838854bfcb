"""Alyx's own tables (`_alyx_*`) and the numbered steps that bring an older data folder up to date.

Called when the engine or the migrator opens a database. The user's tables are none of its business. A step that has been
released is never edited: a change is a new step at the end, and a fixture of each release is opened by a test.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import apsw

from alyx.database.sqlite.connection import CannotOpen

_Step = str | Callable[[apsw.Connection], None]

_TABLES_1 = """
CREATE TABLE _alyx_feed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_seq INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    low_water INTEGER NOT NULL
) STRICT;

CREATE TABLE _alyx_changes (
    seq INTEGER PRIMARY KEY,
    collection TEXT NOT NULL,
    op TEXT NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    doc_id TEXT NOT NULL,
    before TEXT,
    after TEXT,
    hidden_before TEXT,
    hidden_after TEXT,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE _alyx_generations (
    collection TEXT PRIMARY KEY,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE _alyx_migrations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('file', 'planned')),
    checksum TEXT,
    operations TEXT NOT NULL,
    undo TEXT,
    schema TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;

CREATE TABLE _alyx_idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE INDEX _alyx_idempotency_age ON _alyx_idempotency (created_at);
"""
"""Release 0.1.0.

_alyx_feed: one row. last_seq is the number of the last change (never max(seq), which is null after a trim), low_water the
highest number that retention has trimmed away; epoch is random and made with the database, so that a cursor of another
history is told apart. `at` is in Unix milliseconds, `created_at` and `applied_at` in the API's form.
"""


_TABLES_2 = """
ALTER TABLE _alyx_changes ADD COLUMN nonce INTEGER NOT NULL DEFAULT 0;

CREATE TABLE _alyx_tickets (
    hash BLOB PRIMARY KEY,
    identity TEXT NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""Release 0.2.0.

nonce: random, so that a line is told from one of the same number in another history; triggers of release 0.1.0 leave it 0 until
the migrator has made them anew, which `serve` and `dev` do at start. _alyx_tickets: one-time tickets that are not used up yet;
expires_at is in Unix seconds.
"""


def _start_feed(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO _alyx_feed (id, last_seq, epoch, low_water) VALUES (1, 0, ?, 0)", (secrets.token_hex(8),))


STEPS: tuple[tuple[_Step, ...], ...] = ((_TABLES_1, _start_feed), (_TABLES_2,))
"""Step n (from 1) leads from version n-1 to n; one transaction each."""


def upgrade(connection: apsw.Connection) -> None:
    """Bring Alyx's own tables to this program's version; nothing is written if they are already there.

    Raises CannotOpen if a newer Alyx has written the file. Several processes may call it at once.
    """
    if version(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _climb(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def version(connection: apsw.Connection) -> int:
    """The version of Alyx's own tables in this database, 0 if it has none."""
    if connection.table_exists("main", "_alyx_meta"):
        row = connection.execute("SELECT value FROM _alyx_meta WHERE key = 'version'").fetchone()
        return int(row[0]) if row else 0
    return 0


def _climb(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS _alyx_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID")
    found = version(connection)
    if found > len(STEPS):
        raise CannotOpen(
            f"the database was written by a newer Alyx (its internal version is {found}, this program knows up to {len(STEPS)});"
            " update Alyx, or restore a backup made before the update"
        )
    for step in STEPS[found:]:
        for part in step:
            if isinstance(part, str):
                connection.execute(part).fetchall()
            else:
                part(connection)
    connection.execute(
        "INSERT INTO _alyx_meta (key, value) VALUES ('version', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(len(STEPS)),),
    )
