"""Migration files: read strictly, run in order, one transaction each, checked against what was applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from alyx.base.errors import SourceError
from alyx.database.migrations import MigrationError, Migrator, files
from alyx.schema import operations
from alyx.schema.load import loads

from .conftest import World, schema

FIRST = """version: 1
name: first
operations:
  - type: add_collection
    collection: posts
    definition:
      fields:
        id: {type: string, primary: true}
        title: {type: string, nullable: true}
"""
SECOND = """version: 2
name: second
operations:
  - type: add_field
    collection: posts
    field: views
    definition: {type: int, default: 0}
  - type: sql
    up: UPDATE posts SET views = 1
    down: UPDATE posts SET views = 0
"""
BOTH = schema("title: {type: string, nullable: true}\nviews: {type: int, default: 0}")


def faults(text: str, tmp_path: Path, name: str = "001_x.yaml") -> list[str]:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        files.read(path).operations(operations.EMPTY)
    return [f"{fault.line}:{fault.column} {fault.path}: {fault.message}" for fault in caught.value.faults]


def test_an_empty_database_runs_the_files_and_then_the_difference(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    world.write("002_second.yaml", SECOND)
    plan = world.migrator.plan(BOTH)
    assert ([file.version for file in plan.pending], plan.changes) == ([1, 2], ())
    more = schema("title: {type: string, nullable: true}\nviews: {type: int, default: 0, index: true}")
    applied = world.migrator.apply(more)
    assert [file.name for file in applied.files] == ["first", "second"]
    assert [item.title for item in applied.changes] == ["change field posts.views: indexed"]
    assert world.migrator.check(more).ok


def test_a_file_that_fails_leaves_nothing_of_itself_and_those_before_stay(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    broken = SECOND.replace("UPDATE posts SET views = 1", "UPDATE nowhere SET views = 1")
    world.write("002_second.yaml", broken)
    with pytest.raises(MigrationError, match=r"002_second\.yaml: .*no such table: nowhere"):
        world.migrator.apply(BOTH)
    assert [step.version for step in world.migrator.status().applied] == [1]
    assert [name for _, name, *_ in world.run("PRAGMA table_info(posts)")] == ["id", "title"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE posts SET views = 5; COMMIT", "the SQL says COMMIT"),
        ("UPDATE posts SET views = 5; COMMIT; BEGIN", "the SQL says COMMIT"),
        ("ROLLBACK", "the SQL says ROLLBACK"),
        ("SAVEPOINT one", "the SQL says SAVEPOINT"),
        ("ATTACH 'other.db' AS other", "another database"),
        ("VACUUM INTO 'other.db'", "the database refuses it|another database"),
        ("PRAGMA writable_schema = ON", "PRAGMA writable_schema"),
        ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode"),
        ("DELETE FROM _alyx_changes", "changes _alyx_changes"),
        ("UPDATE _ALYX_feed SET last_seq = 0", "changes _alyx_feed"),
        ("DROP TABLE _alyx_migrations", "changes _alyx_migrations"),
        ("ALTER TABLE _alyx_meta ADD COLUMN x TEXT", "changes _alyx_meta"),
        ("CREATE TRIGGER t AFTER INSERT ON _alyx_changes BEGIN SELECT 1; END", "changes _alyx_changes"),
        ("CREATE TABLE _alyx_mine (a)", "changes _alyx_mine"),
        ("INSERT OR ROLLBACK INTO posts SELECT 'a', NULL, 1 UNION ALL SELECT 'a', NULL, 1", "refuses it|ended"),
    ],
)
def test_sql_may_not_take_the_migration_out_of_hand_and_nothing_of_its_file_is_done(world: World, sql: str, said: str) -> None:
    world.write("001_first.yaml", FIRST)
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    world.run("INSERT INTO posts VALUES ('a', 'x')")
    picture = world.picture()
    world.write("002_second.yaml", SECOND.replace("UPDATE posts SET views = 1", sql))
    with pytest.raises(MigrationError, match=said):
        world.migrator.apply(BOTH)
    assert world.picture() == picture
    assert not (world.path.parent / "other.db").exists()


def test_sql_may_look_at_everything_and_shape_what_is_the_users(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    mine = (
        "CREATE TABLE mine AS SELECT count(*) AS n FROM _alyx_changes; CREATE INDEX by_n ON mine (n); PRAGMA foreign_key_check;"
        " CREATE VIEW seen AS SELECT n FROM mine; ALTER TABLE mine ADD COLUMN m INTEGER; DROP VIEW seen; PRAGMA user_version = 7;"
        " CREATE TRIGGER noted AFTER UPDATE ON mine BEGIN SELECT 1; END; UPDATE mine SET m = n; REINDEX; ANALYZE"
    )
    world.write("002_second.yaml", SECOND.replace("UPDATE posts SET views = 1", mine))
    assert world.migrator.apply(BOTH).ok
    assert world.run("SELECT n, m FROM mine") == [(0, 0)]


def test_a_file_that_was_changed_after_it_was_applied_is_refused_but_line_ends_do_not_count(world: World) -> None:
    path = world.write("001_first.yaml", FIRST)
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    path.write_bytes(FIRST.replace("\n", "\r\n").encode())
    assert world.migrator.check(schema("title: {type: string, nullable: true}")).ok
    path.write_text(FIRST + "\n# a remark\n")
    with pytest.raises(MigrationError, match="applied migration files were changed"):
        world.migrator.apply(BOTH)
    assert world.migrator.status().problems == ("001_first.yaml was changed after it was applied",)


def test_missing_and_out_of_order_files_are_reported(world: World) -> None:
    only = schema("title: {type: string, nullable: true}")
    path = world.write("005_first.yaml", FIRST.replace("version: 1", "version: 5"))
    world.migrator.apply(only)
    path.unlink()
    world.write("002_second.yaml", SECOND)
    assert world.migrator.status().problems == (
        "005_first.yaml was applied, but the file is missing",
        "002_second.yaml is out of order: 005 was applied before it",
    )
    assert not world.migrator.check(only).ok


def test_rollback_of_a_file_runs_its_down_and_makes_it_pending_again(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    world.write("002_second.yaml", SECOND)
    world.migrator.apply(BOTH)
    world.migrator.rollback()
    assert [file.version for file in world.migrator.status().pending] == [2]
    assert [name for _, name, *_ in world.run("PRAGMA table_info(posts)")] == ["id", "title"]


def test_sql_without_down_cannot_be_rolled_back(world: World) -> None:
    world.write("001_first.yaml", FIRST + "  - type: sql\n    up: SELECT 1\n")
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    assert not world.migrator.status().applied[0].undoable
    with pytest.raises(MigrationError, match="has no `down`"):
        world.migrator.rollback()


def test_sql_may_differ_by_engine_and_may_be_written_short(world: World) -> None:
    short = """  - sql:
      sqlite: {up: "INSERT INTO posts VALUES ('a', 'b')"}
      postgresql: {up: SELECT 1, down: SELECT 1}
"""
    world.write("001_first.yaml", FIRST + short)
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    assert world.run("SELECT * FROM posts") == [("a", "b")]


def test_create_writes_the_difference_and_apply_runs_it(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    (path,) = world.migrator.create(BOTH, "add_views")
    assert path.name == "002_add_views.yaml"
    assert world.migrator.create(BOTH, "again") == []
    applied = world.migrator.apply(BOTH)
    assert ([file.name for file in applied.files], applied.changes) == (["add_views"], ())
    assert world.migrator.check(BOTH).ok


def test_create_writes_planned_migrations_down_so_that_the_folder_alone_is_enough(world: World, tmp_path: Path) -> None:
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    written = world.migrator.create(BOTH, "add_views")
    assert [path.name for path in written] == ["001_initial.yaml", "002_add_views.yaml"]
    assert world.migrator.apply(BOTH).ok
    assert [(step.version, step.kind) for step in world.migrator.status().applied] == [(1, "file"), (2, "file")]
    other = Migrator(tmp_path / "other.db", world.folder)
    applied = other.apply(BOTH)
    assert ([file.version for file in applied.files], applied.changes) == ([1, 2], ())


def test_planned_migrations_become_files_even_if_there_is_no_further_difference(world: World, tmp_path: Path) -> None:
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    world.migrator.apply(BOTH)
    written = world.migrator.create(BOTH, "first")
    assert [path.name for path in written] == ["001_initial.yaml", "002_add_field_views.yaml"]
    assert world.migrator.status().pending == ()
    assert world.migrator.check(BOTH).ok
    assert world.migrator.create(BOTH, "again") == []
    other = Migrator(tmp_path / "other.db", world.folder)
    assert [file.version for file in other.apply(BOTH).files] == [1, 2]


def test_a_database_that_planned_its_way_to_what_the_files_say_takes_them_as_done(world: World) -> None:
    world.migrator.apply(BOTH)
    world.write("001_first.yaml", FIRST)
    world.write("002_second.yaml", SECOND)
    applied = world.migrator.apply(BOTH)
    assert not applied.changed
    assert applied.remarks == (
        "001_first.yaml: what it says stands already; noted as applied",
        "002_second.yaml: what it says stands already; noted as applied, but its `sql` was not run",
    )
    assert world.migrator.check(BOTH).ok


def test_a_name_that_cannot_be_a_file_name_is_refused(world: World) -> None:
    with pytest.raises(MigrationError, match="cannot name a migration"):
        world.migrator.create(BOTH, "../up")


def test_what_is_written_is_read_back_alike(tmp_path: Path) -> None:
    text = """version: 1
collections:
  users:
    fields:
      id: {type: int, primary: true, default: auto}
  all:
    fields:
      id: {type: uuid, primary: true, default: auto}
      s: {type: string, unique: true, minLength: 2, maxLength: 9, default: "on", validate: {pattern: "^[a-z: ]+#?$"}}
      t: {type: text, nullable: true, description: "a \\"b\\": c\\n\\t\\u2028 😀"}
      r: {type: richtext, richtext: {preset: standard, allow: [code], deny: [heading]}}
      i: {type: int, index: true, validate: {min: -5, max: 7, enum: [1, 2]}}
      f: {type: float, default: 1.0, validate: {max: 1.0e+30}}
      b: {type: bool, default: false}
      m: {type: timestamp, default: now, onUpdate: now}
      d: {type: date, default: "2026-01-01"}
      j: {type: json, default: {a: [null, true, "x"], "on": {}}}
      x: {type: blob, default: "AA=="}
      e: {type: email, nullable: true, internal: true}
      k: {type: select, select: {values: [a, "no"], maxSelect: 2}, default: [a]}
      o: {type: relation, relation: {collection: users, onDelete: set null, displayName: id}, nullable: true}
      p: {type: decimal, scale: 2, default: "1.50", validate: {min: "0.10"}}
      q: {type: int, references: users.id, onDelete: cascade, unchecked: true}
    indexes:
      - {name: i1, fields: [s, i], unique: true, order: desc}
"""
    wanted = loads(text)
    steps = [operations.AddCollection(wanted.collections[name]) for name in ("users", "all")]
    path = files.write(tmp_path, 1, "all", steps)
    read = operations.evolve_all(operations.EMPTY, files.read(path).operations(operations.EMPTY))
    assert operations.resolve(read).collections["all"].fields == wanted.collections["all"].fields
    assert operations.resolve(read).collections == wanted.collections


def test_faults_carry_line_and_path_of_the_migration_file_and_come_all_at_once(tmp_path: Path) -> None:
    text = """version: 2
nam: x
operations:
  - type: add_feild
  - type: add_field
    collection: posts
    fild: x
"""
    assert faults(text, tmp_path) == [
        "1:1 name: is missing",
        "1:10 version: is 2, but the file's name says 1",
        "2:1 nam: unknown key `nam`",
        "4:11 operations.0.type: unknown operation `add_feild`",
        "5:5 operations.1.field: is missing",
        "5:5 operations.1.definition: is missing",
        "7:5 operations.1.fild: unknown key `fild`",
    ]


def test_a_fault_in_a_definition_is_told_at_its_place_in_the_migration(tmp_path: Path) -> None:
    good = "title: {type: string, nullable: true}"
    text = FIRST.replace(good, "title: {type: string, maxLenght: 3}\n        n: {type: integer}")
    assert faults(text, tmp_path) == [
        "9:31 operations.0.definition.fields.title.maxLenght: unknown key `maxLenght`",
        "10:19 operations.0.definition.fields.n.type: `integer` is not a type",
    ]


def test_an_operation_that_does_not_fit_says_why(tmp_path: Path) -> None:
    text = "version: 1\nname: x\noperations:\n  - {type: rename_field, collection: posts, from: a, to: b}\n"
    assert faults(text, tmp_path) == ["4:5 operations.0: there is no collection `posts`"]


def test_two_files_of_one_number_and_names_without_number_are_faults(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    world.write("001_other.yaml", FIRST)
    world.write("oops.yaml", FIRST)
    with pytest.raises(SourceError) as caught:
        world.migrator.status()
    assert [fault.message for fault in caught.value.faults] == [
        "a migration file is called NNN_name.yaml, such as 002_add_slug.yaml",
        "001_first.yaml has the number 1, too",
    ]


def test_a_file_of_sql_alone_runs_on_a_database_that_was_planned(world: World) -> None:
    world.migrator.apply(BOTH)
    world.run("INSERT INTO posts (id) VALUES ('a')")
    world.write("001_fill.yaml", "version: 1\nname: fill\noperations:\n  - {type: sql, up: UPDATE posts SET views = 5}\n")
    assert [file.name for file in world.migrator.apply(BOTH).files] == ["fill"]
    assert world.run("SELECT views FROM posts") == [(5,)]


def test_files_that_were_taken_as_done_do_not_take_sql_after_them_along(world: World) -> None:
    world.migrator.apply(BOTH)
    world.run("INSERT INTO posts (id) VALUES ('a')")
    world.write("001_first.yaml", FIRST)
    world.write("002_second.yaml", SECOND)
    world.write("003_fill.yaml", "version: 3\nname: fill\noperations:\n  - {type: sql, up: UPDATE posts SET views = 5}\n")
    assert [file.name for file in world.migrator.apply(BOTH).files] == ["fill"]
    assert world.run("SELECT views FROM posts") == [(5,)]


def test_a_file_that_would_leave_a_table_without_a_key_is_refused(world: World) -> None:
    world.write("001_first.yaml", FIRST)
    world.write(
        "002_no_key.yaml", "version: 2\nname: no_key\noperations:\n  - {type: drop_field, collection: posts, field: id}\n"
    )
    with pytest.raises(MigrationError, match=r"002_no_key\.yaml does not fit the database: `posts` would have no primary key"):
        world.migrator.apply(BOTH)


def test_every_statement_of_an_sql_operation_runs(world: World) -> None:
    more = "  - {type: sql, up: \"INSERT INTO posts VALUES ('a', 'b') RETURNING id; INSERT INTO posts VALUES ('c', 'd')\"}\n"
    world.write("001_first.yaml", FIRST + more)
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    assert world.run("SELECT * FROM posts") == [("a", "b"), ("c", "d")]


def test_planned_migrations_of_long_names_can_become_files(world: World) -> None:
    long = f"  {'x' * 60}: {{fields: {{id: {{type: uuid, primary: true}}}}}}"
    world.migrator.apply(BOTH)
    world.migrator.apply(schema("title: {type: string, nullable: true}\nviews: {type: int, default: 0}", long))
    written = world.migrator.create(BOTH, "back")
    assert [files.read(path).name for path in written][1] == "add_collection_" + "x" * 48


def test_a_change_from_what_does_not_stand_there_is_refused(world: World) -> None:
    world.migrator.apply(BOTH)
    world.run("INSERT INTO posts VALUES ('a', 'false', 1)")
    change = "{type: modify_field, collection: posts, field: title, from: {type: bool}, to: {type: text, nullable: true}}"
    world.write("001_change.yaml", f"version: 1\nname: change\noperations:\n  - {change}\n")
    with pytest.raises(SourceError, match=r"`posts\.title` is of type string there"):
        world.migrator.apply(BOTH)
    assert world.run("SELECT title FROM posts") == [("false",)]


def test_a_rollback_brings_back_what_stood_and_not_what_a_file_said(world: World) -> None:
    world.migrator.apply(BOTH)
    drop = "{type: drop_field, collection: posts, field: views, definition: {type: float, default: 0.5}}"
    world.write("001_drop.yaml", f"version: 1\nname: drop\noperations:\n  - {drop}\n")
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    world.migrator.rollback()
    assert world.migrator.drift(BOTH).found == ()


@pytest.mark.parametrize(
    "definition",
    ["{type: string, references: posts.id, nullable: true}", "{type: relation, relation: {collection: posts}, nullable: true}"],
)
def test_a_field_that_refers_to_its_own_collection_can_be_written_and_applied(world: World, definition: str) -> None:
    world.migrator.apply(schema(""))
    wanted = schema(f"parent: {definition}")
    world.migrator.create(wanted, "tree")
    assert world.migrator.apply(wanted).files
    assert world.migrator.check(wanted).ok
    world.migrator.rollback()


def test_the_name_of_the_file_counts_and_another_in_it_is_told(world: World) -> None:
    only = schema("title: {type: string, nullable: true}")
    world.write("001_start.yaml", FIRST)
    said = "001_start.yaml says `name: first`; the file's name counts"
    assert world.migrator.plan(only).notes == (said,)
    assert world.migrator.apply(only).remarks == (said,)
    assert world.migrator.status().applied[0].name == "start"
    assert world.migrator.check(only).ok


def test_another_file_with_a_number_that_was_applied_is_named_with_the_one_that_had_it(world: World) -> None:
    only = schema("title: {type: string, nullable: true}")
    world.write("001_first.yaml", FIRST)
    world.migrator.apply(only)
    (world.folder / "001_first.yaml").unlink()
    world.write("001_second.yaml", SECOND.replace("version: 2", "version: 1"))
    said = "001_second.yaml has the number of 001_first.yaml, which was applied"
    assert world.migrator.status().problems == (said,)
    with pytest.raises(MigrationError) as caught:
        world.migrator.apply(BOTH)
    assert caught.value.reasons == [said]
