"""The second pass of loading: what one field needs to know of others.

Called by `load` with drafts of all collections; gives the finished collections. Resolves references and the types of relations,
then validates defaults and enums against their fields, then index names and renames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from alyx.base.json import InvalidJSON
from alyx.schema import fields, model
from alyx.schema.indexes import indexes
from alyx.schema.model import Collection, Field, Type
from alyx.schema.readers import Read, Refused, reader
from alyx.schema.section import Section
from alyx.schema.yaml import Faults, Node, did_you_mean, join


@dataclass(frozen=True, slots=True)
class Draft:
    """A collection as far as it can be read alone, with its section and those of its fields."""

    collection: Collection
    section: Section
    sections: Mapping[str, Section]


def settle(drafts: list[Draft], written: Node | None, faults: Faults) -> dict[str, Collection]:
    """The collections with references, target types, defaults and enums in place; faults are noted.

    written: the node of all collections, so that what names an unreadable one is not a second fault.
    """
    resolver = _Resolver(drafts, frozenset(written.children if written else ()))
    settled: dict[str, Collection] = {}
    for draft in drafts:
        found = {name: resolver.resolve(draft.collection.name, name) for name in draft.collection.fields}
        found = {name: _values(draft.sections[name], field) for name, field in found.items()}
        settled[draft.collection.name] = replace(draft.collection, fields=MappingProxyType(found))
        _check_renames(draft)
    _check_collection_renames(drafts)
    _check_index_names(drafts, settled, faults)
    return settled


class _Resolver:
    """Follows references to their end, so that a relation to a relation has the type of the last target."""

    def __init__(self, drafts: list[Draft], written: frozenset[str]) -> None:
        self._written = written
        self._drafts = {draft.collection.name: draft for draft in drafts}
        self._done: dict[tuple[str, str], Field] = {}
        self._under_way: set[tuple[str, str]] = set()

    def resolve(self, collection: str, name: str) -> Field:
        """The field with its reference checked and its target type set."""
        place = (collection, name)
        if place not in self._done:
            self._under_way.add(place)
            self._done[place] = self._resolve(self._drafts[collection], name)
            self._under_way.discard(place)
        return self._done[place]

    def _resolve(self, draft: Draft, name: str) -> Field:
        field, section = draft.collection.fields[name], draft.sections[name]
        if field.reference is None:
            return field
        key, at = ("relation", _relation(section)) if field.type is Type.RELATION else ("references", section)
        target_draft = self._drafts.get(field.reference.collection)
        where = "collection" if key == "relation" else key
        if target_draft is None:
            if field.reference.collection in self._written:
                return replace(field, reference=None)
            hint = did_you_mean(field.reference.collection, self._drafts)
            at.fault(f"there is no collection `{field.reference.collection}`", hint, key=where)
            return replace(field, reference=None)
        target = self._target(target_draft, field, at, "field" if key == "relation" else key)
        if target is None:
            return replace(field, reference=None)
        if field.display_name is not None and field.display_name not in _written(target_draft):
            hint = did_you_mean(field.display_name, target_draft.collection.fields)
            at.fault(f"{target_draft.collection.name} has no field `{field.display_name}`", hint, key="displayName")
        return self._typed(field, target, at, where)

    def _target(self, draft: Draft, field: Field, at: Section, key: str) -> Field | None:
        """The field that is referred to, resolved; None after a fault."""
        reference, collection = field.reference, draft.collection
        keys = [item.name for item in collection.fields.values() if item.primary]
        name = (reference.field if reference else "") or (keys[0] if keys else "")
        if not name:
            return None  # the target has no key, which is a fault already
        if name not in collection.fields:
            if name not in _written(draft):
                at.fault(f"{collection.name} has no field `{name}`", did_you_mean(name, collection.fields), key=key)
            return None
        target = collection.fields[name]
        alone = any(index.unique and index.fields == (name,) for index in collection.indexes)
        if not (target.primary or target.unique or alone):
            at.fault(f"{collection.name}.{name} is neither the primary key nor unique", "add unique: true to it", key=key)
            return None
        if (collection.name, name) in self._under_way:
            if target.reference is not None and target.type is Type.RELATION:
                at.fault(f"refers to itself in a circle through {collection.name}.{name}", key=key)
                return None
            return target
        return self.resolve(collection.name, name)

    def _typed(self, field: Field, target: Field, at: Section, key: str) -> Field:
        reference = replace(field.reference, field=target.name) if field.reference else None
        if target.value_type in (Type.DECIMAL, Type.FLOAT, Type.JSON, Type.BLOB, Type.BOOL, Type.RICHTEXT) or target.is_list:
            at.fault(f"a {target.value_type} field cannot be referred to", key=key)
            return replace(field, reference=None)
        if field.type is Type.RELATION:
            values = target.select_values or field.select_values
            return replace(field, reference=reference, target_type=target.value_type, select_values=values)
        if field.value_type is not target.value_type:
            message = f"has the type {field.value_type}, its target {target.value_type}"
            at.fault(message, f"write type: {target.value_type}", key=key)
        return replace(field, reference=reference)


def _written(draft: Draft) -> Mapping[str, Node]:
    """The fields of a collection as written, those that could not be read included."""
    node = draft.section.node.get("fields")
    return node.children if node is not None else {}


def _relation(section: Section) -> Section:
    return Section(section.node["relation"], join(section.path, "relation"), section.faults)


def _values(section: Section, field: Field) -> Field:
    """The field with its enum and default, both validated against the field itself."""
    if field.value_type is Type.RELATION:
        return replace(field, type=Type.STRING, reference=None)  # its target is a fault already; go on with something
    if field.value_type is Type.DECIMAL and field.scale is None:
        return replace(field, scale=0)
    field = replace(field, enum=_enum(section, field))
    default = fields.settle_default(section, field)
    if default is model.MISSING or default is model.AUTO or default is model.NOW or default is None:
        return replace(field, default=default)
    value = _checked(section.faults, section.node["default"], join(section.path, "default"), reader(field))
    return replace(field, default=value)


def _enum(section: Section, field: Field) -> tuple[Any, ...]:
    node = section.node.get("validate")
    if node is None or not node.is_map or "enum" not in node.children:
        return ()
    validate = Section(node, join(section.path, "validate"), section.faults)
    if field.value_type not in fields.ENUMERABLE:
        hint = "a select has its own values" if field.type is Type.SELECT else None
        validate.fault(f"makes no sense for the type {field.type}", hint, key="enum", at_key=True)
        return ()
    listed = node["enum"]
    if not listed.is_list or not listed.items:
        validate.fault("must be a list with at least one value", key="enum")
        return ()
    found: list[Any] = []
    read = reader(replace(field, enum=()))
    for number, item in enumerate(listed.items):
        path = join(join(validate.path, "enum"), number)
        value = _checked(section.faults, item, path, read)
        if value in found:
            section.faults.add(item, path, "stands twice")
        elif value is not model.MISSING:
            found.append(value)
    return tuple(found)


def _checked(faults: Faults, node: Node, path: str, read: Read) -> Any:
    """A literal in the API's form; MISSING after a fault."""
    if node.value is None:
        faults.add(node, path, "must not be null")
        return model.MISSING
    try:
        return read(node.value)
    except Refused as refused:
        hint = "put it in quotes" if isinstance(node.value, bool | int | float) and "text" in str(refused) else None
        faults.add(node, path, f"is not a value of the field: {refused}", hint)
    except InvalidJSON as error:
        faults.add(node, path, f"is not a value of the field: {error}")
    return model.MISSING


def _check_renames(draft: Draft) -> None:
    seen: dict[str, str] = {}
    for name, field in draft.collection.fields.items():
        _check_rename(draft.sections[name], name, field.renamed_from, draft.collection.fields, seen, "field")


def _check_collection_renames(drafts: list[Draft]) -> None:
    known = {draft.collection.name: draft for draft in drafts}
    seen: dict[str, str] = {}
    for name, draft in known.items():
        _check_rename(draft.section, name, draft.collection.renamed_from, known, seen, "collection")


def _check_rename(
    section: Section, name: str, old: str | None, known: Mapping[str, Any], seen: dict[str, str], what: str
) -> None:
    if old is None:
        return
    if old == name:
        section.fault("is the name that it has already", key="renamed_from")
    elif old in known:
        section.fault(f"there still is a {what} `{old}`", "remove one of the two", key="renamed_from")
    elif old in seen:
        section.fault(f"`{seen[old]}` is renamed from `{old}`, too", key="renamed_from")
    seen.setdefault(old, name)


def _check_index_names(drafts: list[Draft], settled: Mapping[str, Collection], faults: Faults) -> None:
    """Index names share one space per database, with each other and with tables."""
    taken = {name: f"the collection `{name}`" for name in settled}
    implied: list[tuple[Draft, model.Index]] = []
    for draft in drafts:
        declared = set(map(id, draft.collection.indexes))
        implied += [(draft, index) for index in indexes(settled[draft.collection.name]) if id(index) not in declared]
    for draft, index in implied:
        if index.name in taken:
            draft.sections[index.fields[0]].fault(f"its index would be named as {taken[index.name]}: {index.name}")
        taken.setdefault(index.name, f"the index that {draft.collection.name}.{index.fields[0]} has by itself")
    for draft in drafts:
        node = draft.section.node.get("indexes")
        nodes = {(item.line, item.column): (number, item) for number, item in enumerate(node.items)} if node else {}
        for index in draft.collection.indexes:
            number, item = nodes[index.place.line, index.place.column]
            section = Section(item, join(join(draft.section.path, "indexes"), number), faults)
            if index.name.startswith("sqlite_"):
                section.fault("the prefix `sqlite_` is reserved by SQLite", key="name")
            elif index.name in taken:
                section.fault(f"the name is taken by {taken[index.name]}", key="name")
            taken.setdefault(index.name, f"an index of {draft.collection.name}")
