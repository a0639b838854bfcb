"""Operations carried out on SQLite, inside a transaction that the migrator holds.

Foreign keys must be off and our own triggers dropped. Nothing is committed here: whatever fails, the caller rolls back and the
database is as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import apsw

from alyx.database.migrations import checks, ddl, trash
from alyx.database.migrations.checks import Finding
from alyx.database.migrations.errors import MigrationError
from alyx.database.migrations.guard import guarded
from alyx.database.migrations.parts import Part, gather
from alyx.database.migrations.reshape import Reshaping
from alyx.database.migrations.results import Taken
from alyx.database.migrations.rows import rows
from alyx.database.tables import quoted
from alyx.schema import diff, operations
from alyx.schema.convert import Unconvertible
from alyx.schema.model import Collection, Schema
from alyx.schema.operations import (
    AddCollection,
    DropCollection,
    DropField,
    ModifyField,
    Operation,
    RenameCollection,
    RenameField,
    Restoring,
    Sql,
)

ENGINE = "sqlite"


class Execution:
    """One run of operations. undo: what takes them back, None if it cannot be done. remarks: sentences for the user.

    taken: the data that went, and where it is kept; empty: tables that were to keep some and found none. kept_as: gives the
    name of the nth table that keeps it. known: what the checks have found already in this transaction, by the identity of the
    operation; for others they run.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        kept_as: Callable[[int], str],
        now: str,
        *,
        known: Mapping[int, Sequence[Finding]] | None = None,
    ) -> None:
        self.undo: list[Operation] | None = []
        self.remarks: list[str] = []
        self.touched: set[str] = set()
        self.taken: list[Taken] = []
        self.empty: list[str] = []
        self._connection = connection
        self._kept_as = kept_as
        self._now = now
        self._found = dict(known or {})
        self._kept = 0

    def run(self, schema: Schema, steps: Iterable[Operation]) -> Schema:
        """Carry the operations out on a database that is at `schema`; the schema after them.

        Raises MigrationError with what stands in the way; the transaction must then be rolled back.
        """
        parts = gather(schema, steps)
        broken = self._broken_references()
        readable = self._readable_views()
        try:
            for part in parts:
                self._check(part)
                self._carry_out(part)
                schema = part.after
            self._check_views(readable)
        except Unconvertible as error:
            raise MigrationError(f"a value cannot be converted: {error}") from error
        except apsw.Error as error:
            raise MigrationError(f"the database refuses it: {error}", hint=_hint(error)) from error
        self._check_references(broken)
        if self.undo is not None:
            self.undo.reverse()
        return schema

    def _check(self, part: Part) -> None:
        found: list[Finding] = []
        for step in part.steps:
            if id(step) not in self._found:
                self._found[id(step)] = checks.check(self._connection, step, part.before, checks.Names(), self._now)
            found += self._found[id(step)]
        reasons = [str(finding) for finding in found if finding.kind == "blocks"]
        if reasons:
            titles = "; ".join(diff.judge(step).title for step in part.steps)
            raise MigrationError(f"stored records stand in the way ({titles})", reasons=reasons, hint="mend these records first")
        self.remarks += [str(finding) for finding in found if finding.kind != "blocks"]

    def _carry_out(self, part: Part) -> None:
        match part.steps[0]:
            case AddCollection() as step:
                self._add_collection(step)
            case DropCollection(collection=gone):
                self._drop_collection(part, gone)
            case RenameCollection(old=old, new=new):
                self._connection.execute(f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}")
                self._rename_indexes(part.before.collections[old], part.after.collections[new])
                self._did(RenameCollection(old, new), old, new)
            case RenameField(collection=name, old=old, new=new):
                self._connection.execute(f"ALTER TABLE {quoted(name)} RENAME COLUMN {quoted(old)} TO {quoted(new)}")
                self._rename_indexes(part.before.collections[name], part.after.collections[name])
                self._did(RenameField(name, old, new), name)
            case Sql() as step:
                self._sql(step, part.before)
            case _:
                self._reshape(part)

    def _reshape(self, part: Part) -> None:
        losing = {id(step) for step in part.steps if any(found.kind == "loses" for found in self._found[id(step)])}
        reshaping = Reshaping(self._connection, part, self._now, self._next_trash, losing)
        reshaping.run()
        for number, step in enumerate(part.steps):
            kept = reshaping.kept.get(number)
            if kept and isinstance(step, DropField | ModifyField):
                field = step.field.name if isinstance(step, DropField) else step.old.name
                self._took(step.collection, field, trash.count(self._connection, kept, "old"), kept)
            self._did(step, part.collection or "", restore=kept)

    def _add_collection(self, step: AddCollection) -> None:
        made = step.collection
        self._connection.execute(ddl.create_table(made))
        if step.restore:
            self._bring_back(made, step.restore)
        for sql in ddl.indexes(made).values():
            self._connection.execute(sql)
        self._did(step, made.name)

    def _bring_back(self, made: Collection, kept: str) -> None:
        """The records of a dropped collection, but for references to what has been deleted since."""
        columns = ", ".join(quoted(name) for name in made.fields)
        table = quoted(made.name)
        self._connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {quoted(kept)}")
        names = {row[0]: row[3] for row in rows(self._connection, f"PRAGMA foreign_key_list({table})")}
        lost = 0
        while broken := rows(self._connection, f"PRAGMA foreign_key_check({table})"):
            for _, rowid, _, number in broken:
                item = made.fields[names[number]]
                if item.nullable and item.reference and item.reference.on_delete != "cascade":
                    self._connection.execute(f"UPDATE {table} SET {quoted(item.name)} = NULL WHERE rowid = ?", (rowid,))
                else:
                    self._connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
                    lost += self._connection.changes()
        if lost:
            self.remarks.append(f"{made.name}: {lost} record(s) did not come back, because what they refer to is gone")

    def _drop_collection(self, part: Part, gone: Collection) -> None:
        kept = self._next_trash()
        trash.keep_table(self._connection, kept, gone.name)
        self._took(gone.name, None, trash.count(self._connection, kept), kept)
        self._connection.execute(f"DROP TABLE {quoted(gone.name)}")
        self._did(DropCollection(part.before.collections[gone.name]), gone.name, restore=kept)

    def _rename_indexes(self, before: Collection, after: Collection) -> None:
        """Implied indexes are called after collection and field; SQLite cannot rename one."""
        ours, wanted = ddl.indexes(before), ddl.indexes(after)
        for name in ours:
            if name not in wanted:
                self._connection.execute(f"DROP INDEX IF EXISTS {quoted(name)}")
        for name, text in wanted.items():
            if name not in ours:
                self._connection.execute(text)

    def _sql(self, step: Sql, before: Schema) -> None:
        text = step.up.get(ENGINE)
        if text:
            with guarded(self._connection):
                for _ in self._connection.execute(text):  # rows of one statement hold back the next until they are read
                    pass
            if not self._connection.in_transaction:  # a conflict clause such as OR ROLLBACK can do that, too
                raise MigrationError("the SQL ended the transaction", hint="use OR ABORT instead of OR ROLLBACK")
        self.touched |= set(before.collections)
        if (text and not step.down.get(ENGINE)) or not step.down:
            self.undo = None
        self._did(step)

    def _did(self, step: Operation, *touched: str, restore: str | None = None) -> None:
        """Note the way back of a step, and whose rows it touched."""
        self.touched |= set(touched)
        if self.undo is None:
            return
        back = operations.invert(step)
        self.undo.append(replace(back, restore=restore) if restore and isinstance(back, Restoring) else back)

    def _took(self, collection: str, field: str | None, count: int, kept: str) -> None:
        if count:
            self.taken.append(Taken(collection, field, count, kept))
        else:
            self.empty.append(kept)

    def _next_trash(self) -> str:
        self._kept += 1
        return self._kept_as(self._kept)

    def _broken_references(self) -> Counter[tuple[str, str]]:
        """How many references point nowhere, by table and target: other tools may have left some, and those are not our doing."""
        found = rows(self._connection, "PRAGMA foreign_key_check")
        return Counter((row[0], row[2]) for row in found)

    def _check_references(self, before: Counter[tuple[str, str]]) -> None:
        worse = self._broken_references() - before
        if worse:
            reasons = [
                f"{count} records of {table} refer to {target} that is not there" for (table, target), count in worse.items()
            ]
            raise MigrationError("references would point nowhere", reasons=reasons)

    def _readable_views(self) -> set[str]:
        found = rows(self._connection, "SELECT name FROM sqlite_schema WHERE type = 'view'")
        return {name for (name,) in found if self._view_fault(name) is None}

    def _check_views(self, before: set[str]) -> None:
        found = rows(self._connection, "SELECT name FROM sqlite_schema WHERE type = 'view'")
        for (name,) in found:
            if name in before and (fault := self._view_fault(name)):
                raise MigrationError(
                    f"the view {name} would no longer work: {fault}", hint="drop it in a migration's `sql` first"
                )

    def _view_fault(self, name: str) -> str | None:
        try:
            rows(self._connection, f"SELECT * FROM {quoted(name)} LIMIT 0")
        except apsw.Error as error:
            return str(error)
        return None


def _hint(error: apsw.Error) -> str | None:
    text = str(error)
    if "trigger" in text or "view" in text:
        return "a trigger or view that Alyx did not make uses it; drop that first"
    return None
