"""Which rule of an operation decided, and which part of it: for admins (contract §4).

Judges as the record API would, rule after rule, up to the first that refuses. Called by the admin route and `alyx rules explain`
through `Records.explain`, and by `alyx rules test` for each of its cases; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alyx.base import clock, json
from alyx.base.errors import AlyxError, Detail
from alyx.database.work import Work
from alyx.rules import explain as rules
from alyx.rules import types
from alyx.rules.book import CollectionRules, Rule
from alyx.rules.explain import Step
from alyx.schema.model import JUDGED, Field, Operation, Type
from alyx.schema.readers import Read, Refused, reader
from alyx.schema.values import refuse, unreadable

_METHODS: dict[Operation, str] = {"create": "POST", "read": "GET", "update": "PATCH", "delete": "DELETE"}

_KINDS = {"string": Type.STRING, "bool": Type.BOOL, "timestamp": Type.TIMESTAMP, "map": Type.JSON, "dyn": Type.JSON}
AUTH = {name: reader(Field(name, _KINDS[found.kind])) for name, found in types.AUTH.items()}
REQUEST = {name: reader(Field(name, _KINDS[found.kind])) for name, found in types.REQUEST.items()}
"""What the variables `auth` and `request` hold, each with what brings a value into the API's form."""

_storable = reader(Field("question", Type.JSON))
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


def parse(body: bytes, max_depth: int) -> Asked:
    """`{collection, operation, auth?, id?, data?, request?}`. max_depth: the nesting that `data` may have.

    Raises AlyxError INVALID_JSON, or VALIDATION_ERROR with every fault.
    """
    try:
        value = json.parse(body, max_depth=max_depth + 1)
    except json.InvalidJSON as error:
        raise unreadable(error) from None
    try:
        _storable(value)
    except Refused as refused:
        raise AlyxError("VALIDATION_ERROR", f"A text in the question {refused}.") from None
    if not isinstance(value, dict):
        raise AlyxError("VALIDATION_ERROR", "The question must be an object.")
    faults = [Detail(name, "unknown_field", f"known: {', '.join(_MEMBERS)}") for name in value if name not in _MEMBERS]
    operation: Any = value.get("operation")
    if operation not in JUDGED:
        faults.append(Detail("operation", "enum", "operation is create, read, update or delete"))
    if not isinstance(value.get("collection"), str):
        faults.append(Detail("collection", "required", "name the collection"))
    if operation in ("read", "update", "delete") and not isinstance(value.get("id"), str | int):
        faults.append(Detail("id", "required", f"{operation} is about a stored record: name its id"))
    if operation in ("create", "update") and not isinstance(value.get("data"), dict):
        faults.append(Detail("data", "required", f"{operation} brings data"))
    auth, of_auth = members("auth", value.get("auth") or {}, AUTH)
    request, of_request = members("request", value.get("request") or {}, REQUEST)
    refuse([*faults, *of_auth, *of_request])
    key, data = value.get("id"), value.get("data")
    request = call(operation, data, request)
    return Asked(value["collection"], operation, caller(auth), None if key is None else str(key), data, request)


def members(name: str, value: Any, readers: Mapping[str, Read]) -> tuple[dict[str, Any], list[Detail]]:
    """What stands in `auth` or `request`, in the API's form and without nulls; and what is wrong with it."""
    if not isinstance(value, dict):
        return {}, [Detail(name, "invalid_type", f"{name} is an object")]
    found: dict[str, Any] = {}
    faults: list[Detail] = []
    for each, item in value.items():
        if each not in readers:
            faults.append(Detail(f"{name}.{each}", "unknown_field", f"known: {', '.join(readers)}"))
        elif item is not None:
            try:
                found[each] = readers[each](item)
            except Refused as refused:
                faults += [Detail(f"{name}.{each}", code, message) for code, message in refused.faults]
    return found, faults


def caller(given: Mapping[str, Any]) -> dict[str, Any]:
    """`auth` as the rules of a real request see it: whoever is signed in is verified or not, and has claims or an empty map."""
    signed_in: dict[str, Any] = {} if given.get("id") is None else {"verified": False, "claims": {}}
    return signed_in | dict(given)


def call(operation: Operation, body: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """`request` as the rules of a real one see it; what was not given is that of a usual call, now."""
    return {"method": _METHODS[operation], "ip": "127.0.0.1", "time": clock.now(), "body": body, **given}


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
    if question.after is not None:
        yield "update_check", book.update_check, question.after
