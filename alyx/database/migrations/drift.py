"""Drift: where the live tables are not what the history says, because somebody changed them by hand.

Reads only. Tables that Alyx never made are no drift: they are listed as remarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import apsw

from alyx.database.migrations import ddl, structure
from alyx.database.migrations.structure import Column, Table
from alyx.database.sqlite import changes
from alyx.schema.model import Schema


@dataclass(frozen=True)
class Drift:
    """found: sentences, each naming table and part; empty when all is as it should be. remarks: worth knowing, no drift."""

    found: tuple[str, ...]
    remarks: tuple[str, ...]


def drift(connection: apsw.Connection, schema: Schema, observed: Callable[[str], frozenset[str]] | None) -> Drift:
    """Compare the live database with the schema that the history says.

    observed: what rules read, which the triggers depend on; None: only whether the triggers are there.
    """
    live, wanted = structure.read(connection), expected(schema)
    found = _tables(live, wanted)
    if schema.collections:
        found += _triggers(connection, schema, observed)
    unknown = [f"{name}: a table that Alyx did not make" for name in live if name not in wanted]
    remarks = [remark for name, table in wanted.items() if name in live for remark in _foreign_indexes(name, table, live[name])]
    return Drift(tuple(found), tuple(unknown + remarks))


def structural(connection: apsw.Connection, schema: Schema) -> list[str]:
    """Where the tables alone are not what the schema says; triggers are not looked at."""
    return _tables(structure.read(connection), expected(schema))


def _tables(live: Mapping[str, Table], wanted: Mapping[str, Table]) -> list[str]:
    found: list[str] = []
    for name, table in wanted.items():
        found += [f"{name}: the table is missing"] if name not in live else _table(name, table, live[name])
    return found


def expected(schema: Schema) -> dict[str, Table]:
    """The structure that a schema asks for, read from an empty database that has it: so both sides are SQLite's own words."""
    connection = apsw.Connection(":memory:")
    try:
        for collection in schema.collections.values():
            connection.execute(ddl.create_table(collection))
        for collection in schema.collections.values():
            for sql in ddl.indexes(collection).values():
                connection.execute(sql)
        return structure.read(connection)
    finally:
        connection.close()


def _table(name: str, wanted: Table, live: Table) -> Iterator[str]:
    for column, form in wanted.columns.items():
        if column not in live.columns:
            yield f"{name}.{column}: the column is missing"
        else:
            yield from _column(f"{name}.{column}", form, live.columns[column])
    yield from (
        f"{name}.{column}: a column that the schema does not know" for column in live.columns if column not in wanted.columns
    )
    yield from _references(name, wanted.references, live.references)
    for index, text in wanted.indexes.items():
        if index not in live.indexes:
            yield f"{name}: the index {index} is missing"
        elif live.indexes[index] != text:
            yield f"{name}: the index {index} is {live.indexes[index]} instead of {text}"
    yield from (f"{name}: the check {check} is missing" for check in sorted(wanted.checks - live.checks))
    yield from (f"{name}: a check that the schema does not know: {check}" for check in sorted(live.checks - wanted.checks))
    if wanted.strict and not live.strict:
        yield f"{name}: the table is not STRICT"
    if wanted.autoincrement != live.autoincrement:
        yield f"{name}: AUTOINCREMENT is {'missing' if wanted.autoincrement else 'not expected'}"


def _column(label: str, wanted: Column, live: Column) -> Iterator[str]:
    if wanted.type != live.type:
        yield f"{label}: the type is {live.type} instead of {wanted.type}"
    if wanted.not_null != live.not_null:
        yield f"{label}: NOT NULL is {'missing' if wanted.not_null else 'not expected'}"
    if wanted.default != live.default:
        yield f"{label}: the default is {live.default or 'none'} instead of {wanted.default or 'none'}"
    if wanted.key != live.key:
        yield f"{label}: it is {'not' if wanted.key else 'wrongly'} the primary key"


def _references(name: str, wanted: Mapping[str, tuple[str, str, str]], live: Mapping[str, tuple[str, str, str]]) -> Iterator[str]:
    for column, (table, target, action) in wanted.items():
        if column not in live:
            yield f"{name}.{column}: the reference to {table}.{target} is missing"
        elif live[column] != (table, target, action):
            found = "{}.{} on delete {}".format(*live[column])
            yield f"{name}.{column}: it refers to {found} instead of {table}.{target} on delete {action}"
    yield from (f"{name}.{column}: a reference that the schema does not know" for column in live if column not in wanted)


def _foreign_indexes(name: str, wanted: Table, live: Table) -> Iterator[str]:
    yield from (f"{name}: an index that Alyx did not make: {index}" for index in live.indexes if index not in wanted.indexes)


def _triggers(connection: apsw.Connection, schema: Schema, observed: Callable[[str], frozenset[str]] | None) -> Iterator[str]:
    live = structure.triggers(connection)
    for collection in schema.collections.values():
        wanted = changes.triggers(collection, observed(collection.name) if observed else frozenset())
        missing = [name for name in wanted if name not in live]
        if missing:
            yield f"{collection.name}: triggers of the change log are missing ({', '.join(missing)})"
        changed = [name for name, text in wanted.items() if observed and name in live and live[name] != text]
        if changed:
            yield f"{collection.name}: triggers of the change log are not as they should be ({', '.join(changed)})"
