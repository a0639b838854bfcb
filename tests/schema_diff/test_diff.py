"""The differ: every kind of change, in an order that can be applied, with its level and why."""

from __future__ import annotations

import pytest

from alyx.schema import operations
from alyx.schema.diff import diff
from alyx.schema.load import loads
from alyx.schema.model import Schema

KEY = "id: {type: uuid, primary: true, default: auto}"


def one(*fields: str, indexes: str = "", more: str = "", head: str = "") -> Schema:
    lines = "".join(f"\n      {line}" for line in (KEY, *fields))
    return loads(f"version: 1\ncollections:\n  posts:{head}\n    fields:{lines}\n{indexes}{more}")


def told(old: Schema | None, new: Schema) -> list[tuple[str, str]]:
    return [(change.title, change.level) for change in diff(old, new)]


def test_equal_schemas_differ_in_nothing() -> None:
    assert diff(one("a: {type: int}"), one("a: {type: int}")) == []


def test_rules_descriptions_and_what_only_the_server_does_are_no_changes() -> None:
    old = one("a: {type: timestamp, nullable: true}", "r: {type: uuid, references: posts.id, nullable: true}")
    new = one(
        "a: {type: timestamp, nullable: true, internal: true, onUpdate: now, description: When.}",
        "r: {type: uuid, references: posts.id, nullable: true, unchecked: true}",
        head="\n    description: All.\n    rules: {read: true}",
    )
    assert diff(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "level", "reason"),
    [
        ("int", "string", "safe", "every value of an int can be kept as text"),
        ("string", "text", "safe", "every value of text can be kept as text"),
        ("date", "timestamp", "safe", "every value of a date can be kept as a timestamp"),
        ("string", "int", "needs_care", "values that are not an int would stand in the way"),
        (
            "string",
            "select, select: {values: [a]}",
            "needs_care",
            "values that are not among those of the select would stand in the way",
        ),
        ("int", "float", "needs_care", "values that are not a float would stand in the way"),
        ("float", "int", "destructive", "fractions are rounded"),
        ("timestamp", "date", "destructive", "the time of day goes"),
        ("uuid", "int", "destructive", "a uuid has no counterpart as an int: its values go"),
        ("decimal, scale: 3", "decimal, scale: 2", "destructive", "decimals beyond the new scale are rounded"),
        ("decimal, scale: 2", "decimal, scale: 3", "needs_care", "numbers with too many digits would stand in the way"),
        ("text", "richtext", "destructive", "markup that is not allowed goes, its text stays"),
        ("int, nullable: true", "int", "needs_care", "existing nulls would stand in the way"),
        ("int, nullable: true", "int, default: 1", "needs_care", "existing nulls get the default"),
        ("int", "int, nullable: true", "safe", "no stored value changes"),
        ("int", "int, unique: true", "needs_care", "equal values would stand in the way"),
        ("int", "int, default: 3, index: true", "safe", "no stored value changes"),
        ("string", "string, maxLength: 3", "needs_care", "stored values may break the new maxLength; "),
        ("string, maxLength: 3", "string", "safe", "no stored value changes"),
        (
            "uuid, references: posts.id",
            "uuid, references: posts.id, onDelete: cascade",
            "safe",
            "no stored value changes",
        ),
        ("uuid", "uuid, references: posts.id", "needs_care", "values that no record of posts has would stand in the way"),
        ("select, select: {values: [a, b]}", "select, select: {values: [a]}", "needs_care", "stored values may break the new "),
        ("select, select: {values: [a]}", "select, select: {values: [a, b]}", "safe", "no stored value changes"),
        ("select, select: {values: [a]}", "select, select: {values: [a], maxSelect: 2}", "safe", "every value of a select"),
        (
            "select, select: {values: [a], maxSelect: 2}",
            "select, select: {values: [a]}",
            "destructive",
            "of several values only the first stays",
        ),
    ],
)
def test_a_changed_field_has_its_level_and_reason(old: str, new: str, level: str, reason: str) -> None:
    (change,) = diff(one(f"a: {{type: {old}}}"), one(f"a: {{type: {new}}}"))
    assert change.level == level
    assert change.reason.startswith(reason)
    assert change.operation["type"] == "modify_field"


@pytest.mark.parametrize(
    ("field", "level", "reason"),
    [
        ("{type: int, nullable: true}", "safe", "existing records have null in it"),
        ("{type: int, default: 1}", "safe", "existing records get the default"),
        ("{type: timestamp, default: now}", "safe", "existing records get the moment of the migration"),
        ("{type: int}", "needs_care", "it is required and existing records have no value; give it a default"),
        ("{type: int, unique: true, default: 1}", "needs_care", "existing records would all have the same value"),
    ],
)
def test_an_added_field_has_its_level_and_reason(field: str, level: str, reason: str) -> None:
    (change,) = diff(one(), one(f"a: {field}"))
    assert (change.level, change.title) == (level, f"add field posts.a ({field[7:].split(',')[0].rstrip('}')})")
    assert change.reason.startswith(reason)


def test_a_changed_on_delete_says_from_what_to_what() -> None:
    new = one("a: {type: uuid, references: posts.id, onDelete: cascade}")
    assert told(one("a: {type: uuid, references: posts.id}"), new) == [
        ("change field posts.a: onDelete restrict to cascade", "safe")
    ]


def test_drops_are_destructive_and_carry_what_undoing_needs() -> None:
    (change,) = diff(one("a: {type: int, default: 4}"), one())
    assert (change.level, change.title) == ("destructive", "drop field posts.a")
    assert change.operation["definition"] == {"name": "a", "type": "int", "default": 4}


def test_a_rename_is_one_step_and_does_nothing_once_done() -> None:
    old, new = one("a: {type: int, index: true}"), one("b: {type: int, index: true, renamed_from: a}")
    assert told(old, new) == [("rename field posts.a to b", "safe")]
    assert diff(new, new) == []
    assert told(None, new) == [("add collection posts", "safe")]


def test_references_and_indexes_follow_renames() -> None:
    key = "      id: {type: int, primary: true, default: auto}\n"
    more = f"  comments:\n    fields:\n{key}      post: {{type: uuid, references: %s.id}}\n"
    old = one("a: {type: int}", indexes="    indexes: [{name: i, fields: [a]}]\n", more=more % "posts")
    text = """version: 1
collections:
  articles:
    renamed_from: posts
    fields:
      id: {type: uuid, primary: true, default: auto}
      b: {type: int, renamed_from: a}
    indexes: [{name: i, fields: [b]}]
"""
    new = loads(text + more % "articles")
    assert told(old, new) == [
        ("rename collection posts to articles", "safe"),
        ("rename field articles.a to b", "safe"),
    ]


def test_collections_are_added_before_those_that_refer_to_them_and_dropped_after() -> None:
    users = "  users:\n    fields:\n      id: {type: uuid, primary: true, default: auto}\n"
    both = one("u: {type: uuid, references: users.id}", more=users)
    assert [title for title, _ in told(None, both)] == ["add collection users", "add collection posts"]
    other = loads("version: 1\ncollections:\n  c:\n    fields:\n      id: {type: uuid, primary: true}\n")
    assert [title for title, _ in told(both, other)] == ["add collection c", "drop collection posts", "drop collection users"]


def test_a_changed_index_is_dropped_and_added_and_an_index_goes_before_its_field() -> None:
    old = one("a: {type: int}", "b: {type: int}", indexes="    indexes: [{name: i, fields: [a, b]}]\n")
    new = one("b: {type: int}", indexes="    indexes: [{name: i, fields: [b], unique: true}]\n")
    assert told(old, new) == [
        ("drop index i of posts", "safe"),
        ("drop field posts.a", "destructive"),
        ("add unique index i on posts(b)", "needs_care"),
    ]


def test_an_operation_can_be_written_read_and_taken_back() -> None:
    old = one("a: {type: int}", "b: {type: int, index: true}", indexes="    indexes: [{name: i, fields: [a, b]}]\n")
    new = one(
        "c: {type: string, renamed_from: a}", "d: {type: text}", more="  x:\n    fields:\n      id: {type: id, primary: true}\n"
    )
    steps = [change.step for change in diff(old, new)]
    assert [operations.read(operations.write(step)) for step in steps] == steps
    there = operations.evolve_all(old, steps)
    back = operations.evolve_all(there, [operations.invert(step) for step in reversed(steps)])
    assert diff(back, old) == []
    assert diff(there, new) == []
