"""The folder of migration files beside the history: what waits, what does not fit, what stands already.

Called by the migrator, which holds the transaction; the files themselves are read and written by `files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from alyx.base import clock
from alyx.base.errors import SourceError
from alyx.database.migrations import files, history
from alyx.database.migrations.errors import MigrationError
from alyx.database.migrations.files import File
from alyx.database.migrations.history import Step
from alyx.schema import operations
from alyx.schema.diff import diff
from alyx.schema.model import Schema
from alyx.schema.operations import OperationError


def waiting(steps: list[Step], found: list[File]) -> list[File]:
    """The files that were not applied."""
    applied = {step.version for step in steps}
    return [file for file in found if file.version not in applied]


def pending(steps: list[Step], found: list[File]) -> list[File]:
    """The files that wait. Raises MigrationError if one that was applied reads otherwise now."""
    changed = [text for step in steps for file in found if file.version == step.version and (text := _changed(step, file))]
    if changed:
        hint = "put the file back as it was, and give a new number to what is to change"
        raise MigrationError("applied migration files were changed", reasons=changed, hint=hint)
    return waiting(steps, found)


def _changed(step: Step, file: File) -> str | None:
    """What is wrong with the file of a step that was applied."""
    if step.checksum == file.checksum:
        return None
    if step.name != file.name:
        return f"{file.path.name} has the number of {files.file_name(file.version, step.name)}, which was applied"
    return f"{file.path.name} was changed after it was applied"


def problems(steps: list[Step], found: list[File]) -> Iterator[str]:
    """What is wrong between files and history, a sentence each."""
    known = {file.version: file for file in found}
    applied = {step.version: step for step in steps if step.version is not None}
    for version, step in applied.items():
        if version not in known:
            yield f"{files.file_name(version, step.name)} was applied, but the file is missing"
        elif text := _changed(step, known[version]):
            yield text
    for file in waiting(steps, found):
        if applied and file.version < max(applied):
            yield f"{file.path.name} is out of order: {max(applied):03d} was applied before it"


def notes(found: list[File]) -> Iterator[str]:
    """What is worth knowing about files that wait, a sentence each."""
    for file in found:
        if file.title != file.name:
            yield f"{file.path.name} says `name: {file.title}`; the file's name counts"


def adopt(database: apsw.Connection, steps: list[Step], found: list[File]) -> list[str]:
    """Note files as applied whose outcome stands already, because planned migrations brought it."""
    pending_files = waiting(steps, found)
    if not pending_files or not any(step.kind == "planned" for step in steps):
        return []
    state, current, upto = operations.EMPTY, history.state(steps), -1
    done: list[tuple[File, Schema, list[operations.Operation]]] = []
    try:
        for file in found:
            made = file.operations(state)
            state = operations.resolve(operations.evolve_all(state, made))
            done.append((file, state, made))
            # The first that fits: a later file that changes nothing here may hold SQL that has to run.
            if not diff(state, current):
                upto = len(done)
                break
    except (OperationError, SourceError):
        return []
    adopted = [item for item in done[: max(upto, 0)] if item[0] in pending_files]
    for file, after, made in adopted:
        undo = _undo_of(made)
        step = Step(
            history.next_id(database), file.version, file.name, "file", file.checksum, tuple(made), undo, after, clock.now()
        )
        history.add(database, step)
    return [f"{file.path.name}: what it says stands already; noted as applied{_not_run(made)}" for file, _, made in adopted]


def _not_run(made: Sequence[operations.Operation]) -> str:
    return ", but its `sql` was not run" if any(isinstance(item, operations.Sql) for item in made) else ""


def write_planned(folder: Path, database: apsw.Connection, steps: list[Step], found: list[File]) -> list[Path]:
    """Write the planned steps of the history as files, if the folder then leads to the same schema."""
    planned = [step for step in steps if step.kind == "planned"]
    if not planned or waiting(steps, found):
        return []
    by_version = {file.version: file for file in found}
    state = operations.EMPTY
    try:
        for step in sorted(steps, key=lambda item: (item.kind == "planned", item.version or item.id)):
            file = by_version.get(step.version or 0)
            state = operations.resolve(operations.evolve_all(state, file.operations(state) if file else step.operations))
    except (OperationError, SourceError):
        return []
    if diff(state, history.state(steps)):
        return []
    written = []
    number = max(by_version, default=0)
    for step in planned:
        number += 1
        name = step.name[: files.LONGEST_NAME]
        path = files.write(folder, number, name, list(step.operations), "A planned migration that was applied.")
        history.become_file(database, step, number, files.checksum(path.read_text(encoding="utf-8")))
        written.append(path)
    return written


def evolve(file: File, state: Schema, operation: operations.Operation) -> Schema:
    """The schema after an operation of a file. Raises MigrationError when it does not fit."""
    try:
        return operations.resolve(operations.evolve(state, operation))
    except OperationError as error:
        raise MigrationError(f"{file.path.name} does not fit the database: {error}") from error


def _undo_of(made: Sequence[operations.Operation]) -> tuple[operations.Operation, ...] | None:
    try:
        return tuple(operations.invert(item) for item in reversed(made))
    except OperationError:
        return None
