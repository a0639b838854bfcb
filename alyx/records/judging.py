"""Conditions as Python functions over documents: the same verdict that SQL gives, for records that are at hand. Pure.

Called by `realtime`, which judges the images of a change without asking the database. `conditions` makes SQL of the same; the two
are held together by a property test against SQLite. A document is in the API's form, json fields parsed, and has every field that
the conditions read (`columns`): of an image, large values and blobs must have been read from the table before.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alyx.base import json
from alyx.database import tables
from alyx.records.conditions import comparable, json_kinds, number
from alyx.records.query import TEXT_OPERATORS, Condition, Filter, Group, Operand, leaves
from alyx.records.wildcards import like
from alyx.rules.reach import Fixed, both, either
from alyx.schema.model import Type

Document = Mapping[str, Any]
Judge = Callable[[Document], bool]

_DIGITS = re.compile(r"[ \t\n\v\f\r]*([-+]?[0-9]+)", re.ASCII)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def judge(conditions: Sequence[Condition]) -> Judge:
    """A function that says whether a document fits all of these. Make it once per question.

    Raises ValueError for a path through a relation, which only the database can follow.
    """
    return _all([_compiled(each) for each in conditions])


def columns(conditions: Sequence[Condition]) -> frozenset[str]:
    """The fields of a record that the conditions read."""
    return frozenset(_own(each.operand).field.name for each in leaves(conditions))


def searched(conditions: Sequence[Condition]) -> frozenset[str]:
    """The fields whose value is looked into, ordered or cut up, and not only compared with short constants or null.

    Of the others it is enough to know that a value is long.
    """
    return frozenset(_own(each.operand).field.name for each in leaves(conditions) if not _is_short_equality(each))


def _is_short_equality(condition: Filter) -> bool:
    if condition.operand.is_json or condition.operator not in ("eq", "ne", "in", "is_null", "not_null"):
        return False
    values = condition.value if isinstance(condition.value, list) else [condition.value]
    return all(map(tables.is_short, values))


def equalities(conditions: Sequence[Condition]) -> Mapping[str, frozenset[Any]]:
    """For plain fields that must equal something: the only values with which a document can fit, None for null.

    From `eq`, `in` and `is_null` that stand at the top or in an `and`, and from an `or` whose every part limits the same field.
    Values look as in a document. Decimals are left out: another program may have written one number in two ways.
    """
    return _only(Group("and", tuple(conditions)))


# --- what can fit at all ------------------------------------------------------------------------------------------------------


def _only(condition: Condition) -> Fixed:
    if isinstance(condition, Filter):
        return _only_values(condition)
    if condition.kind == "not":
        return {}
    parts = map(_only, condition.parts)
    return both(parts) if condition.kind == "and" else either(parts)


def _only_values(condition: Filter) -> Fixed:
    subject = condition.operand
    kind = subject.field.value_type
    if subject.path or subject.through or subject.field.is_list or kind in (Type.DECIMAL, Type.JSON):
        return {}
    match condition.operator:
        case "eq":
            return {subject.field.name: frozenset((condition.value,))}
        case "in":
            return {subject.field.name: frozenset(condition.value)}
        case "is_null":
            return {subject.field.name: frozenset((None,))}
    return {}


# --- verdicts -----------------------------------------------------------------------------------------------------------------


def _compiled(condition: Condition) -> Judge:
    if isinstance(condition, Group):
        parts = [_compiled(part) for part in condition.parts]
        if condition.kind == "not":
            return _not(parts[0])
        return _all(parts) if condition.kind == "and" else _any(parts)
    subject = _own(condition.operand)
    if condition.operator in ("ne", "is_null"):
        positive = Filter(subject, "eq" if condition.operator == "ne" else "not_null", condition.value)
        return _not(_compiled(positive))
    if subject.path:
        fits, read = _json_test(condition), reader(subject)
        return lambda doc: fits(read(doc))
    return _plain(condition)


def _own(subject: Operand) -> Operand:
    if subject.through is not None:
        raise ValueError(f"{subject.text} goes through a relation")
    return subject


def _all(parts: list[Judge]) -> Judge:
    if not parts:
        return lambda doc: True
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda doc: first(doc) and second(doc)
    return lambda doc: all(part(doc) for part in parts)


def _any(parts: list[Judge]) -> Judge:
    return lambda doc: any(part(doc) for part in parts)


def _not(part: Judge) -> Judge:
    return lambda doc: not part(doc)


def _plain(condition: Filter) -> Judge:
    """A condition on a whole field, as one function without a step in between where it is an equality."""
    field, wanted = condition.operand.field, condition.value
    name = field.name
    if condition.operator == "not_null":
        return lambda doc: doc[name] is not None
    if field.value_type is Type.DECIMAL:
        return _decimal(condition)
    if field.is_list:  # contains
        return lambda doc: wanted in (doc[name] or ())
    if condition.operator == "eq":
        return lambda doc: doc[name] == wanted  # never null, so a null is never equal
    if condition.operator == "in":
        listed = frozenset(wanted)
        return lambda doc: doc[name] in listed
    fits = _text_test(condition) if condition.operator in TEXT_OPERATORS else _order_test(condition.operator, wanted)
    return lambda doc: (value := doc[name]) is not None and fits(value)


def _decimal(condition: Filter) -> Judge:
    """Decimals as the scaled integers that SQL compares."""
    field = condition.operand.field
    name = field.name
    if condition.operator == "in":
        listed = frozenset(comparable(field, each) for each in condition.value)
        return lambda doc: (value := doc[name]) is not None and exact_integer(value) in listed
    wanted = comparable(field, condition.value)
    fits = _order_test(condition.operator, wanted)
    return lambda doc: (value := doc[name]) is not None and fits(exact_integer(value))


def exact_integer(text: str) -> int:
    """A decimal's text as the integer that `tables.exact_order` makes of it; of a text that is none, what SQLite's CAST does."""
    match = _DIGITS.match(text.replace(".", ""))
    return min(max(int(match[1]), json.INT_MIN), json.INT_MAX) if match else 0


def _order_test(name: str, wanted: Any) -> Callable[[Any], bool]:
    """A comparison of values of one kind; texts compare by code point in Python as bytes of UTF-8 do in SQLite."""
    if name == "eq":
        return lambda value: bool(value == wanted)
    compare = _ORDER[name]
    return lambda value: compare(value, wanted)


def _text_test(condition: Filter) -> Callable[[str], bool]:
    needle: str = condition.value
    if condition.operator == "like":
        return like(needle)
    if condition.operator == "contains":
        return lambda value: needle in value
    return lambda value: value.startswith(needle)


# --- below json fields --------------------------------------------------------------------------------------------------------


def reader(subject: Operand) -> Callable[[Document], Any]:
    """What a path below a json field holds: a missing key is null; only keys of objects are steps.

    An integer beyond 64 bit, as only another program can have written it, is the double that SQLite makes of it.
    """
    name, path = subject.field.name, subject.path

    def read(doc: Document) -> Any:
        value = doc[name]
        for key in path:
            if type(value) is not dict:
                return None
            value = value.get(key)
        return float(value) if type(value) is int and not json.INT_MIN <= value <= json.INT_MAX else value

    return read


def _json_test(condition: Filter) -> Callable[[Any], bool]:
    """As `conditions` has it: the type of the stored value decides what it may be compared with."""
    if condition.operator == "not_null":
        return lambda value: value is not None
    if condition.operator in TEXT_OPERATORS:
        fits = _text_test(condition)
        return lambda value: type(value) is str and fits(value)
    if condition.operator in ("eq", "in"):
        return _json_one_of(condition.value if condition.operator == "in" else [condition.value])
    compare, wanted = _ORDER[condition.operator], condition.value
    if json_kinds(condition) == ("n",):
        limit = number(wanted)
        return lambda value: type(value) in (int, float) and compare(value, limit)
    return lambda value: type(value) is str and compare(value, wanted)


def _json_one_of(texts: Sequence[str]) -> Callable[[Any], bool]:
    """Equal to one of the texts: as a string, and as the number or bool that a text looks like."""
    strings = frozenset(texts)
    numbers = frozenset(found for text in texts if (found := number(text)) is not None)
    bools = frozenset(text == "true" for text in texts if text in ("true", "false"))

    def fits(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in strings
        if kind is bool:
            return value in bools
        return (kind is int or kind is float) and value in numbers

    return fits
