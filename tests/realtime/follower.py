"""A client as contract §5 describes it: applies snapshots and deltas to the letter, and notes every rule that they break.

`faults` are broken promises. `tolerated` are what clients must put up with: an insert of a record that is there and an update of
one that is not, which the server says it never sends, and a delete of one that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any

Doc = dict[str, Any]
LISTS = ("inserts", "updates", "deletes")


def order(sort: Sequence[str], key: str = "id", as_number: frozenset[str] = frozenset()) -> Callable[[Doc], Any]:
    """The order of a list, as a key for `sorted`: keys as in `sort=-a,b`, nulls first ascending and last descending, text by code
    point, the record's key last in the direction of the last of them. as_number: fields whose text is a decimal."""
    names = [(name.lstrip("-+"), name.startswith("-")) for name in sort]
    if key not in [name for name, _ in names]:
        names.append((key, names[-1][1] if names else False))

    def compare(a: Doc, b: Doc) -> int:
        for name, down in names:
            x, y = a[name], b[name]
            if x == y:
                continue
            if name in as_number and x is not None and y is not None:
                x, y = float(x), float(y)
            sign = -1 if x is None or (y is not None and x < y) else 1
            return -sign if down else sign
        return 0

    return cmp_to_key(compare)


@dataclass
class Received:
    """One message: its kind, its payload."""

    kind: str
    payload: dict[str, Any]


@dataclass
class Follower:
    """One subscription over its whole life, reconnects included.

    sort: keys of the question. fields: what was asked for, empty for all. limit: of the question, None without. keep: whether to
    keep every message, for who judges them later.
    """

    name: str = ""
    key: str = "id"
    sort: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    limit: int | None = None
    as_number: frozenset[str] = frozenset()
    keep: bool = True

    docs: dict[str, Doc] = field(default_factory=dict)
    cursor: str = ""
    subscription: str = ""
    answered: bool = False
    ended: str | None = None
    """The code of the error that ended it."""
    shown: set[str] = field(default_factory=set)
    """Ids that it was ever given as a document."""
    faults: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    fresh: list[Doc] = field(default_factory=list)
    """Documents received since somebody last took them away to judge them."""
    unasked: list[str] = field(default_factory=list)
    """Ids that were deleted although they were never shown, since somebody last took them away."""
    counts: dict[str, int] = field(default_factory=dict)
    resets: int = 0
    on_change: Callable[[str, dict[str, Any]], None] | None = None
    _since: str | None = None

    def begin(self, since: str | None = None) -> None:
        """A new subscribe goes out. since: its token, if it resumes."""
        self.answered = False
        self.ended = None
        self._since = since

    def list(self) -> list[Doc]:
        """What the client shows, in order."""
        return sorted(self.docs.values(), key=order(self.sort, self.key, self.as_number))

    def take(self, kind: str, payload: dict[str, Any]) -> None:
        """One message of the subscription."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.keep:
            self.received.append(Received(kind, payload))
        if kind == "snapshot":
            self._snapshot(payload)
        elif kind == "resumed":
            self._resumed(payload)
        elif kind == "delta":
            self._delta(payload)
        elif kind == "error":
            self.answered, self.ended = True, payload["code"]
        else:
            self._fault(f"a message of type {kind}")
        if self.on_change is not None:
            self.on_change(kind, payload)

    def _snapshot(self, payload: dict[str, Any]) -> None:
        first = not self.answered
        reset = payload.get("reset", False)
        self._expect(payload, {"subscription_id", "docs", "total", "cursor"}, {"reset"}, "snapshot")
        if reset not in (False, True) or ("reset" in payload and not reset):
            self._fault(f"reset is {payload['reset']!r}")
        if (self._since is not None or not first) and not reset:
            self._fault("a snapshot that replaces what the client has is not marked as a reset")
        if first and self._since is None and reset:
            self._fault("the first snapshot of a new subscription is marked as a reset")
        docs = payload["docs"]
        ids = [doc.get(self.key) for doc in docs]
        if len(set(ids)) != len(ids):
            self._fault(f"a snapshot has an id twice: {ids}")
        self.docs = {doc[self.key]: doc for doc in docs}
        if self.list() != docs:
            self._fault(f"a snapshot is not in the order of its question: {ids}, not {[d[self.key] for d in self.list()]}")
        total = payload["total"]
        if type(total) is not int or (total != len(docs) if self.limit is None else total < len(docs)):
            self._fault(f"total is {total!r} of {len(docs)} documents")
        if self.limit is not None and (len(docs) > self.limit or len(docs) < min(self.limit, total)):
            self._fault(f"{len(docs)} documents at a limit of {self.limit}, of {total}")
        for doc in docs:
            self._look(doc)
        self.resets += bool(reset)
        self.answered = True
        self._advance(payload["cursor"], again=True)

    def _resumed(self, payload: dict[str, Any]) -> None:
        self._expect(payload, {"subscription_id", "cursor"}, set(), "resumed")
        if self._since is None or self.answered:
            self._fault("resumed was not asked for")
        self.answered = True
        self._advance(payload["cursor"])

    def _delta(self, payload: dict[str, Any]) -> None:
        if not self.answered:
            self._fault("a delta before the snapshot")
        self._expect(payload, {"subscription_id", "changes", "cursor"}, set(), "delta")
        changes = payload["changes"]
        if not changes or not set(changes) <= set(LISTS) or not all(changes.values()):
            self._fault(f"changes are {changes}")
        inserts, updates, deletes = (changes.get(name, []) for name in LISTS)
        ids = [*deletes, *(doc[self.key] for doc in inserts), *(doc[self.key] for doc in updates)]
        if len(set(ids)) != len(ids):
            self._fault(f"an id stands twice in one delta: {changes}")
        for key in deletes:
            if not isinstance(key, str | int):
                self._fault(f"a delete is not an id: {key!r}")
            if self.docs.pop(key, None) is None:
                self.tolerated.append(f"delete of {key}, which was not there")
                if key not in self.shown:
                    self.unasked.append(key)
        for doc in inserts:
            if doc[self.key] in self.docs:
                self.tolerated.append(f"insert of {doc[self.key]}, which was there")
            self._look(doc)
            self.docs[doc[self.key]] = doc
        for doc in updates:
            if doc[self.key] not in self.docs:
                self.tolerated.append(f"update of {doc[self.key]}, which was not there")
            self._look(doc)
            self.docs[doc[self.key]] = doc
        if self.limit is not None and len(self.docs) > self.limit:
            self._fault(f"{len(self.docs)} documents at a limit of {self.limit}")
        self._advance(payload["cursor"])

    def _look(self, doc: Doc) -> None:
        self.shown.add(doc[self.key])
        self.fresh.append(doc)
        if self.fields and set(doc) - {"expand"} != set(self.fields):
            self._fault(f"a document has the fields {sorted(doc)}, not {sorted(self.fields)}")

    def _advance(self, cursor: str, *, again: bool = False) -> None:
        if type(cursor) is not str or not cursor:
            self._fault(f"the cursor is {cursor!r}")
            return
        if self.cursor and not again and place(cursor) < place(self.cursor):
            self._fault(f"the cursor goes back: {self.cursor}, then {cursor}")
        self.cursor = cursor

    def _expect(self, payload: dict[str, Any], needed: set[str], possible: set[str], kind: str) -> None:
        if not needed <= set(payload) <= needed | possible:
            self._fault(f"a {kind} has the members {sorted(payload)}")

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self.name}: {text}")


def place(cursor: str) -> int:
    """The number of the change that a cursor names: the second part of `epoch.seq.nonce.mark`."""
    return int(cursor.split(".")[1])
