"""Operations gathered into parts, each of which changes one table once.

Pure. Neighbouring operations on the fields and indexes of one collection share a rebuild; a rename is a part of its own, because
SQLite's ALTER carries other people's triggers and views along; SQL and whole collections stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alyx.schema import operations
from alyx.schema.diff import moves_key
from alyx.schema.model import Collection, Schema
from alyx.schema.operations import AddField, AddIndex, DropField, DropIndex, ModifyField, Operation, OperationError

Shaping = AddField | DropField | ModifyField | AddIndex | DropIndex


@dataclass(frozen=True)
class Part:
    """Operations that are carried out together. before, after: the schema around them."""

    steps: tuple[Operation, ...]
    before: Schema
    after: Schema

    @property
    def collection(self) -> str | None:
        """The collection that is reshaped; None for parts of another kind."""
        first = self.steps[0]
        return first.collection if isinstance(first, Shaping) else None

    @property
    def sides(self) -> tuple[Collection, Collection]:
        """The reshaped collection before and after."""
        name = self.collection or ""
        return self.before.collections[name], self.after.collections[name]


def gather(schema: Schema, steps: Iterable[Operation]) -> list[Part]:
    """The parts of a list of operations that starts at `schema`. Raises OperationError when an operation does not fit."""
    found: list[Part] = []
    touched: set[str] = set()
    for step in steps:
        after = operations.resolve(operations.evolve(schema, step))
        last = found[-1] if found else None
        names = _touched(step)
        # What is kept for a rollback is kept by key, so it cannot share a part with what moves the key.
        fits = last is not None and moves_key(last.steps[-1]) == moves_key(step) and not names & touched
        if last and fits and isinstance(step, Shaping) and last.collection == step.collection:
            found[-1] = Part((*last.steps, step), last.before, after)
            touched |= names
        else:
            found.append(Part((step,), schema, after))
            touched = names
        schema = after
    for part in found:
        _check_key(part)
    return found


def _check_key(part: Part) -> None:
    """Operations that move a primary key must stand together: a table has one at any time."""
    if part.collection is not None:
        keys = [item.name for item in part.sides[1].fields.values() if item.primary]
        if len(keys) != 1:
            fault = "no primary key" if not keys else f"more than one primary key ({', '.join(keys)})"
            raise OperationError(f"`{part.collection}` would have {fault}; put the operations that move the key together")


def _touched(step: Operation) -> set[str]:
    """The fields that a step makes, drops or changes, or whose values a unique index needs as they will be.

    Two such steps on one field cannot share a part.
    """
    match step:
        case AddField(field=item) | DropField(field=item) | ModifyField(new=item):
            return {item.name}
        case AddIndex(index=index) if index.unique:
            return set(index.fields)
        case _:
            return set()
