"""Plan and apply: what is safe is done, what is not waits to be told, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from alyx.database.migrations import MigrationError, Migrator
from alyx.database.sqlite.connection import connect
from alyx.schema.load import loads

from .conftest import World, schema

PLAIN = "title: {type: string, nullable: true}"


def rows(world: World, *titles: str | None) -> None:
    for number, title in enumerate(titles):
        world.run("INSERT INTO posts (id, title) VALUES (?, ?)", f"k{number}", title)


def test_an_empty_database_gets_the_whole_schema_and_the_second_run_finds_nothing_to_do(world: World) -> None:
    assert [item.title for item in world.migrator.plan(schema(PLAIN)).changes] == ["add collection posts"]
    applied = world.migrator.apply(schema(PLAIN))
    assert (applied.ok, applied.changed) == (True, True)
    assert not world.migrator.apply(schema(PLAIN)).changed
    assert [(step.kind, step.name, step.version) for step in world.migrator.status().applied] == [("planned", "initial", None)]


def test_planning_changes_nothing(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    picture = world.picture()
    world.migrator.plan(schema("other: {type: int}"))
    assert world.picture() == picture


def test_safe_changes_and_renames_are_made_without_asking(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a")
    new = schema("headline: {type: string, nullable: true, renamed_from: title}\nviews: {type: int, default: 0, index: true}")
    applied = world.migrator.apply(new)
    assert applied.ok
    assert {item.level for item in applied.changes} == {"safe"}
    assert world.run("SELECT id, headline, views FROM posts") == [("k0", "a", 0)]
    assert not world.migrator.apply(new).changed


def test_a_difference_with_one_destructive_change_is_not_made_at_all(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a")
    picture = world.picture()
    applied = world.migrator.apply(schema("views: {type: int, default: 0}"), yes=True)
    assert not applied.ok
    assert not applied.changed
    assert applied.reasons == ("destructive: drop field posts.title: its values go with it",)
    assert world.picture() == picture
    assert world.migrator.apply(schema("views: {type: int, default: 0}"), accept_data_loss=True).ok


def test_a_needs_care_change_waits_for_a_yes(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a", "b")
    new = schema("title: {type: string, nullable: true, unique: true}")
    assert [item.level for item in world.migrator.apply(new).refused] == ["needs_care"]
    assert world.migrator.apply(new, yes=True).ok


def test_on_an_empty_table_what_only_rows_could_prevent_is_safe(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    assert world.migrator.apply(schema("title: {type: int, unique: true}\nbody: {type: text}")).ok
    assert not world.migrator.apply(schema("body: {type: text}")).ok, "a drop is never safe"


def test_duplicates_before_unique_are_named_with_value_and_up_to_five_keys(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, *["same"] * 7, "other")
    new = schema("title: {type: string, nullable: true, unique: true}")
    (item,) = world.migrator.plan(new).changes
    assert item.blocked
    assert [str(finding) for finding in item.findings] == [
        "posts.title 'same': stands more than once (7 records: k0, k1, k2, k3, k4, ...)"
    ]
    picture = world.picture()
    assert not world.migrator.apply(new, yes=True, accept_data_loss=True).ok
    assert world.picture() == picture


def test_nulls_before_not_null_are_named_and_a_default_fills_them(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a", None)
    applied = world.migrator.apply(schema("title: {type: string}"), yes=True)
    assert applied.reasons[1:] == ("  posts.title null: stands where a value is required (1 record: k1)",)
    assert world.migrator.apply(schema("title: {type: string, default: none}"), yes=True).ok
    assert world.run("SELECT id, title FROM posts") == [("k0", "a"), ("k1", "none")]


def test_a_required_field_without_default_names_the_records_that_have_no_value(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a")
    applied = world.migrator.apply(schema(f"{PLAIN}\nbody: {{type: text}}"), yes=True)
    assert "posts.body: records stand there that have no value for it (1 record: k0)" in applied.reasons[1]


def test_values_that_cannot_be_converted_are_named_and_nothing_is_half_done(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "1", "zwei", "3")
    new = schema("title: {type: int, nullable: true}")
    (item,) = world.migrator.plan(new).changes
    assert [str(finding) for finding in item.findings] == ["posts.title 'zwei': not a whole number (1 record: k1)"]
    world.run("UPDATE posts SET title = '2' WHERE id = 'k1'")
    assert world.migrator.plan(new).changes[0].level == "needs_care"
    assert world.migrator.apply(new, yes=True).ok
    assert world.run("SELECT id, title FROM posts") == [("k0", 1), ("k1", 2), ("k2", 3)]


def test_a_conversion_that_would_lose_something_is_destructive_and_says_what(world: World) -> None:
    world.migrator.apply(schema("rate: {type: float, nullable: true}"))
    world.run("INSERT INTO posts VALUES ('a', 1.0), ('b', 2.5)")
    new = schema("rate: {type: int, nullable: true}")
    (item,) = world.migrator.plan(new).changes
    assert (item.level, [str(finding) for finding in item.findings]) == (
        "destructive",
        ["posts.rate 2.5: becomes 2 (1 record: b)"],
    )
    world.run("UPDATE posts SET rate = 2.0 WHERE id = 'b'")
    assert world.migrator.plan(new).changes[0].level == "needs_care"


def test_a_tighter_limit_is_safe_where_every_record_keeps_it_and_else_needs_care(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "abc")
    assert world.migrator.plan(schema("title: {type: string, nullable: true, maxLength: 5}")).level == "safe"
    (item,) = world.migrator.plan(schema("title: {type: string, nullable: true, maxLength: 2}")).changes
    assert (item.level, item.blocked) == ("needs_care", False)
    assert str(item.findings[0]).startswith("posts.title 'abc': must have at most 2 characters")


def test_a_new_reference_names_the_values_that_point_nowhere(world: World) -> None:
    users = "  users:\n    fields:\n      id: {type: string, primary: true}"
    world.migrator.apply(schema(PLAIN, users))
    world.run("INSERT INTO users VALUES ('u1')")
    rows(world, "u1", "gone", None)
    new = schema("title: {type: string, nullable: true, references: users.id}", users)
    (item,) = world.migrator.plan(new).changes
    assert [str(finding) for finding in item.findings] == ["posts.title 'gone': no record of users has it (1 record: k1)"]


def test_a_change_of_rules_or_descriptions_is_no_migration(world: World) -> None:
    text = "version: 1\ncollections:\n  posts:\n    fields:\n      id: {type: string, primary: true}\n"
    world.migrator.apply(loads(text))
    assert world.migrator.plan(loads(text + "    rules: {read: 'true'}\n    description: All posts.\n")).empty


def test_a_table_that_stands_there_already_is_not_taken_over(world: World) -> None:
    world.run("CREATE TABLE posts (x)")
    applied = world.migrator.apply(schema(PLAIN), accept_data_loss=True)
    assert applied.reasons[1] == "  posts: a table of this name stands there that Alyx did not make (1 record)"


def test_the_change_log_hears_nothing_of_a_migration_but_its_generation_rises(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a", "b")
    lines = world.run("SELECT count(*) FROM _alyx_changes")
    world.migrator.apply(schema("title: {type: text, nullable: true, default: x}\nviews: {type: timestamp, default: now}"))
    assert world.run("SELECT count(*) FROM _alyx_changes") == lines
    assert world.run("SELECT generation FROM _alyx_generations WHERE collection = 'posts'") == [(2,)]
    world.run("UPDATE posts SET title = 'c' WHERE id = 'k0'")
    assert world.run("SELECT json_extract(after, '$.title') FROM _alyx_changes ORDER BY seq DESC LIMIT 1") == [("c",)]


def test_two_collections_that_refer_to_each_other_can_be_added_and_dropped(world: World) -> None:
    text = """version: 1
collections:
  a:
    fields:
      id: {type: int, primary: true, default: auto}
      b: {type: relation, relation: {collection: b}, nullable: true}
  b:
    fields:
      id: {type: uuid, primary: true, default: auto}
      a: {type: relation, relation: {collection: a}, nullable: true}
"""
    assert world.migrator.apply(loads(text)).ok
    assert world.migrator.drift().found == ()


def test_a_second_writer_that_never_lets_go_ends_in_a_clear_message(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.migrator.apply(schema(PLAIN))
    holder = connect(world.path)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(MigrationError, match="another process has held the database"):
        Migrator(world.path, world.folder, wait=0.05).apply(schema(f"{PLAIN}\nviews: {{type: int, default: 0}}"))
    holder.close(True)


@pytest.mark.slow
def test_of_two_processes_that_migrate_at_once_one_does_and_the_other_finds_it_done(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    world.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO posts SELECT i, i FROM n"
    )
    program = textwrap.dedent(f"""
        from tests.migrations.conftest import schema
        from alyx.database.migrations import Migrator
        new = schema("title: {{type: int, nullable: true, unique: true}}\\nviews: {{type: int, default: 0}}")
        print(Migrator({str(world.path)!r}, {str(world.folder)!r}).apply(new, yes=True).changed)
    """)
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(process.communicate(timeout=60)[0].strip() for process in both) == ["False", "True"]
    assert len(world.migrator.status().applied) == 2


def test_a_plan_over_waiting_files_does_not_read_what_they_will_make(world: World) -> None:
    world.migrator.apply(schema(PLAIN))
    rows(world, "a", "b")
    add = "  - {type: add_field, collection: posts, field: n, definition: {type: int, default: 1}}\n"
    change = "  - {type: modify_field, collection: posts, field: title, to: {type: text, nullable: true}}\n"
    world.write("001_x.yaml", f"version: 1\nname: x\noperations:\n{add}{change}")
    new = schema("title: {type: json, nullable: true}\nn: {type: int, unique: true}")
    assert [item.blocked for item in world.migrator.plan(new).changes] == [False, False]
    applied = world.migrator.apply(new, accept_data_loss=True)
    assert [file.name for file in applied.files] == ["x"]
    assert [item.blocked for item in applied.refused] == [False, True]


def test_a_unique_index_over_values_that_the_same_difference_makes_alike_names_them(world: World) -> None:
    world.migrator.apply(schema("n: {type: float}"))
    world.run("INSERT INTO posts VALUES ('a', 1.2), ('b', 1.4)")
    new = loads("""version: 1
collections:
  posts:
    fields:
      id: {type: string, primary: true}
      n: {type: int}
    indexes: [{name: alone, fields: [n], unique: true}]
""")
    picture = world.picture()
    with pytest.raises(MigrationError) as caught:
        world.migrator.apply(new, accept_data_loss=True)
    assert caught.value.reasons == ["posts(n) 1: stands more than once (2 records: a, b)"]
    assert world.picture() == picture


def test_drift_is_told_while_schema_yaml_is_ahead_and_knows_other_collections(world: World) -> None:
    asked: list[str] = []

    def observed(_schema: object) -> object:
        def of(name: str) -> frozenset[str]:
            asked.append(name)
            return frozenset({"other"})

        return of

    migrator = Migrator(world.path, world.folder, observed)  # type: ignore[arg-type]  # loose on purpose
    migrator.apply(schema(PLAIN))
    other = loads("version: 1\ncollections:\n  other:\n    fields:\n      id: {type: string, primary: true}\n")
    asked.clear()
    assert migrator.drift(other).found == ()
    assert asked == []


@pytest.mark.parametrize(
    ("before", "after", "rows", "rest"),
    [
        ("n: {type: string}", "n: {type: int}", [f"x{number}" for number in range(23)], 3),
        ("n: {type: string}", "n: {type: string, unique: true}", [f"x{number % 22}" for number in range(66)], 6),
        ("n: {type: string}", "n: {type: string, references: posts.id}", [f"x{number}" for number in range(21)], 1),
    ],
)
def test_what_is_not_listed_is_counted(world: World, before: str, after: str, rows: list[str], rest: int) -> None:
    world.migrator.apply(schema(before))
    values = ", ".join(f"('{number}', '{value}')" for number, value in enumerate(rows))
    world.run(f"INSERT INTO posts VALUES {values}")
    (change,) = world.migrator.plan(schema(after)).changes
    document = change.document()
    assert len(document["findings"]) == 21
    assert document["findings"][-1] == f"posts.n: ... and {rest} more record{'' if rest == 1 else 's'}"
    assert (document["total"], document["blocked"]) == (len(rows), True)
    world.write("001_x.yaml", "version: 1\nname: x\noperations:\n" + modify(before, after))
    with pytest.raises(MigrationError) as caught:
        world.migrator.apply(schema(after))
    assert caught.value.reasons[-1] == document["findings"][-1]


def modify(before: str, after: str) -> str:
    old, new = (text.partition(": ")[2] for text in (before, after))
    return f"  - {{type: modify_field, collection: posts, field: n, from: {old}, to: {new}}}\n"
