"""What the check refuses, with which words, and where."""

from __future__ import annotations

import contextlib
import time

import pytest

from alyx.base.errors import AlyxError, SourceError
from alyx.database import tables
from alyx.rules.book import RuleBook, RuleFault
from alyx.schema.model import Type
from tests.rules.conftest import collection, load, read_rule, schema

POSTS = collection(
    "posts",
    title=Type.STRING,
    n={"type": Type.INT, "nullable": True},
    f=Type.FLOAT,
    done={"type": Type.BOOL, "nullable": True},
    owner={"type": Type.UUID, "nullable": True},
    at=Type.TIMESTAMP,
    price={"type": Type.DECIMAL, "scale": 2},
    meta=Type.JSON,
    tags={"type": Type.SELECT, "select_values": ("a", "b"), "max_select": 2},
    secret={"type": Type.STRING, "internal": True},
    data={"type": Type.BLOB, "nullable": True},
)
MEMBERS = collection("members", user=Type.UUID, level={"type": Type.INT, "nullable": True})
SCHEMA = schema(POSTS, MEMBERS)
METADATA = tables.build(SCHEMA)
METADATA_HINT = "users write their metadata themselves; let an admin set `claims`"


def fault(text: str, operation: str = "read") -> RuleFault:
    with pytest.raises(RuleFault) as caught:
        read_rule(SCHEMA, METADATA, text, "posts", operation)
    return caught.value


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("doc.titel == 'a'", "`posts` has no field `titel`", "did you mean `title`?"),
        ("doc.title", "needs a bool, found string", "a condition is true or false"),
        ("doc.meta.flag", "needs a bool, found dyn or null", "compare it: `... == true`"),
        ("doc.title == 1", "string cannot be compared with int", None),
        ("doc.at > '2026-01-01'", "timestamp cannot be ordered with string", "write timestamp('2026-01-01T00:00:00Z')"),
        ("doc.price == doc.f", "a decimal cannot be compared with double", "use a decimal, an int or a literal such as 9.99"),
        ("doc.price + 1 > 2", "a decimal can only be compared", "with ==, !=, <, <=, >, >= or in, to numbers and decimals"),
        ("doc.f + 1 > 2.0", "`+` does not take (double, int)", "int and float do not mix: write 1.0 instead of 1, or double(x)"),
        (
            "auth.metadata.x == 1",
            "`auth.metadata` may not stand in rules",
            "users write their metadata themselves; let an admin set `claims`",
        ),
        ("auth.rol == 'a'", "`auth` has no `rol`", "did you mean `role`?"),
        ("auth != null", "`auth` is not a value", "write `auth.id != null` for a signed-in caller"),
        ("doc == null", "`doc` is a record, not a value", "name a field: `doc.id`"),
        ("user.id == doc.owner", "unknown name `user`", "known: doc, auth, request, collections"),
        ("request.method == 'GET'", "`request.method` cannot be used here", "known: request.ip, request.time"),
        ("collections.member.exists(m, true)", "there is no collection `member`", "did you mean `members`?"),
        ("collections.members.all(m, true)", "collections have no all()", "only `collections.c.exists(x, ...)`"),
        ("collections.members.exists(doc, true)", "`doc` is taken", "give the variable another name"),
        ("doc.title.startwith('a')", "unknown function `startwith`", "did you mean `startsWith`?"),
        ("startsWith(doc.title, 'a')", "startsWith() does not take (string, string)", "write it as x.startsWith(...)"),
        ("doc.owner == 'me'", "not a uuid", "such as '0190c2d1-5b1e-7c3a-9f00-0123456789ab'"),
        ("doc.title.matches('(')", "not an RE2 pattern", "RE2 syntax"),
        ("doc.at > timestamp('2026-01-01T00:00:00.1234567Z')", "a timestamp has at most six digits after the second", None),
        ("doc.n / 0 == 1 && 1 / 0 == 1", "always an error: division by zero", None),
        ("doc.f > 1.0 / 0.0", "not a finite number", None),
        ("doc.at.getHours('Mars/Olympus') == 1", "no such time zone", "an IANA name or an offset such as +02:00"),
        ("Message{a: 1} == 1", "`Message` is no type that can be made here", "rules have no messages"),
        ("(doc.n == 1 ? doc.done : false) == true", "a nullable bool cannot stand in a compared ?:", "write `doc.field == true`"),
        ("doc.n == 1 ? 1 : 'a'", "the branches of ?: differ: int and string", "make them one type"),
        ("dyn(doc.n) == 1", "dyn() cannot be used in rules", "types are static here"),
        ("doc.tags < doc.tags", "list(string) has no order", None),
        ("doc.title in doc.n", "`in` needs a list or a map, found int or null", None),
        ("doc.n.x == 1", "int or null has no fields", None),
    ],
)
def test_a_wrong_rule_is_refused_with_a_hint(text: str, message: str, hint: str | None) -> None:
    found = fault(text)
    assert (found.message, found.hint) == (message, hint)


@pytest.mark.parametrize(
    "text",
    [
        "doc.title.lastIndexOf('a') == 1",
        "doc.title.split(',') == ['a']",
        "doc.title.matches('\\\\d')",
        "doc.title.matches(doc.title)",
        "doc.meta.a == doc.meta.b",
        "doc.meta.a == auth.claims.b",
        "doc.tags == ['a']",
        "[1, 2].map(x, x + doc.n) == [1]",
        "doc.tags.exists_one(t, t == 'a')",
        "doc.meta[doc.title] == 1",
        "string(doc.f) == 'a'",
        "timestamp(doc.title) < doc.at",
        "size(doc.data) > 2 && doc.data + b'a' == b'b'",
    ],
)
def test_what_sql_cannot_say_is_refused_in_read_rules_only(text: str) -> None:
    fault(text)
    if "string(doc.f)" not in text:
        read_rule(SCHEMA, METADATA, text, "posts", "create")


def test_a_rule_that_looks_elsewhere_is_held_to_sql_in_every_operation() -> None:
    found = fault("collections.members.exists(m, m.user == auth.id) && doc.title.lastIndexOf('a') == 1", "create")
    assert "cannot be used here" in found.message


def test_every_fault_of_a_schema_is_told_with_its_place_and_path() -> None:
    with pytest.raises(SourceError) as caught:
        load(
            collection("a", {"read": "doc.x == 1", "update": "doc.y ==", "delete": "true"}),
            collection("b", {"create": "1"}),
        )
    assert [str(item) for item in caught.value.faults] == [
        "schema.yaml:10: collections.a.rules.read: `a` has no field `x` (known: id)",
        "schema.yaml:10: collections.b.rules.create: needs a bool, found int (a condition is true or false)",
        "schema.yaml:11: collections.a.rules.update: expected a value, found the end (at column 9 of the rule)",
    ]


def test_a_clients_where_knows_neither_internal_fields_nor_request_nor_collections() -> None:
    book = RuleBook.load(SCHEMA, METADATA)
    for text in ("doc.secret == 'a'", "request.ip == 'a'", "collections.members.exists(m, true)"):
        with pytest.raises(AlyxError) as caught:
            book.where("posts", text)
        assert caught.value.code == "INVALID_QUERY"
    assert book.where("posts", "doc.n > 1") is book.where("posts", "doc.n > 1")


def test_what_a_client_looks_for_is_short_and_not_from_the_record() -> None:
    book = RuleBook.load(SCHEMA, METADATA)
    for text in (
        "doc.title.contains(doc.title + 'a')",
        f"doc.title.contains('{'a' * 300}')",
        "doc.title.indexOf(doc.title) == 1",
        "doc.tags.exists(tag, doc.title.contains(tag))",
    ):
        with pytest.raises(AlyxError, match="the text to look for"):
            book.where("posts", text)
    assert book.where("posts", "doc.title.contains(auth.email)")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 14 + "doc.n == 1" + " ? doc.f > 1.0 : true)" * 14,
        "(" * 20 + "doc.n == 1" + " ? true : false)" * 8 + ") == true" * 12,
        "(" * 15 + "doc.n == 1 && true" + ") == (doc.n < 1)" * 8 + ")" * 7,
        "doc.title" + ".substring(1)" * 20 + " == 'a'",
        "doc.title.substring(size(" * 7 + "doc.title" + "), 1)" * 7 + " == 'a'",
        "(doc.n + " * 10 + "1" + ")" * 10 + " == 1",
        "doc.tags.all(a, " * 8 + "a == 'a'" + ")" * 8,
        "(" * 7 + "doc.n == 1" + ") == (doc.n == 1)" * 7,
        "!(" * 8 + "(doc.n in [1, doc.n])" + " == false)" * 8,
    ],
)
def test_no_small_condition_becomes_a_huge_query(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(AlyxError):
        RuleBook.load(SCHEMA, METADATA).where("posts", text)
    assert time.process_time() - started < 0.3


def test_claims_that_no_parameter_can_hold_are_an_error_and_not_a_crash() -> None:
    book = RuleBook.load(SCHEMA, METADATA)
    rule = book.where("posts", "auth.claims.x == doc.title || doc.n in auth.claims.x || doc.n == auth.claims.x")
    for value in ("\ud800", 2**70, [2**70], float("nan"), {"a": "\ud800"}, object()):
        assert rule.shape({"claims": {"x": value}}) == ("error",) * 3


def test_an_internal_field_may_be_read_in_a_rule() -> None:
    assert read_rule(SCHEMA, METADATA, "doc.secret == 'a'", "posts").doc_fields == {"secret"}


def test_a_uuid_literal_is_read_in_its_canonical_form() -> None:
    rule = read_rule(SCHEMA, METADATA, "doc.owner == '0190C2D1-5B1E-7C3A-9F00-0123456789AB'", "posts")
    assert rule.judge({}, {"owner": "0190c2d1-5b1e-7c3a-9f00-0123456789ab"}, {})
