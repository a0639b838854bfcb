"""SQLite's table rebuild by the book: what is not ours survives, and nothing else is touched."""

from __future__ import annotations

import pytest

from alyx.database.migrations import MigrationError
from alyx.schema.load import loads

from .conftest import World, schema

CHILD = "  comments:\n    fields:\n      id: {type: int, primary: true, default: auto}\n"
OLD = schema(
    "title: {type: string, nullable: true}", CHILD + "      post: {type: string, references: posts.id, onDelete: cascade}"
)
NEW = schema("title: {type: text, default: none}", CHILD + "      post: {type: string, references: posts.id, onDelete: cascade}")


@pytest.fixture
def filled(world: World) -> World:
    world.migrator.apply(OLD)
    world.run("INSERT INTO posts VALUES ('a', 'x'), ('b', NULL)")
    world.run("INSERT INTO comments (id, post) VALUES (1, 'a'), (5, 'b')")
    world.run("DELETE FROM comments WHERE id = 5")
    return world


def test_children_survive_the_rebuild_of_their_parent_and_still_follow_it(filled: World) -> None:
    assert filled.migrator.apply(NEW, yes=True).ok
    assert filled.run("SELECT * FROM comments") == [(1, "a")]
    filled.run("DELETE FROM posts WHERE id = 'a'")
    assert filled.run("SELECT * FROM comments") == []


def test_views_triggers_and_indexes_of_others_survive(filled: World) -> None:
    filled.run("CREATE VIEW shown AS SELECT title FROM posts")
    filled.run("CREATE TABLE seen (id)")
    filled.run("CREATE TRIGGER theirs AFTER INSERT ON posts BEGIN INSERT INTO seen VALUES (NEW.id); END")
    filled.run("CREATE TRIGGER elsewhere AFTER INSERT ON comments BEGIN INSERT INTO seen SELECT title FROM posts; END")
    filled.run("CREATE INDEX by_length ON posts (length(title)) WHERE title IS NOT NULL")
    before = filled.run(
        "SELECT name, sql FROM sqlite_schema WHERE name IN ('shown', 'theirs', 'elsewhere', 'by_length') ORDER BY 1"
    )
    assert filled.migrator.apply(NEW, yes=True).ok
    assert before == filled.run(
        "SELECT name, sql FROM sqlite_schema WHERE name IN ('shown', 'theirs', 'elsewhere', 'by_length') ORDER BY 1"
    )
    filled.run("INSERT INTO posts VALUES ('c', 'new')")
    assert filled.run("SELECT id FROM seen") == [("c",)]
    assert ("new",) in filled.run("SELECT title FROM shown")


def test_a_rename_carries_views_and_triggers_of_others_along(filled: World) -> None:
    filled.run("CREATE VIEW shown AS SELECT title FROM posts")
    text = CHILD + "      post: {type: string, references: posts.id, onDelete: cascade}"
    assert filled.migrator.apply(schema("headline: {type: string, nullable: true, renamed_from: title}", text)).ok
    assert filled.run("SELECT * FROM shown ORDER BY 1") == [(None,), ("x",)]


def test_a_view_that_would_break_stops_the_migration(filled: World) -> None:
    filled.run("CREATE VIEW shown AS SELECT title FROM posts")
    picture = filled.picture()
    text = CHILD + "      post: {type: string, references: posts.id, onDelete: cascade}"
    with pytest.raises(MigrationError, match="shown"):
        filled.migrator.apply(schema("other: {type: int, nullable: true}", text), accept_data_loss=True)
    assert filled.picture() == picture


def test_an_autoincrement_key_never_gives_a_number_again(filled: World) -> None:
    text = CHILD + "      post: {type: string, references: posts.id, onDelete: restrict}"
    assert filled.migrator.apply(schema("title: {type: string, nullable: true}", text)).ok
    filled.run("INSERT INTO comments (post) VALUES ('a')")
    assert filled.run("SELECT max(id) FROM comments") == [(6,)]


def test_references_that_another_tool_broke_before_do_not_stop_a_migration(filled: World) -> None:
    filled.run("PRAGMA foreign_keys = OFF; INSERT INTO comments (post) VALUES ('nowhere')")
    assert filled.migrator.apply(NEW, yes=True).ok


def test_names_that_are_sql_keywords_work_everywhere(world: World) -> None:
    text = "version: 1\ncollections:\n  order:\n    fields:\n      group: {type: int, primary: true, default: auto}\n"
    world.migrator.apply(loads(text + "      select: {type: string, index: true, nullable: true}\n"))
    world.run('INSERT INTO "order" ("select") VALUES (\'1\')')
    new = loads(text + "      where: {type: int, unique: true, renamed_from: select, nullable: true}\n")
    assert world.migrator.apply(new, yes=True).ok
    assert world.run('SELECT "group", "where" FROM "order"') == [(1, 1)]
    assert world.migrator.drift(new).found == ()


def test_the_key_itself_can_change_its_type_with_those_that_refer_to_it(world: World) -> None:
    def both(kind: str, auto: str) -> str:
        return f"""version: 1
collections:
  users:
    fields:
      id: {{type: {kind}, primary: true{auto}}}
  posts:
    fields:
      id: {{type: uuid, primary: true, default: auto}}
      user: {{type: relation, relation: {{collection: users, onDelete: cascade}}}}
"""

    world.migrator.apply(loads(both("int", ", default: auto")))
    world.run("INSERT INTO users VALUES (7); INSERT INTO posts VALUES ('p', 7)")
    new = loads(both("string", ""))
    assert world.migrator.apply(new, yes=True).ok
    assert world.run("SELECT * FROM users, posts") == [("7", "p", "7")]
    assert world.migrator.drift(new).found == ()
    world.migrator.rollback()
    assert world.run("SELECT * FROM users, posts") == [(7, "p", 7)]


def test_another_field_can_become_the_key_and_the_old_one_is_given_back(world: World) -> None:
    text = "version: 1\ncollections:\n  posts:\n    fields:\n"
    old = loads(
        text
        + "      id: {type: uuid, primary: true, default: auto}\n      slug: {type: string}\n      n: {type: int, index: true}\n"
    )
    new = loads(
        text + "      id: {type: uuid}\n      slug: {type: string, primary: true}\n      n: {type: string, index: true}\n"
    )
    world.migrator.apply(old)
    world.run("INSERT INTO posts VALUES ('u1', 'a', 1), ('u2', 'a', 2)")
    (finding,) = [item for change in world.migrator.plan(new).changes for item in change.findings]
    assert str(finding) == "posts.slug 'a': stands more than once (2 records: u1, u2)"
    world.run("UPDATE posts SET slug = 'b' WHERE id = 'u2'")
    assert world.migrator.apply(new, yes=True).ok
    assert world.migrator.drift(new).found == ()
    assert world.run("SELECT slug, id, n FROM posts ORDER BY slug") == [("a", "u1", "1"), ("b", "u2", "2")]
    world.migrator.rollback()
    assert world.run("SELECT id, slug, n FROM posts ORDER BY id") == [("u1", "a", 1), ("u2", "b", 2)]
    assert world.migrator.drift(old).found == ()


def test_dropping_the_key_for_a_new_one_makes_new_keys_and_keeps_the_rest(world: World) -> None:
    text = "version: 1\ncollections:\n  posts:\n    fields:\n"
    old = loads(text + "      id: {type: int, primary: true, default: auto}\n      n: {type: int}\n      gone: {type: string}\n")
    new = loads(text + "      uid: {type: uuid, primary: true, default: auto}\n      n: {type: int}\n")
    world.migrator.apply(old)
    world.run("INSERT INTO posts VALUES (3, 10, 'x'), (4, 11, 'y')")
    assert world.migrator.apply(new, accept_data_loss=True).ok
    assert world.migrator.drift(new).found == ()
    assert [len(key) for (key,) in world.run("SELECT uid FROM posts")] == [36, 36]
    assert world.run("SELECT n FROM posts ORDER BY n") == [(10,), (11,)]
