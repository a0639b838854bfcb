"""schema -> SQLAlchemy tables: the one place that says how a field is stored.

Used by migrations for DDL and by records and rules for statements. Tables are plain on purpose (contract §7): uuid, timestamp,
date, decimal and json are text in the API's form, bool is 0 or 1, so other tools can read and write them.
"""

from __future__ import annotations

import base64
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from alyx.base import json
from alyx.schema import model
from alyx.schema.indexes import indexes
from alyx.schema.model import Collection, Field, Schema, Type

LARGE = 4_096
"""Bytes of a value that still stand in an image of the change log (hard-parts §3)."""
SHORT = 1_000
"""Characters of a text that always stands there: a character has 4 bytes at most."""

_ALWAYS_SMALL = frozenset({Type.ID, Type.UUID, Type.TIMESTAMP, Type.DATE, Type.DECIMAL, Type.INT, Type.BOOL, Type.FLOAT})
_SQLITE_TYPES: dict[Type, type[TypeEngine[Any]]] = {
    Type.INT: sa.INTEGER,
    Type.BOOL: sa.INTEGER,
    Type.FLOAT: sa.REAL,
    Type.BLOB: sa.BLOB,
}


def build(schema: Schema) -> sa.MetaData:
    """All tables of a schema, with keys, foreign keys and indexes; `metadata.tables[collection]` is a collection's table."""
    metadata = sa.MetaData()
    for collection in schema.collections.values():
        _table(metadata, collection)
    return metadata


def column_type(field: Field) -> type[TypeEngine[Any]]:
    """The SQL type that holds a field on SQLite (STRICT tables: INTEGER, REAL, TEXT or BLOB)."""
    return _SQLITE_TYPES.get(field.value_type, sa.TEXT)


def may_be_large(field: Field) -> bool:
    """Whether a value that the API took may have over LARGE bytes, so that it is left out of the change log's images."""
    if field.value_type in _ALWAYS_SMALL:
        return False
    if stores_json(field) or field.value_type is Type.FILE:
        return True
    if field.value_type is Type.SELECT:
        return any(len(value.encode()) > LARGE for value in field.select_values)
    limit = field.max_length if field.max_length is not None else model.DEFAULT_MAX_LENGTH.get(field.value_type.value)
    return limit is None or limit * 4 > LARGE


def is_short(value: Any) -> bool:
    """Whether a value is none that images leave out: no text, or one whose characters cannot have LARGE bytes."""
    return not isinstance(value, str) or len(value) <= SHORT


def stores_json(field: Field) -> bool:
    """Whether the column holds JSON text: a json field, or a select with several values."""
    return field.type is Type.JSON or field.is_list


def exact_order(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """A decimal's text as a scaled integer: `10.50` -> 1050, so that order and equality are exact (text would sort '9.5' last).

    Canonical text always has exactly `scale` decimals, hence dropping the point is multiplying by 10^scale.
    """
    return sa.cast(sa.func.replace(column, ".", "", type_=sa.TEXT()), sa.INTEGER())


def _table(metadata: sa.MetaData, collection: Collection) -> sa.Table:
    table = sa.Table(
        collection.name,
        metadata,
        *(_column(field) for field in collection.fields.values()),
        *(
            sa.ForeignKeyConstraint(
                [field.name],
                [f"{field.reference.collection}.{field.reference.field}"],
                ondelete=field.reference.on_delete.upper(),
            )
            for field in collection.fields.values()
            if field.reference
        ),
        quote=True,
        sqlite_strict=True,
        sqlite_autoincrement=collection.key.value_type is Type.INT and not collection.key.reference,
    )
    for index in indexes(collection):
        _index(table, collection, index)
    return table


def _column(field: Field) -> sa.Column[Any]:
    checks = []
    name = sa.sql.quoted_name(field.name, quote=True)
    if stores_json(field):
        # Older SQLite, as other tools have it, says 0 and not NULL for json_valid(NULL).
        checks.append(sa.CheckConstraint(f"{quoted(field.name)} IS NULL OR json_valid({quoted(field.name)})"))
    if field.value_type is Type.BOOL:
        checks.append(sa.CheckConstraint(f"{quoted(field.name)} IN (0, 1)"))
    return sa.Column(
        name,
        column_type(field),
        *checks,
        primary_key=field.primary,
        nullable=field.nullable and not field.primary,
        server_default=_server_default(field),
    )


def _server_default(field: Field) -> sa.TextClause | str | None:
    """A literal default as DDL, so that other tools' inserts get it too; `auto` and `now` are the server's alone."""
    value = field.default
    if value is model.MISSING or value is model.AUTO or value is model.NOW or value is None:
        return None
    literal = stored(field, value)
    return literal if isinstance(literal, str) else sa.text(sql_literal(literal))


def index_columns(collection: Collection, index: model.Index) -> tuple[str, ...]:
    """The columns of an index as built: a non-unique one also carries the primary key.

    Every list ends its order with the key, and with the key in the index SQLite needs no temporary B-tree for it.
    """
    key = collection.key.name
    return index.fields if index.unique or key in index.fields else (*index.fields, key)


def _index(table: sa.Table, collection: Collection, index: model.Index) -> None:
    columns: list[sa.ColumnElement[Any]] = []
    for name in index_columns(collection, index):
        column: sa.ColumnElement[Any] = table.c[name]
        if collection.fields[name].value_type is Type.DECIMAL:
            column = exact_order(column)
        columns.append(column.desc() if index.order == "desc" else column)
    sa.Index(sa.sql.quoted_name(index.name, quote=True), *columns, unique=index.unique)


def stored(field: Field, value: Any) -> Any:
    """A value in the API's form -> what the SQLite column holds. The value must be valid already."""
    if value is None:
        return None
    if stores_json(field):
        return json.dumps(value).decode()
    if field.value_type is Type.BOOL:
        return int(value)
    if field.value_type is Type.BLOB:
        return base64.b64decode(value)
    if field.value_type is Type.FLOAT:
        return float(value)
    return value


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_literal(value: str | int | float | bytes) -> str:
    """A stored value as SQL text, for DDL only, where nothing can be bound; everywhere else values are bound."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return repr(value)
