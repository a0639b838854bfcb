"""What a migration takes away is kept beside the tables for a while, so that a rollback can bring it back.

A kept table is called `_alyx_trash_<step>_<n>`, has no constraints and no triggers, and is named in the step's way back. Kept are
the records of a dropped collection, the values of a dropped field, and those values that a change of type could not turn back.
It goes when its step is rolled back, KEPT seconds after the step, or when the user asks for it (erasure).

What a rollback takes away in its turn is kept as `_alyx_trash_rollback_<seconds since 1970>_<step>_<n>`, for a person to read:
the step is gone from the history, so nothing brings it back by itself.
"""

from __future__ import annotations

import apsw

from alyx.database.migrations.rows import rows
from alyx.database.tables import quoted

PREFIX = "_alyx_trash_"
_OF_ROLLBACK = f"{PREFIX}rollback_"
KEPT = 30 * 24 * 3600
"""Seconds for which it is kept: 30 days."""


def name(step: int, number: int) -> str:
    """The name of a step's nth table."""
    return f"{PREFIX}{step}_{number}"


def rollback_name(seconds: float, step: int, number: int) -> str:
    """The name of the nth table of what taking back a step takes away. seconds: the moment, since 1970."""
    return f"{_OF_ROLLBACK}{int(seconds)}_{step}_{number}"


def tables(connection: apsw.Connection) -> list[str]:
    """The kept tables that there are."""
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, ?) = ?"
    return [found for (found,) in rows(connection, sql, (len(PREFIX), PREFIX))]


def keep_table(connection: apsw.Connection, kept: str, table: str) -> None:
    """Keep all rows of a table."""
    connection.execute(f"CREATE TABLE {quoted(kept)} AS SELECT * FROM {quoted(table)}")


def keep_column(connection: apsw.Connection, kept: str, table: str, key: str, column: str) -> None:
    """Keep all values of a column. key: SQL for the key as it will be after the change, of a row that is called `t`."""
    sql = f"CREATE TABLE {quoted(kept)} AS SELECT {key} AS new_key, t.{quoted(column)} AS old FROM {quoted(table)} t"
    connection.execute(sql)


def keep_losses(connection: apsw.Connection, kept: str, source: str, key: str, column: str, became: str, loses: str) -> bool:
    """Keep the values of a column for which the SQL `loses` holds, with what they become; False if there are none.

    key: SQL for the key as it will be after the change. became: SQL for the value as it will be.
    """
    sql = (
        f"CREATE TABLE {quoted(kept)} AS SELECT {key} AS new_key, {column} AS old, {became} AS became FROM {source} WHERE {loses}"
    )
    connection.execute(sql)
    if connection.execute(f"SELECT 1 FROM {quoted(kept)} LIMIT 1").fetchone():
        return True
    connection.execute(f"DROP TABLE {quoted(kept)}")
    return False


def drop(connection: apsw.Connection, names: list[str]) -> None:
    """Remove kept tables; those that are gone already are passed over."""
    for found in names:
        connection.execute(f"DROP TABLE IF EXISTS {quoted(found)}")


def step_of(table: str) -> int | None:
    """The step that a kept table belongs to; None if a rollback made it."""
    return None if table.startswith(_OF_ROLLBACK) else int(table[len(PREFIX) :].partition("_")[0])


def rolled_back_at(table: str) -> int | None:
    """When a rollback made this table, in seconds since 1970; None if a step did."""
    return int(table[len(_OF_ROLLBACK) :].partition("_")[0]) if table.startswith(_OF_ROLLBACK) else None


def count(connection: apsw.Connection, kept: str, column: str | None = None) -> int:
    """How many rows of a kept table have something in a column; None: how many there are."""
    found = connection.execute(f"SELECT count({quoted(column) if column else '*'}) FROM {quoted(kept)}").fetchone()
    return int(found[0]) if found else 0
