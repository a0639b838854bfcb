"""JSON in SQL conditions (hard-parts R4): a value is looked at only after a test of its type; a missing key is an error."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from alyx.rules.sql_forms import Operand, Sql, SqliteForms, Unsupported, both, compare, either, literal, not_true
from alyx.rules.types import Type

_KINDS = {"string": "text", "int": "integer", "double": "real", "list": "array", "map": "object"}
_KEYS = frozenset({"string", "int", "uint", "double", "bool"})
_NONE = sa.literal("null", sa.TEXT())


class Json(NamedTuple):
    """A place in JSON text. kind and value: set for an element of a list that is walked over, whose own text is no JSON."""

    text: Sql
    path: str = "$"
    ok: tuple[Sql, ...] = ()
    kind: Sql | None = None
    value: Sql | None = None

    def at(self, step: str) -> Json:
        """A place below."""
        return Json(self.text, self.path + step, self.ok)


class JsonForms:
    """Tests and readings of Json operands, through a dialect's forms."""

    def __init__(self, forms: SqliteForms) -> None:
        self.forms = forms

    @staticmethod
    def step(key: str | int, start: int) -> str:
        """One step of a path; keys that a path cannot quote are refused."""
        if isinstance(key, int):
            if key < 0:
                raise Unsupported("an index is not negative", start)
            return f"[{key}]"
        if any(mark in key for mark in '"\\') or not key.isprintable():
            raise Unsupported("a key with quotes or backslashes cannot be used here", start)
        return f'."{key}"'

    def kind(self, json: Json) -> Sql:
        """The JSON type at the place: NULL if nothing is there; a column without a value is JSON null."""
        if json.kind is not None:
            return json.kind
        found = self.forms.json_type(json.text, json.path)
        return sa.func.coalesce(found, _NONE, type_=sa.TEXT()) if json.path == "$" else found

    def of(self, json: Json) -> Sql:
        """The value at the place."""
        return json.value if json.value is not None else self.forms.json_value(json.text, json.path)

    def equal(self, json: Json, other: Operand, start: int) -> Sql:
        """json == other, not true where the place is missing. `other` is a plain operand."""
        kind, value = self.kind(json), self.of(json)
        true = self._equal(kind, value, other, start)
        if other.nullable and other.kind not in ("null", "error"):
            true = either(true, both(other.sql.is_(None), kind == literal("null")))
        return true

    def _equal(self, kind: Sql, value: Sql, other: Operand, start: int) -> Sql:
        match other.kind:
            case "null":
                return kind == literal("null")
            case "string":
                return both(kind == literal("text"), value == other.sql)
            case "int" | "uint":
                exact = both(kind == literal("integer"), value == other.sql)
                return either(exact, both(kind == literal("real"), value == sa.cast(other.sql, sa.REAL())))
            case "double":
                number = kind.in_([literal("integer"), literal("real")])
                return both(number, sa.cast(value, sa.REAL()) == other.sql)
            case "bool":
                yes = both(kind == literal("true"), other.sql == literal(1))
                return either(yes, both(kind == literal("false"), other.sql == literal(0)))
            case "list" | "map":
                raise Unsupported(
                    "lists and maps cannot be compared here", start, "compare single values, or use `in` and size()"
                )
        return sa.false()  # a moment, bytes: JSON holds no such thing

    def order(self, json: Json, sign: str, other: Operand) -> tuple[Sql, Sql, Sql] | None:
        """json <sign> other, its opposite, and the test of the type; None where it is always an error."""
        kind, value = self.kind(json), self.of(json)
        opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[sign]
        match other.kind:
            case "string" | "bool":
                names = ["text"] if other.kind == "string" else ["true", "false"]
                test = kind.in_([literal(name) for name in names])
                return compare(value, sign, other.sql), compare(value, opposite, other.sql), test
            case "int" | "uint" | "double":
                test = kind.in_([literal("integer"), literal("real")])
                real: Sql = sa.cast(other.sql, sa.REAL())
                whole = kind == literal("integer")
                if other.kind == "double":
                    value = sa.cast(value, sa.REAL())
                    return compare(value, sign, real), compare(value, opposite, real), test
                pairs = [
                    either(
                        both(whole, compare(value, each, other.sql)), both(kind == literal("real"), compare(value, each, real))
                    )
                    for each in (sign, opposite)
                ]
                return pairs[0], pairs[1], test
        return None

    def narrowed(self, operand: Operand | Json, kind: str) -> Operand:
        """A JSON value as one of a type."""
        if isinstance(operand, Operand):
            if operand.kind == kind:
                return operand
            return Operand(sa.null(), "error", (sa.false(),), True)
        names = ["true", "false"] if kind == "bool" else [_KINDS[kind]] if kind in _KINDS else []
        if not names:
            return Operand(sa.null(), "error", (sa.false(),), True)
        types = {"int": sa.INTEGER, "bool": sa.INTEGER, "double": sa.REAL}
        value = sa.type_coerce(self.of(operand), types.get(kind, sa.TEXT)())
        return Operand(value, kind, (*operand.ok, self.kind(operand).in_([literal(name) for name in names])))

    def size(self, operand: Operand | Json, start: int) -> Operand:
        """size() of a JSON text, list or object."""
        if not isinstance(operand, Json):
            raise Unsupported("size() cannot be used here", start)
        kind, value = self.kind(operand), self.of(operand)
        rows = sa.func.json_each(value).table_valued("key")
        keys = sa.select(sa.func.count()).select_from(rows).correlate_except(rows).scalar_subquery()
        sql = sa.case(
            (kind == literal("text"), sa.func.length(value, type_=sa.INTEGER())),
            (kind == literal("array"), sa.func.json_array_length(value, type_=sa.INTEGER())),
            (kind == literal("object"), keys),
            else_=sa.null(),
        )
        return Operand(sql, "int", (*operand.ok, kind.in_([literal(name) for name in ("text", "array", "object")])))

    def unnested(self, source: Operand | Json, declared: Type) -> tuple[tuple[Sql, ...], sa.TableValuedAlias, Operand | Json]:
        """The rows that a macro walks over: conditions of the source, the table, and the variable."""
        if isinstance(source, Operand):
            rows = self._rows(source.sql, "$")
            if declared.item and declared.item.kind == "string":
                return source.strict, rows, Operand(rows.c.value, "string")
            whole: Sql = self.forms.json_type(source.sql, "$")
            return source.strict, rows, self._element(rows, whole)
        kind = self.kind(source)
        # A missing or scalar place must not reach json_each, which would see a row in a scalar.
        rows = self._rows(source.text, source.path) if source.value is None else self._rows(self._container(source), "$")
        ok = (*source.ok, kind.in_([literal("array"), literal("object")]))
        return ok, rows, self._element(rows, kind)

    @staticmethod
    def _rows(text: Sql, path: str) -> sa.TableValuedAlias:
        return sa.func.json_each(text, path).table_valued("key", "value", "type")

    @staticmethod
    def _container(json: Json) -> Sql:
        assert json.kind is not None
        return sa.case((json.kind.in_([literal("array"), literal("object")]), json.value), else_=sa.null())

    @staticmethod
    def _element(rows: sa.TableValuedAlias, whole: Sql) -> Json:
        """The variable: an item of a list, a key of an object."""
        of_object = whole == literal("object")
        kind: Sql = sa.case((of_object, literal("text")), else_=rows.c.type)
        value: Sql = sa.case((of_object, rows.c.key), else_=rows.c.value)
        text = sa.case(
            (both(sa.not_(of_object), rows.c.type.in_([literal("array"), literal("object")])), rows.c.value), else_=sa.null()
        )
        return Json(text, "$", (), sa.type_coerce(kind, sa.TEXT()), sa.type_coerce(value, sa.TEXT()))

    def holds(self, container: Operand | Json, item: Operand) -> tuple[tuple[Sql, ...], Sql]:
        """item in container: conditions, and the test."""
        if isinstance(container, Operand):
            rows, ok = self._rows(container.sql, "$"), container.strict
            of_object: Sql = sa.true() if container.kind == "map" else sa.false()
        else:
            kind = self.kind(container)
            plain = container.value is None
            rows = self._rows(container.text, container.path) if plain else self._rows(self._container(container), "$")
            ok = (*container.ok, kind.in_([literal("array"), literal("object")]))
            of_object = kind == literal("object")
        if item.kind not in _KEYS:
            ok = (*ok, not_true(of_object))
        elif item.nullable:
            ok = (*ok, either(not_true(of_object), item.sql.is_not(None)))
        by_key = rows.c.key == item.sql if item.kind == "string" else sa.false()
        by_value = self._equal(rows.c.type, rows.c.value, item, 0)
        if item.nullable and item.kind != "null":
            by_value = either(by_value, both(item.sql.is_(None), rows.c.type == literal("null")))
        test = either(both(of_object, by_key), both(not_true(of_object), by_value))
        if isinstance(test, sa.sql.elements.False_):
            return ok, test
        return ok, sa.exists(sa.select(sa.literal_column("1")).select_from(rows).where(test).correlate_except(rows))
