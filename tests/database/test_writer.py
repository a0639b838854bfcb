"""Promises of writes: grouped, whole or not at all, acknowledged when on disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from alyx.database.sqlite import errors
from alyx.database.sqlite import writer as writing
from alyx.database.sqlite.connection import connect
from alyx.database.sqlite.engine import Engine, Settings
from alyx.database.work import (
    ConstraintViolation,
    DatabaseError,
    ForeignKeyViolation,
    Overloaded,
    SchemaMoved,
    Statement,
    Unavailable,
    UniqueViolation,
    Work,
)
from tests.database import made
from tests.database.conftest import Running
from tests.database.made import add_user, ask, collection, field, schema


def _run(running: Running, scenario: Callable[[Engine], Any], **settings: Any) -> None:
    async def main() -> None:
        async with running(**settings) as engine:
            await scenario(engine)

    asyncio.run(main())


async def _users(engine: Engine) -> list[str]:
    return [key for (key,) in await engine.read(ask("SELECT id FROM users ORDER BY id"))]


class Gate:
    """Work that holds the writer until it is opened, so that what comes meanwhile is one group."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> Work[None]:
        yield Statement("SELECT 1")
        self.reached.set()
        self.opened.wait(5)


async def _together(engine: Engine, *works: Callable[[], Work[Any]]) -> list[Any]:
    """The outcomes of some work that is done in one group."""
    gate = Gate()
    first = asyncio.ensure_future(engine.write(gate))
    await asyncio.sleep(0)
    await asyncio.to_thread(gate.reached.wait, 5)
    rest = [asyncio.ensure_future(engine.write(work)) for work in works]
    await asyncio.sleep(0)
    gate.opened.set()
    await first
    return list(await asyncio.gather(*rest, return_exceptions=True))


async def _outcome(write: Awaitable[Any]) -> Any:
    return (await asyncio.gather(write, return_exceptions=True))[0]


def test_a_write_returns_what_its_work_returns(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        assert await engine.write(add_user("u1")) == "u1"
        assert await _users(engine) == ["u1"]

    _run(running, scenario)


def test_writes_that_wait_together_share_a_commit(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        outcomes = await _together(engine, *(add_user(f"u{number:02}") for number in range(50)))
        assert outcomes == [f"u{number:02}" for number in range(50)]
        assert engine.counters()["largest_group"] == 50

    _run(running, scenario)


def test_a_group_is_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "GROUP", 10)

    async def scenario(engine: Engine) -> None:
        await _together(engine, *(add_user(f"u{number}") for number in range(25)))
        assert engine.counters()["largest_group"] == 10
        assert len(await _users(engine)) == 25

    _run(running, scenario)


def test_a_failed_piece_of_work_leaves_nothing_and_its_neighbours_stand(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        def fails() -> Work[None]:
            yield Statement("INSERT INTO users VALUES ('gone', 'gone')")
            raise KeyError("refused")

        first, second, third = await _together(engine, add_user("a"), fails, add_user("b"))
        assert (first, third) == ("a", "b")
        assert isinstance(second, KeyError)
        assert await _users(engine) == ["a", "b"]
        assert await engine.read(ask("SELECT count(*) FROM _alyx_changes")) == [(2,)]

    _run(running, scenario)


def test_a_unique_violation_names_collection_and_field(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(add_user("u1", "Ann"))
        for key, name, wanted in (("u2", "Ann", "name"), ("u1", "Bob", "id")):
            with pytest.raises(UniqueViolation) as caught:
                await engine.write(add_user(key, name))
            assert (caught.value.collection, caught.value.fields) == ("users", (wanted,))

    _run(running, scenario)


def test_a_unique_violation_of_several_fields_or_an_expression_names_them(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(ask("CREATE UNIQUE INDEX one ON posts (title, views)"))
        await engine.write(ask("INSERT INTO posts (id, title, body) VALUES ('p1', 't', '1.0')"))
        with pytest.raises(UniqueViolation) as caught:
            await engine.write(ask("INSERT INTO posts (id, title) VALUES ('p2', 't')"))
        assert (caught.value.collection, caught.value.fields) == ("posts", ("title", "views"))
        await engine.write(ask("""CREATE UNIQUE INDEX two ON posts (CAST(replace("body", '.', '') AS INTEGER), "title" DESC)"""))
        with pytest.raises(UniqueViolation) as caught:
            await engine.write(ask("INSERT INTO posts (id, title, body, views) VALUES ('p3', 't', '10', 5)"))
        assert (caught.value.collection, caught.value.fields) == ("posts", ("body", "title"))

    _run(running, scenario)


def test_a_unique_decimal_is_named_though_its_index_is_over_an_expression(tmp_path: Path) -> None:
    goods = schema(
        collection(
            "goods", field("id", "id", primary=True), field("price", "decimal", scale=2, unique=True), field("replace", "int")
        )
    )
    connection = made.create(tmp_path / "goods.db", goods)
    connection.execute("INSERT INTO goods VALUES ('a', '1.50', 1)")
    with pytest.raises(apsw.ConstraintError) as caught:
        connection.execute("INSERT INTO goods VALUES ('b', '1.50', 2)")
    violation = errors.translate(caught.value, connection)
    assert isinstance(violation, UniqueViolation)
    assert (violation.collection, violation.fields) == ("goods", ("price",))


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("INSERT INTO posts (id, title, author_id) VALUES ('p', 't', 'nobody')", ForeignKeyViolation),
        ("INSERT INTO posts (id) VALUES ('p')", ConstraintViolation),
        ("INSERT INTO posts (id, title, views) VALUES ('p', 't', 'many')", ConstraintViolation),
        ("INSERT INTO posts (id, title, wrong) VALUES ('p', 't', 1)", SchemaMoved),
        ("UPDATE posts SET title = wrong", SchemaMoved),
        ("DELETE FROM nowhere", SchemaMoved),
        ("SELECT nonsense(1)", DatabaseError),
    ],
)
def test_errors_come_in_the_words_of_work(running: Running, sql: str, error: type[DatabaseError]) -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(error) as caught:
            await engine.write(ask(sql))
        assert type(caught.value) is error

    _run(running, scenario)


def test_deleting_a_restricted_parent_is_a_foreign_key_violation(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(ask("CREATE TABLE child (id INTEGER PRIMARY KEY, u TEXT REFERENCES users (id) ON DELETE RESTRICT)"))
        await engine.write(add_user("u1"))
        await engine.write(ask("INSERT INTO child (u) VALUES ('u1')"))
        with pytest.raises(ForeignKeyViolation):
            await engine.write(ask("DELETE FROM users"))

    _run(running, scenario)


def test_work_may_catch_a_violation_and_go_on(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(add_user("u1"))

        def work() -> Work[str]:
            try:
                yield Statement("INSERT INTO users VALUES ('u2', 'u1')")
            except UniqueViolation:
                yield Statement("INSERT INTO users VALUES ('u2', 'another')")
            return "done"

        assert await engine.write(work) == "done"
        assert await _users(engine) == ["u1", "u2"]

    _run(running, scenario)


def test_work_that_takes_the_transaction_down_fails_alone(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(
            ask("CREATE TRIGGER t BEFORE INSERT ON users WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
        )
        first, second, third = await _together(engine, add_user("a"), add_user("bad"), add_user("b"))
        assert (first, third) == ("a", "b")
        assert isinstance(second, ConstraintViolation)
        assert await _users(engine) == ["a", "b"]
        assert engine.counters()["lost_groups"] == 1

    _run(running, scenario)


def test_work_that_ends_its_own_transaction_fails_alone(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        first, second, third = await _together(engine, add_user("a"), ask("ROLLBACK"), add_user("b"))
        assert (first, third) == ("a", "b")
        assert isinstance(second, DatabaseError)
        assert await _users(engine) == ["a", "b"]

    _run(running, scenario)


def test_a_deferred_foreign_key_fails_its_own_work_and_not_the_group(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(ask("CREATE TABLE later (u TEXT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)"))
        first, second, third = await _together(
            engine, add_user("a"), ask("INSERT INTO later VALUES ('nobody')"), ask("INSERT INTO later VALUES ('a')")
        )
        assert first == "a"
        assert isinstance(second, ForeignKeyViolation)
        assert third == []

    _run(running, scenario)


def test_work_whose_caller_has_gone_before_it_began_is_left_out(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        gate = Gate()
        first = asyncio.ensure_future(engine.write(gate))
        gone = asyncio.ensure_future(engine.write(add_user("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        await first
        await engine.write(add_user("next"))
        assert await _users(engine) in (["next"], ["gone", "next"])
        lines = await engine.read(ask("SELECT doc_id FROM _alyx_changes ORDER BY doc_id"))
        assert [key for (key,) in lines] == await _users(engine)

    _run(running, scenario)


def test_too_many_waiting_writes_are_refused(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WAITING", 5)

    async def scenario(engine: Engine) -> None:
        outcomes = await _together(engine, *(add_user(f"u{number}") for number in range(8)))
        assert [type(outcome) for outcome in outcomes].count(Overloaded) == 3
        assert len(await _users(engine)) == 5

    _run(running, scenario)


def test_a_log_that_has_grown_too_large_refuses_writes_until_it_is_restarted(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "CHECKPOINT_PAGES", 4)
    monkeypatch.setattr(writing, "RESTART_PAGES", 8)
    monkeypatch.setattr(writing, "REFUSE_PAGES", 16)
    monkeypatch.setattr(writing, "RESTART_PATIENCE", 0.001)
    monkeypatch.setattr(writing, "RESTART_PAUSE", 0.0)

    async def scenario(engine: Engine) -> None:
        pinning = connect(engine.settings.path, readonly=True)
        pinning.execute("BEGIN")
        pinning.execute("SELECT count(*) FROM users").fetchall()
        outcomes = [await _outcome(engine.write(add_user(f"u{number}"))) for number in range(100)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
        assert "write-ahead log" in str(refused[0])
        pinning.execute("COMMIT")
        while engine.counters()["wal_bytes"]:
            engine._writer.tend()
            await asyncio.sleep(0)
        await engine.write(add_user("after"))
        pinning.close()

    _run(running, scenario)


def test_the_log_stays_small_while_nobody_pins_it(running: Running, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "CHECKPOINT_PAGES", 20)

    async def scenario(engine: Engine) -> None:
        engine._writer._checkpoint_at = 20
        for number in range(100):
            await engine.write(add_user(f"u{number}"))
        assert path.with_name("alyx.db-wal").stat().st_size < 60 * writing.PAGE

    _run(running, scenario)


def test_stopping_finishes_what_is_queued_and_leaves_no_log(running: Running, path: Path) -> None:
    async def scenario() -> None:
        async with running() as engine:
            pending = [asyncio.ensure_future(engine.write(add_user(f"u{number}"))) for number in range(40)]
            await asyncio.sleep(0)
        assert [await task for task in pending] == [f"u{number}" for number in range(40)]
        with pytest.raises(Unavailable, match="not open"):
            await engine.write(add_user("late"))

    asyncio.run(scenario())
    assert not path.with_name("alyx.db-wal").exists()
    assert connect(path).execute("SELECT count(*) FROM users").fetchall() == [(40,)]


def test_a_held_lock_of_another_connection_is_overloaded_and_not_forever(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.01)

    async def scenario(engine: Engine) -> None:
        other = connect(engine.settings.path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Overloaded):
            await engine.write(add_user("u1"))
        other.execute("COMMIT")
        assert await engine.write(add_user("u1")) == "u1"
        other.close()

    _run(running, scenario)


def test_a_value_that_sqlite_cannot_hold_fails_its_own_work(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        first, second = await _together(engine, ask("SELECT ?", 2**64), add_user("a"))
        assert isinstance(first, OverflowError)
        assert second == "a"

    _run(running, scenario)


def test_a_fault_of_our_own_fails_its_group_and_the_writer_lives_on(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: Engine) -> None:
        def breaks(*_: Any) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(writing, "_run", breaks)
            with pytest.raises(Unavailable, match="ZeroDivisionError"):
                await engine.write(add_user("u1"))
        assert engine.health()["status"] == "degraded"
        assert "ZeroDivisionError" not in engine.health()["reason"]
        assert await engine.write(add_user("u2")) == "u2"
        assert engine.health() == {"status": "healthy"}

    _run(running, scenario)


def test_a_statement_of_the_old_schema_is_no_trouble_of_the_database(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        for light in (True, False):
            with pytest.raises(SchemaMoved):
                await engine.read(ask("SELECT gone FROM users", light=light))
        with pytest.raises(SchemaMoved):
            await engine.write(ask("INSERT INTO gone VALUES (1)"))
        assert engine.health() == {"status": "healthy"}

    _run(running, scenario)


def test_keys_that_have_run_out_are_no_full_disk(tmp_path: Path) -> None:
    counted = schema(collection("counted", field("id", "int", primary=True), field("name", "string")))
    made.create(tmp_path / "alyx.db", counted).close()

    async def main() -> None:
        engine = Engine.open(Settings(str(tmp_path / "alyx.db")))
        await engine.start()
        try:
            await engine.write(ask(f"INSERT INTO counted (id, name) VALUES ({2**63 - 1}, 'last')"))
            with pytest.raises(ConstraintViolation, match="keys of counted have run out"):
                await engine.write(ask("INSERT INTO counted (name) VALUES ('next')"))
            assert engine.health() == {"status": "healthy"}
            assert await engine.read(ask("SELECT count(*) FROM counted")) == [(1,)]
        finally:
            await engine.stop()

    asyncio.run(main())
