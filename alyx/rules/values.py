"""Values as the Python lowering holds them at run time, and what CEL says about their equality and order.

null is None; bool, int, double, string, bytes, list, map are Python's own; uint is syntax.UInt. A timestamp is its text in the
API's form (so that columns compare without parsing), a duration an int of microseconds; where the static type does not tell,
they are wrapped as Timestamp and Duration. A decimal is an int scaled by its field's scale.
"""

from __future__ import annotations

from typing import Any, NoReturn

from alyx.base.json import INT_MAX, INT_MIN
from alyx.rules.syntax import UInt

UINT_MAX = 2**64 - 1


class Fault(Exception):
    """A CEL error at run time, such as an overflow or a missing key. In a verdict it counts as false."""


class Beyond(Fault):
    """Right by CEL, but beyond what Alyx holds: finer than a microsecond, or not a finite number. Constants of it are refused."""


class Timestamp(str):
    """A moment: the API's text, 27 characters, UTC, microseconds."""

    __slots__ = ()


class Duration(int):
    """A span of time in microseconds."""

    __slots__ = ()


class TypeName(str):
    """The value of `type(x)`."""

    __slots__ = ()


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    Timestamp: "timestamp",
    Duration: "duration",
    TypeName: "type",
    list: "list",
    dict: "map",
}
NUMERIC = frozenset({int, UInt, float})
_KEYS = NUMERIC | {bool, str}
_ORDERED = frozenset({bool, str, bytes, Timestamp, Duration})


def fault(message: str) -> NoReturn:
    """Raise a Fault from inside an expression."""
    raise Fault(message)


def equal(left: Any, right: Any) -> bool:
    """CEL equality of two values of any kind: numbers across kinds (through double, as Google's C++ does), never an error."""
    one, other = type(left), type(right)
    if one in NUMERIC and other in NUMERIC:
        return float(left) == float(right) if float in (one, other) else int(left) == int(right)
    if one is not other:
        return False
    if one is list:
        return len(left) == len(right) and all(map(equal, left, right))
    if one is dict:
        return len(left) == len(right) and all(key in right and equal(value, right[key]) for key, value in left.items())
    return bool(left == right)


def before(left: Any, right: Any) -> bool:
    """left < right for two values of any kind; a Fault where CEL has no such overload."""
    one, other = type(left), type(right)
    if one in NUMERIC and other in NUMERIC:
        return float(left) < float(right) if float in (one, other) else int(left) < int(right)
    if one is not other or one not in _ORDERED:
        raise Fault("no such overload")
    return bool(left < right)


def not_after(left: Any, right: Any) -> bool:
    """left <= right for two values of any kind (not the negation of right < left: NaN)."""
    one, other = type(left), type(right)
    if one in NUMERIC and other in NUMERIC:
        return float(left) <= float(right) if float in (one, other) else int(left) <= int(right)
    if one is not other or one not in _ORDERED:
        raise Fault("no such overload")
    return bool(left <= right)


def key_of(value: Any) -> Any:
    """A map key as the dict holds it: true and 1 are different keys, 1 and 1.0 the same."""
    if type(value) is bool:
        return (value,)
    if isinstance(value, str | int) or (isinstance(value, float) and value.is_integer()):
        return value
    raise Fault("no such key")


def unkey(key: Any) -> Any:
    """The value of a dict's key."""
    return key[0] if type(key) is tuple else key


def contains(item: Any, container: Any) -> bool:
    """`item in container` for values of any kind."""
    if type(container) is list:
        return any(equal(item, each) for each in container)
    if type(container) is dict:
        if type(item) not in _KEYS:
            raise Fault("no such overload")
        return key_of(item) in container if type(item) is not float or item.is_integer() else False
    raise Fault("no such overload")


def member(operand: Any, key: Any) -> Any:
    """`operand[key]` and `operand.key` for values of any kind."""
    if type(operand) is dict:
        found = key_of(key)
        if found not in operand:
            raise Fault("no such key")
        return operand[found]
    if type(operand) is list and type(key) in NUMERIC:
        if key != int(key) or not 0 <= key < len(operand):
            raise Fault("index out of bounds")
        return operand[int(key)]
    raise Fault("no such overload")


def present(operand: Any, key: str) -> bool:
    """`has(operand.key)`."""
    if type(operand) is not dict:
        raise Fault("has() needs a map")
    return key in operand


def without_nulls(claims: Any) -> Any:
    """The caller's claims as rules see them: a null in them, at any depth, is as good as not there (hard-parts §1.2)."""
    try:
        return _without_nulls(claims)
    except RecursionError:
        return None


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if type(value) is list:
        return [_without_nulls(item) for item in value if item is not None]
    return value


def map_of(entries: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map literal; a key given twice is an error."""
    found: dict[Any, Any] = {}
    for key, value in entries:
        if type(key) is float or key_of(key) in found:
            raise Fault("duplicate or unsupported key")
        found[key_of(key)] = value
    return found


def items_of(value: Any) -> list[Any]:
    """What a macro walks over: the items of a list, the keys of a map."""
    if type(value) is list:
        return value
    if type(value) is dict:
        return [unkey(key) for key in value]
    raise Fault("no such overload")


def integer(value: int) -> int:
    """The result of int arithmetic, if it fits in 64 bit."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Fault("integer overflow")


def unsigned(value: int) -> UInt:
    """The result of uint arithmetic, if it fits."""
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise Fault("unsigned integer overflow")


def finite(value: float) -> float:
    """The result of double arithmetic; Alyx has no NaN and no infinity (hard-parts §1.5)."""
    if value - value == 0.0:
        return value
    raise Beyond("not a finite number")


def narrow(value: Any, kind: str) -> Any:
    """A dyn value where a type is needed."""
    if KINDS.get(type(value)) == kind:
        return value
    raise Fault(f"needs {kind}")


def wrapped(value: Any, kind: str) -> Any:
    """A timestamp or duration on its way to where the static type is not known."""
    if value is None:
        return None
    return Timestamp(value) if kind == "timestamp" else Duration(value)


def scaled(value: str | None, factor: int) -> int | None:
    """A decimal's canonical text as an int; factor lifts it to the scale of the other side. Source: tables.exact_order."""
    return None if value is None else int(value.replace(".", "")) * factor


def some(value: Any) -> Any:
    """A nullable value where null is an error."""
    if value is None:
        raise Fault("null")
    return value


def is_text(value: Any) -> bool:
    """Whether it is a text that SQL can be told: without NUL and lone surrogates, which no record holds either."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def truth(value: Any) -> bool | None:
    """A boolean of a condition; None, which stands for an error, for everything else."""
    return value if value is True or value is False else None
