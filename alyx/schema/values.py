"""Bodies of writes: JSON text -> given fields in the API's form, or every fault of contract §3.

Called by records, import and migrations; knows nothing of stored records, defaults or rules. Two paths: a msgspec decoder made
from the schema takes nearly every good body; what it refuses, or cannot decide, goes through strictly parsed JSON, which finds
all faults. The second path alone decides what is right, and the first never accepts what it would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

import msgspec

from alyx.base import json
from alyx.base.errors import AlyxError, Detail
from alyx.base.json import INT_MAX, INT_MIN, InvalidJSON
from alyx.schema.model import AUTO, SEARCHED, Collection, Field, Type
from alyx.schema.readers import Refused, finisher, limits, reader
from alyx.schema.yaml import nearest

MAX_FAULTS = 1_000
"""Faults that are collected of one body; the edge shows fewer."""

GREATEST_COUNTED = 2**53 - 1
"""The greatest integer key that a client may choose where the database counts on from it; JavaScript holds no greater one."""

_COUNTABLE = frozenset({Type.INT, Type.FLOAT, Type.DECIMAL})


@dataclass(frozen=True, slots=True)
class Increment:
    """`{"$inc": n}` in a patch: add to what is stored. amount: int, float, or a decimal's canonical text, by the field's type."""

    amount: int | float | str


class Validator:
    """What one collection takes. Built once at start; safe to share between threads."""

    def __init__(self, collection: Collection, *, max_depth: int = 32) -> None:
        """max_depth: the deepest nesting of a body, its outermost object or list included."""
        fields = tuple(_bounded_key(field) for field in collection.public)
        required = [field.name for field in fields if field.required]
        self._max_depth = max_depth
        self._key = collection.key.name
        self._shape = _Shape(fields)
        self._required = tuple(required)
        self._replaced = tuple(name for name in required if name != collection.key.name)
        self._create = self._shape.decoder(self._required)
        self._create_all = self._shape.decoder(self._required, many=True)
        self._replace = self._shape.decoder(self._replaced)
        self._patch = self._shape.decoder(())

    def create(self, body: bytes) -> dict[str, Any]:
        """The fields of a new record. A field that is neither nullable nor has a default must be there.

        Raises AlyxError VALIDATION_ERROR with all faults, or INVALID_JSON.
        """
        value = self._fast(self._create, body)
        return value if value is not None else self._shape.record(self._parse(body), self._required)

    def create_many(self, body: bytes, limit: int) -> list[dict[str, Any]] | dict[str, Any]:
        """A JSON list of new records -> a list; an object -> as `create`. Faults are named `0.title`; more than limit is one."""
        if body.lstrip(b" \t\r\n")[:1] != b"[":
            return self.create(body)
        records: list[dict[str, Any]] | None = self._fast(self._create_all, body)
        if records is not None and len(records) <= limit:
            return records
        value = self._parse(body)
        if not isinstance(value, list):
            return self.check_create(value)
        if len(value) > limit:
            fault = Detail("", "max_length", f"must be at most {limit} records at once")
            raise AlyxError("VALIDATION_ERROR", f"The body {fault.message}.", details=[fault])
        return self._shape.records(value, self._required)

    def patch(self, body: bytes) -> dict[str, Any]:
        """The given fields of an update; a number field may be an Increment. Key and server-owned fields pass through."""
        value = self._fast(self._patch, body)
        return value if value is not None else self.check_patch(self._parse(body))

    def replace(self, body: bytes) -> dict[str, Any]:
        """As `create`, for a record that exists or is made under a known key: the key may be left out."""
        value = self._fast(self._replace, body)
        return value if value is not None else self.check_replace(self._parse(body))

    def check_create(self, value: Any) -> dict[str, Any]:
        """`create` for JSON that is parsed already."""
        return self._shape.record(value, self._required)

    def check_patch(self, value: Any) -> dict[str, Any]:
        """`patch` for JSON that is parsed already."""
        return self._shape.record(value, (), increments=True)

    def check_replace(self, value: Any) -> dict[str, Any]:
        """`replace` for JSON that is parsed already."""
        return self._shape.record(value, self._replaced)

    def _fast(self, decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        """The record or records, if the decoder takes it and nothing in it is in doubt; else None.

        msgspec passes over unknown keys and keeps the last of equal ones. Both show in the number of quotes: every key and every
        text has two, so a body with more of them than the result explains is left to the slow path.
        """
        quotes = body.count(b'"')
        if b"\\" in body:
            # Only an escape can make NUL, a lone surrogate, or a quote that is not a delimiter.
            if b"\\\\" in body or b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body:
                return None
            quotes -= body.count(b'\\"')
        try:
            value = decoder.decode(body)
            depth, finish = self._max_depth, self._shape.finish
            found = sum(finish(item, depth - 2) for item in value) if type(value) is list else finish(value, depth - 1)
            return value if found == quotes else None
        except (ValueError, RecursionError):
            return None

    def check_key(self, value: Any) -> None:
        """Judge a key that did not come in a body. Raises AlyxError VALIDATION_ERROR where a create would refuse it."""
        self._shape.check_one(self._key, value)

    def _parse(self, body: bytes) -> Any:
        try:
            return json.parse(body, max_depth=self._max_depth, big_integers=True)
        except InvalidJSON as error:
            raise unreadable(error) from None


class _Shape:
    """The readers and types of a collection's public fields."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields = {field.name: field for field in fields}
        self._readers = {name: reader(field) for name, field in self._fields.items()}
        self._finishers = {name: finish for name, field in self._fields.items() if (finish := finisher(field))}
        self._types = {name: _fast_type(field) for name, field in self._fields.items()}

    def decoder(self, required: Iterable[str], *, many: bool = False) -> msgspec.json.Decoder[Any]:
        """A decoder that gives a dict of the given fields, or a list of such, and refuses wrong types, lengths and ranges."""
        needed = set(required)
        shape = {name: Required[kind] if name in needed else NotRequired[kind] for name, kind in self._types.items()}
        make: Any = TypedDict
        body: Any = make("Body", shape)
        return msgspec.json.Decoder(_list_of(body) if many else body)

    def finish(self, value: dict[str, Any], depth: int) -> int:
        """Bring decoded values to the API's form in place; gives the number of quotes that the body must have had.

        depth: how deep a value may nest. Raises ValueError for what the slow path must judge.
        """
        quotes = 2 * len(value)
        finisher = self._finishers.get
        for name, item in value.items():
            kind = type(item)
            if kind is str:
                quotes += 2
            elif kind is dict or kind is list:
                quotes += _quotes(item, depth)
            finish = finisher(name)
            if finish is not None and item is not None:
                value[name] = finish(item)
        return quotes

    def record(self, value: Any, required: tuple[str, ...], *, increments: bool = False) -> dict[str, Any]:
        """Check one parsed record; raises AlyxError with all its faults."""
        faults: list[Detail] = []
        record = self._check(value, required, "", increments, faults)
        refuse(faults)
        return record

    def records(self, values: list[Any], required: tuple[str, ...]) -> list[dict[str, Any]]:
        """Check many parsed records; raises AlyxError with the faults of all."""
        faults: list[Detail] = []
        records = []
        for number, value in enumerate(values):
            records.append(self._check(value, required, f"{number}.", False, faults))
            if len(faults) >= MAX_FAULTS:
                break
        refuse(faults)
        return records

    def _check(
        self, value: Any, required: tuple[str, ...], prefix: str, increments: bool, faults: list[Detail]
    ) -> dict[str, Any]:
        record: dict[str, Any] = {}
        if not isinstance(value, dict):
            faults.append(Detail(prefix.rstrip("."), "invalid_type", "must be an object"))
            return record
        for name, item in value.items():
            if len(faults) >= MAX_FAULTS:
                return record
            field = self._fields.get(name) if isinstance(name, str) else None
            if field is None:
                faults.append(Detail(prefix + shown(name), "unknown_field", self._unknown(name, len(faults))))
                continue
            try:
                record[name] = self._value(field, item, increments)
            except Refused as refused:
                faults += [Detail(prefix + name, code, message) for code, message in refused.faults]
            except InvalidJSON as error:
                raise unreadable(error) from None
        faults += [Detail(prefix + name, "required", "is required") for name in required if name not in value]
        return record

    def _value(self, field: Field, value: Any, increments: bool) -> Any:
        if value is None:
            if field.nullable:
                return None
            raise Refused(("required", "must not be null"))
        if increments and isinstance(value, dict) and value.keys() == {"$inc"} and field.value_type in _COUNTABLE:
            return _increment(field, value["$inc"])
        return self._readers[field.name](value)

    def check_one(self, name: str, value: Any) -> None:
        """Judge the value of one field; raises AlyxError with its faults."""
        try:
            self._readers[name](value)
        except Refused as refused:
            refuse([Detail(name, code, message) for code, message in refused.faults])

    def _unknown(self, name: Any, faults_before: int) -> str:
        # Finding the nearest name costs time, so a body made of nothing but unknown fields gets only the first few.
        near = nearest(str(name), self._fields) if faults_before < 10 else None
        return f"is not a field; did you mean {near}?" if near else "is not a field"


def _increment(field: Field, amount: Any) -> Increment:
    if field.primary or field.reference:
        raise Refused(("read_only", "cannot be incremented"))
    if amount is None:
        raise Refused(("invalid_type", "$inc must be a number"))
    bare = Field(field.name, field.value_type, scale=field.scale)
    return Increment(reader(bare)(amount))


def shown(name: Any) -> str:
    """A client's field name for an answer: bounded, and without what cannot be written as UTF-8."""
    return str(name)[:100].encode("utf-8", "replace").decode()


def refuse(faults: list[Detail]) -> None:
    """Raise AlyxError VALIDATION_ERROR if there are any faults."""
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise AlyxError("VALIDATION_ERROR", f"The body has {count}.", details=faults[:MAX_FAULTS])


def unreadable(error: InvalidJSON) -> AlyxError:
    """INVALID_JSON for a body that is none."""
    return AlyxError("INVALID_JSON", f"The body cannot be read: {error}.")


def _quotes(value: Any, depth: int) -> int:
    """How many quotes the JSON text of a container has; ValueError if it nests deeper than depth. Escapes are the caller's."""
    count = 0
    level = [value]
    while level:
        if depth == 0:
            raise ValueError("too deep")
        depth -= 1
        below: list[Any] = []
        for item in level:
            children = item
            if type(item) is dict:
                count += 2 * len(item)
                children = item.values()
            for child in children:
                kind = type(child)
                if kind is str:
                    count += 2
                elif kind is dict or kind is list:
                    below.append(child)
        level = below
    return count


def _bounded_key(field: Field) -> Field:
    """A key that clients may choose, within what the server and its URLs can live with.

    A chosen key of 2^63-1 would leave a counted key none to go on with; and no URL names an empty text.
    """
    if not field.primary:
        return field
    if field.default is AUTO and field.value_type is Type.INT and field.maximum is None:
        return replace(field, maximum=GREATEST_COUNTED)
    if field.value_type in SEARCHED and not field.min_length:
        return replace(field, min_length=1)
    return field


def _fast_type(field: Field) -> Any:
    kind = _FAST_TYPES[field.value_type](field) if field.value_type in _FAST_TYPES else str
    return kind | None if field.nullable and field.value_type is not Type.JSON else kind


def _fast_text(field: Field) -> Any:
    shortest, longest = limits(field)
    return Annotated[str, msgspec.Meta(min_length=shortest or None, max_length=longest)]


def _fast_int(field: Field) -> Any:
    low = INT_MIN if field.minimum is None else int(field.minimum)
    high = INT_MAX if field.maximum is None else int(field.maximum)
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


def _fast_float(field: Field) -> Any:
    low = None if field.minimum is None else float(field.minimum)
    high = None if field.maximum is None else float(field.maximum)
    return Annotated[float, msgspec.Meta(ge=low, le=high)] if low is not None or high is not None else float


def _fast_select(field: Field) -> Any:
    literal: Any = Literal
    one = literal[field.select_values]
    return _list_of(one) if field.is_list else one


def _list_of(kind: Any) -> Any:
    """`list[kind]` for a type made at run time."""
    many: Any = list
    return many[kind]


def _fast_json(field: Field) -> Any:
    # A union without None, where null is not taken.
    return Any if field.nullable else bool | int | float | str | list[Any] | dict[str, Any]


_FAST_TYPES: Mapping[Type, Callable[[Field], Any]] = {
    Type.STRING: _fast_text,
    Type.TEXT: _fast_text,
    Type.INT: _fast_int,
    Type.FLOAT: _fast_float,
    Type.BOOL: lambda _: bool,
    Type.SELECT: _fast_select,
    Type.JSON: _fast_json,
    Type.DECIMAL: lambda _: str | int | float,
}
"""What msgspec decodes; every other type is a text that its reader judges."""
