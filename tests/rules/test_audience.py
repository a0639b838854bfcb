"""How a rule depends on who asks: what live queries may judge once for many callers."""

from __future__ import annotations

from typing import Any

import pytest

from alyx.database import tables
from alyx.rules.audience import Audience
from alyx.rules.book import Rule
from alyx.schema.model import Type
from tests.rules.conftest import collection, read_rule, schema
from tests.rules.random_audiences import Tally, of_collections, of_records

TEXT = {"type": Type.STRING, "nullable": True}
TAGS = {"type": Type.SELECT, "select_values": ("a", "b"), "max_select": 3, "nullable": True}
MADE = schema(
    collection(
        "docs",
        status=Type.STRING,
        owner=TEXT,
        team=TEXT,
        readers=TAGS,
        meta=Type.JSON,
        shared={"type": Type.BOOL, "nullable": True},
        level=Type.INT,
        price={"type": Type.DECIMAL, "scale": 2},
        publish_at={"type": Type.TIMESTAMP, "nullable": True},
        until=Type.TIMESTAMP,
    ),
    collection("members", team=TEXT, user=TEXT, email=TEXT, level={"type": Type.INT, "nullable": True}),
    collection("teams", org=TEXT),
)
METADATA = tables.build(MADE)


def rule(text: str) -> Rule:
    return read_rule(MADE, METADATA, text)


def audience(*texts: str) -> Audience:
    return Audience([rule(text) for text in texts])


def caller(**fields: Any) -> dict[str, Any]:
    return {"id": "u1", "email": "u1@x.org", "role": "user", "verified": True, "claims": {}} | fields


def splits(text: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    found = audience(text)
    return found.shape(one) != found.shape(other)


# Indexed fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "indexed"),
    [
        ("doc.status == 'published' || auth.id == doc.owner", {"id": {"owner": False}}),
        ("auth.id != doc.owner", {"id": {"owner": False}}),
        ("auth.id in doc.readers", {"id": {"readers": True}}),
        ("doc.readers.exists(r, r == auth.id) || doc.owner == auth.id", {"id": {"readers": True, "owner": False}}),
        ("auth.id in [doc.owner, doc.team]", {"id": {"owner": False, "team": False}}),
        ("doc.owner in [auth.id, auth.email, 'public']", {"id": {"owner": False}, "email": {"owner": False}}),
        ("auth.id != null && (doc.shared == true ? auth.email == doc.owner : false)", {"email": {"owner": False}}),
        ("auth.id != '' && auth.id == doc.owner", {"id": {"owner": False}}),
        ("auth.role == 'admin' || auth.id == doc.owner", {"id": {"owner": False}}),
        ("auth.role == 'admin'", {}),
        ("auth.id == doc.owner || auth.id < doc.team", {}),
        ("auth.id == doc.owner && auth.id == auth.email", {}),
        ("auth.id == doc.owner && auth.claims.level > doc.level", {"id": {"owner": False}}),
    ],
)
def test_a_field_is_indexed_where_it_is_only_compared_for_equality(text: str, indexed: dict[str, dict[str, bool]]) -> None:
    assert {name: dict(places) for name, places in audience(text).indexed.items()} == indexed


def test_callers_who_differ_only_in_what_is_indexed_are_one_class() -> None:
    text = "doc.status == 'published' || auth.id == doc.owner"
    assert not splits(text, caller(), caller(id="u2"))
    assert splits(text, caller(), caller(id=None))
    assert audience(text).indexed_fields == ("id",)


def test_a_role_that_no_constant_names_does_not_split_a_class() -> None:
    text = "auth.role == 'admin' || auth.id == doc.owner"
    assert not splits(text, caller(role="user"), caller(role="editor"))
    assert splits(text, caller(role="user"), caller(role="admin"))


def test_a_condition_about_the_caller_alone_splits_by_its_outcome_and_not_by_its_values() -> None:
    text = "auth.claims.level > 3 && doc.status == 'a'"
    assert not splits(text, caller(claims={"level": 4}), caller(claims={"level": 9}))
    assert splits(text, caller(claims={"level": 3}), caller(claims={"level": 9}))


def test_a_value_beside_a_column_splits_by_itself_alone() -> None:
    text = "auth.claims.level > doc.level"
    assert splits(text, caller(claims={"level": 4}), caller(claims={"level": 9}))
    assert splits(text, caller(claims={"level": 1}), caller(claims={"level": True}))
    assert splits(text, caller(claims={"level": 1}), caller(claims={"level": 1.0}))
    assert not splits(text, caller(claims={"level": 4}), caller(claims={"level": 4, "team": "a"}))


def test_one_whose_value_is_a_constant_of_the_rule_is_a_class_of_its_own_and_stays_himself() -> None:
    found = audience("auth.id != 'banned' && (auth.id == doc.owner || doc.status == 'published')")
    banned, other = caller(id="banned"), caller()
    assert found.shape(banned) != found.shape(other) == found.shape(caller(id="u2"))
    assert found.nobody(banned)["id"] == "banned"
    assert found.nobody(other)["id"] not in ("u1", "banned")


def test_nobody_keeps_what_is_null_and_what_is_not_indexed() -> None:
    found = audience("auth.id == doc.owner || auth.email == doc.owner")
    assert found.nobody(caller(id=None, email=None)) == caller(id=None, email=None)
    assert found.nobody(caller())["role"] == "user"


def test_the_record_names_those_whom_it_may_concern() -> None:
    found = audience("auth.id == doc.owner || auth.id in doc.readers || auth.email == doc.team")
    assert found.occurring({"owner": "a", "readers": ["b", "c"], "team": None}) == {"id": {"a", "b", "c"}, "email": set()}
    assert found.occurring({"readers": None}) == {"id": set(), "email": set()}


@pytest.mark.parametrize(
    ("text", "value", "named"),
    [
        ("auth.id in doc.meta", ["a", "b"], {"a", "b"}),
        ("auth.id in doc.meta", {"a": True}, {"a"}),
        ("auth.id in doc.meta.readers", {"readers": {"a": 1}}, {"readers", "a"}),
        ("auth.id == doc.meta.owner", {"owner": "a", "n": 1}, {"owner", "a", "n"}),
        ("doc.meta.rows.exists(r, r.user == auth.id)", {"rows": [{"user": "a"}]}, {"rows", "user", "a"}),
        ("auth.id in [doc.meta.owner, 'x']", None, set()),
    ],
)
def test_below_a_json_field_any_text_stands_for_a_caller(text: str, value: Any, named: set[str]) -> None:
    found = audience(text)
    assert found.indexed == {"id": {"meta": True}}
    assert found.occurring({"meta": value})["id"] == named


def test_a_shape_is_the_same_text_in_every_process() -> None:
    found = audience("auth.id == doc.owner || doc.status in auth.claims.of || auth.role == 'admin'")
    one, other = {"of": {"x": 1, "y": [None]}}, {"of": {"y": [None], "x": 1}}
    assert repr(found.shape(caller(claims=one))) == repr(found.shape(caller(claims=other)))


# Other collections --------------------------------------------------------------------------------------------------------


def test_a_lookup_says_whose_value_its_rows_hold() -> None:
    (found,) = audience("collections.members.exists(m, m.team == doc.team && m.user == auth.id && m.level >= 3)").elsewhere
    assert (found.collection, found.by_auth) == ("members", {"user": "id"})
    assert found.columns == {"team", "user", "level"}
    assert found.doc_fields == {"team"}
    assert not found.unsigned


def test_an_audience_is_asked_once_for_all_callers() -> None:
    (found,) = audience(
        "collections.members.exists(m, m.team == doc.team && m.user == auth.id && auth.role == m.email && m.level >= 3)"
    ).elsewhere
    statement = found.audience("user")
    assert statement is not None
    text = str(statement)
    assert "doc_team" in text
    assert "auth" not in text
    assert found.binds({"team": "t"})["doc_team"] == "t"
    assert found.audience("team") is None


def test_a_lookup_inside_another_is_followed_through_both() -> None:
    text = "collections.teams.exists(t, t.id == doc.team && collections.members.exists(m, m.team == t.org && m.user == auth.id))"
    outer, inner = audience(text).elsewhere
    assert (outer.collection, outer.by_auth) == ("teams", {})
    assert (inner.collection, inner.by_auth) == ("members", {"user": "id"})
    assert inner.doc_fields == {"team"}
    statement = str(inner.audience("user"))
    assert "teams" in statement
    assert "members" in statement


def test_each_alternative_of_a_lookup_is_followed_by_itself() -> None:
    found = audience(
        "collections.members.exists(m, m.level > 0 && "
        "(m.user == auth.id && m.team == doc.owner || m.team == auth.id && m.user == doc.owner))"
    )
    assert found.indexed_fields == ("id",)
    assert [item.by_auth for item in found.elsewhere] == [{"user": "id"}, {"team": "id"}]
    (public, own) = audience("collections.members.exists(m, m.team == null || m.user == auth.id)").elsewhere
    assert (public.by_auth, own.by_auth) == ({}, {"user": "id"})
    assert public.columns == {"team"}


def test_more_alternatives_than_eight_are_not_followed() -> None:
    either = "(m.user == auth.id || m.team == auth.id)"
    (found,) = audience(f"collections.members.exists(m, {either} && {either} && {either} && {either})").elsewhere
    assert found.by_auth == {}


def test_a_lookup_without_the_caller_concerns_everybody() -> None:
    (found,) = audience("collections.members.exists(m, m.team == doc.team && !(m.user != auth.id))").elsewhere
    assert found.by_auth == {}
    assert found.always(caller())


def test_below_a_negation_a_caller_without_the_value_hears_of_every_change() -> None:
    (banned,) = audience("!collections.members.exists(m, m.user == auth.id)").elsewhere
    assert banned.always(caller(id=None))
    assert not banned.always(caller())
    (member,) = audience("collections.members.exists(m, m.user == auth.id)").elsewhere
    assert not member.always(caller(id=None))


def test_a_field_that_splits_a_class_finds_no_rows() -> None:
    found = audience("collections.members.exists(m, m.user == auth.id && m.level > 3 && m.email < auth.id)")
    assert found.indexed_fields == ()
    assert found.elsewhere[0].by_auth == {}


# What a record must hold, and when ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("doc.status == 'a' && doc.level == 3", {"status": {"a"}, "level": {3}}),
        ("doc.status in ['a', 'b'] && doc.status != 'a'", {"status": {"a", "b"}}),
        ("doc.status == 'a' || doc.status == 'b'", {"status": {"a", "b"}}),
        ("doc.status == 'a' || doc.level == 3", {}),
        ("doc.status == 'a' || auth.id == doc.owner", {}),
        ("!(doc.status != 'a' || doc.level != 3)", {"status": {"a"}, "level": {3}}),
        ("doc.shared", {"shared": {True}}),
        ("!doc.shared", {"shared": {False}}),
        ("doc.shared == true && doc.owner == null", {"shared": {True}, "owner": {None}}),
        ("doc.price == 1.5", {}),
        ("doc.until == timestamp('2026-01-01T01:00:00+01:00')", {"until": {"2026-01-01T00:00:00.000000Z"}}),
        ("doc.meta.a == 'x'", {}),
        ("doc.status == auth.role", {}),
    ],
)
def test_a_rule_may_fix_what_a_record_holds(text: str, fixed: dict[str, set[Any]]) -> None:
    assert audience(text).fixed == fixed


def test_two_rules_that_must_both_hold_fix_what_both_allow() -> None:
    assert audience("doc.status in ['a', 'b']", "doc.status in ['b', 'c']").fixed == {"status": {"b"}}


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("auth.id == doc.owner && doc.status != 'a'", set()),
        ("auth.id in [doc.owner, doc.team]", set()),
        ("doc.owner in [auth.id, 'x']", set()),
        ("doc.owner in ['x', null]", set()),
        ("doc.owner == doc.team", {"owner", "team"}),
        ("doc.owner in [doc.team, auth.id]", {"owner", "team"}),
        (f"doc.owner in ['{'x' * 1_001}']", {"owner"}),
        ("'x' + doc.owner in [doc.team, auth.id]", {"owner", "team"}),
        ("auth.id in doc.readers", {"readers"}),
        ("doc.owner.startsWith('x')", {"owner"}),
        ("auth.id in [doc.owner, doc.team + 'x']", {"team"}),
    ],
)
def test_a_column_is_searched_if_it_is_not_only_compared_with_short_constants_and_the_caller(
    text: str, searched: set[str]
) -> None:
    assert audience(text).searched == searched


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("doc.publish_at <= request.time", {"publish_at"}),
        ("request.time < doc.until && doc.publish_at <= request.time", {"until", "publish_at"}),
        ("doc.until > request.time - duration('1h')", None),
        ("request.time.getHours() > 8", None),
        ("doc.until == request.time", None),
        ("doc.status == 'a'", set()),
    ],
)
def test_the_moments_at_which_a_verdict_turns_are_columns_beside_the_time(text: str, times: set[str] | None) -> None:
    found = audience(text)
    assert found.times == times
    assert found.uses_time is (times != set())


def test_what_else_is_read_of_the_request_is_told() -> None:
    assert audience("request.ip == '::1' && doc.until > request.time").request_fields == {"ip"}


# The promise --------------------------------------------------------------------------------------------------------------


def kept(tally: Tally, *looked_at: str) -> None:
    assert tally.broken[:3] == []
    for name in looked_at:
        assert tally.counts[name] > tally.counts["rules"] * 0.05, (name, tally.counts)


def test_2000_random_rules_keep_the_promise_about_the_record() -> None:
    kept(of_records(2_000, seed=1), "indexed", "alike", "classmates", "named", "unnamed")


def test_40_random_rules_keep_the_promise_about_other_collections() -> None:
    kept(of_collections(40, seed=1), "indexed", "alike", "named", "unnamed", "concerned", "unconcerned", "turned")


@pytest.mark.slow
def test_2000_random_rules_keep_the_promise_about_other_collections() -> None:
    kept(of_collections(2_000, seed=2), "indexed", "alike", "named", "unnamed", "concerned", "unconcerned", "turned")


@pytest.mark.torture
def test_30000_random_rules_keep_both_promises() -> None:
    kept(of_records(30_000, seed=3), "indexed", "alike", "classmates", "named", "unnamed")
    kept(of_collections(30_000, seed=3), "indexed", "alike", "named", "unnamed", "concerned", "unconcerned", "turned")
