"""Whatever statement a migration dies at, the database is afterwards the old one or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from alyx.database.migrations import Migrator
from alyx.database.sqlite.connection import connect
from alyx.schema.load import loads

from .conftest import World

OLD = loads("""version: 1
collections:
  users:
    fields:
      id: {type: int, primary: true, default: auto}
      name: {type: string, nullable: true}
  posts:
    fields:
      id: {type: string, primary: true}
      user_id: {type: int, references: users.id, onDelete: cascade}
      old: {type: string, nullable: true}
      number: {type: string}
  gone:
    fields:
      id: {type: string, primary: true}
""")
NEW = loads("""version: 1
collections:
  people:
    renamed_from: users
    fields:
      id: {type: int, primary: true, default: auto}
      name: {type: string, default: nobody, unique: true}
  posts:
    fields:
      id: {type: string, primary: true}
      user_id: {type: int, references: people.id, onDelete: restrict}
      number: {type: int, index: true}
      added: {type: date, default: now}
""")


class Stop(Exception):
    """The end that a test prepares."""


class Doomed:
    """Opens connections on which the nth statement does not come to run. end: what happens instead."""

    def __init__(self, at: int, end: Any) -> None:
        self.seen = 0
        self._at = at
        self._end = end

    def __call__(self, path: str | Path) -> apsw.Connection:
        connection = connect(path)
        connection.exec_trace = self._trace
        return connection

    def _trace(self, _cursor: Any, sql: str, _bindings: Any) -> bool:
        if "SAVEPOINT" in sql:  # apsw's own, which it must be let finish
            return True
        self.seen += 1
        if self.seen == self._at:
            self._end()
        return True


def stop() -> None:
    raise Stop


def filled(folder: Path) -> World:
    folder.mkdir(parents=True)
    world = World(folder)
    world.migrator.apply(OLD)
    world.run("INSERT INTO users (id, name) VALUES (1, 'a'), (7, 'b'), (9, NULL)")
    world.run("DELETE FROM users WHERE id = 9")
    world.run("INSERT INTO posts VALUES ('p', 1, 'x', '12'), ('q', 7, NULL, '007')")
    world.run("INSERT INTO gone VALUES ('g')")
    return world


def stands_whole(world: World, old: list[tuple[Any, ...]]) -> None:
    if world.picture() != old:
        assert world.migrator.plan(NEW).empty
        assert world.migrator.drift(NEW).found == ()
    assert world.run("PRAGMA integrity_check") == [("ok",)]


def test_an_error_at_any_statement_leaves_the_old_schema_whole(tmp_path: Path) -> None:
    world = filled(tmp_path / "one")
    old = world.picture()
    at, done = 0, False
    while not done:
        at += 1
        doomed = Doomed(at, stop)
        try:
            done = Migrator(world.path, world.folder, open_=doomed).apply(NEW, accept_data_loss=True).ok
        except Stop:
            assert world.picture() == old, f"statement {at}"
    assert at > 40
    assert world.migrator.drift(NEW).found == ()
    assert world.run("SELECT id, number FROM posts ORDER BY id") == [("p", 12), ("q", 7)]


@pytest.mark.slow
def test_an_error_at_any_statement_of_a_rollback_leaves_the_new_schema_whole(tmp_path: Path) -> None:
    world = filled(tmp_path / "one")
    before = world.records(OLD)
    world.migrator.apply(NEW, accept_data_loss=True)
    new = world.picture()
    at, done = 0, False
    while not done:
        at += 1
        try:
            done = bool(Migrator(world.path, world.folder, open_=Doomed(at, stop)).rollback().steps)
        except Stop:
            assert world.picture() == new, f"statement {at}"
    assert world.records(OLD) == before
    assert world.migrator.drift(OLD).found == ()


@pytest.mark.slow
def test_a_process_that_dies_at_any_statement_leaves_the_old_or_the_new_schema(tmp_path: Path) -> None:
    world = filled(tmp_path / "one")
    old = world.picture()
    for at in range(1, 500):
        child = os.fork()
        if child == 0:
            try:
                migrator = Migrator(world.path, world.folder, open_=Doomed(at, lambda: os._exit(9)))
                migrator.apply(NEW, accept_data_loss=True)
            finally:
                os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
        stands_whole(world, old)
    assert at > 40
    assert world.migrator.plan(NEW).empty
