"""Promises about Alyx's own tables: an older data folder is brought up, a newer one refused."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import apsw
import pytest

from alyx.database.migrations import Migrator
from alyx.database.sqlite import changes, internal
from alyx.database.sqlite.connection import CannotOpen, connect
from alyx.database.sqlite.engine import Engine, Settings
from alyx.schema.load import loads
from tests.database import made
from tests.database.data.make import PROJECT
from tests.database.made import add_user, ask

RELEASES = sorted((Path(__file__).parent / "data").glob("release-*.db"))
PROJECTS = sorted((Path(__file__).parent / "data").glob("project-*.db"))


def _tables(connection: apsw.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_alyx%' ESCAPE '\\'")
    return {str(name): str(sql) for name, sql in rows}


def test_a_new_database_gets_all_tables_strict(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    internal.upgrade(connection)
    tables = _tables(connection)
    assert set(tables) == {
        "_alyx_meta", "_alyx_feed", "_alyx_changes", "_alyx_generations", "_alyx_migrations", "_alyx_idempotency",
        "_alyx_tickets",
    }  # fmt: skip
    assert all("STRICT" in text for text in tables.values())
    assert internal.version(connection) == len(internal.STEPS)


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    internal.upgrade(connection)
    before = connection.total_changes(), connection.execute("SELECT * FROM _alyx_feed").fetchall()
    internal.upgrade(connection)
    assert (connection.total_changes(), connection.execute("SELECT * FROM _alyx_feed").fetchall()) == before


def test_each_database_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("a.db", "b.db"):
        connection = connect(tmp_path / name)
        internal.upgrade(connection)
        epochs.add(connection.execute("SELECT epoch FROM _alyx_feed").fetchall()[0][0])
    assert len(epochs) == 2


def test_a_newer_database_is_refused_untouched_with_advice(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    internal.upgrade(connection)
    connection.execute("UPDATE _alyx_meta SET value = '99' WHERE key = 'version'")
    with pytest.raises(CannotOpen, match=r"written by a newer Alyx \(its internal version is 99.*update Alyx"):
        Engine.open(Settings(str(tmp_path / "a.db")))
    assert connection.execute("SELECT value FROM _alyx_meta").fetchall() == [("99",)]


def test_an_older_database_is_brought_up_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tmp_path / "a.db")
    internal.upgrade(connection)
    more = (*internal.STEPS, ("CREATE TABLE _alyx_one (a TEXT) STRICT",), ("ALTER TABLE _alyx_one ADD COLUMN b TEXT",))
    monkeypatch.setattr(internal, "STEPS", more)
    internal.upgrade(connection)
    assert "b TEXT" in _tables(connection)["_alyx_one"]
    assert internal.version(connection) == len(more)


def test_a_step_that_fails_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tmp_path / "a.db")
    internal.upgrade(connection)
    before = _tables(connection)
    broken = (*internal.STEPS, ("CREATE TABLE _alyx_one (a TEXT) STRICT", "CREATE TABLE nonsense ("))
    monkeypatch.setattr(internal, "STEPS", broken)
    with pytest.raises(apsw.SQLError):
        internal.upgrade(connection)
    assert (_tables(connection), internal.version(connection)) == (before, len(broken) - 1)


def test_several_may_upgrade_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            connection = connect(tmp_path / "a.db")
            internal.upgrade(connection)
            connection.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert connect(tmp_path / "a.db").execute("SELECT count(*) FROM _alyx_feed").fetchall() == [(1,)]


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.stem)
def test_the_project_of_every_release_gets_triggers_of_today_and_nothing_else(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    shutil.copy(project, path)
    migrator = Migrator(path, tmp_path / "migrations")
    schema = loads(PROJECT)
    assert migrator.plan(schema).empty
    connection = connect(path)
    picture = "SELECT (SELECT count(*) FROM _alyx_migrations), (SELECT group_concat(generation) FROM _alyx_generations)"
    before = connection.execute(picture).fetchall()
    connection.execute("INSERT INTO notes (id, text) VALUES ('n2', 'before')")
    assert not migrator.apply(schema).changed
    connection.execute("INSERT INTO notes (id, text) VALUES ('n3', 'after')")
    assert migrator.drift(schema).found == ()
    assert connection.execute(picture).fetchall() == before
    lines = connection.execute("SELECT seq, op, doc_id, nonce <> 0 FROM _alyx_changes ORDER BY seq").fetchall()
    assert lines == [(1, "insert", "n1", 0), (2, "update", "n1", 0), (3, "insert", "n2", 0), (4, "insert", "n3", 1)]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_the_database_of_every_release_opens_and_works(release: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    shutil.copy(release, path)

    async def main() -> None:
        engine = Engine.open(Settings(str(path)))
        await engine.start()
        assert await engine.read(ask("SELECT id, name FROM users")) == [("u1", "Ann")]
        assert await engine.read(ask("SELECT id, body FROM posts")) == [("p1", "é😀")]
        assert await engine.read(ask("SELECT last_seq, low_water FROM _alyx_feed")) == [(5, 1)]
        assert await engine.read(ask("SELECT * FROM _alyx_generations")) == [("posts", 1)]
        await engine.write(add_user("u3"))
        assert await engine.read(ask("SELECT seq, op FROM _alyx_changes ORDER BY seq DESC LIMIT 1")) == [(6, "insert")]
        await engine.stop()

    asyncio.run(main())
    connection = connect(path)
    fresh = connect(tmp_path / "fresh.db")
    internal.upgrade(fresh)
    assert _tables(connection) == _tables(fresh)
    changes.install(connection, made.BLOG, lambda _: frozenset())
    assert changes.install(connection, made.BLOG, lambda _: frozenset()) == []


def test_there_are_fixtures_of_a_release() -> None:
    assert RELEASES
    assert PROJECTS
