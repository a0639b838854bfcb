"""Which part of a rule decided: its conditions one by one, with the values that they saw. Called by `alyx rules explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import apsw
import sqlalchemy as sa

from alyx.app.build import Source
from alyx.app.refusal import Refusal
from alyx.app.rule_cases import holds
from alyx.base import clock, json
from alyx.database import documents
from alyx.database.compile import compile_query
from alyx.records.row import Writable
from alyx.records.transfer import without_secrets
from alyx.rules import tree
from alyx.rules.book import Rule
from alyx.schema.model import Collection, Operation
from alyx.schema.values import Validator, from_text
from alyx.schema.yaml import did_you_mean

_METHODS = {"create": "POST", "read": "GET", "update": "PATCH", "delete": "DELETE"}
Kind = Literal["all", "any", "not", "choice", "condition"]


@dataclass(frozen=True)
class Part:
    """A condition of a rule. verdict: None is an error, which allows nothing. saw: the values of what a condition names.

    decisive: it is why the part above came out as it did.
    """

    text: str
    kind: Kind
    verdict: bool | None
    parts: tuple[Part, ...] = ()
    saw: Mapping[str, Any] = field(default_factory=dict)
    decisive: bool = True

    def document(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"text": self.text, "verdict": self.verdict, "decisive": self.decisive}
        if self.parts:
            return found | {"kind": self.kind, "parts": [part.document() for part in self.parts]}
        return found | {"saw": dict(self.saw)}


@dataclass(frozen=True)
class Judgement:
    """What one rule said. missing: it was not written, so that it is the admin rule."""

    operation: Operation
    rule: str
    missing: bool
    allowed: bool
    part: Part

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "operation": self.operation,
            "rule": self.rule,
            "missing": self.missing,
            "allowed": self.allowed,
            "parts": self.part.document(),
        }


@dataclass(frozen=True)
class Asked:
    """Who asks for what. after: the record as an update would leave it."""

    collection: str
    operation: Operation
    auth: Mapping[str, Any]
    doc: Mapping[str, Any]
    after: Mapping[str, Any] | None
    request: Mapping[str, Any]


def explain(asked: Asked, source: Source, connection: apsw.Connection) -> list[Judgement]:
    """Judge as the API would, rule after rule, up to the first that refuses. The connection is asked about other collections."""
    rules = source.book.of(asked.collection)
    found = []
    for operation, doc in _steps(asked):
        rule = rules[operation]
        eyes = _Eyes(asked.auth, doc, asked.request, connection)
        allowed = eyes.judge(rule) is True
        found.append(Judgement(operation, rule.text, rule.missing, allowed, _part(rule, rule.tree, eyes)))
        if not allowed:
            break
    return found


def ask(
    source: Source,
    connection: apsw.Connection,
    name: str,
    operation: Operation,
    auth: Mapping[str, Any],
    *,
    record: str | None = None,
    doc: Mapping[str, Any] | None = None,
    change: Mapping[str, Any] | None = None,
) -> Asked:
    """A question in full. record: the id of a stored one; doc: fields of one that is made up, completed by defaults.

    Raises Refusal for a collection or record that is not there, AlyxError for values that do not fit.
    """
    if name not in source.schema.collections:
        raise Refusal(f"there is no collection {name}", did_you_mean(name, source.schema.collections))
    collection = source.schema.collections[name]
    validator = Validator(without_secrets(collection))
    if record is not None:
        whole = _stored(source, collection, record, connection)
    else:
        whole = Writable(collection).complete(validator.check_patch(dict(doc or {})))
    after = whole | validator.check_patch(dict(change or {})) if operation == "update" else None
    request = {"method": _METHODS[operation], "ip": "127.0.0.1", "time": clock.now(), "body": dict(change or doc or {})}
    return Asked(name, operation, auth, whole, after, request)


def _stored(source: Source, collection: Collection, key_text: str, connection: apsw.Connection) -> dict[str, Any]:
    """A record of the database with all its fields. Raises Refusal if there is none."""
    table = source.metadata.tables[collection.name]
    try:
        key = from_text(collection.key, key_text)
    except ValueError as error:
        raise Refusal(f"{key_text} cannot be an id of {collection.name}: {error}") from error
    select = sa.select(documents.document(table, collection.fields.values())).where(
        table.c[collection.key.name] == sa.bindparam("key")
    )
    statement = compile_query(select).bind({"key": key})
    row = connection.execute(statement.sql, list(statement.params)).fetchone()
    if row is None:
        raise Refusal(f"there is no record {key_text} in {collection.name}")
    found: dict[str, Any] = json.loads(row[0])
    return found


def _steps(asked: Asked) -> Iterator[tuple[Operation, Mapping[str, Any]]]:
    """A record that may not be read is not there for an update or a delete (contract §3)."""
    if asked.operation in ("update", "delete"):
        yield "read", asked.doc
    yield asked.operation, asked.doc
    if asked.after is not None:
        yield "update_check", asked.after


@dataclass(frozen=True)
class _Eyes:
    auth: Mapping[str, Any]
    doc: Mapping[str, Any]
    request: Mapping[str, Any]
    connection: apsw.Connection

    def judge(self, rule: Rule) -> bool | None:
        if rule.looks_elsewhere:
            return holds(rule, self.auth, self.doc, self.request, self.connection)
        return rule.verdict(self.auth, self.doc, self.request)

    def saw(self, rule: Rule) -> dict[str, Any]:
        values = {f"auth.{name}": self.auth.get(name) for name in sorted(rule.auth_fields)}
        values |= {f"doc.{name}": self.doc.get(name) for name in sorted(rule.doc_fields)}
        return values | {f"request.{name}": self.request.get(name) for name in sorted(rule.request_fields)}


def _part(rule: Rule, node: tree.Expr, eyes: _Eyes) -> Part:
    text = rule.text[node.start : node.end]
    # The database says whether a condition holds, not whether it failed by an error: what stands around it is asked as a whole.
    looks_elsewhere = any(isinstance(inner, tree.Exists) for inner in tree.walk(node))
    match node:
        case tree.Logic():
            parts = [_part(rule, item, eyes) for item in node.items]
            verdict = _and(parts) if node.conjunction else _or(parts)
            weighed = tuple(replace(part, decisive=part.verdict is verdict) for part in parts)
            return Part(text, "all" if node.conjunction else "any", verdict, weighed)
        case tree.Not() if not looks_elsewhere:
            inner = _part(rule, node.operand, eyes)
            return Part(text, "not", None if inner.verdict is None else not inner.verdict, (inner,))
        case tree.Cond() if not looks_elsewhere:
            test = _part(rule, node.test, eyes)
            if test.verdict is None:
                return Part(text, "choice", None, (test,))
            taken = _part(rule, node.yes if test.verdict else node.no, eyes)
            return Part(text, "choice", taken.verdict, (test, taken))
        case _:
            condition = rule.part(node)
            return Part(text, "condition", eyes.judge(condition), (), eyes.saw(condition))


def _and(parts: list[Part]) -> bool | None:
    if any(part.verdict is False for part in parts):
        return False
    return None if any(part.verdict is None for part in parts) else True


def _or(parts: list[Part]) -> bool | None:
    if any(part.verdict is True for part in parts):
        return True
    return None if any(part.verdict is None for part in parts) else False
