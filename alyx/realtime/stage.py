"""What all of realtime stands on: the database as it needs it, and all that belongs to one schema. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from alyx.database.feed import Change, Position
from alyx.database.work import Work
from alyx.realtime.registry import Registry
from alyx.records.plan import Planner
from alyx.rules.audience import Audience
from alyx.rules.book import Rule

T = TypeVar("T")
_AUDIENCES = 2_000


class Reader(Protocol):
    """A reader of the change feed."""

    position: Position

    @property
    def cursor(self) -> int:
        """The number of the last line handed out."""
        ...

    async def read(self, limit: int = 256) -> list[Change]:
        """The next lines."""
        ...

    async def wait(self) -> None:
        """Until there may be more."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Database(Protocol):
    """What realtime needs of an engine."""

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run in one read transaction."""
        ...

    def is_writing(self) -> bool:
        """Whether a write waits for its commit."""
        ...

    def feed(self) -> Reader:
        """A reader of the change feed, from now on."""
        ...


class Stage:
    """All that belongs to one schema; replaced as a whole when schema or rules change.

    generation: of the database's tables, None until the feed is opened; while they are at another, nothing is judged.
    """

    def __init__(self, planner: Planner, expand_rows: int, generation: int | None) -> None:
        self.planner = planner
        self.expand_rows = expand_rows
        self.generation = generation
        self.registry = Registry()
        self._audiences: dict[tuple[tuple[Rule, ...], tuple[Rule, ...]], tuple[Audience, ...]] = {}

    def audiences(self, rules: tuple[Rule, ...], targets: tuple[Rule, ...]) -> tuple[Audience, ...]:
        """Of the rules that decide about a record, then of the read rule of each collection that is shown with it; made once."""
        key = rules, targets
        found = self._audiences.get(key)
        if found is None:
            if len(self._audiences) >= _AUDIENCES:
                self._audiences.clear()
            found = self._audiences[key] = (
                Audience(rules),
                *(Audience((rule,)) for rule in targets),
            )
        return found
