"""Which part of a rule decided: every condition in it with its outcome, for one caller, record and request.

Called by `alyx rules explain` and the admin route. The work is a generator of statements (database/work.py), because parts that
look into other collections are asked there. Shows values of the record, so its answers are for admins only; internal fields are
named and never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from alyx.base import json
from alyx.database.compile import compile_query
from alyx.database.work import Work
from alyx.rules import tree
from alyx.rules.book import Rule
from alyx.rules.tree import Expr

Outcome: TypeAlias = Literal["true", "false", "error"]
_SHOWN = 80


@dataclass(frozen=True)
class Step:
    """One condition. text: as written; reason: the values it saw; decided: whether the whole came out as it did because of it."""

    text: str
    outcome: Outcome
    reason: str = ""
    decided: bool = False
    parts: list[Step] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON for the API."""
        shown: dict[str, Any] = {"text": self.text, "outcome": self.outcome, "decided": self.decided}
        if self.reason:
            shown["reason"] = self.reason
        return shown | ({"parts": [part.document() for part in self.parts]} if self.parts else {})


def explain(rule: Rule, auth: Mapping[str, Any], doc: Mapping[str, Any], request: Mapping[str, Any]) -> Work[Step]:
    """The tree of a rule's conditions. doc: a record in API form, every field there; auth: Identity.values."""
    step = yield from _Explainer(rule, auth, doc, request).step(rule.tree)
    return _decide(step, rule.tree)


class _Explainer:
    def __init__(self, rule: Rule, auth: Mapping[str, Any], doc: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        self.rule = rule
        self.auth = auth
        self.doc = doc
        self.request = request

    def step(self, node: Expr) -> Work[Step]:
        parts: list[Step] = []
        for part in _conditions(node):
            parts.append((yield from self.step(part)))  # noqa: PERF401 - a comprehension cannot yield from
        outcome = yield from self.outcome(node)
        reason = "" if parts else self.reason(node)
        return Step(self.rule.text[node.start : node.end], outcome, reason, False, parts)

    def outcome(self, node: Expr) -> Work[Outcome]:
        part = self.rule.part(node)
        if not part.looks_elsewhere:
            verdict = part.verdict(self.auth, self.doc, self.request)
            return "error" if verdict is None else "true" if verdict else "false"
        if (yield from self.holds(part)):
            return "true"
        negated = self.rule.part(tree.Not(node.type, node.start, node.end, node))
        return "false" if (yield from self.holds(negated)) else "error"

    def holds(self, part: Rule) -> Work[bool]:
        binds = part.binds(self.auth, self.request) | part.doc_binds(self.doc)
        statement: sa.Select[Any] = part.holds_for_values(self.auth)
        rows = yield compile_query(statement).bind(binds)
        return bool(rows)

    def reason(self, node: Expr) -> str:
        """The values that a comparison saw: `doc.status = "draft", auth.id = null`."""
        seen: dict[str, None] = {}
        for item in tree.walk(node):
            if isinstance(item, tree.Column) and item.source == "doc":
                value = "(internal)" if item.field.internal else _shown(self.doc.get(item.field.name))
                seen[f"doc.{item.field.name} = {value}"] = None
            elif isinstance(item, tree.Auth | tree.AuthPresent):
                seen[f"auth.{item.name} = {_shown(self.auth.get(item.name))}"] = None
            elif isinstance(item, tree.Request):
                seen[f"request.{item.name} = {_shown(self.request.get(item.name))}"] = None
        return ", ".join(seen)


def _conditions(node: Expr) -> tuple[Expr, ...]:
    """The conditions that a node is made of; a macro's own stand for many values and are not shown one by one."""
    if isinstance(node, tree.Logic | tree.Not) or (isinstance(node, tree.Cond) and node.type.kind == "bool"):
        return node.parts()
    return ()


def _decide(step: Step, node: Expr) -> Step:
    """Mark what the outcome hangs on: the item that settled a chain, the branch that was taken."""
    nodes = _conditions(node)
    parts = list(step.parts)
    chosen: set[int] = set(range(len(parts)))
    if isinstance(node, tree.Logic):
        settled = [index for index, part in enumerate(parts) if part.outcome == step.outcome]
        winning = "false" if node.conjunction else "true"
        chosen = set(settled[:1] if step.outcome == winning else settled)
    elif isinstance(node, tree.Cond):
        chosen = {"true": {0, 1}, "false": {0, 2}, "error": {0}}[parts[0].outcome]
    marked = [_decide(part, nodes[index]) if index in chosen else part for index, part in enumerate(parts)]
    return replace(step, decided=True, parts=marked)


def _shown(value: Any) -> str:
    text = json.dumps(value).decode()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
