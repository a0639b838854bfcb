"""One field of schema.yaml: its keys, and whether they make sense together. What needs other fields is left to `references`.

Called by `load`. A field that cannot be read at all (no type) gives None, after its faults are noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast, get_args

from alyx.base.json import INT_MAX, INT_MIN
from alyx.schema import model, richtext, text
from alyx.schema.model import DEFAULT_MAX_LENGTH, Field, OnDelete, Reference, Type
from alyx.schema.section import Section
from alyx.schema.yaml import Node, did_you_mean, join, kind

KEYS = (
    "type",
    "primary",
    "unique",
    "nullable",
    "index",
    "default",
    "references",
    "onDelete",
    "onUpdate",
    "internal",
    "minLength",
    "maxLength",
    "validate",
    "richtext",
    "select",
    "relation",
    "scale",
    "unchecked",
    "description",
    "renamed_from",
)
"""Every key of a field."""
VALIDATE_KEYS = ("minLength", "maxLength", "min", "max", "format", "pattern", "enum")
RICHTEXT_KEYS = ("preset", "allow", "deny")
SELECT_KEYS = ("values", "maxSelect")
RELATION_KEYS = ("collection", "field", "onDelete", "displayName")
ON_DELETE = cast(tuple[OnDelete, ...], get_args(OnDelete))

_TEXTS = frozenset({Type.STRING, Type.TEXT, Type.RICHTEXT, Type.EMAIL, Type.URL})
_SIZED = _TEXTS | {Type.BLOB}
_NUMBERS = frozenset({Type.INT, Type.FLOAT, Type.DECIMAL})
ENUMERABLE = (_TEXTS - {Type.RICHTEXT}) | _NUMBERS | {Type.DATE, Type.TIMESTAMP, Type.UUID, Type.ID}
_NO_KEY = frozenset({Type.JSON, Type.BLOB, Type.RICHTEXT, Type.BOOL, Type.FLOAT, Type.DECIMAL})
_MAX_LENGTH = 2**31 - 1
_TYPES = tuple(str(item) for item in Type)
_SYNONYMS = {
    "integer": "int",
    "bigint": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "datetime": "timestamp",
    "varchar": "string",
    "enum": "select",
    "object": "json",
    "bytes": "blob",
    "numeric": "decimal",
    "html": "richtext",
}


def read(name: str, node: Node, path: str, section_of: Section) -> Field | None:
    """The field that a node describes, without its default and enum (see `settle`), or None. Faults go to the section's."""
    if not node.is_map:
        message = f"must be a map such as {{ type: string }}, not {kind(node.value)}"
        section_of.faults.add(node, path, message, at_key=node.value is None)
        return None
    section = Section(node, path, section_of.faults, KEYS)
    found = _type(section)
    if found is None:
        return None
    validate = section.section("validate", VALIDATE_KEYS)
    low, high = _range(section, validate, found)
    shortest, longest = _lengths(section, validate, found)
    values, max_select = _select(section, found)
    field = Field(
        name,
        found,
        primary=section.flag("primary"),
        unique=section.flag("unique"),
        nullable=section.flag("nullable"),
        index=section.flag("index"),
        reference=_reference(section, found),
        on_update_now=section.choice("onUpdate", ["now"]) is not None,
        internal=section.flag("internal"),
        min_length=shortest,
        max_length=longest,
        minimum=low,
        maximum=high,
        format=cast(Any, _format(validate, found)),
        pattern=_pattern(validate, found),
        select_values=values,
        max_select=max_select,
        richtext=_richtext(section, found),
        display_name=_display_name(section),
        scale=_scale(section, found),
        unchecked=section.flag("unchecked"),
        description=section.text("description"),
        renamed_from=section.text("renamed_from"),
        place=section.place,
    )
    _check(section, field)
    return field


def _type(section: Section) -> Type | None:
    if "type" not in section:
        section.fault("has no type", "types: " + ", ".join(_TYPES))
        return None
    value = section.node["type"].value
    if not isinstance(value, str) or value not in _TYPES:
        hint = f"did you mean `{_SYNONYMS[value]}`?" if isinstance(value, str) and value in _SYNONYMS else None
        hint = hint or (did_you_mean(value, _TYPES) if isinstance(value, str) else None)
        section.fault(f"`{value}` is not a type", hint or "types: " + ", ".join(_TYPES), key="type")
        return None
    if value == Type.FILE:
        section.fault("file fields need the file storage, which this version does not have", "store a url for now", key="type")
        return None
    return Type(value)


def _only_for(section: Section | None, key: str, types: Iterable[Type], found: Type) -> bool:
    """Whether a key is given and makes sense for the type; a fault if it is given and does not."""
    if section is None or key not in section:
        return False
    if found in types:
        return True
    words = [str(item) for item in Type if item in set(types)]
    section.fault(f"makes no sense for the type {found}", "it is for " + ", ".join(words), key=key, at_key=True)
    return False


def _lengths(section: Section, validate: Section | None, found: Type) -> tuple[int | None, int | None]:
    lengths: dict[str, int | None] = {"minLength": None, "maxLength": None}
    places: dict[str, Section] = {}
    for key in lengths:
        for each in (section, validate):
            if each is not None and _only_for(each, key, _SIZED, found):
                if key in places:
                    each.fault(f"{key} stands twice, here and on the field itself", key=key, at_key=True)
                    continue
                places[key] = each
                lengths[key] = each.whole(key, 0 if key == "minLength" else 1, _MAX_LENGTH)
    shortest, longest = lengths["minLength"], lengths["maxLength"]
    top = longest if longest is not None else DEFAULT_MAX_LENGTH.get(found)
    if shortest is not None and top is not None and shortest > top:
        hint = None if longest is not None else "set maxLength, too"
        places["minLength"].fault(f"minLength {shortest} is more than maxLength {top}", hint, key="minLength")
    return shortest, longest


def _range(section: Section, validate: Section | None, found: Type) -> tuple[Any, Any]:
    if validate is None:
        return None, None
    low, high = (_bound(section, validate, key, found) for key in ("min", "max"))
    if low is not None and high is not None and _measure(low) > _measure(high):
        validate.fault(f"min {low} is more than max {high}", key="min")
    return low, high


def _bound(section: Section, validate: Section, key: str, found: Type) -> int | float | str | None:
    if not _only_for(validate, key, _NUMBERS, found):
        return None
    value = validate.node[key].value
    if found is Type.INT and isinstance(value, int) and not isinstance(value, bool) and INT_MIN <= value <= INT_MAX:
        return value
    if found is Type.FLOAT and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if found is Type.DECIMAL and isinstance(value, int | float | str) and not isinstance(value, bool):
        scale = section.node.get("scale")
        try:
            return text.decimal(value, scale.value if scale and isinstance(scale.value, int) else 0)
        except ValueError as error:
            validate.fault(str(error), key=key)
            return None
    word = {Type.INT: "a whole number of 64 bit", Type.FLOAT: "a number", Type.DECIMAL: "a decimal"}[found]
    validate.fault(f"must be {word}, not {kind(value)}", key=key)
    return None


def _measure(bound: int | float | str) -> int | float:
    return text.unscaled(bound) if isinstance(bound, str) else bound


def _format(validate: Section | None, found: Type) -> str | None:
    if validate is None or not _only_for(validate, "format", (Type.STRING, Type.TEXT), found):
        return None
    return validate.choice("format", tuple(text.FORMS))


def _pattern(validate: Section | None, found: Type) -> str | None:
    if validate is None or not _only_for(validate, "pattern", _TEXTS, found):
        return None
    source = validate.text("pattern")
    if source is not None:
        try:
            text.pattern(source)
        except ValueError as error:
            hint = "patterns are RE2: no look-around, no back-references"
            validate.fault(f"is not a RE2 pattern: {error}", hint, key="pattern")
            return None
    return source


def _scale(section: Section, found: Type) -> int | None:
    if found is Type.DECIMAL and "scale" not in section:
        section.fault("a decimal needs `scale`, the number of its decimals (0 to 18)", "for example scale: 2")
    return section.whole("scale", 0, 18) if _only_for(section, "scale", (Type.DECIMAL,), found) else None


def _select(section: Section, found: Type) -> tuple[tuple[str, ...], int]:
    if found is not Type.SELECT:
        _only_for(section, "select", (Type.SELECT,), found)
        return (), 1
    options = section.section("select", SELECT_KEYS)
    if options is None:
        if "select" not in section:
            section.fault("a select needs its values", "select: { values: [draft, published] }")
        return ("",), 1
    values = tuple(value for value, _ in options.texts("values"))
    if not values and not options.node.get("values"):
        options.fault("a select needs its values", "values: [draft, published]")
    elif not values and options.node["values"].value == []:
        options.fault("must not be empty", key="values")
    return values or ("",), options.whole("maxSelect", 1, 10_000) or 1


def _richtext(section: Section, found: Type) -> frozenset[str] | None:
    if found is not Type.RICHTEXT:
        _only_for(section, "richtext", (Type.RICHTEXT,), found)
        return None
    options = section.section("richtext", RICHTEXT_KEYS)
    if options is None:
        return richtext.resolve(richtext.DEFAULT_PRESET, (), ())
    preset = options.choice("preset", tuple(richtext.PRESETS)) or richtext.DEFAULT_PRESET
    chosen: dict[str, list[str]] = {"allow": [], "deny": []}
    for key, names in chosen.items():
        for word, node in options.texts(key):
            if word in richtext.NAMES:
                names.append(word)
                continue
            path = join(join(options.path, key), len(names))
            section.faults.add(node, path, f"`{word}` is not a feature or tag", did_you_mean(word, richtext.NAMES))
    return richtext.resolve(preset, chosen["allow"], chosen["deny"])


def _reference(section: Section, found: Type) -> Reference | None:
    if found is Type.RELATION:
        return _relation(section)
    _only_for(section, "relation", (Type.RELATION,), found)
    on_delete = cast(OnDelete | None, section.choice("onDelete", ON_DELETE))
    if "references" not in section:
        for key in ("onDelete", "unchecked"):
            if key in section:
                section.fault("makes no sense without `references`", key=key, at_key=True)
        return None
    target = section.text("references")
    if target is None:
        return None
    collection, _, field = target.partition(".")
    if not collection or not field or "." in field:
        section.fault("must be `collection.field`, such as users.id", key="references")
        return None
    return Reference(collection, field, on_delete or "restrict")


def _relation(section: Section) -> Reference | None:
    if "references" in section:
        section.fault("a relation has `relation: { collection }` instead", key="references", at_key=True)
    options = section.section("relation", RELATION_KEYS)
    if options is None:
        if "relation" not in section:
            section.fault("a relation needs its target", "relation: { collection: users }")
        return None
    inner, outer = (cast(OnDelete | None, each.choice("onDelete", ON_DELETE)) for each in (options, section))
    if inner and outer:
        options.fault("onDelete stands twice, here and on the field itself", key="onDelete", at_key=True)
    collection = options.text("collection")
    if collection is None:
        if "collection" not in options:
            options.fault("a relation needs its target", "relation: { collection: users }")
        return None
    # An empty field name stands for the target's primary key until references are settled.
    return Reference(collection, options.text("field") or "", inner or outer or "restrict")


def _display_name(section: Section) -> str | None:
    node = section.node.get("relation")
    value = node.value.get("displayName") if node is not None and node.is_map else None
    if value is not None and (not isinstance(value, str) or not value):
        Section(cast(Node, node), join(section.path, "relation"), section.faults).fault(
            f"must be the name of a field, not {kind(value)}", key="displayName"
        )
        return None
    return value


def _check(section: Section, field: Field) -> None:
    """Keys that contradict each other."""
    if field.primary:
        _check_key(section, field)
    if field.nullable is False and field.reference and field.reference.on_delete == "set null":
        at = "onDelete" if "onDelete" in section else None
        section.fault("`set null` needs a nullable field", "add nullable: true, or choose restrict or cascade", key=at)
    if field.on_update_now and (field.type is not Type.TIMESTAMP or field.primary):
        section.fault("`onUpdate: now` is for timestamps that are not the key", key="onUpdate", at_key=True)
    for key in ("unique", "index"):
        if getattr(field, key) and (field.type is Type.JSON or field.is_list):
            section.fault(f"a {'list' if field.is_list else 'json'} field cannot have an index", key=key, at_key=True)
    if field.internal and field.primary:
        section.fault("the primary key cannot be internal", key="internal", at_key=True)
    elif field.internal and not field.nullable and not field.on_update_now and "default" not in section:
        hint = "clients cannot give it; add a default or nullable: true"
        section.fault("an internal field needs a default or must be nullable", hint, key="internal", at_key=True)


def _check_key(section: Section, field: Field) -> None:
    if field.type in _NO_KEY or field.is_list:
        section.fault(f"a {field.type} field cannot be the primary key", "use uuid, id, int or string", key="type")
    if field.nullable:
        section.fault("the primary key cannot be nullable", key="nullable", at_key=True)


def settle_default(section: Section, field: Field) -> Any:
    """The default as given, with `auto` and `now` marked; MISSING if there is none or it is a fault. Not yet validated."""
    if "default" not in section:
        return model.MISSING
    value = section.node["default"].value
    if value is None:
        if not field.nullable:
            section.fault("null is only a default of nullable fields", key="default")
        return None
    if value == "auto" and (field.primary or field.value_type in (Type.UUID, Type.ID)):
        return _auto(section, field)
    if field.primary:
        section.fault("the default of a primary key can only be `auto`", key="default")
        return model.MISSING
    if value == "now" and field.value_type in (Type.TIMESTAMP, Type.DATE):
        return model.NOW
    return value


def _auto(section: Section, field: Field) -> Any:
    if not field.primary:
        section.fault("`auto` is for primary keys", key="default")
    elif field.value_type not in (Type.UUID, Type.ID, Type.INT):
        section.fault(f"`auto` makes keys of the types uuid, id and int, not {field.value_type}", key="default")
    elif field.reference:
        section.fault("a key that refers to another record cannot be made by `auto`", key="default")
    else:
        return model.AUTO
    return model.MISSING
