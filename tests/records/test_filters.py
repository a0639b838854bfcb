"""The filter language of subscriptions: what is taken, what is refused by name, and that every shape has one SQL text."""

from __future__ import annotations

from typing import Any

import pytest

from alyx.base.errors import AlyxError
from alyx.records import conditions, filters
from alyx.records.limits import Limits
from alyx.records.query import Condition, Filter, Group, leaves
from alyx.schema import load
from tests.records import things


def parse(value: Any, limits: Limits | None = None) -> tuple[Condition, ...]:
    return filters.parse_filter_object(things.SCHEMA, things.THINGS, value, limits or Limits())


def plain(condition: Condition) -> Any:
    """A condition as plain tuples."""
    if isinstance(condition, Group):
        return (condition.kind, *(plain(part) for part in condition.parts))
    return condition.operand.text, condition.operator, condition.value


TAKEN = [
    ({}, []),
    ({"i": 1}, [("i", "eq", 1)]),
    ({"i": {"$eq": 1}}, [("i", "eq", 1)]),
    ({"i": {"$gt": 1, "$lte": 5}, "s": "a"}, [("i", "gt", 1), ("i", "lte", 5), ("s", "eq", "a")]),
    ({"i": None}, [("i", "is_null", None)]),
    ({"i": {"$ne": None}}, [("i", "not_null", None)]),
    ({"i": {"$null": False}}, [("i", "not_null", None)]),
    ({"m": {"$null": True}}, [("m", "is_null", None)]),
    ({"f": 1}, [("f", "eq", 1.0)]),
    ({"d": 9.5}, [("d", "eq", "9.50")]),
    ({"d": {"$gt": "9.5"}}, [("d", "gt", "9.50")]),
    ({"u": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, [("u", "eq", "ffffffff-ffff-ffff-ffff-ffffffffffff")]),
    ({"t": {"$lt": "2026-03-01T09:00:00+01:00"}}, [("t", "lt", "2026-03-01T08:00:00.000000Z")]),
    ({"i": {"$in": [1, 2]}}, [("i", "in", [1, 2])]),
    ({"i": {"$in": [1, None]}}, [("or", ("i", "in", [1]), ("i", "is_null", None))]),
    ({"i": {"$in": [None]}}, [("i", "is_null", None)]),
    ({"i": {"$nin": [1]}}, [("not", ("i", "in", [1]))]),
    ({"l": {"$contains": "x"}}, [("l", "contains", "x")]),
    ({"m.k.n": 5}, [("m.k.n", "eq", "5")]),
    ({"m.k": {"$in": ["5", 1.5, True]}}, [("m.k", "in", ["5", "1.5", "true"])]),
    ({"$and": [{"i": 1}, {"$and": [{"f": 2}]}]}, [("i", "eq", 1), ("f", "eq", 2.0)]),
    ({"$or": [{"i": 1, "b": True}, {"s": ""}]}, [("or", ("and", ("i", "eq", 1), ("b", "eq", True)), ("s", "eq", ""))]),
    ({"$or": [{"i": 1}]}, [("i", "eq", 1)]),
    ({"$not": {"$not": {"i": 1}}}, [("i", "eq", 1)]),
    ({"$not": {"i": 1, "f": 2}}, [("not", ("and", ("i", "eq", 1), ("f", "eq", 2.0)))]),
]


@pytest.mark.parametrize(("value", "meant"), TAKEN, ids=[str(row[0]) for row in TAKEN])
def test_a_filter_means(value: Any, meant: list[Any]) -> None:
    assert [plain(each) for each in parse(value)] == meant


def nested(depth: int) -> dict[str, Any]:
    return {"$or": [nested(depth - 1), {"i": 1}]} if depth else {"i": 0}


REFUSED = [
    ([], "object"),
    ("i", "object"),
    ({"no": 1}, "'no'"),
    ({"$nor": []}, "'$nor'"),
    ({"i": {"$foo": 1}}, "i: unknown operator '$foo'"),
    ({"i": {}}, "i has no operator"),
    ({"i": "1"}, "i: $eq takes a whole number"),
    ({"i": 1.0}, "i: $eq takes a whole number"),
    ({"i": True}, "i: $eq takes a whole number"),
    ({"i": 2**63}, "i: $eq takes a whole number of 64 bit"),
    ({"i": [1]}, "i: $eq takes a whole number"),
    ({"i": {"$gt": None}}, "i: $gt takes a whole number"),
    ({"i": {"$in": 1}}, "i: $in takes a list"),
    ({"i": {"$in": [1, "2"]}}, "i: $in takes a whole number"),
    ({"i": {"$nin": [1] * 201}}, "i: $nin takes a list of at most 200"),
    ({"i": {"$like": "1%"}}, "$like does not apply to i"),
    ({"i": {"$null": 1}}, "i: $null takes true or false"),
    ({"f": "1"}, "f: $eq takes a number"),
    ({"b": 1}, "b: $eq takes true or false"),
    ({"d": "1.234"}, "d: $eq: must have at most 2 decimals"),
    ({"s": 1}, "s: $eq takes a text"),
    ({"s": "a\x00"}, "s: $eq: a text must not hold NUL"),
    ({"s": {"$contains": 1}}, "s: $contains takes a text"),
    ({"s": {"$contains": "é" * 129}}, "s: $contains: the text is longer than 256 bytes"),
    ({"u": "x"}, "u: $eq: must be a uuid"),
    ({"t": "2026-03-01"}, "t: $eq: must be a timestamp"),
    ({"t": "2026-03-01T08:00:00.1234567Z"}, "t: $eq: must have at most 6 decimals"),
    ({"c": "no"}, "'no' is not a value of c"),
    ({"l": "x"}, "$eq does not apply to l"),
    ({"l": {"$like": "x"}}, "$like does not apply to l"),
    ({"l": {"$contains": "no"}}, "'no' is not a value of l"),
    ({"m": 1}, "$eq does not apply to m as a whole"),
    ({"m": {"k": 1}}, "m: unknown operator 'k'"),
    ({"m.k": {"$eq": [1]}}, "m.k: $eq takes"),
    ({"m.a b": 1}, "'m.a b' is not a path"),
    ({"s.x": 1}, "'s.x'"),
    ({"raw": {"$gt": "AA=="}}, "$gt does not apply to raw"),
    ({"raw": "A"}, "raw: $eq: must be base64"),
    ({"own.i": 1}, "'own.i' goes through a relation"),
    ({"$and": []}, "$and takes a list"),
    ({"$or": {"i": 1}}, "$or takes a list"),
    ({"$or": [1]}, "$or takes a list"),
    ({"$not": [{"i": 1}]}, "$not takes an object"),
    ({"$or": [{"i": n} for n in range(51)]}, "more than 50 conditions"),
    ({"s": "a" * 2048}, "longer than 2048 bytes"),
    (nested(11), "nested deeper than 10"),
]


@pytest.mark.parametrize(("value", "names"), REFUSED, ids=[str(row[0])[:60] for row in REFUSED])
def test_a_refusal_names_what_it_is_about(value: Any, names: str) -> None:
    with pytest.raises(AlyxError) as refused:
        parse(value)
    assert refused.value.code == "INVALID_FILTER"
    assert names in refused.value.message


def test_limits_are_taken_up_to_the_last() -> None:
    assert len(list(leaves(parse({"$or": [{"i": n} for n in range(50)]})))) == 50
    assert parse(nested(10))
    assert parse({"i": {"$in": list(range(200))}})
    assert parse({"s": {"$contains": "é" * 128}})


def test_an_internal_field_is_unknown() -> None:
    schema = load.loads("""
version: 1
collections:
  users:
    fields: { id: { type: uuid, primary: true, default: auto }, secret: { type: string, internal: true, nullable: true } }
""")
    with pytest.raises(AlyxError, match="unknown field 'secret'"):
        filters.parse_filter_object(schema, schema.collections["users"], {"$not": {"secret": "x"}}, Limits())


def test_the_parts_of_a_group_have_parameters_of_their_own_and_only_values_differ_within_a_shape() -> None:
    def shape_and_values(value: Any) -> tuple[Any, dict[str, Any]]:
        values: dict[str, Any] = {}
        (only,) = parse(value)
        conditions.filter_values(only, "f0", values)
        return conditions.filter_shape(only), values

    one, values = shape_and_values({"$or": [{"i": 1}, {"$not": {"i": 2, "m.k": 3}}]})
    assert values == {"f0_0": 1, "f0_1_0_0": 2, "f0_1_0_1_s": '["3"]', "f0_1_0_1_n": "[3]", "f0_1_0_1_b": "[]"}
    assert shape_and_values({"$or": [{"i": 8}, {"$not": {"i": 9, "m.k": 7}}]})[0] == one
    assert shape_and_values({"$or": [{"i": 8}, {"i": 9, "m.k": 7}]})[0] != one
    assert hash(one)


def test_a_record_with_null_is_in_the_complement() -> None:
    table = things.Things()
    blank = {name: None for name in things.THINGS.fields if name != "id"} | {"i1": 0, "s1": ""}
    table.fill([blank, blank | {"i": 1, "m": {"k": 1}}])
    first, second = sorted(table.found(()))
    for positive in ({"i": 1}, {"i": {"$gt": 0}}, {"m.k": 1}, {"m.k": {"$gte": 1}}, {"i": {"$in": [1, 2]}}):
        assert table.found(parse(positive)) == {second}
        assert table.found(parse({"$not": positive})) == {first}
    assert table.found(parse({"i": {"$ne": 1}})) == table.found(parse({"i": {"$nin": [1]}})) == {first}
    assert table.found(parse({"$not": {}})) == set()
    assert isinstance(parse({"i": 1})[0], Filter)
