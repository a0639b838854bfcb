"""One page of a list as rows instead of a body, for whoever must know what it holds: live queries (contract §5). Pure.

Called by `realtime`, inside the transaction of a snapshot or of a re-query; the statement is the very one of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alyx.database.work import Row, Work
from alyx.records.access import Access
from alyx.records.plan import Planner, PreparedList
from alyx.records.reading import expand_page
from alyx.schema import text
from alyx.schema.model import Field, Type


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a page, in order; the lists are as long as the page.

    keys: primary keys in the API's form. texts: the documents as JSON, with what `expand` adds. sorts: the values of the sort
    keys, in stored form (`order.place` compares them). links: the values that lead to each expansion. more: whether there is at
    least one row beyond the limit.
    """

    keys: list[Any]
    texts: list[str]
    sorts: list[Row]
    links: list[Row]
    more: bool


def select(planner: Planner, prepared: PreparedList, access: Access, expand_rows: int) -> Work[Selection]:
    """Read a page. expand_rows: records that it may bring by expand; beyond them AlyxError INVALID_QUERY.

    Light wherever the list is. Whether the caller may ask at all (`Access.require`) is the caller's to check.
    """
    asked = prepared.asked
    plan, values = planner.plan_list(prepared, access)
    rows = yield plan.page.bind(values)
    more = len(rows) > asked.limit
    if more:
        del rows[asked.limit :]
    behind = 1 + len(asked.sort)
    links = [row[behind:] for row in rows] if asked.expand else [()] * len(rows)
    texts = [row[0] for row in rows]
    if asked.expand and rows:
        texts = yield from expand_page(planner, asked.expand, texts, links, access, expand_rows)
    sorts = [row[1:behind] for row in rows]
    # The order of a list always ends with the primary key.
    api_form = _api_form(prepared.collection.key)
    keys = [row[-1] if api_form is None else api_form(row[-1]) for row in sorts]
    return Selection(keys, texts, sorts, links, more)


def _api_form(key: Field) -> Callable[[Any], Any] | None:
    """How a key's sort value becomes the API's form; None where they are the same, which is so for all but odd relations."""
    if key.value_type is Type.DECIMAL:
        return lambda value: text.scaled(value, key.scale or 0)
    return bool if key.value_type is Type.BOOL else None
