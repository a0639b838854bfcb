"""Which groups of a view that is asked anew a change may concern (the dependency index of hard-parts §2.2). Pure.

Each of these may name a group too many, at the price of a question; none may leave one out. A group that is stale already, or is
being asked, is compared with what may be out of date, so any change of its records counts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alyx.realtime.deltas import Kind
from alyx.realtime.images import Image
from alyx.realtime.views import Group, View
from alyx.rules.elsewhere import Elsewhere
from alyx.schema.model import Field


def by_own_change(view: View, image: Image) -> Iterator[Group]:
    """A change of a record of the view's own collection, where rules read nothing but the record: windows, expansions."""
    found = view.judge(image)
    if found is None:
        return
    default, odd = found
    exceptions = dict(odd)
    for group, kind in odd:
        if kind is not None and _touches(view, group, image, kind):
            yield group
    if default is not None:
        for group in list(view.groups.values()):
            if group not in exceptions and _touches(view, group, image, default):
                yield group


def holding(view: View, image: Image) -> Iterator[Group]:
    """The groups that show the record, and those of which nobody knows."""
    for group in list(view.groups.values()):
        window = group.window
        if window is not None and (image.key in window.held or window.is_uncertain):
            yield group


def moments(view: View, image: Image, now: str) -> Iterator[str]:
    """The times to come that the new document names in the columns that rules compare with the time."""
    for column in view.times:
        moment = image.new.get(column) if image.new is not None else None
        if isinstance(moment, str) and moment > now:
            yield moment


def by_audience(view: View, image: Image, found: Mapping[str, Iterable[Any]]) -> Iterator[Group]:
    """The groups whose values stand in the record, or in what the audience of it named (auth field -> values)."""
    yield from view.occurring(image)
    for field, values in found.items():
        for value in values:
            yield from list(view.groups_of(field, value))


def by_other_change(view: View, image: Image) -> Iterator[Group]:
    """A change of a record of another collection (or the same one, seen by `collections`), which rules look into or that is shown
    by expand."""
    name = image.change.collection
    for audience in view.audiences:
        for elsewhere in audience.elsewhere:
            if elsewhere.collection == name and _reads_change(elsewhere, image):
                yield from _of_lookup(view, elsewhere, image)
    for position, expansion in enumerate(view.question.asked.expand):
        if expansion.collection == name:
            column = expansion.field.name if expansion.reverse else _referenced(expansion.field)
            yield from _linked(view, position, _values(image, column))


def _touches(view: View, group: Group, image: Image, kind: Kind) -> bool:
    window = group.window
    if window is None:
        return False
    if image.key in window.held or window.is_uncertain:
        return True
    if kind is Kind.DELETE:
        return False
    if not view.question.limited or not window.full or window.last is None or view.position is None or image.new is None:
        return True
    return bool(view.position(image.new) < window.last)


def _reads_change(elsewhere: Elsewhere, image: Image) -> bool:
    """Whether a column that the condition reads has changed."""
    old, new = image.old, image.new
    if old is None or new is None or image.lost or image.holes:
        return True
    return any(old.get(column) != new.get(column) for column in elsewhere.columns)


def _of_lookup(view: View, elsewhere: Elsewhere, image: Image) -> Iterator[Group]:
    for column, field in elsewhere.by_auth.items():
        for value in _values(image, column):
            yield from list(view.groups_of(field, value))
        yield from (group for group in list(view.groups.values()) if elsewhere.always(group.access.auth))
        return  # each of the columns must fit, so one is enough
    yield from list(view.groups.values())


def _linked(view: View, position: int, values: set[Any]) -> Iterator[Group]:
    for group in list(view.groups.values()):
        window = group.window
        if window is None or window.is_uncertain or window.leads(position, values):
            yield group


def _values(image: Image, column: str) -> set[Any]:
    found = (document.get(column) for document in (image.old, image.new) if document is not None)
    return {value for value in found if value is not None and type(value) not in (list, dict)}


def _referenced(field: Field) -> str:
    assert field.reference is not None
    return field.reference.field
