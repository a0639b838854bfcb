"""What the migrator returns: plain values for the command line and dev mode to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alyx.database.migrations.checks import Finding
from alyx.schema.diff import Change, Level


@dataclass(frozen=True)
class Judged:
    """A change with what the stored rows say about it. level is the one that counts; change.level is the worst that could be."""

    change: Change
    level: Level
    findings: tuple[Finding, ...] = ()

    @property
    def blocked(self) -> bool:
        """Whether stored rows make it impossible, whatever is permitted."""
        return any(finding.kind == "blocks" for finding in self.findings)

    @property
    def total(self) -> int:
        """How many records the findings are about; one with two faults counts twice."""
        return sum(finding.count for finding in self.findings)

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.change.title

    @property
    def reason(self) -> str:
        """Why it has its level, in one sentence."""
        if self.blocked:
            return "stored records stand in the way"
        if self.level == self.change.level:
            return self.change.reason
        if any(finding.kind == "loses" for finding in self.findings):
            return "stored values would not stay what they are"
        return "no stored record is in the way" if self.level == "safe" else f"no stored value is lost ({self.change.reason})"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "title": self.title,
            "level": self.level,
            "reason": self.reason,
            "blocked": self.blocked,
            "findings": [str(finding) for finding in self.findings],
            "total": self.total,
            "operation": self.change.operation,
        }


@dataclass(frozen=True)
class FileState:
    """A migration file."""

    version: int
    name: str
    path: Path
    description: str | None = None


@dataclass(frozen=True)
class StepState:
    """A step of the history. undoable: whether `rollback` can take it back."""

    id: int
    version: int | None
    name: str
    kind: Literal["file", "planned"]
    applied_at: str
    undoable: bool


@dataclass(frozen=True)
class Plan:
    """What `apply` would do. pending: files that wait; changes: the difference that stays after them.

    problems: what is wrong between files and history; notes: worth knowing, and nothing wrong.
    """

    pending: tuple[FileState, ...]
    changes: tuple[Judged, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Problems and notes."""
        return self.problems + self.notes

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending and not self.changes

    @property
    def level(self) -> Level:
        """The gravest level among the changes."""
        from_worst: tuple[Level, ...] = ("destructive", "needs_care")
        return next((level for level in from_worst if any(item.level == level for item in self.changes)), "safe")

    @property
    def blocked(self) -> bool:
        """Whether stored rows stand in the way of a change."""
        return any(item.blocked for item in self.changes)


@dataclass(frozen=True)
class Applied:
    """What `apply` did. files, changes: done; refused: the whole difference, not made because of the grave ones in it."""

    files: tuple[FileState, ...] = ()
    changes: tuple[Judged, ...] = ()
    refused: tuple[Judged, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the database is now at the schema."""
        return not self.refused

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.files or self.changes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the difference was not made: a line for each change that is not safe, and one for each row in the way."""
        lines = []
        for item in self.refused:
            if item.level != "safe" or item.blocked:
                lines.append(f"{item.level.replace('_', ' ')}: {item.title}: {item.reason}")
                lines += [f"  {finding}" for finding in item.findings]
        return tuple(lines)


@dataclass(frozen=True)
class Status:
    """What was done, what waits, and what is wrong with the files."""

    applied: tuple[StepState, ...]
    pending: tuple[FileState, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """Data that went. field: None for a whole collection; rows: how many records had something there; kept: the table that
    keeps it for a while."""

    collection: str
    field: str | None
    rows: int
    kept: str

    def __str__(self) -> str:
        what = "record" if self.field is None else "value"
        where = self.collection if self.field is None else f"{self.collection}.{self.field}"
        return f"{where}: {self.rows} {what}{'' if self.rows == 1 else 's'}"


@dataclass(frozen=True)
class RolledBack:
    """The steps that were taken back, newest first. taken: the data that went with them."""

    steps: tuple[StepState, ...]
    remarks: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()


@dataclass(frozen=True)
class Check:
    """Whether files, schema.yaml and database agree; problems says where they do not."""

    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems
