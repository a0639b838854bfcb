"""The typed tree: what the check makes of the syntax, and the one thing that both lowerings read.

Every node has its static type and the place of its text. Overloads are resolved, dyn is narrowed or widened in the open, `auth.x
== null` has become a test for presence; so the lowerings decide nothing about meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alyx.rules.functions import Function
from alyx.rules.types import Type
from alyx.schema.model import Field


@dataclass(frozen=True, slots=True)
class Expr:
    """Base: the type, and where the text starts and ends."""

    type: Type
    start: int
    end: int

    def parts(self) -> tuple[Expr, ...]:
        """The operands, in the order of the text."""
        return ()


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A constant in the run-time form of values.py. A decimal literal is an int scaled by its type's scale."""

    value: Any


@dataclass(frozen=True, slots=True)
class Local(Expr):
    """The variable of a macro over a list or map."""

    name: str


@dataclass(frozen=True, slots=True)
class Column(Expr):
    """A field of `doc`, or of the record variable of a `collections.c.exists`."""

    source: str
    field: Field


@dataclass(frozen=True, slots=True)
class Auth(Expr):
    """A field of the caller. Reading it while it is null is an error (hard-parts §1.2)."""

    name: str


@dataclass(frozen=True, slots=True)
class AuthPresent(Expr):
    """`auth.x != null` and `has(auth.x)`: the only readings of a null field that are no error."""

    name: str


@dataclass(frozen=True, slots=True)
class Request(Expr):
    """A field of the request."""

    name: str


@dataclass(frozen=True, slots=True)
class Member(Expr):
    """`operand[key]` or `operand.key`."""

    operand: Expr
    key: Expr

    def parts(self) -> tuple[Expr, ...]:
        return self.operand, self.key


@dataclass(frozen=True, slots=True)
class Present(Expr):
    """`has(operand.key)`."""

    operand: Expr
    key: str

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Not(Expr):
    """`!operand`."""

    operand: Expr

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Logic(Expr):
    """`a && b && ...` (conjunction) or `a || b || ...`: false, or true, wins over an error, in any order."""

    conjunction: bool
    items: tuple[Expr, ...]

    def parts(self) -> tuple[Expr, ...]:
        return self.items


@dataclass(frozen=True, slots=True)
class Cond(Expr):
    """`test ? yes : no`."""

    test: Expr
    yes: Expr
    no: Expr

    def parts(self) -> tuple[Expr, ...]:
        return self.test, self.yes, self.no


@dataclass(frozen=True, slots=True)
class Equal(Expr):
    """`left == right`; null is a value here, so this is never an error by itself."""

    left: Expr
    right: Expr

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class Order(Expr):
    """`left sign right`, sign one of < <= > >=; null on a side is an error."""

    sign: str
    left: Expr
    right: Expr

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class Contains(Expr):
    """`item in container`."""

    item: Expr
    container: Expr

    def parts(self) -> tuple[Expr, ...]:
        return self.item, self.container


@dataclass(frozen=True, slots=True)
class Invoke(Expr):
    """A call of one overload."""

    function: Function
    args: tuple[Expr, ...]

    def parts(self) -> tuple[Expr, ...]:
        return self.args


@dataclass(frozen=True, slots=True)
class Dynamic(Expr):
    """A call whose overload depends on dyn arguments."""

    name: str
    member: bool
    args: tuple[Expr, ...]

    def parts(self) -> tuple[Expr, ...]:
        return self.args


@dataclass(frozen=True, slots=True)
class Narrow(Expr):
    """A dyn value where `type` is needed; an error if it is of another."""

    operand: Expr

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Widen(Expr):
    """A value on its way into dyn."""

    operand: Expr

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class ListOf(Expr):
    """A list literal."""

    items: tuple[Expr, ...]

    def parts(self) -> tuple[Expr, ...]:
        return self.items


@dataclass(frozen=True, slots=True)
class MapOf(Expr):
    """A map literal: keys and values in turn."""

    items: tuple[Expr, ...]

    def parts(self) -> tuple[Expr, ...]:
        return self.items


@dataclass(frozen=True, slots=True)
class Comprehension(Expr):
    """A macro over a list or map; `transform` only of `map`."""

    kind: str
    source: Expr
    variable: str
    predicate: Expr | None
    transform: Expr | None

    def parts(self) -> tuple[Expr, ...]:
        return tuple(item for item in (self.source, self.predicate, self.transform) if item is not None)


@dataclass(frozen=True, slots=True)
class Exists(Expr):
    """`collections.<collection>.exists(variable, predicate)`."""

    collection: str
    variable: str
    predicate: Expr

    def parts(self) -> tuple[Expr, ...]:
        return (self.predicate,)


def walk(expr: Expr) -> Iterator[Expr]:
    """The node and everything below it."""
    yield expr
    for part in expr.parts():
        yield from walk(part)
