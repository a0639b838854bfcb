"""Reads: on the event loop's own connection while they are cheap, else on a small pool of threads.

Called by the engine. A loop read pays no thread hop (2 µs instead of 100), which is only right while nobody can hold the loop:
so the planner must call every statement light, the query plan must be bound by indexes, and a progress handler ends what
takes longer than a millisecond; the work then starts again on a thread, and its text stays there for a while. It never writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from enum import Enum
from itertools import islice
from typing import Any, Literal, TypeVar

import apsw

from alyx.database.sqlite import errors
from alyx.database.sqlite.plans import Plans
from alyx.database.work import Overloaded, Rows, Statement, Timeout, Unavailable, Work

T = TypeVar("T")

BUDGET = 0.001
"""Seconds of its own time that one statement may hold the event loop; noticed at the latest after as many again."""
_DISK_BUDGET = 0.02
"""Seconds that a statement may take in all, waiting for the disk included."""
_STEPS = 2_000
"""Steps of SQLite's machine between two calls of a progress handler; at this distance a clock costs nothing (hard-parts §5.1)."""
_NEVER = float("inf")


_PIECE = 8
"""Rows between two looks at the clock."""
_LARGE = 256_000
"""Bytes of rows that belong to a thread, if they took longer than the budget."""


class _Elsewhere(Enum):
    HEAVY = "heavy"


HEAVY: Literal[_Elsewhere.HEAVY] = _Elsewhere.HEAVY
"""The answer of LoopReader.attempt for work that belongs to a thread."""


class LoopReader:
    """The event loop's own connection. Everything here runs on the loop's thread, without an await.

    All reads of one pass of the loop share a snapshot: taking and dropping SQLite's lock are two system calls, which cost more
    than a read by key. Nobody sees less for it: the snapshot is dropped by a callback that was queued when it was taken, so
    before anything that the next poll brings, and whatever runs in this pass was asked for before it. A reader who has heard of
    a write has asked after its commit, and so later than any snapshot that lacks it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.plans = Plans(connection)
        self.reads = 0
        self.interrupted = 0
        self._call_soon = asyncio.get_running_loop().call_soon
        self._connection = connection
        self._cursor = connection.cursor()
        self._holds = False
        self._started = _NEVER
        self._suspected = 0.0
        connection.set_progress_handler(self._over_budget, _STEPS)

    def attempt(self, work: Callable[[], Work[T]]) -> T | Literal[_Elsewhere.HEAVY]:
        """Run work here in one snapshot, or answer HEAVY, in which case nothing of it counts."""
        generator = work()
        try:
            statement = next(generator)
            while True:
                if not statement.light or (
                    self.plans.until.get(statement.sql) != 0.0 and not self.plans.admits(statement.sql, statement.params)
                ):
                    return self._leave(generator)
                try:
                    rows = self._fetch(statement)
                except apsw.Error as error:
                    if self._is_elsewhere(error, statement.sql):
                        return self._leave(generator)
                    statement = generator.throw(errors.translate(error, self._connection))
                else:
                    self.reads += 1
                    statement = generator.send(rows)
        except StopIteration as done:
            result: T = done.value
            return result

    def version(self) -> int:
        """SQLite's data_version: another number than before if another connection has committed since; -1 if it cannot be had.

        Inside a snapshot that this pass holds already it is that of the snapshot.
        """
        try:
            rows: Rows = self._cursor.execute("PRAGMA data_version").fetchall()
        except apsw.Error:
            return -1
        return int(rows[0][0])

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        self._connection.close(True)

    def _drop(self) -> None:
        """Let go of the snapshot of this pass."""
        if self._holds:
            self._holds = False
            if self._connection.in_transaction:  # an error of the disk may have ended it
                self._cursor.execute("COMMIT")

    def _fetch(self, statement: Statement) -> Rows:
        """Run one statement under the budget. Outside of it the handler convicts nobody, or it would end a BEGIN now and then:
        SQLite counts the steps of a prepared statement over all its runs."""
        if not self._holds:
            self._cursor.execute("BEGIN")
            self._holds = True
            self._call_soon(self._drop)
        self._suspected = 0.0
        started = self._started = time.perf_counter()
        try:
            found = self._cursor.execute(statement.sql, statement.params)
            rows: Rows = list(islice(found, 2))
            if len(rows) < 2:
                return rows
            while piece := list(islice(found, _PIECE)):
                rows += piece
                if time.perf_counter() - started > BUDGET and _size(rows) > _LARGE:
                    raise self._give_up()
            return rows
        finally:
            self._started = _NEVER

    def _give_up(self) -> apsw.Error:
        """Leave a statement that gives large texts: building one is a single step, in which the progress handler is not asked.

        The cursor goes with it, for an unfinished statement would hold the snapshot beyond this pass (hard-parts §5.3).
        """
        self._cursor.close(True)
        self._cursor = self._connection.cursor()
        return apsw.InterruptError("the rows are too large for the event loop")

    def _leave(self, generator: Work[Any]) -> Literal[_Elsewhere.HEAVY]:
        generator.close()
        return HEAVY

    def _is_elsewhere(self, error: apsw.Error, sql: str) -> bool:
        """Whether a thread should try: out of budget, or busy (recovery after a crash), which must not be waited for here."""
        if isinstance(error, apsw.InterruptError):
            self.interrupted += 1
            self.plans.punish(sql)
            return True
        return isinstance(error, apsw.BusyError)

    def _over_budget(self) -> bool:
        """The progress handler. Only time in which this thread ran convicts: on a busy machine it may just not have had its turn,
        and a list that was cheap would be sent to the threads for minutes. Waiting for a cold disk counts, but later."""
        elapsed = time.perf_counter() - self._started
        if elapsed <= BUDGET:
            return False
        if not self._suspected:
            self._suspected = time.thread_time()  # costs a system call, so it is asked for only now
            return False
        return time.thread_time() - self._suspected > BUDGET or elapsed > _DISK_BUDGET


def _size(rows: Rows) -> int:
    return sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))


class _Job:
    __slots__ = ("asked", "future", "work")

    def __init__(self, work: Callable[[], Work[Any]], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.asked = time.monotonic()


class ReaderPool:
    """Threads with a connection each, for reads that may take long; each read has `limit` seconds, its wait included."""

    def __init__(
        self, connect: Callable[[], apsw.Connection], loop: asyncio.AbstractEventLoop, limit: float, size: int, waiting: int
    ) -> None:
        self.reads = 0
        self._connect = connect
        self._loop = loop
        self._limit = limit
        self._waiting = waiting
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, name=f"alyx-read-{number}", daemon=True) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], Work[T]]) -> asyncio.Future[T]:
        """Queue work; called on the loop. Raises Overloaded when too much waits already."""
        if self._jobs.qsize() >= self._waiting:
            raise Overloaded("too many slow reads wait")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, future))
        self.reads += 1
        return future

    def depth(self) -> int:
        """How many reads wait for a thread."""
        return self._jobs.qsize()

    def stop(self) -> None:
        """Finish what was queued and end the threads; blocks, at most for the limit of the reads that run."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        connection: apsw.Connection | None = None
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            result: Any = None
            failure: BaseException | None = None
            try:
                connection = connection or self._connect()
                result = _run(connection, job, job.asked + self._limit)
            except BaseException as error:  # every failure belongs to the caller, and the thread lives on
                failure = error
                if connection is not None and (connection.in_transaction or isinstance(error, Unavailable)):
                    connection.close(True)
                    connection = None
            with contextlib.suppress(RuntimeError):  # the loop was closed under us; nobody waits any more
                self._loop.call_soon_threadsafe(_settle, job.future, result, failure)
        if connection is not None:
            connection.close(True)


def _run(connection: apsw.Connection, job: _Job, deadline: float) -> Any:
    """Drive one piece of work in one snapshot; a caller that has gone away ends it early."""

    def too_long() -> bool:
        return time.monotonic() > deadline or job.future.cancelled()

    if too_long():
        raise Timeout("the read waited too long for a thread")
    connection.set_progress_handler(too_long, 10 * _STEPS)
    generator = job.work()
    connection.execute("BEGIN")
    try:
        statement = next(generator)
        while True:
            try:
                rows: Rows = connection.execute(statement.sql, statement.params).fetchall()
            except apsw.Error as error:
                statement = generator.throw(errors.translate(error, connection))
            else:
                statement = generator.send(rows)
    except StopIteration as done:
        return done.value
    finally:
        generator.close()
        connection.set_progress_handler(None)
        if connection.in_transaction:
            connection.execute("COMMIT")


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
