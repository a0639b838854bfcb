"""Which statements may run on the event loop: SQLite's own query plan is the judge, remembered for each SQL text.

Owned by the loop's reader. It never runs the statement itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

_KEPT = 5_000
"""SQL texts remembered; beyond that all are forgotten, which costs one EXPLAIN each."""
_FIRST_PENALTY = 2.0
_LONGEST_PENALTY = 300.0
"""Seconds that a text stays off the loop after it was interrupted there, doubled each time."""
_CHANGES = "_alyx_changes"
"""Whatever reads the change log is convicted by a few large lines, never by its plan: so its penalty does not grow."""

_HARMLESS = re.compile(r"SCAN (?:\d+ )?CONSTANT ROWS?$|SCAN \S+ VIRTUAL TABLE INDEX|SCAN _alyx_(?:feed|generations)$")
"""Scans of what is always small: values, a JSON list that was passed in, the one row of the feed, a row for each collection."""
_BUILT = re.compile(r"(?:CO-ROUTINE|MATERIALIZE) (\S+)")
_SCANNED = re.compile(r"SCAN (\S+)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LIMIT = re.compile(r"\bLIMIT\b", re.IGNORECASE)


class Plans:
    """Verdicts on SQL texts. All calls come from the event loop's thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.until: dict[str, float] = {}
        """SQL text -> 0.0 for the loop, infinity for threads, else the monotonic second up to which it goes to threads.

        Public because the reader's hot path looks here itself before it calls `admits`.
        """
        self._penalties: dict[str, float] = {}
        self._scans: dict[str, list[str]] = {}

    def admits(self, sql: str, params: Sequence[Any]) -> bool:
        """Whether a statement that the planner calls light may run on the loop; asks SQLite once for each text."""
        until = self.until.get(sql)
        if until is None:
            if len(self.until) >= _KEPT or len(self._scans) >= _KEPT:
                self.forget()
            try:
                until = 0.0 if bound(self._connection, sql, params) else float("inf")
            except apsw.Error:
                return True  # the statement itself will raise the same, at once
            self.until[sql] = until
        elif until and time.monotonic() >= until:
            until = self.until[sql] = 0.0
        return not until

    def punish(self, sql: str) -> None:
        """Keep a text off the loop for a while: it ran out of its budget there."""
        longest = _FIRST_PENALTY if _CHANGES in sql else _LONGEST_PENALTY
        penalty = min(self._penalties.get(sql, _FIRST_PENALTY / 2) * 2, longest)
        self._penalties[sql] = penalty
        self.until[sql] = time.monotonic() + penalty

    def scans(self, sql: str) -> list[str]:
        """The lines of a statement's plan in which a whole table or index is read, such as `SCAN posts`; for hints."""
        found = self._scans.get(sql)
        if found is None:
            blanks = (None,) * _QUOTED.sub("", sql).count("?")
            try:
                found = [line.detail for line in _scanned(_explain(self._connection, sql, blanks))]
            except apsw.Error:
                return []  # a hint is not worth an error
            self._scans[sql] = found
        return found

    def forget(self) -> None:
        """Drop every verdict: the schema has changed, and with it the plans."""
        self.until.clear()
        self._scans.clear()
        self._penalties.clear()


def bound(connection: apsw.Connection, sql: str, params: Sequence[Any]) -> bool:
    """Whether the plan is bound by indexes.

    One scan of a table or index in the outermost loop passes if the text has a LIMIT and nothing is sorted, for it ends when
    the page is full; a sort passes if what it sorts was found by an index. Both can still be long for some values, and then
    the progress handler ends them. Any other scan, and an index made on the fly, belong to a thread. Raises apsw.Error.
    """
    plan = _explain(connection, sql, params)
    if any(line.detail.startswith("BLOOM FILTER") or "AUTOMATIC" in line.detail for line in plan):
        return False
    scanned = _scanned(plan)
    built = {line.id for line in plan if _BUILT.match(line.detail)}
    if any(line.parent and line.parent not in built for line in scanned):
        return False
    sorts = any(line.detail.startswith("USE TEMP B-TREE") for line in plan)
    return not scanned or (len(scanned) == 1 and not sorts and _LIMIT.search(sql) is not None)


class _Line(NamedTuple):
    """A line of EXPLAIN QUERY PLAN; parent 0 is the outermost loop."""

    id: int
    parent: int
    detail: str


def _explain(connection: apsw.Connection, sql: str, params: Sequence[Any]) -> list[_Line]:
    # EXPLAIN alone never looks whether another connection has changed the schema; a read of the file does.
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    rows: list[Any] = connection.execute("EXPLAIN QUERY PLAN " + sql, params, can_cache=False).fetchall()
    return [_Line(row[0], row[1], row[3]) for row in rows]


def _scanned(plan: list[_Line]) -> list[_Line]:
    """The lines that read a whole table or index; what the statement itself has built, such as a subquery, is no table."""
    built = {match[1] for line in plan if (match := _BUILT.match(line.detail))}
    return [
        line
        for line in plan
        if (match := _SCANNED.match(line.detail)) and match[1] not in built and not _HARMLESS.match(line.detail)
    ]
