"""What a client asks for: read strictly, the errors by name, and one key for one question however it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alyx.base.errors import AlyxError
from alyx.realtime import question
from alyx.realtime.question import Question
from alyx.records.limits import Limits
from alyx.schema import load

SCHEMA = load.loads("""
version: 1
collections:
  users: { fields: { id: { type: uuid, primary: true, default: auto }, name: { type: string } } }
  posts:
    fields:
      id: { type: uuid, primary: true, default: auto }
      title: { type: string }
      views: { type: int, default: 0 }
      score: { type: float, nullable: true }
      meta: { type: json, nullable: true }
      at: { type: timestamp, default: now }
      author: { type: relation, relation: { collection: users }, nullable: true }
      secret: { type: string, internal: true, nullable: true }
""")


def ask(**members: Any) -> Question:
    return question.parse(SCHEMA, {"collection": "posts"} | members, Limits())


def url(text: str, **options: Any) -> Question:
    return question.parse_url(SCHEMA, "posts", text, Limits(), **options)


def test_a_bare_question_asks_for_all_that_a_set_may_hold() -> None:
    asked = ask()
    assert (asked.collection.name, asked.limited, asked.as_admin) == ("posts", False, False)
    assert (asked.asked.limit, asked.asked.offset, asked.asked.count, asked.asked.cursor) == (1000, 0, False, None)
    assert url("") == asked


def test_a_limit_beyond_the_most_is_capped() -> None:
    assert (ask(limit=5000).asked.limit, ask(limit=5000).limited) == (1000, True)
    assert url("limit=5000").asked.limit == 1000
    assert ask(limit=1000).key == url("limit=2000").key != ask().key


def test_fields_carry_the_key_and_the_sort_keys() -> None:
    for asked in (ask(fields=["title"], sort="-views,meta.k"), url("fields=title&sort=-views,meta.k")):
        assert [field.name for field in asked.asked.fields] == ["id", "title", "views", "meta"]
    assert ask(sort="views").asked.fields == ()


def test_an_optional_member_that_is_null_is_not_given() -> None:
    assert ask(filter=None, sort=None, limit=None, since=None, as_admin=None) == ask()


PAYLOADS = [
    ({"colection": "posts"}, "INVALID_PAYLOAD", "'colection'"),
    ({}, "INVALID_PAYLOAD", "collection"),
    ({"collection": 5}, "INVALID_PAYLOAD", "collection"),
    ({"collection": "nope"}, "COLLECTION_NOT_FOUND", ""),
    ({"filter": []}, "INVALID_PAYLOAD", "filter"),
    ({"filter": "views:eq:1"}, "INVALID_PAYLOAD", "filter"),
    ({"where": 5}, "INVALID_PAYLOAD", "where"),
    ({"since": 5}, "INVALID_PAYLOAD", "since"),
    ({"as_admin": "true"}, "INVALID_PAYLOAD", "as_admin"),
    ({"limit": 0}, "INVALID_PAYLOAD", "limit"),
    ({"limit": -1}, "INVALID_PAYLOAD", "limit"),
    ({"limit": True}, "INVALID_PAYLOAD", "limit"),
    ({"limit": 1.0}, "INVALID_PAYLOAD", "limit"),
    ({"limit": "5"}, "INVALID_PAYLOAD", "limit"),
    ({"sort": {"views": 1}}, "INVALID_PAYLOAD", "sort"),
    ({"fields": ["id", 5]}, "INVALID_PAYLOAD", "fields"),
    ({"expand": True}, "INVALID_PAYLOAD", "expand"),
    ({"offset": 5}, "INVALID_PAYLOAD", "'offset'"),
    ({"filter": {"nope": 1}}, "INVALID_FILTER", "'nope'"),
    ({"filter": {"secret": "x"}}, "INVALID_FILTER", "'secret'"),
    ({"filter": {"author.name": "x"}}, "INVALID_FILTER", "relation"),
    ({"sort": "nope"}, "INVALID_FILTER", "'nope'"),
    ({"sort": "author.name"}, "INVALID_FILTER", "relation"),
    ({"fields": ["secret"]}, "INVALID_FILTER", "'secret'"),
    ({"fields": []}, "INVALID_FILTER", "fields"),
    ({"expand": "title"}, "INVALID_FILTER", "title"),
    ({"where": "doc.title == '\ud800'"}, "INVALID_FILTER", "where"),
    ({"where": "\x00"}, "INVALID_FILTER", "where"),
    ({"expand": ["posts(author)"]}, "INVALID_FILTER", "posts(author)"),
]


@pytest.mark.parametrize(("payload", "code", "names"), PAYLOADS, ids=[str(row[0]) for row in PAYLOADS])
def test_a_payload_is_refused_with_its_code(payload: dict[str, Any], code: str, names: str) -> None:
    given = payload if not payload or "colection" in payload else {"collection": "posts"} | payload
    with pytest.raises(AlyxError) as refused:
        question.parse(SCHEMA, given, Limits())
    assert refused.value.code == code
    assert names in refused.value.message


def test_an_expand_of_two_levels_is_refused() -> None:
    with pytest.raises(AlyxError, match="deeper than one level"):
        question.parse(SCHEMA, {"collection": "users", "expand": "posts(author).author"}, Limits())
    with pytest.raises(AlyxError) as refused:
        question.parse_url(SCHEMA, "users", "expand=posts(author).author", Limits())
    assert refused.value.code == "INVALID_QUERY"


URLS = ["offset=1", "page=1", "perPage=5", "cursor=x", "count=none", "search=x", "nope=1", "limit=0", "limit=x"]
URLS += ["filter=author.name:eq:x", "sort=author.name", "filter=nope:eq:1", "sort=nope", "fields=nope", "ticket=x"]


@pytest.mark.parametrize("text", URLS)
def test_what_a_stream_cannot_follow_is_an_invalid_query(text: str) -> None:
    with pytest.raises(AlyxError) as refused:
        url(text)
    assert refused.value.code == "INVALID_QUERY"


def test_a_stream_of_an_unknown_collection_is_not_found() -> None:
    with pytest.raises(AlyxError) as refused:
        question.parse_url(SCHEMA, "nope", "", Limits())
    assert refused.value.code == "COLLECTION_NOT_FOUND"


SAME = [
    (ask(filter={"views": 1, "title": "a"}), ask(filter={"title": "a", "views": 1})),
    (ask(filter={"views": 1}), ask(filter={"views": {"$eq": 1}})),
    (ask(filter={"views": 1}), ask(filter={"views": {"$in": [1, 1]}})),
    (ask(filter={"views": None}), ask(filter={"views": {"$null": True}})),
    (ask(filter={"views": {"$in": [2, 1]}}), ask(filter={"views": {"$in": [1, 2, 1]}})),
    (ask(filter={"$and": [{"views": 1}, {"title": "a"}]}), ask(filter={"title": "a", "views": 1})),
    (ask(filter={"$or": [{"views": 1}, {"title": "a"}]}), ask(filter={"$or": [{"title": "a"}, {"views": 1}]})),
    (ask(filter={"$not": {"$not": {"views": 1}}}), ask(filter={"views": 1})),
    (ask(filter={"score": 1}), ask(filter={"score": 1.0})),
    (ask(filter={"meta.k": 1}), ask(filter={"meta.k": "1"})),
    (ask(filter={"at": "2026-03-01T09:00:00+01:00"}), ask(filter={"at": "2026-03-01T08:00:00Z"})),
    (ask(filter={}), ask()),
    (ask(sort=["-views", "title"]), ask(sort="-views,title")),
    (ask(sort="-views,-id"), ask(sort="-views")),
    (ask(fields=["title", "id"]), ask(fields="title")),
    (ask(fields="id,title,views,score,meta,at,author"), ask()),
    (ask(since="a"), ask(since="b")),
    (ask(filter={"views": 1}), url("filter=views:eq:1")),
    (ask(filter={"views": {"$in": [1, 2]}, "score": {"$gt": 0.5}}), url("filter=score:gt:0.5&filter=views:in:2,1")),
    (ask(filter={"meta.k": {"$ne": 5}}, where="doc.views > 1"), url("where=doc.views+%3E+1&filter=meta.k:ne:5")),
    (ask(sort="-views", limit=5, fields="title", expand="author"), url("expand=author&fields=title&limit=5&sort=-views")),
    (ask(as_admin=True), url("", as_admin=True)),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_one_question_has_one_key_however_it_is_written(one: Question, other: Question) -> None:
    assert one.key == other.key


def test_different_questions_have_different_keys() -> None:
    several = [
        ask(),
        question.parse(SCHEMA, {"collection": "users"}, Limits()),
        ask(filter={"views": 1}),
        ask(filter={"views": {"$ne": 1}}),
        ask(filter={"$not": {"views": {"$gt": 1}}}),
        ask(filter={"views": {"$gt": 1}}),
        ask(filter={"views": {"$gt": 1}, "title": "a"}),
        ask(filter={"$or": [{"views": {"$gt": 1}}, {"title": "a"}]}),
        ask(filter={"title": "1"}),
        ask(filter={"title": "a"}),
        ask(where="doc.views == 1"),
        ask(sort="views"),
        ask(sort="-views"),
        ask(limit=1000),
        ask(limit=10),
        ask(fields="title"),
        ask(expand="author"),
        ask(as_admin=True),
    ]
    assert len({each.key for each in several}) == len(several)


_WORDS = [
    "posts",
    "users",
    "id",
    "title",
    "views",
    "meta.k",
    "author",
    "author.name",
    "secret",
    "$and",
    "$or",
    "$not",
    "$in",
    "$gt",
]
_WORDS += [*question.MEMBERS, "$null", "$like", "-views", "posts(author)", "\ud800", "\x00", "", "a,b", "*", "'", "$"]
_words = st.sampled_from(_WORDS) | st.text(max_size=3)
_junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _words,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_words, below, max_size=3),
    max_leaves=12,
)


def outcome(ask_it: Callable[[], Question]) -> str:
    """The code of the refusal, or `asked`; both the key and the message must be texts that can be sent."""
    try:
        key = ask_it().key
    except AlyxError as error:
        return error.code if error.message.encode() else ""
    return "asked" if key.encode() else ""


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(question.MEMBERS), _junk, max_size=5), st.booleans())
def test_whatever_comes_is_a_question_or_an_error_of_the_contract(payload: dict[str, Any], named: bool) -> None:
    given = payload | ({"collection": "posts"} if named else {})
    found = outcome(lambda: question.parse(SCHEMA, given, Limits()))
    assert found in ("asked", "INVALID_PAYLOAD", "COLLECTION_NOT_FOUND", "INVALID_FILTER")


@settings(max_examples=300, deadline=None)
@given(st.text("filtersodexpanlmw=&:%+,.()-_$ 0159", max_size=40) | st.text(max_size=20))
def test_whatever_a_url_says_is_a_question_or_an_invalid_query(text: str) -> None:
    assert outcome(lambda: url(text)) in ("asked", "INVALID_QUERY")
