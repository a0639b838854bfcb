"""What the tests of migrations share: a database in a folder of its own, and plain reading and writing of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alyx.database import tables
from alyx.database.migrations import Migrator
from alyx.database.migrations.values import loaded
from alyx.database.sqlite.connection import connect
from alyx.schema.load import loads
from alyx.schema.model import Schema


class World:
    """One database file with its folder of migrations."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "alyx.db"
        self.folder = folder / "migrations"
        self.migrator = Migrator(self.path, self.folder, wait=5.0)

    def run(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run SQL as another tool would, foreign keys on; the rows."""
        connection = connect(self.path)
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close(True)

    def insert(self, schema: Schema, records: dict[str, list[dict[str, Any]]]) -> None:
        """Store records that are in the API's form."""
        connection = connect(self.path)
        try:
            with connection:
                for name, rows in records.items():
                    fields = schema.collections[name].fields
                    for row in rows:
                        columns = ", ".join(f'"{key}"' for key in row)
                        marks = ", ".join("?" for _ in row)
                        stored = [tables.stored(fields[key], value) for key, value in row.items()]
                        connection.execute(f'INSERT INTO "{name}" ({columns}) VALUES ({marks})', stored)
        finally:
            connection.close(True)

    def records(self, schema: Schema) -> dict[str, list[dict[str, Any]]]:
        """All records in the API's form, ordered by key."""
        found = {}
        for name, collection in schema.collections.items():
            columns = ", ".join(f'"{key}"' for key in collection.fields)
            rows = self.run(f'SELECT {columns} FROM "{name}" ORDER BY "{collection.key.name}"')
            found[name] = [
                {key: loaded(item, value) for (key, item), value in zip(collection.fields.items(), row, strict=True)}
                for row in rows
            ]
        return found

    def picture(self) -> list[tuple[Any, ...]]:
        """Everything that a migration must leave alone when it fails: the structure, the rows, the history."""
        found = self.run("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
        names = [name for kind, name, _ in found if kind == "table" and not name.startswith(("sqlite_", "_alyx_log"))]
        return found + [(name, *row) for name in names for row in self.run(f'SELECT * FROM "{name}" ORDER BY 1')]

    def write(self, name: str, text: str) -> Path:
        """Put a migration file into the folder."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty world."""
    return World(tmp_path)


def schema(fields: str, more: str = "") -> Schema:
    """A schema of the collection `posts` with a text key and the given lines of fields; more: further collections."""
    lines = "\n".join(f"      {line.strip()}" for line in fields.strip().splitlines())
    return loads(f"version: 1\ncollections:\n  posts:\n    fields:\n      id: {{type: string, primary: true}}\n{lines}\n{more}")
