"""One collection's table brought from one form to another: by ALTER TABLE where SQLite's own is right and cheap, else rebuilt.

Called by `execute` for neighbouring operations on the fields and indexes of one collection.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection as Group
from typing import Any

import apsw

from alyx.database import tables
from alyx.database.migrations import ddl, trash
from alyx.database.migrations.parts import Part
from alyx.database.migrations.rebuild import rebuild
from alyx.database.migrations.rows import register, rows
from alyx.database.migrations.values import Passage
from alyx.database.tables import quoted
from alyx.schema import defaults, model
from alyx.schema.model import Collection, Field, Type
from alyx.schema.operations import AddField, DropField, ModifyField


class Reshaping:
    """A part that is being carried out. kept: step -> the table that keeps what the way back needs, for those that need one.

    next_trash: gives the name of such a table. losing: the identities of the operations that lose values.
    """

    def __init__(
        self, connection: apsw.Connection, part: Part, now: str, next_trash: Callable[[], str], losing: Group[int]
    ) -> None:
        self.kept: dict[int, str] = {}
        self._connection = connection
        self._part = part
        self._now = now
        self._next_trash = next_trash
        self._losing = losing
        self._before, self._after = part.sides
        self._functions = 0
        self._added = [step for step in part.steps if isinstance(step, AddField)]
        self._dropped = [step for step in part.steps if isinstance(step, DropField)]
        self._modified = [step for step in part.steps if isinstance(step, ModifyField)]
        candidates: list[AddField | ModifyField] = [*self._added, *self._modified]
        self._restored = [step for step in candidates if step.restore]

    def run(self) -> None:
        """Change the table and its indexes."""
        ours, wanted = ddl.indexes(self._before), ddl.indexes(self._after)
        self._keep()
        if self._must_rebuild():
            self._rebuild(frozenset({*ours, *wanted}))
        else:
            for name, text in ours.items():
                if wanted.get(name) != text:
                    self._connection.execute(f"DROP INDEX IF EXISTS {quoted(name)}")
            self._alter()
        live = {name for (name,) in rows(self._connection, "SELECT name FROM sqlite_schema WHERE type = 'index'")}
        for name, text in wanted.items():
            if name not in live:
                self._connection.execute(text)

    def _must_rebuild(self) -> bool:
        return (
            bool(self._restored)
            or any(not self._same_column(step) for step in self._modified)
            or any(not _addable(step.field) for step in self._added)
            or any(step.field.primary or step.field.reference for step in self._dropped)
        )

    def _same_column(self, step: ModifyField) -> bool:
        if step.old.primary != step.new.primary or step.old.reference != step.new.reference:
            return False
        one, other = (Collection(self._after.name, {"_key": _KEY, f.name: f}) for f in (step.old, step.new))
        if not step.old.primary:
            return self._passage(step).is_plain and ddl.column(one, step.old) == ddl.column(other, step.new)
        return step.old.value_type is step.new.value_type and self._passage(step).is_plain

    def _alter(self) -> None:
        table = quoted(self._after.name)
        for gone in self._dropped:
            self._connection.execute(f"ALTER TABLE {table} DROP COLUMN {quoted(gone.field.name)}")
        for made in self._added:
            self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {ddl.column(self._after, made.field)}")
            filled = Passage(made.field, made.field, self._now).filled()
            if made.field.default is model.NOW and filled is not None:
                self._connection.execute(f"UPDATE {table} SET {quoted(made.field.name)} = ?", (filled,))

    def _rebuild(self, ours: frozenset[str]) -> None:
        joins = [self._join(number, step) for number, step in enumerate(self._restored)]
        columns = {name: self._value(item) for name, item in self._after.fields.items()}
        rebuild(self._connection, self._after, columns, " ".join(joins), ours)

    def _join(self, number: int, step: AddField | ModifyField) -> str:
        """The kept values of a step as the table `k<number>`, for the rows that still hold what the change made of them."""
        key = f"k{number}.new_key = t.{quoted(self._before.key.name)}"
        same = f" AND k{number}.became IS t.{quoted(step.new.name)}" if isinstance(step, ModifyField) else ""
        return f"LEFT JOIN {quoted(step.restore or '')} k{number} ON {key}{same}"

    def _value(self, item: Field) -> str:
        """SQL that gives a field's value from the old row."""
        for number, step in enumerate(self._restored):
            if (step.new if isinstance(step, ModifyField) else step.field).name == item.name:
                return f"CASE WHEN k{number}.new_key IS NOT NULL THEN k{number}.old ELSE {self._made(item)} END"
        return self._made(item)

    def _made(self, item: Field) -> str:
        for step in self._modified:
            if step.new.name == item.name:
                passage = self._passage(step)
                column = f"t.{quoted(item.name)}"
                return column if passage.is_plain else f"{self._function(passage.through)}({column})"
        for added in self._added:
            if added.field.name == item.name:
                return self._filling(item)
        return f"t.{quoted(item.name)}"

    def _filling(self, item: Field) -> str:
        """SQL for the value that existing rows get in a new field."""
        passage = Passage(item, item, self._now)
        if defaults.is_made(item):
            return f"{self._function(lambda _row: passage.filled())}(t.rowid)" if item.value_type is not Type.INT else "NULL"
        value = passage.filled()
        return "NULL" if value is None else tables.sql_literal(value)

    def _passage(self, step: ModifyField) -> Passage:
        return Passage(step.old, step.new, self._now)

    def _function(self, function: Callable[[Any], Any]) -> str:
        """Put a function of one value on the connection; its name."""
        self._functions += 1
        name = f"alyx_passage_{self._functions}"
        register(self._connection, name, function)
        return name

    def _keep(self) -> None:
        """Keep what dropping takes and what changing loses."""
        for number, step in enumerate(self._part.steps):
            if isinstance(step, DropField):
                self.kept[number] = self._next_trash()
                key = self._made(self._after.key)
                trash.keep_column(self._connection, self.kept[number], self._before.name, key, step.field.name)
            elif isinstance(step, ModifyField) and (id(step) in self._losing or self._passage(step).fills):
                self._keep_losses(number, step, self._passage(step))

    def _keep_losses(self, number: int, step: ModifyField, passage: Passage) -> None:
        kept, column = self._next_trash(), f"t.{quoted(step.old.name)}"
        loses, became = self._function(lambda value: int(passage.loses(value))), self._function(passage.through)
        key = self._made(self._after.key)
        source = f"{quoted(self._before.name)} t"
        if trash.keep_losses(self._connection, kept, source, key, column, f"{became}({column})", f"{loses}({column})"):
            self.kept[number] = kept


_KEY = Field("_key", Type.UUID, primary=True)


def _addable(item: Field) -> bool:
    """Whether SQLite's ADD COLUMN makes the column as CREATE TABLE would, for existing rows too."""
    if item.primary:
        return False
    literal = item.default is not model.MISSING and item.default is not model.NOW and item.default is not model.AUTO
    has_default = literal and item.default is not None
    if item.reference and has_default:
        return False
    return item.nullable or has_default
