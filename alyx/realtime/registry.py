"""Which views a change may concern, found without asking each of them. Pure.

A view whose filter or rule demands `field == value` stands under that value, so that ten thousand different filters cost what one
does; the rest of a collection's views stand in one list. Views that look into other collections, by a rule or by expand, stand
under those too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alyx.realtime.images import Document, Image
from alyx.realtime.views import View


class Registry:
    """All views of a process. watchers: collection -> views of other collections that a change of it may concern."""

    def __init__(self) -> None:
        self.views: dict[tuple[object, ...], View] = {}
        self.watchers: dict[str, dict[View, None]] = {}
        self._direct: dict[str, _Views] = {}

    def add(self, view: View) -> None:
        """Take in a view that somebody begins to ask."""
        self.views[view.key] = view
        self._direct.setdefault(view.collection.name, _Views()).add(view, view.fixed)
        for name in watched(view):
            self.watchers.setdefault(name, {})[view] = None

    def remove(self, view: View) -> None:
        """Forget a view that nobody asks any more."""
        if self.views.get(view.key) is not view:
            return
        del self.views[view.key]
        direct = self._direct[view.collection.name]
        direct.remove(view)
        if not direct.places:
            del self._direct[view.collection.name]
        for name in watched(view):
            found = self.watchers.get(name)
            if found is not None:
                found.pop(view, None)
                if not found:
                    del self.watchers[name]

    def concerns(self, collection: str) -> bool:
        """Whether a change of this collection may mean anything to anybody."""
        return collection in self._direct or collection in self.watchers

    def find(self, image: Image) -> Iterator[View]:
        """The views of the changed collection that may contain the old or the new document."""
        direct = self._direct.get(image.change.collection)
        return direct.find(image) if direct is not None else iter(())


def watched(view: View) -> set[str]:
    """The other collections whose records decide about a view, or stand in it. Its own may be among them."""
    names = {elsewhere.collection for audience in view.audiences for elsewhere in audience.elsewhere}
    return names | {expansion.collection for expansion in view.question.asked.expand}


class _Views:
    """The views of one collection. places: where each stands."""

    def __init__(self) -> None:
        self.places: dict[View, tuple[str, frozenset[Any]] | None] = {}
        self._any: dict[View, None] = {}
        self._by_value: dict[str, dict[Any, dict[View, None]]] = {}

    def add(self, view: View, fixed: Mapping[str, frozenset[Any]]) -> None:
        place = min(fixed.items(), key=lambda item: len(item[1]), default=None)
        self.places[view] = place
        if place is None:
            self._any[view] = None
            return
        column, values = place
        for value in values:  # none at all, where nothing can pass
            self._by_value.setdefault(column, {}).setdefault(value, {})[view] = None

    def remove(self, view: View) -> None:
        place = self.places.pop(view)
        if place is None:
            del self._any[view]
            return
        column, values = place
        for value in values:
            index = self._by_value[column]
            del index[value][view]
            if not index[value]:
                del index[value]
            if not index:
                del self._by_value[column]

    def find(self, image: Image) -> Iterator[View]:
        yield from list(self._any)
        for column, index in list(self._by_value.items()):
            found: dict[View, None] = {}
            for value in _values(column, image.old, image.new):
                found |= index.get(value, {})
            yield from found


def _values(column: str, old: Document | None, new: Document | None) -> Iterator[Any]:
    one = old.get(column) if old is not None else None
    other = new.get(column) if new is not None else None
    if old is not None and type(one) not in (list, dict):
        yield one
    if new is not None and type(other) not in (list, dict) and (old is None or other != one):
        yield other
