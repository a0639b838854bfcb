"""A schema as plain JSON and back: what the migration history keeps of the state after each step.

Written and read by migrations alone, so the reader trusts its input. Rules, channels, buckets and functions are left out: they
change without a migration. The format is numbered, so that a later release can read what an older one wrote.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from alyx.schema import dump, model
from alyx.schema.model import Collection, Field, Index, Reference, Schema, Type

FORMAT = 1

_PLAIN = (
    "primary",
    "unique",
    "nullable",
    "index",
    "on_update_now",
    "internal",
    "min_length",
    "max_length",
    "minimum",
    "maximum",
    "format",
    "pattern",
    "max_select",
    "display_name",
    "scale",
    "unchecked",
    "description",
)
"""Attributes of a field that are JSON values as they stand; written only where they differ from the default."""

_BARE = Field("", Type.INT)


def write(schema: Schema) -> dict[str, Any]:
    """A schema as a JSON document."""
    return {
        "format": FORMAT,
        "version": schema.version,
        "collections": [write_collection(item) for item in schema.collections.values()],
    }


def read(document: dict[str, Any]) -> Schema:
    """The schema that `write` wrote."""
    collections = [read_collection(item) for item in document["collections"]]
    return Schema(document["version"], MappingProxyType({item.name: item for item in collections}))


def write_collection(collection: Collection) -> dict[str, Any]:
    """A collection without its rules as a JSON document."""
    document: dict[str, Any] = {
        "name": collection.name,
        "fields": [write_field(item) for item in collection.fields.values()],
        "indexes": [dump.index(item) for item in collection.indexes],
    }
    if collection.mode != "table":
        document["mode"] = collection.mode
    for key in ("auth", "strict"):
        if getattr(collection, key):
            document[key] = True
    return document


def read_collection(document: dict[str, Any]) -> Collection:
    """The collection that `write_collection` wrote."""
    fields = [read_field(item) for item in document["fields"]]
    return Collection(
        document["name"],
        MappingProxyType({item.name: item for item in fields}),
        tuple(read_index(item) for item in document["indexes"]),
        mode=document.get("mode", "table"),
        auth=document.get("auth", False),
        strict=document.get("strict", False),
    )


def write_field(field: Field) -> dict[str, Any]:
    """A field as a JSON document. `renamed_from` is left out: once the step stands in the history it means nothing."""
    document: dict[str, Any] = {"name": field.name, "type": str(field.type)}
    for key in _PLAIN:
        if (value := getattr(field, key)) != getattr(_BARE, key):
            document[key] = value
    if field.default is model.AUTO or field.default is model.NOW:
        document["default_by"] = str(field.default)
    elif field.default is not model.MISSING:
        document["default"] = field.default
    if field.reference:
        document["reference"] = [field.reference.collection, field.reference.field, field.reference.on_delete]
    if field.enum:
        document["enum"] = list(field.enum)
    if field.select_values:
        document["select_values"] = list(field.select_values)
    if field.richtext is not None:
        document["richtext"] = sorted(field.richtext)
    if field.target_type:
        document["target_type"] = str(field.target_type)
    return document


def read_field(document: dict[str, Any]) -> Field:
    """The field that `write_field` wrote."""
    marks = {"auto": model.AUTO, "now": model.NOW}
    default = marks[document["default_by"]] if "default_by" in document else document.get("default", model.MISSING)
    target = document.get("target_type")
    return Field(
        document["name"],
        Type(document["type"]),
        default=default,
        reference=Reference(*document["reference"]) if "reference" in document else None,
        enum=tuple(document.get("enum", ())),
        select_values=tuple(document.get("select_values", ())),
        richtext=frozenset(document["richtext"]) if "richtext" in document else None,
        target_type=Type(target) if target else None,
        **{key: document[key] for key in _PLAIN if key in document},
    )


def read_index(document: dict[str, Any]) -> Index:
    """The index that `dump.index` wrote."""
    return Index(document["name"], tuple(document["fields"]), document.get("unique", False), document.get("order", "asc"))
