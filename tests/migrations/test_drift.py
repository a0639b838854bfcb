"""Drift: what somebody changed by hand is found; what stands beside our tables is left in peace."""

from __future__ import annotations

import pytest

from alyx.database.migrations import MigrationError

from .conftest import World, schema

SCHEMA = schema("""
title: {type: string, default: x}
price: {type: decimal, scale: 2, index: true, default: '1.00'}
tags: {type: json, nullable: true}
""")


@pytest.fixture
def settled(world: World) -> World:
    world.migrator.apply(SCHEMA)
    assert world.migrator.drift(SCHEMA).found == ()
    return world


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("ALTER TABLE posts ADD COLUMN more TEXT", "posts.more: a column that the schema does not know"),
        ("DROP INDEX idx_posts_price", "posts: the index idx_posts_price is missing"),
        (
            "DROP INDEX idx_posts_price; CREATE INDEX idx_posts_price ON posts (price)",
            "posts: the index idx_posts_price is (price) instead of (CAST(replace(\"price\", '.', '') AS INTEGER), \"id\")",
        ),
        ("DROP TRIGGER _alyx_log_posts_insert", "posts: triggers of the change log are missing (_alyx_log_posts_insert)"),
        ("DROP TABLE posts", "posts: the table is missing"),
    ],
)
def test_a_change_by_hand_is_found(settled: World, sql: str, found: str) -> None:
    settled.run(sql)
    assert found in settled.migrator.drift(SCHEMA).found
    assert f"drift: {found}" in settled.migrator.check(SCHEMA).problems


def test_a_table_made_otherwise_is_described_part_by_part(settled: World) -> None:
    settled.run("DROP TABLE posts")
    settled.run("CREATE TABLE posts (id TEXT, title INTEGER NOT NULL DEFAULT 'y', price TEXT NOT NULL, tags TEXT)")
    found = settled.migrator.drift(SCHEMA).found
    assert found[:8] == (
        "posts.id: NOT NULL is missing",
        "posts.id: it is not the primary key",
        "posts.title: the type is INTEGER instead of TEXT",
        "posts.title: the default is 'y' instead of 'x'",
        "posts.price: the default is none instead of '1.00'",
        "posts: the index idx_posts_price is missing",
        'posts: the check "tags" IS NULL OR json_valid("tags") is missing',
        "posts: the table is not STRICT",
    )


def test_tables_and_indexes_of_others_are_remarks_and_no_drift(settled: World) -> None:
    settled.run("CREATE TABLE notes (x); CREATE INDEX theirs ON posts (title)")
    drift = settled.migrator.drift(SCHEMA)
    assert drift.found == ()
    assert drift.remarks == ("notes: a table that Alyx did not make", "posts: an index that Alyx did not make: theirs")
    assert settled.migrator.check(SCHEMA).ok


def test_apply_puts_missing_triggers_back(settled: World) -> None:
    settled.run("DROP TRIGGER _alyx_log_posts_insert")
    assert not settled.migrator.apply(SCHEMA).changed
    assert settled.migrator.drift(SCHEMA).found == ()


@pytest.mark.parametrize(
    "fields", ["title: {type: string, nullable: true}", "title: {type: string, nullable: true}\nn: {type: int, default: 1}"]
)
def test_a_table_that_somebody_dropped_is_named_when_apply_stumbles_over_it(world: World, fields: str) -> None:
    world.migrator.apply(schema("title: {type: string, nullable: true}"))
    world.run("DROP TABLE posts")
    with pytest.raises(MigrationError) as caught:
        world.migrator.apply(schema(fields))
    assert caught.value.reasons == ["posts: the table is missing"]
    assert "alyx migrate drift" in (caught.value.hint or "")
