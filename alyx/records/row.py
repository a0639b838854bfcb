"""A record on its way into the table: defaults, server-owned values, stored form.

Pure but for clock and ids, which come from `base`.
`Writable` is made once per collection, so that a write pays for none of the look-ups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from alyx.base import clock, ids
from alyx.base.errors import Detail
from alyx.database import tables
from alyx.schema import model
from alyx.schema.defaults import maker
from alyx.schema.model import Collection, Field, Type
from alyx.schema.readers import Refused, reader
from alyx.schema.values import Increment, refuse


class Writable:
    """How one collection's records are completed, changed and stored."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.key = collection.key
        self.references = tuple(field for field in collection.fields.values() if field.reference)
        self._defaults = tuple((field.name, maker(field, ids.uuid7, ids.random_id)) for field in collection.fields.values())
        self._names = tuple(collection.fields)
        self._converted = {field.name: field for field in collection.fields.values() if _needs_conversion(field)}
        self._on_update = tuple(field.name for field in collection.fields.values() if field.on_update_now)
        self._readers = {field.name: reader(field) for field in collection.fields.values()}
        self._kept = tuple(field.name for field in collection.fields.values() if _is_kept(field))

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A new record in full, in the order of the schema: what was given, else the default, else null."""
        now = clock.now()
        return {name: given[name] if name in given else make(now) for name, make in self._defaults}

    def change(self, stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that a PATCH sets. Raises AlyxError VALIDATION_ERROR: read_only, or a number beyond its limits."""
        faults: list[Detail] = []
        changed: dict[str, Any] = {}
        for name, value in patch.items():
            field = self.collection.fields[name]
            if field.primary or field.on_update_now:
                if value != stored[name]:
                    faults.append(
                        Detail(name, "read_only", f"{name} is set by the server" if field.on_update_now else "a key stays")
                    )
            elif isinstance(value, Increment):
                changed[name] = _increment(field, self._readers[name], stored[name], value.amount, faults)
            else:
                changed[name] = value
        refuse(faults)
        return self._touched(changed)

    def replace(self, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that a PUT sets: absent fields take default or null, the server's own keep theirs."""
        faults = [
            Detail(name, "read_only", f"{name} cannot be changed")
            for name in (self.key.name, *self._on_update)
            if name in given and given[name] != stored[name]
        ]
        refuse(faults)
        fresh = self.complete(given)
        kept = (name for name in self._kept if name not in given)
        fresh |= {name: stored[name] for name in kept}
        for name in (self.key.name, *self._on_update):
            fresh.pop(name, None)
        return self._touched(fresh)

    def _touched(self, changed: dict[str, Any]) -> dict[str, Any]:
        if changed and self._on_update:
            now = clock.now()
            for name in self._on_update:
                changed[name] = now
        return {name: changed[name] for name in self._names if name in changed}

    def parameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """`v_<name>` -> stored value, for the planner's statements."""
        converted = self._converted
        return {f"v_{name}": tables.stored(converted[name], value) if name in converted else value for name, value in row.items()}


def _needs_conversion(field: Field) -> bool:
    return tables.stores_json(field) or field.value_type in (Type.BOOL, Type.BLOB, Type.FLOAT)


def _is_kept(field: Field) -> bool:
    """Whether a PUT that leaves the field out keeps its value: the server set it, or clients may not."""
    return field.internal or field.default is model.NOW


def _increment(field: Field, read: Callable[[Any], Any], stored: Any, amount: int | float | str, faults: list[Detail]) -> Any:
    """Add to a number (null counts as 0). read: the field's own reader, so that the sum is judged like a value that was sent."""
    exact = field.value_type is Type.DECIMAL
    before: Any = Decimal(str(stored or 0)) if exact else stored or 0
    total = before + (Decimal(str(amount)) if exact else amount)
    if isinstance(total, float) and not math.isfinite(total):
        code = "max_value" if total > 0 else "min_value"
        faults.append(Detail(field.name, code, "would be beyond the range of a double"))
        return stored
    try:
        return read(f"{total:.{field.scale or 0}f}" if exact else total)
    except Refused as refused:
        faults += [Detail(field.name, code, message) for code, message in refused.faults]
        return stored
