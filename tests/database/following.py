"""What the tests of the feed share: engines, writes, and reading to the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from alyx.database.feed import Change
from alyx.database.sqlite.engine import Engine, Settings
from alyx.database.sqlite.feed import Reader
from alyx.database.work import Statement, Work, drive
from tests.database.conftest import Running

NEVER = 3600.0
"""A poll_interval that no test lives to see."""


def run(running: Running, scenario: Callable[[Engine], Any], **settings: Any) -> None:
    """Run a scenario on a fresh engine, in at most a minute."""

    async def main() -> None:
        async with running(**settings) as engine, asyncio.timeout(60):
            await scenario(engine)

    asyncio.run(main())


def on(connection: apsw.Connection, work: Work[Any]) -> Any:
    """Run work on a connection."""
    return drive(work, lambda statement: connection.execute(statement.sql, statement.params).fetchall())


def many(first: int, count: int) -> Callable[[], Work[None]]:
    """Work that stores users `first` and following, in one transaction."""

    def work() -> Work[None]:
        for number in range(first, first + count):
            yield Statement("INSERT INTO users (id, name) VALUES (?, ?)", (f"u{number}", f"n{number}"))

    return work


async def read_all(reader: Reader, limit: int = 256) -> list[Change]:
    """Everything up to the end of the log."""
    lines: list[Change] = []
    while got := await reader.read(limit):
        lines += got
    return lines


async def read_until(reader: Reader, seq: int, limit: int = 256) -> list[Change]:
    """Wait and read until line `seq` was handed out."""
    lines: list[Change] = []
    while reader.cursor < seq:
        await reader.wait()
        lines += await reader.read(limit)
    return lines


def numbers(lines: list[Change]) -> list[int]:
    """The numbers of lines."""
    return [line.seq for line in lines]


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[Engine]:
    """An engine on a file, for at most a minute."""
    engine = Engine.open(Settings(str(path), **settings))
    await engine.start()
    try:
        async with asyncio.timeout(60):
            yield engine
    finally:
        await engine.stop()
