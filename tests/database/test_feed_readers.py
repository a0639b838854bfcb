"""Promises of the feed's readers: every committed line, once, in order, as soon as it may be there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from alyx.database import feed
from alyx.database.feed import Change, Mark, Position
from alyx.database.sqlite import reader as reading
from alyx.database.sqlite.engine import Engine
from alyx.database.sqlite.feed import Reader, Watch
from alyx.database.work import Statement, Unavailable, Work
from tests.database import following
from tests.database.conftest import Running
from tests.database.made import add_user, ask


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

    following.run(running, scenario, poll_interval=following.NEVER)


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

    following.run(running, scenario, poll_interval=following.NEVER)


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

    following.run(running, scenario, poll_interval=following.NEVER)


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
        assert [(line.seq, line.doc_id) for line in await following.read_all(reader)] == [(1, "a"), (2, "b")]
        reader.close()

    following.run(running, scenario)


def test_several_readers_have_a_cursor_each(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(following.many(0, 10))
        readers = [engine.feed(Mark(after)) for after in (0, 4, 10)]
        assert [following.numbers(await reader.read(3)) for reader in readers] == [[1, 2, 3], [5, 6, 7], []]
        await engine.write(add_user("more"))
        for reader in readers:
            await reader.wait()
        assert [following.numbers(await following.read_all(reader, 4)) for reader in readers] == [
            [*range(4, 12)],
            [*range(8, 12)],
            [11],
        ]
        assert {reader.cursor for reader in readers} == {11}
        readers[0].close()
        await engine.write(add_user("last"))
        assert [following.numbers(await following.read_until(reader, 12)) for reader in readers[1:]] == [[12], [12]]
        for reader in readers[1:]:
            reader.close()

    following.run(running, scenario, poll_interval=following.NEVER)


def test_wait_returns_at_once_while_lines_are_left(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(following.many(0, 5))
        reader = engine.feed(Mark(0))
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

    following.run(running, scenario, poll_interval=following.NEVER)


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
            seen += await following.read_until(reader, number + 1)
        assert following.numbers(seen) == [*range(1, 201)]
        reader.close()

    following.run(running, scenario, poll_interval=following.NEVER)


def test_a_transaction_of_20000_lines_is_read_in_batches_on_the_loop(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        reader = engine.feed()
        await engine.write(following.many(0, 20_000))
        lines: list[Change] = []
        while got := await reader.read(1000):
            assert len(got) <= 1000
            lines += got
        assert [(line.seq, line.doc_id) for line in lines] == [(number + 1, f"u{number}") for number in range(20_000)]
        assert engine.counters()["heavy_reads"] == 0
        reader.close()

    following.run(running, scenario)


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
            assert len(await following.read_all(reader)) == 20
        assert engine.counters()["heavy_reads"] > 0
        until = max(end for sql, end in engine._loop_reader.plans.until.items() if "_alyx_changes WHERE seq BETWEEN" in sql)
        assert until - now < 10.0
        reader.close()

    following.run(running, scenario)


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

    following.run(running, scenario, poll_interval=following.NEVER)


def test_an_engine_that_stops_wakes_its_readers(running: Running) -> None:
    async def main() -> None:
        async with running(poll_interval=following.NEVER) as engine:
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
        await engine.write(following.many(0, 3))
        reader = engine.feed(Mark(0))
        for sql in (feed._LINES, feed._POSITION.sql):
            engine._loop_reader.plans.until[sql] = float("inf")
        task = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reader.cursor == 0
        await reader.wait()
        assert following.numbers(await reader.read()) == [1, 2, 3]
        reader.close()

    following.run(running, scenario, poll_interval=following.NEVER)


def test_a_reader_can_be_opened_while_the_loop_may_not_look(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(following.many(0, 3))
        engine._loop_reader.plans.until[feed._POSITION.sql] = float("inf")
        reader = engine.feed()
        assert (reader.cursor, reader.position.seq) == (3, 3)
        reader.close()

    following.run(running, scenario)


def test_a_look_that_fails_wakes_the_readers_once_so_that_they_meet_the_fault() -> None:
    async def main() -> None:
        versions = iter([1, 1, 2, -1, -1, 3])
        watch = Watch(lambda: next(versions), following.NEVER)
        reader = Reader(_nothing, watch, Position("e", 0, 0, 0, 0), Mark(0))
        woken = []
        for _ in range(5):
            await reader.read()
            watch._look()
            woken.append(reader._news.is_set())
        assert woken == [False, True, True, False, True]
        watch.stop()

    asyncio.run(main())


async def _nothing(_work: object) -> tuple[Position, list[Change]]:
    return Position("e", 0, 0, 0, 0), []
