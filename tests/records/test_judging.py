"""Conditions in Python say what SQLite says of the same records."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alyx.records import filters, judging
from alyx.records.limits import Limits
from alyx.records.query import Condition
from alyx.records.wildcards import like
from tests.records import things

ROOMY = Limits(filter=100_000)


def conditions(value: dict[str, Any]) -> tuple[Condition, ...]:
    return filters.parse_filter_object(things.SCHEMA, things.THINGS, value, ROOMY)


@pytest.fixture(scope="module")
def table() -> things.Things:
    return things.Things()


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(things.rows, min_size=6, max_size=10), asked=st.lists(things.filters, min_size=3, max_size=5))
def test_a_filter_says_of_every_record_what_sqlite_says(table: Any, rows: list[Any], asked: list[Any]) -> None:
    documents = table.fill(rows)
    for value in asked:
        wanted = conditions(value)
        fits = judging.judge(wanted)
        assert {doc["id"] for doc in documents if fits(doc)} == table.found(wanted), value


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(things.rows, min_size=6, max_size=10), asked=st.lists(things.filters, min_size=3, max_size=5))
def test_what_fits_has_one_of_the_values_that_can_fit_and_only_the_named_columns_count(
    table: Any, rows: list[Any], asked: list[Any]
) -> None:
    documents = table.fill(rows)
    for value in asked:
        wanted = conditions(value)
        fits, only, read = judging.judge(wanted), judging.equalities(wanted), judging.columns(wanted)
        assert set(only) <= read
        for doc in documents:
            verdict = fits(doc)
            assert fits({name: doc[name] for name in read}) == verdict
            if verdict:
                assert all(doc[name] in values for name, values in only.items()), (value, doc, only)


@settings(max_examples=300, deadline=None)
@given(
    pattern=st.text("abAB%_\\éK\u212a\uffff", max_size=8)
    | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=6),
    text=st.text("abABéK\u212a\ufffd\n%_\\", max_size=10),
)
def test_like_is_sqlites_like(pattern: str, text: str) -> None:
    said = apsw.Connection(":memory:").execute("SELECT ? LIKE ? ESCAPE '\\'", (text, pattern)).fetchall()[0][0]
    assert like(pattern)(text) == bool(said)


def test_like_takes_time_that_follows_the_length_of_the_text() -> None:
    text = "a" * 200_000
    assert not like("%a" * 100 + "%b")(text)
    assert not like("%a_" * 60 + "b")(text)


@pytest.mark.parametrize(
    ("value", "only"),
    [
        ({"i": 1, "s": "a"}, {"i": {1}, "s": {"a"}}),
        ({"i": {"$in": [1, None]}}, {"i": {1, None}}),
        ({"i": None}, {"i": {None}}),
        ({"i": {"$in": [1, 2], "$eq": 2}}, {"i": {2}}),
        ({"$or": [{"i": 1, "s": "a"}, {"i": 2}]}, {"i": {1, 2}}),
        ({"$or": [{"i": 1}, {"s": "a"}]}, {}),
        ({"$not": {"i": 1}}, {}),
        ({"i": {"$ne": 1}, "m.k": 1, "d": "1.00", "l": {"$contains": "x"}}, {}),
        ({"b": True, "t": "2026-03-01T09:00:00+01:00"}, {"b": {True}, "t": {"2026-03-01T08:00:00.000000Z"}}),
    ],
)
def test_an_index_may_look_for_the_values_of_equalities_alone(value: dict[str, Any], only: dict[str, set[Any]]) -> None:
    assert judging.equalities(conditions(value)) == only


def test_a_number_beyond_64_bit_of_another_program_is_the_double_that_sqlite_makes_of_it() -> None:
    fits = judging.judge(conditions({"m.k": {"$gt": 9.3e18}}))
    assert fits({"m": {"k": 2**64}})
    assert not fits({"m": {"k": 2**63}})
