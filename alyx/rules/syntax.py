"""The syntax tree of CEL, as the parser makes it: no types yet, every node knows where its text stands.

Operators are calls of the names in OPERATORS, as in the CEL specification. `&&` and `||` take any number of arguments, because
a chain of them is one flat list in every rule that people write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

AND, OR, NOT, NEGATE, CONDITION, INDEX, IN = "_&&_", "_||_", "!_", "-_", "_?_:_", "_[_]", "_in_"
BINARY = {"==": "_==_", "!=": "_!=_", "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_", "in": IN} | {
    sign: f"_{sign}_" for sign in "+-*/%"
}
SIGNS = {name: sign for sign, name in BINARY.items()} | {AND: "&&", OR: "||", NOT: "!", NEGATE: "-", CONDITION: "?:", INDEX: "[]"}
"""Operator name -> as the user wrote it, for messages."""


class UInt(int):
    """An unsigned 64-bit integer, told apart from int by its class."""

    __slots__ = ()


class CelSyntaxError(Exception):
    """The text is not CEL, or is beyond the limits. start: offset of the character at fault, in code points."""

    def __init__(self, message: str, start: int, text: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.hint = hint
        self.line, self.column = position(text, start)


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of an offset into the text."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: None, bool, int, UInt, float, str or bytes. `text` keeps a number's spelling, which decimals need."""

    start: int
    end: int
    value: bool | int | float | str | bytes | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; with `test`, the macro `has(operand.field)`."""

    start: int
    end: int
    operand: Node
    field: str
    test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """`function(args)`, or `target.function(args)`."""

    start: int
    end: int
    function: str
    target: Node | None
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """`[a, b]`."""

    start: int
    end: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapLiteral:
    """`{k: v}`."""

    start: int
    end: int
    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """`pkg.Name{field: value}`: CEL's grammar has it, Alyx has no messages, so the check refuses it."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Macro:
    """`target.all|exists|exists_one|filter(variable, predicate)`, `target.map(variable, [predicate,] transform)`."""

    start: int
    end: int
    kind: str
    target: Node
    variable: str
    predicate: Node | None
    transform: Node | None = None


Node: TypeAlias = Literal | Name | Select | Call | ListLiteral | MapLiteral | Message | Macro
