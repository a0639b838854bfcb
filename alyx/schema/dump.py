"""Fields, indexes and collections written the way schema.yaml has them: the definitions in migration files.

Pure. What `load` reads back equals what was written, but for rules, which no migration file holds.
"""

from __future__ import annotations

from typing import Any

from alyx.schema import model, richtext
from alyx.schema.model import Collection, Field, Index, Type

_FLAGS = (("primary", "primary"), ("unique", "unique"), ("nullable", "nullable"), ("index", "index"), ("internal", "internal"))
_LIMITS = (("minimum", "min"), ("maximum", "max"), ("format", "format"), ("pattern", "pattern"))


def collection(item: Collection) -> dict[str, Any]:
    """A collection's definition, without its name and rules."""
    document: dict[str, Any] = {}
    if item.description is not None:
        document["description"] = item.description
    document["fields"] = {name: field(each) for name, each in item.fields.items()}
    if item.indexes:
        document["indexes"] = [index(each) for each in item.indexes]
    return document


def index(item: Index) -> dict[str, Any]:
    """An index's definition."""
    document: dict[str, Any] = {"name": item.name, "fields": list(item.fields)}
    if item.unique:
        document["unique"] = True
    if item.order != "asc":
        document["order"] = item.order
    return document


def field(item: Field) -> dict[str, Any]:
    """A field's definition, without its name and `renamed_from`."""
    document: dict[str, Any] = {"type": str(item.type)}
    document |= {key: True for name, key in _FLAGS if getattr(item, name)}
    if item.default is not model.MISSING:
        document["default"] = str(item.default) if _is_mark(item.default) else item.default
    if item.scale is not None:
        document["scale"] = item.scale
    document |= _reference(item)
    if item.on_update_now:
        document["onUpdate"] = "now"
    for name, key in (("min_length", "minLength"), ("max_length", "maxLength")):
        if getattr(item, name) is not None:
            document[key] = getattr(item, name)
    if validate := _validate(item):
        document["validate"] = validate
    if item.select_values:
        document["select"] = {"values": list(item.select_values)}
        if item.max_select != 1:
            document["select"]["maxSelect"] = item.max_select
    if item.richtext is not None:
        document["richtext"] = _richtext(item.richtext)
    if item.unchecked:
        document["unchecked"] = True
    if item.description is not None:
        document["description"] = item.description
    return document


def _is_mark(value: Any) -> bool:
    return value is model.AUTO or value is model.NOW


def _reference(item: Field) -> dict[str, Any]:
    found = item.reference
    if not found:
        return {}
    if item.type is Type.RELATION:
        relation: dict[str, Any] = {"collection": found.collection, "field": found.field}
        if found.on_delete != "restrict":
            relation["onDelete"] = found.on_delete
        if item.display_name is not None:
            relation["displayName"] = item.display_name
        return {"relation": relation}
    document = {"references": f"{found.collection}.{found.field}"}
    return document | ({"onDelete": found.on_delete} if found.on_delete != "restrict" else {})


def _validate(item: Field) -> dict[str, Any]:
    document = {key: getattr(item, name) for name, key in _LIMITS if getattr(item, name) is not None}
    return document | ({"enum": list(item.enum)} if item.enum else {})


def _richtext(tags: frozenset[str]) -> dict[str, Any]:
    """A preset with what differs from it; tags one by one, because a set of tags no longer says which features it came from."""
    for preset in richtext.PRESETS:
        if richtext.resolve(preset, (), ()) == tags:
            return {"preset": preset}
    base = richtext.resolve("minimal", (), ())
    document: dict[str, Any] = {"preset": "minimal"}
    if allow := sorted(tags - base):
        document["allow"] = allow
    if deny := sorted(base - tags):
        document["deny"] = deny
    return document
