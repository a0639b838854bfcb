"""What the members of a group hold, where images are not enough (kind B of hard-parts §2.2). Pure.

A hash for each document tells what has changed when the question is asked anew, so that every row that left is a delete, for
whatever cause. `floor` is the change up to which it is true; one that comes while the group is dirty makes it dirty up to there,
because what it is compared with may be out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

from alyx.realtime.deltas import Kind, Step
from alyx.records.selecting import Selection


class Window:
    """held: key -> hash of the text sent. floor: the change that it is true for. dirty: the last change that it may lack, 0 if it
    lacks none. due: whether time alone calls for another look. full: whether there are as many rows as the limit allows. last:
    the place of the last row in the order. links: per expansion the values that lead to other records."""

    __slots__ = ("_place", "dirty", "due", "filled", "floor", "full", "held", "last", "links", "running")

    def __init__(self, place: Callable[[Sequence[Any]], Any] | None = None) -> None:
        """place: the sort values of a row -> what compares like the order."""
        self._place = place
        self.held: dict[Any, int] = {}
        self.floor = 0
        self.dirty = 0
        self.due = False
        self.full = False
        self.last: Any = None
        self.links: list[set[Any]] = []
        self.running = 0
        self.filled = False

    @property
    def is_stale(self) -> bool:
        """Whether the question must be asked, or asked anew."""
        return not self.filled or self.due or self.dirty > self.floor

    @property
    def is_uncertain(self) -> bool:
        """Whether what is known here may be out of date, so that no change can be told to be of no concern."""
        return self.running > 0 or self.is_stale

    @contextmanager
    def being_asked(self) -> Iterator[None]:
        """While the database is asked, what is held is compared with what may be out of date."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def leads(self, expansion: int, values: Set[Any]) -> bool:
        """Whether a row leads to other records by one of these values."""
        return expansion < len(self.links) and not self.links[expansion].isdisjoint(values)

    def mark(self, seq: int) -> bool:
        """A change may concern it. Gives whether the question must be asked anew for that."""
        self.dirty = max(self.dirty, seq)
        return seq > self.floor

    def replace(self, selection: Selection, seq: int, limit: int) -> list[Step]:
        """Take the answer as of change `seq`, and give the steps that lead to it."""
        self.due = False
        if seq < self.floor:
            return []
        self.filled = True
        self.floor = seq
        after = hashes(selection)
        steps = difference(self.held, selection, seq)
        self.held = after
        self.full = len(after) >= limit
        self.last = self._place(selection.sorts[-1]) if self._place is not None and selection.sorts else None
        self.links = [set(values) for values in zip(*selection.links, strict=True)] if selection.links else []
        return steps


def hashes(selection: Selection) -> dict[Any, int]:
    """What is remembered of an answer: for each key a hash of its text."""
    return {key: hash(text) for key, text in zip(selection.keys, selection.texts, strict=True)}


def difference(held: Mapping[Any, int], selection: Selection, seq: int) -> list[Step]:
    """The steps from what somebody holds to an answer, as of change `seq`."""
    texts = dict(zip(selection.keys, selection.texts, strict=True))
    steps = [Step(seq, Kind.DELETE, key, "") for key in held if key not in texts]
    for key, text in texts.items():
        known = held.get(key)
        if known is None:
            steps.append(Step(seq, Kind.INSERT, key, text))
        elif known != hash(text):
            steps.append(Step(seq, Kind.UPDATE, key, text))
    return steps
