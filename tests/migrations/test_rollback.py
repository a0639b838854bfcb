"""Rollback really undoes: the structure, and the data as far as it can be kept."""

from __future__ import annotations

import pytest

from alyx.base import clock
from alyx.database.migrations import MigrationError, trash
from alyx.schema.load import loads

from .conftest import World, schema

OLD = schema("title: {type: string, nullable: true}\nn: {type: string, nullable: true}")


@pytest.fixture
def filled(world: World) -> World:
    world.migrator.apply(OLD)
    world.run("INSERT INTO posts VALUES ('a', 'one', '007'), ('b', NULL, '2'), ('c', 'three', NULL)")
    return world


def test_a_dropped_field_comes_back_with_its_values(filled: World) -> None:
    filled.migrator.apply(schema("n: {type: string, nullable: true}"), accept_data_loss=True)
    filled.run("INSERT INTO posts VALUES ('d', 'new')")
    filled.run("DELETE FROM posts WHERE id = 'c'")
    filled.migrator.rollback()
    assert filled.run("SELECT id, title FROM posts ORDER BY id") == [("a", "one"), ("b", None), ("d", None)]
    assert filled.migrator.drift(OLD).found == ()


def test_a_dropped_collection_comes_back_but_for_what_refers_to_the_deleted(world: World) -> None:
    users = "  users:\n    fields:\n      id: {type: string, primary: true}"
    old = schema("user: {type: string, references: users.id, onDelete: cascade}", users)
    world.migrator.apply(old)
    world.run("INSERT INTO users VALUES ('u'), ('v'); INSERT INTO posts VALUES ('a', 'u'), ('b', 'v')")
    world.migrator.apply(loads(f"version: 1\ncollections:\n{users}"), accept_data_loss=True)
    world.run("DELETE FROM users WHERE id = 'v'")
    remarks = world.migrator.rollback().remarks
    assert world.run("SELECT * FROM posts") == [("a", "u")]
    assert remarks == ("posts: 1 record(s) did not come back, because what they refer to is gone",)
    assert world.run("PRAGMA foreign_key_check") == []


def test_values_that_a_change_of_type_lost_come_back_unless_they_were_written_since(filled: World) -> None:
    filled.migrator.apply(
        schema("title: {type: string, nullable: true}\nn: {type: int, default: 5}"), yes=True, accept_data_loss=True
    )
    assert filled.run("SELECT n FROM posts ORDER BY id") == [(7,), (2,), (5,)]
    filled.run("UPDATE posts SET n = 9 WHERE id = 'b'")
    filled.migrator.rollback()
    assert filled.run("SELECT n FROM posts ORDER BY id") == [("007",), ("9",), (None,)]


def test_several_steps_are_taken_back_newest_first_in_one_go(filled: World) -> None:
    filled.migrator.apply(
        schema("headline: {type: string, nullable: true, renamed_from: title}\nn: {type: string, nullable: true}")
    )
    filled.migrator.apply(schema("headline: {type: string, nullable: true}"), accept_data_loss=True)
    taken = filled.migrator.rollback(2).steps
    assert [step.name for step in taken] == ["drop_field_n", "rename_field_headline"]
    assert filled.run("SELECT title, n FROM posts ORDER BY id") == [("one", "007"), (None, "2"), ("three", None)]
    assert filled.migrator.plan(OLD).empty


def test_what_cannot_be_turned_back_stops_the_rollback_and_is_named(world: World) -> None:
    world.migrator.apply(schema("n: {type: int}"))
    world.run("INSERT INTO posts VALUES ('a', 1), ('b', 2)")
    world.migrator.apply(schema("n: {type: string}"))
    world.run("UPDATE posts SET n = 'two' WHERE id = 'b'")
    picture = world.picture()
    with pytest.raises(MigrationError) as caught:
        world.migrator.rollback()
    assert caught.value.reasons == ["posts.n 'two': not a whole number (1 record: b)"]
    assert world.picture() == picture
    world.run("UPDATE posts SET n = '3' WHERE id = 'b'")
    world.migrator.rollback()
    assert world.run("SELECT n FROM posts") == [(1,), (3,)]


def test_more_steps_than_there_are_is_an_error_and_changes_nothing(filled: World) -> None:
    with pytest.raises(MigrationError, match="only 1 step"):
        filled.migrator.rollback(2)
    with pytest.raises(MigrationError, match="at least 1"):
        filled.migrator.rollback(0)


def test_rolling_back_the_first_step_leaves_an_empty_database_and_apply_starts_over(filled: World) -> None:
    filled.migrator.rollback()
    assert filled.run("SELECT name FROM sqlite_schema WHERE name = 'posts' OR name LIKE '\\_alyx\\_log%' ESCAPE '\\'") == []
    assert filled.migrator.apply(OLD).ok
    filled.migrator.rollback()
    with pytest.raises(MigrationError, match="nothing to roll back"):
        filled.migrator.rollback()


def test_the_change_log_works_after_a_rollback(filled: World) -> None:
    filled.migrator.apply(schema("n: {type: string, nullable: true}"), accept_data_loss=True)
    filled.migrator.rollback()
    filled.run("UPDATE posts SET title = 'x' WHERE id = 'a'")
    after = filled.run("SELECT after FROM _alyx_changes ORDER BY seq DESC LIMIT 1")
    assert after == [('{"id":"a","title":"x","n":"007"}',)]


def test_what_is_kept_goes_after_its_time_or_when_asked(filled: World) -> None:
    without = schema("n: {type: string, nullable: true}")
    filled.migrator.apply(without, accept_data_loss=True)
    assert filled.migrator.empty_trash() == 1
    assert filled.migrator.rollback().remarks == ("drop_field_title: what it took away is no longer kept",)
    assert filled.run("SELECT title FROM posts WHERE title IS NOT NULL") == []
    filled.migrator.apply(without, accept_data_loss=True)
    try:
        now = clock.seconds()
        clock.pin(lambda: now + trash.KEPT + 1)
        filled.migrator.apply(without)
    finally:
        clock.pin(None)
    assert filled.migrator.empty_trash() == 0


CIRCLE = """
  teams:
    fields:
      id: {type: string, primary: true}
      leader: {type: string, references: people.id, nullable: true, onDelete: set null}
  people:
    fields:
      id: {type: string, primary: true}
      team: {type: relation, relation: {collection: teams, field: id, onDelete: cascade}, nullable: true}
"""


def test_collections_that_refer_to_each_other_are_added_dropped_and_brought_back(world: World) -> None:
    alone, both = schema(""), schema("", CIRCLE.strip("\n"))
    world.migrator.apply(alone)
    world.migrator.apply(both)
    world.run("INSERT INTO teams (id) VALUES ('t')")
    world.run("INSERT INTO people VALUES ('p', 't')")
    world.run("UPDATE teams SET leader = 'p'")
    records = world.records(both)
    assert world.migrator.apply(alone, accept_data_loss=True).ok
    assert world.migrator.drift(alone).found == ()
    world.migrator.rollback()
    assert world.migrator.drift(both).found == ()
    assert world.records(both) == records
    world.migrator.rollback()
    assert world.migrator.drift(alone).found == ()


def test_sql_that_only_another_engine_can_take_back_is_not_said_to_be_undone(world: World) -> None:
    world.migrator.apply(schema(""))
    engines = "sqlite: {up: INSERT INTO posts VALUES ('a')}, postgresql: {up: A, down: B}"
    world.write("001_one.yaml", f"version: 1\nname: one\noperations:\n  - sql: {{{engines}}}\n")
    world.migrator.apply(schema(""))
    with pytest.raises(MigrationError, match="its `sql` has no `down`"):
        world.migrator.rollback()


def test_a_key_that_gave_way_to_another_comes_back(world: World) -> None:
    by_id = schema("code: {type: string}")
    by_code = loads("version: 1\ncollections: {posts: {fields: {code: {type: string, primary: true}}}}")
    world.migrator.apply(by_id)
    world.run("INSERT INTO posts (id, code) VALUES ('a', 'x'), ('b', 'y')")
    records = world.records(by_id)
    assert world.migrator.apply(by_code, accept_data_loss=True).ok
    world.migrator.rollback()
    assert world.migrator.drift(by_id).found == ()
    assert world.records(by_id) == records


def test_a_dropped_index_comes_back_as_it_was(world: World) -> None:
    with_index = schema("code: {type: string}\n", "    indexes: [{name: by_code, fields: [code], order: desc}]")
    world.migrator.apply(with_index)
    drop = "{type: drop_index, collection: posts, index: {name: by_code, fields: [id], unique: true}}"
    world.write("001_drop.yaml", f"version: 1\nname: drop\noperations:\n  - {drop}\n")
    world.migrator.apply(schema("code: {type: string}"))
    world.migrator.rollback()
    assert world.migrator.drift(with_index).found == ()


def test_what_a_rollback_takes_away_is_kept_for_its_time_and_told(world: World) -> None:
    bare = schema("")
    world.migrator.apply(bare)
    world.migrator.apply(OLD)
    world.run("INSERT INTO posts VALUES ('a', 'one', '7'), ('b', NULL, NULL), ('c', 'three', NULL)")
    picture = world.picture()
    foreseen = world.migrator.preview_rollback(2)
    assert world.picture() == picture
    done = world.migrator.rollback(2)
    assert [str(item) for item in done.taken] == ["posts.n: 1 value", "posts.title: 2 values", "posts: 3 records"]
    assert [str(item) for item in foreseen.taken] == [str(item) for item in done.taken]
    assert len(done.remarks) == 3
    numbers, titles, posts = (item.kept for item in done.taken)
    assert world.run(f'SELECT * FROM "{titles}" ORDER BY new_key') == [("a", "one"), ("b", None), ("c", "three")]
    assert world.run(f'SELECT id FROM "{posts}" ORDER BY id') == [("a",), ("b",), ("c",)]
    assert world.migrator.apply(OLD).ok
    assert world.migrator.drift(OLD).found == ()
    copied = f"INSERT INTO posts (id, title) SELECT p.id, t.old FROM {posts} p JOIN {titles} t ON t.new_key = p.id"
    world.write("001_back.yaml", f"version: 1\nname: back\noperations:\n  - sql: {{up: '{copied}', down: DELETE FROM posts}}\n")
    assert world.migrator.apply(OLD).ok
    assert world.run("SELECT title FROM posts ORDER BY id") == [("one",), (None,), ("three",)]
    assert numbers in trash_of(world)
    try:
        now = clock.seconds()
        clock.pin(lambda: now + trash.KEPT + 2)
        world.migrator.apply(OLD)
    finally:
        clock.pin(None)
    assert trash_of(world) == []


def test_a_rollback_that_takes_nothing_away_keeps_no_empty_tables(world: World) -> None:
    world.migrator.apply(schema(""))
    world.migrator.apply(OLD)
    world.run("INSERT INTO posts (id) VALUES ('a')")
    assert world.migrator.rollback().taken == ()
    assert trash_of(world) == []


def trash_of(world: World) -> list[str]:
    return [name for (name,) in world.run("SELECT name FROM sqlite_schema WHERE name LIKE '%trash%' AND type = 'table'")]
