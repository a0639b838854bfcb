"""What happened to one view, step by step, and the delta that a client applies. Pure.

A step says what became of one record in a view. A delta folds steps so that an id stands in one of its lists at most, each in the
order of the commits (contract §5). Deltas are shared by all who see the same, and encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from alyx.base import json

_BESIDE = 24
"""Bytes that a step takes besides its document."""


class Kind(IntEnum):
    """INSERT: came into the view. UPDATE: changed inside. DELETE: left it."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2


class Step(NamedTuple):
    """One record's step at one change. text: the document as sent; "" for a delete. above: it is for those alone who have that
    change already; others were told all of it before (see Pump)."""

    seq: int
    kind: Kind
    key: Any
    text: str
    above: int = 0

    def is_for(self, floor: int) -> bool:
        """Whether it is news to a client that has everything up to `floor`."""
        return self.above <= floor < self.seq


_FOLDED: dict[tuple[Kind, Kind], Kind | None] = {
    (Kind.INSERT, Kind.INSERT): Kind.INSERT,
    (Kind.INSERT, Kind.UPDATE): Kind.INSERT,
    (Kind.INSERT, Kind.DELETE): None,
    (Kind.UPDATE, Kind.INSERT): Kind.UPDATE,
    (Kind.UPDATE, Kind.UPDATE): Kind.UPDATE,
    (Kind.UPDATE, Kind.DELETE): Kind.DELETE,
    (Kind.DELETE, Kind.INSERT): Kind.UPDATE,
    (Kind.DELETE, Kind.UPDATE): Kind.UPDATE,
    (Kind.DELETE, Kind.DELETE): Kind.DELETE,
}
"""(what was, what comes) -> both in one. A record that came and went was never there; one that went and came has changed."""


class Delta:
    """Folded steps. place: a token up to its mark, of the line up to which the client is then. size: about what it takes on the
    wire; its texts are shared by all who wait for them."""

    __slots__ = ("_body", "place", "size", "steps")

    def __init__(self, steps: Iterable[Step], place: str) -> None:
        self.place = place
        self.steps = fold(steps)
        self.size = sum(len(step.text) + _BESIDE for step in self.steps)
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """`{"inserts":[...],...}`, with the lists that are not empty; made once for all who get it."""
        if self._body is None:
            self._body = _encode(self.steps)
        return self._body


class Batch:
    """What one batch of changes did to a view: every step, and the delta of those who had nothing of it yet."""

    __slots__ = ("common", "first", "last", "place", "steps")

    def __init__(self, steps: Sequence[Step], place: str) -> None:
        """steps: at least one, in the order of the changes."""
        self.steps = steps
        self.place = place
        # Up to here nobody has any of it, nor what a step is only for.
        self.first = min(step.above or step.seq for step in steps)
        self.last = steps[-1].seq
        self.common = Delta((step for step in steps if not step.above), place)

    def for_floor(self, floor: int) -> Delta | None:
        """The delta for a client that has everything up to `floor`; None where that is nothing new."""
        delta = self.common
        if floor >= self.first:
            if floor >= self.last:
                return None
            delta = Delta((step for step in self.steps if step.is_for(floor)), self.place)
        return delta if delta.steps else None


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
    inserts = [step.text for step in steps if step.kind is Kind.INSERT]
    updates = [step.text for step in steps if step.kind is Kind.UPDATE]
    deletes = [json.dumps(step.key).decode() for step in steps if step.kind is Kind.DELETE]
    lists = (("inserts", inserts), ("updates", updates), ("deletes", deletes))
    return ("{" + ",".join(f'"{name}":[{",".join(texts)}]' for name, texts in lists if texts) + "}").encode()
