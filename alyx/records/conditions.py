"""Filters, order and cursors as SQL expressions (contract §3). Pure: builds SQLAlchemy elements, runs nothing.

Parameters are named `f0, f1, ...` for filters (`f0_0, f0_1, ...` for the parts of a group), `k0, k1, ...` for a cursor;
`filter_values` gives the values of the former, so that compiled text can be kept per shape and only values change from request to
request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import sqlalchemy as sa

from alyx.base import json
from alyx.database import tables
from alyx.records.query import COMPARISONS, TEXT_OPERATORS, Condition, Filter, Group, Operand, SortKey
from alyx.schema.model import SEARCHED, Collection, Field, Type

Element = sa.ColumnElement[Any]
Clause = sa.ColumnElement[bool]
Readable = Callable[[str, sa.FromClause], Clause | None]
"""Given a collection and a source of its rows: which of them the caller may read; None is all."""

_COMPLEMENT = {"ne": "eq", "is_null": "not_null"}


# --- operands -----------------------------------------------------------------------------------------------------------------


def operand_value(subject: Operand, source: sa.FromClause, metadata: sa.MetaData, readable: Readable) -> Element:
    """The operand as a value for ordering: a decimal exactly, a relation's field only where the caller may read the target."""
    if subject.through is None:
        return _plain(subject, source)
    target, key = _target(subject.through, metadata)
    wanted = sa.select(_plain(subject, target)).where(key == source.c[subject.through.name])
    if (rule := readable(_reference(subject.through).collection, target)) is not None:
        wanted = wanted.where(rule)
    return wanted.correlate(source).scalar_subquery()


def _plain(subject: Operand, source: sa.FromClause) -> Element:
    column = source.c[subject.field.name]
    if subject.path:
        return sa.func.json_extract(column, _json_path(subject.path))
    return tables.exact_order(column) if subject.field.value_type is Type.DECIMAL else column


def _json_path(path: tuple[str, ...]) -> Element:
    # Each key is [A-Za-z0-9_-] by the parser, so quoting it is enough and nothing has to be escaped.
    return sa.literal_column("'$" + "".join(f'."{key}"' for key in path) + "'")


def _reference(field: Field) -> Any:
    assert field.reference is not None
    return field.reference


def _target(field: Field, metadata: sa.MetaData) -> tuple[sa.FromClause, Element]:
    """The table that a relation points to, under a name of its own, and the column of it that the relation holds."""
    reference = _reference(field)
    target = metadata.tables[reference.collection].alias(f"of_{field.name}")
    return target, target.c[reference.field]


# --- filters ------------------------------------------------------------------------------------------------------------------


def filter_shape(condition: Condition) -> Hashable:
    """What the SQL of a condition depends on."""
    if isinstance(condition, Group):
        return condition.kind, tuple(filter_shape(part) for part in condition.parts)
    kinds = json_kinds(condition) if condition.operand.is_json else ()
    return condition.operand.text, condition.operator, kinds


def filter_condition(condition: Condition, name: str, source: sa.FromClause, metadata: sa.MetaData, readable: Readable) -> Clause:
    """A condition as SQL that is true or not true; name: of its parameter, or what those of its parts begin with.

    `ne`, `is_null` and `not` are the exact complements of `eq`, `not_null` and their part, null included. Through a relation the
    condition asks the target table once (`fk IN (SELECT ...)`), so that indexes of both sides serve.
    """
    if isinstance(condition, Group):
        return _group(condition, name, source, metadata, readable)
    if condition.operator in _COMPLEMENT and (condition.operand.through or condition.operand.is_json):
        positive = Filter(condition.operand, _COMPLEMENT[condition.operator], condition.value)
        return _complement(filter_condition(positive, name, source, metadata, readable))
    through = condition.operand.through
    if through is None:
        return _local(condition, name, source)
    target, key = _target(through, metadata)
    matching = sa.select(key).where(_local(condition, name, target))
    if (rule := readable(_reference(through).collection, target)) is not None:
        matching = matching.where(rule)
    return source.c[through.name].in_(matching)


def _group(group: Group, name: str, source: sa.FromClause, metadata: sa.MetaData, readable: Readable) -> Clause:
    parts = [
        filter_condition(part, f"{name}_{position}", source, metadata, readable) for position, part in enumerate(group.parts)
    ]
    if group.kind == "not":
        return _complement(parts[0])
    return sa.and_(sa.true(), *parts) if group.kind == "and" else sa.or_(sa.false(), *parts)


def _complement(clause: Clause) -> Clause:
    """True wherever the clause is not: a NOT would leave out the rows for which the clause is NULL."""
    return sa.func.coalesce(clause, sa.literal_column("0")) == sa.literal_column("0")


def _local(condition: Filter, name: str, source: sa.FromClause) -> Clause:
    if condition.operand.is_json:
        return _json_condition(condition, name, source)
    subject, operator = condition.operand, condition.operator
    column = _plain(subject, source)
    if subject.field.is_list and operator == "contains":
        each = sa.func.json_each(source.c[subject.field.name]).table_valued("value")
        return sa.exists(sa.select(sa.literal_column("1")).select_from(each).where(each.c.value == sa.bindparam(name)))
    if operator == "in":
        return column.in_(_listed(name))
    return _compare(column, operator, sa.bindparam(name))


def _compare(column: Element, operator: str, value: Element) -> Clause:
    match operator:
        case "eq":
            return column == value
        case "ne":
            return column.is_distinct_from(value)
        case "gt":
            return column > value
        case "gte":
            return column >= value
        case "lt":
            return column < value
        case "lte":
            return column <= value
        case "is_null":
            return column.is_(None)
        case "not_null":
            return column.is_not(None)
        case "like":
            return column.like(value, escape="\\")
        case "contains":
            return sa.func.instr(column, value) > sa.literal_column("0")
        case _:  # starts_with: the bound lets an index serve, the comparison of code points decides.
            return sa.and_(column >= value, sa.func.substr(column, sa.literal_column("1"), sa.func.length(value)) == value)


def json_kinds(condition: Filter) -> tuple[str, ...]:
    """As what the values' texts may be read: `s`tring, `n`umber or `b`ool, each once, as this is part of a shape."""
    if condition.operator not in COMPARISONS:
        return ()
    texts = condition.value if condition.operator == "in" else [condition.value]
    return tuple(sorted({_json_kind(text) for text in texts}))


def _json_kind(text: str) -> str:
    if text in ("true", "false"):
        return "b"
    return "s" if number(text) is None else "n"


def number(text: str) -> int | float | None:
    """The JSON number that a text is, if a column could hold it."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, float) or json.INT_MIN <= value <= json.INT_MAX else None


def _json_condition(condition: Filter, name: str, source: sa.FromClause) -> Clause:
    """A comparison below a json field, where the type of the stored value decides: `5` equals the number 5 and the string "5",
    is greater than numbers only; text operators see strings only; a missing key and null are null."""
    column = source.c[condition.operand.field.name]
    path = _json_path(condition.operand.path)
    kind = sa.func.json_type(column, path, type_=sa.TEXT())
    value: Element = sa.func.json_extract(column, path)
    if condition.operator == "not_null":
        return sa.func.coalesce(kind, sa.literal_column("'null'")) != sa.literal_column("'null'")
    text_only = kind == sa.literal_column("'text'")
    if condition.operator in TEXT_OPERATORS:
        return sa.and_(text_only, _compare(value, condition.operator, sa.bindparam(name)))
    if condition.operator in ("eq", "ne", "in"):
        return _json_one_of(condition, name, kind, value)
    kinds = ("'integer'", "'real'") if json_kinds(condition) == ("n",) else ("'text'",)
    return sa.and_(kind.in_([sa.literal_column(each) for each in kinds]), _compare(value, condition.operator, sa.bindparam(name)))


def _json_one_of(condition: Filter, name: str, kind: Element, value: Element) -> Clause:
    """Equal to one of the texts: as a string, and as the number or bool that a text looks like. Parameters are JSON lists."""
    found: list[Clause] = [sa.and_(kind == sa.literal_column("'text'"), value.in_(_listed(f"{name}_s")))]
    kinds = json_kinds(condition)
    if "n" in kinds:
        numeric = kind.in_([sa.literal_column("'integer'"), sa.literal_column("'real'")])
        found.append(sa.and_(numeric, value.in_(_listed(f"{name}_n"))))
    if "b" in kinds:
        found.append(kind.in_(_listed(f"{name}_b")))
    return sa.or_(*found)


def _listed(name: str) -> sa.Select[Any]:
    each = sa.func.json_each(sa.bindparam(name)).table_valued("value")
    return sa.select(each.c.value)


def filter_values(condition: Condition, name: str, into: dict[str, Any]) -> None:
    """Add the values of a condition's parameters, in stored form."""
    if isinstance(condition, Group):
        for position, part in enumerate(condition.parts):
            filter_values(part, f"{name}_{position}", into)
        return
    value, subject, operator = condition.value, condition.operand, condition.operator
    if value is None:
        return
    if not subject.is_json:
        if operator == "in":
            into[name] = json.dumps([comparable(subject.field, part) for part in value]).decode()
        elif operator in TEXT_OPERATORS:
            into[name] = value
        else:
            into[name] = comparable(subject.field, value)
        return
    if operator in TEXT_OPERATORS:
        into[name] = value
        return
    if operator not in ("eq", "ne", "in"):
        into[name] = found if (found := number(value)) is not None else value
        return
    texts = value if operator == "in" else [value]
    into[f"{name}_s"] = json.dumps(texts).decode()
    into[f"{name}_n"] = json.dumps([found for text in texts if (found := number(text)) is not None]).decode()
    into[f"{name}_b"] = json.dumps([text for text in texts if text in ("true", "false")]).decode()


def comparable(field: Field, value: Any) -> Any:
    """A value in the API's form as SQL compares it: a decimal as its scaled integer, all others in stored form."""
    if field.value_type is Type.DECIMAL:
        return int(str(value).replace(".", ""))
    return tables.stored(field, value)


def search_condition(collection: Collection, source: sa.FromClause) -> Clause:
    """Case-insensitive (ASCII) substring over all text fields that answers show; the pattern is the parameter `search`."""
    columns = [source.c[field.name] for field in collection.public if field.type in SEARCHED]
    pattern: Element = sa.bindparam("search")
    return sa.or_(*(column.like(pattern, escape="\\") for column in columns)) if columns else sa.false()


def search_value(text: str) -> str:
    """A search text as a LIKE pattern."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


# --- order and cursor ---------------------------------------------------------------------------------------------------------


def order_by(keys: tuple[SortKey, ...], values: list[Element]) -> list[Element]:
    """Nulls first ascending and last descending, which is what SQLite does by itself (contract §1)."""
    return [value.desc() if key.descending else value.asc() for key, value in zip(keys, values, strict=True)]


def keyset(keys: tuple[SortKey, ...], values: list[Element], nulls: tuple[bool, ...]) -> Clause:
    """The rows after a cursor whose i-th value is null as `nulls` says.

    A row comparison where all keys go one way and none can be null; else the OR form with a bound on the first key, without which
    it would read from the start (hard-parts §6.5).
    """
    marks: list[Element] = [sa.bindparam(f"k{i}") for i in range(len(keys))]
    plain = all(not _nullable(key.operand) for key in keys)
    if plain and len({key.descending for key in keys}) == 1:
        row, mark = sa.tuple_(*values), sa.tuple_(*marks)
        return row < mark if keys[0].descending else row > mark
    branches: list[Clause] = []
    for i in range(len(keys)):
        ties: list[Clause] = [values[j].is_not_distinct_from(marks[j]) for j in range(i)]
        beyond = _beyond(keys[i], values[i], marks[i], is_null=nulls[i])
        if beyond is not None:
            branches.append(sa.and_(*ties, beyond))
    bound = _bound(keys[0], values[0], marks[0], is_null=nulls[0])
    after = sa.or_(sa.false(), *branches)
    return after if bound is None else sa.and_(bound, after)


def _nullable(subject: Operand) -> bool:
    return subject.is_json or subject.through is not None or subject.field.nullable


def _beyond(key: SortKey, value: Element, mark: Element, *, is_null: bool) -> Clause | None:
    if not key.descending:
        return value.is_not(None) if is_null else value > mark
    if is_null:
        return None
    return sa.or_(value < mark, value.is_(None)) if _nullable(key.operand) else value < mark


def _bound(key: SortKey, value: Element, mark: Element, *, is_null: bool) -> Clause | None:
    if not key.descending:
        return None if is_null else value >= mark
    if is_null:
        return value.is_(None)
    return sa.or_(value <= mark, value.is_(None)) if _nullable(key.operand) else value <= mark
