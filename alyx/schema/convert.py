"""What happens to a stored value when its field changes: the one definition that plans, migrations and tests share.

Pure: no clock, no database. Values are in the API's form. `convert` never guesses: what has no exact counterpart either loses
something by a stated rule (digits are rounded, a list keeps its first entry, markup is cleaned) or is refused.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Literal

from alyx.base import json
from alyx.schema import readers, richtext
from alyx.schema.model import Field, Type

Fate = Literal["same", "widening", "checked", "lossy", "dropped"]
"""What a change of type does to values in general.

same: stored as before. widening: every value fits and can be turned back. checked: values that do not fit stand in the way.
lossy: a value may lose something. dropped: nothing can be carried over.
"""

_TEXTS = frozenset({Type.STRING, Type.TEXT, Type.RICHTEXT, Type.EMAIL, Type.URL, Type.FILE})
_EXACT = Context(prec=400)
_DECIMAL = re.compile(r"[-+]?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_INT = re.compile(r"[-+]?[0-9]{1,30}")


class Unconvertible(ValueError):
    """The value has no counterpart in the new type; the message says why, without the value."""


def fate(old: Field, new: Field) -> Fate:
    """What changing `old` into `new` does to values in general. Limits (lengths, ranges, patterns) are not looked at."""
    before, after = old.value_type, new.value_type
    if old.is_list or new.is_list:
        return _fate_of_lists(old, new)
    if before is after:
        return _fate_within(old, new)
    if after is Type.RICHTEXT:
        return "lossy" if before in _TEXTS or before is Type.SELECT else _fate_between(before, Type.STRING)
    return _fate_between(before, after)


def convert(old: Field, new: Field, value: Any) -> Any:
    """A value of `old` as a value of `new`; None stays None, and is also the answer where nothing can be carried over.

    Raises Unconvertible when this value stands in the way.
    """
    return None if value is None else converter(old, new)(value)


def converter(old: Field, new: Field) -> Callable[[Any], Any]:
    """`convert` for many values that are not None: what does not depend on the value is decided once."""
    kind = fate(old, new)
    if kind == "dropped":
        return lambda _value: None
    if kind == "same" or (new.value_type is Type.JSON and not old.is_list):
        return lambda value: value
    if old.is_list or new.is_list:
        return lambda value: _convert_list(old, new, value)
    if old.value_type is Type.JSON:
        return lambda value: _from_json(new, value)
    target = _TARGETS[new.value_type]
    return lambda value: target(old, new, value)


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart."""
    return type(one) is type(other) and bool(one == other)


def door(field: Field) -> Callable[[Any], str | None]:
    """A function that says why the API would not take a value (in its form) for this field, limits included; None if it would."""
    read = readers.reader(field)

    def judge(value: Any) -> str | None:
        try:
            read(value)
        except readers.Refused as error:
            return error.faults[0][1]
        except json.InvalidJSON as error:
            return str(error)
        return None

    return judge


def _fate_within(old: Field, new: Field) -> Fate:
    if old.value_type is Type.DECIMAL and old.scale != new.scale:
        return "checked" if (new.scale or 0) > (old.scale or 0) else "lossy"
    if old.value_type is Type.RICHTEXT and not (old.richtext or frozenset()) <= (new.richtext or frozenset()):
        return "lossy"
    return "same"


def _fate_of_lists(old: Field, new: Field) -> Fate:
    if old.is_list and new.is_list:
        return "same"
    if new.is_list:
        return "widening" if old.value_type in (Type.SELECT, *_TEXTS) else "checked" if old.type is Type.JSON else "dropped"
    if old.is_list and new.type is Type.JSON:
        return "widening"
    return "lossy" if new.value_type in (Type.SELECT, *_TEXTS) else "dropped"


def _fate_between(before: Type, after: Type) -> Fate:
    if before is Type.BLOB:
        return "widening" if after in (Type.STRING, Type.TEXT) else "dropped"
    if after is Type.BLOB:
        return "checked" if before in _TEXTS else "dropped"
    if after is Type.JSON:
        return "widening"
    if before is Type.JSON:
        return "checked"
    if after in (Type.STRING, Type.TEXT, Type.FILE) or (before, after) in _WIDENING:
        return "widening"
    if (before, after) in _LOSSY:
        return "lossy"
    if before in _TEXTS or before is Type.SELECT or after in (Type.EMAIL, Type.URL, Type.SELECT) or (before, after) in _CHECKED:
        return "checked"
    return "dropped"


_WIDENING = {(Type.DATE, Type.TIMESTAMP), (Type.BOOL, Type.INT)}
_LOSSY = {
    (Type.FLOAT, Type.INT),
    (Type.DECIMAL, Type.INT),
    (Type.FLOAT, Type.DECIMAL),
    (Type.DECIMAL, Type.FLOAT),
    (Type.TIMESTAMP, Type.DATE),
}
_CHECKED = {(Type.INT, Type.FLOAT), (Type.INT, Type.DECIMAL), (Type.INT, Type.BOOL)}


def base_text(value: Any) -> str:
    """A plain value as text: true, false, numbers as JSON writes them, texts as they are."""
    return value if isinstance(value, str) else json.dumps(value).decode()


def _convert_list(old: Field, new: Field, value: Any) -> Any:
    if not new.is_list:
        if new.type is Type.JSON:
            return value
        if not value:
            return None
        first = Field(old.name, Type.SELECT, select_values=old.select_values)
        return convert(first, new, value[0])
    if old.type is not Type.JSON:
        return [_to_text(old, new, value)]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value):
        return value
    raise Unconvertible("not a list of different texts")


def _from_json(new: Field, value: Any) -> Any:
    """A JSON value where it is plain already, or the text of it; a map or list becomes its JSON text in text fields only."""
    if isinstance(value, list | dict):
        if new.value_type in (Type.STRING, Type.TEXT):
            return json.dumps(value).decode()
        raise Unconvertible("a map or a list")
    if isinstance(value, str):
        return _TARGETS[new.value_type](Field("", Type.STRING), new, value)
    kind = Type.BOOL if isinstance(value, bool) else Type.INT if isinstance(value, int) else Type.FLOAT
    source = Field("", kind)
    if fate(source, new) == "dropped":
        raise Unconvertible(f"not {_WORD.get(new.value_type, new.value_type)}")
    return convert(source, new, value)


def _to_text(_old: Field, _new: Field, value: Any) -> str:
    return base_text(value)


def _to_richtext(_old: Field, new: Field, value: Any) -> str:
    try:
        return _cleaner(new.richtext or frozenset())(base_text(value))
    except richtext.TooDeep:
        raise Unconvertible("tags are nested too deep") from None


_cleaner = lru_cache(maxsize=64)(richtext.cleaner)


def _to_int(_old: Field, _new: Field, value: Any) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) or _old.value_type is Type.DECIMAL or _INT.fullmatch(value):
        number = Decimal(value)
    else:
        raise Unconvertible("not a whole number")
    return _in_range(int(number.to_integral_value(ROUND_HALF_EVEN, context=_EXACT)))


def _in_range(number: int) -> int:
    if not json.INT_MIN <= number <= json.INT_MAX:
        raise Unconvertible("beyond 64 bit")
    return number


def _to_float(_old: Field, _new: Field, value: Any) -> float:
    try:
        found = float(value)
    except ValueError:
        raise Unconvertible("not a number") from None
    except OverflowError:
        raise Unconvertible("beyond the range of a double") from None
    if not math.isfinite(found) or (isinstance(value, str) and "_" in value):
        raise Unconvertible("not a finite number")
    if isinstance(value, int) and int(found) != value:
        raise Unconvertible("a float cannot hold it exactly")
    return found


def _to_decimal(_old: Field, new: Field, value: Any) -> str:
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise Unconvertible("not a decimal number")
    return decimal_text(Decimal(repr(value) if isinstance(value, float) else value), new.scale or 0)


def decimal_text(number: Decimal, scale: int) -> str:
    """A number as canonical decimal text with exactly `scale` decimals, rounded half to even; `-0` never.

    Raises Unconvertible when the scaled integer has more than 64 bit, which is what ordering can take.
    """
    try:
        rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN, _EXACT)
    except InvalidOperation:
        raise Unconvertible("too many digits") from None
    if not json.INT_MIN <= int(rounded.scaleb(scale, _EXACT)) <= json.INT_MAX:
        raise Unconvertible("too many digits")
    return format(rounded if rounded else abs(rounded), "f")


def _to_bool(_old: Field, _new: Field, value: Any) -> bool:
    if value in (0, 1, "0", "1", "true", "false"):
        return value in (1, "1", "true")
    raise Unconvertible("neither true nor false")


def _to_date(old: Field, new: Field, value: Any) -> str:
    return str(value)[:10] if old.value_type is Type.TIMESTAMP else _taken(new, value)


def _to_timestamp(old: Field, new: Field, value: Any) -> str:
    return f"{value}T00:00:00.000000Z" if old.value_type is Type.DATE else _taken(new, value)


def _taken(new_: Field, value: Any) -> str:
    """A text as the API would take it for this type, limits aside."""
    bare = Field("", new_.value_type)
    try:
        return str(_reader(bare)(value))
    except readers.Refused as error:
        raise Unconvertible(error.faults[0][1]) from None


_reader = lru_cache(maxsize=256)(readers.reader)


def _to_form(_old: Field, new: Field, value: Any) -> str:
    return _taken(new, base_text(value))


def _to_select(_old: Field, new: Field, value: Any) -> str:
    text = base_text(value)
    return text if text in new.select_values else _refuse("not one of the select's values")


def _to_blob(_old: Field, _new: Field, value: Any) -> str:
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode()
    except (binascii.Error, ValueError):
        raise Unconvertible("not base64") from None


def _refuse(reason: str) -> str:
    raise Unconvertible(reason)


_TARGETS: dict[Type, Callable[[Field, Field, Any], Any]] = {
    Type.STRING: _to_text,
    Type.TEXT: _to_text,
    Type.FILE: _to_text,
    Type.RICHTEXT: _to_richtext,
    Type.INT: _to_int,
    Type.FLOAT: _to_float,
    Type.DECIMAL: _to_decimal,
    Type.BOOL: _to_bool,
    Type.DATE: _to_date,
    Type.TIMESTAMP: _to_timestamp,
    Type.UUID: _to_form,
    Type.ID: _to_form,
    Type.EMAIL: _to_form,
    Type.URL: _to_form,
    Type.SELECT: _to_select,
    Type.BLOB: _to_blob,
}
_WORD = {Type.DATE: "a date", Type.TIMESTAMP: "a timestamp", Type.UUID: "a uuid", Type.ID: "an id", Type.DECIMAL: "a decimal"}


def exact(number: float | str) -> Decimal:
    """A limit as an exact number, so that `1.5`, 1.5 and 1 compare."""
    return Decimal(str(number))
