"""The order of a list in Python: where a document stands, as a value that compares like ORDER BY does. Pure.

Called by `realtime`, which asks whether a change can concern a window of a list. Held to SQLite's own order by a property test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from alyx.base import json
from alyx.records.judging import exact_integer
from alyx.records.judging import reader as path_reader
from alyx.records.query import SortKey
from alyx.schema.model import Type

Ranked: TypeAlias = tuple[int, Any]
"""A kind of value (null, then numbers, then texts: SQLite's order of types) and the value itself."""

_NULL: Ranked = (0, 0)


class _Reversed:
    """A value that comes before those that are smaller."""

    __slots__ = ("value",)

    def __init__(self, value: Ranked) -> None:
        self.value = value

    def __lt__(self, other: _Reversed) -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


def position(keys: Sequence[SortKey]) -> Callable[[Mapping[str, Any]], Any] | None:
    """A function from a document in the API's form to its place: `<` of two says which stands first, `==` that neither does.

    None where a key goes through a relation, which only the database can follow. The document must have the fields of all keys.
    Below a json field an object or a list is ordered by its JSON text, which is exact for what the API wrote; SQLite orders one
    that another program wrote by that program's spelling of numbers and escapes.
    """
    if any(key.operand.through is not None for key in keys):
        return None
    readers = [_reader(key) for key in keys]
    if len(readers) == 1:
        only = readers[0]
        return lambda doc: (only(doc),)
    if len(readers) == 2:
        first, second = readers
        return lambda doc: (first(doc), second(doc))
    return lambda doc: tuple([read(doc) for read in readers])


def place(keys: Sequence[SortKey]) -> Callable[[Sequence[Any]], Any]:
    """A function from the sort values of a row (`Selection.sorts`) to the same kind of place that `position` gives."""
    descending = [key.descending for key in keys]

    def of_row(values: Sequence[Any]) -> Any:
        return tuple([_directed(_ranked(value), down) for value, down in zip(values, descending, strict=True)])

    return of_row


def _reader(key: SortKey) -> Callable[[Mapping[str, Any]], Any]:
    value = _value_of(key)
    return (lambda doc: _Reversed(value(doc))) if key.descending else value


def _value_of(key: SortKey) -> Callable[[Mapping[str, Any]], Ranked]:
    subject, name = key.operand, key.operand.field.name
    if subject.path:
        at = path_reader(subject)
        return lambda doc: _ranked(at(doc))
    if subject.field.value_type is Type.DECIMAL:
        return lambda doc: _NULL if (text := doc[name]) is None else (1, exact_integer(text))
    return lambda doc: _ranked(doc[name])


def _directed(value: Ranked, down: bool) -> Any:
    return _Reversed(value) if down else value


def _ranked(value: Any) -> Ranked:
    """A scalar; a list or an object stands by its JSON text, as a select with several values is stored."""
    if value is None:
        return _NULL
    if isinstance(value, str):
        return (2, value)
    return (2, json.dumps(value).decode()) if isinstance(value, dict | list) else (1, value)
