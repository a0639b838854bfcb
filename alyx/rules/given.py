"""Partial evaluation before SQL (hard-parts R3): what depends on caller, request and constants only is done in Python.

What depends on `auth` alone decides the *shape* of the SQL: a condition is simply true, false or an error; of a value the kind
is known and the value is bound. What depends on `request` is bound with each statement, an error as NULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from alyx.base import json
from alyx.rules import python, tree, values
from alyx.rules.python import Judge
from alyx.rules.tree import Expr
from alyx.rules.values import KINDS

Outcome: TypeAlias = "bool | str | None"
"""Of a condition: True, False, or None for an error. Of a value: its kind, or `error`."""


@dataclass(frozen=True, slots=True)
class Given:
    """One maximal part without `doc`. bind: the name of its parameter; late: whether it needs the request."""

    expr: Expr
    bind: str
    late: bool
    judge: Judge

    @property
    def condition(self) -> bool:
        """Whether it is a condition rather than a value."""
        return self.expr.type.kind == "bool"

    def outcome(self, auth: Mapping[str, Any]) -> Outcome:
        """What the caller makes of it; only when not late."""
        if self.condition:
            verdict: bool | None = self.judge(auth, {}, {})
            return verdict
        try:
            value = self.judge(auth, {}, {})
            _stored(value)
            kind = KINDS[type(value)]
        except Exception:  # also what no parameter can hold: a lone surrogate or an int beyond 64 bit in `claims`
            return "error"
        return kind if kind == "null" or self.expr.type.kind == "dyn" else self.expr.type.kind

    def value(self, auth: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
        """The value to bind, in stored form; None for an error, whose SQL does not look at it or takes NULL for it."""
        try:
            return _stored(self.judge(auth, {}, request))
        except Exception:
            return None


def _stored(value: Any) -> Any:
    """A value as a parameter; raises on what SQLite cannot take as it is."""
    if isinstance(value, str):
        value.encode()
        return values.fault("NUL") if "\0" in value else str(value)
    if isinstance(value, int):
        return values.integer(int(value))
    if isinstance(value, float):
        return values.finite(value)
    return json.dumps(value).decode() if type(value) in (list, dict) else value


def collect(expr: Expr, digest: str) -> dict[int, Given]:
    """The given parts of a tree by the identity of their node. digest: makes names unique where rules share a statement."""
    found: dict[int, Given] = {}
    for part in _maximal(expr):
        late = "request" in needs_of(part)
        if isinstance(part, tree.Auth):
            bind = f"auth_{part.name}"
        elif isinstance(part, tree.Request):
            bind = f"request_{part.name}"
        else:
            bind = f"{'request' if late else 'auth'}_{digest}_{len(found)}"
        judge = python.verdict(part) if part.type.kind == "bool" else python.value(part)
        found[id(part)] = Given(part, bind, late, judge)
    return found


def _maximal(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, tree.Const):
        return
    if isinstance(expr, tree.Widen):  # says nothing in SQL
        yield from _maximal(expr.operand)
        return
    needs = needs_of(expr)
    if not needs & {"doc", "elsewhere", "local"}:
        composed = isinstance(expr, tree.Logic | tree.Not | tree.Cond) and expr.type.kind == "bool"
        if not (composed and "request" in needs):
            yield expr
            return
    parts = expr.parts()
    if isinstance(expr, tree.Contains) and isinstance(expr.container, tree.ListOf):
        parts = (expr.item, *expr.container.items)  # its items stand one by one in IN (...)
    for part in parts:
        yield from _maximal(part)


def needs_of(expr: Expr, bound: frozenset[str] = frozenset()) -> set[str]:
    """Which of doc, auth, request, elsewhere and local (a macro's variable from outside) a part reads."""
    match expr:
        case tree.Column():
            return {"doc"}
        case tree.Auth() | tree.AuthPresent():
            return {"auth"}
        case tree.Request():
            return {"request"}
        case tree.Local():
            return set() if expr.name in bound else {"local"}
        case tree.Exists():
            return {"elsewhere"} | needs_of(expr.predicate, bound)
        case tree.Comprehension():
            inner = bound | {expr.variable}
            rest = [item for item in (expr.predicate, expr.transform) if item is not None]
            return needs_of(expr.source, bound).union(*(needs_of(item, inner) for item in rest))
    return set().union(*(needs_of(item, bound) for item in expr.parts()))
