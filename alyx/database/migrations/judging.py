"""A difference judged by the rows that stand in the database now.

Called by the migrator for a plan, which changes nothing, and inside the transaction of `apply`.
"""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from alyx.base import clock
from alyx.database.migrations import checks
from alyx.database.migrations.results import Judged
from alyx.schema import operations
from alyx.schema.diff import Change, diff
from alyx.schema.model import Schema
from alyx.schema.operations import AddField, ModifyField, RenameCollection, RenameField


def judge(database: apsw.Connection, state: Schema, schema: Schema, names: checks.Names) -> Iterator[Judged]:
    """The difference between two schemas, each change judged by the rows that stand there now."""
    now = clock.now()
    for change in diff(state, schema):
        findings = checks.check(database, change.step, state, names, now)
        yield Judged(change, checks.settle(change, findings, _is_empty(database, change, names)), tuple(findings))
        note_names(names, change.step)
        state = operations.evolve(state, change.step)


def note_names(names: checks.Names, step: operations.Operation) -> None:
    """Note what a planned operation will call differently."""
    match step:
        case RenameCollection(old=old, new=new):
            names.rename_table(old, new)
        case RenameField(collection=collection, old=old, new=new):
            names.rename_column(collection, old, new)
        case operations.AddCollection(collection=made):
            names.tables[made.name] = None
        case _:
            pass


def note_unknown(names: checks.Names, step: operations.Operation) -> None:
    """Note the fields whose values an operation of a waiting file will make or change."""
    match step:
        case AddField(collection=name, field=item) | ModifyField(collection=name, new=item):
            names.unknown.add((name, item.name))
        case RenameField(collection=name, old=old, new=new) if (name, old) in names.unknown:
            names.unknown.add((name, new))
        case RenameCollection(old=old, new=new):
            names.unknown |= {(new, item) for name, item in names.unknown if name == old}
        case _:
            pass


def _is_empty(database: apsw.Connection, change: Change, names: checks.Names) -> bool:
    collection = getattr(change.step, "collection", None)
    return isinstance(collection, str) and checks.is_empty(database, names.table(collection))
