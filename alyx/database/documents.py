"""Rows as JSON text, built inside the database: the one place that turns stored values into the API's form.

One text per row; the texts go to the socket joined (50 rows: 36 µs against 46 by json_group_array over them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from alyx.database import tables
from alyx.schema.model import Field, Type

_ONE: sa.ColumnElement[Any] = sa.literal_column("1")
_ZERO: sa.ColumnElement[Any] = sa.literal_column("0")
_TRUE: sa.ColumnElement[Any] = sa.literal_column("json('true')")
_FALSE: sa.ColumnElement[Any] = sa.literal_column("json('false')")


def document(source: sa.FromClause, fields: Iterable[Field]) -> sa.ColumnElement[str]:
    """`json_object(...)` of these fields of a table or alias."""
    parts: list[sa.ColumnElement[Any]] = []
    for field in fields:
        # A name is [a-z0-9_] by the schema's own rules, so it may stand in the text.
        parts += (sa.literal_column(f"'{field.name}'"), value(field, source.c[field.name]))
    return sa.func.json_object(*parts, type_=sa.TEXT())


def value(field: Field, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A stored value as an argument of `json_object`."""
    if tables.stores_json(field):
        return sa.func.json(column)
    if field.value_type is Type.BOOL:
        return sa.case((column == _ONE, _TRUE), (column == _ZERO, _FALSE))
    if field.value_type is Type.BLOB:
        return sa.func.alyx_base64(column)
    return column
