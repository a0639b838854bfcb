"""Promises of the feed over time: retention, restarts, restored copies, random transactions."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alyx.database import feed
from alyx.database.feed import Change, HistoryLost, Mark
from alyx.database.sqlite.connection import connect
from alyx.database.sqlite.engine import Engine
from alyx.database.work import Statement, Work
from tests.database import following
from tests.database.conftest import Running
from tests.database.made import add_user, ask


def test_a_reader_that_is_overtaken_by_retention_is_told(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(following.many(0, 10))
        behind, abreast, caught_up = engine.feed(Mark(0)), engine.feed(Mark(6)), engine.feed()
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
        assert following.numbers(await abreast.read()) == [7, 8, 9, 10]
        assert await caught_up.read() == []
        await engine.write(add_user("more"))
        assert (
            following.numbers(await following.read_all(abreast)) == following.numbers(await following.read_all(caught_up)) == [11]
        )
        for reader in (behind, abreast, caught_up):
            reader.close()

    following.run(running, scenario)


def test_trimming_under_readers_never_gives_a_gap(running: Running) -> None:
    """While lines are written and trimmed at random, a reader has every line or is told that it has not."""

    async def scenario(engine: Engine) -> None:
        source = random.Random(11)
        readers = [engine.feed(Mark(0)) for _ in range(4)]
        told: list[str] = []
        for round_ in range(150):
            await engine.write(following.many(round_ * 4, 4))
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
                    assert following.numbers(lines) == [*range(before + 1, before + 1 + len(lines))]
            if source.random() < 0.2:
                keep = source.randrange(60)
                await engine.write(ask("UPDATE _alyx_changes SET at = 1 WHERE seq < (SELECT last_seq FROM _alyx_feed) - ?", keep))
                await engine.trim()
        assert set(told) == {"trimmed"}
        for reader in readers:
            reader.close()

    following.run(running, scenario)


@pytest.mark.parametrize("kept", ["number", "mark"])
def test_after_a_restart_reading_goes_on_where_it_was(path: Path, kept: str) -> None:
    async def main() -> None:
        async with following.opened(path) as engine:
            await engine.write(following.many(0, 5))
            reader = engine.feed(Mark(0))
            await reader.read(3)
            after = Mark(reader.cursor) if kept == "number" else reader.mark
            reader.close()
        async with following.opened(path) as engine:
            await engine.write(add_user("later"))
            reader = engine.feed(after)
            assert [(line.seq, line.doc_id) for line in await following.read_all(reader)] == [(4, "u3"), (5, "u4"), (6, "later")]
            reader.close()

    asyncio.run(main())


def test_a_reader_that_was_given_a_number_learns_the_history_from_its_first_read(running: Running) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.write(following.many(0, 3))
        reader = engine.feed(Mark(3))
        assert await reader.read() == []
        await engine.write(ask("UPDATE _alyx_feed SET epoch = 'another'"))
        with pytest.raises(HistoryLost, match="forked"):
            await reader.read()
        reader.close()

    following.run(running, scenario)


def test_a_restored_copy_that_went_its_own_way_is_another_history(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with following.opened(path) as engine:
            await engine.write(following.many(0, 3))
            await engine.backup(tmp_path / "copy.db")
            await engine.write(following.many(3, 2))
            reader = engine.feed(Mark(0))
            await following.read_all(reader)
            reader.close()
        shutil.copy(tmp_path / "copy.db", path)  # the engine has closed it
        async with following.opened(path) as engine:
            with pytest.raises(HistoryLost, match="forked"):
                await engine.feed(reader.mark).read()  # the copy ends before the mark
            await engine.write(following.many(100, 7))
            with pytest.raises(HistoryLost, match="forked"):
                await engine.feed(reader.mark).read()  # the mark's line is another one
            assert len(await following.read_all(engine.feed(Mark(3, reader.mark.epoch)))) == 7  # what both have in common is good

    asyncio.run(main())


def test_a_copy_restored_under_a_running_reader_is_noticed(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with following.opened(path) as engine:
            await engine.write(following.many(0, 3))
            await engine.backup(tmp_path / "copy.db")
            await engine.write(following.many(3, 2))
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
        async with following.opened(path, synchronous="normal") as engine:
            open_ = {place: engine.feed(Mark(lines[-1].seq if lines else 0)) for place, lines in readers.items()}
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
        async with following.opened(path) as engine:
            reader = engine.feed(Mark(lines[-1].seq if lines else 0))
            lines += await following.read_all(reader)
            reader.close()

    readers: dict[int, list[Change]] = {place: [] for place in range(3)}
    for _ in range(3):
        asyncio.run(life(readers))
    for lines in readers.values():
        asyncio.run(rest(lines))
        assert [(line.op, line.doc_id) for line in lines] == oracle.lines
        assert following.numbers(lines) == [*range(1, len(oracle.lines) + 1)]
    assert dict(connect(path).execute("SELECT id, name FROM users").fetchall()) == oracle.rows
