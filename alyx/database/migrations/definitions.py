"""Definitions in migration files: read by the very reader of schema.yaml, with faults at their place in the migration file.

A definition stands alone in a migration, so it is put into a small schema of its own, in which whatever it refers to exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from alyx.base.errors import SourceError, SourceFault
from alyx.database.migrations import text
from alyx.schema import load
from alyx.schema.model import Collection, Field, Index, Schema, Type
from alyx.schema.yaml import Faults, Node

_KEY = {"type": "uuid", "primary": True}
_STAND_IN = "stand_in"


def collection(node: Node, path: str, name: str, state: Schema, faults: Faults) -> Collection | None:
    """A collection's definition under `node`; None, with the faults noted, if it is broken. Rules are not taken."""
    if not node.is_map:
        faults.add(node, path, "must be a map with `fields`")
        return None
    if (rules := node.get("rules")) is not None:
        faults.add(rules, f"{path}.rules", "rules stand in schema.yaml alone", at_key=True)
        return None
    made = _load({name: node.value}, state, node, path, (name,), faults)
    return _unresolved(made.collections[name]) if made else None


def field(node: Node, path: str, owner: str, name: str, state: Schema, faults: Faults) -> Field | None:
    """A field's definition under `node`; None, with the faults noted, if it is broken."""
    if not node.is_map:
        faults.add(node, path, "must be a field's definition, as in schema.yaml")
        return None
    fields = {name: node.value}
    if not node.value.get("primary"):
        fields = _beside(node.value, owner, name, state) | fields
    made = _load({owner: {"fields": fields}}, state, node, path, (owner, "fields", name), faults)
    return _unresolved(made.collections[owner]).fields[name] if made else None


def index(node: Node, path: str, owner: Collection, faults: Faults) -> Index | None:
    """An index's definition under `node`; None, with the faults noted, if it is broken."""
    if not node.is_map:
        faults.add(node, path, "must be an index, as in schema.yaml")
        return None
    fields: dict[str, Any] = {name: {"type": "string"} for name in owner.fields}
    fields[owner.key.name] = _KEY
    body = {"fields": fields, "indexes": [node.value]}
    made = _load({owner.name: body}, None, node, path, (owner.name, "indexes", "0"), faults)
    return made.collections[owner.name].indexes[0] if made else None


def _load(
    collections: dict[str, Any], state: Schema | None, node: Node, path: str, inside: tuple[str, ...], faults: Faults
) -> Schema | None:
    whole = {**_targets(collections, state), **collections}
    try:
        return load.loads(text.flow({"version": 1, "collections": whole}), faults.file)
    except SourceError as error:
        for fault in error.faults:
            faults.found.append(_moved(fault, node, path, ("collections", *inside)))
        return None


def _moved(fault: SourceFault, node: Node, path: str, inside: tuple[str, ...]) -> SourceFault:
    """A fault of the small schema as one of the migration file: the same key, at its place there."""
    parts = fault.path.split(".")
    rest = parts[len(inside) :] if tuple(parts[: len(inside)]) == inside else []
    at = node
    for part in rest:
        below = at.get(part) if at.is_map else _item(at, part)
        if below is None:
            break
        at = below
    at_key = fault.at_key and at.key_line
    line, column = (at.key_line, at.key_column) if at_key else (at.line, at.column)
    return SourceFault(fault.file, line, column, ".".join([path, *rest]), fault.message, fault.hint)


def _beside(item: Mapping[str, Any], owner: str, name: str, state: Schema) -> dict[str, Any]:
    """What must stand beside a field for it to make a collection: a key, namely what it refers to if that is in its own."""
    target = _target(item, state)
    if target is None or target[0] != owner or target[1] == name:
        return {_STAND_IN if name != _STAND_IN else f"{_STAND_IN}_": _KEY}
    found: dict[str, Any] = {target[1]: {"type": _type(item, owner, target[1], state), "primary": True}}
    shown = _display_name(item)
    return found | ({shown: {"type": "string"}} if shown and shown not in (target[1], name) else {})


def _item(node: Node, part: str) -> Node | None:
    return node.items[int(part)] if part.isdigit() and int(part) < len(node.items) else None


def _targets(collections: Mapping[str, Any], state: Schema | None) -> dict[str, Any]:
    """Stand-ins for the collections that the definitions refer to."""
    found: dict[str, dict[str, Any]] = {}
    for body in collections.values():
        fields = body.get("fields") if isinstance(body, dict) else None
        for item in fields.values() if isinstance(fields, dict) else ():
            target = _target(item, state)
            if target and target[0] not in collections:
                name, column = target
                known = found.setdefault(name, {"fields": {}})["fields"]
                known.setdefault(column, {"type": _type(item, name, column, state), "primary" if not known else "unique": True})
                if shown := _display_name(item):
                    known.setdefault(shown, {"type": "string"})
    return found


def _display_name(item: Mapping[str, Any]) -> str | None:
    relation = item.get("relation")
    shown = relation.get("displayName") if isinstance(relation, dict) else None
    return shown if isinstance(shown, str) else None


def _target(item: Any, state: Schema | None) -> tuple[str, str] | None:
    """Collection and field that a field's definition refers to, if it says so in a way that can be understood."""
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("references"), str):
        name, _, column = item["references"].partition(".")
        return (name, column) if name and column else None
    relation = item.get("relation")
    if isinstance(relation, dict) and isinstance(relation.get("collection"), str):
        known = state.collections.get(relation["collection"]) if state else None
        column = relation.get("field") or (known.key.name if known else "id")
        return (relation["collection"], column) if isinstance(column, str) else None
    return None


def _type(item: Mapping[str, Any], name: str, column: str, state: Schema | None) -> str:
    """The type of a stand-in's field: the one that refers, or for a relation what stands there."""
    if item.get("type") != "relation":
        return str(item.get("type"))
    known = state.collections.get(name) if state else None
    target = known.fields.get(column) if known else None
    return str(target.value_type) if target else str(Type.UUID)


def _unresolved(item: Collection) -> Collection:
    """Relations without the stand-in's type: what they point to is looked up when the operation is applied."""
    fields = {name: replace(each, target_type=None) for name, each in item.fields.items()}
    return replace(item, fields=MappingProxyType(fields))
