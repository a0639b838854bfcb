"""Pre-checks: which stored rows stand in the way of a change, would lose something, or break a new limit.

Reads only. A finding names the value and up to five keys, so that a person can go and mend them. The same checks run for a plan
(over the tables as they are now, through `Names`) and again inside the migration's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import apsw

from alyx.database.migrations.rows import register
from alyx.database.migrations.rows import rows as fetch
from alyx.database.migrations.values import Passage, loaded
from alyx.database.tables import quoted
from alyx.schema import convert, defaults, diff
from alyx.schema.model import Collection, Field, Schema
from alyx.schema.operations import AddCollection, AddField, AddIndex, ModifyField, Operation

SHOWN = 5
"""How many keys a finding names."""
LISTED = 20
"""How many different values of one kind are listed."""

Kind = Literal["blocks", "loses", "breaks"]
"""blocks: the change cannot be made. loses: it can, but this value changes. breaks: the value stays, against a limit."""


@dataclass(frozen=True)
class Finding:
    """Rows that matter to a change. count: how many; keys: the first of them; value: what stands there, shortened.

    rest: these are the rows with further values, which are not listed one by one.
    """

    kind: Kind
    field: str
    value: str | None
    reason: str
    count: int
    keys: tuple[str, ...]
    rest: bool = False

    def __str__(self) -> str:
        if self.rest:
            return f"{self.field}: ... and {self.count} more {'record' if self.count == 1 else 'records'}"
        value = "" if self.value is None else f" {self.value}"
        more = ", ..." if self.count > len(self.keys) else ""
        rows = "1 record" if self.count == 1 else f"{self.count} records"
        where = f": {', '.join(self.keys)}{more}" if self.keys else ""
        return f"{self.field}{value}: {self.reason} ({rows}{where})"


@dataclass
class Names:
    """How collections and fields are called in the database now, while a plan already speaks of their later names.

    unknown: fields that files which still wait will make or change, so that nothing can be said about their values yet.
    """

    tables: dict[str, str | None] = field(default_factory=dict)
    columns: dict[tuple[str, str], str] = field(default_factory=dict)
    unknown: set[tuple[str, str]] = field(default_factory=set)

    def table(self, collection: str) -> str | None:
        """The table that holds a collection now; None if there is none yet."""
        return self.tables.get(collection, collection)

    def column(self, collection: str, name: str) -> str:
        """The column that holds a field now."""
        return self.columns.get((collection, name), name)

    def rename_table(self, old: str, new: str) -> None:
        """Note a rename that is planned."""
        self.tables[new] = self.tables.pop(old, old)
        self.tables[old] = None
        for collection, name in [key for key in self.columns if key[0] == old]:
            self.columns[new, name] = self.columns.pop((collection, name))

    def rename_column(self, collection: str, old: str, new: str) -> None:
        """Note a rename that is planned."""
        self.columns[collection, new] = self.columns.pop((collection, old), old)


@dataclass(frozen=True)
class _Rows:
    """One column of one table, with the key of each row; restored rows are left out."""

    connection: apsw.Connection
    table: str
    key: str
    column: str | None
    restore: str | None = None

    def select(self, what: str, where: str = "1", tail: str = "", params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return fetch(self.connection, self._sql(what, where, tail), params)

    def total(self, what: str, where: str, tail: str) -> int:
        """The sum of `what`, a column called `n`, over the rows of a grouped selection."""
        found = fetch(self.connection, f"SELECT coalesce(sum(n), 0) FROM ({self._sql(f'{what} AS n', where, tail)})")
        return int(found[0][0])

    def each(self, what: str, where: str) -> Iterator[tuple[Any, ...]]:
        """One row after the other, for what may be a whole table."""
        yield from self.connection.execute(self._sql(what, where, ""))

    def _sql(self, what: str, where: str, tail: str) -> str:
        if self.restore:
            same = f" AND k.became IS t.{quoted(self.column)}" if self.column else ""
            kept = f"SELECT 1 FROM {quoted(self.restore)} k WHERE k.new_key = t.{quoted(self.key)}{same}"
            where = f"({where}) AND NOT EXISTS ({kept})"
        return f"SELECT {what} FROM {quoted(self.table)} t WHERE {where} {tail}"

    @property
    def keys(self) -> str:
        return f"t.{quoted(self.key)}"

    @property
    def values(self) -> str:
        return f"t.{quoted(self.column or self.key)}"


def is_empty(connection: apsw.Connection, table: str | None) -> bool:
    """Whether a table has no rows, or is not there."""
    if table is None or not connection.table_exists("main", table):
        return True
    return connection.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1").fetchone() is None


def check(connection: apsw.Connection, step: Operation, before: Schema, names: Names, now: str) -> list[Finding]:
    """What stands in the way of a step in the rows as they are. before: the schema that the step meets."""
    match step:
        case AddCollection(collection=made):
            taken = names.table(made.name) is not None and made.name not in before.collections
            stands = taken and connection.table_exists("main", made.name)
            reason = "a table of this name stands there that Alyx did not make"
            return [Finding("blocks", made.name, None, reason, 1, ())] if stands and made.name not in names.tables else []
        case AddField() | ModifyField() | AddIndex():
            if any((step.collection, name) in names.unknown for name in _read(step)):
                return []
            collection = before.collections[step.collection]
            table = names.table(collection.name)
            if table is None or is_empty(connection, table):
                return []
            if isinstance(step, AddIndex):
                return list(_unique_index(connection, table, collection, step, names))
            key = names.column(collection.name, _key(collection).name)
            if isinstance(step, AddField):
                rows = _Rows(connection, table, key, None, step.restore)
                return list(_added(rows, step, names, now))
            column = names.column(collection.name, step.new.name)
            return list(_modified(_Rows(connection, table, key, column, step.restore), step, names, now))
        case _:
            return []


def _read(step: AddField | ModifyField | AddIndex) -> tuple[str, ...]:
    """The fields whose values a check of this step reads."""
    match step:
        case ModifyField(new=item):
            return (item.name,)
        case AddIndex(index=index):
            return index.fields
    return ()


def settle(change: diff.Change, findings: list[Finding], empty: bool) -> diff.Level:
    """The level of a change, given what its rows hold."""
    if change.by_data and empty:
        return "safe"
    kinds = {finding.kind for finding in findings}
    if "loses" in kinds:
        return "destructive"
    if change.only_limits and not findings:
        return "safe"
    return "needs_care" if change.by_data and change.level == "destructive" else change.level


def _key(collection: Collection) -> Field:
    return next((item for item in collection.fields.values() if item.primary), next(iter(collection.fields.values())))


def _added(rows: _Rows, step: AddField, names: Names, now: str) -> Iterator[Finding]:
    added, label = step.field, f"{step.collection}.{step.field.name}"
    passage = Passage(added, added, now)
    value = passage.filled()
    count = rows.select("count(*)")[0][0]
    if not count:
        return
    keys = _shown_keys(rows, "1")
    made_each = added.primary and defaults.is_made(added)
    if value is None and not made_each and (added.primary or not added.nullable):
        yield Finding("blocks", label, None, "records stand there that have no value for it", count, keys)
    elif value is not None and count > 1 and (added.unique or added.primary) and not made_each:
        yield Finding(
            "blocks", label, _show(added, value), "all records would have the same value in a unique field", count, keys
        )
    elif value is not None and added.reference and not made_each:
        target = names.table(added.reference.collection)
        if not _stands(rows.connection, target, names.column(added.reference.collection, added.reference.field), value):
            reason = f"no record of {added.reference.collection} has this value"
            yield Finding("blocks", label, _show(added, value), reason, count, keys)


def _modified(rows: _Rows, step: ModifyField, names: Names, now: str) -> Iterator[Finding]:
    old, new, label = step.old, step.new, f"{step.collection}.{step.new.name}"
    passage = Passage(old, new, now)
    found = list(_nulls(rows, passage, label))
    if not passage.is_plain or diff.tightened(old, new):
        found += _scan(rows, passage, label)
    yield from found
    if any(finding.kind == "blocks" for finding in found):
        return
    expression = rows.values
    if not passage.is_plain:
        register(rows.connection, "alyx_check", lambda stored: _through(passage, stored))
        expression = f"alyx_check({rows.values})"
    becomes_unique = (new.unique or new.primary) and not (old.unique or old.primary)
    if becomes_unique or ((new.unique or new.primary) and not passage.is_plain):
        yield from _duplicates(rows, [expression], label, lambda value: f"{label} {_show(new, value[0])}")
    changed = new.reference and (not old.reference or diff.target(old) != diff.target(new))
    if changed and new.reference:
        target, column = names.table(new.reference.collection), names.column(new.reference.collection, new.reference.field)
        yield from _dangling(rows, expression, target, column, new, label)


def _through(passage: Passage, stored: Any) -> Any:
    """As the passage does it; None for what it refuses, which is only asked of rows that get their kept value back."""
    try:
        return passage.through(stored)
    except convert.Unconvertible:
        return None


def _nulls(rows: _Rows, passage: Passage, label: str) -> Iterator[Finding]:
    """Nulls where none may stand and nothing fills them; or that are filled, which the way back could not tell."""
    if not passage.old.nullable or (passage.new.nullable and not passage.new.primary):
        return
    where = f"{rows.values} IS NULL"
    count = rows.select("count(*)", where)[0][0]
    if count and passage.filled() is None:
        yield Finding("blocks", label, "null", "stands where a value is required", count, _shown_keys(rows, where))


def _scan(rows: _Rows, passage: Passage, label: str) -> list[Finding]:
    """One pass over the values: those that cannot be converted, lose something, or break a limit; grouped by what is wrong."""
    found: dict[tuple[Kind, str, str], tuple[int, list[str]]] = {}
    tighter = not passage.is_plain or bool(diff.tightened(passage.old, passage.new))
    judge = convert.door(passage.new) if tighter else None
    listed: Counter[Kind] = Counter()
    rest: Counter[Kind] = Counter()
    for key, stored in rows.each(f"{rows.keys}, {rows.values}", f"{rows.values} IS NOT NULL"):
        for kind, reason in _faults(passage, stored, judge):
            mark = (kind, _show(passage.old, stored), reason)
            if mark not in found and listed[kind] == LISTED:
                rest[kind] += 1
                continue
            count, keys = found.get(mark, (0, []))
            listed[kind] += mark not in found
            if len(keys) < SHOWN:
                keys.append(str(key))
            found[mark] = (count + 1, keys)
    shown = [Finding(kind, label, value, reason, count, tuple(keys)) for (kind, value, reason), (count, keys) in found.items()]
    return shown + [_rest(kind, label, count) for kind, count in rest.items()]


def _rest(kind: Kind, label: str, count: int) -> Finding:
    return Finding(kind, label, None, "", count, (), rest=True)


def _faults(passage: Passage, stored: Any, judge: Callable[[Any], str | None] | None) -> Iterator[tuple[Kind, str]]:
    try:
        after = passage.through(stored)
    except convert.Unconvertible as error:
        yield "blocks", str(error)
        return
    if after is None and not passage.new.nullable:
        yield "blocks", "has no counterpart, and there is no default"
        return
    if passage.loses(stored):
        yield "loses", f"becomes {_show(passage.new, after)}"
    if judge and after is not None and (fault := judge(loaded(passage.new, after))):
        yield "breaks", fault


def _unique_index(
    connection: apsw.Connection, table: str, collection: Collection, step: AddIndex, names: Names
) -> Iterator[Finding]:
    if not step.index.unique:
        return
    rows = _Rows(connection, table, names.column(collection.name, _key(collection).name), None)
    live = {row[1] for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})")}
    columns = [names.column(collection.name, name) for name in step.index.fields]
    if not set(columns) <= live:
        return
    label = f"{collection.name}({', '.join(step.index.fields)})"
    fields = [collection.fields[name] for name in step.index.fields]

    def show(values: tuple[Any, ...]) -> str:
        return f"{label} " + ", ".join(_show(item, value) for item, value in zip(fields, values, strict=True))

    yield from _duplicates(rows, [f"t.{quoted(column)}" for column in columns], label, show)


def _duplicates(rows: _Rows, expressions: list[str], label: str, show: Any) -> Iterator[Finding]:
    listed, given = ", ".join(expressions), " AND ".join(f"{item} IS NOT NULL" for item in expressions)
    alike = f"GROUP BY {listed} HAVING count(*) > 1"
    found = rows.select(f"count(*), {listed}", given, f"{alike} ORDER BY count(*) DESC LIMIT {LISTED}")
    for count, *values in found:
        equal = " AND ".join(f"{item} IS ?" for item in expressions)
        keys = rows.select(rows.keys, equal, f"ORDER BY 1 LIMIT {SHOWN}", tuple(values))
        yield Finding("blocks", show(tuple(values)), None, "stands more than once", count, tuple(str(key) for (key,) in keys))
    yield from _unlisted(label, [count for count, *_ in found], lambda: rows.total("count(*)", given, alike))


def _dangling(rows: _Rows, expression: str, target: str | None, column: str, new: Field, label: str) -> Iterator[Finding]:
    missing = f"{expression} IS NOT NULL"
    if target is not None and rows.connection.table_exists("main", target):
        missing += f" AND NOT EXISTS (SELECT 1 FROM {quoted(target)} r WHERE r.{quoted(column)} = {expression})"
    found = rows.select(f"{expression}, count(*)", missing, f"GROUP BY 1 LIMIT {LISTED}")
    for value, count in found:
        keys = _shown_keys(rows, f"{expression} IS ?", (value,))
        collection = new.reference.collection if new.reference else ""
        yield Finding("blocks", label, _show(new, value), f"no record of {collection} has it", count, keys)
    yield from _unlisted(label, [count for _, count in found], lambda: rows.total("count(*)", missing, ""))


def _unlisted(label: str, listed: list[int], total: Callable[[], int]) -> Iterator[Finding]:
    """The rows beyond those of the listed values, if there may be any."""
    if len(listed) == LISTED and (more := total() - sum(listed)):
        yield _rest("blocks", label, more)


def _stands(connection: apsw.Connection, table: str | None, column: str, value: Any) -> bool:
    if table is None or not connection.table_exists("main", table):
        return False
    sql = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} = ? LIMIT 1"
    return connection.execute(sql, (value,)).fetchone() is not None


def _shown_keys(rows: _Rows, where: str, params: tuple[Any, ...] = ()) -> tuple[str, ...]:
    return tuple(str(key) for (key,) in rows.select(rows.keys, where, f"ORDER BY 1 LIMIT {SHOWN}", params))


def _show(item: Field, stored: Any) -> str:
    """A stored value for a person: as JSON, at most 60 characters."""
    text = "null" if stored is None else repr(loaded(item, stored)) if not isinstance(stored, bytes) else f"{len(stored)} bytes"
    return text if len(text) <= 60 else f"{text[:57]}..."
