"""Collections as SQLite's DDL, for the migrator alone; what a table looks like is decided in database/tables.py.

Pure: texts only. A collection that refers to one that does not exist yet is written all the same: SQLite takes it.
"""

from __future__ import annotations

from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from alyx.database import tables
from alyx.database.tables import quoted
from alyx.schema.model import Collection, Field, Schema, Type

_DIALECT = sqlite.dialect()


def table(collection: Collection) -> sa.Table:
    """A collection's table, with stand-ins for what it refers to."""
    stubs: dict[str, Collection] = {}
    for item in collection.fields.values():
        if item.reference and item.reference.collection != collection.name:
            known = dict(stubs[item.reference.collection].fields) if item.reference.collection in stubs else {}
            known.setdefault(item.reference.field, Field(item.reference.field, Type.UUID, primary=not known))
            stubs[item.reference.collection] = Collection(item.reference.collection, MappingProxyType(known))
    schema = Schema(1, MappingProxyType({**stubs, collection.name: collection}))
    return tables.build(schema).tables[collection.name]


def create_table(collection: Collection, name: str | None = None) -> str:
    """CREATE TABLE; under another name for a rebuild, with references to itself still under its own."""
    text = str(CreateTable(table(collection)).compile(dialect=_DIALECT)).strip()
    head = f"CREATE TABLE {quoted(collection.name)} "
    if not text.startswith(head):
        raise AssertionError(f"unexpected DDL: {text[:80]}")
    return f"CREATE TABLE {quoted(name or collection.name)} {text[len(head) :]}"


def column(collection: Collection, field: Field) -> str:
    """A column as ADD COLUMN takes it, with its reference."""
    text = str(CreateColumn(table(collection).c[field.name]).compile(dialect=_DIALECT))
    if field.reference:
        target = f"{quoted(field.reference.collection)} ({quoted(field.reference.field)})"
        text += f" REFERENCES {target} ON DELETE {field.reference.on_delete.upper()}"
    return text


def indexes(collection: Collection) -> dict[str, str]:
    """Name -> CREATE INDEX of every index, declared or implied."""
    found = table(collection).indexes
    return {str(index.name): str(CreateIndex(index).compile(dialect=_DIALECT)).strip() for index in found}
