"""Migration files: `migrations/NNN_name.yaml`, read strictly and written so that they are read back alike (contract §7).

    version: 2
    name: add_slug
    description: Posts get an address of their own.
    operations:
      - type: add_field
        collection: posts
        field: slug
        definition: {type: string, nullable: true, unique: true}

Faults come with file, line and column, all at once. Reads and writes the folder; knows no database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from alyx.base.errors import SourceError
from alyx.database.migrations import definitions, text
from alyx.database.migrations.errors import MigrationError
from alyx.schema import dump, operations, yaml
from alyx.schema.model import Schema
from alyx.schema.operations import Operation, OperationError
from alyx.schema.yaml import Faults, Node

ENGINES = ("sqlite", "postgresql")
KEYS = ("version", "name", "description", "operations")
OPERATION_KEYS: dict[str, tuple[str, ...]] = {
    "add_collection": ("collection", "definition"),
    "drop_collection": ("collection", "definition"),
    "rename_collection": ("from", "to"),
    "add_field": ("collection", "field", "definition"),
    "drop_field": ("collection", "field", "definition"),
    "rename_field": ("collection", "from", "to"),
    "modify_field": ("collection", "field", "from", "to"),
    "add_index": ("collection", "index"),
    "drop_index": ("collection", "index"),
    "sql": ("up", "down", *ENGINES),
}
"""Operations and their keys. What a drop or a change takes away may be left out in a file written by hand: the history has it."""

_OPTIONAL = frozenset({("drop_collection", "definition"), ("drop_field", "definition"), ("modify_field", "from")})
_FILE = re.compile(r"([0-9]{1,9})_([a-z0-9][a-z0-9_]*)\.ya?ml")
LONGEST_NAME = 63
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class File:
    """A migration file whose outline was read. name: by the file's own; title: the `name:` in it, which should be the same.
    checksum: of its text, line ends aside."""

    path: Path
    version: int
    name: str
    title: str
    description: str | None
    checksum: str
    nodes: tuple[Node, ...]

    def operations(self, state: Schema) -> list[Operation]:
        """Its operations, read for a database that is at `state`. Raises SourceError with every fault of the file."""
        faults = Faults(str(self.path))
        found: list[Operation] = []
        for number, node in enumerate(self.nodes):
            before = len(faults.found)
            try:
                step = _operation(node, f"operations.{number}", state, faults)
                if step is not None:
                    state = operations.resolve(operations.evolve(state, step))
                    found.append(step)
            except OperationError as error:
                if len(faults.found) == before:
                    faults.add(node, f"operations.{number}", str(error))
        faults.raise_any()
        return found


def read_folder(folder: Path) -> list[File]:
    """All migration files of a folder in order; none if it does not exist. Raises SourceError with the faults of all files."""
    found: list[File] = []
    broken = SourceError()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix not in (".yaml", ".yml") or path.name.startswith("."):
            continue
        try:
            found.append(read(path))
        except SourceError as error:
            broken.faults.extend(error.faults)
    found.sort(key=lambda file: file.version)
    for one, other in pairwise(found):
        if one.version == other.version:
            faults = Faults(str(other.path))
            faults.add(None, "version", f"{one.path.name} has the number {one.version}, too")
            broken.faults.extend(faults.found)
    if broken.faults:
        raise broken
    return found


def read(path: Path) -> File:
    """The outline of one file: its head, and which operations there are. Definitions are read by `File.operations`."""
    source = yaml.read_text(path)
    faults = Faults(str(path))
    root = yaml.parse(source, faults)
    name = _FILE.fullmatch(path.name)
    if not name:
        faults.add(None, "", "a migration file is called NNN_name.yaml, such as 002_add_slug.yaml")
    if not root.is_map:
        faults.add(root, "", "must be a map with version, name and operations")
        faults.raise_any()
    faults.unknown_keys(root, "", KEYS)
    version = _version(root, int(name[1]) if name else None, faults)
    title = _text(root, "name", "", faults, required=True)
    description = _text(root, "description", "", faults)
    nodes = tuple(_outlines(root, faults))
    faults.raise_any()
    return File(path, version, name[2] if name else title, title, description, checksum(source), nodes)


def checksum(source: str) -> str:
    """SHA-256 of a file's text; the line ends that a checkout may change do not count."""
    return hashlib.sha256(source.replace("\r\n", "\n").encode()).hexdigest()


def file_name(version: int, name: str) -> str:
    """`002_add_slug.yaml`."""
    return f"{version:03d}_{name}.yaml"


def check_name(name: str) -> None:
    """Raise MigrationError for a name that a migration cannot have."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        hint = f"a-z, 0-9 and _ only, a letter first, at most {LONGEST_NAME}"
        raise MigrationError(f"`{name[:80]}` cannot name a migration", hint=hint)


def write(folder: Path, version: int, name: str, steps: Sequence[Operation], description: str | None = None) -> Path:
    """Write a migration file; the folder is made if it is missing. Raises MigrationError for a name that cannot be one."""
    check_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(version, name)
    lines = [f"version: {version}", f"name: {name}"]
    if description:
        lines.append(f"description: {text.scalar(description)}")
    lines.append("operations:")
    for step in steps:
        lines += _lines(step)
    with path.open("x", encoding="utf-8") as target:
        target.write("\n".join(lines) + "\n")
    return path


def _version(root: Node, number: int | None, faults: Faults) -> int:
    node = root.get("version")
    if node is None:
        faults.add(root, "version", "is missing", f"version: {number}" if number else None)
        return 0
    value = node.value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        faults.add(node, "version", "must be the number of the file, from 1")
        return 0
    if number is not None and number != value:
        faults.add(node, "version", f"is {value}, but the file's name says {number}")
    return value


def _outlines(root: Node, faults: Faults) -> list[Node]:
    node = root.get("operations")
    if node is None:
        faults.add(root, "operations", "is missing")
        return []
    if not node.is_list:
        faults.add(node, "operations", "must be a list of operations")
        return []
    found = []
    for number, item in enumerate(node.items):
        outlined = _outline(item, f"operations.{number}", faults)
        if outlined is not None:
            found.append(outlined)
    return found


def _outline(node: Node, path: str, faults: Faults) -> Node | None:
    """An operation with its `type` and keys checked. `- sql: {up: ...}` is short for `- {type: sql, up: ...}`."""
    if node.is_map and "type" not in node.children and len(node.children) == 1:
        (kind, body), *_ = node.entries()
        if kind in OPERATION_KEYS and body.is_map:
            kind_node = Node(kind, body.key_line, body.key_column)
            merged = {"type": kind_node, **body.children}
            node = Node({"type": kind, **body.value}, node.line, node.column, merged)
    if not node.is_map or "type" not in node.children:
        faults.add(node, path, "must be a map with `type`", "types: " + ", ".join(OPERATION_KEYS))
        return None
    kind = node.value["type"]
    if kind not in OPERATION_KEYS:
        hint = yaml.did_you_mean(str(kind), OPERATION_KEYS)
        faults.add(node["type"], f"{path}.type", f"unknown operation `{kind}`", hint)
        return None
    faults.unknown_keys(node, path, ("type", *OPERATION_KEYS[kind]))
    if kind != "sql":
        for key in OPERATION_KEYS[kind]:
            if key not in node.children and (kind, key) not in _OPTIONAL:
                faults.add(node, f"{path}.{key}", "is missing")
    else:
        _check_sql(node, path, faults)
    return node


def _check_sql(node: Node, path: str, faults: Faults) -> None:
    if not any(key in node.children for key in ("up", *ENGINES)):
        faults.add(node, f"{path}.up", "is missing")
    for key in ENGINES:
        variant = node.get(key)
        if variant is None:
            continue
        if not variant.is_map:
            faults.add(variant, f"{path}.{key}", "must be a map with `up` and `down`")
            continue
        faults.unknown_keys(variant, f"{path}.{key}", ("up", "down"))
        for part in variant.children:
            _text(variant, part, f"{path}.{key}", faults)
    for part in ("up", "down"):
        if (each := node.get(part)) is not None and each.is_map:
            faults.unknown_keys(each, f"{path}.{part}", ENGINES)
            for engine in each.children:
                _text(each, engine, f"{path}.{part}", faults)
        else:
            _text(node, part, path, faults)


def _text(node: Node, key: str, path: str, faults: Faults, *, required: bool = False) -> str:
    child = node.get(key)
    if child is None:
        if required:
            faults.add(node, yaml.join(path, key), "is missing")
        return ""
    if not isinstance(child.value, str) or not child.value.strip():
        faults.add(child, yaml.join(path, key), f"must be text, not {yaml.kind(child.value)}")
        return ""
    return child.value


def _operation(node: Node, path: str, state: Schema, faults: Faults) -> Operation | None:
    """The operation that an outlined node describes; None after faults. Raises OperationError if it does not fit the state."""
    kind = node.value["type"]
    if kind == "sql":
        return _sql(node)
    if kind == "rename_collection":
        return operations.RenameCollection(_text(node, "from", path, faults), _text(node, "to", path, faults))
    name = _text(node, "collection", path, faults)
    if kind in ("add_collection", "drop_collection"):
        return _collection(node, path, kind, name, state, faults)
    owner = operations.find(state, name)
    if kind == "rename_field":
        return operations.RenameField(name, _text(node, "from", path, faults), _text(node, "to", path, faults))
    if kind in ("add_index", "drop_index"):
        index = _index(node, path, kind, name, state, faults)
        return index and (operations.AddIndex(name, index) if kind == "add_index" else operations.DropIndex(name, index))
    field = _text(node, "field", path, faults)

    def define(key: str) -> Any:
        child = node.get(key)
        if child is not None:
            return definitions.field(child, f"{path}.{key}", name, field, state, faults)
        if field not in owner.fields:
            raise OperationError(f"there is no field `{name}.{field}`")
        return owner.fields[field]

    if kind == "add_field":
        made = define("definition")
        return made and operations.AddField(name, made)
    # What stands there decides how values are read, and what a rollback brings back; the file only repeats it.
    said = define("from" if kind == "modify_field" else "definition")
    stands = owner.fields.get(field, said)
    if kind == "drop_field":
        return said and operations.DropField(name, stands)
    new = define("to")
    if said and (said.type, said.is_list, said.scale) != (stands.type, stands.is_list, stands.scale):
        faults.add(node["from"], f"{path}.from", f"`{name}.{field}` is of type {stands.type} there")
    return operations.ModifyField(name, stands, new) if said and new else None


def _collection(node: Node, path: str, kind: str, name: str, state: Schema, faults: Faults) -> Operation | None:
    child = node.get("definition")
    if child is None:
        return operations.DropCollection(operations.find(state, name))
    made = definitions.collection(child, f"{path}.definition", name, state, faults)
    if made is None:
        return None
    return operations.AddCollection(made) if kind == "add_collection" else operations.DropCollection(made)


def _index(node: Node, path: str, kind: str, name: str, state: Schema, faults: Faults) -> Any:
    child, owner = node["index"], operations.find(state, name)
    if kind == "drop_index" and isinstance(child.value, str):
        found = next((index for index in owner.indexes if index.name == child.value), None)
        if found is None:
            raise OperationError(f"there is no index `{child.value}` on `{name}`")
        return found
    said = definitions.index(child, f"{path}.index", owner, faults)
    if kind == "drop_index" and said:
        return next((index for index in owner.indexes if index.name == said.name), said)
    return said


def _sql(node: Node) -> operations.Sql:
    found: dict[str, dict[str, str]] = {"up": {}, "down": {}}
    for part, texts in found.items():
        value = node.value.get(part)
        if isinstance(value, dict):
            texts |= value
        elif isinstance(value, str):
            texts |= dict.fromkeys(ENGINES, value)
        for engine in ENGINES:
            variant = node.value.get(engine)
            if isinstance(variant, dict) and part in variant:
                texts[engine] = variant[part]
    return operations.Sql(found["up"], found["down"])


def _lines(step: Operation) -> list[str]:
    """An operation as lines of a block list: definitions of fields on one line each."""
    document = operations.write(step)
    lines = [f"  - type: {document['type']}"]
    match step:
        case operations.AddCollection(collection=item) | operations.DropCollection(collection=item):
            lines += [f"    collection: {text.scalar(item.name)}", "    definition:"]
            definition = dump.collection(item)
            if "description" in definition:
                lines.append(f"      description: {text.scalar(definition['description'])}")
            lines.append("      fields:")
            lines += [f"        {text.scalar(name)}: {text.flow(body)}" for name, body in definition["fields"].items()]
            if "indexes" in definition:
                lines.append("      indexes:")
                lines += [f"        - {text.flow(index)}" for index in definition["indexes"]]
        case operations.AddField(collection=name, field=field) | operations.DropField(collection=name, field=field):
            lines += [f"    collection: {text.scalar(name)}", f"    field: {text.scalar(field.name)}"]
            lines.append(f"    definition: {text.flow(dump.field(field))}")
        case operations.ModifyField(collection=name, old=old, new=new):
            lines += [f"    collection: {text.scalar(name)}", f"    field: {text.scalar(new.name)}"]
            lines += [f"    from: {text.flow(dump.field(old))}", f"    to: {text.flow(dump.field(new))}"]
        case operations.AddIndex(index=index) | operations.DropIndex(index=index):
            lines += [f"    collection: {text.scalar(step.collection)}", f"    index: {text.flow(dump.index(index))}"]
        case operations.Sql(up=up, down=down):
            lines += [*_sql_lines("up", up), *_sql_lines("down", down)]
        case _:
            lines += [f"    {key}: {text.scalar(document[key])}" for key in ("collection", "from", "to") if key in document]
    return lines


def _sql_lines(part: str, texts: Any) -> list[str]:
    if not texts:
        return []
    if len(texts) == len(ENGINES) and len(set(texts.values())) == 1:
        return [f"    {part}: {text.block(next(iter(texts.values())), ' ' * 6)}"]
    return [f"    {part}:", *(f"      {engine}: {text.block(each, ' ' * 8)}" for engine, each in texts.items())]
