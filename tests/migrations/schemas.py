"""Random schemas, random edits of them and random records, for the property tests of migrations."""

from __future__ import annotations

import base64
import string
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from alyx.database.migrations.text import flow
from alyx.schema import richtext
from alyx.schema.load import loads
from alyx.schema.model import Collection, Field, Schema, Type

Definition = dict[str, Any]

TEXT = st.text(alphabet=string.ascii_letters + string.digits + " <>&'\"é😀-_.:", max_size=8)
NUMBERS = st.integers(-20, 20) | st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 0, 1])
FLOATS = st.sampled_from([0.0, 1.0, -2.5, 1e300, 0.1, 3.0, 2.0**60]) | st.floats(-1e6, 1e6)
UUIDS = st.uuids(version=4).map(str)
TAGS = ["red", "green", "7", "true"]


def _decimal(scale: int) -> st.SearchStrategy[str]:
    def text(number: int) -> str:
        digits = f"{abs(number):0{scale + 1}d}"
        sign = "-" if number < 0 else ""
        return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)

    return st.integers(-(10**6), 10**6).map(text)


def values(item: Field) -> st.SearchStrategy[Any]:
    """Values that a field takes, in the API's form, never null."""
    plain = {
        Type.STRING: TEXT | NUMBERS.map(str) | st.sampled_from(["2026-03-01", "true", "1.50", "007", *TAGS]) | UUIDS,
        Type.TEXT: TEXT,
        Type.RICHTEXT: st.sampled_from(["", "plain", "<p>a <b>b</b></p>", "<p><u>under</u></p>", "&lt;x&gt;"]).map(
            richtext.cleaner(item.richtext or frozenset())
        ),
        Type.INT: NUMBERS,
        Type.FLOAT: FLOATS,
        Type.BOOL: st.booleans(),
        Type.TIMESTAMP: st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z"),
        Type.DATE: st.dates().map(str),
        Type.JSON: st.recursive(st.booleans() | NUMBERS | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
        Type.BLOB: st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode()),
        Type.EMAIL: st.sampled_from(["a@example.org", "b@example.org", "c.d@example.org"]),
        Type.URL: st.sampled_from(["https://example.org/", "http://example.org/a?b=c"]),
        Type.UUID: UUIDS,
        Type.ID: st.text(string.ascii_letters + string.digits, min_size=15, max_size=15),
    }
    if item.value_type is Type.DECIMAL:
        return _decimal(item.scale or 0)
    if item.is_list:
        return st.lists(st.sampled_from(item.select_values), unique=True, max_size=item.max_select)
    if item.type is Type.SELECT:
        return st.sampled_from(item.select_values)
    return plain[item.value_type]


DEFINITIONS: dict[str, list[Definition]] = {
    "string": [{"type": "string"}, {"type": "string", "maxLength": 4}, {"type": "string", "default": "7"}],
    "text": [{"type": "text"}, {"type": "text", "default": "it's"}],
    "richtext": [{"type": "richtext", "richtext": {"preset": name}} for name in ("minimal", "full")],
    "int": [{"type": "int"}, {"type": "int", "default": 3, "validate": {"min": 0}}],
    "float": [{"type": "float"}, {"type": "float", "default": 1.5}],
    "bool": [{"type": "bool"}, {"type": "bool", "default": True}],
    "timestamp": [{"type": "timestamp"}, {"type": "timestamp", "default": "2026-03-01T08:00:00Z"}],
    "date": [{"type": "date"}, {"type": "date", "default": "2026-03-01"}],
    "json": [{"type": "json"}, {"type": "json", "default": {"a": [1, None]}}],
    "blob": [{"type": "blob"}, {"type": "blob", "default": "AAE="}],
    "email": [{"type": "email"}],
    "url": [{"type": "url"}],
    "uuid": [{"type": "uuid"}],
    "id": [{"type": "id"}],
    "select": [
        {"type": "select", "select": {"values": TAGS}, "default": "red"},
        {"type": "select", "select": {"values": TAGS[:2]}},
        {"type": "select", "select": {"values": TAGS, "maxSelect": 3}},
    ],
    "decimal": [{"type": "decimal", "scale": scale} for scale in (0, 2, 3)] + [{"type": "decimal", "scale": 1, "default": "1.5"}],
}
KEYS: list[Definition] = [
    {"type": "uuid", "primary": True, "default": "auto"},
    {"type": "int", "primary": True, "default": "auto"},
    {"type": "id", "primary": True, "default": "auto"},
    {"type": "string", "primary": True},
]


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A field's definition of any type."""
    made = dict(draw(st.sampled_from(DEFINITIONS[draw(st.sampled_from(sorted(DEFINITIONS)))])))
    many = made.get("select", {}).get("maxSelect", 1) > 1
    if draw(st.booleans()):
        made["nullable"] = True
    if made["type"] not in ("json", "richtext", "blob") and not many and draw(st.integers(0, 4)) == 0:
        made[draw(st.sampled_from(["index", "unique"]))] = True
    return made


@dataclass
class Draft:
    """A schema as definitions, which edits change; names: new collection or field -> what it was called before the edits."""

    collections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def schema(self) -> Schema:
        """The schema, read from its own text."""
        return loads(flow({"version": 1, "collections": self.collections}))

    def copy(self) -> Draft:
        """A copy that edits may change, without renames of the past."""
        made: dict[str, dict[str, Any]] = {}
        for name, body in self.collections.items():
            fields = {key: {k: v for k, v in item.items() if k != "renamed_from"} for key, item in body["fields"].items()}
            made[name] = {"fields": fields, "indexes": [dict(index) for index in body.get("indexes", [])]}
        return Draft(made)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """One to three collections, the later ones perhaps referring to the first."""
    made = Draft()
    for number in range(draw(st.integers(1, 3))):
        fields: dict[str, Definition] = {"id": dict(draw(st.sampled_from(KEYS)))}
        for letter in "abcd"[: draw(st.integers(0, 4))]:
            fields[letter] = draw(definitions())
        if number and draw(st.booleans()):
            fields["owner"] = {"type": "relation", "relation": {"collection": "c0", "onDelete": "cascade"}, "nullable": True}
        body: dict[str, Any] = {"fields": fields, "indexes": []}
        indexable = [name for name, item in fields.items() if _indexable(item)]
        if draw(st.booleans()):
            chosen = draw(st.lists(st.sampled_from(indexable), min_size=1, max_size=2, unique=True))
            order = draw(st.sampled_from(["asc", "desc"]))
            body["indexes"].append({"name": f"own_{number}", "fields": chosen, "order": order})
        made.collections[f"c{number}"] = body
    return made


def _indexable(item: Definition) -> bool:
    return item["type"] not in ("json", "richtext", "blob") and item.get("select", {}).get("maxSelect", 1) == 1


@st.composite
def edits(draw: st.DrawFn, old: Draft, *, renames: bool = True) -> Draft:
    """Another form of a schema: fields and collections dropped, added, changed, renamed."""
    new = old.copy()
    for name in list(new.collections):
        body = new.collections[name]
        for key in [key for key in body["fields"] if key not in ("id", "owner")]:
            what = draw(st.sampled_from(["keep", "keep", "drop", "change", "change", "nullable", "rename"]))
            _edit_field(draw, body, key, what if renames or what != "rename" else "keep")
        if draw(st.integers(0, 2)) == 0:
            body["fields"]["extra"] = draw(definitions())
        if draw(st.integers(0, 5)) == 0:
            body["fields"]["id"] = dict(KEYS[1] if body["fields"]["id"]["type"] == "string" else KEYS[3])
        known = {key for key, item in body["fields"].items() if _indexable(item)}
        body["indexes"] = [index for index in body["indexes"] if set(index["fields"]) <= known]
    for name in [name for name in new.collections if name != "c0"]:
        if draw(st.integers(0, 4)) == 0:
            del new.collections[name]
    if renames and draw(st.integers(0, 3)) == 0:
        _rename_collection(new, "c0", "renamed")
    if draw(st.integers(0, 3)) == 0:
        new.collections["added"] = {"fields": {"id": dict(draw(st.sampled_from(KEYS)))}, "indexes": []}
    return new


def _edit_field(draw: st.DrawFn, body: dict[str, Any], key: str, what: str) -> None:
    fields = body["fields"]
    if what == "drop":
        del fields[key]
    elif what == "change":
        fields[key] = draw(definitions())
    elif what == "nullable":
        fields[key] = {**fields[key], "nullable": not fields[key].get("nullable", False)}
    elif what == "rename":
        fields[f"{key}2"] = {**fields.pop(key), "renamed_from": key}
        for index in body["indexes"]:
            index["fields"] = [f"{key}2" if name == key else name for name in index["fields"]]


def _rename_collection(new: Draft, old_name: str, new_name: str) -> None:
    new.collections = {new_name if name == old_name else name: body for name, body in new.collections.items()}
    new.collections[new_name]["renamed_from"] = old_name
    for body in new.collections.values():
        for item in body["fields"].values():
            if item.get("relation", {}).get("collection") == old_name:
                item["relation"] = {**item["relation"], "collection": new_name}


@st.composite
def records(draw: st.DrawFn, schema: Schema) -> dict[str, list[dict[str, Any]]]:
    """A few records for each collection in the API's form; unique fields differ, references point somewhere."""
    made: dict[str, list[dict[str, Any]]] = {}
    for collection in schema.collections.values():
        made[collection.name] = draw(_rows(collection, made))
    return made


@st.composite
def _rows(draw: st.DrawFn, collection: Collection, made: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    taken: dict[str, set[Any]] = {}
    for _ in range(draw(st.integers(0, 4))):
        row: dict[str, Any] = {}
        for item in collection.fields.values():
            value = draw(_value(item, made))
            if (item.unique or item.primary) and value is not None:
                if value in taken.setdefault(item.name, set()):
                    break
                taken[item.name].add(value)
            row[item.name] = value
        if len(row) == len(collection.fields):
            rows.append(row)
    return rows


@st.composite
def _value(draw: st.DrawFn, item: Field, made: dict[str, list[dict[str, Any]]]) -> Any:
    if item.reference:
        keys = [row[item.reference.field] for row in made[item.reference.collection]]
        return draw(st.sampled_from([None, *keys]))
    if item.nullable and draw(st.integers(0, 3)) == 0:
        return None
    return draw(values(item))
