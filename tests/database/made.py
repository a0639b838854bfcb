"""Schemas, tables and small pieces of work for the tests of the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from alyx.database import tables
from alyx.database.sqlite import changes, internal
from alyx.database.sqlite.connection import connect
from alyx.database.work import Statement, Work
from alyx.schema.model import Collection, Field, Index, Reference, Schema, Type

CHANGE_COLUMNS = ("seq", "collection", "op", "doc_id", "before", "after", "hidden_before", "hidden_after", "at")


def field(name: str, kind: str, **more: Any) -> Field:
    return Field(name, Type(kind), **more)


def collection(name: str, *fields: Field, indexes: tuple[Index, ...] = ()) -> Collection:
    return Collection(name, {item.name: item for item in fields}, indexes)


def schema(*collections: Collection) -> Schema:
    return Schema(1, {item.name: item for item in collections})


BLOG = schema(
    collection("users", field("id", "uuid", primary=True), field("name", "string", unique=True)),
    collection(
        "posts",
        field("id", "uuid", primary=True),
        field("title", "string", max_length=200),
        field("body", "text", nullable=True),
        field("author_id", "uuid", nullable=True, reference=Reference("users", "id", "cascade")),
        field("editor_id", "uuid", nullable=True, reference=Reference("users", "id", "set null")),
        field("views", "int", default=0),
    ),
)


def create_tables(connection: apsw.Connection, made: Schema) -> None:
    dialect = sqlite.dialect()
    for table in tables.build(made).sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda item: str(item.name)):
            connection.execute(str(CreateIndex(index).compile(dialect=dialect)))


def create(path: Path | str, made: Schema = BLOG, observed: dict[str, frozenset[str]] | None = None) -> apsw.Connection:
    """A database with Alyx's tables, those of the schema and their triggers."""
    connection = connect(path)
    internal.upgrade(connection)
    create_tables(connection, made)
    changes.install(connection, made, lambda name: (observed or {}).get(name, frozenset()))
    return connection


def log(connection: apsw.Connection) -> list[dict[str, Any]]:
    """The lines of the change log, images read; without the nonce, which is another one each time."""
    lines = []
    for row in connection.execute(f"SELECT {', '.join(CHANGE_COLUMNS)} FROM _alyx_changes ORDER BY seq"):
        line = dict(zip(CHANGE_COLUMNS, row, strict=True))
        for name in ("before", "after", "hidden_before", "hidden_after"):
            line[name] = json.loads(line[name]) if line[name] is not None else None
        lines.append(line)
    return lines


def ask(sql: str, *params: Any, light: bool = False) -> Callable[[], Work[list[Any]]]:
    """Work of one statement that returns its rows."""

    def work() -> Work[list[Any]]:
        return (yield Statement(sql, params, light))

    return work


def add_user(key: str, name: str | None = None) -> Callable[[], Work[str]]:
    """Work that stores a user and returns the key."""

    def work() -> Work[str]:
        yield Statement("INSERT INTO users (id, name) VALUES (?, ?)", (key, name or key))
        return key

    return work
