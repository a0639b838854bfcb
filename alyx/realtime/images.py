"""A line of the change log as two documents, old and new. Pure.

Called by the pump once per change that concerns anybody. An update's line holds what changed and what rules read; the rest of
the old document is that of the new one (hard-parts §3). A value that was too large for the log is a hole: of the new document it
is to be read from the table, of the old one it is gone.
"""

from __future__ import annotations

from typing import Any

from alyx.base import json
from alyx.database.feed import Change

Document = dict[str, Any]
_NONE: frozenset[str] = frozenset()
_MARK = '"$big"'


class Image:
    """One change. old, new: documents in API form, internal fields that rules read included; None where there is none.

    text: the new public document as in the log, None if it has holes. lost: fields whose old value is unknown. holes: fields of
    the new document that must be read from the table. kept: those of them that the change left as they were.
    """

    __slots__ = ("change", "holes", "kept", "key", "lost", "new", "old", "text")

    def __init__(self, change: Change, key_name: str) -> None:
        self.change = change
        new = _load(change.after, change.hidden_after)
        old = _load(change.before, change.hidden_before)
        changed = old or {}
        if old is not None and new is not None:
            old = {**new, **old}
        self.old = old
        self.new = new
        self.holes = _holes(new) if _MARK in (change.after or "") else _NONE
        # A large value that did not change is a hole of the old document as well: it stands there by way of the new one.
        self.lost = _holes(old) if self.holes or _MARK in (change.before or "") else _NONE
        self.kept = self.holes.difference(changed) if old is not None else _NONE
        known = new if new is not None else old
        self.key: Any = known[key_name] if known else change.doc_id
        self.text: str | None = None if self.holes else change.after

    def begin(self, first: Image) -> None:
        """Stand for all changes from `first` to this one of the same record."""
        self.old = first.old
        self.lost = first.lost
        self.kept = _NONE

    def read(self, document: Document | None, text: str | None, *, alone: bool) -> None:
        """Take the record as it stands in the table, None if it is gone, in place of the new document.

        alone: it has not changed again, so what this change left as it was is known of the old document, too.
        """
        if alone and document is not None and self.old is not None and self.kept:
            self.old = {**self.old, **{name: document[name] for name in self.kept}}
            self.lost -= self.kept
        self.new = document
        self.text = text
        self.holes = _NONE


def _load(public: str | None, hidden: str | None) -> Document | None:
    if public is None:
        return None
    document: Document = json.loads(public)
    if hidden is not None:
        document |= json.loads(hidden)
    return document


def _holes(document: Document | None) -> frozenset[str]:
    if document is None:
        return _NONE
    return frozenset(name for name, value in document.items() if type(value) is dict and len(value) == 1 and "$big" in value)
