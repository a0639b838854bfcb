"""The change log as the truth: what each caller could see after each commit, and whether what a client was sent is exactly that.

A client's messages carry cursors; between two cursors the log says what became of every record, so each delta can be held against
it: nothing missing, nothing double, nothing out of order, nothing that the caller may not see.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.realtime.follower import Doc, Follower, Received, order, place

Tables = dict[str, dict[str, Doc]]
"""collection -> id -> document."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log; after is the document, None for a delete."""

    seq: int
    collection: str
    op: str
    key: str
    after: Doc | None


def read_lines(connection: sqlite3.Connection, after: int = 0, upto: int = 2**62) -> list[Line]:
    """Lines of the log in order. Raises AssertionError if a number is missing."""
    rows = connection.execute(
        "SELECT seq, collection, op, doc_id, after FROM _alyx_changes WHERE seq > ? AND seq <= ? ORDER BY seq", (after, upto)
    ).fetchall()
    for expected, row in enumerate(rows, rows[0][0] if rows else 0):
        assert row[0] == expected, f"the log lacks {expected}"
    return [Line(seq, name, op, key, json.loads(text) if text else None) for seq, name, op, key, text in rows]


def last_seq(connection: sqlite3.Connection) -> int:
    """The number of the last change."""
    found: int = connection.execute("SELECT last_seq FROM _alyx_feed").fetchone()[0]
    return found


@dataclass
class View:
    """What one subscription should show. sees: whether the caller may see a document and the question asks for it, given all
    tables. also: other collections whose changes move the view."""

    collection: str
    sees: Callable[[Doc, Tables], bool]
    also: tuple[str, ...] = ()

    def content(self, tables: Tables) -> dict[str, Doc]:
        return {key: doc for key, doc in tables.get(self.collection, {}).items() if self.sees(doc, tables)}


def judge(lines: Iterable[Line], base: Tables, view: View, follower: Follower) -> list[str]:
    """What is wrong with what a follower was sent. base: all tables before the first line."""
    return list(_Judgement(list(lines), base, view, follower).faults())


def end(lines: list[Line], base: Tables, view: View) -> dict[str, Doc]:
    """What the view shows in the end."""
    judgement = _Judgement(lines, base, view, Follower())
    judgement.advance(lines[-1].seq if lines else 0)
    return judgement.content()


class _Judgement:
    """Walks through the log beside a follower's messages. Where only the record itself decides whether it is seen, the view is
    kept up to date line by line; else it is made anew at each message."""

    def __init__(self, lines: list[Line], base: Tables, view: View, follower: Follower) -> None:
        self.lines, self.view, self.follower = lines, view, follower
        self.tables: Tables = {name: dict(docs) for name, docs in base.items()}
        self.at = 0
        self.shown: dict[str, Doc] = {}
        self.seen = view.content(self.tables)
        self.stale = False
        self.moments: dict[str, list[int]] = {}
        """Numbers of the changes of each record since the last message."""

    def faults(self) -> Iterable[str]:
        """The first thing that is wrong, if any: all that follows would be wrong as well."""
        for number, message in enumerate(self.follower.received):
            for fault in self._step(message):
                yield f"{self.follower.name}, message {number} of {len(self.follower.received)}: {fault}"
                return

    def _step(self, message: Received) -> Iterable[str]:
        if message.kind == "error":
            return
        self.advance(place(message.payload["cursor"]))
        if message.kind == "snapshot":
            yield from self._snapshot(message.payload)
        else:
            yield from self._delta(message.payload.get("changes", {}))

    def advance(self, seq: int) -> None:
        """Apply the log up to a number."""
        while self.at < len(self.lines) and self.lines[self.at].seq <= seq:
            line = self.lines[self.at]
            self.at += 1
            docs = self.tables.setdefault(line.collection, {})
            if line.after is None:
                docs.pop(line.key, None)
            else:
                docs[line.key] = line.after
            if line.collection in self.view.also:
                self.stale = True
            if line.collection == self.view.collection:
                self.moments.setdefault(line.key, []).append(line.seq)
                if line.after is not None and self.view.sees(line.after, self.tables):
                    self.seen[line.key] = line.after
                else:
                    self.seen.pop(line.key, None)

    def content(self) -> dict[str, Doc]:
        """All that the view would show without a limit."""
        if self.stale:
            self.seen, self.stale = self.view.content(self.tables), False
        return self.seen

    def _now(self) -> dict[str, Doc]:
        seen = self.content()
        if self.follower.limit is None:
            return dict(seen)
        return {doc["id"]: doc for doc in self._sorted(seen)[: self.follower.limit]}

    def _sorted(self, seen: Mapping[str, Doc]) -> list[Doc]:
        return sorted(seen.values(), key=order(self.follower.sort, self.follower.key, self.follower.as_number))

    def _snapshot(self, payload: dict[str, Any]) -> Iterable[str]:
        self.moments.clear()
        self.shown = self._now()
        wanted = self._sorted(self.shown)
        if payload["docs"] != wanted:
            yield f"the snapshot at {payload['cursor']} is not what the database was then: {_differ(wanted, payload['docs'])}"
        if payload["total"] != len(self.content()):
            yield f"the total is {payload['total']}, not {len(self.content())}"

    def _delta(self, changes: dict[str, list[Any]]) -> Iterable[str]:
        before, now = self.shown, self._now()
        self.shown = now
        inserts, updates, deletes = (changes.get(name, []) for name in ("inserts", "updates", "deletes"))
        for doc in (*inserts, *updates):
            if now.get(doc["id"]) != doc:
                yield f"sent {doc}, where the caller's view has {now.get(doc['id'])}"
        came, went = now.keys() - before.keys(), before.keys() - now.keys()
        if {doc["id"] for doc in inserts} != came:
            yield f"inserts {sorted(doc['id'] for doc in inserts)}, where {sorted(came)} came"
        if set(deletes) != went:
            yield f"deletes {sorted(deletes)}, where {sorted(went)} went"
        sent = {doc["id"] for doc in updates}
        missing = [key for key, doc in now.items() if doc is not before.get(key, doc) and doc != before[key] and key not in sent]
        if missing:
            yield f"changes of {sorted(missing)} were not sent"
        if self.follower.limit is None and not self.view.also:
            yield from self._in_order({"inserts": inserts, "updates": updates, "deletes": deletes})

    def _in_order(self, sent: dict[str, list[Any]]) -> Iterable[str]:
        """Each list in the order of the last changes; what left may stand at any of its changes since, seen or not."""
        for name, items in sent.items():
            reached = 0
            for item in items:
                moments = self.moments.get(_key(item), [])
                possible = [each for each in (moments if name == "deletes" else moments[-1:]) if each >= reached]
                if not possible:
                    yield f"{name} are not in the order of the commits: {[self.moments.get(_key(each)) for each in items]}"
                    break
                reached = possible[0]
        self.moments.clear()


def _key(item: Any) -> str:
    """The id of what stands in a list of a delta."""
    return item if isinstance(item, str) else item["id"]


def _differ(wanted: list[Doc], found: list[Doc]) -> str:
    a, b = {d["id"]: d for d in wanted}, {d["id"]: d for d in found}
    changed = [(a[key], b[key]) for key in a.keys() & b.keys() if a[key] != b[key]]
    return f"lacks {sorted(a.keys() - b.keys())}, has too many {sorted(b.keys() - a.keys())}, differs in {changed[:3]}"
