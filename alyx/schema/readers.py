"""One field's values: from parsed JSON (or text) to the API's canonical form, or the faults of contract §3.

`reader(field)` is the one definition of what a field takes; `values` runs it over bodies, `load` over defaults and enums. Null is
not judged here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from alyx.base import json
from alyx.base.json import INT_MAX, INT_MIN, InvalidJSON
from alyx.schema import richtext, text
from alyx.schema.model import DEFAULT_MAX_LENGTH, SEARCHED, Field, Type

Read: TypeAlias = Callable[[Any], Any]
Check: TypeAlias = Callable[[Any], tuple[str, str] | None]


class Refused(ValueError):
    """A value that a field does not take; `faults` are pairs of code and sentence."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(message for _, message in faults))
        self.faults = faults


def reader(field: Field) -> Read:
    """A function from a parsed JSON value (not null) to the API's form.

    It raises Refused with every fault of the value, and InvalidJSON for an integer beyond 64 bit inside a json field.
    """
    convert = _converter(field)
    checks = _checks(field)
    if not checks:
        return convert

    def read(value: Any) -> Any:
        value = convert(value)
        if faults := [fault for check in checks if (fault := check(value))]:
            raise Refused(*faults)
        return value

    return read


def from_text(field: Field, source: str) -> Any:
    """A filter's or CSV cell's text as a value of the field's type, in the API's form; limits of the field are not judged.

    Raises ValueError with a sentence. Timestamps take at most six decimals here, so that none is cut before a comparison.
    """
    if not text.is_storable(source):
        raise ValueError("must not hold NUL or lone surrogates")
    kind = field.value_type
    if kind is Type.JSON or field.is_list:
        value = _json_text(source)
        if field.is_list and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError("must be a JSON list of texts")
        return value
    if kind is Type.BOOL:
        if source not in ("true", "false"):
            raise ValueError("must be true or false")
        return source == "true"
    if kind is Type.TIMESTAMP:
        return text.timestamp(source, digits=6)
    if kind is Type.DECIMAL:
        return text.decimal(source, field.scale or 0)
    convert = _FROM_TEXT.get(kind)
    return convert(source) if convert else source


_FROM_TEXT: dict[Type, Callable[[str], Any]] = {
    Type.INT: text.integer,
    Type.FLOAT: text.number,
    Type.UUID: text.uuid,
    Type.ID: text.record_id,
    Type.DATE: text.date,
    Type.BLOB: text.blob,
}
"""Of the types that are neither plain text nor treated above; e-mails, urls and selects are compared as they stand."""


def limits(field: Field) -> tuple[int, int | None]:
    """The shortest and longest text that a field takes, in code points (a blob: bytes); None is no upper limit."""
    return field.min_length or 0, field.max_length if field.max_length is not None else DEFAULT_MAX_LENGTH.get(field.value_type)


def finisher(field: Field) -> Read | None:
    """What is left to do once the fast decoder has judged type, length and range of a text without NUL or lone surrogates.

    None where nothing is left. Raises ValueError for whatever `reader` refuses, without its faults.
    """
    kind = field.value_type
    if kind in (Type.STRING, Type.TEXT):
        return reader(field) if field.pattern or field.format or field.enum else None
    if kind in (Type.INT, Type.FLOAT):
        return reader(field) if field.enum else None
    if kind is Type.BOOL or (kind is Type.SELECT and not field.is_list):
        return None
    if kind is Type.RICHTEXT:
        return _plain_richtext(field)
    return _FORMS[kind][0] if kind in _FORMS and not _checks(field) else reader(field)


def _plain_richtext(field: Field) -> Read:
    """The reader with a short cut for texts that hold no markup."""
    read = reader(field)
    longest = limits(field)[1]
    if longest is None or field.min_length or field.pattern or field.format or field.enum:
        return read
    return lambda value: value if len(value) <= longest and not richtext.has_markup(value) else read(value)


def _json_text(source: str) -> Any:
    try:
        return _json(json.parse(source.encode()))
    except (InvalidJSON, Refused) as error:
        raise ValueError(f"must be JSON: {error}") from None


def _converter(field: Field) -> Read:
    kind = field.value_type
    if kind is Type.SELECT:
        return _select(field)
    if kind is Type.DECIMAL:
        return _decimal(field.scale or 0)
    if kind is Type.RICHTEXT:
        return _richtext(field)
    return _CONVERTERS[kind]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(("invalid_type", "must be a text"))
    if not text.is_storable(value):
        raise Refused(("invalid_type", "must not hold NUL or lone surrogates"))
    return value


def _formed(form: Callable[[str], str], code: str) -> Read:
    def read(value: Any) -> str:
        value = _text(value)
        try:
            return form(value)
        except ValueError as error:
            raise Refused((code, str(error))) from None

    return read


def _int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(("invalid_type", "must be a whole number, without a decimal point"))
    if not INT_MIN <= value <= INT_MAX:
        raise Refused(("max_value" if value > 0 else "min_value", "must fit 64 bit"))
    return value


def _float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(("invalid_type", "must be a number"))
    try:
        return float(value)
    except OverflowError:
        raise Refused(("max_value" if value > 0 else "min_value", "must fit a double")) from None


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused(("invalid_type", "must be true or false"))
    return value


def _decimal(scale: int) -> Read:
    def read(value: Any) -> str:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise Refused(("invalid_type", "must be a decimal number, best written as a string such as '12.50'"))
        try:
            return text.decimal(value, scale)
        except text.OutOfRange as error:
            raise Refused(("max_value" if error.above else "min_value", str(error))) from None
        except ValueError as error:
            raise Refused(("invalid_type", str(error))) from None

    return read


def _select(field: Field) -> Read:
    known = frozenset(field.select_values)
    listed = ", ".join(field.select_values[:20]) + (", ..." if len(known) > 20 else "")

    def one(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused(("invalid_type", "must be a text"))
        if value not in known:
            raise Refused(("invalid_select", f"must be one of: {listed}"))
        return value

    def many(value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Refused(("invalid_type", "must be a list of texts"))
        faults = []
        if len(value) > field.max_select:
            faults.append(("max_select", f"must have at most {field.max_select} values"))
        if not known.issuperset(value):
            faults.append(("invalid_select", f"must be of: {listed}"))
        elif len(set(value)) != len(value):
            faults.append(("invalid_select", "must not have a value twice"))
        if faults:
            raise Refused(*faults)
        return value

    return many if field.is_list else one


def _richtext(field: Field) -> Read:
    clean = richtext.cleaner(field.richtext or richtext.ALWAYS)
    longest = limits(field)[1]

    def read(value: Any) -> str:
        value = _text(value)
        if longest is not None and len(value) > longest:
            raise Refused(("max_length", f"must have at most {text.describe_length(longest)}"))
        try:
            return clean(value)
        except richtext.TooDeep as error:
            raise Refused(("invalid_type", str(error))) from None

    return read


def _json(value: Any) -> Any:
    """Walk a json value without recursion: no NUL or lone surrogate in any text or key, integers within 64 bit."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            _text(item)
        elif kind is dict:
            waiting.extend(item.values())
            waiting.extend(item)
        elif kind is list:
            waiting.extend(item)
        elif kind is int and not INT_MIN <= item <= INT_MAX:
            raise InvalidJSON("an integer is beyond 64 bit")
    return value


_FORMS: dict[Type, tuple[Callable[[str], str], str]] = {
    Type.ID: (text.record_id, "invalid_id"),
    Type.UUID: (text.uuid, "invalid_uuid"),
    Type.TIMESTAMP: (text.timestamp, "invalid_timestamp"),
    Type.DATE: (text.date, "invalid_date"),
    Type.EMAIL: (text.email, "invalid_email"),
    Type.URL: (text.url, "invalid_url"),
    Type.BLOB: (text.blob, "invalid_type"),
}
"""Types whose values are texts of one form, with the code of a text that has another."""

_CONVERTERS: dict[Type, Read] = {
    Type.STRING: _text,
    Type.TEXT: _text,
    Type.INT: _int,
    Type.FLOAT: _float,
    Type.BOOL: _bool,
    Type.JSON: _json,
    **{kind: _formed(form, code) for kind, (form, code) in _FORMS.items()},
}


def _checks(field: Field) -> list[Check]:
    found: list[Check] = []
    shortest, longest = limits(field)
    if field.value_type is Type.BLOB:
        found += _sizes(shortest, longest, lambda value: len(value) // 4 * 3 - value[-2:].count("="), "byte")
    elif field.value_type in SEARCHED:
        found += _sizes(shortest, longest, len, "character")
    if field.value_type is Type.DECIMAL:
        found += _range(field.minimum, field.maximum, lambda value: text.unscaled(str(value)))
    else:
        found += _range(field.minimum, field.maximum, lambda value: value)
    if field.format:
        found.append(_format(field.format))
    if field.pattern is not None:
        found.append(_pattern(field.pattern))
    if field.enum:
        found.append(_enum(field.enum))
    return found


def _sizes(shortest: int, longest: int | None, measure: Callable[[Any], int], unit: str) -> list[Check]:
    found: list[Check] = []
    if shortest:
        low = ("min_length", f"must have at least {text.describe_length(shortest, unit)}")
        found.append(lambda value: low if measure(value) < shortest else None)
    if longest is not None:
        high = ("max_length", f"must have at most {text.describe_length(longest, unit)}")
        found.append(lambda value: high if measure(value) > longest else None)
    return found


def _range(minimum: Any, maximum: Any, measure: Callable[[Any], Any]) -> list[Check]:
    found: list[Check] = []
    if minimum is not None:
        least, low = measure(minimum), ("min_value", f"must be at least {minimum}")
        found.append(lambda value: low if measure(value) < least else None)
    if maximum is not None:
        most, high = measure(maximum), ("max_value", f"must be at most {maximum}")
        found.append(lambda value: high if measure(value) > most else None)
    return found


def _format(name: str) -> Check:
    form = text.FORMS[name]

    def check(value: Any) -> tuple[str, str] | None:
        try:
            form(value)
        except ValueError as error:
            return f"invalid_{name}", str(error)
        return None

    return check


def _pattern(source: str) -> Check:
    matches = text.pattern(source)
    fault = ("pattern", f"must match the pattern {source}")
    return lambda value: None if matches(value) else fault


def _enum(allowed: tuple[Any, ...]) -> Check:
    known = frozenset(allowed)
    fault = ("enum", "must be one of: " + ", ".join(str(item) for item in allowed[:20]))
    return lambda value: None if value in known else fault
