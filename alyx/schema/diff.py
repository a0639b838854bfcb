"""The differ: what leads from one schema to another, in an order that can be applied, each step judged and explained.

Pure. Called by migrations with what the history says and what schema.yaml says. It knows no data, so a level is what a change
may do at worst; the migrator looks at the stored rows and may find that a change is harmless here (or that a row is in the way).
Rules, descriptions, `internal`, `unchecked`, `onUpdate` and display names change nothing in the database and are no changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from alyx.schema import convert, model, operations
from alyx.schema.model import Collection, Field, Index, Schema, Type
from alyx.schema.operations import (
    AddCollection,
    AddField,
    AddIndex,
    DropCollection,
    DropField,
    DropIndex,
    ModifyField,
    Operation,
    RenameCollection,
    RenameField,
)

Level = Literal["safe", "needs_care", "destructive"]
LEVELS: tuple[Level, ...] = ("safe", "needs_care", "destructive")
"""From harmless to dangerous."""

_LIMITS = ("min_length", "max_length", "minimum", "maximum", "format", "pattern", "enum", "select_values", "max_select")
_COMPARED = (
    "type",
    "primary",
    "unique",
    "nullable",
    "index",
    "default",
    "reference",
    "richtext",
    "scale",
    "target_type",
    *_LIMITS,
)
"""The attributes of a field that a migration records."""


@dataclass(frozen=True)
class Change:
    """One step of a difference.

    step: the typed operation. level: what it may do at worst. reason: one sentence why. title: what it is, in a few words.
    by_data: the level stands for what rows there could be; looking at the rows may lower it. only_limits: all that it does is
    to tighten what values may be, so that it is safe where no stored value breaks the new limits.
    """

    step: Operation
    level: Level
    reason: str
    title: str
    by_data: bool = False
    only_limits: bool = False

    @property
    def operation(self) -> dict[str, Any]:
        """The operation as JSON, with what undoing needs."""
        return operations.write(self.step)


def diff(old: Schema | None, new: Schema) -> list[Change]:
    """The changes that lead from `old` (None: an empty database) to `new`; empty if there is nothing to migrate."""
    return [judge(step) for step in _steps(old or operations.EMPTY, new)]


def differs(old: Field, new: Field) -> bool:
    """Whether a migration has to record the change from one field to the other."""
    return any(_compared(old, name) != _compared(new, name) for name in _COMPARED)


def tightened(old: Field, new: Field) -> list[str]:
    """The settings of `new` that refuse values which `old` took, as they are called in schema.yaml."""
    found = [name for name, is_tighter in _tighter(old, new) if is_tighter]
    if old.is_list and new.is_list and new.max_select < old.max_select:
        found.append("maxSelect")
    return found


def judge(step: Operation) -> Change:
    """An operation with its level, reason and title."""
    match step:
        case AddCollection(collection=made):
            return Change(step, "safe", "nothing stands there yet", f"add collection {made.name}")
        case DropCollection(collection=gone):
            return Change(step, "destructive", "all its records go with it", f"drop collection {gone.name}")
        case RenameCollection(old=old, new=new):
            return Change(step, "safe", "its records and the references to it stay", f"rename collection {old} to {new}")
        case RenameField(collection=name, old=old, new=new):
            return Change(step, "safe", "its values stay", f"rename field {name}.{old} to {new}")
        case AddField(collection=name, field=added):
            return _judge_added(step, f"add field {name}.{added.name} ({added.type})", added)
        case DropField(collection=name, field=gone_field):
            return Change(step, "destructive", "its values go with it", f"drop field {name}.{gone_field.name}")
        case ModifyField(collection=name, old=before, new=after):
            return _judge_modified(step, f"change field {name}.{after.name}: {_summary(before, after)}")
        case AddIndex(index=index, collection=name) if index.unique:
            title = f"add unique index {index.name} on {name}({', '.join(index.fields)})"
            return Change(step, "needs_care", "rows that are alike in it would stand in the way", title, True)
        case AddIndex(index=index, collection=name):
            title = f"add index {index.name} on {name}({', '.join(index.fields)})"
            return Change(step, "safe", "only reading becomes faster", title)
        case DropIndex(index=index, collection=name):
            reason = "rows that are alike in it become possible" if index.unique else "only reading may become slower"
            return Change(step, "safe", reason, f"drop index {index.name} of {name}")
        case _:
            return Change(step, "needs_care", "SQL as written; what it does is not looked into", "run SQL")


def _steps(old: Schema, new: Schema) -> Iterator[Operation]:
    state = old
    collection_renames = _renames(old.collections, new.collections)
    for before, after in collection_renames:
        step: Operation = RenameCollection(before, after)
        yield step
        state = operations.evolve(state, step)
    for name, wanted in new.collections.items():
        if name not in state.collections:
            continue
        for before, after in _renames(state.collections[name].fields, wanted.fields):
            step = RenameField(name, before, after)
            yield step
            state = operations.evolve(state, step)
    kept = [name for name in new.collections if name in state.collections]
    for name in kept:
        yield from (DropIndex(name, index) for index in _missing(state.collections[name].indexes, new.collections[name].indexes))
    yield from (AddCollection(item) for item in _by_reference(new, [n for n in new.collections if n not in state.collections]))
    for name in kept:
        yield from _field_steps(state.collections[name], new.collections[name])
    gone = _by_reference(state, [name for name in state.collections if name not in new.collections])
    alone = Schema(state.version, {item.name: item for item in gone})
    yield from operations.untangled(alone, [DropCollection(item) for item in reversed(gone)])
    for name in kept:
        yield from (AddIndex(name, index) for index in _missing(new.collections[name].indexes, state.collections[name].indexes))


def _field_steps(old: Collection, new: Collection) -> list[Operation]:
    """Drops first, then what moves the primary key, in one go, because a table always has one; then the rest."""
    found: list[Operation] = [DropField(new.name, item) for name, item in old.fields.items() if name not in new.fields]
    for name, item in new.fields.items():
        if name not in old.fields:
            found.append(AddField(new.name, replace(item, renamed_from=None)))
        elif differs(old.fields[name], item):
            found.append(ModifyField(new.name, replace(old.fields[name], renamed_from=None), replace(item, renamed_from=None)))
    drops = [step for step in found if isinstance(step, DropField) and not moves_key(step)]
    keys = [step for step in found if moves_key(step)]
    return [*drops, *keys, *(step for step in found if step not in drops and step not in keys)]


def moves_key(step: Operation) -> bool:
    """Whether a step makes, drops or changes a primary key."""
    match step:
        case AddField(field=item) | DropField(field=item):
            return item.primary
        case ModifyField(old=old, new=new):
            return old.primary or new.primary
        case _:
            return False


def _renames(old: Mapping[str, Any], new: Mapping[str, Collection | Field]) -> list[tuple[str, str]]:
    """Pairs that `renamed_from` asks for and that are not done yet: the old name still stands, the new one does not."""
    found: dict[str, str] = {}
    for name, item in new.items():
        if item.renamed_from in old and item.renamed_from not in new and name not in old:
            found.setdefault(item.renamed_from or "", name)
    return list(found.items())


def _missing(of: Iterable[Index], beside: Iterable[Index]) -> list[Index]:
    """The indexes of one side that the other does not have in the same form."""
    others = {(index.name, index.fields, index.unique, index.order) for index in beside}
    return [index for index in of if (index.name, index.fields, index.unique, index.order) not in others]


def _by_reference(schema: Schema, names: list[str]) -> list[Collection]:
    """Collections, those that others refer to first; circles in the order given."""
    found: dict[str, Collection] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in found or name in above or name not in names:
            return
        for item in schema.collections[name].fields.values():
            if item.reference:
                visit(item.reference.collection, (*above, name))
        found[name] = schema.collections[name]

    for name in names:
        visit(name, ())
    return list(found.values())


def _compared(item: Field, name: str) -> Any:
    value = getattr(item, name)
    if name == "default" and (value is model.AUTO or value is model.NOW):
        return ("by", str(value))
    if name == "default":
        return (type(value), value)
    if name == "nullable":
        return value and not item.primary
    if name == "unique":
        return value and not item.primary
    if name == "max_length" and value is None:
        return model.DEFAULT_MAX_LENGTH.get(item.value_type)
    return value


def _tighter(old: Field, new: Field) -> Iterator[tuple[str, bool]]:
    longest = [_compared(item, "max_length") for item in (old, new)]
    # Values that had no length, numbers for example, are far shorter than any default.
    is_shorter = new.max_length is not None if longest[0] is None else longest[1] is not None and longest[1] < longest[0]
    yield "maxLength", is_shorter
    yield "minLength", (new.min_length or 0) > (old.min_length or 0)
    yield "min", new.minimum is not None and (old.minimum is None or _number(new.minimum) > _number(old.minimum))
    yield "max", new.maximum is not None and (old.maximum is None or _number(new.maximum) < _number(old.maximum))
    yield "format", new.format is not None and new.format != old.format
    yield "pattern", new.pattern is not None and new.pattern != old.pattern
    yield "enum", bool(new.enum) and (not old.enum or not set(old.enum) <= set(new.enum))
    yield "select.values", bool(new.select_values) and not set(old.select_values) <= set(new.select_values)


def _number(limit: float | str) -> Any:
    return convert.exact(limit)


def _judge_added(step: AddField, title: str, added: Field) -> Change:
    if added.primary:
        return Change(step, "needs_care", "it becomes the key of every record", title, True)
    if added.nullable and added.default is model.MISSING:
        return Change(step, "safe", "existing records have null in it", title)
    if added.unique:
        return Change(step, "needs_care", "existing records would all have the same value in a unique field", title, True)
    if added.reference and not added.nullable:
        return Change(step, "needs_care", "existing records need something to refer to", title, True)
    if added.required:
        return Change(step, "needs_care", "it is required and existing records have no value; give it a default", title, True)
    what = "the moment of the migration" if added.default is not model.MISSING and added.default is model.NOW else "the default"
    if added.default is model.MISSING:
        what = "the moment of the migration"
    return Change(step, "safe", f"existing records get {what}", title)


class _Aspect(NamedTuple):
    """One thing that the change of a field brings. by_data: looking at the rows may lower the level; limit: a tighter limit."""

    level: Level
    reason: str
    by_data: bool = True
    limit: bool = False


def _judge_modified(step: ModifyField, title: str) -> Change:
    """The gravest of what the change of a field brings, with the reasons of that level joined."""
    found = list(_aspects(step.old, step.new))
    if not found:
        return Change(step, "safe", "no stored value changes", title)
    worst = max((item.level for item in found), key=LEVELS.index)
    grave = [item for item in found if item.level == worst]
    reason = "; ".join(item.reason for item in grave)
    return Change(step, worst, reason, title, all(item.by_data for item in grave), all(item.limit for item in grave))


def _aspects(old: Field, new: Field) -> Iterator[_Aspect]:
    kind = convert.fate(old, new)
    if kind == "dropped":
        yield _Aspect("destructive", f"{_a(old)} has no counterpart as {_a(new)}: its values go")
    elif kind == "lossy":
        yield _Aspect("destructive", _LOSS.get((old.value_type, new.value_type), _loss(old, new)))
    elif kind == "checked":
        yield _Aspect("needs_care", f"{_unfit(old, new)} would stand in the way")
    elif kind == "widening":
        yield _Aspect("safe", f"every value of {_a(old)} can be kept as {_a(new)}")
    if old.primary != new.primary:
        yield _Aspect("needs_care", "the key of every record changes" if new.primary else "it is no longer the key")
    if old.nullable and not new.nullable:
        yield _Aspect(
            "needs_care", "existing nulls get the default" if not new.required else "existing nulls would stand in the way"
        )
    if new.unique and not old.unique and not old.primary:
        yield _Aspect("needs_care", "equal values would stand in the way")
    if new.reference and (not old.reference or target(old) != target(new)):
        yield _Aspect("needs_care", f"values that no record of {new.reference.collection} has would stand in the way")
    if limits := tightened(old, new):
        reason = f"stored values may break the new {' and '.join(limits)}; they stay until they are written again"
        yield _Aspect("needs_care", reason, limit=True)


def _unfit(old: Field, new: Field) -> str:
    if old.value_type is new.value_type:
        return "numbers with too many digits"
    if new.type is Type.SELECT and not new.is_list:
        return "values that are not among those of the select"
    return f"values that are not {_a(new)}"


def target(item: Field) -> tuple[str, str] | None:
    """Collection and field that a field refers to; None if it refers to nothing."""
    return (item.reference.collection, item.reference.field) if item.reference else None


_LOSS = {
    (Type.FLOAT, Type.INT): "fractions are rounded",
    (Type.DECIMAL, Type.INT): "decimals are rounded",
    (Type.DECIMAL, Type.DECIMAL): "decimals beyond the new scale are rounded",
    (Type.FLOAT, Type.DECIMAL): "digits beyond the scale are rounded",
    (Type.DECIMAL, Type.FLOAT): "long numbers lose digits",
    (Type.TIMESTAMP, Type.DATE): "the time of day goes",
    (Type.RICHTEXT, Type.RICHTEXT): "markup that is no longer allowed goes, its text stays",
}


def _loss(old: Field, new: Field) -> str:
    if old.is_list and not new.is_list:
        return "of several values only the first stays"
    return "markup that is not allowed goes, its text stays" if new.value_type is Type.RICHTEXT else "values may lose something"


def _a(item: Field) -> str:
    if item.is_list:
        return "a list"
    kind = "text" if item.value_type in (Type.STRING, Type.TEXT) else str(item.value_type)
    return kind if kind == "text" else f"an {kind}" if kind[0] in "aei" else f"a {kind}"


def _summary(old: Field, new: Field) -> str:
    """What changes, in the words of schema.yaml."""
    words = []
    for name in _COMPARED:
        before, after = getattr(old, name), getattr(new, name)
        if before == after or _compared(old, name) == _compared(new, name):
            continue
        label = _LABELS.get(name, name)
        if name == "reference" and old.reference and new.reference and target(old) == target(new):
            label = f"onDelete {old.reference.on_delete} to {new.reference.on_delete}"
        if name in ("primary", "unique", "nullable", "index"):
            words.append(label if after else f"no longer {label}")
        elif name in ("type", "scale", "max_length", "min_length", "minimum", "maximum", "max_select"):
            words.append(f"{label} {_shown(before)} to {_shown(after)}")
        else:
            words.append(label)
    return ", ".join(words)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


_LABELS = {
    "index": "indexed",
    "min_length": "minLength",
    "max_length": "maxLength",
    "minimum": "min",
    "maximum": "max",
    "max_select": "maxSelect",
    "select_values": "select values",
    "reference": "references",
    "target_type": "type of the target",
}
