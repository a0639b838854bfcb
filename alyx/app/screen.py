"""What dev mode and `serve` need to talk to the person who started them; the command line gives them one.

Here so that `app` says what happened and never how it looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from alyx.database.migrations.results import Plan


@dataclass(frozen=True)
class Started:
    """What serves now. url: where; docs, live: whether `/docs` and `/_alyx/live` are there. seconds: since the command began."""

    url: str
    docs: bool
    live: bool
    database: str
    collections: tuple[str, ...]
    watched: tuple[str, ...]
    workers: int
    seconds: float


class Screen(Protocol):
    """Somebody to talk to, or a log that keeps what was said."""

    def started(self, facts: Started) -> None:
        """It serves now."""

    def remark(self, text: str) -> None:
        """Something to look at; work goes on."""

    def done(self, text: str) -> None:
        """Something was done."""

    def note(self, text: str) -> None:
        """Something calm."""

    def failed(self, error: Exception, *, still: str | None = None) -> None:
        """Something cannot be used. still: what goes on all the same."""

    def plan(self, plan: Plan) -> None:
        """What is about to change in the database."""

    async def ask(self, question: str) -> bool | None:
        """A yes or no from the keyboard; None where nobody is there to ask. May be cancelled."""
