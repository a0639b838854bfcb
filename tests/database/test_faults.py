"""Promises about a disk that fails: no write is acknowledged that was not made, reads go on, health says why, and it passes.

The faults come from a virtual file system of our own, so no system tool is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from alyx.database.sqlite.connection import CannotOpen, connect
from alyx.database.sqlite.engine import Engine
from alyx.database.work import Unavailable
from tests.database.conftest import Running
from tests.database.made import add_user, ask


class Disk(apsw.VFS):
    """A file system that refuses writes as full, fails them, or fails to sync, for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__("failing", "")
        self.full = False
        self.write_fails = False
        self.sync_fails = False
        self.space: int | None = None
        self.refused = 0

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        return DiskFile(self, name, flags)

    def excepthook(self, kind: Any, error: Any, trace: Any) -> None:
        """The errors are meant; SQLite hears of them by their code."""

    def refuse(self, error: apsw.Error, code: int) -> None:
        self.refused += 1
        error.extendedresult = code
        raise error


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def excepthook(self, kind: Any, error: Any, trace: Any) -> None:
        """As above."""

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.space is not None:
            self._disk.space -= len(data)
            if self._disk.space < 0:
                self._disk.refuse(apsw.FullError("database or disk is full"), apsw.SQLITE_FULL)
        if self._disk.full:
            self._disk.refuse(apsw.FullError("database or disk is full"), apsw.SQLITE_FULL)
        if self._disk.write_fails:
            self._disk.refuse(apsw.IOError("disk I/O error"), apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.sync_fails:
            self._disk.refuse(apsw.IOError("disk I/O error"), apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.unregister()


async def _outcomes(*writes: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*writes, return_exceptions=True))


@pytest.mark.parametrize(
    ("fault", "reason"), [("full", "full"), ("write_fails", "disk I/O error"), ("sync_fails", "disk I/O error")]
)
def test_a_failing_disk_acknowledges_nothing_and_comes_back(
    running: Running, path: Path, disk: Disk, fault: str, reason: str
) -> None:
    async def main() -> None:
        async with running(vfs="failing") as engine:
            await engine.write(add_user("before"))
            setattr(disk, fault, True)
            outcomes = await _outcomes(*(engine.write(add_user(f"during-{number}")) for number in range(5)))
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
            assert disk.refused
            health = engine.health()
            assert health["status"] == "degraded"
            assert reason in health["reason"]
            for light in (True, False):
                assert await engine.read(ask("SELECT id FROM users ORDER BY id LIMIT 9", light=light)) == [("before",)]
            setattr(disk, fault, False)
            assert await engine.write(add_user("after")) == "after"
            assert engine.health() == {"status": "healthy"}

    asyncio.run(main())
    connection = connect(path)
    assert connection.execute("SELECT id FROM users ORDER BY id").fetchall() == [("after",), ("before",)]
    assert connection.execute("SELECT doc_id FROM _alyx_changes ORDER BY seq").fetchall() == [("before",), ("after",)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("fault", ["full", "write_fails", "sync_fails"])
def test_health_recovers_by_itself_when_the_cause_is_gone(running: Running, disk: Disk, fault: str) -> None:
    async def main() -> None:
        async with running(vfs="failing") as engine:
            setattr(disk, fault, True)
            assert isinstance((await _outcomes(engine.write(add_user("u"))))[0], Unavailable)
            await _tended(engine)
            assert engine.health()["status"] == "degraded"
            setattr(disk, fault, False)
            await _tended(engine)
            assert engine.health() == {"status": "healthy"}

    asyncio.run(main())


async def _tended(engine: Engine) -> None:
    """Have the writer look after itself, as the engine does each second, and wait until it has."""
    engine._writer.tend()
    for _ in range(2):  # the first may share a group with the request to tend, which is looked at after the group
        await engine.write(ask("SELECT 1"))


def test_a_disk_that_fills_up_slowly_loses_nothing_that_was_acknowledged(running: Running, path: Path, disk: Disk) -> None:
    acknowledged: list[str] = []

    async def main() -> None:
        async with running(vfs="failing") as engine:
            disk.space = 300_000
            for number in range(60):
                outcomes = await _outcomes(*(engine.write(add_user(f"{number}-{other}")) for other in range(4)))
                acknowledged.extend(outcome for outcome in outcomes if isinstance(outcome, str))
                if number == 50:
                    disk.space = None
            assert disk.refused

    asyncio.run(main())
    connection = connect(path)
    stored = [key for (key,) in connection.execute("SELECT id FROM users")]
    assert sorted(stored) == sorted(acknowledged)
    assert connection.execute("SELECT count(*), max(seq) FROM _alyx_changes").fetchall() == [(len(stored), len(stored))]


def test_a_failing_checkpoint_fails_no_write(running: Running, disk: Disk) -> None:
    async def main() -> None:
        async with running(vfs="failing") as engine:
            await engine.write(add_user("u1"))
            engine._writer.wal_pages = 10**5
            engine._writer._checkpoint_at = 0
            disk.sync_fails = True
            await _tended(engine)
            assert engine.health()["status"] == "degraded"
            disk.sync_fails = False
            await engine.write(add_user("u2"))
            assert engine.health() == {"status": "healthy"}

    asyncio.run(main())


def test_health_names_no_path_when_the_file_cannot_be_opened_again(running: Running, path: Path, disk: Disk) -> None:
    async def main() -> None:
        async with running(vfs="failing") as engine:
            disk.write_fails = True
            assert isinstance((await _outcomes(engine.write(add_user("u"))))[0], Unavailable)
            disk.write_fails = False
            path.parent.rename(path.parent.with_name("away"))
            failure = (await _outcomes(engine.write(add_user("u"))))[0]
            assert isinstance(failure, CannotOpen)
            assert str(path.parent) in str(failure)
            assert engine.health() == {"status": "degraded", "reason": "the database file cannot be opened"}
            path.parent.with_name("away").rename(path.parent)
            assert await engine.write(add_user("u")) == "u"

    asyncio.run(main())


def test_a_full_disk_is_told_from_keys_that_have_run_out(running: Running, disk: Disk) -> None:
    async def main() -> None:
        async with running(vfs="failing") as engine:
            await engine.write(ask("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)"))
            await engine.write(ask(f"INSERT INTO counted VALUES ({2**63 - 1})"))
            disk.full = True
            assert isinstance((await _outcomes(engine.write(add_user("u"))))[0], Unavailable)
            assert engine.health() == {"status": "degraded", "reason": "the disk is full"}
            disk.full = False

    asyncio.run(main())
