"""The table of functions: name, parameter and result kinds, the Python form, and the name of the SQL form if there is one.

The Python form is a callable on run-time values (values.py); `inline` is a faster spelling of the same for generated code.
`sql` names a method of the dialect's forms (sql_forms.py). A function without it cannot stand in read rules and `where`.
docs/rules.md lists the same table; a test compares them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from alyx.base import calendar
from alyx.base.json import INT_MIN
from alyx.rules import moments
from alyx.rules.moments import SECOND
from alyx.rules.syntax import UInt
from alyx.rules.values import KINDS, Beyond, Fault, TypeName, finite, integer, narrow, unsigned, wrapped


@dataclass(frozen=True, slots=True)
class Function:
    """One overload. params and result: kinds of types.py; member: called as `x.name(...)`, x being the first parameter."""

    name: str
    params: tuple[str, ...]
    result: str
    call: Callable[..., Any]
    member: bool = False
    inline: str | None = None
    sql: str | None = None


TABLE: dict[str, list[Function]] = {}


def _add(name: str, params: str, result: str, call: Callable[..., Any], **rest: Any) -> None:
    TABLE.setdefault(name, []).append(Function(name, tuple(params.split()), result, call, **rest))


# Arithmetic -------------------------------------------------------------------------------------------------------------


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise Fault("division by zero")
    quotient = abs(left) // abs(right)
    return integer(quotient if (left < 0) == (right < 0) else -quotient)


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise Fault("modulus by zero")
    if right == -1 and left == INT_MIN:
        raise Fault("integer overflow")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def _quotient(left: float, right: float) -> float:
    if right == 0:
        raise Beyond("not a finite number")
    return finite(left / right)


def _udivide(left: int, right: int) -> int:
    if right == 0:
        raise Fault("division by zero")
    return UInt(left // right)


def _uremainder(left: int, right: int) -> int:
    if right == 0:
        raise Fault("modulus by zero")
    return UInt(left % right)


_add("_+_", "int int", "int", lambda a, b: integer(a + b), inline="integer({0} + {1})", sql="add")
_add("_-_", "int int", "int", lambda a, b: integer(a - b), inline="integer({0} - {1})", sql="subtract")
_add("_*_", "int int", "int", lambda a, b: integer(a * b), inline="integer({0} * {1})", sql="multiply")
_add("_/_", "int int", "int", _divide, sql="divide")
_add("_%_", "int int", "int", _remainder, sql="remainder")
_add("_+_", "uint uint", "uint", lambda a, b: unsigned(int(a) + int(b)))
_add("_-_", "uint uint", "uint", lambda a, b: unsigned(int(a) - int(b)))
_add("_*_", "uint uint", "uint", lambda a, b: unsigned(int(a) * int(b)))
_add("_/_", "uint uint", "uint", _udivide)
_add("_%_", "uint uint", "uint", _uremainder)
_add("_+_", "double double", "double", lambda a, b: finite(a + b), inline="finite({0} + {1})", sql="add")
_add("_-_", "double double", "double", lambda a, b: finite(a - b), inline="finite({0} - {1})", sql="subtract")
_add("_*_", "double double", "double", lambda a, b: finite(a * b), inline="finite({0} * {1})", sql="multiply")
_add("_/_", "double double", "double", _quotient, sql="quotient")
_add("_+_", "string string", "string", lambda a, b: a + b, inline="({0} + {1})", sql="concat")
_add("_+_", "bytes bytes", "bytes", lambda a, b: a + b)
_add("_+_", "list list", "list", lambda a, b: a + b)
_add("-_", "int", "int", lambda a: integer(-a), inline="integer(-{0})", sql="negate")
_add("-_", "double", "double", lambda a: -a, sql="negate")

_shift = moments.write
_add("_+_", "timestamp duration", "timestamp", lambda t, d: _shift(moments.micros(t) + d), sql="later")
_add("_+_", "duration timestamp", "timestamp", lambda d, t: _shift(moments.micros(t) + d), sql="later_flipped")
_add("_-_", "timestamp duration", "timestamp", lambda t, d: _shift(moments.micros(t) - d), sql="earlier")
_add("_-_", "timestamp timestamp", "duration", moments.difference, sql="difference")
_add("_+_", "duration duration", "duration", lambda a, b: moments.in_range(int(a) + int(b)), sql="add_spans")
_add("_-_", "duration duration", "duration", lambda a, b: moments.in_range(int(a) - int(b)), sql="subtract_spans")

# Sizes and text ---------------------------------------------------------------------------------------------------------

for _kind, _sql in (("string", "length"), ("bytes", "octets"), ("list", "count"), ("map", None)):
    for _member in (False, True):
        _add("size", _kind, "int", len, inline="len({0})", member=_member, sql=_sql)


@lru_cache(maxsize=256)
def pattern(text: str) -> Any:
    """A compiled RE2 pattern; a Fault if it is none."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error:
        raise Fault("not an RE2 pattern") from None


def matches(text: str, expression: str) -> bool:
    """RE2, found anywhere in the text."""
    return pattern(expression).search(text) is not None


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise Fault("index out of range")
    return text[at : at + 1]


def _index_of(text: str, needle: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise Fault("index out of range")
    return text.find(needle, start)


def _last_index_of(text: str, needle: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(needle)
    if not 0 <= start <= len(text):
        raise Fault("index out of range")
    return text.rfind(needle, 0, start + len(needle))


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise Fault("index out of range")
    return text[start:end]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if separator == "":
        return list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _join(items: list[Any], separator: str = "") -> str:
    return separator.join(narrow(item, "string") for item in items)


SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""What trim() takes off: Unicode's white space."""
_LOWER = {code: code + 32 for code in range(65, 91)}
_UPPER = {code: code - 32 for code in range(97, 123)}

_text = "string"
_add("contains", "string string", "bool", lambda a, b: b in a, member=True, inline="({1} in {0})", sql="contains")
_add("startsWith", "string string", "bool", str.startswith, member=True, inline="{0}.startswith({1})", sql="starts_with")
_add("endsWith", "string string", "bool", str.endswith, member=True, inline="{0}.endswith({1})", sql="ends_with")
_add("matches", "string string", "bool", matches, member=True, sql="matches")
_add("matches", "string string", "bool", matches, sql="matches")
_add("charAt", "string int", _text, _char_at, member=True, sql="char_at")
_add("indexOf", "string string", "int", _index_of, member=True, sql="index_of")
_add("indexOf", "string string int", "int", _index_of, member=True)
_add("lastIndexOf", "string string", "int", _last_index_of, member=True)
_add("lastIndexOf", "string string int", "int", _last_index_of, member=True)
_add("lowerAscii", "string", _text, lambda a: a.translate(_LOWER), member=True, sql="lower_ascii")
_add("upperAscii", "string", _text, lambda a: a.translate(_UPPER), member=True, sql="upper_ascii")
_add("replace", "string string string", _text, lambda a, b, c: a.replace(b, c), member=True, sql="replace")
_add("replace", "string string string int", _text, lambda a, b, c, n: a.replace(b, c, n), member=True)
_add("split", "string string", "strings", _split, member=True)
_add("split", "string string int", "strings", _split, member=True)
_add("substring", "string int", _text, _substring, member=True, sql="substring")
_add("substring", "string int int", _text, _substring, member=True, sql="substring")
_add("trim", "string", _text, lambda a: a.strip(SPACES), member=True, sql="trim")
_add("join", "list", _text, _join, member=True)
_add("join", "list string", _text, _join, member=True)

# Conversions ------------------------------------------------------------------------------------------------------------


def _parsed(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise Fault("not an integer")
    return int(text)


def _truncated(value: float) -> int:
    if not -(2.0**63) < value < 2.0**63:
        raise Fault("integer overflow")
    return int(value)


def _utruncated(value: float) -> int:
    if not 0 <= value < 2.0**64:
        raise Fault("unsigned integer overflow")
    return UInt(int(value))


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise Beyond("not a finite number")
    return finite(float(text))


def _boolean(text: str) -> bool:
    found = {"1": True, "t": True, "true": True, "TRUE": True, "True": True}
    found |= {"0": False, "f": False, "false": False, "FALSE": False, "False": False}
    if text not in found:
        raise Fault("not a bool")
    return found[text]


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Fault("not UTF-8") from None


def _same(value: Any) -> Any:
    return value


_add("int", "int", "int", _same, inline="{0}", sql="same")
_add("int", "uint", "int", lambda a: integer(int(a)))
_add("int", "double", "int", _truncated, sql="truncate")
_add("int", "string", "int", lambda a: integer(_parsed(a)))
_add("int", "timestamp", "int", lambda t: moments.micros(t) // SECOND, sql="seconds_since_1970")
_add("uint", "uint", "uint", _same)
_add("uint", "int", "uint", unsigned)
_add("uint", "double", "uint", _utruncated)
_add("uint", "string", "uint", lambda a: unsigned(_parsed(a)) if a.isdigit() else unsigned(-1))
_add("double", "double", "double", _same, inline="{0}", sql="same")
_add("double", "int", "double", float, inline="float({0})", sql="real")
_add("double", "uint", "double", float)
_add("double", "string", "double", _number)
_add("string", "string", "string", _same, inline="{0}", sql="same")
_add("string", "int", "string", str, sql="int_text")
_add("string", "uint", "string", lambda a: str(int(a)))
_add("string", "bool", "string", lambda a: "true" if a else "false")
_add("string", "bytes", "string", _utf8)
_add("string", "timestamp", "string", moments.plain)
_add("string", "duration", "string", moments.span_text)
_add("bytes", "bytes", "bytes", _same)
_add("bytes", "string", "bytes", str.encode)
_add("bool", "bool", "bool", _same, inline="{0}")
_add("bool", "string", "bool", _boolean)
_add("timestamp", "timestamp", "timestamp", _same, inline="{0}", sql="same")
_add("timestamp", "string", "timestamp", moments.read)
_add("timestamp", "int", "timestamp", lambda a: moments.write(a * SECOND))
_add("duration", "duration", "duration", _same, inline="{0}", sql="same")
_add("duration", "string", "duration", moments.span)


# Calendar ---------------------------------------------------------------------------------------------------------------


def _getter(name: str) -> Callable[..., int]:
    def part(text: str, where: str = "UTC") -> int:
        try:
            return calendar.part(text, name, where)
        except calendar.UnknownZone:
            raise Fault("no such time zone") from None

    return part


for _name in calendar.PARTS:
    _add(_name, "timestamp", "int", _getter(_name), member=True, sql="part")
    _add(_name, "timestamp string", "int", _getter(_name), member=True, sql="part")


def _cut(unit: int) -> Callable[[int], int]:
    return lambda value: value // unit if value >= 0 else -(-value // unit)


SPANS = {"getHours": 3600 * SECOND, "getMinutes": 60 * SECOND, "getSeconds": SECOND}
for _name, _unit in SPANS.items():
    _add(_name, "duration", "int", _cut(_unit), member=True, sql="span_part")
_add("getMilliseconds", "duration", "int", lambda d: int(math.copysign(abs(d) % SECOND // 1000, d)), member=True)

TYPE_NAMES = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}


def dynamic(name: str, member: bool, *args: Any) -> Any:
    """Call the overload that the values at hand ask for."""
    kinds = tuple(KINDS[type(item)] for item in args)
    if name == "type":
        return type_name(kinds[0])
    for item in candidates(name, len(args), member):
        if item.params == kinds:
            result = item.call(*args)
            return wrapped(result, item.result) if item.result in ("timestamp", "duration") else result
    raise Fault("no such overload")


def type_name(kind: str) -> TypeName:
    """The value of `type(x)` for a kind."""
    return TypeName(TYPE_NAMES.get(kind, kind))


MIXED = Function("double", ("int",), "double", lambda a: None if a is None else float(a), sql="mixed")
"""An int compared with a double: cast, null staying null, which is what Google's C++ does beyond 2^53."""


def candidates(name: str, count: int, member: bool) -> list[Function]:
    """The overloads of a name that take so many arguments (the receiver counts)."""
    return [item for item in TABLE.get(name, ()) if len(item.params) == count and item.member == member]
