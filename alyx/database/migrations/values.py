"""Stored values through a migration: from the column's form to the API's, through `schema.convert`, and back.

Knows nothing of SQL; the functions made here are put on the migrator's connection and run once for each row.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alyx.base import ids, json
from alyx.database import tables
from alyx.schema import convert, defaults
from alyx.schema.model import Field, Type


def loaded(field: Field, value: Any) -> Any:
    """What a column holds -> the API's form; the opposite of `tables.stored`."""
    if value is None:
        return None
    if tables.stores_json(field):
        return json.loads(value)
    if field.value_type is Type.BOOL:
        return bool(value)
    if field.value_type is Type.BLOB:
        return base64.b64encode(value).decode()
    return value


@dataclass(frozen=True)
class Passage:
    """What the values of one field go through when it changes. now: the moment of the migration, in the API's form."""

    old: Field
    new: Field
    now: str

    @cached_property
    def is_plain(self) -> bool:
        """Whether every value stays as it is stored, nulls included."""
        return self._same_form and not self.fills

    @cached_property
    def fills(self) -> bool:
        """Whether a null, or what cannot be carried over, gets a value."""
        return not _takes_null(self.new) and (_takes_null(self.old) or not self._same_form)

    def through(self, stored: Any) -> Any:
        """A stored value of the old field as a stored value of the new one; None where there is nothing to give.

        Raises convert.Unconvertible when this value stands in the way.
        """
        value = stored
        if stored is not None and not self._same_form:
            value = tables.stored(self.new, self._forward(loaded(self.old, stored)))
        return self.filled() if value is None and self.fills else value

    def filled(self) -> Any:
        """What a record without a value gets, in stored form."""
        return tables.stored(self.new, self._fresh(self.now))

    def loses(self, stored: Any) -> bool:
        """Whether the way back would not give the same; a filled null is told apart."""
        if stored is None:
            return self.through(None) is not None
        if self._same_form:
            return False
        value = loaded(self.old, stored)
        try:
            after = self._forward(value)
            return after is None or not convert.same(self._back(after), value)
        except convert.Unconvertible:
            return True

    @cached_property
    def _same_form(self) -> bool:
        return convert.fate(self.old, self.new) == "same" and self.old.is_list == self.new.is_list

    @cached_property
    def _fresh(self) -> Callable[[str], Any]:
        return defaults.maker(self.new, ids.uuid7, ids.random_id)

    @cached_property
    def _forward(self) -> Callable[[Any], Any]:
        return convert.converter(self.old, self.new)

    @cached_property
    def _back(self) -> Callable[[Any], Any]:
        return convert.converter(self.new, self.old)


def _takes_null(field: Field) -> bool:
    return field.nullable and not field.primary
