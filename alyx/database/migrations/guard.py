"""What the SQL of a migration file may not do: whatever would take the migration out of the migrator's hands.

Used by `execute` around a `sql` operation. It decides by what SQLite is about to do, never by the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from alyx.database.migrations.errors import MigrationError
from alyx.database.migrations.structure import OWN

_WRITES_ROWS = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_SHAPES = frozenset(
    {
        apsw.SQLITE_ALTER_TABLE,
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_CREATE_VTABLE,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_VTABLE,
    }
)
_PRAGMAS = frozenset(
    {
        "analysis_limit",
        "application_id",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "foreign_key_check",
        "foreign_key_list",
        "function_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "module_list",
        "optimize",
        "pragma_list",
        "quick_check",
        "table_info",
        "table_list",
        "table_xinfo",
        "user_version",
    }
)
"""Those that only look, or set what Alyx never reads; any other may change how the connection works or what a commit means."""


@contextmanager
def guarded(connection: apsw.Connection) -> Iterator[None]:
    """Let no statement run that ends the transaction, opens other files, sets the connection, or writes to Alyx's own tables.

    Raises MigrationError instead of SQLite's refusal; the caller rolls back.
    """
    refused: list[tuple[str, str | None]] = []

    def judge(action: int, one: str | None, other: str | None, _schema: str | None, _within: str | None) -> int:
        fault = _fault(action, one or "", other or "")
        if fault is None:
            return apsw.SQLITE_OK
        refused.append(fault)
        return apsw.SQLITE_DENY

    connection.authorizer = judge
    try:
        yield
    except apsw.AuthError as error:
        message, hint = refused[0] if refused else (f"the SQL is refused: {error}", None)
        raise MigrationError(message, hint=hint) from error
    finally:
        connection.authorizer = None


def _fault(action: int, one: str, other: str) -> tuple[str, str | None] | None:
    """What is wrong with an action of SQLite's, and a hint; `one` and `other` as https://sqlite.org/c3ref/c_alter_table.html."""
    if action in (apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT):
        word = one if action == apsw.SQLITE_TRANSACTION else {"BEGIN": "SAVEPOINT"}.get(one, one)
        return f"the SQL says {word}, which is for the migration alone", "leave it out: each file is one transaction"
    if action in (apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH):
        return (
            "the SQL attaches or detaches another database",
            "a migration is about its own database alone (VACUUM has no place in it)",
        )
    if action == apsw.SQLITE_PRAGMA and one.lower() not in _PRAGMAS:
        return f"the SQL sets PRAGMA {one}", "leave it out: the migration sets what it needs (foreign keys are off)"
    names = (one,) if action in _WRITES_ROWS else (one, other) if action in _SHAPES else ()
    own = next((name for name in names if name.lower().startswith(OWN)), None)
    if own is not None:
        return f"the SQL changes {own}, which is Alyx's own", f"names that begin with {OWN} may only be read"
    return None
