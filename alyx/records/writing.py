"""Writes as work for the database: create, update, replace, delete (contract §3).

`prepare_*` does what needs no database (defaults, rules over the record alone) before the writer is asked for; the work that it
returns then runs inside one transaction, in the order of judgement that the contract fixes: read rule 404, operation rule 403,
If-Match 412, update_check 403, constraints 409. Called by `records` and `batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError, Detail
from alyx.database.work import ForeignKeyViolation, Rows, Statement, UniqueViolation, Work
from alyx.records import shape
from alyx.records.access import Access, open_to_all
from alyx.records.answer import Written
from alyx.records.plan import Planner
from alyx.records.reading import not_found
from alyx.records.row import Writable
from alyx.rules.book import Rule
from alyx.schema.model import Collection, Field
from alyx.schema.values import Increment, refuse

Prepared = Callable[[], Work[Written]]


@dataclass(frozen=True, slots=True)
class Target:
    """The collection that a write goes to, with who asks."""

    planner: Planner
    collection: Collection
    writable: Writable
    access: Access


def forbidden(operation: str, collection: str) -> AlyxError:
    """The refusal of a rule; says no more than what was asked."""
    return AlyxError("FORBIDDEN", f"The rules of {collection} do not allow this {operation}.")


# --- create -------------------------------------------------------------------------------------------------------------------


def prepare_create(target: Target, given: Mapping[str, Any]) -> Prepared:
    """A new record. Raises AlyxError FORBIDDEN at once where the rule needs no database."""
    row = target.writable.complete(given)
    rule = target.planner.book.of(target.collection.name).create
    target.access.body = given
    if not rule.looks_elsewhere and not target.access.judge(rule, row):
        raise forbidden("create", target.collection.name)
    return lambda: _create(target, dict(row), rule)


def _create(target: Target, row: dict[str, Any], rule: Rule) -> Work[Written]:
    collection = target.collection
    if rule.looks_elsewhere and not (yield from _holds(target, rule, row)):
        raise forbidden("create", collection.name)
    return (yield from _insert(target, row))


def _insert(target: Target, row: dict[str, Any]) -> Work[Written]:
    collection, planner, key = target.collection, target.planner, target.collection.key.name
    yield from _check_references(target, row, row.get(key))
    columns = {name: value for name, value in row.items() if name != key or value is not None}
    insert = planner.plan_insert(collection, tuple(columns)).bind(target.writable.parameters(columns))
    row[key], text = (yield from _constrained(target, insert, row))[0]
    readable = yield from _holds(target, planner.book.of(collection.name).read, row)
    return Written(201, row[key], text if readable else None)


# --- update and replace -------------------------------------------------------------------------------------------------------


def prepare_update(target: Target, key: Any, patch: Mapping[str, Any], if_match: str | None) -> Prepared:
    """Change some fields of a record."""
    target.access.body = {name: {"$inc": v.amount} if isinstance(v, Increment) else v for name, v in patch.items()}
    return lambda: _update(target, key, if_match, lambda doc: target.writable.change(doc, patch))


def prepare_replace(target: Target, key: Any, given: Mapping[str, Any], if_match: str | None, *, upsert: bool) -> Prepared:
    """Replace a record; with upsert, create it where it is missing.

    Raises AlyxError VALIDATION_ERROR if the body has another key.
    """
    name = target.collection.key.name
    if given.get(name, key) != key:
        refuse([Detail(name, "read_only", "differs from the URL")])
    target.access.body = given
    if not upsert:
        return lambda: _update(target, key, if_match, lambda doc: target.writable.replace(doc, given))
    return lambda: _upsert(target, key, given, if_match)


def _upsert(target: Target, key: Any, given: Mapping[str, Any], if_match: str | None) -> Work[Written]:
    """Replace what the caller may see; else judge as a create, and only whom `create` allows hears that a hidden one is there."""
    rules = target.planner.book.of(target.collection.name)
    record = yield from stored(target.planner, target.collection, key)
    if record is not None and (yield from _holds(target, rules.read, record[1])):
        target.access.require(rules.update, target.collection.name)
        return (yield from _update(target, key, if_match, lambda doc: target.writable.replace(doc, given)))
    target.access.require(rules.create, target.collection.name)
    row = target.writable.complete({**given, target.collection.key.name: key})
    if not (yield from _holds(target, rules.create, row)):
        raise forbidden("create", target.collection.name)
    if record is not None:
        raise _taken(target.collection, (target.collection.key.name,))
    if if_match is not None:
        raise _stale()
    return (yield from _insert(target, row))


def _update(
    target: Target, key: Any, if_match: str | None, change: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> Work[Written]:
    collection, planner = target.collection, target.planner
    rules = planner.book.of(collection.name)
    text, doc = yield from _readable(target, key)
    if not (yield from _holds(target, rules.update, doc)):
        raise forbidden("update", collection.name)
    _check_match(if_match, text)
    changed = change(doc)
    new = doc | changed
    if not (yield from _holds(target, rules.update_check, new)):
        raise forbidden("update", collection.name)
    if not changed:
        return Written(200, key, text)
    yield from _check_references(target, {name: v for name, v in changed.items() if v != doc[name]}, key)
    update = planner.plan_update(collection, tuple(changed)).bind(target.writable.parameters(changed) | {"key": key})
    written = (yield from _constrained(target, update, changed, doc))[0][0]
    readable = yield from _holds(target, rules.read, new)
    return Written(200 if readable else 204, key, written if readable else None)


# --- delete -------------------------------------------------------------------------------------------------------------------


def prepare_delete(target: Target, key: Any, if_match: str | None) -> Prepared:
    """Delete a record."""
    return lambda: _delete(target, key, if_match)


def _delete(target: Target, key: Any, if_match: str | None) -> Work[Written]:
    text, doc = yield from _readable(target, key)
    rules = target.planner.book.of(target.collection.name)
    if not (yield from _holds(target, rules.delete, doc)):
        raise forbidden("delete", target.collection.name)
    _check_match(if_match, text)
    try:
        yield target.planner.plan_delete(target.collection).bind({"key": key})
    except ForeignKeyViolation:
        raise (yield from _still_referenced(target, doc)) from None
    return Written(204, key, None)


# --- what they share ----------------------------------------------------------------------------------------------------------


def stored(planner: Planner, collection: Collection, key: Any) -> Work[tuple[str, dict[str, Any]] | None]:
    """A stored record: its public text, and the whole of it as rules see it; None if there is none."""
    rows = yield planner.plan_stored(collection).bind({"key": key})
    if not rows:
        return None
    text, internal = rows[0]
    doc: dict[str, Any] = json.loads(text)
    if internal is not None:
        doc |= json.loads(internal)
    return text, doc


def _readable(target: Target, key: Any) -> Work[tuple[str, dict[str, Any]]]:
    """The stored record, if the caller may know of it. Raises AlyxError DOCUMENT_NOT_FOUND."""
    record = yield from stored(target.planner, target.collection, key)
    if record is None or not (yield from _holds(target, target.planner.book.of(target.collection.name).read, record[1])):
        raise not_found()
    return record


def _holds(target: Target, rule: Rule, doc: Mapping[str, Any]) -> Work[bool]:
    """Judge a rule on a record: in Python, or in the database where it looks into other collections."""
    access = target.access
    if access.as_admin or not rule.looks_elsewhere:
        return access.judge(rule, doc)
    rows = yield target.planner.plan_rule(rule, access).bind(access.binds(rule) | rule.doc_binds(doc))
    return bool(rows)


def _check_match(if_match: str | None, text: str) -> None:
    if if_match is None or if_match.strip() == "*":
        return
    if shape.etag(text) not in (part.strip() for part in if_match.split(",")):
        raise _stale()


def _stale() -> AlyxError:
    return AlyxError("CONFLICT", "The document has changed since.", hint="Read it again and repeat the change.")


def _check_references(target: Target, row: Mapping[str, Any], own_key: Any) -> Work[None]:
    """A reference to a record that the caller may not read answers as if that record did not exist (contract §3)."""
    for field in target.writable.references:
        value = row.get(field.name)
        if value is None or field.unchecked or field.reference is None or target.access.as_admin:
            continue
        other = target.planner.schema.collections[field.reference.collection]
        own = other is target.collection and field.reference.field == other.key.name and value == own_key
        if own or open_to_all(target.planner.book.of(other.name)):
            continue
        if not (yield _readable_reference(target, other, field, value)):
            raise _dangling([field])


def _readable_reference(target: Target, other: Collection, field: Field, value: Any) -> Statement:
    assert field.reference is not None
    query = target.planner.plan_readable(other, field.reference.field, target.access)
    return query.bind(target.access.binds(target.planner.book.of(other.name).read) | {"key": value})


def _constrained(
    target: Target, statement: Statement, row: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> Work[Rows]:
    """Run an insert or update; its constraints become the contract's 409, naming the field. before: what an update changes."""
    try:
        return (yield statement)
    except UniqueViolation as violation:
        raise _taken(target.collection, violation.fields) from None
    except ForeignKeyViolation:
        missing = yield from _missing_references(target, row)
        if before is not None and not missing:
            raise (yield from _still_referenced(target, before, row)) from None
        raise _dangling(missing) from None


def _missing_references(target: Target, row: Mapping[str, Any]) -> Work[list[Field]]:
    missing: list[Field] = []
    everything = Access.unrestricted()
    for field in target.writable.references:
        value = row.get(field.name)
        if value is None or field.reference is None:
            continue
        other = target.planner.schema.collections[field.reference.collection]
        query = target.planner.plan_readable(other, field.reference.field, everything)
        if not (yield query.bind({"key": value})):
            missing.append(field)
    return missing


def _dangling(fields: list[Field]) -> AlyxError:
    shown = [field for field in fields if not field.internal]
    names = ", ".join(field.name for field in shown)
    details = [
        Detail(field.name, "foreign_key", f"no such record in {field.reference.collection}") for field in shown if field.reference
    ]
    return AlyxError("FOREIGN_KEY_VIOLATION", f"{names or 'A field'} refers to a record that does not exist.", details=details)


def _taken(collection: Collection, fields: tuple[str, ...]) -> AlyxError:
    shown = [name for name in fields if name in collection.fields and not collection.fields[name].internal]
    details = [Detail(name, "unique", "this value is taken") for name in shown]
    return AlyxError("UNIQUE_VIOLATION", f"{', '.join(shown) or 'A value'} is taken already.", details=details)


def _still_referenced(target: Target, doc: Mapping[str, Any], changed: Mapping[str, Any] | None = None) -> Work[AlyxError]:
    """Which field still points at a record that was to be deleted, or at a value of it that was to change.

    That there is one cannot be hidden (hard-parts §8). changed: what an update sets; None for a delete.
    """
    everything = Access.unrestricted()
    for other in target.planner.schema.collections.values():
        for field in other.fields.values():
            reference = field.reference
            if reference is None or reference.collection != target.collection.name:
                continue
            if reference.on_delete != "restrict" if changed is None else reference.field not in changed:
                continue
            query = target.planner.plan_readable(other, field.name, everything)
            if (yield query.bind({"key": doc[reference.field]})):
                return _referenced_by(other, field)
    return AlyxError("FOREIGN_KEY_VIOLATION", "Other records still refer to it.")


def _referenced_by(other: Collection, field: Field) -> AlyxError:
    if field.internal:
        return AlyxError("FOREIGN_KEY_VIOLATION", "Other records still refer to it.")
    message = f"{other.name}.{field.name} still refers to it"
    return AlyxError("FOREIGN_KEY_VIOLATION", f"{message}.", details=[Detail(field.name, "foreign_key", message)])
