"""apsw's errors -> those of database/work.py. Used by reader and writer, and by whoever holds a connection of its own."""

from __future__ import annotations

import re

import apsw

from alyx.database.work import (
    ConstraintViolation,
    DatabaseError,
    ForeignKeyViolation,
    Overloaded,
    SchemaMoved,
    Timeout,
    Unavailable,
    UniqueViolation,
)

_UNIQUE = "UNIQUE constraint failed: "
_FOREIGN_KEY = "FOREIGN KEY constraint failed"
_LAST_KEY = 2**63 - 1

_inserts_into = re.compile(r'\s*INSERT INTO "?(\w+)', re.IGNORECASE).match
_is_gone = re.compile(r"no such (?:table|column): |table \S+ has no column named ").match

_UNUSABLE: dict[type[apsw.Error], str] = {
    apsw.FullError: "the disk is full",
    apsw.IOError: "disk I/O error",
    apsw.CorruptError: "the database file is damaged",
    apsw.NotADBError: "the file is no database",
    apsw.CantOpenError: "the database file cannot be opened",
    apsw.ReadOnlyError: "the database is read-only",
    apsw.NoMemError: "the machine is out of memory",
    apsw.ProtocolError: "the file system does not lock as it should",
}
"""What no statement is to blame for: the disk, the file or the machine; with what /health may say about it."""


def translate(error: apsw.Error, connection: apsw.Connection, sql: str = "") -> DatabaseError:
    """The error in the words of database/work.py. sql: the statement that failed, where one is to blame.

    `connection` is where it happened: an index over expressions is named by SQLite, not by its columns, and is looked up.
    A constraint by RESTRICT is raised as a trigger's, hence the look at the text.
    """
    text = str(error)
    if isinstance(error, apsw.ConstraintError):
        if text.startswith(_UNIQUE):
            return _unique(text[len(_UNIQUE) :], connection)
        if text == _FOREIGN_KEY:
            return ForeignKeyViolation(text)
        return ConstraintViolation(text)
    if isinstance(error, apsw.InterruptError):
        return Timeout("the statement took too long")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Overloaded("another process holds the database")
    if isinstance(error, apsw.FullError) and (exhausted := _exhausted(sql, connection)):
        return ConstraintViolation(f"the keys of {exhausted} have run out")
    for kind, reason in _UNUSABLE.items():
        if isinstance(error, kind):
            return Unavailable(text, reason)
    return SchemaMoved(text) if _is_gone(text) else DatabaseError(text)


def _exhausted(sql: str, connection: apsw.Connection) -> str | None:
    """The table whose counted keys have reached their end; SQLite has the same code and text for that as for a full disk."""
    inserted = _inserts_into(sql)
    if inserted is None:
        return None
    table = inserted[1]
    try:
        found = connection.execute("SELECT 1 FROM sqlite_sequence WHERE name = ? AND seq >= ?", (table, _LAST_KEY)).fetchall()
    except apsw.Error:
        return None
    return table if found else None


def _unique(failed: str, connection: apsw.Connection) -> UniqueViolation:
    """From `posts.a, posts.b` or `index 'name'`. Names are checked by the schema, so they hold no dot, comma or quote."""
    if failed.startswith("index '"):
        return _unique_index(failed[7:-1], connection)
    columns = [part.partition(".") for part in failed.split(", ")]
    return UniqueViolation(columns[0][0], tuple(column for _, _, column in columns))


def _unique_index(name: str, connection: apsw.Connection) -> UniqueViolation:
    try:
        row = connection.execute("SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)).fetchone()
        if row is None:
            return UniqueViolation("", ())
        table, sql = row
        known = {column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    except apsw.Error:
        return UniqueViolation("", ())
    # The columns are those names in the index's text that the table has; quoted ones if any are, as in all DDL of ours, because
    # `replace` may be a function there and a column, too.
    text = sql.partition("(")[2]
    names = re.findall(r'"([^"]+)"', text) or re.findall(r"\b[A-Za-z_][A-Za-z0-9_]*\b", text)
    return UniqueViolation(table, tuple(dict.fromkeys(name for name in names if name in known)))
