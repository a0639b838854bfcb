"""Operations gathered into parts, each of which changes one table once.

Pure. Neighbouring operations on the fields and indexes of one collection share a rebuild; a rename is a part of its own, because
SQLite's ALTER carries other people's triggers and views along; SQL and whole collections stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alyx.schema import operations
from alyx.schema.model import Collection, Schema
from alyx.schema.operations import AddField, AddIndex, DropField, DropIndex, ModifyField, Operation

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
        fits = last is not None and _moves_key(last.steps[-1]) == _moves_key(step) and not names & touched
        if last and fits and isinstance(step, Shaping) and last.collection == step.collection:
            found[-1] = Part((*last.steps, step), last.before, after)
            touched |= names
        else:
            found.append(Part((step,), schema, after))
            touched = names
        schema = after
    return found


def _moves_key(step: Operation) -> bool:
    """Whether a step makes, drops or changes a primary key: what is kept by key must not share a part with that."""
    match step:
        case AddField(field=item) | DropField(field=item):
            return item.primary
        case ModifyField(old=old, new=new):
            return old.primary or new.primary
        case _:
            return False


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
