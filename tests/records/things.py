"""Random records of every type, random filters and orders over them, and SQLite's own word on both; no server around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from alyx.database import documents, tables
from alyx.database.compile import compile_query
from alyx.database.sqlite import functions
from alyx.records import conditions
from alyx.records.query import Condition, SortKey
from alyx.records.row import Writable
from alyx.schema import load

SCHEMA = load.loads("""
version: 1
collections:
  things:
    fields:
      id: { type: int, primary: true, default: auto }
      i: { type: int, nullable: true }
      i1: { type: int, default: 0 }
      f: { type: float, nullable: true }
      b: { type: bool, nullable: true }
      d: { type: decimal, scale: 2, nullable: true }
      d0: { type: decimal, scale: 0, nullable: true }
      s: { type: string, nullable: true }
      s1: { type: text, default: "" }
      u: { type: uuid, nullable: true }
      t: { type: timestamp, nullable: true }
      day: { type: date, nullable: true }
      c: { type: select, select: { values: [x, "Y", "z'"] }, nullable: true }
      l: { type: select, select: { values: [x, "Y", "é"], maxSelect: 3 }, nullable: true }
      m: { type: json, nullable: true }
      raw: { type: blob, nullable: true }
      own: { type: relation, relation: { collection: things }, nullable: true }
""")
THINGS = SCHEMA.collections["things"]
READABLE = lambda name, source: None  # noqa: E731 - everybody may read everything here

BIG = 2**63
INTEGERS = [0, 1, -1, 2, 5, 2**53, 2**53 + 1, BIG - 1, -BIG]
FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 0.30000000000000004, 5.0, 1e16, 1e300, 5e-324, float(2**53), 9.223372036854775807e18]
TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "aB",
    "b%",
    "b_",
    "\\",
    "a\\b",
    "5",
    "5.0",
    "true",
    "é",
    "É",
    "e\u0301",
    "K",
    "k",
    "\u212a",
    "ｆ",
    "😀",
]
TEXTS += ["\ufffd", "\ufffe", "\uffff", "a\nb", " a", "a.b", "(a", "aaaaab", "'", '"', "null", "ÄPFEL", "1e0", "\x01"]
MOMENTS = [
    "0001-01-01T00:00:00.000000Z",
    "2026-03-01T08:00:00.123456Z",
    "2026-03-01T08:00:00.123457Z",
    "9999-12-31T23:59:59.999999Z",
]
DAYS = ["0001-01-01", "2026-03-01", "9999-12-31"]
UUIDS = ["0192d3a4-1111-7222-8333-444455556666", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
DECIMALS = ["0.00", "0.01", "-0.01", "9.50", "10.50", "92233720368547758.07", "-92233720368547758.08"]
WHOLE = ["0", "9", "10", "-1", "9223372036854775807"]
BLOBS = ["", "AA==", "/w=="]
PATHS = ["m.k", "m.k.n", "m.o", "m.k-1"]

_texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=6)
_texts |= st.text("abAB%_\\é", max_size=8)
_integers = st.sampled_from(INTEGERS) | st.integers(-BIG, BIG - 1)
_floats = st.sampled_from(FLOATS) | st.floats(allow_nan=False, allow_infinity=False)
_scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | _integers | _floats | _texts
_values = _scalars | st.lists(_scalars, max_size=2) | st.dictionaries(st.sampled_from(["n", "0", "k-1"]), _scalars, max_size=2)
_json = st.dictionaries(st.sampled_from(["k", "o", "k-1", "other"]), _values, max_size=4) | _values

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": _integers,
    "i1": _integers,
    "f": _floats,
    "b": st.booleans(),
    "d": st.sampled_from(DECIMALS),
    "d0": st.sampled_from(WHOLE),
    "s": _texts,
    "s1": _texts,
    "u": st.sampled_from(UUIDS),
    "t": st.sampled_from(MOMENTS),
    "day": st.sampled_from(DAYS),
    "c": st.sampled_from(["x", "Y", "z'"]),
    "raw": st.sampled_from(BLOBS),
    "own": st.integers(1, 5),
}
"""Values of the fields that are compared as a whole."""
_lists = st.lists(st.sampled_from(["x", "Y", "é"]), unique=True, max_size=3)
_NOT_NULL = ("i1", "s1")

rows = st.fixed_dictionaries(
    {
        **{name: values if name in _NOT_NULL else st.none() | values for name, values in VALUES.items()},
        "l": st.none() | _lists,
        "m": st.none() | _json,
        "own": st.none(),
    }
)

_needles = _texts.filter(lambda text: len(text.encode()) <= 256)
_ORDERED = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]


@st.composite
def _field_filters(draw: st.DrawFn) -> dict[str, Any]:
    """One field with one or two operators."""
    name = draw(st.sampled_from([*VALUES, "l", "m", *PATHS, *PATHS]))
    if draw(st.integers(0, 7)) == 0:
        return {name: draw(st.sampled_from([None, {"$null": True}, {"$null": False}, {"$eq": None}, {"$ne": None}]))}
    if name == "m":
        return {name: {"$null": draw(st.booleans())}}
    if name == "l":
        return {name: {"$contains": draw(st.sampled_from(["x", "Y", "é"]))}}
    values = VALUES.get(name, st.booleans() | _integers | _floats | _texts)
    kinds = [st.tuples(st.sampled_from(_ORDERED if name != "raw" else ["$eq", "$ne"]), values)]
    if name != "raw":
        kinds.append(st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(st.none() | values, max_size=4)))
    if name in ("s", "s1", "u", "c", *PATHS):
        kinds.append(st.tuples(st.sampled_from(["$like", "$contains", "$starts_with"]), _needles))
    found = draw(st.lists(st.one_of(kinds), min_size=1, max_size=2))
    if len(found) == 1 and found[0][0] == "$eq" and draw(st.booleans()):
        return {name: found[0][1]}
    return {name: dict(found)}


filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _field_filters(),
    lambda below: st.one_of(
        st.builds(lambda part: {"$not": part}, below),
        st.builds(lambda kind, parts: {kind: parts}, st.sampled_from(["$and", "$or"]), st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda one, other: one | other, below, below),
    ),
    max_leaves=6,
)

SORTED = [*(name for name in VALUES if name != "raw"), "l", *PATHS]
sorts = st.lists(st.tuples(st.sampled_from(SORTED), st.booleans()), max_size=4, unique_by=lambda key: key[0])


class Things:
    """A table of things in memory."""

    def __init__(self) -> None:
        self.metadata = tables.build(SCHEMA)
        self.table = self.metadata.tables["things"]
        self._writable = Writable(THINGS)
        self._connection = apsw.Connection(":memory:")
        functions.register(self._connection)
        self._connection.execute(str(sa.schema.CreateTable(self.table).compile(dialect=sqlite.dialect())))
        names = [name for name in THINGS.fields if name != "id"]
        self._insert = compile_query(sa.insert(self.table).values({name: sa.bindparam(f"v_{name}") for name in names}))
        self._all = compile_query(sa.select(documents.document(self.table, THINGS.public)).order_by(self.table.c.id))

    def fill(self, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Only these rows; as documents, in the order of their ids."""
        self._connection.execute("DELETE FROM things")
        for row in given:
            statement = self._insert.bind(self._writable.parameters(row))
            self._connection.execute(statement.sql, statement.params)
        return [json.loads(text) for (text,) in self._connection.execute(self._all.sql)]

    def found(self, wanted: Sequence[Condition]) -> set[int]:
        """The ids that SQLite finds."""
        clauses, values = [], {}
        for position, each in enumerate(wanted):
            clauses.append(conditions.filter_condition(each, f"f{position}", self.table, self.metadata, READABLE))
            conditions.filter_values(each, f"f{position}", values)
        statement = compile_query(sa.select(self.table.c.id).where(*clauses)).bind(values)
        return {row[0] for row in self._connection.execute(statement.sql, statement.params)}

    def ordered(self, keys: Sequence[SortKey]) -> tuple[list[int], list[tuple[Any, ...]]]:
        """The ids in SQLite's order, and the sort values of each."""
        values = [conditions.operand_value(key.operand, self.table, self.metadata, READABLE) for key in keys]
        select = sa.select(self.table.c.id, *values).order_by(*conditions.order_by(tuple(keys), values))
        statement = compile_query(select).bind({})
        found = list(self._connection.execute(statement.sql, statement.params))
        return [row[0] for row in found], [row[1:] for row in found]
