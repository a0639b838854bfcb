"""Which rule of an operation decided, and which part of it: for admins (contract §4).

Judges as the record API would, rule after rule, up to the first that refuses. Called by the admin route and `alyx rules explain`;
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError, Detail
from alyx.database.work import Work
from alyx.rules import explain as rules
from alyx.rules.book import CollectionRules, Rule
from alyx.rules.explain import Step
from alyx.schema.model import Operation
from alyx.schema.values import refuse

_AUTH = ("id", "email", "role", "verified", "claims")
_MEMBERS = ("collection", "operation", "auth", "id", "data", "request")


@dataclass(frozen=True)
class Asked:
    """A question as a client puts it. id: the record's, but for create. data: the body that a create or an update would bring."""

    collection: str
    operation: Operation
    auth: dict[str, Any]
    id: str | None
    data: Any
    request: dict[str, Any]


def parse(body: bytes) -> Asked:
    """`{collection, operation, auth?, id?, data?, request?}`.

    Raises AlyxError INVALID_JSON, or VALIDATION_ERROR with every fault.
    """
    try:
        value = json.parse(body)
    except json.InvalidJSON as error:
        raise AlyxError("INVALID_JSON", str(error)) from None
    if not isinstance(value, dict):
        raise AlyxError("VALIDATION_ERROR", "The question must be an object.")
    faults = [Detail(name, "unknown_field", f"known: {', '.join(_MEMBERS)}") for name in value if name not in _MEMBERS]
    operation = value.get("operation")
    if operation not in ("create", "read", "update", "delete"):
        faults.append(Detail("operation", "enum", "operation is create, read, update or delete"))
    if not isinstance(value.get("collection"), str):
        faults.append(Detail("collection", "required", "name the collection"))
    if operation in ("read", "update", "delete") and not isinstance(value.get("id"), str | int):
        faults.append(Detail("id", "required", f"{operation} is about a stored record: name its id"))
    if operation in ("create", "update") and not isinstance(value.get("data"), dict):
        faults.append(Detail("data", "required", f"{operation} brings data"))
    auth, request = value.get("auth") or {}, value.get("request") or {}
    faults += _unknown("auth", auth, _AUTH) + _unknown("request", request, ("method", "ip", "time", "body"))
    refuse(faults)
    key = value.get("id")
    return Asked(value["collection"], value["operation"], auth, None if key is None else str(key), value.get("data"), request)


def _unknown(name: str, value: Any, known: tuple[str, ...]) -> list[Detail]:
    if not isinstance(value, dict):
        return [Detail(name, "invalid_type", f"{name} is an object")]
    return [Detail(f"{name}.{each}", "unknown_field", f"known: {', '.join(known)}") for each in value if each not in known]


@dataclass(frozen=True)
class Question:
    """Who asks for what. auth: the caller as rules see it. doc: the stored record, or of a create the record to be, with all its
    fields. after: the record as an update would leave it, None for other operations."""

    operation: Operation
    auth: Mapping[str, Any]
    doc: Mapping[str, Any]
    after: Mapping[str, Any] | None
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What one rule said. missing: it was not written, so it is the admin rule."""

    operation: Operation
    rule: str
    missing: bool
    step: Step

    @property
    def allowed(self) -> bool:
        """Whether the rule holds; an error does not."""
        return self.step.outcome == "true"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        shown = {"operation": self.operation, "rule": self.rule, "missing": self.missing, "allowed": self.allowed}
        return shown | {"because": self.step.document()}


def explain(book: CollectionRules, question: Question) -> Work[list[Judgement]]:
    """The rules that were judged, in order; the operation is allowed if all of them are."""
    found: list[Judgement] = []
    for operation, rule, doc in _steps(book, question):
        step = yield from rules.explain(rule, question.auth, doc, question.request)
        found.append(Judgement(operation, rule.text, rule.missing, step))
        if not found[-1].allowed:
            break
    return found


def _steps(book: CollectionRules, question: Question) -> Iterator[tuple[Operation, Rule, Mapping[str, Any]]]:
    """A record that may not be read is not there for an update or a delete (contract §3)."""
    if question.operation in ("update", "delete"):
        yield "read", book.read, question.doc
    yield question.operation, book[question.operation], question.doc
    if question.operation == "update":
        if question.after is None:
            raise AlyxError("VALIDATION_ERROR", "an update needs the change that it makes")
        yield "update_check", book.update_check, question.after
