"""Promises of the change feed: every committed line, once, in order, or the word that history is lost."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from alyx.database import feed
from alyx.database.feed import Change, HistoryLost, Mark, Position
from alyx.database.sqlite import reader as reading
from alyx.database.sqlite import upkeep
from alyx.database.sqlite.connection import connect
from alyx.database.sqlite.engine import Engine, Settings
from alyx.database.sqlite.feed import Reader
from alyx.database.work import Statement, Unavailable, Work, drive
from tests.database import made
from tests.database.conftest import Running
from tests.database.made import add_user, ask

NEVER = 3600.0
"""A poll_interval that no test lives to see."""


def _run(running: Running, scenario: Callable[[Engine], Any], **settings: Any) -> None:
    async def main() -> None:
        async with running(**settings) as engine, asyncio.timeout(60):
            await scenario(engine)

    asyncio.run(main())


def _on(connection: apsw.Connection, work: Work[Any]) -> Any:
    return drive(work, lambda statement: connection.execute(statement.sql, statement.params).fetchall())


def _many(first: int, count: int) -> Callable[[], Work[None]]:
    """Work that stores users `first` and following, in one transaction."""

    def work() -> Work[None]:
        for number in range(first, first + count):
            yield Statement("INSERT INTO users (id, name) VALUES (?, ?)", (f"u{number}", f"n{number}"))

    return work


async def _all(reader: Reader, limit: int = 256) -> list[Change]:
    """Everything up to the end of the log."""
    lines: list[Change] = []
    while got := await reader.read(limit):
        lines += got
    return lines


async def _until(reader: Reader, seq: int, limit: int = 256) -> list[Change]:
    """Wait and read until line `seq` was handed out."""
    lines: list[Change] = []
    while reader.cursor < seq:
        await reader.wait()
        lines += await reader.read(limit)
    return lines


def _numbers(lines: list[Change]) -> list[int]:
    return [line.seq for line in lines]


@pytest.fixture
def blog(tmp_path: Path) -> apsw.Connection:
    """The blog with users u1 to u5, on a connection of its own."""
    connection = made.create(tmp_path / "blog.db")
    for number in range(1, 6):
        connection.execute("INSERT INTO users VALUES (?, ?)", (f"u{number}", f"n{number}"))
    return connection


# ---- what a change and a position say


def test_a_line_says_what_was_done_and_carries_a_nonce_of_its_own(blog: apsw.Connection) -> None:
    blog.execute("UPDATE users SET name = 'new' WHERE id = 'u5'")
    _, lines = _on(blog, feed.read_changes(4, 10))
    assert [(line.seq, line.collection, line.op, line.doc_id) for line in lines] == [
        (5, "users", "insert", "u5"),
        (6, "users", "update", "u5"),
    ]
    assert (lines[1].before, lines[1].after) == ('{"id":"u5","name":"n5"}', '{"id":"u5","name":"new"}')
    nonces = {line.nonce for line in _on(blog, feed.read_changes(0, 10))[1]}
    assert len(nonces) == 6
    assert all(-(2**63) <= nonce < 2**63 for nonce in nonces)


def test_a_position_says_where_the_log_stands(blog: apsw.Connection) -> None:
    position = _on(blog, feed.read_position())
    ((epoch,),) = blog.execute("SELECT epoch FROM _alyx_feed").fetchall()
    assert position == Position(epoch, 5, _on(blog, feed.read_nonce(5)), 0, 0)


def test_the_generation_moves_with_that_of_any_collection(blog: apsw.Connection) -> None:
    before = _on(blog, feed.read_position()).generation
    blog.execute("INSERT INTO _alyx_generations VALUES ('posts', 1), ('users', 2)")
    assert _on(blog, feed.read_position()).generation == before + 3


def test_a_new_log_has_position_0(tmp_path: Path) -> None:
    connection = made.create(tmp_path / "a.db")
    position = _on(connection, feed.read_position())
    assert (position.seq, position.nonce, position.low_water) == (0, 0, 0)
    assert _on(connection, feed.follow(Mark(0), 10)) == (position, [])


def test_the_nonce_of_a_line_that_is_not_there_is_none(blog: apsw.Connection) -> None:
    assert [_on(blog, feed.read_nonce(seq)) for seq in (0, 6)] == [None, None]


def test_the_history_of_one_collection_leaves_the_others_out(blog: apsw.Connection) -> None:
    blog.execute("INSERT INTO posts (id, title) VALUES ('p1', 'a'); UPDATE users SET name = 'x' WHERE id = 'u1'")
    blog.execute("UPDATE posts SET title = 'b'")
    assert _numbers(_on(blog, feed.read_history("posts", 0, 10))) == [6, 8]
    assert _numbers(_on(blog, feed.read_history("posts", 6, 10))) == [8]
    assert _numbers(_on(blog, feed.read_history("users", 3, 2))) == [4, 5]


def test_a_short_history_is_light_and_a_long_one_is_not(blog: apsw.Connection) -> None:
    def asked(after: int, last: int) -> Statement:
        work = feed.read_history("users", after, 10)
        next(work)
        return work.send([(last,)])

    assert asked(0, feed.NEAR).light
    assert not asked(0, feed.NEAR + 1).light


# ---- when history is lost


def _lost(connection: apsw.Connection, mark: Mark) -> str:
    with pytest.raises(HistoryLost) as caught:
        _on(connection, feed.follow(mark, 10))
    return caught.value.reason


def _mark(connection: apsw.Connection, seq: int) -> Mark:
    return Mark(seq, _on(connection, feed.read_position()).epoch, _on(connection, feed.read_nonce(seq)))


def test_following_a_good_mark_gives_what_came_after(blog: apsw.Connection) -> None:
    for mark in (Mark(2), _mark(blog, 2)):
        assert _numbers(_on(blog, feed.follow(mark, 2))[1]) == [3, 4]
    assert _on(blog, feed.follow(_mark(blog, 5), 2))[1] == []


def test_a_mark_beyond_the_end_is_forked(blog: apsw.Connection) -> None:
    assert _lost(blog, Mark(6)) == "forked"


def test_another_epoch_is_forked(blog: apsw.Connection) -> None:
    assert _lost(blog, _mark(blog, 2)._replace(epoch="another")) == "forked"


@pytest.mark.parametrize("seq", [2, 5])
def test_another_nonce_at_the_marks_own_line_is_forked(blog: apsw.Connection, seq: int) -> None:
    mark = _mark(blog, seq)
    blog.execute("UPDATE _alyx_changes SET nonce = nonce + 1 WHERE seq = ?", (seq,))
    assert _lost(blog, mark) == "forked"


@pytest.mark.parametrize("hole", ["seq = 3", "seq = 4", "seq >= 3", "seq = 2"])
def test_a_line_that_somebody_removed_is_forked(blog: apsw.Connection, hole: str) -> None:
    blog.execute(f"DELETE FROM _alyx_changes WHERE {hole}")
    assert _lost(blog, Mark(2)) == "forked"


def test_a_hole_at_the_end_is_noticed_by_the_next_read(blog: apsw.Connection) -> None:
    mark = _mark(blog, 3)
    blog.execute("DELETE FROM _alyx_changes WHERE seq >= 4")
    assert _lost(blog, mark) == "forked"


def test_a_mark_that_retention_has_passed_is_trimmed(blog: apsw.Connection) -> None:
    blog.execute("UPDATE _alyx_changes SET at = seq")
    marks = [_mark(blog, seq) for seq in range(6)]
    _on(blog, upkeep.trim(4))
    assert [_lost(blog, mark) for mark in marks[:3]] == ["trimmed"] * 3
    assert [_numbers(_on(blog, feed.follow(mark, 10))[1]) for mark in marks[3:]] == [[4, 5], [5], []]


def test_a_mark_at_the_end_stays_good_when_everything_is_trimmed(blog: apsw.Connection) -> None:
    mark = _mark(blog, 5)
    _on(blog, upkeep.trim(2**60))
    assert _on(blog, feed.follow(mark, 10))[1] == []
    blog.execute("INSERT INTO users VALUES ('u6', 'n6')")
    assert _numbers(_on(blog, feed.follow(mark, 10))[1]) == [6]


def test_a_read_never_gives_more_than_its_limit(blog: apsw.Connection) -> None:
    blog.execute("UPDATE _alyx_changes SET at = seq")
    _on(blog, upkeep.trim(3))  # the mark's own line is gone
    for after in (2, 3):
        assert len(_on(blog, feed.follow(Mark(after), 2))[1]) == 2


def test_a_read_of_large_lines_ends_early(blog: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ENOUGH", 20)
    monkeypatch.setattr(feed, "PIECE", 2)
    assert _numbers(_on(blog, feed.follow(Mark(1), 10))[1]) == [2]
    assert _numbers(_on(blog, feed.read_changes(1, 10))[1]) == [2, 3]


# ---- readers


def test_a_reader_begins_now_and_is_woken_by_a_write_of_this_process(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(add_user("before"))
        reader = engine.feed()
        assert reader.cursor == 1
        assert await reader.read() == []
        waiting = asyncio.ensure_future(reader.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        await engine.write(add_user("u1"))
        await waiting
        assert [line.doc_id for line in await reader.read()] == ["u1"]
        assert (reader.cursor, reader.position.seq) == (2, 2)
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_an_answer_comes_before_the_wake_up(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        order: list[str] = []
        reader = engine.feed()
        await reader.read()

        async def write() -> None:
            await engine.write(add_user("u1"))
            order.append("answer")

        async def follow() -> None:
            await reader.wait()
            order.append("wake-up")

        await asyncio.gather(follow(), write())
        assert order == ["answer", "wake-up"]
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_a_commit_that_writes_nothing_wakes_nobody(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        reader = engine.feed()
        await reader.read()
        waiting = asyncio.ensure_future(reader.wait())
        await engine.write(ask("DELETE FROM users"))
        await engine.write(ask("SELECT 1"))
        with pytest.raises(Exception, match="unique"):
            await asyncio.gather(engine.write(add_user("u1")), engine.write(add_user("u1")))
        await waiting  # one of the two was written
        await reader.read()
        waiting = asyncio.ensure_future(reader.wait())
        with pytest.raises(Exception, match="unique"):
            await engine.write(add_user("u1"))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_a_rolled_back_write_leaves_no_line(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        reader = engine.feed()

        def fails() -> Work[None]:
            yield Statement("INSERT INTO users VALUES ('gone', 'gone')")
            raise KeyError("on purpose")

        results = await asyncio.gather(
            engine.write(add_user("a")), engine.write(fails), engine.write(add_user("b")), return_exceptions=True
        )
        assert isinstance(results[1], KeyError)
        assert [(line.seq, line.doc_id) for line in await _all(reader)] == [(1, "a"), (2, "b")]
        reader.close()

    _run(running, scenario)


def test_several_readers_have_a_cursor_each(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(_many(0, 10))
        readers = [engine.feed(after) for after in (0, 4, 10)]
        assert [_numbers(await reader.read(3)) for reader in readers] == [[1, 2, 3], [5, 6, 7], []]
        await engine.write(add_user("more"))
        for reader in readers:
            await reader.wait()
        assert [_numbers(await _all(reader, 4)) for reader in readers] == [[*range(4, 12)], [*range(8, 12)], [11]]
        assert {reader.cursor for reader in readers} == {11}
        readers[0].close()
        await engine.write(add_user("last"))
        assert [_numbers(await _until(reader, 12)) for reader in readers[1:]] == [[12], [12]]
        for reader in readers[1:]:
            reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_wait_returns_at_once_while_lines_are_left(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(_many(0, 5))
        reader = engine.feed(0)
        for seq in (2, 4, 5):
            await reader.wait()
            await reader.read(2)
            assert reader.cursor == seq
        assert await reader.read(2) == []
        waiting = asyncio.ensure_future(reader.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_a_read_that_falls_into_an_older_snapshot_loses_no_wake_up(running: Running) -> None:
    """All reads of one pass of the loop share a snapshot; a commit in the meantime is read after it."""

    async def scenario(engine: Engine) -> None:
        reader = engine.feed()
        await reader.read()
        seen: list[Change] = []
        for number in range(200):
            writing = asyncio.ensure_future(engine.write(add_user(f"u{number}")))
            while not writing.done():  # passes of the loop that hold a snapshot while the commit happens
                await engine.read(ask("SELECT last_seq FROM _alyx_feed", light=True))
                seen += await reader.read()
                await asyncio.sleep(0)
            seen += await _until(reader, number + 1)
        assert _numbers(seen) == [*range(1, 201)]
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_a_transaction_of_20000_lines_is_read_in_batches_on_the_loop(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        reader = engine.feed()
        await engine.write(_many(0, 20_000))
        lines: list[Change] = []
        while got := await reader.read(1000):
            assert len(got) <= 1000
            lines += got
        assert [(line.seq, line.doc_id) for line in lines] == [(number + 1, f"u{number}") for number in range(20_000)]
        assert engine.counters()["heavy_reads"] == 0
        reader.close()

    _run(running, scenario)


def test_large_lines_go_to_a_thread_and_small_ones_come_back_soon(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGE", 10_000)
    monkeypatch.setattr(reading, "BUDGET", 0.0)

    async def scenario(engine: Engine) -> None:
        def posts(count: int, size: int) -> Callable[[], Work[None]]:
            def work() -> Work[None]:
                for _ in range(count):
                    key = ("k", str(random.random()), "x" * size)
                    yield Statement("INSERT INTO posts (id, title, body) VALUES (?2, ?1, ?3)", key)

            return work

        reader = engine.feed()
        now = time.monotonic()
        for _ in range(10):
            await engine.write(posts(20, 4000))
            assert len(await _all(reader)) == 20
        assert engine.counters()["heavy_reads"] > 0
        until = max(end for sql, end in engine._loop_reader.plans.until.items() if "_alyx_changes WHERE seq BETWEEN" in sql)
        assert until - now < 10.0
        reader.close()

    _run(running, scenario)


def test_a_closed_reader_wakes_who_waits_and_says_so(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        reader = engine.feed()
        await reader.read()
        waiting = asyncio.ensure_future(reader.wait())
        await asyncio.sleep(0)
        reader.close()
        await waiting
        with pytest.raises(Unavailable, match="closed"):
            await reader.read()
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


def test_an_engine_that_stops_wakes_its_readers(running: Running) -> None:
    async def main() -> None:
        async with running(poll_interval=NEVER) as engine:
            reader = engine.feed()
            await reader.read()
            waiting = asyncio.ensure_future(reader.wait())
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await waiting
        with pytest.raises(Unavailable, match="not open"):
            await reader.read()
        with pytest.raises(Unavailable, match="not open"):
            engine.feed()

    asyncio.run(main())


def test_a_read_that_is_cancelled_moves_no_cursor(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(_many(0, 3))
        reader = engine.feed(0)
        for sql in (feed._LINES, feed._POSITION.sql):
            engine._loop_reader.plans.until[sql] = float("inf")
        task = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reader.cursor == 0
        await reader.wait()
        assert _numbers(await reader.read()) == [1, 2, 3]
        reader.close()

    _run(running, scenario, poll_interval=NEVER)


# ---- retention, restored copies, restarts


def test_a_reader_that_is_overtaken_by_retention_is_told(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(_many(0, 10))
        behind, abreast, caught_up = engine.feed(0), engine.feed(6), engine.feed()
        await behind.read(2)
        await caught_up.read()
        await engine.write(ask("UPDATE _alyx_changes SET at = 1 WHERE seq <= 6"))
        assert await engine.trim() == 6
        await behind.wait()
        for _ in range(2):
            with pytest.raises(HistoryLost) as caught:
                await behind.read(2)
            assert caught.value.reason == "trimmed"
        assert behind.cursor == 2
        assert _numbers(await abreast.read()) == [7, 8, 9, 10]
        assert await caught_up.read() == []
        await engine.write(add_user("more"))
        assert _numbers(await _all(abreast)) == _numbers(await _all(caught_up)) == [11]
        for reader in (behind, abreast, caught_up):
            reader.close()

    _run(running, scenario)


def test_trimming_under_readers_never_gives_a_gap(running: Running) -> None:
    """While lines are written and trimmed at random, a reader has every line or is told that it has not."""

    async def scenario(engine: Engine) -> None:
        source = random.Random(11)
        readers = [engine.feed(0) for _ in range(4)]
        told: list[str] = []
        for round_ in range(150):
            await engine.write(_many(round_ * 4, 4))
            for place, reader in enumerate(readers):
                if source.random() > 0.15 * (place + 1):
                    continue
                before = reader.cursor
                try:
                    lines = await reader.read(source.choice([1, 3, 50]))
                except HistoryLost as lost:
                    told.append(lost.reason)
                    assert before < (await engine.read(feed.read_position)).low_water
                    reader.close()
                    readers[place] = engine.feed()
                else:
                    assert _numbers(lines) == [*range(before + 1, before + 1 + len(lines))]
            if source.random() < 0.2:
                keep = source.randrange(60)
                await engine.write(ask("UPDATE _alyx_changes SET at = 1 WHERE seq < (SELECT last_seq FROM _alyx_feed) - ?", keep))
                await engine.trim()
        assert set(told) == {"trimmed"}
        for reader in readers:
            reader.close()

    _run(running, scenario)


@asynccontextmanager
async def _engine(path: Path, **settings: Any) -> AsyncIterator[Engine]:
    engine = Engine.open(Settings(str(path), **settings))
    await engine.start()
    try:
        async with asyncio.timeout(60):
            yield engine
    finally:
        await engine.stop()


@pytest.mark.parametrize("kept", ["number", "mark"])
def test_after_a_restart_reading_goes_on_where_it_was(path: Path, kept: str) -> None:
    async def main() -> None:
        async with _engine(path) as engine:
            await engine.write(_many(0, 5))
            reader = engine.feed(0)
            await reader.read(3)
            after = reader.cursor if kept == "number" else reader.mark
            reader.close()
        async with _engine(path) as engine:
            await engine.write(add_user("later"))
            reader = engine.feed(after)
            assert [(line.seq, line.doc_id) for line in await _all(reader)] == [(4, "u3"), (5, "u4"), (6, "later")]
            reader.close()

    asyncio.run(main())


def test_a_reader_that_was_given_a_number_learns_the_history_from_its_first_read(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(_many(0, 3))
        reader = engine.feed(3)
        assert await reader.read() == []
        await engine.write(ask("UPDATE _alyx_feed SET epoch = 'another'"))
        with pytest.raises(HistoryLost, match="forked"):
            await reader.read()
        reader.close()

    _run(running, scenario)


def test_a_restored_copy_that_went_its_own_way_is_another_history(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with _engine(path) as engine:
            await engine.write(_many(0, 3))
            await engine.backup(tmp_path / "copy.db")
            await engine.write(_many(3, 2))
            reader = engine.feed(0)
            await _all(reader)
            reader.close()
        shutil.copy(tmp_path / "copy.db", path)  # the engine has closed it
        async with _engine(path) as engine:
            with pytest.raises(HistoryLost, match="forked"):
                await engine.feed(reader.mark).read()  # the copy ends before the mark
            await engine.write(_many(100, 7))
            with pytest.raises(HistoryLost, match="forked"):
                await engine.feed(reader.mark).read()  # the mark's line is another one
            assert len(await _all(engine.feed(Mark(3, reader.mark.epoch)))) == 7  # what both have in common is good

    asyncio.run(main())


def test_a_copy_restored_under_a_running_reader_is_noticed(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with _engine(path) as engine:
            await engine.write(_many(0, 3))
            await engine.backup(tmp_path / "copy.db")
            await engine.write(_many(3, 2))
            reader = engine.feed()
            await reader.read()
            script = (
                "import sqlite3, sys; copy = sqlite3.connect(sys.argv[1]); live = sqlite3.connect(sys.argv[2]);"
                " copy.executemany('INSERT INTO users VALUES (?, ?)', [(f'c{n}', f'c{n}') for n in range(2)]); copy.commit();"
                " copy.backup(live)"
            )
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / "copy.db"), str(path))
            assert await process.wait() == 0
            await reader.wait()
            with pytest.raises(HistoryLost, match="forked"):
                await reader.read()
            reader.close()

    asyncio.run(main())


# ---- other processes

_ONE_WRITE = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA busy_timeout = 5000")
for line in sys.stdin:
    db.execute("INSERT INTO users VALUES (?, ?)", (line.strip(), line.strip()))
    print(time.time(), flush=True)
"""


def test_a_write_of_another_process_is_noticed_soon(running: Running, path: Path) -> None:
    async def scenario(engine: Engine) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _ONE_WRITE, str(path), stdin=pipe, stdout=pipe)
        assert process.stdin is not None
        assert process.stdout is not None
        reader = engine.feed()
        await reader.read()
        late: list[float] = []
        for number in range(20):
            process.stdin.write(f"u{number}\n".encode())
            await _until(reader, number + 1)
            noticed = time.time()
            late.append(noticed - float(await process.stdout.readline()))
        process.stdin.close()
        assert await process.wait() == 0
        assert sorted(late)[10] < 0.02 + 0.05  # the middle one; a busy machine may hold up some
        reader.close()

    _run(running, scenario, poll_interval=0.02)


def test_nobody_looks_for_other_processes_without_a_reader(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    version = reading.LoopReader.version
    monkeypatch.setattr(reading.LoopReader, "version", lambda self: looks.append(1) or version(self))

    async def scenario(engine: Engine) -> None:
        assert engine._watch is not None
        assert engine._watch._timer is None
        readers = [engine.feed(), engine.feed()]
        assert engine._watch._timer is not None
        readers[0].close()
        assert engine._watch._timer is not None
        readers[1].close()
        assert engine._watch._timer is None
        assert looks == [1]

    _run(running, scenario, poll_interval=NEVER)


_OTHER_WRITER = """
import random, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA busy_timeout = 20000")
source = random.Random(5)
for number in range(int(sys.argv[2])):
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO users VALUES (?, ?)", (f"o{number}", f"o{number}"))
    db.execute("UPDATE users SET name = name || '!' WHERE id = ?", (f"o{number}",))
    db.execute("ROLLBACK" if source.random() < 0.3 else "COMMIT")
"""


@pytest.mark.slow
def test_8_writers_here_and_another_process_give_one_order_without_a_gap(running: Running, path: Path) -> None:
    async def scenario(engine: Engine) -> None:
        acknowledged: dict[str, list[str]] = {}

        async def write(name: str) -> None:
            for number in range(100):
                key = f"{name}-{number}"
                await engine.write(add_user(key))
                acknowledged.setdefault(name, []).append(key)

        readers = [engine.feed(0) for _ in range(3)]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _OTHER_WRITER, str(path), "200")
        seen: list[list[Change]] = [[] for _ in readers]

        last = 2**60

        async def follow(place: int) -> None:
            while readers[place].cursor < last:
                await readers[place].wait()
                seen[place] += await readers[place].read((1, 7, 256)[place])

        following = [asyncio.ensure_future(follow(place)) for place in range(3)]
        await asyncio.gather(*(write(f"w{number}") for number in range(8)))
        assert await process.wait() == 0
        last = (await engine.read(feed.read_position)).seq + 1
        await engine.write(add_user("last"))
        await asyncio.gather(*following)
        for reader in readers:
            reader.close()
        assert seen[0] == seen[1] == seen[2]
        assert _numbers(seen[0]) == [*range(1, last + 1)]
        for name, keys in acknowledged.items():
            assert [line.doc_id for line in seen[0] if line.doc_id.startswith(f"{name}-")] == keys
        stored = {key for (key,) in await engine.read(ask("SELECT id FROM users"))}
        assert {line.doc_id for line in seen[0]} == stored
        assert [line.op for line in seen[0] if line.doc_id.startswith("o")][:4] == ["insert", "update"] * 2

    _run(running, scenario)


# ---- random transactions against a list that says what must be read


class _Oracle:
    """What the log must say, by a model of the users."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.rows: dict[str, str] = {}
        self.lines: list[tuple[str, str]] = []

    def transaction(self) -> Callable[[], Work[None]]:
        """A random piece of work, and its lines if it is to stand."""
        rows, lines = dict(self.rows), []
        statements: list[Statement] = []
        for _ in range(self.source.randint(1, 6)):
            key = f"k{self.source.randrange(12)}"
            name = f"{key}-{self.source.randrange(3)}"
            if key not in rows:
                rows[key] = name
                statements.append(Statement("INSERT INTO users VALUES (?, ?)", (key, name)))
                lines.append(("insert", key))
            elif self.source.random() < 0.6:
                statements.append(Statement("UPDATE users SET name = ? WHERE id = ?", (name, key)))
                lines += [("update", key)] if rows[key] != name else []
                rows[key] = name
            else:
                del rows[key]
                statements.append(Statement("DELETE FROM users WHERE id = ?", (key,)))
                lines.append(("delete", key))
        fails = self.source.random() < 0.25
        if not fails:
            self.rows = rows
            self.lines += lines

        def work() -> Work[None]:
            for statement in statements:
                _rows = yield statement  # a bare `yield from` could not be sent the rows
            if fails:
                raise KeyError("on purpose")

        return work


@pytest.mark.parametrize("seed", range(6))
def test_random_transactions_are_read_as_they_were_made(path: Path, seed: int) -> None:
    source = random.Random(seed)
    oracle = _Oracle(source)

    async def life(readers: dict[int, list[Change]]) -> None:
        """From one start to the next stop."""
        async with _engine(path, synchronous="normal") as engine:
            open_ = {place: engine.feed(lines[-1].seq if lines else 0) for place, lines in readers.items()}
            for _ in range(40):
                group = [oracle.transaction() for _ in range(source.randint(1, 4))]
                results = await asyncio.gather(*map(engine.write, group), return_exceptions=True)
                assert {type(result) for result in results} <= {type(None), KeyError}
                for place, reader in open_.items():
                    if source.random() < 0.5:
                        readers[place] += await reader.read(source.choice([1, 2, 5, 17, 256]))
                        assert reader.cursor == (readers[place][-1].seq if readers[place] else 0)
            for reader in open_.values():
                reader.close()

    async def rest(lines: list[Change]) -> None:
        async with _engine(path) as engine:
            reader = engine.feed(lines[-1].seq if lines else 0)
            lines += await _all(reader)
            reader.close()

    readers: dict[int, list[Change]] = {place: [] for place in range(3)}
    for _ in range(3):
        asyncio.run(life(readers))
    for lines in readers.values():
        asyncio.run(rest(lines))
        assert [(line.op, line.doc_id) for line in lines] == oracle.lines
        assert _numbers(lines) == [*range(1, len(oracle.lines) + 1)]
    assert dict(connect(path).execute("SELECT id, name FROM users").fetchall()) == oracle.rows
