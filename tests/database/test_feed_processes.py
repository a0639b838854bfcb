"""Promises of the feed where several processes write."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from alyx.database import feed
from alyx.database.feed import Change, Mark
from alyx.database.sqlite import reader as reading
from alyx.database.sqlite.engine import Engine
from tests.database import following
from tests.database.conftest import Running
from tests.database.made import add_user, ask

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
            await following.read_until(reader, number + 1)
            noticed = time.time()
            late.append(noticed - float(await process.stdout.readline()))
        process.stdin.close()
        assert await process.wait() == 0
        assert sorted(late)[10] < 0.02 + 0.1  # the middle one, and with time to spare: a busy machine holds up some
        reader.close()

    following.run(running, scenario, poll_interval=0.02)


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

    following.run(running, scenario, poll_interval=following.NEVER)


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

        readers = [engine.feed(Mark(0)) for _ in range(3)]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _OTHER_WRITER, str(path), "200")
        seen: list[list[Change]] = [[] for _ in readers]

        last = 2**60

        async def follow(place: int) -> None:
            while readers[place].cursor < last:
                await readers[place].wait()
                seen[place] += await readers[place].read((1, 7, 256)[place])

        tasks = [asyncio.ensure_future(follow(place)) for place in range(3)]
        await asyncio.gather(*(write(f"w{number}") for number in range(8)))
        assert await process.wait() == 0
        last = (await engine.read(feed.read_position)).seq + 1
        await engine.write(add_user("last"))
        await asyncio.gather(*tasks)
        for reader in readers:
            reader.close()
        assert seen[0] == seen[1] == seen[2]
        assert following.numbers(seen[0]) == [*range(1, last + 1)]
        for name, keys in acknowledged.items():
            assert [line.doc_id for line in seen[0] if line.doc_id.startswith(f"{name}-")] == keys
        stored = {key for (key,) in await engine.read(ask("SELECT id FROM users"))}
        assert {line.doc_id for line in seen[0]} == stored
        assert [line.op for line in seen[0] if line.doc_id.startswith("o")][:4] == ["insert", "update"] * 2

    following.run(running, scenario)
