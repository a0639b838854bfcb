"""Makes the fixture of a release: `python -m tests.database.data.make 0.1.0`, run once, with that release's code.

The file is small and holds some of everything: tables, triggers, records, a change log that was trimmed, stored answers, a
generation. It is then opened by every later release's tests, and never made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alyx.database.sqlite import changes
from alyx.database.sqlite.upkeep import trim
from alyx.database.work import drive
from tests.database import made

FOLDER = Path(__file__).parent


def main(release: str) -> None:
    """Write `release-<release>.db` beside this file; refuses to replace one."""
    path = FOLDER / f"release-{release}.db"
    if path.exists():
        raise SystemExit(f"{path.name} stands already; a release is made once")
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
