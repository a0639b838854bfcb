"""Promises of reads: on the loop while they are cheap, on a thread otherwise, in one snapshot always."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from alyx.database.sqlite import reader
from alyx.database.sqlite.connection import connect
from alyx.database.sqlite.engine import Engine
from alyx.database.work import DatabaseError, Overloaded, Statement, Timeout, Work
from tests.database.conftest import Running
from tests.database.made import add_user, ask

BY_KEY = "SELECT name FROM users WHERE id = ?"
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000000) SELECT max(i) FROM n"


def _where_it_ran(engine: Engine) -> tuple[int, int]:
    counters = engine.counters()
    return counters["loop_reads"], counters["heavy_reads"]


def _run(running: Running, scenario: Callable[[Engine], Any], **settings: Any) -> None:
    async def main() -> None:
        async with running(**settings) as engine:
            await scenario(engine)

    asyncio.run(main())


def test_a_light_read_by_key_runs_on_the_loop(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(add_user("u1", "Ann"))
        assert await engine.read(ask(BY_KEY, "u1", light=True)) == [("Ann",)]
        assert _where_it_ran(engine) == (1, 0)

    _run(running, scenario)


def test_a_read_that_is_not_called_light_runs_on_a_thread(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        def work() -> Work[str]:
            yield Statement(BY_KEY, ("u1",))
            return threading.current_thread().name

        assert (await engine.read(work)).startswith("alyx-read")
        assert _where_it_ran(engine) == (0, 1)

    _run(running, scenario)


@pytest.mark.parametrize(
    ("sql", "on_the_loop"),
    [
        ("SELECT * FROM users WHERE id = ?", True),
        ("SELECT * FROM users WHERE name = ?", True),
        ("SELECT * FROM users WHERE id IN (SELECT value FROM json_each(?))", True),
        ("SELECT * FROM users WHERE id > ? ORDER BY id LIMIT 20", True),
        ("SELECT * FROM posts WHERE title = ? ORDER BY id LIMIT 20", True),
        ("SELECT * FROM posts WHERE author_id = ? ORDER BY id LIMIT 20", True),
        ("SELECT * FROM posts WHERE author_id = ? ORDER BY title, id LIMIT 20", True),
        ("SELECT x.id FROM (SELECT * FROM posts WHERE author_id = ? ORDER BY id LIMIT 20) x", True),
        ("SELECT p.id, u.name FROM posts p LEFT JOIN users u ON u.id = p.author_id WHERE p.id > ? ORDER BY p.id LIMIT 9", True),
        ("SELECT * FROM posts WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = posts.author_id) AND author_id = ?", True),
        ("SELECT 1 WHERE ? = 1", True),
        ("SELECT (SELECT last_seq FROM _alyx_feed), name FROM users WHERE id = ?", True),
        ("SELECT count(*) FROM posts WHERE title <> ?", False),
        ("SELECT * FROM posts WHERE title = ?", False),
        ("SELECT * FROM posts WHERE title > ? ORDER BY title LIMIT 20", False),
        ("SELECT p.id FROM posts p, posts q WHERE p.title = q.title AND p.id > ? ORDER BY p.id LIMIT 9", False),
        ("SELECT * FROM users WHERE id = ? AND NOT EXISTS (SELECT 1 FROM posts p WHERE p.title = users.name)", False),
    ],
)
def test_the_query_plan_decides_where_a_light_read_runs(running: Running, sql: str, on_the_loop: bool) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.read(ask(sql, 1, light=True))
        assert _where_it_ran(engine) == ((1, 0) if on_the_loop else (0, 1))

    _run(running, scenario)


def test_a_read_that_holds_the_loop_is_interrupted_and_finished_on_a_thread(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        sql = "SELECT max(i) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n)"
        engine._loop_reader.plans.until[sql] = 0.0  # as if its plan had looked harmless
        assert await engine.read(ask(sql, light=True)) == [(300000,)]
        assert engine.counters()["interrupted_reads"] == 1
        assert await engine.read(ask(sql, light=True)) == [(300000,)]
        assert engine.counters()["interrupted_reads"] == 1, "its text stays off the loop for a while"
        assert _where_it_ran(engine) == (0, 2)

    _run(running, scenario)


@pytest.mark.parametrize(("size", "thread"), [(200_000, "alyx-read"), (2_000, "MainThrea")])
@pytest.mark.parametrize("statements", [1, 2])
def test_rows_that_are_too_large_for_the_loop_are_read_on_a_thread(
    running: Running, monkeypatch: pytest.MonkeyPatch, statements: int, size: int, thread: str
) -> None:
    monkeypatch.setattr(reader, "BUDGET", 0.0)  # the machine's speed must not decide; too few steps here for the progress handler
    large = f"SELECT json_object('t', printf('%.*c', {size}, 'x')) FROM users ORDER BY id LIMIT 100"

    async def scenario(engine: Engine) -> None:
        for number in range(20):
            await engine.write(add_user(f"u{number:02}"))

        def work() -> Work[tuple[int, str]]:
            if statements == 2:
                yield Statement(BY_KEY, ("u01",), True)
            rows = yield Statement(large, (), True)
            return len(rows), threading.current_thread().name

        count, ran_on = await engine.read(work)
        assert (count, ran_on[:9]) == (20, thread)
        await engine.write(add_user("later"))
        assert await engine.read(ask(BY_KEY, "later", light=True)) == [("later",)]  # no snapshot was left behind

    _run(running, scenario)


def test_work_that_turns_heavy_is_restarted_on_a_thread_from_its_beginning(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        threads: list[str] = []

        def work() -> Work[str]:
            threads.append(threading.current_thread().name)
            yield Statement(BY_KEY, ("u1",), light=True)
            yield Statement("SELECT count(*) FROM users")
            return "done"

        assert await engine.read(work) == "done"
        assert threads[0] == "MainThread"
        assert threads[1].startswith("alyx-read")

    _run(running, scenario)


@pytest.mark.parametrize("light", [True, False])
def test_all_statements_of_a_read_see_one_snapshot(running: Running, light: bool) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(ask("INSERT INTO users VALUES ('u1', 'before')"))
        changing = connect(engine.settings.path)
        runs = 0

        def work() -> Work[list[str]]:
            nonlocal runs
            runs += 1
            names = []
            for _ in range(3):
                ((name,),) = yield Statement(BY_KEY, ("u1",), light)
                names.append(name)
                if len(names) == 1:
                    changing.execute("UPDATE users SET name = name || '.' WHERE id = 'u1'")
            return names

        assert await engine.read(work) == ["before"] * 3
        await asyncio.sleep(0)  # one pass of the loop
        assert await engine.read(ask(BY_KEY, "u1", light=light)) == [("before.",)]
        changing.close()

    _run(running, scenario)


def test_a_reader_that_hears_of_a_write_sees_it_whichever_task_of_the_pass_it_is(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        async def write_and_read(number: int) -> None:
            for count in range(30):
                key = f"u{number}-{count}"
                await engine.write(add_user(key))
                assert await engine.read(ask(BY_KEY, key, light=True)) == [(key,)]

        async def read() -> None:
            for _ in range(300):
                await engine.read(ask(BY_KEY, "u0-0", light=True))
                await asyncio.sleep(0)

        await asyncio.gather(*(write_and_read(number) for number in range(8)), read(), read())

    _run(running, scenario)


def test_a_pass_of_the_loop_leaves_no_snapshot_behind(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.read(ask(BY_KEY, "u1", light=True))
        await asyncio.sleep(0)
        other = connect(engine.settings.path, wait=0.0)
        other.execute("INSERT INTO users VALUES ('u1', 'n')")
        busy, pages, moved = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()[0]
        assert (busy, pages) == (0, moved)
        other.close()

    _run(running, scenario)


def test_a_read_sees_the_write_that_was_just_acknowledged(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        for number in range(100):
            await engine.write(add_user(f"u{number}"))
            assert await engine.read(ask(BY_KEY, f"u{number}", light=True)) == [(f"u{number}",)]

    _run(running, scenario)


@pytest.mark.parametrize("light", [True, False])
def test_errors_are_thrown_into_the_work_which_may_go_on(running: Running, light: bool) -> None:
    async def scenario(engine: Engine) -> None:
        def work() -> Work[Any]:
            with pytest.raises(DatabaseError, match="no such column"):
                yield Statement("SELECT missing FROM users", (), light)
            return (yield Statement("SELECT 7", (), light))

        assert await engine.read(work) == [(7,)]

    _run(running, scenario)


@pytest.mark.parametrize("light", [True, False])
def test_an_error_of_the_work_reaches_the_caller_and_the_connection_stays_usable(running: Running, light: bool) -> None:
    async def scenario(engine: Engine) -> None:
        def work() -> Work[None]:
            yield Statement("SELECT 1", (), light)
            yield Statement("SELECT 2", (), light)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await engine.read(work)
        assert await engine.read(ask("SELECT 3", light=light)) == [(3,)]

    _run(running, scenario)


def test_a_read_cannot_write(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        for light in (True, False):
            with pytest.raises(DatabaseError, match="readonly"):
                await engine.read(ask("INSERT INTO users VALUES ('x', 'x')", light=light))

    _run(running, scenario)


def test_a_slow_read_ends_at_its_limit(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(Timeout):
            await engine.read(ask(SLOW))
        assert await engine.read(ask("SELECT 1")) == [(1,)]

    _run(running, scenario, statement_timeout=0.25)


def test_a_slow_read_ends_when_its_caller_has_gone(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        slow = asyncio.ensure_future(engine.read(ask(SLOW)))
        await asyncio.sleep(0)
        slow.cancel()
        assert await engine.read(ask("SELECT 1")) == [(1,)], "the only thread is free again"

    _run(running, scenario, readers=1)


def test_too_many_slow_reads_are_refused(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        outcomes = await asyncio.gather(*(engine.read(ask(SLOW)) for _ in range(6)), return_exceptions=True)
        assert any(isinstance(outcome, Overloaded) for outcome in outcomes)
        assert all(isinstance(outcome, Overloaded | Timeout) for outcome in outcomes)

    _run(running, scenario, readers=1, waiting_reads=2, statement_timeout=0.05)


def test_verdicts_are_forgotten_when_the_schema_has_changed(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        sql = "SELECT id FROM posts WHERE title = ?"
        await engine.read(ask(sql, "t", light=True))
        await engine.write(ask("CREATE INDEX by_title ON posts (title)"))
        engine.forget()
        await engine.read(ask(sql, "t", light=True))
        assert _where_it_ran(engine) == (1, 1)

    _run(running, scenario)


def test_prepared_statements_survive_a_change_of_the_schema(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(add_user("u1", "Ann"))
        await engine.read(ask(BY_KEY, "u1", light=True))
        await engine.write(ask("ALTER TABLE users ADD COLUMN age INTEGER"))
        assert await engine.read(ask(BY_KEY, "u1", light=True)) == [("Ann",)]
        assert await engine.read(ask("SELECT * FROM users WHERE id = ?", "u1", light=True)) == [("u1", "Ann", None)]

    _run(running, scenario)


def test_scans_names_what_is_read_from_end_to_end(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        assert engine.scans("SELECT * FROM posts WHERE title = ?") == ["SCAN posts"]
        assert engine.scans("SELECT '?' FROM posts WHERE title = ? AND \"title\" > ? ORDER BY id LIMIT 3")[0].startswith(
            "SCAN posts"
        )
        assert engine.scans("SELECT x.id FROM (SELECT id FROM users WHERE id > ? ORDER BY id LIMIT 3) x") == []
        assert engine.scans(BY_KEY) == []
        assert engine.scans("nonsense") == []

    _run(running, scenario)


def test_a_busy_database_sends_a_loop_read_to_a_thread(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: Engine) -> None:
        class Busy:
            def execute(self, *_: Any) -> Any:
                raise apsw.BusyError("BusyError: recovery")

        monkeypatch.setattr(engine._loop_reader, "_cursor", Busy())
        assert await engine.read(ask("SELECT 1", light=True)) == [(1,)]

    _run(running, scenario)


def test_the_budget_is_for_reads_alone_and_never_ends_a_begin_or_commit() -> None:
    async def main() -> None:
        loop_reader = reader.LoopReader(connect(":memory:"))

        def work() -> Work[None]:
            for _ in range(2):
                yield Statement("SELECT 1", light=True)

        for _ in range(2000):
            loop_reader.attempt(work)
            assert not loop_reader._over_budget()
            await asyncio.sleep(0)
        assert loop_reader.interrupted == 0

    asyncio.run(main())


def test_penalties_double_and_end() -> None:
    plans = reader.Plans(apsw.Connection(":memory:"))
    plans.punish("a")
    first = plans.until["a"]
    plans.punish("a")
    assert plans.until["a"] > first + 1
    assert not plans.admits("a", ())
    plans.until["a"] = 1.0
    assert plans.admits("a", ())


def test_a_penalty_of_the_change_log_does_not_grow() -> None:
    plans = reader.Plans(apsw.Connection(":memory:"))
    sql = "SELECT after FROM _alyx_changes WHERE seq = ?"
    for _ in range(20):
        plans.punish(sql)
    assert plans.until[sql] < time.monotonic() + 10
