"""The SQLite engine: one object through which everything above reads and writes.

Built by `app`, used by records and auth. It joins reader, writer and upkeep, and decides nothing about what they run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from alyx.base import clock
from alyx.database import feed
from alyx.database.feed import Mark, Position
from alyx.database.sqlite import backup, errors, internal, upkeep
from alyx.database.sqlite.connection import CACHE, MEMORY, CannotOpen, Patience, Synchronous, connect
from alyx.database.sqlite.feed import Reader, Watch
from alyx.database.sqlite.reader import HEAVY, LoopReader, ReaderPool
from alyx.database.sqlite.writer import PAGE, RESTART_PAGES, Writer
from alyx.database.work import DatabaseError, Rows, Statement, Unavailable, Work, drive

T = TypeVar("T")

_log = logging.getLogger("alyx.database")

_POOL_CACHE = 16
"""Mebibytes for each reader thread: what runs there reads through tables, and four large caches would fill a small machine."""

ANSWERS_KEPT = 86_400.0
"""Seconds that the answer to an Idempotency-Key is kept (contract §3)."""


@dataclass(frozen=True)
class Settings:
    """How to run the database.

    path: the file; its folder must exist. synchronous: `full` has every acknowledged write on disk, `normal` may lose the last
    ones when the machine (not the process) dies. statement_timeout: seconds for a read on a thread, its wait included.
    retention: seconds that the change log keeps a line, which is also when an erased value leaves the file.
    upkeep: seconds between two rounds of that. poll_interval: seconds between two looks for what other processes have
    committed, while anybody reads the feed. vfs: SQLite's virtual file system, for tests.
    """

    path: str
    synchronous: Synchronous = "full"
    statement_timeout: float = 5.0
    retention: float = 86_400.0
    upkeep: float = 60.0
    poll_interval: float = 0.02
    readers: int = 4
    waiting_reads: int = 256
    vfs: str | None = None


class _Closed:
    """Stands in the place of reader and writer while the engine does not run."""

    def attempt(self, work: Callable[[], Work[T]]) -> T:
        raise Unavailable("the database is not open")

    def submit(self, work: Callable[[], Work[T]]) -> asyncio.Future[T]:
        raise Unavailable("the database is not open")


class Engine:
    """A database that is open. `read` and `write` are called on the event loop that called `start`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loop_reader: LoopReader | _Closed = _Closed()
        self._pool: ReaderPool | _Closed = _Closed()
        self._writer: Writer | _Closed = _Closed()
        self._watch: Watch | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def open(cls, settings: Settings) -> Engine:
        """Check that the file can be used and bring Alyx's own tables up to date; starts nothing. Raises CannotOpen."""
        if settings.path == MEMORY:
            raise CannotOpen("the engine needs a file: its connections would each see a memory of their own")
        engine = cls(settings)
        connection = engine._connect(Patience(5.0))
        try:
            internal.upgrade(connection)
        except apsw.Error as error:
            raise CannotOpen(f"cannot bring {settings.path} up to date: {error}") from error
        finally:
            connection.close(True)
        return engine

    async def start(self) -> None:
        """Start the threads and the upkeep on the running event loop."""
        loop = asyncio.get_running_loop()
        self._loop_reader = LoopReader(self._connect_reader(0, CACHE))
        self._watch = Watch(self._loop_reader.version, self.settings.poll_interval)
        self._writer = Writer(self._connect, loop, self._watch.wake)
        self._pool = ReaderPool(
            lambda: self._connect_reader(5.0, _POOL_CACHE),
            loop,
            self.settings.statement_timeout,
            self.settings.readers,
            self.settings.waiting_reads,
        )
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._watch_log())]

    async def stop(self) -> None:
        """Finish what is queued, checkpoint, close. Reads and writes that come later raise Unavailable."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        writer, pool, reader = self._writer, self._pool, self._loop_reader
        self._writer = self._pool = self._loop_reader = _Closed()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if isinstance(pool, ReaderPool):
            await asyncio.to_thread(pool.stop)
        if isinstance(reader, LoopReader):
            reader.close()
        if isinstance(writer, Writer):
            await asyncio.to_thread(writer.stop)  # the last to close, so that its close leaves no log behind

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run work in one read transaction.

        Light work runs at once on the loop's own connection; other work, from its beginning, on a thread. Raises what the work
        raises, Timeout, Overloaded or Unavailable.
        """
        result = self._loop_reader.attempt(work)
        return await self._pool.submit(work) if result is HEAVY else result

    async def write(self, work: Callable[[], Work[T]]) -> T:
        """Run work in a savepoint on the writer's thread; returns when its commit is on disk.

        `work` may be called more than once, so it must keep nothing outside the generator; it must not end the transaction
        itself, savepoints of its own are fine. Raises what the work raises (nothing of it stands), Overloaded or Unavailable.
        If the caller is cancelled, the work is made whole or not at all.
        """
        return await self._writer.submit(work)

    def feed(self, after: Mark | None = None) -> Reader:
        """A reader of the change log, from the line after `after` on; None: from now on. To be closed when no longer wanted.

        after: the mark of an earlier reader, with which another history is noticed even if it has as many lines; or Mark(seq).

        Raises Unavailable if the engine does not run or the database cannot be read.
        """
        if self._watch is None:
            raise Unavailable("the database is not open")
        position = self._position()
        if after is None:
            after = Mark(position.seq, position.epoch, position.nonce)
        return Reader(self.read, self._watch, position, after)

    def _position(self) -> Position:
        """Where the log stands. On the loop's connection, which may find the file busy (recovery after a crash); then on one that
        waits: this is once for each reader of the feed."""
        found = self._loop_reader.attempt(feed.read_position)
        if found is not HEAVY:
            return found
        connection = self._connect_reader(5.0, 1)

        def execute(statement: Statement) -> Rows:
            try:
                return connection.execute(statement.sql, statement.params).fetchall()
            except apsw.Error as error:
                raise errors.translate(error, connection) from error

        try:
            return drive(feed.read_position(), execute)
        finally:
            connection.close(True)

    def is_writing(self) -> bool:
        """Whether any write waits for its commit: then the writer's thread needs the interpreter."""
        return isinstance(self._writer, Writer) and self._writer.unanswered > 0

    def forget(self) -> None:
        """Drop what was learnt about query plans: the schema has changed."""
        if isinstance(self._loop_reader, LoopReader):
            self._loop_reader.plans.forget()

    def scans(self, sql: str) -> list[str]:
        """Lines of the query plan in which a whole table or index is read, such as `SCAN posts`; for hints in the log."""
        return self._loop_reader.plans.scans(sql) if isinstance(self._loop_reader, LoopReader) else []

    def health(self) -> dict[str, Any]:
        """`status` is `healthy` or `degraded`; then `reason` says why writes fail or the log grows."""
        writer = self._writer
        if not isinstance(writer, Writer):
            return {"status": "degraded", "reason": "the database is not open"}
        if writer.trouble is not None:
            return {"status": "degraded", "reason": writer.trouble}
        if writer.wal_pages > 4 * RESTART_PAGES:
            return {"status": "degraded", "reason": "the write-ahead log grows: a long read keeps it from being restarted"}
        return {"status": "healthy"}

    def counters(self) -> dict[str, int]:
        """Figures for metrics; all but queue depths and wal_bytes only ever grow."""
        writer, reader, pool = self._writer, self._loop_reader, self._pool
        if not (isinstance(writer, Writer) and isinstance(reader, LoopReader) and isinstance(pool, ReaderPool)):
            return {}
        return {
            "writes": writer.writes,
            "groups": writer.groups,
            "largest_group": writer.largest_group,
            "lost_groups": writer.lost_groups,
            "write_queue": writer.depth(),
            "loop_reads": reader.reads,
            "interrupted_reads": reader.interrupted,
            "heavy_reads": pool.reads,
            "read_queue": pool.depth(),
            "wal_bytes": writer.wal_pages * PAGE,
        }

    async def backup(self, path: str | Path) -> None:
        """Write the database as it is now to `path`, which must not exist yet. Raises CannotOpen."""
        await asyncio.to_thread(backup.copy, self.settings.path, path)

    async def trim(self) -> int:
        """Remove lines of the change log that are older than the retention; how many went."""
        before = int((clock.seconds() - self.settings.retention) * 1000)
        total = 0
        while removed := await self.write(lambda: upkeep.trim(before)):
            total += removed
        return total

    async def expire(self) -> int:
        """Remove stored answers that are older than a day; how many went."""
        before = clock.at(clock.seconds() - ANSWERS_KEPT)
        total = 0
        while removed := await self.write(lambda: upkeep.expire(before)):
            total += removed
        return total

    async def expire_tickets(self) -> int:
        """Remove one-time tickets that nobody has used in time; how many went."""
        now = clock.seconds()
        total = 0
        while removed := await self.write(lambda: upkeep.expire_tickets(now)):
            total += removed
        return total

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self.settings.upkeep)
            try:
                await self.trim()
                await self.expire()
                await self.expire_tickets()
            except DatabaseError as error:
                _log.warning("upkeep was put off: %s", error)

    async def _watch_log(self) -> None:
        """Look after a log that has grown while nobody writes, and find out whether a trouble is over."""
        while True:
            await asyncio.sleep(1.0)
            writer = self._writer
            if isinstance(writer, Writer) and (writer.trouble is not None or writer.wal_pages >= RESTART_PAGES):
                writer.tend()

    def _connect(self, patience: Patience) -> apsw.Connection:
        settings = self.settings
        return connect(settings.path, synchronous=settings.synchronous, patience=patience, vfs=settings.vfs)

    def _connect_reader(self, wait: float, cache: int) -> apsw.Connection:
        return connect(self.settings.path, readonly=True, wait=wait, cache=cache, vfs=self.settings.vfs)
