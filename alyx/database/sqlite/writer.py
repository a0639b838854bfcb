"""Writes: one thread, group commit, a savepoint for each piece of work (design.md §3, hard-parts §4).

Called by the engine alone. While one group is made durable the event loop goes on taking requests, and all that have come in by
then are the next group: so the cost of an fsync is shared, and an acknowledged write is on disk. It never interrupts a write,
and nothing else in the process writes to the database or checkpoints its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import apsw

from alyx.database.sqlite import errors
from alyx.database.sqlite.connection import Patience
from alyx.database.work import DatabaseError, ForeignKeyViolation, Overloaded, Unavailable, Work

T = TypeVar("T")

_log = logging.getLogger("alyx.database")

WAITING = 1_000
"""Pieces of work that may wait; more are refused as Overloaded."""
GROUP = 256
"""Pieces of work in one transaction."""
PATIENCE = 5.0
"""Seconds that a group waits for another process to let go of the database."""
PAGE = 4096 + 24
"""Bytes that a page takes in the log, its header included."""
CHECKPOINT_PAGES = 16 * 1024 * 1024 // PAGE
"""Pages of new log after which it is copied back into the database."""
RESTART_PAGES = 32 * 1024 * 1024 // PAGE
"""From here on the log is restarted, not only copied back."""
REFUSE_PAGES = 1024 * 1024 * 1024 // PAGE
"""From here on writes are refused until the log has been restarted."""
RESTART_PATIENCE = 0.25
"""Seconds that one try to restart the log may hold up the writes."""
RESTART_PAUSE = 1.0
"""Seconds between two tries."""

_PROBE = (
    "INSERT INTO _alyx_meta (key, value) VALUES ('probe', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
)
"""A write that changes something: SQLite leaves out the write of a page that would stay as it is."""


class Request:
    """A piece of work that waits for its commit. `work` makes the generator anew each time it has to be run."""

    __slots__ = ("failure", "future", "result", "work")

    def __init__(self, work: Callable[[], Work[Any]], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.failure: BaseException | None = None


class _Sign(Enum):
    TEND = "tend"
    STOP = "stop"


class Writer:
    """The one thread that writes. notify: called on the loop after each commit that changed something, when its requests have
    their answers."""

    def __init__(
        self,
        connect: Callable[[Patience], apsw.Connection],
        loop: asyncio.AbstractEventLoop,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self.writes = 0
        self.groups = 0
        self.lost_groups = 0
        self.largest_group = 0
        self.wal_pages = 0
        self.unanswered = 0
        self.trouble: str | None = None
        """Why the last write could not be made, None when writes work: a fixed sentence, since anybody may read it."""
        self._connect = connect
        self._loop = loop
        self._notify = notify
        self._changed = False
        self._patience = Patience(PATIENCE)
        self._connection: apsw.Connection | None = None
        self._requests: queue.SimpleQueue[Request | _Sign] = queue.SimpleQueue()
        self._stopping = False
        self._checkpoint_at = CHECKPOINT_PAGES
        self._next_restart = 0.0
        self._open()
        self._thread = threading.Thread(target=self._serve, name="alyx-write", daemon=True)
        self._thread.start()

    # ---- called on the event loop

    def submit(self, work: Callable[[], Work[T]]) -> asyncio.Future[T]:
        """Queue work; the future resolves when its commit is on disk. Raises Overloaded, or Unavailable while stopping."""
        if self._stopping:
            raise Unavailable("the server is stopping")
        if self._requests.qsize() >= WAITING:
            raise Overloaded("too many writes wait")
        if self.wal_pages > REFUSE_PAGES:
            self.tend()
            raise Overloaded("the write-ahead log has grown too large; a long read keeps it from being restarted")
        future: asyncio.Future[T] = self._loop.create_future()
        self._requests.put(Request(work, future))
        self.unanswered += 1
        return future

    def depth(self) -> int:
        """How many pieces of work wait."""
        return self._requests.qsize()

    def tend(self) -> None:
        """Have the writer look after its log, and after its connection if that is broken, once it is free."""
        if self._requests.empty():
            self._requests.put(_Sign.TEND)

    def stop(self) -> None:
        """Finish what is queued, checkpoint, close; blocks until that is done."""
        if not self._stopping:
            self._stopping = True
            self._requests.put(_Sign.STOP)
        self._thread.join()

    def _settle(self, group: list[Request], changed: bool) -> None:
        self.unanswered -= len(group)
        for request in group:
            future = request.future
            if future.done():
                continue
            if request.failure is not None:
                future.set_exception(request.failure)
            else:
                future.set_result(request.result)
        if changed:
            self._notify()

    # ---- the thread

    def _serve(self) -> None:
        sign: _Sign | None = None
        while sign is not _Sign.STOP:
            group, sign = self._gather()
            if group:
                self._changed = False
                self._commit(group)
                with contextlib.suppress(RuntimeError):  # the loop was closed under us; nobody waits any more
                    self._loop.call_soon_threadsafe(self._settle, group, self._changed)
            if sign is not None or self.wal_pages >= self._checkpoint_at:
                self._tend()
        if self._connection is not None:
            with contextlib.suppress(apsw.Error):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._connection.close(True)

    def _gather(self) -> tuple[list[Request], _Sign | None]:
        """Wait for work, then take all that waits, up to a group."""
        item = self._requests.get()
        group: list[Request] = []
        sign: _Sign | None = None
        with contextlib.suppress(queue.Empty):
            while True:
                if isinstance(item, _Sign):
                    sign = item
                    if sign is _Sign.STOP:
                        break
                else:
                    group.append(item)
                    if len(group) >= GROUP:
                        break
                item = self._requests.get_nowait()
        return group, sign

    def _commit(self, group: list[Request]) -> None:
        """Settle the outcome of every request; nothing is answered before all of them have one that is on disk."""
        try:
            if self._attempt(group):
                return
        except DatabaseError as failure:
            _fail(group, failure)
            return
        # One of them took the transaction down, and all before it are undone: each runs again by itself.
        self.lost_groups += 1
        for request in group:
            try:
                if not self._attempt([request]) and request.failure is None:
                    request.failure = DatabaseError("the work ended its own transaction")
            except DatabaseError as failure:
                _fail([request], failure)

    def _attempt(self, group: list[Request]) -> bool:
        """Run a group in one transaction. False: the transaction was lost on the way. Raises what failed all of them."""
        connection = self._connection or self._open()
        cursor = connection.cursor()  # one for all, because making one costs as much as a short statement
        execute = cursor.execute
        try:
            execute("BEGIN IMMEDIATE")
            for request in group:
                execute("SAVEPOINT piece")
                _run(cursor, request)
                if not connection.in_transaction:
                    self._note(request.failure)
                    return False
                if request.failure is None and connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
                    request.failure = ForeignKeyViolation("a deferred foreign key does not hold")
                if request.failure is not None:
                    self._note(request.failure)
                    execute("ROLLBACK TO piece")
                execute("RELEASE piece")
            execute("COMMIT")
        except Exception as error:  # a fault of our own must not end the thread either: every write would wait for ever
            failure = _explain(error, connection)
            self._note(failure)
            self._abandon(connection, error)
            raise failure from error
        self.groups += 1
        self.writes += len(group)
        self.largest_group = max(self.largest_group, len(group))
        return True

    def _note(self, failure: BaseException | None) -> None:
        if isinstance(failure, Unavailable):
            if self.trouble is None:
                _log.error("writes fail: %s", failure)
            self.trouble = failure.reason

    def _open(self) -> apsw.Connection:
        """Open the writer's connection, at the start and after it broke. Raises Unavailable."""
        try:
            connection = self._connect(self._patience)
        except Unavailable as failure:
            self._note(failure)
            raise
        connection.set_wal_hook(self._committed)
        self._connection = connection
        return connection

    def _committed(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        """SQLite calls this after each commit that wrote: so the disk works, and the log has this many pages."""
        if pages < self.wal_pages:
            self._checkpoint_at = CHECKPOINT_PAGES
        self.wal_pages = pages
        self._changed = True
        if self.trouble is not None:
            self.trouble = None
            _log.warning("writes work again")
        return apsw.SQLITE_OK

    def _abandon(self, connection: apsw.Connection, error: Exception) -> None:
        """Leave no transaction behind; after an error of the disk or the file go on with a fresh connection."""
        broken = not isinstance(error, apsw.BusyError | apsw.FullError | apsw.ConstraintError)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            broken = True
        if broken:
            self._connection = None
            with contextlib.suppress(apsw.Error):
                connection.close(True)

    def _tend(self) -> None:
        """Checkpoint what is due, and find out whether a trouble is over by a write of our own."""
        connection = self._connection
        try:
            connection = connection or self._open()
            if self.trouble is not None:
                connection.execute(_PROBE)
            self._checkpoint(connection)
        except Exception as error:  # as in _attempt
            if connection is not None:
                self._note(_explain(error, connection))
                self._abandon(connection, error)

    def _checkpoint(self, connection: apsw.Connection) -> None:
        if self.wal_pages < CHECKPOINT_PAGES:
            return
        if self.wal_pages < RESTART_PAGES:
            # A log that was copied whole starts over at the next write, if no reader needs it any more.
            self._checkpoint_at = self.wal_pages + CHECKPOINT_PAGES
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            return
        now = time.monotonic()
        self._checkpoint_at = self.wal_pages
        if now < self._next_restart:
            return
        self._next_restart = now + RESTART_PAUSE
        self._patience.limit = RESTART_PATIENCE
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            return
        finally:
            self._patience.limit = PATIENCE
        self.wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES


def _explain(error: Exception, connection: apsw.Connection) -> DatabaseError:
    if isinstance(error, apsw.Error):
        return errors.translate(error, connection)
    return Unavailable(repr(error), "an internal fault stopped the last write; the log says more")


def _run(cursor: apsw.Cursor, request: Request) -> None:
    """Drive one piece of work; what it returns or raises is kept in the request."""
    request.result = request.failure = None
    if request.future.cancelled():
        return  # nobody waits any more, and nothing has been done yet
    connection, execute = cursor.connection, cursor.execute
    generator = request.work()
    try:
        statement = next(generator)
        while True:
            try:
                rows = execute(statement.sql, statement.params).fetchall()
            except apsw.Error as error:
                failure = errors.translate(error, connection, statement.sql)
                if not connection.in_transaction:
                    request.failure = failure
                    return
                statement = generator.throw(failure)
            else:
                statement = generator.send(rows)
    except StopIteration as done:
        request.result = done.value
    except BaseException as failure:  # whatever the work raises is its caller's, and the thread lives on
        request.failure = failure
    finally:
        generator.close()


def _fail(group: list[Request], failure: DatabaseError) -> None:
    """All of a group share a failure, also those that had failed by themselves: they saw work that does not stand."""
    for request in group:
        request.failure = failure
