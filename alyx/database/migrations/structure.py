"""The live structure of the database, read from SQLite itself, in a form that two databases can be compared by.

Reads only; called by drift and by tests. Texts of DDL are compared without their spacing, so that a table made by ADD COLUMN
equals one made at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import apsw

from alyx.database.migrations.rows import rows
from alyx.database.tables import quoted

OWN = "_alyx_"
"""How the names of Alyx's own tables and triggers begin."""


@dataclass(frozen=True)
class Column:
    """A column: SQL type, whether null is refused, its default as SQL text, its place in the primary key (0: none)."""

    type: str
    not_null: bool
    default: str | None
    key: int


@dataclass(frozen=True)
class Table:
    """A table. references: column -> (table, column, on delete); checks and indexes as texts without spacing."""

    columns: Mapping[str, Column]
    references: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    checks: frozenset[str] = frozenset()
    strict: bool = True
    autoincrement: bool = False


def read(connection: apsw.Connection) -> dict[str, Table]:
    """Every table that is not Alyx's or SQLite's own, by name."""
    return {name: _table(connection, name, sql or "") for name, sql in user_tables(connection)}


def user_tables(connection: apsw.Connection) -> list[tuple[str, str]]:
    """Name and text of every table that is not Alyx's or SQLite's own; virtual tables and what they keep are left out."""
    found = rows(
        connection,
        "SELECT s.name, s.sql FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name AND l.schema = 'main'"
        " WHERE s.type = 'table' AND l.type = 'table' ORDER BY s.name",
    )
    return [(name, sql) for name, sql in found if not name.startswith((OWN, "sqlite_"))]


def triggers(connection: apsw.Connection) -> dict[str, str]:
    """Name -> text of every trigger."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))


def squeezed(sql: str) -> str:
    """SQL with one form of spacing, quoted text kept."""

    def part(match: re.Match[str]) -> str:
        quoted_text, mark = match.group(1), match.group(2)
        return quoted_text or {"(": "(", ")": ")", ",": ", "}.get((mark or "").strip(), " ")

    return re.sub(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(\s*\(\s*|\s*\)|\s*,\s*)|\s+", part, sql).strip()


def _table(connection: apsw.Connection, name: str, sql: str) -> Table:
    columns = {
        row[1]: Column(row[2].upper(), bool(row[3]), _default(row[4]), row[5])
        for row in connection.execute(f"PRAGMA table_xinfo({quoted(name)})")
    }
    return Table(columns, _references(connection, name), _indexes(connection, name), *_options(sql))


def _default(text: str | None) -> str | None:
    while text and text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    return text


def _references(connection: apsw.Connection, name: str) -> dict[str, tuple[str, str, str]]:
    return {row[3]: (row[2], row[4] or "", row[6]) for row in rows(connection, f"PRAGMA foreign_key_list({quoted(name)})")}


def _indexes(connection: apsw.Connection, name: str) -> dict[str, str]:
    sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    found = {}
    for index, text in rows(connection, sql, (name,)):
        head, _, rest = text.partition("(")
        found[index] = ("UNIQUE " if head.upper().split()[1:2] == ["UNIQUE"] else "") + squeezed(f"({rest}")
    return found


def _options(sql: str) -> tuple[frozenset[str], bool, bool]:
    """Checks, whether the table is STRICT, whether its key counts up for ever."""
    tail = sql[sql.rindex(")") :].upper() if ")" in sql else ""
    return frozenset(_checks(sql)), "STRICT" in tail, "AUTOINCREMENT" in sql.upper()


def _checks(sql: str) -> Iterator[str]:
    for match in re.finditer(r"\bCHECK\s*\(", sql):
        depth, end = 1, match.end()
        while depth and end < len(sql):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield squeezed(sql[match.end() : end - 1])
