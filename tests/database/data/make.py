"""Makes the fixtures of a release: `python -m tests.database.data.make 0.1.0`, run once, with that release's code.

The files are small. `release-` holds some of everything: tables, triggers, records, a change log that was trimmed, stored
answers, a generation. `project-` is what `alyx dev` made of PROJECT, with its history of migrations. Both are then opened by
every later release's tests, and never made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alyx.database.migrations import Migrator
from alyx.database.sqlite import changes
from alyx.database.sqlite.connection import connect
from alyx.database.sqlite.upkeep import trim
from alyx.database.work import drive
from alyx.schema.load import loads
from tests.database import made

FOLDER = Path(__file__).parent
PROJECT = """
version: 1
collections:
  notes:
    fields:
      id:    { type: id, primary: true, default: auto }
      text:  { type: text }
      score: { type: int, default: 0 }
    rules: { read: "true" }
"""


def project(path: Path) -> None:
    """A project's database after its first start and two changes."""
    Migrator(path, path.parent / "migrations").apply(loads(PROJECT))
    connection = connect(path)
    connection.execute("INSERT INTO notes (id, text) VALUES ('n1', 'first')")
    connection.execute("UPDATE notes SET score = 1 WHERE id = 'n1'")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def main(release: str) -> None:
    """Write what does not stand yet of the release's files, beside this one."""
    for name, make in (("release", some_of_everything), ("project", project)):
        path = FOLDER / f"{name}-{release}.db"
        if not path.exists():
            make(path)


def some_of_everything(path: Path) -> None:
    """The blog's database."""
    connection = made.create(path)
    connection.execute("INSERT INTO users VALUES ('u1', 'Ann'), ('u2', 'Bob')").fetchall()
    connection.execute("INSERT INTO posts (id, title, author_id) VALUES ('p1', 'First', 'u1')")
    connection.execute("UPDATE posts SET body = 'é😀' WHERE id = 'p1'")
    connection.execute("DELETE FROM users WHERE id = 'u2'")
    connection.execute("UPDATE _alyx_changes SET at = seq")
    drive(trim(2), lambda statement: connection.execute(statement.sql, statement.params).fetchall())
    answer = ("user:u1", "key", b"\x00", 201, "{}", b'{"id":"p1"}', "2026-01-01T00:00:00.000000Z")
    connection.execute("INSERT INTO _alyx_idempotency VALUES (?, ?, ?, ?, ?, ?, ?)", answer)
    changes.install(connection, made.BLOG, lambda _: frozenset(), raised=["posts"])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
