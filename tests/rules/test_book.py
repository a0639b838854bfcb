"""A rule's two answers, its shape, and what it says about itself."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from alyx.database import tables
from alyx.database.compile import compile_query
from alyx.rules.book import Rule, RuleBook, RuleFault
from alyx.schema.model import Type
from tests.rules.conftest import collection, load, read_rule, schema
from tests.rules.differential import database, run
from tests.rules.random_rules import SCHEMA

OWNED = collection(
    "posts",
    {
        "read": "doc.status == 'published' || auth.id == doc.owner",
        "update": "auth.id == doc.owner",
        "create": "collections.members.exists(m, m.team == doc.team && m.user == auth.id)",
        "delete": "true",
    },
    status=Type.STRING,
    owner={"type": Type.STRING, "nullable": True},
    team=Type.STRING,
)
MEMBERS = collection("members", team={"type": Type.STRING, "index": True}, user=Type.STRING, level=Type.INT)
MADE = schema(OWNED, MEMBERS)
METADATA = tables.build(MADE)


def sql(rule: Rule, auth: dict[str, Any]) -> str | None:
    condition = rule.where(auth, METADATA.tables["posts"])
    return None if condition is None else compile_query(sa.select(sa.literal_column("1")).where(condition)).sql.split("WHERE ")[1]


def test_a_null_identity_is_never_an_owner() -> None:
    rules = load(OWNED, MEMBERS).of("posts")
    ownerless = {"status": "draft", "owner": None, "team": "t"}
    assert not rules.update.judge({}, ownerless, {})
    assert not rules.update.judge({"id": None}, ownerless, {})
    assert rules.update.judge({"id": "a"}, {**ownerless, "owner": "a"}, {})
    assert rules.read.judge({}, {**ownerless, "status": "published"}, {})


@pytest.mark.parametrize(
    ("text", "claims", "holds"),
    [
        ("auth.claims.dept == doc.owner", {"dept": None}, False),
        ("auth.claims.dept != doc.status", {"dept": None}, False),
        ("auth.claims.of.dept == doc.owner", {"of": {"dept": None}}, False),
        ("auth.claims.depts[0] == doc.owner", {"depts": [None]}, False),
        ("doc.owner in auth.claims.depts", {"depts": ["a", None]}, False),
        ("auth.claims.depts.exists(d, d == doc.owner)", {"depts": ["a", None]}, False),
        ("auth.claims.depts.exists(d, d.id == doc.owner)", {"depts": [{"id": None}]}, False),
        ("auth.claims.dept == null", {"dept": None}, True),
        ("auth.claims['dept'] == null", {"dept": None}, True),
        ("auth.claims.dept == null", {}, True),
        ("auth.claims.dept != null", {"dept": "a"}, True),
        ("has(auth.claims.dept)", {"dept": None}, False),
        ("auth.claims.depts.exists(d, d.id == null)", {"depts": [{"id": None}]}, True),
        ("auth.claims.dept == null", None, False),
    ],
)
def test_a_null_in_the_claims_is_never_equal_to_a_null_of_a_record(text: str, claims: Any, holds: bool) -> None:
    rule, caller = read_rule(MADE, METADATA, text, "posts"), {"id": "a", "claims": claims}
    ownerless = {"status": "draft", "owner": None, "team": "t"}
    assert rule.judge(caller, ownerless, {}) is holds
    table = METADATA.tables["posts"]
    connection = apsw.Connection(":memory:")
    connection.execute(str(sa.schema.CreateTable(table).compile(dialect=sqlite.dialect())))
    connection.execute("INSERT INTO posts VALUES ('p', 'draft', NULL, 't')")
    statement = sa.select(table.c.id)
    condition = rule.where(caller, table)
    found = run(connection, statement if condition is None else statement.where(condition), rule.binds(caller, {}))
    assert bool(found) is holds


def test_null_may_be_asked_for() -> None:
    rule = read_rule(MADE, METADATA, "auth.id != null && !has(auth.email)", "posts")
    assert rule.judge({"id": "a"}, {}, {})
    assert not rule.judge({}, {}, {})
    assert (sql(rule, {"id": "a"}), sql(rule, {})) == (None, "0 = 1")


def test_the_sql_holds_what_depends_on_the_record_alone() -> None:
    read = load(OWNED, MEMBERS).of("posts").read
    assert sql(read, {"id": "a"}) == '"posts"."status" = ? OR ? = "posts"."owner"'
    assert sql(read, {}) == '"posts"."status" = ?'
    assert read.binds({"id": "a"}, {}) == {"auth_id": "a"}


def test_the_sql_is_the_same_for_the_same_shape() -> None:
    rule = read_rule(MADE, METADATA, "auth.role == 'admin' || doc.team == auth.claims.team", "posts")
    callers: list[dict[str, Any]] = [
        {"role": "admin", "claims": {"team": "a"}},
        {"role": "user", "claims": {"team": "a"}},
        {"role": "user", "claims": {"team": "b"}},
        {"role": "user", "claims": {"team": 1}},
        {"role": "user", "claims": {}},
        {"claims": {"team": "a"}},
        {},
    ]
    texts = {rule.shape(caller): sql(rule, caller) for caller in callers}
    assert all(texts[rule.shape(caller)] == sql(rule, caller) for caller in callers)
    assert len(texts) == 6
    assert rule.shape(callers[1]) == rule.shape(callers[2])


def test_a_missing_rule_is_the_admin_rule_and_update_check_falls_back() -> None:
    rules = load(collection("a", {"update": "auth.verified"})).of("a")
    assert rules.read.missing
    assert rules.read.judge({"role": "admin"}, {}, {})
    assert not rules.read.judge({"role": "user"}, {}, {})
    assert rules.update_check.text == "auth.verified"
    assert not rules.update_check.missing


def test_a_rule_says_what_it_reads() -> None:
    book = load(OWNED, MEMBERS)
    rules = book.of("posts")
    assert (rules.read.auth_fields, rules.read.doc_fields) == ({"id"}, {"status", "owner"})
    assert rules.create.looks_elsewhere
    assert rules.create.elsewhere == {"members"}
    assert rules.delete.constant is True
    assert rules.read.constant is None
    assert book.observed("posts") == {"status", "owner", "team"}
    assert book.observed("members") == {"team", "user"}
    timed = read_rule(MADE, METADATA, "request.time > timestamp('2026-01-01T00:00:00Z')", "posts")
    assert timed.uses_time
    assert timed.request_fields == {"time"}


def test_a_rule_that_looks_elsewhere_is_asked_with_the_values_of_a_record() -> None:
    create = load(OWNED, MEMBERS).of("posts").create
    with pytest.raises(ValueError, match="database"):
        create.judge({"id": "a"}, {}, {})
    query = compile_query(create.holds_for_values({"id": "a"}))
    doc = {"id": "1", "status": "draft", "owner": None, "team": "t"}
    statement = query.bind(create.binds({"id": "a"}, {}) | create.doc_binds(doc))
    assert "EXISTS" in statement.sql
    assert sorted(statement.params) == ["a", "t"]


def test_two_rules_stand_in_one_statement_without_mixing_their_parameters() -> None:
    one = read_rule(MADE, METADATA, "doc.team == auth.claims.team", "posts")
    other = read_rule(MADE, METADATA, "doc.status == auth.claims.state", "posts")
    caller = {"claims": {"team": "t", "state": "s"}}
    assert len(one.binds(caller, {}) | other.binds(caller, {})) == 2


@pytest.mark.parametrize(
    ("rule", "index"),
    [
        ("auth.id == doc.i_text", "idx_docs_i_text"),
        ("doc.i_text == 'a' && doc.other != 1", "idx_docs_i_text"),
        ("doc.i_text == auth.id || doc.i_text == 'b'", "idx_docs_i_text"),
        ("doc.i_text in ['a', 'b']", "idx_docs_i_text"),
        ("collections.rows.exists(r, r.key == doc.i_text && r.level > 3)", "idx_rows_key"),
        ("!collections.rows.exists(r, r.key == doc.i_text && r.level > 3)", "idx_rows_key"),
        ("doc.at > request.time", "idx_docs_at"),
    ],
)
def test_a_plain_rule_uses_its_index(rule: str, index: str) -> None:
    docs = collection(
        "docs",
        i_text={"type": Type.STRING, "index": True, "nullable": True},
        at={"type": Type.TIMESTAMP, "index": True, "nullable": True},
        other=Type.INT,
    )
    rows = collection("rows", key={"type": Type.STRING, "index": True}, level={"type": Type.INT, "nullable": True})
    made = schema(docs, rows)
    metadata = tables.build(made)
    found = read_rule(made, metadata, rule)
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    table = metadata.tables["docs"]
    condition = found.where({"id": "a"}, table)
    assert condition is not None
    query = compile_query(sa.select(table.c["id"]).where(condition))
    statement = query.bind(found.binds({"id": "a"}, {"time": "2026-01-01T00:00:00.000000Z"}))
    with engine.connect() as connection:
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement.sql, tuple(statement.params)).fetchall()
    engine.dispose()
    assert any(index in str(row) for row in plan), plan


def test_a_decimal_beyond_a_double_compares_exactly() -> None:
    made = schema(collection("docs", p={"type": Type.DECIMAL, "scale": 2}, q={"type": Type.DECIMAL, "scale": 4}))
    metadata = tables.build(made)
    rule = read_rule(made, metadata, "doc.p > doc.q")
    assert rule.judge({}, {"p": "90071992547409.93", "q": "90071992547409.9299"}, {})
    assert not rule.judge({}, {"p": "90071992547409.93", "q": "90071992547409.9300"}, {})


def test_the_values_of_a_rule_are_bound_and_never_part_of_the_text() -> None:
    metadata = tables.build(SCHEMA)
    rule = read_rule(SCHEMA, metadata, "doc.s == 'x\\'; DROP TABLE docs; --' || doc.j.k == '\"' || doc.j['a b'] == 1")
    condition = rule.where({}, metadata.tables["docs"])
    assert condition is not None
    text = compile_query(sa.select(sa.literal_column("1")).where(condition)).sql
    assert "DROP" not in text
    connection = database([], [])
    assert run(connection, sa.select(metadata.tables["docs"].c["id"]).where(condition), {}) == []


def test_the_book_is_made_from_a_schema_without_rules() -> None:
    assert RuleBook.load(MADE, METADATA).of("members").delete.missing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("doc.tags.exists(x, doc.tags.exists(x, x == 'a') && x == 'b')", True),
        ("doc.tags.all(x, doc.tags.exists(x, x == 'c') || x == 'b')", False),
        ("[1, 2].exists(x, x == 1 && [5].exists(x, x == 5) && x == 1 && doc.title == 't')", True),
        ("[true].exists(x, x && doc.title == 't')", True),
        ("[false].exists(x, x || doc.title == 'u')", False),
    ],
)
def test_a_variable_inside_a_macro_hides_the_outer_one_there_alone(text: str, expected: bool) -> None:
    made = schema(collection("docs", title=Type.STRING, tags=Type.JSON))
    metadata = tables.build(made)
    record = {"id": "1", "title": "t", "tags": ["b", "a"]}
    rule = read_rule(made, metadata, text)
    assert rule.judge({}, record, {}) is expected
    found = run(database([], []), rule.holds_for_values({}), rule.binds({}, {}) | rule.doc_binds(record))
    assert bool(found) is expected


def test_a_list_that_json_cannot_hold_is_refused_and_not_compared_wrongly() -> None:
    made = schema(collection("docs", at=Type.TIMESTAMP))
    for text in ("[timestamp('2026-01-01T00:00:00Z')].exists(t, doc.at > t)", "doc.at in [doc.at].filter(t, true)"):
        with pytest.raises(RuleFault):
            read_rule(made, tables.build(made), text)


def test_nobody_can_find_a_where_whose_parameters_are_those_of_a_rule() -> None:
    book = load(collection("docs", {"read": "doc.team == auth.claims.team"}, team=Type.STRING))
    (ours,) = book.of("docs").read.binds({"claims": {"team": "a"}}, {})
    (theirs,) = book.where("docs", "doc.team == auth.role + 'b'").binds({"role": "a"}, {})
    for name in (ours, theirs):
        assert len(name.split("_")[1]) * 4 >= 256
    assert ours != theirs
