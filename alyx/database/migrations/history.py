"""The history of migrations: what was done to this database, in order, and what schema stands after each step.

Reads and writes `_alyx_migrations` (made by database/sqlite/internal.py); opens no transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import apsw

from alyx.base import json
from alyx.database.migrations.rows import rows
from alyx.schema import operations, snapshot
from alyx.schema.model import Schema
from alyx.schema.operations import Operation


@dataclass(frozen=True)
class Step:
    """One step: a file, or a planned migration (version and checksum None). undo None: it cannot be taken back."""

    id: int
    version: int | None
    name: str
    kind: Literal["file", "planned"]
    checksum: str | None
    operations: tuple[Operation, ...]
    undo: tuple[Operation, ...] | None
    schema: Schema
    applied_at: str


def read(connection: apsw.Connection) -> list[Step]:
    """All steps, oldest first."""
    columns = "id, version, name, kind, checksum, operations, undo, schema, applied_at"
    return [_step(*row) for row in rows(connection, f"SELECT {columns} FROM _alyx_migrations ORDER BY id")]


def state(steps: Sequence[Step]) -> Schema:
    """The schema that stands after the last step."""
    return steps[-1].schema if steps else operations.EMPTY


def next_id(connection: apsw.Connection) -> int:
    """The number that the next step will have; never one that a rolled-back step had."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = '_alyx_migrations'").fetchone()
    return int(row[0]) + 1 if row else 1


def add(connection: apsw.Connection, step: Step) -> None:
    """Write a step."""
    connection.execute(
        "INSERT INTO _alyx_migrations (id, version, name, kind, checksum, operations, undo, schema, applied_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            step.id,
            step.version,
            step.name,
            step.kind,
            step.checksum,
            _text(step.operations),
            None if step.undo is None else _text(step.undo),
            json.dumps(snapshot.write(step.schema)).decode(),
            step.applied_at,
        ),
    )


def remove(connection: apsw.Connection, step: Step) -> None:
    """Take a step out, after it was rolled back."""
    connection.execute("DELETE FROM _alyx_migrations WHERE id = ?", (step.id,))


def become_file(connection: apsw.Connection, step: Step, version: int, checksum: str) -> None:
    """Note that a planned step now stands in a file."""
    connection.execute(
        "UPDATE _alyx_migrations SET kind = 'file', version = ?, checksum = ? WHERE id = ?", (version, checksum, step.id)
    )


def _text(steps: Sequence[Operation]) -> str:
    return json.dumps([operations.write(step) for step in steps]).decode()


def _step(
    number: int,
    version: int | None,
    name: str,
    kind: Literal["file", "planned"],
    checksum: str | None,
    done: str,
    undo: str | None,
    schema: str,
    applied_at: str,
) -> Step:
    return Step(
        number,
        version,
        name,
        kind,
        checksum,
        tuple(operations.read(item) for item in json.loads(done)),
        None if undo is None else tuple(operations.read(item) for item in json.loads(undo)),
        snapshot.read(json.loads(schema)),
        applied_at,
    )
