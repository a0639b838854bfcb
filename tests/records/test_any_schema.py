"""Schemas that nobody thought of: SQL keywords as names, keys of every type, every type optional, hundreds of fields."""

from __future__ import annotations

from typing import Any

import pytest

KEYWORDS = """
version: 1
collections:
  select:
    fields:
      order: { type: uuid, primary: true, default: auto }
      from: { type: string, index: true }
      where: { type: int, default: 1 }
      group: { type: bool, default: true }
      table: { type: json, nullable: true }
      rowid: { type: string, nullable: true }
      type: { type: select, select: { values: [a, "null", "it's"] }, default: "it's" }
    indexes: [ { name: index, fields: [from, where], unique: true } ]
    rules: { create: "true", read: "doc.where > 0", update: "true", delete: "true" }
  values:
    fields:
      default: { type: int, primary: true, default: auto }
      references: { type: relation, relation: { collection: select, onDelete: cascade } }
    rules:
      create: "true"
      read: "collections.select.exists(select, select.order == doc.references && select.group)"
"""


def test_sql_keywords_are_names_like_any_other(backend: Any) -> None:
    api = backend(KEYWORDS)
    made = api.post("/select", {"from": "x", "table": {"drop": [1]}, "rowid": "r"}).json()
    assert made["type"] == "it's"
    child = api.post("/values", {"references": made["order"]})
    assert (child.status, child.json()["default"]) == (201, 1)
    found = api.list("/select?filter=from:eq:x&sort=-where,group&fields=from&expand=values(references)&search=r&where=doc.group")
    assert found["docs"][0]["expand"]["values(references)"][0]["default"] == 1
    assert api.list("/values?expand=references&filter=references.from:eq:x")["docs"][0]["expand"]["references"]["from"] == "x"
    assert api.post("/select", {"from": "x"}).json()["details"][0]["field"] == "from"
    assert api.delete(f"/select/{made['order']}").status == 204
    assert api.list("/values")["total"] == 0


KEYS = [
    ("id", "auto", "abcdefghij12345", "abcdefghij1234"),
    ("uuid", "auto", "0192d3a4-1111-7222-8333-444455556666", "x"),
    ("int", "auto", 42, "4.2"),
    ("string", None, "a/b?c%d é", None),
    ("email", None, "a+b@example.com", None),
    ("date", None, "2026-02-03", "2026-02-30"),
    ("timestamp", None, "2026-02-03T04:05:06.000007Z", "2026-02-03"),
]


@pytest.mark.parametrize(("kind", "default", "key", "impossible"), KEYS, ids=[row[0] for row in KEYS])
def test_a_key_may_have_any_scalar_type(backend: Any, kind: str, default: str | None, key: Any, impossible: str | None) -> None:
    from urllib.parse import quote

    auto = f", default: {default}" if default else ""
    api = backend(f"""
version: 1
collections:
  things:
    fields:
      key: {{ type: {kind}, primary: true{auto} }}
      name: {{ type: string, default: "" }}
    rules: {{ create: "true", read: "true", update: "true", delete: "true" }}
  parts:
    fields:
      id: {{ type: uuid, primary: true, default: auto }}
      thing: {{ type: relation, relation: {{ collection: things, onDelete: cascade }}, nullable: true }}
    rules: {{ create: "true", read: "true" }}
""")
    made = api.post("/things", {"key": key})
    assert (made.status, made.json()["key"]) == (201, key)
    url = "/things/" + made.headers["location"].rsplit("/", 1)[1]
    assert api.get(url).json()["key"] == key
    assert api.patch(url, {"key": key, "name": "n"}).json() == {"key": key, "name": "n"}
    assert api.put(url, {"name": "m"}).status == 200
    assert api.post("/parts", {"thing": key}).json()["thing"] == key
    text = quote(str(key), safe="")
    assert (
        api.list(f"/parts?filter=thing:eq:{text}&filter=thing.name:eq:m&expand=thing")["docs"][0]["expand"]["thing"]["name"]
        == "m"
    )
    assert api.list("/things?expand=parts(thing)")["docs"][0]["expand"]["parts(thing)"][0]["thing"] == key
    assert len(api.list(f"/things?filter=key:in:{text}&sort=-key")["docs"]) == (0 if "," in text else 1)
    if impossible:
        assert api.get(f"/things/{impossible}").status == 404
    if default:
        second = api.post("/things", {"name": "auto"}).json()["key"]
        assert second != key
        assert api.get(f"/things/{second}").status == 200
    assert api.delete(url).status == 204
    assert api.list("/parts")["total"] == 0


def test_a_key_that_the_database_counts_is_never_given_twice(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  things:
    fields: { id: { type: int, primary: true, default: auto } }
    rules: { create: "true", read: "true", delete: "true" }
""")
    first = api.post("/things", {}).json()["id"]
    assert api.delete(f"/things/{first}").status == 204
    api.stop()
    api.start()
    assert api.post("/things", {}).json()["id"] == first + 1


def test_a_collection_may_have_hundreds_of_fields(backend: Any) -> None:
    kinds = ["string", "int", "float", "bool", "json", "timestamp", "text", "date"]
    fields = "\n".join(f"      f{n}: {{ type: {kinds[n % len(kinds)]}, nullable: true }}" for n in range(480))
    api = backend(f"""
version: 1
collections:
  wide:
    fields:
      id: {{ type: uuid, primary: true, default: auto }}
{fields}
    rules: {{ create: "true", read: "true", update: "true" }}
""")
    made = api.post("/wide", {"f0": "x", "f479": "2026-01-01", "f3": True, "f4": [1]}).json()
    assert (made["f0"], made["f479"], made["f3"], made["f4"], made["f5"]) == ("x", "2026-01-01", True, [1], None)
    assert api.patch(f"/wide/{made['id']}", {"f478": "y"}).json()["f478"] == "y"
    assert api.list("/wide?search=y&sort=f0,-f1")["total"] == 1


def test_a_reference_may_point_at_its_own_collection_and_at_itself(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  nodes:
    fields:
      id: { type: uuid, primary: true, default: auto }
      parent: { type: uuid, references: nodes.id, onDelete: set null, nullable: true }
      owner: { type: string, default: me }
    rules: { create: "true", read: "doc.owner == 'me'", update: "true", delete: "true" }
""")
    key = "0192d3a4-1111-7222-8333-444455556666"
    assert api.post("/nodes", {"id": key, "parent": key}).status == 201
    child = api.post("/nodes", {"parent": key}).json()
    tree = api.list("/nodes?expand=parent.parent,nodes(parent)&sort=id")["docs"][0]["expand"]
    assert tree["parent"]["expand"]["parent"]["id"] == key
    assert [each["id"] for each in tree["nodes(parent)"]] == [key, child["id"]]
    assert api.patch(f"/nodes/{key}", {"parent": None}).status == 200
    assert api.delete(f"/nodes/{key}").status == 204
    assert api.get(f"/nodes/{child['id']}").json()["parent"] is None


def test_a_reference_may_point_at_a_unique_field_that_is_not_the_key(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  users:
    fields: { id: { type: uuid, primary: true, default: auto }, handle: { type: string, unique: true } }
    rules: { create: "true", read: "true", delete: "true" }
  posts:
    fields:
      id: { type: uuid, primary: true, default: auto }
      author: { type: string, references: users.handle, onDelete: restrict }
    rules: { create: "true", read: "true" }
""")
    user = api.post("/users", {"handle": "anna"}).json()
    assert api.post("/posts", {"author": "ben"}).json()["details"][0]["field"] == "author"
    api.post("/posts", {"author": "anna"})
    assert api.list("/posts?expand=author&filter=author.id:not_null")["docs"][0]["expand"]["author"]["id"] == user["id"]
    assert len(api.list("/users?expand=posts(author)")["docs"][0]["expand"]["posts(author)"]) == 1
    assert api.delete(f"/users/{user['id']}").json()["code"] == "FOREIGN_KEY_VIOLATION"


def test_an_unchecked_reference_may_name_what_one_may_not_read(backend: Any) -> None:
    schema = """
version: 1
collections:
  teams: { fields: { id: { type: uuid, primary: true, default: auto }, n: { type: int, default: 0 } }, rules: { create: "true" } }
  members:
    fields:
      id: { type: uuid, primary: true, default: auto }
      team: { type: uuid, references: teams.id%s }
    rules: { create: "true", read: "true" }
"""
    for option, status in ((", unchecked: true", 201), ("", 409)):
        api = backend(schema % option)
        team = api.post("/teams", {}).json()["id"]
        assert api.post("/members", {"team": team}).status == status


def test_filters_and_sorts_through_a_relation_see_only_readable_targets(backend: Any) -> None:
    api = backend("""
version: 1
collections:
  users:
    fields: { id: { type: uuid, primary: true, default: auto }, name: { type: string }, open: { type: bool, default: true } }
    rules: { create: "true", read: "doc.open" }
  posts:
    fields:
      id: { type: uuid, primary: true, default: auto }
      n: { type: int }
      author: { type: uuid, references: users.id, unchecked: true, nullable: true }
    rules: { create: "true", read: "true" }
""")
    seen = api.post("/users", {"name": "b"}).json()["id"]
    hidden = api.post("/users", {"name": "a", "open": False}).json()["id"]
    for number, author in enumerate((seen, hidden, None)):
        assert api.post("/posts", {"n": number, "author": author}).status == 201

    def numbers(query: str) -> list[int]:
        return [doc["n"] for doc in api.list(f"/posts?{query}")["docs"]]

    assert numbers("filter=author.name:eq:a") == []
    assert numbers("filter=author.name:ne:b&sort=n") == [1, 2]
    assert numbers("filter=author.name:is_null&sort=n") == [1, 2]
    assert numbers("filter=author.name:not_null") == [0]
    assert numbers("sort=author.name,n") == [1, 2, 0]
    assert numbers("filter=author.open:eq:false") == []
