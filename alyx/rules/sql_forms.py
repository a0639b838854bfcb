"""How SQLite says each function of the table; PostgreSQL's forms become a second class with the same methods.

A method takes operands and returns one: the SQL, the conditions under which it is no error, and whether it may be NULL all the
same. It is only looked at where the conditions hold, so it may be nonsense elsewhere - but it must never make the query fail.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from alyx.base.json import INT_MAX, INT_MIN
from alyx.rules import functions, moments
from alyx.rules.moments import SECOND

Sql: TypeAlias = "sa.ColumnElement[Any]"
_LARGEST = 1.7976931348623157e308


class Unsupported(Exception):
    """CEL that SQL cannot say faithfully. start: offset in the rule's text."""

    def __init__(self, message: str, start: int = 0, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.hint = hint


class Operand(NamedTuple):
    """A value in SQL. kind: of types.py, or `micros` for a moment that was computed. ok: all must hold, or it is an error."""

    sql: Sql
    kind: str
    ok: tuple[Sql, ...] = ()
    nullable: bool = False
    constant: Any = None
    """The value itself where it is known: of a constant."""

    @property
    def strict(self) -> tuple[Sql, ...]:
        """The conditions where null is an error, too."""
        return (*self.ok, self.sql.is_not(None)) if self.nullable else self.ok


def literal(value: Any) -> Sql:
    """A constant as a bound value of the right SQL type."""
    if isinstance(value, bool):
        return sa.literal(int(value), sa.INTEGER())
    if isinstance(value, int):
        return sa.literal(int(value), sa.INTEGER())
    if isinstance(value, float):
        return sa.literal(value, sa.REAL())
    if isinstance(value, bytes):
        return sa.literal(value, sa.BLOB())
    return sa.null() if value is None else sa.literal(str(value), sa.TEXT())


def both(*conditions: Sql) -> Sql:
    """AND without what is known to be true; SQLAlchemy's own would keep some."""
    left = [item for item in conditions if not isinstance(item, sa.sql.elements.True_)]
    if any(isinstance(item, sa.sql.elements.False_) for item in left):
        return sa.false()
    return sa.and_(*left) if len(left) > 1 else left[0] if left else sa.true()


def either(*conditions: Sql) -> Sql:
    """OR without what is known to be false."""
    left = [item for item in conditions if not isinstance(item, sa.sql.elements.False_)]
    if any(isinstance(item, sa.sql.elements.True_) for item in left):
        return sa.true()
    return sa.or_(*left) if len(left) > 1 else left[0] if left else sa.false()


def compare(left: Sql, sign: str, right: Sql) -> Sql:
    """`left sign right` as bare SQL; sign is one of < <= > >=, anything else is equality."""
    match sign:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
    return left == right


def not_true(condition: Sql) -> Sql:
    """Two-valued: true where the condition is false or NULL."""
    if isinstance(condition, sa.sql.elements.True_):
        return sa.false()
    if isinstance(condition, sa.sql.elements.False_):
        return sa.true()
    return condition.self_group().is_not(sa.true())


class SqliteForms:
    """SQLite. Division by zero gives NULL and integer overflow a REAL here, never an error; the conditions catch both."""

    def call(self, name: str, args: list[Operand], function: functions.Function, start: int) -> Operand:
        """The form of a function on operands."""
        ok = tuple(condition for item in args for condition in item.strict)
        if name == "mixed":  # a cast only: null stays null
            return Operand(sa.cast(args[0].sql, sa.REAL()), "double", args[0].ok, args[0].nullable)
        if name == "part":
            return self.part(function.name, args, ok)
        if name == "span_part":
            return Operand(_op(args[0].sql, "/", literal(functions.SPANS[function.name])), "int", ok)
        if name == "matches":
            return self.matches(args, ok, start)
        sql, more = getattr(self, name)(*args)
        kind = "micros" if function.result == "timestamp" and name != "same" else function.result
        return Operand(sql, args[0].kind if name == "same" else kind, ok + more)

    # Numbers ------------------------------------------------------------------------------------------------------------

    def add(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a + b` of numbers."""
        return self._arithmetic(a, "+", b)

    def subtract(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a - b` of numbers."""
        return self._arithmetic(a, "-", b)

    def multiply(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a * b`."""
        return self._arithmetic(a, "*", b)

    def divide(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a / b` of ints: cut toward zero, as in CEL."""
        return self._arithmetic(a, "/", b)

    def quotient(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a / b` of doubles."""
        return self._arithmetic(a, "/", b)

    def remainder(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a % b`: the sign of a, as in CEL."""
        overflow = both(a.sql == literal(INT_MIN), b.sql == literal(-1))
        return _op(a.sql, "%", b.sql), (b.sql != literal(0), sa.not_(overflow))

    def negate(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`-a`."""
        sql = _op(literal(0 if a.kind == "int" else 0.0), "-", a.sql)
        return sql, (sa.func.typeof(sql) == "integer",) if a.kind == "int" else ()

    @staticmethod
    def _arithmetic(a: Operand, sign: str, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        sql = _op(a.sql, sign, b.sql)
        if a.kind == "int":
            return sql, (sa.func.typeof(sql) == "integer",)
        return sql, (sql.between(literal(-_LARGEST), literal(_LARGEST)),)

    def same(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """A conversion to the type that it has."""
        return a.sql, ()

    def truncate(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`int(double)`."""
        return sa.cast(a.sql, sa.INTEGER()), (a.sql > literal(-(2.0**63)), a.sql < literal(2.0**63))

    def real(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`double(int)`."""
        return sa.cast(a.sql, sa.REAL()), ()

    def int_text(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`string(int)`."""
        return sa.cast(a.sql, sa.TEXT()), ()

    # Text ---------------------------------------------------------------------------------------------------------------

    def concat(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a + b` of strings."""
        return _op(a.sql, "||", b.sql, sa.TEXT()), ()

    def length(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`size(string)`: code points, as no text holds NUL."""
        return _length(a.sql), ()

    octets = length
    """`size(bytes)`."""

    def count(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`size(list)`."""
        return sa.func.json_array_length(a.sql, type_=sa.INTEGER()), ()

    def contains(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.contains(b)`."""
        return sa.func.instr(a.sql, b.sql, type_=sa.INTEGER()) > literal(0), ()

    def starts_with(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.startsWith(b)`; not LIKE, which ignores ASCII case."""
        return _substr(a.sql, literal(1), _length(b.sql)) == b.sql, ()

    def ends_with(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.endsWith(b)`."""
        tail = _substr(a.sql, _op(literal(0), "-", _length(b.sql)))
        return either(_length(b.sql) == literal(0), tail == b.sql), ()

    def char_at(self, a: Operand, at: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.charAt(at)`; at the size it is empty."""
        start = _op(at.sql, "+", literal(1))
        return _substr(a.sql, start, literal(1)), (at.sql.between(literal(0), _length(a.sql)),)

    def index_of(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.indexOf(b)`; -1 where it is not."""
        return _op(sa.func.instr(a.sql, b.sql, type_=sa.INTEGER()), "-", literal(1)), ()

    def lower_ascii(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.lowerAscii()`; SQLite's lower() knows ASCII only."""
        return sa.func.lower(a.sql, type_=sa.TEXT()), ()

    def upper_ascii(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.upperAscii()`."""
        return sa.func.upper(a.sql, type_=sa.TEXT()), ()

    def replace(self, a: Operand, b: Operand, c: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.replace(b, c)` of constants."""
        # Else a record could be grown beyond what SQLite holds, and the query would die of it.
        if not b.constant or c.constant is None or len(c.constant) > len(b.constant):
            raise Unsupported(
                "replace() needs constants here, the second not longer than the first", 0, "write the texts themselves"
            )
        return sa.func.replace(a.sql, b.sql, c.sql, type_=sa.TEXT()), ()

    def substring(self, a: Operand, start: Operand, end: Operand | None = None) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.substring(start, end)`."""
        first = _op(start.sql, "+", literal(1))
        if end is None:
            return _substr(a.sql, first), (start.sql.between(literal(0), _length(a.sql)),)
        inside = start.sql >= literal(0), start.sql <= end.sql, end.sql <= _length(a.sql)
        return _substr(a.sql, first, _op(end.sql, "-", start.sql)), inside

    def trim(self, a: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`a.trim()`: Unicode's white space."""
        return sa.func.trim(a.sql, literal(functions.SPACES), type_=sa.TEXT()), ()

    @staticmethod
    def matches(args: list[Operand], ok: tuple[Sql, ...], start: int) -> Operand:
        """`a.matches(pattern)` of a portable constant pattern."""
        pattern = args[1].constant
        if not isinstance(pattern, str):
            raise Unsupported("matches() needs a constant pattern here", start, "write the pattern itself")
        reason = not_portable(pattern)
        if reason:
            raise Unsupported(f"the pattern is not portable: {reason}", start, "docs/rules.md says what patterns may hold here")
        return Operand(sa.func.alyx_matches(args[0].sql, args[1].sql, type_=sa.INTEGER()) == literal(1), "bool", ok)

    # Time ---------------------------------------------------------------------------------------------------------------

    def moment(self, a: Operand) -> Sql:
        """A moment as microseconds since 1970."""
        if a.kind == "micros":
            return a.sql
        whole = sa.cast(sa.func.strftime("%s", _substr(a.sql, literal(1), literal(19))), sa.INTEGER())
        return _op(_op(whole, "*", literal(SECOND)), "+", sa.cast(_substr(a.sql, literal(21), literal(6)), sa.INTEGER()))

    def text(self, a: Operand) -> Sql:
        """A moment in the API's form. Rounded down, also before 1970."""
        if a.kind != "micros":
            return a.sql
        rest = _fraction(a.sql)
        whole = _op(_op(a.sql, "-", rest), "/", literal(SECOND))
        stem = sa.func.strftime("%Y-%m-%dT%H:%M:%S", whole, "unixepoch", type_=sa.TEXT())
        return _op(stem, "||", sa.func.printf(".%06dZ", rest, type_=sa.TEXT()), sa.TEXT())

    def later(self, t: Operand, d: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`timestamp + duration`."""
        return self._moved(_op(self.moment(t), "+", d.sql))

    def later_flipped(self, d: Operand, t: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`duration + timestamp`."""
        return self.later(t, d)

    def earlier(self, t: Operand, d: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`timestamp - duration`."""
        return self._moved(_op(self.moment(t), "-", d.sql))

    @staticmethod
    def _moved(sql: Sql) -> tuple[Sql, tuple[Sql, ...]]:
        return sql, (sql.between(literal(moments.FIRST), literal(moments.LAST)),)

    def difference(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`timestamp - timestamp`."""
        sql = _op(self.moment(a), "-", self.moment(b))
        longest = INT_MAX // 1000
        return sql, (sql.between(literal(-longest), literal(longest)),)

    def add_spans(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`duration + duration`."""
        return self._span(_op(a.sql, "+", b.sql))

    def subtract_spans(self, a: Operand, b: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`duration - duration`."""
        return self._span(_op(a.sql, "-", b.sql))

    @staticmethod
    def _span(sql: Sql) -> tuple[Sql, tuple[Sql, ...]]:
        return sql, (sql.between(literal(-moments.LONGEST), literal(moments.LONGEST)),)

    def seconds_since_1970(self, t: Operand) -> tuple[Sql, tuple[Sql, ...]]:
        """`int(timestamp)`: rounded down."""
        return _op(_op(self.moment(t), "-", _fraction(self.moment(t))), "/", literal(SECOND)), ()

    def part(self, name: str, args: list[Operand], ok: tuple[Sql, ...]) -> Operand:
        """A calendar part: cut out of the text in UTC, by a function of ours in another zone."""
        text = self.text(args[0])
        if len(args) == 2:
            found: Sql = sa.func.alyx_part(text, literal(name), args[1].sql, type_=sa.INTEGER())
            return Operand(found, "int", (*ok, found.is_not(None)))
        if name in ("getDayOfWeek", "getDayOfYear"):
            form = "%w" if name == "getDayOfWeek" else "%j"
            number = sa.cast(sa.func.strftime(form, _substr(text, literal(1), literal(19))), sa.INTEGER())
            return Operand(number if form == "%w" else _op(number, "-", literal(1)), "int", ok)
        at, size, less = _CUTS[name]
        number = sa.cast(_substr(text, literal(at), literal(size)), sa.INTEGER())
        return Operand(_op(number, "-", literal(less)) if less else number, "int", ok)

    # JSON ---------------------------------------------------------------------------------------------------------------

    def json_type(self, text: Sql, path: str) -> Sql:
        """The JSON type at a path; NULL where there is nothing."""
        return sa.func.json_type(text, path, type_=sa.TEXT())

    def json_value(self, text: Sql, path: str) -> Sql:
        """The value at a path: text, number, 0/1, or the JSON text of an array or object."""
        return sa.func.json_extract(text, path, type_=sa.TEXT())


_CUTS = {
    "getFullYear": (1, 4, 0),
    "getMonth": (6, 2, 1),
    "getDate": (9, 2, 0),
    "getDayOfMonth": (9, 2, 1),
    "getHours": (12, 2, 0),
    "getMinutes": (15, 2, 0),
    "getSeconds": (18, 2, 0),
    "getMilliseconds": (21, 3, 0),
}


def _op(left: Sql, sign: str, right: Sql, kind: Any = None) -> Sql:
    """An operator in brackets, exactly as written: SQLAlchemy's own `/` would make an int division a float's."""
    return sa.type_coerce(left, kind or sa.INTEGER()).op(sign, return_type=kind or sa.INTEGER())(right)


def _fraction(micros: Sql) -> Sql:
    """The microseconds after the full second, counted forward before 1970, too."""
    return _op(_op(_op(micros, "%", literal(SECOND)), "+", literal(SECOND)), "%", literal(SECOND))


def _length(text: Sql) -> Sql:
    return sa.func.length(text, type_=sa.INTEGER())


def _substr(text: Sql, *args: Sql) -> Sql:
    return sa.func.substr(text, *args, type_=sa.TEXT())


def not_portable(pattern: str) -> str | None:
    """Why a pattern means something else, or nothing, to PostgreSQL; None if RE2 and its `~` agree (hard-parts §1.5)."""
    if len(pattern.encode()) > 256:
        return "longer than 256 bytes"
    at = 0
    while at < len(pattern):
        mark = pattern[at]
        if mark == "\\":
            following = pattern[at + 1 : at + 2]
            if not following or following.isalnum() or not following.isascii():
                return f"`\\{following}`"
            at += 2
            continue
        if pattern.startswith("(?", at) and not pattern.startswith("(?:", at):
            return "`(?`"
        if mark in "?*+}" and pattern[at + 1 : at + 2] in ("?", "*", "+"):
            return "a quantifier after a quantifier"
        if mark == "[":
            end = _class_end(pattern, at)
            if end is None:
                return "a character class with `\\`, `[` or letters beyond ASCII"
            at = end
            continue
        at += 3 if pattern.startswith("(?:", at) else 1
    return None


def _class_end(pattern: str, at: int) -> int | None:
    at += 2 if pattern.startswith("[^", at) else 1
    first = at
    while at < len(pattern):
        if pattern[at] == "]" and at > first:
            return at + 1
        if pattern[at] in "\\[]" or not pattern[at].isascii():
            return None
        at += 1
    return None
