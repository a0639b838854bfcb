"""Which records rules can let through, as far as it shows without judging: fixed values, and moments at which a verdict turns.

Read by `audience`; `records.judging` says the same of a client's filter, with `both` and `either`. Pure; says nothing rather than
something that might be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from alyx.database import tables
from alyx.rules import tree
from alyx.rules.tree import Expr

Fixed: TypeAlias = dict[str, frozenset[Any]]
"""column -> the only values, in API form, that a record may have there. A column that is not named is not fixed."""
_KINDS = frozenset({"string", "int", "bool", "timestamp"})
"""Kinds whose values in API form are equal just where CEL says so; a decimal and a double have more than one spelling."""


def fixed(rules: Iterable[Expr]) -> Mapping[str, frozenset[Any]]:
    """column of doc -> the only values, in API form (None for null), that a record may have there if all rules hold."""
    return both(_fixed(rule) for rule in rules)


def _fixed(e: Expr, *, negate: bool = False) -> Fixed:
    match e:
        case tree.Logic():
            parts = (_fixed(item, negate=negate) for item in e.items)
            return both(parts) if e.conjunction is not negate else either(parts)
        case tree.Not():
            return _fixed(e.operand, negate=not negate)
        case tree.Column(source="doc") if e.type.kind == "bool":
            return {e.field.name: frozenset([not negate])}
        case tree.Equal() if not negate:
            return _one(e.left, [e.right]) or _one(e.right, [e.left])
        case tree.Contains(container=tree.ListOf() as container) if not negate:
            return _one(e.item, container.items)
    return {}


def _one(column: Expr, values: Sequence[Expr]) -> Fixed:
    if not isinstance(column, tree.Column) or column.source != "doc" or column.type.kind not in _KINDS:
        return {}
    found = [
        _plain(item.value) for item in values if isinstance(item, tree.Const) and item.type.kind in (column.type.kind, "null")
    ]
    return {column.field.name: frozenset(found)} if len(found) == len(values) else {}


def _plain(value: Any) -> Any:
    """A constant as JSON gives it: without the classes of values.py."""
    return str(value) if isinstance(value, str) else value


def both(parts: Iterable[Fixed]) -> Fixed:
    """What is fixed where all parts hold."""
    found: Fixed = {}
    for part in parts:
        for column, values in part.items():
            found[column] = found[column] & values if column in found else values
    return found


def either(parts: Iterable[Fixed]) -> Fixed:
    """What is fixed where one of the parts holds; nothing if there are none."""
    each = list(parts)
    shared = set(each[0]).intersection(*each[1:]) if each else set()
    return {column: frozenset().union(*(part[column] for part in each)) for column in shared}


def searched(rules: Iterable[Expr]) -> frozenset[str]:
    """The columns of doc whose value rules look into, order or hand on, and do not only compare for equality with short constants
    and fields of the caller. Of the others it is enough to know that a value is long."""
    found: set[str] = set()
    for rule in rules:
        _search(rule, found)
    return frozenset(found)


def _search(e: Expr, found: set[str]) -> None:
    if isinstance(e, tree.Column) and e.source == "doc":
        found.add(e.field.name)
        return
    match e:
        case tree.Equal():
            pairs = [(e.left, e.right)]
        case tree.Contains(container=tree.ListOf(items=items)) if items:
            pairs = [(e.item, each) for each in items]
        case _:
            for part in e.parts():
                _search(part, found)
            return
    for left, right in pairs:
        for part, other in ((left, right), (right, left)):
            if not (_is_column(part) and _is_short(other)):
                _search(part, found)


def _is_column(e: Expr) -> bool:
    return isinstance(e, tree.Column) and e.source == "doc"


def _is_short(e: Expr) -> bool:
    return isinstance(e, tree.Auth) or (isinstance(e, tree.Const) and tables.is_short(e.value))


def times(rules: Iterable[Expr]) -> frozenset[str] | None:
    """The timestamp columns of doc that stand beside request.time in <, <=, > or >=; None if it is used in another way."""
    found: set[str] = set()
    for rule in rules:
        seen = 0
        for node in tree.walk(rule):
            if isinstance(node, tree.Request) and node.name == "time":
                seen += 1
            elif isinstance(node, tree.Order) and (column := _beside_time(node)):
                found.add(column)
                seen -= 1
        if seen:
            return None
    return frozenset(found)


def _beside_time(e: tree.Order) -> str | None:
    for one, other in ((e.left, e.right), (e.right, e.left)):
        timed = isinstance(one, tree.Request) and one.name == "time"
        if timed and isinstance(other, tree.Column) and other.source == "doc" and other.type.kind == "timestamp":
            return other.field.name
    return None
