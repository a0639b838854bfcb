"""A `collections.c.exists(...)` of a rule, as live queries need it: whom a change of c, or of the record, may concern.

Made by `audience`; the statement is lowered by the same code as the rule itself (sql.py), so it means the same. Does not run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from alyx.rules import tree
from alyx.rules.book import Rule
from alyx.rules.given import needs_of
from alyx.rules.sql import Lowering
from alyx.rules.sql_forms import Sql, Unsupported, both
from alyx.rules.tree import Expr
from alyx.rules.uses import Lookup
from alyx.rules.values import is_text

_OF_EVERYBODY = frozenset({"auth", "request", "local"})
"""What a conjunct of the audience's statement must not read: it is asked once for all callers. Leaving it out can only widen."""


class Elsewhere:
    """Where a rule looks into collection `collection`: an `exists`, or one of the alternatives that || joins in it.

    by_auth: column of it -> indexed field of the caller, of the conjuncts `m.column == auth.field`. A change of a row concerns
        only callers whose value stands in such a column of the row before or after (looking at one of the columns is enough);
        {}: everybody.
    unsigned: whether it may besides concern callers for whom one of these fields is null. To them `m.column == auth.field` is
        an error for every row, which below a `!` is not as good as false. See `always`.
    columns: the columns of the collection that the condition reads; a change of others concerns nobody.
    doc_fields: the fields of `doc` that an audience depends on; with none it is the same for every record, and may be long.
    """

    def __init__(self, rule: Rule, lookup: Lookup, indexed: frozenset[str]) -> None:
        self.collection = lookup.node.collection
        self.by_auth: Mapping[str, str] = {column: field for column, field in lookup.by_auth.items() if field in indexed}
        self.unsigned = not lookup.positive
        self.columns = frozenset(name for item in lookup.term for name in _columns(item, lookup.node.variable))
        self._rule = rule
        self._lookup = lookup
        self._conditions = _conditions(lookup)
        self.doc_fields = frozenset(name for item in self._conditions for name in _columns(item, "doc"))

    def always(self, auth: Mapping[str, Any]) -> bool:
        """Whether every change of the collection may concern this caller, whatever values the row holds."""
        return not self.by_auth or (self.unsigned and not all(is_text(auth.get(name)) for name in self.by_auth.values()))

    def audience(self, column: str) -> sa.Select[Any] | None:
        """A SELECT of the distinct values of `column` in the rows that may decide about a record; None: everybody.

        A caller whose value is none of them gets from this `exists` what somebody unheard of gets. The record stands as the
        parameters `doc_<field>`, see `binds`. Conditions about the caller or the request are left out, and one that is an error
        counts as met, so it may name too many and never too few. column: a key of `by_auth`.
        """
        if column not in self.by_auth:
            return None
        lowering = self._rule.lowering()
        tables = [self._source(lowering, item.node) for item in (*(item for item, _ in self._lookup.outer), self._lookup)]
        value = tables[-1].c[column]
        try:
            met: Sql = both(value.is_not(None), *(lowering.lower(item, on_error=True) for item in self._conditions))
        except Unsupported:
            return None
        return sa.select(value).distinct().select_from(*tables).where(met)

    def binds(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        """Values for the parameters of `audience`, from a record in API form."""
        return self._rule.binds({}, {}) | self._rule.doc_binds(doc)

    def _source(self, lowering: Lowering, node: tree.Exists) -> sa.FromClause:
        table = self._rule.table(node.collection).alias()
        lowering.sources[node.variable] = lambda field: table.c[field.name]
        return table


def _conditions(lookup: Lookup) -> tuple[Expr, ...]:
    """What all rows of an audience must meet: the other conjuncts here, and those of the lookups around it."""
    found = list(lookup.rest)
    for outer, conjunct in lookup.outer:
        found += [item for item in outer.term if item is not conjunct]
    return tuple(item for item in found if not needs_of(item) & _OF_EVERYBODY)


def _columns(e: Expr, source: str) -> list[str]:
    return [node.field.name for node in tree.walk(e) if isinstance(node, tree.Column) and node.source == source]
