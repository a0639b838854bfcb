"""Contract §3 as scenarios: a request, its status and code, what the answer must and must not contain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backend import Backend

ANNA, BEN = "anna00000000000", "ben000000000000"

SCHEMA = """
version: 1
collections:
  users:
    fields:
      id: { type: id, primary: true, default: auto }
      name: { type: string, minLength: 1 }
      email: { type: email, unique: true, nullable: true }
      public: { type: bool, default: true }
    rules: { create: "true", read: "doc.public || auth.id == doc.id", update: "auth.id == doc.id", delete: "auth.id == doc.id" }
  posts:
    fields:
      id: { type: uuid, primary: true, default: auto }
      title: { type: string, minLength: 1, maxLength: 20 }
      slug: { type: string, unique: true, nullable: true }
      status: { type: select, select: { values: [draft, published] }, default: draft }
      author_id: { type: id, references: users.id, onDelete: cascade }
      editor_id: { type: id, references: users.id, onDelete: set null, nullable: true }
      views: { type: int, default: 0, validate: { min: 0 } }
      rating: { type: float, nullable: true }
      price: { type: decimal, scale: 2, nullable: true }
      day: { type: date, nullable: true }
      tags: { type: select, select: { values: [a, b, c], maxSelect: 3 }, nullable: true }
      meta: { type: json, nullable: true }
      data: { type: blob, nullable: true }
      secret: { type: string, internal: true, default: hidden }
      created_at: { type: timestamp, default: now }
      updated_at: { type: timestamp, default: now, onUpdate: now }
    indexes:
      - { name: idx_posts_views, fields: [views] }
    rules:
      create: "auth.id == doc.author_id"
      read: "doc.status == 'published' || auth.id == doc.author_id"
      update: "auth.id == doc.author_id"
      delete: "auth.id == doc.author_id || auth.role == 'admin'"
  comments:
    fields:
      id: { type: int, primary: true, default: auto }
      post_id: { type: relation, relation: { collection: posts, onDelete: restrict } }
      text: { type: text }
    rules:
      create: "collections.posts.exists(p, p.id == doc.post_id && p.status == 'published')"
      read: "collections.posts.exists(p, p.id == doc.post_id && (p.status == 'published' || p.author_id == auth.id))"
      update: "false"
      delete: "true"
  closed:
    fields:
      id: { type: uuid, primary: true, default: auto }
      name: { type: string }
"""


@pytest.fixture
def api(backend: Any) -> Backend:
    made: Backend = backend(SCHEMA)
    for user, name in ((ANNA, "Anna"), (BEN, "Ben")):
        assert made.post("/users", {"id": user, "name": name, "email": f"{name}@example.com"}).status == 201
    return made


def post(api: Backend, user: str = ANNA, **fields: Any) -> dict[str, Any]:
    answer = api.post("/posts", {"title": "one", "author_id": user, **fields}, as_user=user)
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.json()
    return made


# --- create and get -----------------------------------------------------------------------------------------------------------


def test_a_created_document_comes_back_whole_with_defaults_location_and_etag(api: Backend) -> None:
    answer = api.post("/posts", {"title": "one", "author_id": ANNA}, as_user=ANNA)
    doc = answer.json()
    assert answer.status == 201
    assert answer.headers["location"] == f"/api/collections/posts/{doc['id']}"
    assert doc["status"] == "draft"
    assert doc["views"] == 0
    assert doc["slug"] is None
    assert doc["created_at"].endswith("Z")
    assert len(doc["created_at"]) == 27
    assert "secret" not in doc
    again = api.get(f"/posts/{doc['id']}", as_user=ANNA)
    assert again.json() == doc
    assert again.headers["etag"] == answer.headers["etag"]


def test_every_value_that_goes_in_comes_out_the_same(api: Backend) -> None:
    values = {
        "title": "é ≠ é 😀 \"'\\",
        "views": 2**63 - 1,
        "rating": 0.1 + 0.2,
        "price": "12345678901234.50",
        "day": "2026-02-28",
        "tags": ["b", "a"],
        "meta": {"k": [1, 2.5, None, True, {"é": "\u2028"}], "": "empty key", "big": 9007199254740993},
        "data": "AAEC/w==",
        "slug": "",
        "created_at": "2026-03-01T08:00:00.123456Z",
    }
    doc = post(api, **values)
    assert {name: doc[name] for name in values} == values


def test_a_timestamp_with_an_offset_is_kept_in_utc_to_the_microsecond(api: Backend) -> None:
    assert post(api, created_at="2026-03-01T10:00:00.5+02:00")["created_at"] == "2026-03-01T08:00:00.500000Z"


def test_null_and_absent_are_told_apart_in_a_patch(api: Backend) -> None:
    doc = post(api, slug="x", rating=1.5)
    patched = api.patch(f"/posts/{doc['id']}", {"slug": None}, as_user=ANNA).json()
    assert patched["slug"] is None
    assert patched["rating"] == 1.5


def test_a_client_may_choose_the_key_and_a_taken_one_is_409(api: Backend) -> None:
    key = "0192d3a4-1111-7222-8333-444455556666"
    assert post(api, id=key.upper())["id"] == key
    answer = api.post("/posts", {"id": key, "title": "two", "author_id": ANNA}, as_user=ANNA)
    answer_fields = [detail["field"] for detail in answer.json()["details"]]
    assert (answer.status, answer.json()["code"], answer_fields) == (409, "UNIQUE_VIOLATION", ["id"])


def test_a_list_of_documents_creates_all_or_none(api: Backend) -> None:
    good = [{"title": f"t{n}", "author_id": ANNA, "slug": f"s{n}"} for n in range(3)]
    answer = api.post("/posts", good, as_user=ANNA)
    assert answer.status == 201
    assert [doc["title"] for doc in answer.json()["docs"]] == ["t0", "t1", "t2"]
    bad = [{"title": "x", "author_id": ANNA, "slug": "fresh"}, {"title": "y", "author_id": ANNA, "slug": "s1"}]
    assert api.post("/posts", bad, as_user=ANNA).status == 409
    assert api.list("/posts?filter=slug:eq:fresh", as_user=ANNA)["total"] == 0


def test_all_faults_of_a_body_are_named_at_once(api: Backend) -> None:
    answer = api.post("/posts", {"title": "", "views": -1, "status": "gone", "nope": 1, "secret": "x"}, as_user=ANNA)
    faults = {(detail["field"], detail["code"]) for detail in answer.json()["details"]}
    assert answer.status == 400
    assert answer.json()["code"] == "VALIDATION_ERROR"
    assert faults == {
        ("title", "min_length"),
        ("views", "min_value"),
        ("status", "invalid_select"),
        ("nope", "unknown_field"),
        ("secret", "unknown_field"),
        ("author_id", "required"),
    }


def test_creating_what_one_may_not_read_tells_only_the_id(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  messages:
    fields: { id: { type: uuid, primary: true, default: auto }, text: { type: string }, score: { type: int, default: 7 } }
    rules: { create: "true" }
""")
    answer = api.post("/messages", {"text": "hello"})
    assert answer.status == 201
    assert set(answer.json()) == {"id"}
    assert "etag" not in answer.headers


def test_a_create_that_the_rule_refuses_is_403_and_leaves_nothing(api: Backend) -> None:
    answer = api.post("/posts", {"title": "x", "author_id": BEN}, as_user=ANNA)
    assert (answer.status, answer.json()["code"]) == (403, "FORBIDDEN")
    assert api.list("/posts", as_user=BEN)["total"] == 0


def test_an_unreadable_reference_answers_as_if_it_did_not_exist(api: Backend) -> None:
    api.post("/users", {"id": "hidden000000000", "name": "H", "public": False})
    unreadable = api.post("/posts", {"title": "x", "author_id": ANNA, "editor_id": "hidden000000000"}, as_user=ANNA)
    missing = api.post("/posts", {"title": "x", "author_id": ANNA, "editor_id": "nobody000000000"}, as_user=ANNA)
    for answer in (unreadable, missing):
        fields = [detail["field"] for detail in answer.json()["details"]]
        assert (answer.status, answer.json()["code"], fields) == (409, "FOREIGN_KEY_VIOLATION", ["editor_id"])


# --- permission ---------------------------------------------------------------------------------------------------------------


def test_what_one_may_not_read_is_404_on_every_method(api: Backend) -> None:
    draft = post(api)
    for answer in (
        api.get(f"/posts/{draft['id']}", as_user=BEN),
        api.patch(f"/posts/{draft['id']}", {"title": "x"}, as_user=BEN),
        api.put(f"/posts/{draft['id']}", {"title": "x", "author_id": BEN}, as_user=BEN),
        api.delete(f"/posts/{draft['id']}", as_user=BEN),
        api.get("/posts/0192d3a4-1111-7222-8333-444455556666", as_user=BEN),
        api.get("/posts/not-a-uuid", as_user=BEN),
    ):
        assert (answer.status, answer.json()["code"]) == (404, "DOCUMENT_NOT_FOUND")


def test_what_one_may_read_but_not_change_is_403(api: Backend) -> None:
    doc = post(api, status="published")
    assert api.patch(f"/posts/{doc['id']}", {"title": "x"}, as_user=BEN).status == 403
    assert api.delete(f"/posts/{doc['id']}", as_user=BEN).status == 403
    assert api.get(f"/posts/{doc['id']}").json()["title"] == "one"


def test_an_update_must_hold_for_the_record_as_it_would_become(api: Backend) -> None:
    doc = post(api)
    assert api.patch(f"/posts/{doc['id']}", {"author_id": BEN}, as_user=ANNA).status == 403


def test_a_collection_without_rules_is_closed_to_all_but_admins(api: Backend) -> None:
    assert api.get("/closed").json()["code"] == "FORBIDDEN"
    assert api.get("/closed", as_user=ANNA).status == 403
    assert api.post("/closed", {"name": "x"}, as_user=ANNA).status == 403
    assert api.post("/closed", {"name": "x"}, as_user=ANNA, role="admin").status == 201
    assert api.get("/closed", as_user=ANNA, role="admin").status == 200


def test_admins_bypass_rules_only_when_they_ask_to(api: Backend) -> None:
    draft = post(api)
    assert api.get(f"/posts/{draft['id']}", as_user=BEN, role="admin").status == 404
    asked = {"alyx-as-admin": "true"}
    assert api.get(f"/posts/{draft['id']}", as_user=BEN, role="admin", headers=asked).status == 200
    assert api.get(f"/posts/{draft['id']}", as_user=BEN, headers=asked).status == 404


def test_lists_counts_and_search_show_only_what_the_rule_allows(api: Backend) -> None:
    post(api, title="mine")
    post(api, title="seen", status="published")
    assert api.list("/posts")["total"] == 1
    assert api.list("/posts?limit=0")["total"] == 1
    assert api.list("/posts?search=MINE")["total"] == 0
    assert api.list("/posts", as_user=ANNA)["total"] == 2


def test_a_rule_that_looks_into_another_collection_guards_create_and_read(api: Backend) -> None:
    seen, draft = post(api, status="published"), post(api)
    assert api.post("/comments", {"post_id": draft["id"], "text": "no"}).status == 403
    made = api.post("/comments", {"post_id": seen["id"], "text": "yes"})
    assert (made.status, made.json()["id"]) == (201, 1)
    api.patch(f"/posts/{seen['id']}", {"status": "draft"}, as_user=ANNA)
    assert api.list("/comments")["total"] == 0
    assert api.list("/comments", as_user=ANNA)["total"] == 1


# --- change -------------------------------------------------------------------------------------------------------------------


def test_increments_add_and_stop_at_the_limits(api: Backend) -> None:
    doc = post(api, views=5)
    url = f"/posts/{doc['id']}"
    patched = api.patch(url, {"views": {"$inc": 3}, "rating": {"$inc": 0.5}, "price": {"$inc": "1.25"}}, as_user=ANNA).json()
    assert (patched["views"], patched["rating"], patched["price"]) == (8, 0.5, "1.25")
    over = api.patch(url, {"views": {"$inc": 2**63 - 1}}, as_user=ANNA)
    assert [(d["field"], d["code"]) for d in over.json()["details"]] == [("views", "max_value")]
    under = api.patch(url, {"views": {"$inc": -9}}, as_user=ANNA)
    assert [(d["field"], d["code"]) for d in under.json()["details"]] == [("views", "min_value")]
    assert api.patch(url, {"meta": {"$inc": 1}}, as_user=ANNA).json()["meta"] == {"$inc": 1}


def test_key_and_server_owned_fields_may_only_repeat_the_stored_value(api: Backend) -> None:
    doc = post(api)
    url = f"/posts/{doc['id']}"
    assert api.patch(url, {"id": doc["id"], "updated_at": doc["updated_at"], "title": "two"}, as_user=ANNA).status == 200
    answer = api.patch(url, {"id": "0192d3a4-1111-7222-8333-444455556666", "updated_at": "2020-01-01T00:00:00Z"}, as_user=ANNA)
    assert {(d["field"], d["code"]) for d in answer.json()["details"]} == {("id", "read_only"), ("updated_at", "read_only")}


def test_an_update_moves_updated_at_and_only_the_named_fields(api: Backend) -> None:
    doc = post(api)
    api.tick(1)
    changed = api.patch(f"/posts/{doc['id']}", {"title": "two"}, as_user=ANNA).json()
    assert changed["updated_at"] > doc["updated_at"]
    assert {k: v for k, v in changed.items() if k not in ("title", "updated_at")} == {
        k: v for k, v in doc.items() if k not in ("title", "updated_at")
    }


def test_put_replaces_what_is_absent_by_default_or_null_and_keeps_what_the_server_owns(api: Backend) -> None:
    doc = post(api, slug="s", views=9, created_at="2020-01-01T00:00:00Z")
    replaced = api.put(f"/posts/{doc['id']}", {"title": "new", "author_id": ANNA}, as_user=ANNA).json()
    assert (replaced["title"], replaced["slug"], replaced["views"]) == ("new", None, 0)
    assert (replaced["id"], replaced["created_at"]) == (doc["id"], doc["created_at"])
    missing = api.put(f"/posts/{doc['id']}", {"title": "new"}, as_user=ANNA)
    assert [(d["field"], d["code"]) for d in missing.json()["details"]] == [("author_id", "required")]


def test_upsert_creates_a_missing_record_and_hides_an_unreadable_one_behind_409(api: Backend) -> None:
    key = "0192d3a4-1111-7222-8333-444455556666"
    body = {"title": "new", "author_id": ANNA}
    assert api.put(f"/posts/{key}", body, as_user=ANNA).status == 404
    made = api.put(f"/posts/{key}?upsert=true", body, as_user=ANNA)
    assert (made.status, made.json()["id"]) == (201, key)
    assert api.put(f"/posts/{key}?upsert=true", body, as_user=ANNA).status == 200
    assert api.put(f"/posts/{key}?upsert=true", {"title": "x", "author_id": BEN}, as_user=BEN).status == 409


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_stale_etag_is_412_and_the_present_one_passes(api: Backend, method: str) -> None:
    doc = post(api)
    url = f"/posts/{doc['id']}"
    body = None if method == "DELETE" else {"title": "two", "author_id": ANNA}
    stale = api.call(method, url, body, as_user=ANNA, headers={"if-match": '"nope"'})
    assert (stale.status, stale.json()["code"]) == (412, "CONFLICT")
    present = api.get(url, as_user=ANNA).headers["etag"]
    assert api.call(method, url, body, as_user=ANNA, headers={"if-match": f'"x", {present}'}).status in (200, 204)


def test_if_none_match_answers_304_without_a_body(api: Backend) -> None:
    doc = post(api)
    tag = api.get(f"/posts/{doc['id']}", as_user=ANNA).headers["etag"]
    answer = api.get(f"/posts/{doc['id']}", as_user=ANNA, headers={"if-none-match": f"W/{tag}"})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)


def test_a_change_that_takes_the_record_out_of_ones_view_answers_204(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  notes:
    fields: { id: { type: uuid, primary: true, default: auto }, open: { type: bool, default: true } }
    rules: { create: "true", read: "doc.open", update: "true" }
""")
    doc = api.post("/notes", {}).json()
    answer = api.patch(f"/notes/{doc['id']}", {"open": False})
    assert (answer.status, answer.body) == (204, b"")


def test_delete_is_204_and_a_restricted_parent_409(api: Backend) -> None:
    doc = post(api, status="published")
    comment = api.post("/comments", {"post_id": doc["id"], "text": "hi"}).json()
    refused = api.delete(f"/posts/{doc['id']}", as_user=ANNA)
    assert (refused.status, refused.json()["code"]) == (409, "FOREIGN_KEY_VIOLATION")
    assert api.delete(f"/comments/{comment['id']}").status == 204
    assert api.delete(f"/posts/{doc['id']}", as_user=ANNA).status == 204
    assert api.get(f"/posts/{doc['id']}", as_user=ANNA).status == 404


def test_deleting_a_user_cascades_and_sets_null_as_declared(api: Backend) -> None:
    mine, edited = post(api, user=BEN), post(api, editor_id=BEN)
    assert api.delete(f"/users/{BEN}", as_user=BEN).status == 204
    assert api.get(f"/posts/{mine['id']}", as_user=BEN).status == 404
    assert api.get(f"/posts/{edited['id']}", as_user=ANNA).json()["editor_id"] is None


# --- lists --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(api: Backend) -> Backend:
    """Five published posts with values to filter and sort by."""
    rows: list[dict[str, Any]] = [
        {"title": "apple", "views": 1, "price": "9.50", "rating": 1.5, "meta": {"k": 5, "t": "x"}, "tags": ["a"], "slug": "A"},
        {"title": "Banana", "views": 2, "price": "10.25", "rating": None, "meta": {"k": "5"}, "tags": ["a", "b"], "slug": None},
        {"title": "cherry", "views": 3, "price": "-1.00", "rating": 0.5, "meta": {"k": 50, "f": True}, "slug": "b%c"},
        {"title": "date", "views": 4, "price": None, "rating": 2.5, "meta": None, "day": "2026-01-02", "slug": "b_c"},
        {"title": "élan", "views": 5, "price": "10.00", "rating": None, "meta": {"k": None}, "tags": ["c"], "slug": "z"},
    ]
    for row in rows:
        post(api, status="published", **row)
    return api


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("filter=title:eq:apple", "apple"),
        ("filter=title:ne:apple", "Banana cherry date élan"),
        ("filter=views:gt:3", "date élan"),
        ("filter=views:gte:3&filter=views:lte:4", "cherry date"),
        ("filter=views:lt:2", "apple"),
        ("filter=views:in:1,5,9", "apple élan"),
        ("filter=price:gt:9.5", "Banana élan"),
        ("filter=price:lt:0", "cherry"),
        ("filter=price:eq:10", "élan"),
        ("filter=price:in:9.50,10.25", "apple Banana"),
        ("filter=price:ne:10.00", "apple Banana cherry date"),
        ("filter=rating:is_null", "Banana élan"),
        ("filter=rating:not_null", "apple cherry date"),
        ("filter=title:like:%25AN%25", "Banana élan"),
        ("filter=title:like:_pple", "apple"),
        ("filter=slug:like:b\\%25c", "cherry"),
        ("filter=title:contains:an", "Banana élan"),
        ("filter=title:contains:AN", ""),
        ("filter=title:starts_with:%C3%A9", "élan"),
        ("filter=day:gte:2026-01-01", "date"),
        ("filter=tags:contains:a", "apple Banana"),
        ("filter=meta.k:eq:5", "apple Banana"),
        ("filter=meta.k:gt:4", "apple cherry"),
        ("filter=meta.k:ne:5", "cherry date élan"),
        ("filter=meta.k:is_null", "date élan"),
        ("filter=meta.f:eq:true", "cherry"),
        ("filter=meta.t:contains:x", "apple"),
        ("filter=meta.k:in:5,50", "apple Banana cherry"),
        (f"filter=author_id.name:eq:Anna&filter=author_id:eq:{ANNA}", "apple Banana cherry date élan"),
        ("filter=author_id.name:ne:Anna", ""),
        ("filter=editor_id.name:is_null&limit=2", "apple Banana"),
        ("search=BAN", "Banana"),
        ("search=%25", "cherry"),
        ("where=doc.views%20%3E%203%20%7C%7C%20doc.title%20%3D%3D%20%27apple%27", "apple date élan"),
        ("filter=views:in:1,2,3&where=doc.rating%20!%3D%20null", "apple cherry"),
        ("filter=title:eq:a:b", ""),
    ],
)
def test_a_filter_finds_what_it_says(shelf: Backend, query: str, titles: str) -> None:
    found = shelf.list(f"/posts?sort=views&{query}")
    assert " ".join(doc["title"] for doc in found["docs"]) == titles


@pytest.mark.parametrize(
    ("sort", "views"),
    [
        ("-views", "54321"),
        ("title", "21345"),
        ("rating,views", "25314"),
        ("-rating,-views", "41352"),
        ("price", "43152"),
        ("-price", "25134"),
        ("meta.k,views", "451 3 2".replace(" ", "")),
        ("author_id.name,-views", "54321"),
        ("+views", "12345"),
    ],
)
def test_a_sort_orders_by_code_point_with_nulls_first_ascending_and_last_descending(
    shelf: Backend, sort: str, views: str
) -> None:
    found = shelf.list(f"/posts?sort={sort}".replace("+", "%2B"))
    assert "".join(str(doc["views"]) for doc in found["docs"]) == views


@pytest.mark.parametrize("sort", ["views", "-views", "rating", "-rating", "-rating,views", "price,-title", "meta.k", "tags", ""])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_by_cursor_show_every_document_once_in_the_order_of_the_whole(shelf: Backend, sort: str, size: int) -> None:
    whole = [doc["id"] for doc in shelf.list(f"/posts?sort={sort}")["docs"]]
    seen: list[str] = []
    cursor = ""
    while True:
        page = shelf.list(f"/posts?sort={sort}&limit={size}" + (f"&cursor={cursor}" if cursor else ""))
        assert page["total"] == 5
        seen += [doc["id"] for doc in page["docs"]]
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
    assert seen == whole


def test_pages_by_number_and_by_offset_agree(shelf: Backend) -> None:
    by_page = shelf.list("/posts?sort=views&page=2&perPage=2")
    by_offset = shelf.list("/posts?sort=views&limit=2&offset=2")
    assert [doc["views"] for doc in by_page["docs"]] == [3, 4] == [doc["views"] for doc in by_offset["docs"]]
    assert (by_page["limit"], by_page["offset"], by_page["total"]) == (2, 2, 5)


def test_limits_are_defaulted_capped_and_zero_gives_only_the_total(shelf: Backend) -> None:
    assert shelf.list("/posts")["limit"] == 100
    assert shelf.list("/posts?limit=100000")["limit"] == 1000
    assert shelf.list("/posts?limit=0") == {"docs": [], "total": 5, "limit": 0, "offset": 0}
    assert "total" not in shelf.list("/posts?count=none")
    assert shelf.list("/posts?offset=99")["total"] == 5


def test_fields_choose_what_is_shown_and_always_the_key(shelf: Backend) -> None:
    doc = shelf.list("/posts?fields=title,views&limit=1")["docs"][0]
    assert set(doc) == {"id", "title", "views"}
    single = shelf.get(f"/posts/{doc['id']}?fields=title")
    assert set(single.json()) == {"id", "title"}
    assert "etag" not in single.headers


@pytest.mark.parametrize(
    "query",
    [
        "filter=nope:eq:1",
        "filter=secret:eq:hidden",
        "sort=secret",
        "fields=secret",
        "filter=title",
        "filter=title:eq",
        "filter=title:is:1",
        "filter=views:eq:x",
        "filter=views:eq:99999999999999999999",
        "filter=title:is_null:1",
        "filter=id:eq:not-a-uuid",
        "filter=created_at:gt:yesterday",
        "filter=title.x:eq:1",
        "filter=author_id.nope:eq:1",
        "filter=author_id.name.x:eq:1",
        "filter=meta:eq:1",
        "filter=data:gt:AA==",
        "filter=views:contains:1",
        "sort=meta",
        "sort=data",
        "sort=views,views",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "page=0",
        "page=1&offset=1",
        "cursor=x",
        "cursor=x&offset=1",
        "count=maybe",
        "nope=1",
        "expand=title",
        "expand=nope",
        "expand=comments(text)",
        "expand=users(id)",
        "expand=author_id.x.y.z",
        "where=doc.secret%20%3D%3D%20%27hidden%27",
        "where=collections.users.exists(u,%20true)",
        "where=doc.nope",
        "where=(",
        "where=doc.title",
        "search=" + "x" * 257,
        "filter=title:contains:" + "x" * 257,
        "filter=title:eq:" + "x" * 2100,
        "filter=title:eq:%ff",
        "filter=title:eq:%00",
    ],
)
def test_a_query_that_cannot_be_meant_is_400_and_names_what_is_wrong(api: Backend, query: str) -> None:
    answer = api.get(f"/posts?{query}")
    assert (answer.status, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert "hidden" not in answer.json()["error"]


def test_an_unknown_collection_is_404_before_anything_else(api: Backend) -> None:
    for answer in (api.get("/nope?x=1"), api.post("/nope", {}), api.delete("/nope/1")):
        assert (answer.status, answer.json()["code"]) == (404, "COLLECTION_NOT_FOUND")


# --- expand -------------------------------------------------------------------------------------------------------------------


def test_expand_follows_relations_forth_and_back_under_the_rules_of_the_target(api: Backend) -> None:
    api.post("/users", {"id": "hidden000000000", "name": "H", "public": False})
    doc = post(api, status="published", editor_id=BEN)
    api.post("/comments", {"post_id": doc["id"], "text": "first"})
    api.post("/comments", {"post_id": doc["id"], "text": "second"})
    api.patch(f"/users/{BEN}", {"public": False}, as_user=BEN)
    found = api.list("/posts?expand=author_id,editor_id,comments(post_id).post_id.author_id&sort=views")["docs"][0]["expand"]
    assert found["author_id"]["name"] == "Anna"
    assert "editor_id" not in found
    assert [each["text"] for each in found["comments(post_id)"]] == ["first", "second"]
    assert found["comments(post_id)"][0]["expand"]["post_id"]["expand"]["author_id"]["name"] == "Anna"
    single = api.get(f"/posts/{doc['id']}?expand=editor_id&fields=title", as_user=BEN)
    assert single.json()["expand"]["editor_id"]["id"] == BEN
    assert "etag" not in single.headers


# --- batch and idempotency ----------------------------------------------------------------------------------------------------


def operation(method: str, collection: str, key: Any = None, data: Any = None) -> dict[str, Any]:
    given = {"method": method, "collection": collection, "id": key, "data": data}
    return {name: value for name, value in given.items() if value is not None}


def test_a_batch_does_all_of_its_operations(api: Backend) -> None:
    doc = post(api)
    answer = api.batch(
        [
            operation("POST", "posts", data={"title": "b1", "author_id": ANNA}),
            operation("PATCH", "posts", doc["id"], {"views": {"$inc": 1}}),
            operation("PUT", "posts", doc["id"], {"title": "b2", "author_id": ANNA}),
            operation("DELETE", "posts", doc["id"]),
        ],
        as_user=ANNA,
    )
    assert answer.status == 200, answer
    assert [each["status"] for each in answer.json()["results"]] == [201, 200, 200, 204]
    assert answer.json()["results"][1]["data"]["views"] == 1
    assert [each["title"] for each in api.list("/posts", as_user=ANNA)["docs"]] == ["b1"]


def test_a_batch_that_fails_names_the_operation_and_leaves_nothing(api: Backend) -> None:
    good = operation("POST", "posts", data={"title": "b1", "author_id": ANNA})
    for bad, status, code in (
        (operation("POST", "posts", data={"title": "", "author_id": ANNA}), 400, "VALIDATION_ERROR"),
        (operation("POST", "posts", data={"title": "x", "author_id": BEN}), 403, "FORBIDDEN"),
        (operation("DELETE", "posts", "0192d3a4-1111-7222-8333-444455556666"), 404, "DOCUMENT_NOT_FOUND"),
        (operation("POST", "nope", data={}), 404, "COLLECTION_NOT_FOUND"),
    ):
        answer = api.batch([good, bad], as_user=ANNA)
        assert (answer.status, answer.json()["code"], answer.json()["operation"]) == (status, code, 1)
    assert api.list("/posts", as_user=ANNA)["total"] == 0


@pytest.mark.parametrize(
    "body", [None, [], {}, {"operations": []}, {"operations": {}}, {"operations": [1]}, {"operations": [{}], "x": 1}]
)
def test_a_batch_of_the_wrong_form_is_400(api: Backend, body: Any) -> None:
    assert api.call("POST", "/api/batch", body, absolute=True).status == 400


def test_an_idempotency_key_gives_the_first_answer_again(api: Backend) -> None:
    body = {"title": "once", "author_id": ANNA}
    key = {"idempotency-key": "k-1"}
    first = api.post("/posts", body, as_user=ANNA, headers=key)
    again = api.post("/posts", body, as_user=ANNA, headers=key)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert (again.headers["etag"], again.headers["location"]) == (first.headers["etag"], first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert api.list("/posts", as_user=ANNA)["total"] == 1
    other = api.post("/posts", {**body, "title": "twice"}, as_user=ANNA, headers=key)
    assert (other.status, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


def test_an_idempotency_key_belongs_to_one_identity(api: Backend) -> None:
    key = {"idempotency-key": "k-1"}
    assert api.post("/posts", {"title": "a", "author_id": ANNA}, as_user=ANNA, headers=key).status == 201
    assert api.post("/posts", {"title": "b", "author_id": BEN}, as_user=BEN, headers=key).json()["title"] == "b"


def test_a_refusal_inside_the_transaction_is_kept_and_undoes_what_it_did(api: Backend) -> None:
    post(api, slug="taken")
    body = [{"title": "a", "author_id": ANNA}, {"title": "b", "author_id": ANNA, "slug": "taken"}]
    key = {"idempotency-key": "k-2"}
    first = api.post("/posts", body, as_user=ANNA, headers=key)
    taken = api.list("/posts?filter=slug:eq:taken", as_user=ANNA)["docs"][0]
    api.delete(f"/posts/{taken['id']}", as_user=ANNA)
    again = api.post("/posts", body, as_user=ANNA, headers=key)
    assert (first.status, again.status) == (409, 409)
    assert again.json()["details"] == first.json()["details"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert api.list("/posts", as_user=ANNA)["total"] == 0


def test_an_invalid_token_is_401_and_never_anonymous(api: Backend) -> None:
    answer = api.get("/posts", headers={"authorization": "Bearer x.y.z"})
    assert (answer.status, answer.json()["code"]) == (401, "UNAUTHORIZED")
    expired = api.get("/posts", headers={"authorization": f"Bearer {api.token(ANNA, ttl=-10)}"})
    assert (expired.status, expired.json()["code"]) == (401, "TOKEN_EXPIRED")


def test_an_integer_beyond_64_bit_names_its_field_in_a_batch_too(api: Backend) -> None:
    answer = api.batch([operation("POST", "posts", data={"title": "x", "author_id": ANNA, "views": 2**63})], as_user=ANNA)
    assert [(each["field"], each["code"]) for each in answer.json()["details"]] == [("views", "max_value")]
    inside = api.batch([operation("POST", "posts", data={"title": "x", "author_id": ANNA, "meta": {"k": 2**63}})], as_user=ANNA)
    assert inside.status == 400


# --- what attackers tried -----------------------------------------------------------------------------------------------------

CHOSEN = """
version: 1
collections:
  words:
    fields:
      key: { type: string, primary: true, minLength: 2, maxLength: 5, validate: { pattern: "^[a-z]+$" } }
      owner: { type: string, nullable: true }
      score: { type: int, default: 0, validate: { enum: [0, 1, 3] } }
      pay: { type: int, default: 0 }
    rules:
      create: "auth.id == doc.owner"
      read: "auth.id == doc.owner"
      update: "!has(request.body.pay)"
  counted:
    fields: { id: { type: int, primary: true, default: auto } }
    rules: { create: "true", read: "true" }
"""


def test_the_key_of_an_upsert_is_judged_like_one_in_a_body(backend: Any) -> None:
    api = backend(CHOSEN)
    answer = api.put("/words/NOT-ALLOWED-123?upsert=true", {"owner": ANNA}, as_user=ANNA)
    assert (answer.status, {d["code"] for d in answer.json()["details"]}) == (400, {"max_length", "pattern"})
    assert api.put(f"/counted/{2**63 - 1}?upsert=true", {}).status == 400
    assert api.post("/counted", {"id": 2**63 - 1}).status == 400
    assert api.post("/counted", {}).json()["id"] == 1


@pytest.mark.parametrize("headers", [{}, {"if-match": '"x"'}])
def test_an_upsert_does_not_tell_a_stranger_which_hidden_records_exist(backend: Any, headers: dict[str, str]) -> None:
    api = backend(CHOSEN)
    assert api.post("/words", {"key": "abc", "owner": ANNA}, as_user=ANNA).status == 201
    hidden = api.put("/words/abc?upsert=true", {"owner": ANNA}, as_user=BEN, headers=headers)
    missing = api.put("/words/xyz?upsert=true", {"owner": ANNA}, as_user=BEN, headers=headers)
    assert hidden.status == missing.status == 403
    assert api.put("/words/abc?upsert=true", {"owner": BEN}, as_user=BEN, headers=headers).status == 409


def test_an_increment_is_seen_by_rules_and_judged_by_the_field(backend: Any) -> None:
    api = backend(CHOSEN)
    api.post("/words", {"key": "abc", "owner": ANNA}, as_user=ANNA)
    assert api.patch("/words/abc", {"pay": {"$inc": 5}}, as_user=ANNA).status == 403
    assert api.patch("/words/abc", {"score": {"$inc": 1}}, as_user=ANNA).json()["score"] == 1
    refused = api.patch("/words/abc", {"score": {"$inc": 1}}, as_user=ANNA)
    assert [(d["field"], d["code"]) for d in refused.json()["details"]] == [("score", "enum")]


def test_relations_of_one_name_that_point_to_different_fields_expand_apart(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  users:
    fields: { id: { type: string, primary: true }, handle: { type: string, unique: true }, expand: { type: int, default: 1 } }
    rules: { create: "true", read: "true" }
  posts:
    fields: { id: { type: uuid, primary: true, default: auto }, owner: { type: string, references: users.id } }
    rules: { create: "true", read: "true" }
  notes:
    fields: { id: { type: uuid, primary: true, default: auto }, owner: { type: string, references: users.handle } }
    rules: { create: "true", read: "true" }
""")
    api.post("/users", {"id": "u1", "handle": "anna"})
    api.post("/posts", {"owner": "u1"})
    api.post("/notes", {"owner": "anna"})
    for path in ("/posts", "/notes"):
        assert api.list(f"{path}?expand=owner")["docs"][0]["expand"]["owner"]["id"] == "u1"
    assert api.get("/posts?expand=owner.posts(owner)").status == 400


def test_an_internal_field_that_refers_is_not_named_when_it_stops_a_delete(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  users:
    fields: { id: { type: string, primary: true }, code: { type: string, unique: true } }
    rules: { create: "true", read: "true", update: "true", delete: "true" }
  vault:
    fields:
      id: { type: uuid, primary: true, default: auto }
      hidden_owner: { type: string, references: users.id, internal: true, default: u1 }
      code: { type: string, references: users.code, nullable: true }
    rules: { create: "true", read: "true" }
""")
    api.post("/users", {"id": "u1", "code": "c1"})
    api.post("/vault", {"code": "c1"})
    refused = api.delete("/users/u1")
    assert (refused.status, refused.json()["code"]) == (409, "FOREIGN_KEY_VIOLATION")
    assert "hidden_owner" not in refused.text
    changed = api.patch("/users/u1", {"code": "c2"})
    assert (changed.status, changed.json()["details"][0]["field"]) == (409, "code")


def test_a_list_names_the_document_whose_constraint_failed(api: Backend) -> None:
    post(api, slug="taken")
    answer = api.post(
        "/posts", [{"title": "a", "author_id": ANNA}, {"title": "b", "author_id": ANNA, "slug": "taken"}], as_user=ANNA
    )
    assert [each["field"] for each in answer.json()["details"]] == ["1.slug"]


def test_a_large_body_is_judged_off_the_event_loop_with_the_same_outcome(api: Backend) -> None:
    many = [{"title": f"t{n}", "author_id": ANNA, "meta": {"k": "x" * 100}} for n in range(900)]
    assert api.post("/posts", many, as_user=ANNA).status == 201
    many[899]["title"] = ""
    refused = api.post("/posts", many, as_user=ANNA)
    assert [(each["field"], each["code"]) for each in refused.json()["details"]] == [("899.title", "min_length")]


def test_many_values_of_a_json_filter_are_one_condition(shelf: Backend) -> None:
    values = ",".join(str(number) for number in range(400))
    assert [doc["views"] for doc in shelf.list(f"/posts?filter=meta.k:in:{values}&sort=views")["docs"]] == [1, 2, 3]
    kept = len(shelf.records.planner._kept)
    shelf.list(f"/posts?filter=meta.k:in:{values},5000&sort=views")
    assert len(shelf.records.planner._kept) == kept


def test_a_batch_member_that_no_utf8_can_say_is_refused_by_name(api: Backend) -> None:
    body = b'{"operations":[{"method":"POST","collection":"posts","data":{},"\\ud800":1}]}'
    answer = api.call("POST", "/api/batch", body, absolute=True)
    assert (answer.status, answer.json()["code"]) == (400, "VALIDATION_ERROR")


def test_a_select_filter_takes_only_values_of_the_field(api: Backend) -> None:
    assert api.get("/posts?filter=status:eq:purple").json()["code"] == "INVALID_QUERY"
    assert api.get("/posts?filter=tags:contains:nope").json()["code"] == "INVALID_QUERY"
