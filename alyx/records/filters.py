"""The filter language of subscriptions (contract §5), as parsed JSON -> the conditions that lists have too. Pure.

Called by `realtime.question`. `query` reads the other form of the same conditions, that of a URL; `conditions` makes SQL of both,
`judging` a Python function. Whatever is refused here is `INVALID_FILTER` and names the field and the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.records import query
from alyx.records.limits import Limits
from alyx.records.query import MOST_CONDITIONS, TEXT_OPERATORS, Condition, Filter, Group, Operand, quote
from alyx.schema import readers, text
from alyx.schema.model import Collection, Schema, Type

DEPTH = 10
"""How deep `$and`, `$or` and `$not` may be nested."""
MOST_LISTED = 200
"""Values of one `$in` or `$nin`."""

_COMPARED = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_TEXTUAL = {"$like": "like", "$contains": "contains", "$starts_with": "starts_with"}
OPERATORS = (*_COMPARED, "$in", "$nin", *_TEXTUAL, "$null")
GROUPS = ("$and", "$or", "$not")


def parse_filter_object(schema: Schema, collection: Collection, value: Any, limits: Limits) -> tuple[Condition, ...]:
    """Read a filter object: conditions that must all hold; none for `{}`, which every record fits.

    `{field: value}` or `{field: {operator: value, ...}}`, several fields and several operators ANDed, `$and` and `$or` with a
    list of such objects, `$not` with one. A field's values are those that a body may hold, without the limits of the field:
    numbers for int and float, true and false for bool, texts for all others (decimals as in bodies, timestamps with an offset
    and at most six decimals). `null` is the missing value: `{field: null}` and `{field: {"$null": true}}` are the same. `$ne`,
    `$nin` and `$not` are complements, null included.

    A path into a json field (`meta.key`) compares as over REST: its value is taken by its text, so 5 and "5" ask for the same and
    find the number and the string; a number is greater than numbers only, other texts than strings only; text operators see
    strings only; a key that is missing is null.

    Limits: `limits.filter` bytes as JSON, MOST_CONDITIONS conditions, DEPTH levels, MOST_LISTED values a list, texts to look for
    as in a list. Relations cannot be followed. Raises AlyxError INVALID_FILTER.
    """
    if not isinstance(value, dict):
        raise invalid("The filter must be an object", 'Such as {"status": "open"}')
    _check_size(value, limits.filter)
    with _as_filter_error():
        found = _Reader(schema, collection).all_of(value, DEPTH)
    return found.parts if isinstance(found, Group) and found.kind == "and" else (found,)


def invalid(message: str, hint: str | None = None) -> AlyxError:
    """INVALID_FILTER. message and hint: sentences without their full stop."""
    return AlyxError("INVALID_FILTER", f"{message}.", hint=f"{hint}." if hint else None)


def _check_size(value: Any, most: int) -> None:
    try:
        size = len(json.dumps(value))
    except TypeError:  # a lone surrogate, an integer beyond 64 bit, or nested beyond what the writer follows
        raise invalid("The filter holds a value that cannot be stored") from None
    if size > most:
        raise invalid(f"The filter is longer than {most} bytes")


@contextmanager
def _as_filter_error() -> Iterator[None]:
    """What the shared reading of names refuses as INVALID_QUERY, under the code of this language."""
    try:
        yield
    except AlyxError as error:
        raise AlyxError("INVALID_FILTER", error.message, hint=error.hint) from None


def joined(kind: Literal["and", "or"], parts: list[Condition]) -> Condition:
    """Parts as one condition in its shortest form: groups of the same kind are merged, a group of one part is that part."""
    flat: list[Condition] = []
    for part in parts:
        flat += part.parts if isinstance(part, Group) and part.kind == kind else (part,)
    return flat[0] if len(flat) == 1 else Group(kind, tuple(flat))


def negated(part: Condition) -> Condition:
    """The complement; twice negated is the thing itself."""
    if isinstance(part, Group) and part.kind == "not":
        return part.parts[0]
    return Group("not", (part,))


class _Reader:
    """Reads one filter; counts its conditions."""

    def __init__(self, schema: Schema, collection: Collection) -> None:
        self._schema = schema
        self._collection = collection
        self._left = MOST_CONDITIONS

    def all_of(self, value: Mapping[str, Any], depth: int) -> Condition:
        """A filter object: all of its members."""
        return joined("and", [self._member(name, item, depth) for name, item in value.items()])

    def _member(self, name: str, value: Any, depth: int) -> Condition:
        if name in GROUPS:
            if not depth:
                raise query.invalid(f"filter: nested deeper than {DEPTH} levels")
            return self._group(name, value, depth - 1)
        if name.startswith("$"):
            known = f"Known here: {', '.join(GROUPS)}; the operators stand inside a field: {{field: {{$gt: 5}}}}"
            raise query.invalid(f"filter: unknown operator {quote(name)}", known)
        subject = query.operand(self._schema, self._collection, name, "filter")
        if subject.through is not None:
            raise query.invalid(f"filter: {quote(name)} goes through a relation, which a live query cannot")
        if not isinstance(value, dict):
            return self._condition(subject, "$eq", value)
        if not value:
            raise query.invalid(f"filter: {name} has no operator", f"Known: {', '.join(OPERATORS)}")
        return joined("and", [self._condition(subject, operator, each) for operator, each in value.items()])

    def _group(self, name: str, value: Any, depth: int) -> Condition:
        if name == "$not":
            if not isinstance(value, dict):
                raise query.invalid("filter: $not takes an object")
            return negated(self.all_of(value, depth))
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            raise query.invalid(f"filter: {name} takes a list of at least one object")
        return joined("and" if name == "$and" else "or", [self.all_of(each, depth) for each in value])

    def _condition(self, subject: Operand, operator: str, value: Any) -> Condition:
        self._left -= 1
        if self._left < 0:
            raise query.invalid(f"filter: more than {MOST_CONDITIONS} conditions", "Use $in for a list of values")
        if operator == "$null":
            if not isinstance(value, bool):
                raise query.invalid(f"filter: {subject.text}: $null takes true or false")
            return Filter(subject, "is_null" if value else "not_null", None)
        if operator in ("$eq", "$ne") and value is None:
            return Filter(subject, "is_null" if operator == "$eq" else "not_null", None)
        if operator in ("$in", "$nin"):
            found = self._one_of(subject, operator, value)
            return found if operator == "$in" else negated(found)
        plain = _COMPARED.get(operator) or _TEXTUAL.get(operator)
        if plain is None:
            raise query.invalid(f"filter: {subject.text}: unknown operator {quote(operator)}", f"Known: {', '.join(OPERATORS)}")
        _check_applies(subject, plain, operator)
        return Filter(subject, plain, _value(subject, plain, operator, value))

    def _one_of(self, subject: Operand, operator: str, value: Any) -> Condition:
        """One of a list, in which null is the missing value."""
        if not isinstance(value, list) or len(value) > MOST_LISTED:
            raise query.invalid(f"filter: {subject.text}: {operator} takes a list of at most {MOST_LISTED} values")
        _check_applies(subject, "in", operator)
        found = Filter(subject, "in", [_value(subject, "in", operator, each) for each in value if each is not None])
        if None not in value:
            return found
        missing = Filter(subject, "is_null", None)
        return joined("or", [found, missing]) if found.value else missing


def _check_applies(subject: Operand, plain: str, operator: str) -> None:
    try:
        query.check_applies(subject, plain)
    except AlyxError as error:
        # The shared sentence names the operator as a URL has it.
        message = error.message.replace(f"filter: {plain} ", f"filter: {operator} ").rstrip(".")
        raise query.invalid(
            message, "Use $contains" if error.hint == "Use contains." else (error.hint or "").rstrip(".")
        ) from None


def _value(subject: Operand, plain: str, operator: str, value: Any) -> Any:
    """A value in the API's form. plain: the operator as conditions have it."""
    at = f"{subject.text}: {operator}"
    if isinstance(value, str) and not text.is_storable(value):
        raise query.invalid(f"filter: {at}: a text must not hold NUL or lone surrogates")
    if plain in TEXT_OPERATORS:
        if not isinstance(value, str):
            raise query.invalid(f"filter: {at} takes a text")
        return query.selected(subject, value) if subject.field.is_list else query.check_needle(f"filter: {at}", value)
    if subject.is_json:
        return _json_value(at, value)
    return _typed(subject, at, value)


def _json_value(at: str, value: Any) -> str:
    """A value below a json field by its text, as in a URL."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value).decode()
    raise query.invalid(f"filter: {at} takes a text, a number, true or false")


def _typed(subject: Operand, at: str, value: Any) -> Any:
    field = subject.field
    wanted, fits = _FORMS.get(field.value_type, _TEXT)
    if not fits(value):
        raise query.invalid(f"filter: {at} takes {wanted}, as {subject.text} is {field.value_type}")
    if field.value_type is Type.SELECT:
        return query.selected(subject, value)
    try:
        if field.value_type is Type.DECIMAL:
            return text.decimal(value, field.scale or 0)
        if isinstance(value, str):
            return readers.from_text(field, value)
    except ValueError as error:
        raise query.invalid(f"filter: {at}: {error}") from None
    return float(value) if field.value_type is Type.FLOAT else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and json.INT_MIN <= value <= json.INT_MAX


_TEXT: tuple[str, Callable[[Any], bool]] = ("a text", lambda value: isinstance(value, str))
_FORMS: dict[Type, tuple[str, Callable[[Any], bool]]] = {
    Type.INT: ("a whole number of 64 bit", _is_integer),
    Type.FLOAT: ("a number", _is_number),
    Type.BOOL: ("true or false", lambda value: isinstance(value, bool)),
    Type.DECIMAL: ("a decimal number", lambda value: isinstance(value, str) or _is_number(value)),
}
"""What a value looks like in JSON, for the types that are not written as texts."""
