"""A table made anew under its own name: SQLite's procedure for what ALTER TABLE cannot do (sqlite.org/lang_altertable.html §7).

Runs inside the migration's transaction on a connection with foreign keys off, after our own triggers were dropped. Other people's
triggers and indexes on the table are put back; views and triggers elsewhere that read it are not touched, because the new table
takes the name without SQLite rewriting anything (`legacy_alter_table`). The counter of an AUTOINCREMENT key is carried over.
"""

from __future__ import annotations

from collections.abc import Mapping

import apsw

from alyx.database.migrations import ddl
from alyx.database.migrations.rows import rows
from alyx.database.migrations.structure import OWN
from alyx.database.tables import quoted
from alyx.schema.model import Collection

_NEW = "_alyx_new"


def rebuild(
    connection: apsw.Connection, after: Collection, columns: Mapping[str, str], joins: str, dropped: frozenset[str]
) -> None:
    """Make the table of `after` anew from the table of the same name.

    columns: field -> SQL that gives its value from the old row, which is called `t`; joins: what else that SQL reads.
    dropped: names of our own indexes on the old table, which are not put back: the caller makes those of `after`.
    """
    name = after.name
    others = _others(connection, name, dropped)
    counter = _counter(connection, name)
    connection.execute(ddl.create_table(after, _NEW))
    names, values = ", ".join(quoted(column) for column in columns), ", ".join(columns.values())
    connection.execute(f"INSERT INTO {_NEW} ({names}) SELECT {values} FROM {quoted(name)} t {joins} ORDER BY t.rowid")
    connection.execute(f"DROP TABLE {quoted(name)}")
    connection.execute("PRAGMA legacy_alter_table = ON")
    try:
        connection.execute(f"ALTER TABLE {_NEW} RENAME TO {quoted(name)}")
    finally:
        connection.execute("PRAGMA legacy_alter_table = OFF")
    if counter is not None:
        _set_counter(connection, name, counter)
    for sql in others:
        connection.execute(sql)


def _others(connection: apsw.Connection, table: str, ours: frozenset[str]) -> list[str]:
    """The texts of triggers and indexes on a table that are not ours, in the order in which they were made."""
    found = rows(
        connection,
        "SELECT name, sql FROM sqlite_schema"
        " WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
        (table,),
    )
    return [sql for name, sql in found if name not in ours and not name.startswith(OWN)]


def _counter(connection: apsw.Connection, table: str) -> int | None:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        return None
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else None


def _set_counter(connection: apsw.Connection, table: str, counter: int) -> None:
    """Put a counter back; SQLite counts on from whatever is larger, this or the largest key."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        return
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, counter))
