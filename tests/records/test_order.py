"""The place of a document in Python is its place in SQLite's ORDER BY."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alyx.records import order, query
from alyx.records.limits import Limits
from tests.records import things


def keys(text: str) -> tuple[query.SortKey, ...]:
    return query.parse_list(things.SCHEMA, things.THINGS, f"sort={text}", Limits()).sort


@pytest.fixture(scope="module")
def table() -> things.Things:
    return things.Things()


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(things.rows, min_size=6, max_size=12), asked=st.lists(things.sorts, min_size=2, max_size=4))
def test_documents_and_rows_stand_as_sqlite_orders_them(table: Any, rows: list[Any], asked: list[Any]) -> None:
    documents = {doc["id"]: doc for doc in table.fill(rows)}
    for wanted in asked:
        sort = keys(",".join(("-" if down else "") + name for name, down in wanted))
        position, place = order.position(sort), order.place(sort)
        assert position is not None
        ids, values = table.ordered(sort)
        places = [position(documents[each]) for each in ids]
        assert places == [place(row) for row in values]
        assert all(one < other and not other < one for one, other in pairwise(places)), (wanted, ids)


def test_an_order_through_a_relation_is_the_databases_alone() -> None:
    assert order.position(keys("own.i")) is None
