"""The migrator: brings a database to what schema.yaml says, and back (contract §7).

Called by the command line, dev mode and `serve`. Synchronous, on a connection of its own for each call. It holds the write lock
(BEGIN IMMEDIATE) for each step, so that of several nodes one migrates while the others wait and then find nothing to do; every
step is one transaction, with its line in the history. It never prints, and never decides what a user meant by silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import apsw

from alyx.base import clock
from alyx.database.migrations import checks, files, folder, history, judging, trash
from alyx.database.migrations import drift as live
from alyx.database.migrations.drift import Drift
from alyx.database.migrations.errors import MigrationError
from alyx.database.migrations.execute import Execution
from alyx.database.migrations.files import File
from alyx.database.migrations.history import Step
from alyx.database.migrations.results import Applied, Check, FileState, Judged, Plan, RolledBack, Status, StepState, Taken
from alyx.database.sqlite import changes, connection, internal
from alyx.schema import operations
from alyx.schema.diff import diff
from alyx.schema.model import Schema
from alyx.schema.operations import AddIndex, OperationError, Restoring

Observed = Callable[[Schema], Callable[[str], frozenset[str]]]
"""schema -> collection -> the columns that rules read, which the change log's images must hold."""

WAIT = 600.0
"""Seconds to wait for another node's migration, or for a writer, before giving up."""


class _Opens(Protocol):
    def __call__(self, path: str | Path) -> apsw.Connection: ...


def nothing_observed(_schema: Schema) -> Callable[[str], frozenset[str]]:
    """For a schema without rules."""
    return lambda _collection: frozenset()


class _Unkept(Exception):
    """What was done is to be undone."""


class Migrator:
    """Migrations of one SQLite database.

    path: the database, made if it is not there. folder: where migration files lie; a missing folder is an empty one. wait:
    seconds to wait for the write lock. open_: how a connection is made, for tests.
    """

    def __init__(
        self,
        path: str | Path,
        folder: str | Path,
        observed: Observed = nothing_observed,
        *,
        wait: float = WAIT,
        open_: _Opens | None = None,
    ) -> None:
        self._path = path
        self._folder = Path(folder)
        self._observed = observed
        self._wait = wait
        self._open_ = open_ or (lambda place: connection.connect(place, wait=wait))

    def plan(self, schema: Schema) -> Plan:
        """What `apply` would do. Takes no lock and changes nothing but Alyx's own tables of an older release.

        Raises SourceError for broken migration files, MigrationError for files that do not fit the history.
        """
        found = files.read_folder(self._folder)
        with self._open() as database:
            steps = history.read(database)
            pending = folder.pending(steps, found)
            names, state = checks.Names(), history.state(steps)
            certain = True
            for file in pending:
                for operation in file.operations(state):
                    certain = certain and not isinstance(operation, operations.Sql)
                    judging.note_names(names, operation)
                    judging.note_unknown(names, operation)
                    state = folder.evolve(file, state, operation)
            judged = tuple(judging.judge(database, state, schema, names))
            notes = list(folder.notes(pending))
            if pending and judged and not certain:
                notes.append("pending files run SQL: what the rows hold is judged again when it is applied")
            problems = tuple(folder.problems(steps, found))
            return Plan(tuple(_file_state(file) for file in pending), judged, problems, tuple(notes))

    def apply(self, schema: Schema, *, yes: bool = False, accept_data_loss: bool = False) -> Applied:
        """Run the pending files, then the difference between the database and `schema`, as one planned migration.

        The difference is made whole or not at all: needs-care changes want `yes`, destructive ones `accept_data_loss` (which
        includes yes); rows in the way stop it in any case. What files say is done without asking: they were written for it.
        Files that ran before a failure stay done. Raises SourceError or MigrationError.
        """
        done: list[File] = []
        remarks: list[str] = []
        while True:
            found = files.read_folder(self._folder)
            with self._open() as database, self._transaction(database):
                steps = history.read(database)
                if adopted := folder.adopt(database, steps, found):
                    remarks += adopted
                    continue
                pending = folder.pending(steps, found)
                if not pending:
                    return self._apply_difference(database, steps, schema, done, remarks, yes, accept_data_loss)
                remarks += [*folder.notes(pending[:1]), *self._run_file(database, steps, pending[0], schema)]
                done.append(pending[0])

    def status(self) -> Status:
        """What was done, what waits, and what is wrong with the files."""
        found = files.read_folder(self._folder)
        with self._open() as database:
            steps = history.read(database)
            waiting = folder.waiting(steps, found)
            return Status(
                tuple(_step_state(step) for step in steps),
                tuple(_file_state(file) for file in waiting),
                tuple(folder.problems(steps, found)),
            )

    def rollback(self, n: int = 1) -> RolledBack:
        """Take back the last `n` steps, newest first, all in one transaction.

        Data that a step took away comes back from what was kept of it; data that goes now is kept in its turn. Raises
        MigrationError when a step cannot be taken back.
        """
        with self._open() as database, self._transaction(database):
            return self._roll_back(database, n)

    def preview_rollback(self, n: int = 1) -> RolledBack:
        """What `rollback` would do, found by doing it and not keeping it: exact, and it takes as long. Raises alike."""
        found: list[RolledBack] = []
        with suppress(_Unkept), self._open() as database, self._transaction(database):
            found.append(self._roll_back(database, n))
            raise _Unkept
        return found[0]

    def drift(self, schema: Schema | None = None) -> Drift:
        """Where the live tables are not what the history says. schema: whose rules the triggers are compared with."""
        with self._open() as database:
            state = history.state(history.read(database))
            observed = self._reads(schema, state) if schema else None
            return live.drift(database, _with_hidden(state, schema), observed)

    def check(self, schema: Schema) -> Check:
        """Whether files, schema.yaml and database agree."""
        plan = self.plan(schema)
        problems = list(plan.problems)
        problems += [f"{file.path.name} is not applied" for file in plan.pending]
        problems += [f"schema.yaml differs: {item.title}" for item in plan.changes]
        if not plan.pending:
            problems += [f"drift: {text}" for text in self.drift(None if plan.changes else schema).found]
        return Check(tuple(problems))

    def create(self, schema: Schema, name: str, description: str | None = None) -> list[Path]:
        """Write the difference between the database (pending files counted as done) and `schema` as the next file.

        Planned migrations that stand in the history become files first, so that the folder alone leads an empty database to
        the same schema; they are written even if there is no further difference. Returns the files written, that of the
        difference last; only that one waits to be applied. An empty list if there is nothing to write.
        """
        found = files.read_folder(self._folder)
        with self._open() as database, self._transaction(database):
            steps = history.read(database)
            state = history.state(steps)
            for file in folder.pending(steps, found):
                for operation in file.operations(state):
                    state = folder.evolve(file, state, operation)
            difference = diff(state, schema)
            files.check_name(name)
            written = folder.write_planned(self._folder, database, steps, found)
            if not difference:
                return written
            number = max([file.version for file in found], default=0) + len(written) + 1
            return [*written, files.write(self._folder, number, name, [change.step for change in difference], description)]

    def empty_trash(self) -> int:
        """Remove everything that migrations keep for a rollback, for erasure; the number of tables removed."""
        with self._open() as database, self._transaction(database):
            kept = trash.tables(database)
            trash.drop(database, kept)
        return len(kept)

    @contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        database = self._open_(self._path)
        try:
            internal.upgrade(database)
            yield database
        except apsw.Error as error:
            refused = MigrationError(f"the database refuses it: {error}")
            raise _with_drift(database, refused) from error
        except MigrationError as error:
            if not _refused_by_database(error):
                raise
            raise _with_drift(database, error) from error
        finally:
            database.close(True)

    @contextmanager
    def _transaction(self, database: apsw.Connection) -> Iterator[None]:
        """The write lock, foreign keys off (which SQLite only heeds outside a transaction); all or nothing."""
        database.execute("PRAGMA foreign_keys = OFF")
        try:
            database.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            raise MigrationError(f"another process has held the database for {self._wait:g} seconds") from None
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _run_file(self, database: apsw.Connection, steps: list[Step], file: File, schema: Schema) -> list[str]:
        state = history.state(steps)
        try:
            return self._run(database, steps, file.operations(state), file.name, schema, file)
        except MigrationError as error:
            message = f"{file.path.name}: {error.message}"
            raise MigrationError(message, hint=error.hint, reasons=error.reasons) from error
        except OperationError as error:
            raise MigrationError(f"{file.path.name} does not fit the database: {error}") from error

    def _apply_difference(
        self,
        database: apsw.Connection,
        steps: list[Step],
        schema: Schema,
        done: list[File],
        remarks: list[str],
        yes: bool,
        accept_data_loss: bool,
    ) -> Applied:
        self._forget(database, steps)
        ran = tuple(_file_state(file) for file in done)
        judged = tuple(judging.judge(database, history.state(steps), schema, checks.Names()))
        allowed = {"safe", *(("needs_care",) if yes else ()), *(("needs_care", "destructive") if accept_data_loss else ())}
        if any(item.blocked or item.level not in allowed for item in judged):
            return Applied(ran, (), judged, tuple(remarks))
        if judged:
            planned = [item.change.step for item in judged]
            # A unique index is judged again: an earlier change may have made values alike.
            known = {id(item.change.step): item.findings for item in judged if not isinstance(item.change.step, AddIndex)}
            remarks += self._run(database, steps, planned, _planned_name(steps, judged), schema, None, known)
        else:
            self._finish(database, schema, schema, set())
        return Applied(ran, judged, (), tuple(remarks))

    def _run(
        self,
        database: apsw.Connection,
        steps: list[Step],
        planned: Sequence[operations.Operation],
        name: str,
        schema: Schema,
        file: File | None,
        known: Mapping[int, Sequence[checks.Finding]] | None = None,
    ) -> list[str]:
        """Carry operations out, write the history, put the triggers back. `schema`: what schema.yaml says, for the triggers."""
        now, number = clock.now(), history.next_id(database)
        changes.drop(database)
        execution = Execution(database, lambda count: trash.name(number, count), now, known=known)
        state = execution.run(history.state(steps), planned)
        if file is None:
            state = schema
        undo = None if execution.undo is None else tuple(execution.undo)
        did = tuple(planned)
        if file is None:
            made = Step(number, None, name, "planned", None, did, undo, state, now)
        else:
            made = Step(number, file.version, name, "file", file.checksum, did, undo, state, now)
        history.add(database, made)
        self._finish(database, state, schema, execution.touched)
        return execution.remarks

    def _roll_back(self, database: apsw.Connection, n: int) -> RolledBack:
        steps = history.read(database)
        if n < 1:
            raise MigrationError("the number of steps to roll back is at least 1")
        if n > len(steps):
            raise MigrationError(f"there {_are(len(steps))} to roll back" if steps else "there is nothing to roll back")
        changes.drop(database)
        remarks: list[str] = []
        taken: list[Taken] = []
        touched: set[str] = set()
        undone = list(reversed(steps[-n:]))
        for step in undone:
            before = steps[steps.index(step) - 1].schema if steps.index(step) else operations.EMPTY
            execution, more = self._undo(database, step, before)
            touched = (touched | execution.touched) & set(before.collections)
            remarks += more
            taken += execution.taken
        state = history.state(steps[: len(steps) - n])
        self._finish(database, state, state, touched)
        remarks += [f"{item} taken away, kept in {item.kept} for 30 days" for item in taken]
        return RolledBack(tuple(_step_state(step) for step in undone), tuple(remarks), tuple(taken))

    def _undo(self, database: apsw.Connection, step: Step, before: Schema) -> tuple[Execution, list[str]]:
        if step.undo is None:
            raise MigrationError(f"{step.name} cannot be rolled back: its `sql` has no `down`")
        kept = [found for found in trash.tables(database) if trash.step_of(found) == step.id]
        wanted = {item.restore for item in step.undo if isinstance(item, Restoring) and item.restore}
        moment = clock.seconds()
        execution = Execution(database, lambda number: trash.rollback_name(moment, step.id, number), clock.now())
        undo = [_without_restore(item, kept) for item in step.undo]
        try:
            execution.run(step.schema, operations.untangled(step.schema, undo))
        except (MigrationError, OperationError) as error:
            reasons, hint = (error.reasons, error.hint) if isinstance(error, MigrationError) else ([], None)
            raise MigrationError(f"{step.name} cannot be rolled back: {error.args[0]}", reasons=reasons, hint=hint) from error
        trash.drop(database, kept)
        trash.drop(database, execution.empty)
        history.remove(database, step)
        gone = wanted - set(kept)
        return execution, execution.remarks + ([f"{step.name}: what it took away is no longer kept"] if gone else [])

    def _finish(self, database: apsw.Connection, state: Schema, schema: Schema, touched: set[str]) -> None:
        """Put the triggers in place for the tables as they are now, and raise the generation of what was touched."""
        changes.install(database, _with_hidden(state, schema), self._reads(schema, state), raised=sorted(touched))

    def _reads(self, schema: Schema, state: Schema) -> Callable[[str], frozenset[str]]:
        """What the rules of `schema` read, as far as the tables of `state` have it."""
        observed = self._observed(schema)

        def of(name: str) -> frozenset[str]:
            return observed(name) & frozenset(state.collections[name].fields) if name in schema.collections else frozenset()

        return of

    def _forget(self, database: apsw.Connection, steps: list[Step]) -> None:
        """Remove what was kept for too long, or belongs to no step."""
        oldest = clock.seconds() - trash.KEPT
        fresh = {step.id for step in steps if step.applied_at >= clock.at(oldest)}

        def stays(table: str) -> bool:
            since = trash.rolled_back_at(table)
            return trash.step_of(table) in fresh if since is None else since >= oldest

        trash.drop(database, [found for found in trash.tables(database) if not stays(found)])


def _refused_by_database(error: BaseException | None) -> bool:
    """Whether an error began as one of SQLite's."""
    while error is not None and not isinstance(error, apsw.Error):
        error = error.__cause__
    return error is not None


def _with_drift(database: apsw.Connection, error: MigrationError) -> MigrationError:
    """An error with the drift that may be why the database refuses, unless it says already what to do."""
    try:
        found = [] if error.hint else live.structural(database, history.state(history.read(database)))
    except apsw.Error:
        found = []
    hint = "somebody changed the tables by hand: `alyx migrate drift` shows where; undo that first" if found else error.hint
    return MigrationError(error.message, reasons=[*error.reasons, *found], hint=hint)


def _are(count: int) -> str:
    return "is only 1 step" if count == 1 else f"are only {count} steps"


def _without_restore(step: operations.Operation, kept: list[str]) -> operations.Operation:
    """A step of the way back; where what it would restore is no longer kept, it makes do without."""
    return replace(step, restore=None) if isinstance(step, Restoring) and step.restore not in kept else step


def _with_hidden(state: Schema, schema: Schema | None) -> Schema:
    """The state of the history with what migrations do not record but triggers depend on: which fields are internal."""
    if schema is None:
        return state
    collections = {}
    for name, collection in state.collections.items():
        wanted = schema.collections[name].fields if name in schema.collections else {}
        # In the schema's order, in which the triggers are written: a column that a file added stands last in the history.
        order = [*(key for key in wanted if key in collection.fields), *(key for key in collection.fields if key not in wanted)]
        fields = {
            key: replace(collection.fields[key], internal=wanted[key].internal) if key in wanted else collection.fields[key]
            for key in order
        }
        collections[name] = replace(collection, fields=MappingProxyType(fields))
    return replace(state, collections=MappingProxyType(collections))


def _planned_name(steps: list[Step], judged: Sequence[Judged]) -> str:
    """A name for a planned step, as a file could have it."""
    if not steps:
        return "initial"
    first = judged[0].change.operation
    subject = first.get("field") or first.get("definition", first.get("to", first.get("index", "")))
    word = subject["name"] if isinstance(subject, dict) else subject
    name = f"{first['type']}_{word}" if word else str(first["type"])
    more = f"_and_{len(judged) - 1}_more" if len(judged) > 1 else ""
    return name[: files.LONGEST_NAME - len(more)] + more


def _file_state(file: File) -> FileState:
    return FileState(file.version, file.name, file.path, file.description)


def _step_state(step: Step) -> StepState:
    return StepState(step.id, step.version, step.name, step.kind, step.applied_at, step.undo is not None)
