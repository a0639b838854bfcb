"""What happened to one view, step by step, and the delta that a client applies. Pure.

A step says what became of one record in a view. A delta folds steps so that an id stands in one of its lists at most, each in the
order of the commits (contract §5). Deltas are shared by all who see the same, and encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

from alyx.base import json


class Kind(IntEnum):
    """INSERT: came into the view. PUT: is in it now, and may have been. UPDATE: changed inside. DELETE: left it."""

    INSERT = 0
    PUT = 1
    UPDATE = 2
    DELETE = 3


class Step(NamedTuple):
    """One record's step at one change. text: the document as sent; "" for a delete."""

    seq: int
    kind: Kind
    key: Any
    text: str


_FOLDED: dict[tuple[Kind, Kind], Kind | None] = {
    (Kind.INSERT, Kind.INSERT): Kind.INSERT,
    (Kind.INSERT, Kind.PUT): Kind.INSERT,
    (Kind.INSERT, Kind.UPDATE): Kind.INSERT,
    (Kind.INSERT, Kind.DELETE): None,
    (Kind.PUT, Kind.INSERT): Kind.PUT,
    (Kind.PUT, Kind.PUT): Kind.PUT,
    (Kind.PUT, Kind.UPDATE): Kind.PUT,
    (Kind.PUT, Kind.DELETE): Kind.DELETE,
    (Kind.UPDATE, Kind.INSERT): Kind.UPDATE,
    (Kind.UPDATE, Kind.PUT): Kind.UPDATE,
    (Kind.UPDATE, Kind.UPDATE): Kind.UPDATE,
    (Kind.UPDATE, Kind.DELETE): Kind.DELETE,
    (Kind.DELETE, Kind.INSERT): Kind.UPDATE,
    (Kind.DELETE, Kind.PUT): Kind.UPDATE,
    (Kind.DELETE, Kind.UPDATE): Kind.UPDATE,
    (Kind.DELETE, Kind.DELETE): Kind.DELETE,
}
"""(what was, what comes) -> both in one. A record that came and went was never there; one that went and came has changed."""


class Delta:
    """Folded steps. place: a token up to its mark, of the line up to which the client is then. growth: rows more than before."""

    __slots__ = ("_body", "growth", "place", "steps")

    def __init__(self, steps: Iterable[Step], place: str) -> None:
        self.place = place
        self.steps = fold(steps)
        self.growth = sum(_GROWTH[step.kind] for step in self.steps)
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """`{"inserts":[...],...}`, with the lists that are not empty; made once for all who get it."""
        if self._body is None:
            self._body = _encode(self.steps)
        return self._body

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)


_GROWTH = {Kind.INSERT: 1, Kind.PUT: 0, Kind.UPDATE: 0, Kind.DELETE: -1}


def fold(steps: Iterable[Step]) -> list[Step]:
    """At most one step for each record, in the order of the last change of each."""
    found: dict[Any, Step] = {}
    for step in steps:
        before = found.pop(step.key, None)
        if before is None:
            found[step.key] = step
            continue
        kind = _FOLDED[before.kind, step.kind]
        if kind is not None:
            found[step.key] = Step(step.seq, kind, step.key, step.text)
    return list(found.values())


def merge(deltas: list[Delta]) -> Delta:
    """Several deltas of one view, one after another, as one."""
    return Delta((step for delta in deltas for step in delta.steps), deltas[-1].place)


def _encode(steps: list[Step]) -> bytes:
    inserts = [step.text for step in steps if step.kind <= Kind.PUT]
    updates = [step.text for step in steps if step.kind is Kind.UPDATE]
    deletes = [json.dumps(step.key).decode() for step in steps if step.kind is Kind.DELETE]
    lists = (("inserts", inserts), ("updates", updates), ("deletes", deletes))
    return ("{" + ",".join(f'"{name}":[{",".join(texts)}]' for name, texts in lists if texts) + "}").encode()
