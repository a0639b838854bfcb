"""request + rule -> one statement, the rule in its WHERE. Pure; compiled text is kept per shape of request and rules.

A shape is what the SQL text depends on: fields, operators, order, which values are null, and what the rules say of who asks.
Called by `reading` and `writing`; never runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from alyx.database import documents
from alyx.database.compile import Query, compile_query
from alyx.records import conditions, cursor
from alyx.records.access import Access
from alyx.records.query import TEXT_OPERATORS, Condition, Expansion, Filter, ListQuery, Operand, leaves
from alyx.rules.book import Rule, RuleBook
from alyx.schema.model import Collection, Field, Schema, Type

T = TypeVar("T")
_KEPT = 4_000
"""Compiled texts kept; beyond that all are dropped, which costs a compile each and bounds the memory."""
_LIGHT_ROWS = 100


@dataclass(frozen=True, slots=True)
class ListPlan:
    """The compiled statements of a list. Columns of a page: the document, the sort keys, then what leads to each expansion."""

    page: Query
    total: Query


@dataclass(frozen=True, slots=True)
class PreparedList:
    """A list as far as its text decides: order (what a cursor is bound to), which values of its cursor are null, the client's
    `where`, the read rules of the collections that it reaches through relations, its shape, and the values of its parameters."""

    collection: Collection
    asked: ListQuery
    order: str
    nulls: tuple[bool, ...] | None
    where: Rule | None
    through: tuple[Rule, ...]
    shape: Hashable
    values: dict[str, Any]


class Planner:
    """Builds and keeps the statements of one schema. Made anew whenever schema or rules change."""

    def __init__(self, schema: Schema, book: RuleBook, metadata: sa.MetaData) -> None:
        self.schema = schema
        self.book = book
        self.metadata = metadata
        self._kept: dict[Hashable, Any] = {}

    def once(self, shape: Hashable, build: Callable[[], T]) -> T:
        """What was built for this shape before, or is built now.

        Called from the loop and from the engine's threads: two that come at once build the same twice, and one of them is kept.
        """
        kept: T | None = self._kept.get(shape)
        if kept is None:
            kept = build()
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[shape] = kept
        return kept

    # --- lists ----------------------------------------------------------------------------------------------------------------

    def prepare_list(self, collection: Collection, asked: ListQuery) -> PreparedList:
        """What of a list depends on its text alone. Raises AlyxError INVALID_QUERY (cursor, where)."""
        order = cursor.order_of(collection.name, asked.sort)
        marks = cursor.decode(order, len(asked.sort), asked.cursor) if asked.cursor else ()
        nulls = tuple(mark is None for mark in marks) if asked.cursor else None
        where = self.book.where(collection.name, asked.where) if asked.where else None
        shape = (
            "list",
            collection.name,
            tuple(conditions.filter_shape(each) for each in asked.filters),
            asked.where,
            tuple((key.operand.text, key.descending) for key in asked.sort),
            tuple(field.name for field in asked.fields),
            tuple(each.name for each in asked.expand),
            asked.search is not None,
            nulls,
            asked.limit <= _LIGHT_ROWS,
        )
        values: dict[str, Any] = {"limit": asked.limit + 1, "offset": asked.offset}
        for position, each in enumerate(asked.filters):
            conditions.filter_values(each, f"f{position}", values)
        for position, mark in enumerate(marks):
            values[f"k{position}"] = mark
        if asked.search is not None:
            values["search"] = conditions.search_value(asked.search)
        reached = [each.operand.through for each in leaves(asked.filters)] + [key.operand.through for key in asked.sort]
        through = tuple(self.book.of(field.reference.collection).read for field in reached if field and field.reference)
        return PreparedList(collection, asked, order, nulls, where, through, shape, values)

    def plan_list(self, prepared: PreparedList, access: Access) -> tuple[ListPlan, dict[str, Any]]:
        """The plan of a list for one caller, and the values of its parameters."""
        read = self.book.of(prepared.collection.name).read
        where = prepared.where
        shape = (
            prepared.shape,
            access.shape(read),
            where.shape(access.auth) if where else None,
            tuple(access.shape(rule) for rule in prepared.through),
        )
        plan = self.once(shape, lambda: self._build_list(prepared, access))
        values = prepared.values | access.binds(read)
        for rule in prepared.through:
            values |= access.binds(rule)
        if where is not None:
            values |= where.binds(access.auth, access.request())
        return plan, values

    def _build_list(self, prepared: PreparedList, access: Access) -> ListPlan:
        collection, asked, where = prepared.collection, prepared.asked, prepared.where
        source = self.metadata.tables[collection.name]
        found = self._conditions(collection, asked.filters, source, access)
        if where is not None and (condition := where.where(access.auth, source)) is not None:
            found.append(condition)
        if asked.search is not None:
            found.append(conditions.search_condition(collection, source))
        light = where is None and asked.search is None and all(_light(each.operand, each) for each in leaves(asked.filters))
        total = sa.select(sa.func.count()).select_from(source).where(*found)
        keys = [conditions.operand_value(key.operand, source, self.metadata, self._readable(access)) for key in asked.sort]
        if prepared.nulls is not None:
            found.append(conditions.keyset(asked.sort, keys, prepared.nulls))
        shown = asked.fields or collection.public
        page = (
            sa.select(documents.document(source, shown), *keys, *_links(source, asked.expand))
            .where(*found)
            .order_by(*conditions.order_by(asked.sort, keys))
            .limit(sa.bindparam("limit"))
            .offset(sa.bindparam("offset"))
        )
        page_light = light and asked.limit <= _LIGHT_ROWS and all(_light(key.operand) for key in asked.sort)
        page_light = page_light and not any(field.value_type is Type.BLOB for field in shown)
        # A count without a condition is one opcode that no progress handler can stop, so it never runs on the loop.
        return ListPlan(compile_query(page, light=page_light), compile_query(total, light=light and bool(found)))

    def _conditions(
        self, collection: Collection, filters: tuple[Condition, ...], source: sa.FromClause, access: Access
    ) -> list[sa.ColumnElement[bool]]:
        readable = self._readable(access)
        found = [
            conditions.filter_condition(each, f"f{position}", source, self.metadata, readable)
            for position, each in enumerate(filters)
        ]
        if (rule := access.where(self.book.of(collection.name).read, source)) is not None:
            found.append(rule)
        return found

    def _readable(self, access: Access) -> conditions.Readable:
        return lambda name, source: access.where(self.book.of(name).read, source)

    # --- single records and expand --------------------------------------------------------------------------------------------

    def plan_get(self, collection: Collection, fields: tuple[Field, ...], expand: tuple[Expansion, ...], access: Access) -> Query:
        """One record by its key (parameter `key`), judged by the read rule. Columns: the document, what leads to expansions."""
        read = self.book.of(collection.name).read

        def build() -> Query:
            source = self.metadata.tables[collection.name]
            document = documents.document(source, fields or collection.public)
            select = sa.select(document, *_links(source, expand)).where(source.c[collection.key.name] == sa.bindparam("key"))
            return compile_query(_allowed(select, access.where(read, source)), light=True)

        names = (tuple([field.name for field in fields]), tuple([each.name for each in expand])) if fields or expand else None
        return self.once(("get", collection.name, names, access.shape(read)), build)

    def plan_expand(self, expansion: Expansion, access: Access) -> Query:
        """The readable records of a relation for many values at once (parameter `keys`, a JSON list; at most `limit`).

        Columns: the value that they are found by, the document, then what leads to the next level.
        """
        collection = self.schema.collections[expansion.collection]
        read = self.book.of(collection.name).read
        found_by = expansion.field.name if expansion.reverse else _referenced(expansion.field)

        def build() -> Query:
            source = self.metadata.tables[collection.name]
            by = source.c[found_by]
            each = sa.func.json_each(sa.bindparam("keys")).table_valued("value")
            select = (
                sa.select(by, documents.document(source, collection.public), *_links(source, expansion.nested))
                .where(by.in_(sa.select(each.c.value)))
                .limit(sa.bindparam("limit"))
            )
            if expansion.reverse:
                select = select.order_by(by, source.c[collection.key.name])
            return compile_query(_allowed(select, access.where(read, source)), light=True)

        below = tuple(each.name for each in expansion.nested)
        return self.once(("expand", collection.name, found_by, expansion.reverse, below, access.shape(read)), build)

    def plan_readable(self, collection: Collection, field: str, access: Access) -> Query:
        """Whether a record with this value of `field` (parameter `key`) exists for the caller: one row or none."""
        read = self.book.of(collection.name).read

        def build() -> Query:
            source = self.metadata.tables[collection.name]
            one: sa.Select[Any] = (
                sa.select(sa.literal_column("1")).select_from(source).where(source.c[field] == sa.bindparam("key"))
            )
            return compile_query(_allowed(one, access.where(read, source)).limit(sa.literal_column("1")), light=True)

        return self.once(("readable", collection.name, field, access.shape(read)), build)

    # --- writes ---------------------------------------------------------------------------------------------------------------

    def plan_stored(self, collection: Collection) -> Query:
        """The stored record (parameter `key`): its public document, and its internal fields as another."""

        def build() -> Query:
            source = self.metadata.tables[collection.name]
            internal = [field for field in collection.fields.values() if field.internal]
            hidden = documents.document(source, internal) if internal else sa.null()
            select = sa.select(documents.document(source, collection.public), hidden)
            return compile_query(select.where(source.c[collection.key.name] == sa.bindparam("key")))

        return self.once(("stored", collection.name), build)

    def plan_insert(self, collection: Collection, names: tuple[str, ...]) -> Query:
        """Insert a row of these columns (a parameter each); gives key and public document."""

        def build() -> Query:
            table = self.metadata.tables[collection.name]
            insert = sa.insert(table).values({name: sa.bindparam(f"v_{name}") for name in names})
            return compile_query(insert.returning(table.c[collection.key.name], documents.document(table, collection.public)))

        return self.once(("insert", collection.name, names), build)

    def plan_update(self, collection: Collection, names: tuple[str, ...]) -> Query:
        """Set these columns (a parameter each) of the record `key`; gives the public document."""

        def build() -> Query:
            table = self.metadata.tables[collection.name]
            update = (
                sa.update(table)
                .where(table.c[collection.key.name] == sa.bindparam("key"))
                .values({name: sa.bindparam(f"v_{name}") for name in names})
            )
            return compile_query(update.returning(documents.document(table, collection.public)))

        return self.once(("update", collection.name, names), build)

    def plan_delete(self, collection: Collection) -> Query:
        """Delete the record `key`."""

        def build() -> Query:
            table = self.metadata.tables[collection.name]
            return compile_query(sa.delete(table).where(table.c[collection.key.name] == sa.bindparam("key")))

        return self.once(("delete", collection.name), build)

    def plan_rule(self, rule: Rule, access: Access) -> Query:
        """A rule that looks elsewhere, judged on values: a row if it holds."""
        return self.once(
            ("rule", rule, access.shape(rule)), lambda: compile_query(rule.holds_for_values(access.auth), light=True)
        )


def _allowed(select: sa.Select[Any], rule: sa.ColumnElement[bool] | None) -> sa.Select[Any]:
    return select if rule is None else select.where(rule)


def _links(source: sa.FromClause, expand: tuple[Expansion, ...]) -> list[sa.ColumnElement[Any]]:
    """The columns whose values lead to the expansions: the relation itself, or what others refer to by."""
    return [source.c[_referenced(each.field) if each.reverse else each.field.name] for each in expand]


def _referenced(field: Field) -> str:
    if field.reference is None:
        raise ValueError(f"{field.name} is not a relation")
    return field.reference.field


def _light(subject: Operand, condition: Filter | None = None) -> bool:
    """Whether an operand keeps a statement cheap: a plain column, compared as a whole."""
    if subject.is_json or subject.through is not None:
        return False
    return condition is None or (condition.operator not in TEXT_OPERATORS and not subject.field.is_list)
