"""Promises of the engine as a whole: upkeep, backup, health, and a database that several know."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from alyx.base import clock
from alyx.database.sqlite.connection import CannotOpen, connect
from alyx.database.sqlite.engine import Engine, Settings
from alyx.database.sqlite.upkeep import trim
from alyx.database.work import Unavailable, Work
from tests.database import made
from tests.database.conftest import Running
from tests.database.made import add_user, ask


def test_memory_is_refused_because_its_connections_would_not_share_it() -> None:
    with pytest.raises(CannotOpen, match="needs a file"):
        Engine.open(Settings(":memory:"))


def test_a_new_engine_is_healthy_and_counts_from_zero(running: Running) -> None:
    async def main() -> None:
        async with running() as engine:
            assert engine.health() == {"status": "healthy"}
            assert set(engine.counters().values()) == {0}

    asyncio.run(main())


def test_an_engine_that_does_not_run_says_so(path: Path) -> None:
    async def main() -> None:
        engine = Engine.open(Settings(str(path)))
        for _ in range(2):
            for call in (engine.read, engine.write):
                with pytest.raises(Unavailable, match="not open"):
                    await call(ask("SELECT 1"))
            assert engine.health()["status"] == "degraded"
            assert engine.counters() == {}
            await engine.start()
            await engine.stop()

    asyncio.run(main())


def test_retention_trims_the_oldest_lines_and_moves_low_water(running: Running) -> None:
    async def main() -> None:
        async with running(retention=100.0) as engine:
            for number in range(6):
                await engine.write(add_user(f"u{number}"))
            await engine.write(ask("UPDATE _alyx_changes SET at = at - 200000 WHERE seq <= 4"))
            assert await engine.trim() == 4
            assert await engine.trim() == 0
            assert await engine.read(ask("SELECT seq FROM _alyx_changes")) == [(5,), (6,)]
            assert await engine.read(ask("SELECT last_seq, low_water FROM _alyx_feed")) == [(6, 4)]

    asyncio.run(main())


def test_retention_happens_by_itself(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with running(retention=-100.0, upkeep=0.001) as engine:  # a retention that ends in the future
            await engine.write(add_user("u1"))
            rounds = asyncio.Semaphore(0)
            expire = engine.expire

            async def count() -> int:
                rounds.release()
                return await expire()

            monkeypatch.setattr(engine, "expire", count)
            for _ in range(2):  # the first may have trimmed before the write
                await asyncio.wait_for(rounds.acquire(), 5)
            assert await engine.read(ask("SELECT low_water FROM _alyx_feed")) == [(1,)]

    asyncio.run(main())


def test_retention_leaves_no_gap_when_a_clock_went_back(running: Running) -> None:
    async def main() -> None:
        async with running() as engine:
            for number in range(4):
                await engine.write(add_user(f"u{number}"))
            await engine.write(ask("UPDATE _alyx_changes SET at = 1 WHERE seq <> 2"))
            assert await engine.trim() == 1
            assert await engine.read(ask("SELECT seq FROM _alyx_changes")) == [(2,), (3,), (4,)]

    asyncio.run(main())


def test_retention_works_in_pieces(running: Running) -> None:
    async def main() -> None:
        async with running() as engine:
            for number in range(5):
                await engine.write(add_user(f"u{number}"))

            def work() -> Work[int]:
                return (yield from trim(2**60, 2))

            assert [await engine.write(work) for _ in range(4)] == [2, 2, 1, 0]
            assert await engine.read(ask("SELECT last_seq, low_water FROM _alyx_feed")) == [(5, 5)]

    asyncio.run(main())


def test_a_trimmed_or_deleted_value_is_no_longer_in_the_file(path: Path) -> None:
    async def main() -> None:
        engine = Engine.open(Settings(str(path), retention=0.0))
        await engine.start()
        await engine.write(add_user("u1", "a-very-private-name"))
        await engine.write(ask("DELETE FROM users"))
        clock.pin(lambda: 4e9)
        await engine.trim()
        await engine.stop()

    try:
        asyncio.run(main())
    finally:
        clock.pin(None)
    assert b"a-very-private-name" not in path.read_bytes()


def test_stored_answers_expire_after_a_day(running: Running) -> None:
    async def main() -> None:
        async with running() as engine:
            sql = "INSERT INTO _alyx_idempotency VALUES ('s', ?, x'00', 201, '{}', x'', ?)"
            await engine.write(ask(sql, "old", "2020-01-01T00:00:00.000000Z"))
            await engine.write(ask(sql, "new", clock.now()))
            assert await engine.expire() == 1
            assert await engine.read(ask("SELECT key FROM _alyx_idempotency")) == [("new",)]

    asyncio.run(main())


def test_tickets_that_nobody_used_expire(running: Running) -> None:
    async def main() -> None:
        async with running() as engine:
            for name, expires_at in (("old", 1.0), ("older", 0.5), ("new", clock.seconds() + 30)):
                await engine.write(ask("INSERT INTO _alyx_tickets VALUES (CAST(? AS BLOB), '{}', ?)", name, expires_at))
            assert await engine.expire_tickets() == 2
            assert await engine.read(ask("SELECT CAST(hash AS TEXT) FROM _alyx_tickets")) == [("new",)]

    asyncio.run(main())


def test_a_backup_is_a_whole_database_and_overwrites_nothing(running: Running, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"

    async def main() -> None:
        async with running() as engine:
            await engine.write(add_user("u1"))
            await engine.backup(copy)
            await engine.write(add_user("u2"))
            with pytest.raises(CannotOpen, match="stands already"):
                await engine.backup(copy)

    asyncio.run(main())
    copied = connect(copy)
    assert copied.execute("SELECT id FROM users").fetchall() == [("u1",)]
    assert copied.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not (tmp_path / "copy.db.part").exists()


_FOREIGN = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("INSERT INTO users VALUES ('u1', 'Ann')")
db.execute("INSERT INTO posts (id, title, author_id) VALUES ('p1', 't', 'u1')")
db.execute("UPDATE posts SET body = 'b' WHERE id = 'p1'")
db.execute("UPDATE posts SET id = 'p2'")
db.execute("DELETE FROM posts")
db.commit()
db.close()
"""


def test_writes_of_pythons_own_sqlite_are_logged(running: Running, path: Path) -> None:
    """In a process of its own: the file is never opened by two libraries in one (hard-parts §5.4)."""

    async def main() -> None:
        async with running() as engine:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", _FOREIGN, str(path))
            assert await process.wait() == 0
            lines = await engine.read(ask("SELECT seq, op, doc_id, before, after FROM _alyx_changes ORDER BY seq"))
        assert [(seq, op, key) for seq, op, key, _, _ in lines] == [
            (1, "insert", "u1"), (2, "insert", "p1"), (3, "update", "p1"), (4, "delete", "p1"), (5, "insert", "p2"),
            (6, "delete", "p2"),
        ]  # fmt: skip
        assert json.loads(lines[2][3]) == {"id": "p1", "body": None}

    asyncio.run(main())


_WRITING = """
import asyncio, sys, time
from alyx.database.sqlite.engine import Engine, Settings
from tests.database.made import add_user

async def main(path, name, seconds):
    engine = Engine.open(Settings(path))
    await engine.start()
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    done, longest = [], 0.0
    async def client(number):
        nonlocal longest
        count = 0
        while (begun := time.monotonic()) < end:
            done.append(await engine.write(add_user(f"{name}-{number}-{count}")))
            longest = max(longest, time.monotonic() - begun)
            count += 1
    await asyncio.gather(*(client(number) for number in range(8)))
    await engine.stop()
    print(len(done), round(longest * 1000), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""


@pytest.mark.slow
def test_two_processes_that_write_at_once_share_fairly_and_lose_nothing(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITING, str(path), name, "1.5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    counts, longest = zip(*(map(int, process.communicate(timeout=30)[0].split()) for process in processes), strict=True)
    connection = connect(path)
    assert connection.execute("SELECT count(*) FROM users").fetchall() == [(sum(counts),)]
    assert connection.execute("SELECT count(*), max(seq) FROM _alyx_changes").fetchall() == [(sum(counts), sum(counts))]
    assert min(counts) * 4 > max(counts)
    assert max(longest) < 3000  # milliseconds; on an idle machine about 50


_KILLED = """
import asyncio, os, sys
from alyx.database.sqlite.engine import Engine, Settings
from alyx.database.work import Statement
from tests.database.made import add_user

async def main(path, name):
    engine = Engine.open(Settings(path))
    await engine.start()
    def change(key):
        def work():
            yield Statement("UPDATE users SET name = name || '!' WHERE id = ?", (key,))
            yield Statement("INSERT INTO posts (id, title, author_id) VALUES (?, 't', ?)", (key, key))
        return work
    async def client(number):
        for count in range(1_000_000):
            key = f"{name}-{number}-{count}"
            await engine.write(add_user(key))
            os.write(1, b"+" + key.encode() + b"\\n")
            await engine.write(change(key))
            os.write(1, b"*" + key.encode() + b"\\n")
    await asyncio.gather(*(client(number) for number in range(16)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.slow
def test_no_acknowledged_write_is_lost_by_kill_9_and_the_log_agrees_with_the_tables(path: Path) -> None:
    source = random.Random(11)
    added: set[str] = set()
    changed: set[str] = set()
    for life in range(25):
        # Unbuffered: what a buffer had read ahead would come after what os.read takes below, and tear a line.
        process = subprocess.Popen([sys.executable, "-c", _KILLED, str(path), str(life)], stdout=subprocess.PIPE, bufsize=0)
        assert process.stdout is not None
        text = process.stdout.readline()  # it writes; the kill comes a random number of bytes later
        text += os.read(process.stdout.fileno(), source.randint(1, 60_000))
        for _ in range(source.randint(0, 40)):
            text += os.read(process.stdout.fileno(), source.randint(1, 2_000))
        process.kill()
        text += process.stdout.read() or b""
        process.wait()
        process.stdout.close()
        lines = text.decode().split("\n")[:-1]
        added |= {line[1:] for line in lines if line.startswith("+")}
        changed |= {line[1:] for line in lines if line.startswith("*")}
    connection = connect(path)
    users = dict(connection.execute("SELECT id, name FROM users").fetchall())
    posts = {key for (key,) in connection.execute("SELECT id FROM posts")}
    assert added - users.keys() == set()
    assert changed - posts == set()
    assert {key for key, name in users.items() if name.endswith("!")} == posts, "a piece of work is whole or not at all"
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    _check_log(connection, users, posts)
    assert len(added) > 100


def _check_log(connection: apsw.Connection, users: dict[str, str], posts: set[str]) -> None:
    """Replaying the log gives the tables, and its numbers have no gap."""
    replayed: dict[str, dict[str, dict[str, object]]] = {"users": {}, "posts": {}}
    lines = made.log(connection)
    for line in lines:
        if line["op"] == "delete":
            del replayed[line["collection"]][line["doc_id"]]
        else:
            assert (line["op"] == "update") == (line["doc_id"] in replayed[line["collection"]])
            replayed[line["collection"]][line["doc_id"]] = line["after"]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {key: row["name"] for key, row in replayed["users"].items()} == users
    assert set(replayed["posts"]) == posts
