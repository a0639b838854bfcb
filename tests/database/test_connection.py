"""Promises of the one way to open the database."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw
import pytest

from alyx.database.sqlite.connection import CannotOpen, Patience, connect


def _pragma(connection: apsw.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchall()[0][0]


def test_every_connection_has_our_pragmas(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    wanted = {
        "journal_mode": "wal", "foreign_keys": 1, "recursive_triggers": 1, "secure_delete": 1, "synchronous": 2,
        "cache_size": -65536, "wal_autocheckpoint": 0, "trusted_schema": 0, "temp_store": 2,
    }  # fmt: skip
    assert {name: _pragma(connection, name) for name in wanted} == wanted


def test_normal_is_a_weaker_synchronous(tmp_path: Path) -> None:
    assert _pragma(connect(tmp_path / "a.db", synchronous="normal"), "synchronous") == 1


def test_a_misspelt_column_in_double_quotes_is_an_error_and_not_a_string(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (a)")
    with pytest.raises(apsw.SQLError, match="no such column"):
        connection.execute('SELECT "missing" FROM t')
    with pytest.raises(apsw.SQLError, match="no such column"):
        connection.execute('CREATE INDEX i ON t ("missing")')


def test_extensions_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(apsw.SQLError, match="not authorized"):
        connect(tmp_path / "a.db").execute("SELECT load_extension('x')")


def test_a_readonly_connection_changes_nothing(tmp_path: Path) -> None:
    connect(tmp_path / "a.db").execute("CREATE TABLE t (a)")
    with pytest.raises(apsw.ReadOnlyError):
        connect(tmp_path / "a.db", readonly=True).execute("INSERT INTO t VALUES (1)")


def test_memory_is_allowed() -> None:
    assert connect(":memory:").execute("SELECT 1").fetchall() == [(1,)]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"the folder .*nowhere does not exist"):
        connect(tmp_path / "nowhere" / "a.db")


def test_a_missing_file_is_named_when_it_is_only_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"there is no database at .*a\.db"):
        connect(tmp_path / "a.db", readonly=True)
    assert not (tmp_path / "a.db").exists()


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="is a folder"):
        connect(tmp_path)


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("what a lovely day, " * 200)
    with pytest.raises(CannotOpen, match="is not a SQLite database"):
        connect(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_text().startswith("what a lovely day")


def test_a_folder_without_write_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(CannotOpen, match="is not writable"):
        connect(tmp_path / "a.db")


def test_a_busy_database_is_waited_for_with_short_sleeps(tmp_path: Path) -> None:
    first = connect(tmp_path / "a.db")
    second = connect(tmp_path / "a.db")
    first.execute("CREATE TABLE t (a); BEGIN IMMEDIATE")
    releasing = threading.Timer(0.02, lambda: first.execute("COMMIT"))
    releasing.start()
    second.execute("BEGIN IMMEDIATE")
    releasing.join()


def test_patience_ends(tmp_path: Path) -> None:
    patience = Patience(0.0)
    assert patience(0) is False


def test_a_connection_without_patience_answers_busy_at_once(tmp_path: Path) -> None:
    first = connect(tmp_path / "a.db")
    second = connect(tmp_path / "a.db", wait=0)
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        second.execute("BEGIN IMMEDIATE")


def test_matches_is_re2_and_unanchored(tmp_path: Path) -> None:
    connection = connect(":memory:")
    rows = connection.execute(
        "SELECT alyx_matches('abc', 'b'), alyx_matches('abc', '^b'), alyx_matches('é', '^.$'), alyx_matches(NULL, 'b'),"
        " alyx_matches('abc', '('), alyx_matches('aa', '(a)\\1'), alyx_base64(x'fffe'), alyx_base64(NULL)"
    ).fetchall()
    assert rows == [(1, 0, 1, None, None, None, "//4=", None)]


def test_our_functions_cannot_stand_in_a_trigger(tmp_path: Path) -> None:
    connection = connect(":memory:")
    connection.execute("CREATE TABLE t (a); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT alyx_matches(NEW.a, 'x'); END")
    with pytest.raises(apsw.SQLError, match="unsafe use of alyx_matches"):
        connection.execute("INSERT INTO t VALUES ('x')")
