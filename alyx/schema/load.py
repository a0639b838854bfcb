"""schema.yaml -> Schema, or every fault in it with line, path and hint (contract §1).

Called by every command that reads the schema. Two passes: the first reads collections and fields one by one, the second settles
what needs other fields: references, the types of relations, defaults, index names, renames. Rules are taken as text; the rules
layer checks them. Reads its file and nothing else.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alyx.schema import channels, fields, references, yaml
from alyx.schema.model import OPERATIONS, Collection, Field, Index, Place, Schema
from alyx.schema.section import Section, check_name
from alyx.schema.yaml import Faults, Node, did_you_mean, join, kind

TOP_KEYS = ("version", "collections", "channels", "buckets", "functions")
COLLECTION_KEYS = ("fields", "indexes", "rules", "auth", "mode", "strict", "managed", "description", "renamed_from")
INDEX_KEYS = ("name", "fields", "unique", "order")
MODES = ("table", "document")
_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
"""A table of such a name would hide the function from every statement that uses it."""


def load(path: str | Path) -> Schema:
    """Read a schema file. Raises SourceError with all faults in file order; faults name the path as given."""
    return loads(yaml.read_text(path), str(path))


def loads(text: str, file: str = "schema.yaml") -> Schema:
    """Read the text of a schema file; `file` is the name that faults carry."""
    faults = Faults(file)
    root = yaml.parse(text, faults)
    schema = _schema(root, faults)
    faults.raise_any()
    return schema


def later_keys(schema: Schema) -> list[str]:
    """One sentence for each key that is accepted but does nothing in this version, in file order within a kind."""
    found = [f"`{name}` has no effect in this version of Alyx" for name in ("buckets", "functions") if getattr(schema, name)]
    for collection in schema.collections.values():
        keys = [
            text
            for text, used in (
                ("auth: true", collection.auth),
                ("mode: document", collection.mode == "document"),
                ("strict: true", collection.strict),
                ("managed: false", not collection.managed),
            )
            if used
        ]
        found += [f"`{key}` of collections.{collection.name} has no effect in this version of Alyx" for key in keys]
    return found


def _schema(root: Node, faults: Faults) -> Schema:
    if not root.is_map:
        faults.add(root, "", f"must be a map with `version` and `collections`, not {kind(root.value)}")
        faults.raise_any()
    top = Section(root, "", faults, TOP_KEYS)
    for key in ("version", "collections"):
        if key not in top:
            faults.add(root, key, "is missing", "version: 1" if key == "version" else None)
    version = top.whole("version", 1, 2**31 - 1) or 1
    collections = _collections(top)
    settled = references.settle(collections, top.node.get("collections"), faults)
    return Schema(
        version,
        MappingProxyType(settled),
        channels=channels.read(top),
        buckets=_map(top, "buckets"),
        functions=_map(top, "functions"),
        place=Place(faults.file, 1, 1),
    )


def _map(top: Section, key: str) -> MappingProxyType[str, Any]:
    node = top.node.get(key)
    if node is not None and not node.is_map and node.value is not None:
        top.fault(f"must be a map, not {kind(node.value)}", key=key)
    return MappingProxyType(node.value if node is not None and node.is_map else {})


def _collections(top: Section) -> list[references.Draft]:
    node = top.node.get("collections")
    if node is None:
        return []
    if not node.is_map or not node.children:
        top.fault("must be a map with at least one collection", key="collections", at_key=True)
        return []
    drafts = []
    for name, child in node.entries():
        path = join("collections", name)
        check_name(child, path, name, top.faults)
        if name.startswith(("sqlite_", "pragma_")):
            top.faults.add(child, path, f"the prefix `{name.partition('_')[0]}_` is reserved by SQLite", at_key=True)
        elif name in _TABLE_FUNCTIONS:
            top.faults.add(child, path, f"`{name}` is a function of SQLite", at_key=True)
        if not child.is_map:
            top.faults.add(child, path, f"must be a map with `fields`, not {kind(child.value)}", at_key=child.value is None)
            continue
        drafts.append(_collection(name, Section(child, path, top.faults, COLLECTION_KEYS)))
    return drafts


def _collection(name: str, section: Section) -> references.Draft:
    found, sections = _fields(section)
    node = section.node.get("rules")
    written = Section(node, join(section.path, "rules"), section.faults) if node is not None else None
    rules = {operation: rule for operation in OPERATIONS if written and (rule := written.rule(operation))}
    collection = Collection(
        name,
        MappingProxyType(found),
        tuple(_indexes(section, found)),
        MappingProxyType(rules),
        renamed_from=section.text("renamed_from"),
        description=section.text("description"),
        auth=section.flag("auth"),
        mode="document" if section.choice("mode", MODES) == "document" else "table",
        strict=section.flag("strict"),
        managed=section.flag("managed", True),
        place=section.place,
    )
    if node is not None:
        if node.is_map:
            section.faults.unknown_keys(node, join(section.path, "rules"), OPERATIONS)
        elif node.value is not None:
            section.fault(f"must be a map of rules, not {kind(node.value)}", "known: " + ", ".join(OPERATIONS), key="rules")
    return references.Draft(collection, section, sections)


def _fields(section: Section) -> tuple[dict[str, Field], dict[str, Section]]:
    found: dict[str, Field] = {}
    sections: dict[str, Section] = {}
    node = section.node.get("fields")
    if node is None or not node.children:
        at = None if node is None else "fields"
        section.fault("needs `fields`, at least a primary key", "id: { type: uuid, primary: true, default: auto }", key=at)
        return found, sections
    failed = False
    for name, child in node.entries():
        path = join(join(section.path, "fields"), name)
        check_name(child, path, name, section.faults)
        field = fields.read(name, child, path, section)
        if field is None:
            failed = True
            continue
        found[name] = field
        sections[name] = Section(child, path, section.faults)
    _check_primary(section, found, failed)
    return found, sections


def _check_primary(section: Section, found: dict[str, Field], failed: bool) -> None:
    keys = [field for field in found.values() if field.primary]
    if not keys and not failed:
        section.fault("no field has `primary: true`", "id: { type: uuid, primary: true, default: auto }")
    for extra in keys[1:]:
        node = section.node["fields"][extra.name]
        path = join(join(section.path, "fields"), extra.name)
        message = f"a second primary key; `{keys[0].name}` is one already"
        Section(node, path, section.faults).fault(message, key="primary", at_key=True)


def _indexes(section: Section, known: dict[str, Field]) -> Iterable[Index]:
    node = section.node.get("indexes")
    if node is None or node.value is None:
        return
    if not node.is_list:
        section.fault(f"must be a list, not {kind(node.value)}", "- { name: ..., fields: [...] }", key="indexes")
        return
    written = section.node.get("fields")
    declared = written.children if written is not None else {}
    for number, child in enumerate(node.items):
        path = join(join(section.path, "indexes"), number)
        if not child.is_map:
            section.faults.add(child, path, f"must be a map with name and fields, not {kind(child.value)}")
            continue
        index = _index(Section(child, path, section.faults, INDEX_KEYS), known, declared)
        if index is not None:
            yield index


def _index(section: Section, known: dict[str, Field], declared: Container[str]) -> Index | None:
    name = section.text("name")
    if name is None and "name" not in section:
        section.fault("an index needs a name", key="name")
    if name is not None:
        check_name(section.node["name"], join(section.path, "name"), name, section.faults)
    columns = section.texts("fields")
    if not columns and section.node.get("fields") is None:
        section.fault("an index needs its fields", key="fields")
    elif not columns and section.node["fields"].value == []:
        section.fault("must not be empty", key="fields")
    for number, (column, node) in enumerate(columns):
        path = join(join(section.path, "fields"), number)
        if column not in known:
            if column in declared:
                continue  # the field itself is a fault already
            section.faults.add(node, path, f"there is no field `{column}`", did_you_mean(column, known))
        elif known[column].type == "json" or known[column].is_list:
            section.faults.add(node, path, f"`{column}` holds {known[column].type} and cannot have an index")
    unique = section.flag("unique")
    order = section.choice("order", ("asc", "desc"))
    if name is None or not columns or any(column not in known for column, _ in columns):
        return None
    return replace(
        Index(name, tuple(column for column, _ in columns), unique, place=section.place),
        order="desc" if order == "desc" else "asc",
    )
