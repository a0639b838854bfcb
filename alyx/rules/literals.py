"""Literals and values made to fit what they stand beside (hard-parts §1, R1). Called by `check` and `calls` alone."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from alyx.rules import functions, tree
from alyx.rules.tree import Expr
from alyx.rules.types import DOUBLE, DYN, INT, STRING, Type
from alyx.schema.model import Type as FieldType


class CheckError(Exception):
    """A rule that cannot stand. start: offset in the rule's text."""

    def __init__(self, message: str, start: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.hint = hint


def plain(expr: Expr) -> Expr:
    """The same, if it may stand elsewhere than in a comparison."""
    if expr.type.kind == "decimal":
        raise CheckError("a decimal can only be compared", expr.start, "with ==, !=, <, <=, >, >= or in, to numbers and decimals")
    return expr


def widen(expr: Expr) -> Expr:
    """The same as a value whose type only shows when it is read."""
    return expr if expr.type.kind == "dyn" else tree.Widen(DYN, expr.start, expr.end, plain(expr))


def as_double(expr: Expr) -> Expr:
    """A number that is compared with a double."""
    if expr.type.kind == "double":
        return expr
    if isinstance(expr, tree.Const):
        return tree.Const(DOUBLE, expr.start, expr.end, float(expr.value))
    return tree.Invoke(replace(DOUBLE, nullable=expr.type.nullable), expr.start, expr.end, functions.MIXED, (expr,))


def fitted(expr: Expr, other: Expr) -> Expr:
    """A literal as what it is compared with: 3.0 beside an int is 3, 9.99 beside a decimal exact, a uuid canonical."""
    if not isinstance(expr, tree.Const) or isinstance(other, tree.Const):
        return expr
    kind, wanted = expr.type.kind, other.type.kind
    if wanted == "decimal" and kind in ("int", "double"):
        return _decimal(expr)
    if wanted == "int" and kind == "double" and expr.value.is_integer() and abs(expr.value) < 2**53:
        return tree.Const(INT, expr.start, expr.end, int(expr.value))
    if isinstance(other, tree.Column) and other.field.value_type is FieldType.UUID and isinstance(expr.value, str):
        try:
            return tree.Const(STRING, expr.start, expr.end, str(UUID(expr.value)))
        except ValueError:
            raise CheckError("not a uuid", expr.start, "such as '0190c2d1-5b1e-7c3a-9f00-0123456789ab'") from None
    return expr


def _decimal(expr: tree.Const) -> Expr:
    # repr of a double is the shortest text that reads back as it: of a literal with up to 15 digits, what the user wrote.
    exact = Decimal(repr(expr.value))
    scale = max(0, -int(exact.normalize().as_tuple().exponent))
    return tree.Const(Type("decimal", scale=scale), expr.start, expr.end, int(exact.scaleb(scale)))
