"""A line of the change log as two documents, old and new. Pure.

Called by the pump once per change that concerns anybody. An update's line holds what changed and what rules read; the rest of
the old document is that of the new one (hard-parts §3). A value that was too large for the log is a Hole, which equals nothing; a
view that looks into such values is not judged by images (views.py).
"""

from __future__ import annotations

from typing import Any

from alyx.base import json
from alyx.database.feed import Change

Document = dict[str, Any]
_NONE: frozenset[str] = frozenset()
_MARK = '"$big"'


class _Hole:
    """In the place of a value over 4 kB."""


HOLE = _Hole()


class Image:
    """One change. old, new: documents in API form, internal fields that rules read included; None where there is none.

    text: the new public document as in the log, None if it has holes. holes: fields of the new document that stand in the table
    only. lost: fields of the old one whose value is gone.
    """

    __slots__ = ("change", "holes", "key", "lost", "new", "old", "text")

    def __init__(self, change: Change, key_name: str) -> None:
        self.change = change
        new = _load(change.after, change.hidden_after)
        old = _load(change.before, change.hidden_before)
        self.holes = _empty(new) if _has_large(change.after, change.hidden_after) else _NONE
        if old is not None and new is not None:
            old = {**new, **old}
        # A large value that did not change is a hole of the old document as well: it stands there by way of the new one.
        self.lost = _empty(old) if self.holes or _has_large(change.before, change.hidden_before) else _NONE
        self.old = old
        self.new = new
        known = new if new is not None else old
        self.key: Any = known[key_name] if known else change.doc_id
        self.text: str | None = None if self.holes else _one_line(change.after)

    def begin(self, first: Image) -> None:
        """Stand for all changes from `first` to this one of the same record."""
        self.old = first.old
        self.lost = first.lost

    def read(self, document: Document | None, text: str | None) -> None:
        """Take the record as it stands in the table, None if it is gone, in place of the new document."""
        self.new = document
        self.text = text
        self.holes = _NONE


def _has_large(public: str | None, hidden: str | None) -> bool:
    return (public is not None and _MARK in public) or (hidden is not None and _MARK in hidden)


def _one_line(text: str | None) -> str | None:
    """A JSON field keeps the text of the program that wrote it, and a line break in it would end an event of a stream."""
    if text is None or not ("\n" in text or "\r" in text):
        return text
    return json.dumps(json.loads(text)).decode()


def _load(public: str | None, hidden: str | None) -> Document | None:
    if public is None:
        return None
    document: Document = json.loads(public)
    if hidden is not None:
        document |= json.loads(hidden)
    return document


def _empty(document: Document | None) -> frozenset[str]:
    """Put holes where large values were; the names of their fields."""
    if document is None:
        return _NONE
    found = [name for name, value in document.items() if value is HOLE or _is_hole(value)]
    for name in found:
        document[name] = HOLE
    return frozenset(found)


def _is_hole(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and "$big" in value
