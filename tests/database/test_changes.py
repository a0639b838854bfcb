"""Promises of the change log's triggers (contract §7, hard-parts §3)."""

from __future__ import annotations

import json
import math
import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from alyx.database.sqlite import changes
from alyx.database.sqlite.connection import connect
from tests.database import made
from tests.database.made import BLOG, collection, field, schema

WIDE = schema(
    collection(
        "notes",
        field("id", "id", primary=True),
        field("text", "text", nullable=True),
        field("done", "bool", nullable=True),
        field("score", "float", nullable=True),
        field("price", "decimal", scale=2, nullable=True),
        field("meta", "json", nullable=True),
        field("tags", "select", select_values=("a", "b"), max_select=2, nullable=True),
        field("day", "date", nullable=True),
        field("at", "timestamp", nullable=True),
        field("image", "blob", nullable=True),
        field("count", "int", nullable=True),
        field("secret", "string", internal=True, nullable=True),
        field("other_secret", "string", internal=True, nullable=True),
    )
)


@pytest.fixture
def blog(tmp_path: Path) -> apsw.Connection:
    return made.create(tmp_path / "a.db")


@pytest.fixture
def notes(tmp_path: Path) -> apsw.Connection:
    return made.create(tmp_path / "a.db", WIDE)


def _insert(connection: apsw.Connection, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(f"INSERT INTO notes ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def _ops(connection: apsw.Connection) -> list[tuple[str, str, str]]:
    return [(line["collection"], line["op"], line["doc_id"]) for line in made.log(connection)]


def test_an_insert_is_logged_in_the_form_of_the_api(notes: apsw.Connection) -> None:
    _insert(
        notes, id="n1", text='a "quote" \\ and é😀\n', done=1, score=3.0, price="10.50", meta='{"a":[1,null]}', tags='["b"]',
        day="2026-03-01", at="2026-03-01T08:00:00.123456Z", count=2**63 - 1,
    )  # fmt: skip
    (line,) = made.log(notes)
    assert line["after"] == {
        "id": "n1", "text": 'a "quote" \\ and é😀\n', "done": True, "score": 3.0, "price": "10.50", "meta": {"a": [1, None]},
        "tags": ["b"], "day": "2026-03-01", "at": "2026-03-01T08:00:00.123456Z", "count": 2**63 - 1,
    }  # fmt: skip
    assert isinstance(line["after"]["score"], float)
    assert (line["seq"], line["op"], line["doc_id"], line["before"]) == (1, "insert", "n1", None)


def test_nulls_are_nulls_in_every_type(notes: apsw.Connection) -> None:
    _insert(notes, id="n1")
    assert set(made.log(notes)[0]["after"].values()) == {"n1", None}


def test_a_false_bool_is_false(notes: apsw.Connection) -> None:
    _insert(notes, id="n1", done=0)
    assert made.log(notes)[0]["after"]["done"] is False


def test_an_infinite_float_is_null_and_the_write_goes_through(notes: apsw.Connection) -> None:
    _insert(notes, id="n1", score=math.inf)
    assert made.log(notes)[0]["after"]["score"] is None


def test_every_double_comes_back_the_same(notes: apsw.Connection) -> None:
    source = random.Random(7)
    values = [0.0, -0.0, 3.0, 1e300, 5e-324, 1.7976931348623157e308, 0.1, 123456789012345680.0]
    while len(values) < 500:
        value = struct.unpack("<d", source.randbytes(8))[0]
        if math.isfinite(value):
            values.append(value)
    notes.execute("BEGIN")
    for number, value in enumerate(values):
        _insert(notes, id=str(number), score=value)
    assert [line["after"]["score"] for line in made.log(notes)] == values


def test_an_update_holds_the_key_and_what_changed_before_and_the_whole_row_after(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title, body) VALUES ('p1', 'a', 'b')")
    blog.execute("UPDATE posts SET title = 'c'")
    line = made.log(blog)[1]
    assert line["before"] == {"id": "p1", "title": "a"}
    assert line["after"] == {"id": "p1", "title": "c", "body": "b", "author_id": None, "editor_id": None, "views": 0}


def test_before_also_holds_the_columns_that_rules_read(tmp_path: Path) -> None:
    blog = made.create(tmp_path / "a.db", BLOG, {"posts": frozenset({"views"})})
    blog.execute("INSERT INTO posts (id, title) VALUES ('p1', 'a')")
    blog.execute("UPDATE posts SET title = 'c'")
    assert made.log(blog)[1]["before"] == {"id": "p1", "title": "a", "views": 0}


def test_a_delete_holds_the_whole_row_before(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title, body) VALUES ('p1', 'a', 'b')")
    blog.execute("DELETE FROM posts")
    line = made.log(blog)[1]
    assert (line["op"], line["after"]) == ("delete", None)
    assert line["before"] == {"id": "p1", "title": "a", "body": "b", "author_id": None, "editor_id": None, "views": 0}


def test_an_update_that_changes_nothing_is_not_logged(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title) VALUES ('p1', 'a')")
    blog.execute("UPDATE posts SET title = 'a', body = NULL, id = 'p1'")
    assert len(made.log(blog)) == 1


def test_a_changed_key_is_a_delete_and_an_insert(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title) VALUES ('p1', 'a')")
    blog.execute("UPDATE posts SET id = 'p2', title = 'b'")
    assert _ops(blog)[1:] == [("posts", "delete", "p1"), ("posts", "insert", "p2")]
    assert made.log(blog)[1]["before"]["title"] == "a"


def test_a_blob_is_in_no_image_but_its_change_is_logged(notes: apsw.Connection) -> None:
    _insert(notes, id="n1", image=b"\x00\x01")
    notes.execute("UPDATE notes SET image = x'02'")
    first, second = made.log(notes)
    assert "image" not in first["after"]
    assert "image" not in second["after"]
    assert second["before"] == {"id": "n1"}


def test_internal_fields_are_in_no_image_that_is_shown(tmp_path: Path) -> None:
    notes = made.create(tmp_path / "a.db", WIDE, {"notes": frozenset({"secret"})})
    _insert(notes, id="n1", secret="hush", other_secret="deep")
    notes.execute("UPDATE notes SET secret = 'psst'")
    notes.execute("DELETE FROM notes")
    lines = made.log(notes)
    assert all("secret" not in (line[name] or {}) for line in lines for name in ("before", "after"))
    hidden = [(line["hidden_before"], line["hidden_after"]) for line in lines]
    assert hidden == [(None, {"secret": "hush"}), ({"secret": "hush"}, {"secret": "psst"}), ({"secret": "psst"}, None)]


@pytest.mark.parametrize(
    ("value", "logged"),
    [("x" * 4096, "x" * 4096), ("x" * 4097, {"$big": 4097}), ("é" * 2048, "é" * 2048), ("é" * 2049, {"$big": 4098})],
)
def test_a_value_over_4_kb_is_replaced_by_its_length_in_bytes(notes: apsw.Connection, value: str, logged: Any) -> None:
    _insert(notes, id="n1", text=value)
    assert made.log(notes)[0]["after"]["text"] == logged


def test_a_large_json_value_is_replaced_too(notes: apsw.Connection) -> None:
    _insert(notes, id="n1", meta=json.dumps(["x" * 5000]))
    notes.execute("UPDATE notes SET count = 1")
    assert [line["after"]["meta"] for line in made.log(notes)] == [{"$big": 5004}] * 2
    assert made.log(notes)[1]["before"] == {"id": "n1", "count": None}


def test_numbers_have_no_gap_and_the_feed_holds_the_last(blog: apsw.Connection) -> None:
    for number in range(5):
        blog.execute("INSERT INTO users VALUES (?, ?)", (f"u{number}", f"n{number}"))
    blog.execute("BEGIN; INSERT INTO users VALUES ('gone', 'gone'); ROLLBACK")
    blog.execute("DELETE FROM users")
    assert [line["seq"] for line in made.log(blog)] == list(range(1, 11))
    assert blog.execute("SELECT last_seq, low_water FROM _alyx_feed").fetchall() == [(10, 0)]


def test_a_line_carries_its_time_in_unix_milliseconds(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO users VALUES ('u', 'n')")
    (now,) = blog.execute("SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000").fetchone() or (0,)
    assert abs(made.log(blog)[0]["at"] - int(now)) < 60_000


def test_cascades_are_logged_on_every_level(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO users VALUES ('u1', 'a'), ('u2', 'b')")
    blog.execute("INSERT INTO posts (id, title, author_id) VALUES ('p1', 't', 'u1')")
    blog.execute("INSERT INTO posts (id, title, editor_id) VALUES ('p2', 't', 'u1')")
    blog.execute("DELETE FROM users WHERE id = 'u1'")
    assert sorted(_ops(blog)[4:]) == [("posts", "delete", "p1"), ("posts", "update", "p2"), ("users", "delete", "u1")]


def test_replace_logs_the_row_that_it_removes(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO users VALUES ('u1', 'a'), ('u2', 'b')")
    blog.execute("INSERT OR REPLACE INTO users VALUES ('u3', 'a')")
    assert _ops(blog)[2:] == [("users", "delete", "u1"), ("users", "insert", "u3")]
    blog.execute("UPDATE OR REPLACE users SET name = 'b' WHERE id = 'u3'")
    assert _ops(blog)[4:] == [("users", "delete", "u2"), ("users", "update", "u3")]


def test_an_upsert_is_logged_as_what_it_did(blog: apsw.Connection) -> None:
    for name in ("a", "b"):
        blog.execute("INSERT INTO users VALUES ('u1', ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name", (name,))
    assert _ops(blog) == [("users", "insert", "u1"), ("users", "update", "u1")]


def test_deleting_a_whole_table_logs_each_row(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO users VALUES ('u1', 'a'), ('u2', 'b')")
    blog.execute("DELETE FROM users")
    assert len(made.log(blog)) == 4


def test_integer_keys_are_logged_as_text(tmp_path: Path) -> None:
    connection = made.create(tmp_path / "a.db", schema(collection("c", field("id", "int", primary=True), field("a", "int"))))
    connection.execute("INSERT INTO c (a) VALUES (7)")
    line = made.log(connection)[0]
    assert (line["doc_id"], line["after"]) == ("1", {"id": 1, "a": 7})


def test_a_collection_of_a_key_alone_is_logged(tmp_path: Path) -> None:
    connection = made.create(tmp_path / "a.db", schema(collection("c", field("id", "id", primary=True))))
    connection.execute("INSERT INTO c VALUES ('a'); UPDATE c SET id = 'b'; UPDATE c SET id = 'b'; DELETE FROM c")
    assert [op for _, op, _ in _ops(connection)] == ["insert", "delete", "insert", "delete"]


def test_names_that_are_sql_words_are_logged(tmp_path: Path) -> None:
    words = schema(collection("order", field("group", "id", primary=True), field("select", "string"), field("new", "bool")))
    connection = made.create(tmp_path / "a.db", words)
    connection.execute("""INSERT INTO "order" VALUES ('a', 'b', 1); UPDATE "order" SET "select" = 'c'""")
    assert made.log(connection)[1]["before"] == {"group": "a", "select": "b"}


def test_500_columns_are_logged(tmp_path: Path) -> None:
    kinds = ("string", "int", "float", "bool", "json", "text")
    many = [field(f"f{number}", kinds[number % len(kinds)], nullable=True) for number in range(499)]
    connection = made.create(tmp_path / "a.db", schema(collection("c", field("id", "id", primary=True), *many)))
    connection.execute("INSERT INTO c (id, f0, f2) VALUES ('a', 'x', 0.1); UPDATE c SET f498 = 'y'")
    insert, update = made.log(connection)
    assert len(insert["after"]) == 500
    assert (update["before"], update["after"]["f498"]) == ({"id": "a", "f498": None}, "y")


_OTHER_TOOL = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("INSERT INTO c (id, f0, f2, f3, f4) VALUES ('a', 'x', 0.1, 1, '[1, 2]')")
db.execute("UPDATE c SET f498 = 'y', f2 = 3.0")
db.execute("UPDATE c SET f0 = ?", ("é" * 3000,))
db.execute("DELETE FROM c")
print(sqlite3.sqlite_version)
"""


def test_the_sqlite_of_another_tool_logs_500_columns_just_as_ours(tmp_path: Path) -> None:
    """Python's own SQLite stands for the others; in a process of its own (hard-parts §5.4)."""
    kinds = ("string", "int", "float", "bool", "json", "text")
    many = [field(f"f{number}", kinds[number % len(kinds)], nullable=True) for number in range(499)]
    wide = schema(collection("c", field("id", "id", primary=True), *many))
    for name in ("theirs.db", "ours.db"):
        made.create(tmp_path / name, wide).close()
    subprocess.run([sys.executable, "-c", _OTHER_TOOL, str(tmp_path / "theirs.db")], check=True, stdout=subprocess.DEVNULL)
    ours = connect(tmp_path / "ours.db")
    ours.execute("INSERT INTO c (id, f0, f2, f3, f4) VALUES ('a', 'x', 0.1, 1, '[1, 2]')")
    ours.execute("UPDATE c SET f498 = 'y', f2 = 3.0")
    ours.execute("UPDATE c SET f0 = ?", ("é" * 3000,))
    ours.execute("DELETE FROM c")
    logs = [[line | {"at": 0} for line in made.log(connection)] for connection in (connect(tmp_path / "theirs.db"), ours)]
    assert logs[0] == logs[1]
    assert [line["op"] for line in logs[0]] == ["insert", "update", "update", "delete"]


def test_random_histories_can_be_replayed_and_taken_back(notes: apsw.Connection) -> None:
    """`after` of one line is the row until the next, and `before` holds all that the update changed."""
    source = random.Random(3)
    values: dict[str, list[Any]] = {
        "text": ["a", "b", "x" * 5000, None], "done": [0, 1, None], "score": [1.5, -0.25, None], "price": ["1.00", None],
        "meta": ["{}", "[1]", "null", None], "tags": ['["a"]', "[]"], "count": [1, 2, None], "image": [b"", b"1"],
    }  # fmt: skip
    notes.execute("BEGIN")
    for _ in range(400):
        key = source.choice("pqrs")
        column = source.choice(list(values))
        value = source.choice(values[column])
        other = source.choice("pqrs")
        statement, parameters = source.choice(
            [
                (f"INSERT OR REPLACE INTO notes (id, {column}) VALUES (?, ?)", (key, value)),
                (f"INSERT OR IGNORE INTO notes (id, {column}) VALUES (?, ?)", (key, value)),
                (f"UPDATE notes SET {column} = ? WHERE id = ?", (value, key)),
                (f"UPDATE notes SET {column} = ?", (value,)),
                ("UPDATE OR REPLACE notes SET id = ? WHERE id = ?", (other, key)),
                ("DELETE FROM notes WHERE id = ?", (key,)),
            ]
        )
        notes.execute(statement, parameters)
    rows: dict[str, Any] = {}
    for line in made.log(notes):
        key = line["doc_id"]
        if line["op"] == "insert":
            assert key not in rows
            rows[key] = line["after"]
        elif line["op"] == "update":
            assert rows[key] == line["after"] | line["before"]
            rows[key] = line["after"]
        else:
            assert rows.pop(key) == line["before"]
    assert sorted(rows) == [key for (key,) in notes.execute("SELECT id FROM notes ORDER BY id")]


def test_installing_again_changes_nothing(blog: apsw.Connection) -> None:
    assert changes.install(blog, BLOG, lambda _: frozenset()) == []


def test_installing_remakes_what_differs_and_drops_what_is_left_over(blog: apsw.Connection) -> None:
    only_users = schema(BLOG.collections["users"])
    touched = changes.install(blog, only_users, lambda _: frozenset({"name"}))
    assert "_alyx_log_users_update" not in touched or len(touched) > 1
    assert {name for name in touched if "posts" in name} == {
        f"_alyx_log_posts_{what}" for what in ("insert", "update", "delete", "rekey")
    }
    blog.execute("INSERT INTO users VALUES ('u', 'n'); INSERT INTO posts (id, title) VALUES ('p', 't')")
    assert _ops(blog) == [("users", "insert", "u")]


def test_dropping_leaves_no_trigger_of_ours_and_those_of_others(blog: apsw.Connection) -> None:
    blog.execute("CREATE TRIGGER mine AFTER INSERT ON users BEGIN SELECT 1; END")
    changes.drop(blog)
    assert blog.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall() == [("mine",)]


def test_installing_raises_the_generation_of_the_collections_named(blog: apsw.Connection) -> None:
    for _ in range(2):
        changes.install(blog, BLOG, lambda _: frozenset(), raised=["posts"])
    assert blog.execute("SELECT * FROM _alyx_generations").fetchall() == [("posts", 2)]


def test_a_failed_install_leaves_the_old_triggers(blog: apsw.Connection) -> None:
    missing = schema(BLOG.collections["users"], collection("nowhere", field("id", "id", primary=True)))
    with pytest.raises(apsw.SQLError, match="no such table"):
        changes.install(blog, missing, lambda _: frozenset())
    blog.execute("INSERT INTO posts (id, title) VALUES ('p', 't')")
    assert _ops(blog) == [("posts", "insert", "p")]


def test_the_text_of_a_trigger_names_only_what_sqlite_3_38_knows() -> None:
    known = {"json_quote", "printf", "length", "julianday", "random", "coalesce", "CAST", "_alyx_changes", "AS", "THEN", "SELECT"}
    for item in (*BLOG.collections.values(), *WIDE.collections.values()):
        for text in changes.triggers(item, frozenset({"secret"})).values():
            outside = re.sub(r"'[^']*'", "''", text)
            assert set(re.findall(r"\b(\w+)\(", outside)) <= known
