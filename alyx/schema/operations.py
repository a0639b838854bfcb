"""The operations of migrations (contract §7), and what each of them does to a schema.

Pure. Made by `diff` and by the reader of migration files; carried out on a database by `database.migrations`. Each operation
holds what its undoing needs: a drop the whole definition, a modification both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from alyx.schema import dump, snapshot
from alyx.schema.model import Collection, Field, Index, Schema

EMPTY = Schema(1, MappingProxyType({}))
"""The schema of an empty database."""


class OperationError(Exception):
    """An operation does not fit the schema that it meets; the message is one sentence."""


@dataclass(frozen=True)
class AddCollection:
    """Make a collection. restore: a table that kept the records of a dropped one."""

    collection: Collection
    restore: str | None = None


@dataclass(frozen=True)
class DropCollection:
    """Remove a collection with its records."""

    collection: Collection


@dataclass(frozen=True)
class RenameCollection:
    """Give a collection another name; references to it follow."""

    old: str
    new: str


@dataclass(frozen=True)
class AddField:
    """Add a field. restore: a table that kept the values of a dropped one, by key."""

    collection: str
    field: Field
    restore: str | None = None


@dataclass(frozen=True)
class DropField:
    """Remove a field with its values."""

    collection: str
    field: Field


@dataclass(frozen=True)
class RenameField:
    """Give a field another name; indexes and references follow."""

    collection: str
    old: str
    new: str


@dataclass(frozen=True)
class ModifyField:
    """Change a field's type or settings; both have the same name. restore: a table with values that a way back cannot make."""

    collection: str
    old: Field
    new: Field
    restore: str | None = None


@dataclass(frozen=True)
class AddIndex:
    """Add a declared index (those that `unique`, `index` and references imply come with the field)."""

    collection: str
    index: Index


@dataclass(frozen=True)
class DropIndex:
    """Remove a declared index."""

    collection: str
    index: Index


@dataclass(frozen=True)
class Sql:
    """SQL as written, by engine (`sqlite`, `postgresql`); the schema does not change by it. No `down`: cannot be undone."""

    up: Mapping[str, str] = field(default_factory=dict)
    down: Mapping[str, str] = field(default_factory=dict)


Operation: TypeAlias = (
    AddCollection
    | DropCollection
    | RenameCollection
    | AddField
    | DropField
    | RenameField
    | ModifyField
    | AddIndex
    | DropIndex
    | Sql
)
Restoring = AddCollection | AddField | ModifyField
"""Those that may bring back what a table kept."""


def evolve(schema: Schema, operation: Operation) -> Schema:
    """The schema after an operation. References to collections that do not exist (yet) are left as they are.

    Raises OperationError when the operation does not fit.
    """
    collections = dict(schema.collections)
    match operation:
        case AddCollection(collection=made):
            if made.name in collections:
                raise OperationError(f"there is a collection `{made.name}` already")
            collections[made.name] = made
        case DropCollection(collection=gone):
            find(schema, gone.name)
            users = [f"{c.name}.{f.name}" for c, f in references(schema, gone.name) if c.name != gone.name]
            if users:
                raise OperationError(f"`{gone.name}` cannot be dropped while {', '.join(users)} refers to it")
            del collections[gone.name]
        case RenameCollection(old=old, new=new):
            collections = _rename_collection(schema, old, new)
        case RenameField(collection=name, old=old, new=new):
            collections = _rename_field(schema, name, old, new)
        case Sql():
            pass
        case _:
            collections[operation.collection] = _change(find(schema, operation.collection), operation)
    return replace(schema, collections=MappingProxyType(collections))


def evolve_all(schema: Schema, operations: Iterable[Operation]) -> Schema:
    """The schema after all operations, in order."""
    for operation in operations:
        schema = evolve(schema, operation)
    return schema


def invert(operation: Operation) -> Operation:
    """The operation that takes this one back. Raises OperationError for SQL without `down`."""
    match operation:
        case AddCollection(collection=collection):
            return DropCollection(collection)
        case DropCollection(collection=collection):
            return AddCollection(collection)
        case RenameCollection(old=old, new=new):
            return RenameCollection(new, old)
        case AddField(collection=name, field=added):
            return DropField(name, added)
        case DropField(collection=name, field=gone):
            return AddField(name, gone)
        case RenameField(collection=name, old=old, new=new):
            return RenameField(name, new, old)
        case ModifyField(collection=name, old=before, new=after):
            return ModifyField(name, after, before)
        case AddIndex(collection=name, index=index):
            return DropIndex(name, index)
        case DropIndex(collection=name, index=index):
            return AddIndex(name, index)
        case Sql(up=up, down=down):
            if not down:
                raise OperationError("its `sql` has no `down`")
            return Sql(down, up)


def untangled(schema: Schema, steps: Iterable[Operation]) -> list[Operation]:
    """The same operations, in which collections that refer to one another in a circle can be dropped: a reference to one that
    goes first is taken off the other. Raises OperationError when an operation does not fit.
    """
    found: list[Operation] = []
    waiting = list(steps)
    while waiting:
        step = waiting.pop(0)
        if isinstance(step, DropCollection):
            name = step.collection.name
            later = {each.collection.name for each in waiting if isinstance(each, DropCollection)}
            for owner, item in references(schema, name):
                if owner.name in later - {name}:
                    plain = replace(item, type=item.value_type, target_type=None, reference=None, display_name=None)
                    found.append(ModifyField(owner.name, item, plain))
                    schema = evolve(schema, found[-1])
            step = DropCollection(find(schema, name))
        found.append(step)
        schema = resolve(evolve(schema, step))
    return found


def find(schema: Schema, name: str) -> Collection:
    """A collection by name. Raises OperationError if there is none."""
    if name not in schema.collections:
        raise OperationError(f"there is no collection `{name}`")
    return schema.collections[name]


def references(schema: Schema, name: str) -> list[tuple[Collection, Field]]:
    """The fields that refer to a collection, its own included."""
    return [
        (collection, item)
        for collection in schema.collections.values()
        for item in collection.fields.values()
        if item.reference and item.reference.collection == name
    ]


def resolve(schema: Schema) -> Schema:
    """The schema with the `target_type` of relations that have none yet set to what their target is, as far as that exists."""
    return _each_field(schema, lambda item: _resolved(schema, item))


def _resolved(schema: Schema, item: Field) -> Field:
    if not item.reference or item.type != "relation" or item.target_type:
        return item
    target = schema.collections.get(item.reference.collection)
    found = target.fields.get(item.reference.field) if target else None
    for _ in range(len(schema.collections)):
        if not found or found.type != "relation" or not found.reference:
            break
        target = schema.collections.get(found.reference.collection)
        found = target.fields.get(found.reference.field) if target else None
    return replace(item, target_type=found.type) if found and found.type != "relation" else item


def _each_field(schema: Schema, change: Any) -> Schema:
    collections = {}
    for name, collection in schema.collections.items():
        fields = {key: change(item) for key, item in collection.fields.items()}
        same = all(fields[key] is item for key, item in collection.fields.items())
        collections[name] = collection if same else replace(collection, fields=MappingProxyType(fields))
    return replace(schema, collections=MappingProxyType(collections))


def _rename_collection(schema: Schema, old: str, new: str) -> dict[str, Collection]:
    find(schema, old)
    if new in schema.collections:
        raise OperationError(f"there is a collection `{new}` already")

    def follow(item: Field) -> Field:
        if item.reference and item.reference.collection == old:
            return replace(item, reference=replace(item.reference, collection=new))
        return item

    moved = _each_field(schema, follow).collections
    return {new if name == old else name: replace(c, name=new) if name == old else c for name, c in moved.items()}


def _rename_field(schema: Schema, name: str, old: str, new: str) -> dict[str, Collection]:
    collection = find(schema, name)
    _field(collection, old)
    if new in collection.fields:
        raise OperationError(f"there is a field `{name}.{new}` already")
    fields = {new if key == old else key: replace(f, name=new) if key == old else f for key, f in collection.fields.items()}
    indexes = tuple(
        replace(index, fields=tuple(new if key == old else key for key in index.fields)) for index in collection.indexes
    )
    renamed = replace(collection, fields=MappingProxyType(fields), indexes=indexes)
    inside = replace(schema, collections=MappingProxyType({**schema.collections, name: renamed}))

    def follow(item: Field) -> Field:
        if item.reference and (item.reference.collection, item.reference.field) == (name, old):
            return replace(item, reference=replace(item.reference, field=new))
        return item

    return dict(_each_field(inside, follow).collections)


def _change(collection: Collection, operation: AddField | DropField | ModifyField | AddIndex | DropIndex) -> Collection:
    fields, indexes = dict(collection.fields), list(collection.indexes)
    match operation:
        case AddField(field=added):
            if added.name in fields:
                raise OperationError(f"there is a field `{collection.name}.{added.name}` already")
            fields[added.name] = added
        case DropField(field=gone):
            _field(collection, gone.name)
            users = [index.name for index in indexes if gone.name in index.fields]
            if users:
                raise OperationError(f"`{collection.name}.{gone.name}` stands in the index {', '.join(users)}; drop that first")
            del fields[gone.name]
        case ModifyField(new=new):
            _field(collection, new.name)
            fields[new.name] = new
        case AddIndex(index=index):
            if any(index.name == item.name for item in indexes):
                raise OperationError(f"there is an index `{index.name}` already")
            for name in index.fields:
                _field(collection, name)
            indexes.append(index)
        case DropIndex(index=index):
            if all(index.name != item.name for item in indexes):
                raise OperationError(f"there is no index `{index.name}` on `{collection.name}`")
            indexes = [item for item in indexes if item.name != index.name]
    return replace(collection, fields=MappingProxyType(fields), indexes=tuple(indexes))


def _field(collection: Collection, name: str) -> Field:
    if name not in collection.fields:
        raise OperationError(f"there is no field `{collection.name}.{name}`")
    return collection.fields[name]


def write(operation: Operation) -> dict[str, Any]:
    """An operation as a JSON document for the history."""
    document: dict[str, Any]
    match operation:
        case AddCollection(collection=collection) | DropCollection(collection=collection):
            document = {"definition": snapshot.write_collection(collection)}
        case RenameCollection(old=old, new=new):
            document = {"from": old, "to": new}
        case AddField(collection=name, field=item) | DropField(collection=name, field=item):
            document = {"collection": name, "definition": snapshot.write_field(item)}
        case RenameField(collection=name, old=before, new=after):
            document = {"collection": name, "from": before, "to": after}
        case ModifyField(collection=name, old=from_field, new=to_field):
            document = {"collection": name, "from": snapshot.write_field(from_field), "to": snapshot.write_field(to_field)}
        case AddIndex(collection=name, index=index) | DropIndex(collection=name, index=index):
            document = {"collection": name, "index": dump.index(index)}
        case Sql(up=up, down=down):
            document = {"up": dict(up), "down": dict(down)}
    restore = getattr(operation, "restore", None)
    return {"type": NAMES[type(operation)], **document, **({"restore": restore} if restore else {})}


def read(document: dict[str, Any]) -> Operation:
    """The operation that `write` wrote."""
    kind, restore = document["type"], document.get("restore")
    match kind:
        case "add_collection":
            return AddCollection(snapshot.read_collection(document["definition"]), restore)
        case "drop_collection":
            return DropCollection(snapshot.read_collection(document["definition"]))
        case "rename_collection":
            return RenameCollection(document["from"], document["to"])
        case "sql":
            return Sql(document["up"], document["down"])
    name = document["collection"]
    match kind:
        case "add_field":
            return AddField(name, snapshot.read_field(document["definition"]), restore)
        case "drop_field":
            return DropField(name, snapshot.read_field(document["definition"]))
        case "rename_field":
            return RenameField(name, document["from"], document["to"])
        case "modify_field":
            return ModifyField(name, snapshot.read_field(document["from"]), snapshot.read_field(document["to"]), restore)
    index = snapshot.read_index(document["index"])
    return AddIndex(name, index) if kind == "add_index" else DropIndex(name, index)


NAMES: dict[type, str] = {
    AddCollection: "add_collection",
    DropCollection: "drop_collection",
    RenameCollection: "rename_collection",
    AddField: "add_field",
    DropField: "drop_field",
    RenameField: "rename_field",
    ModifyField: "modify_field",
    AddIndex: "add_index",
    DropIndex: "drop_index",
    Sql: "sql",
}
"""How each operation is called in migration files."""
