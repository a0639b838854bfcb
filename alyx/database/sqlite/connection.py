"""The one way to open the database: every pragma, limit and function of ours is set here and nowhere else.

Called by the engine, the migrator and the command line. It never decides what runs on a connection.

POSIX locks belong to the process, so that one plain `open(path).close()` elsewhere in it drops SQLite's own and loses
acknowledged writes (hard-parts §5.4): nothing in Alyx may touch the file, its -wal or its -shm in any other way.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Literal

import apsw

from alyx.database.sqlite import functions
from alyx.database.work import Unavailable

Synchronous = Literal["full", "normal"]

MEMORY = ":memory:"
"""A database of one connection, for tests."""

CACHE = 64
"""Mebibytes of pages that a connection keeps, at most."""
WAL_KEPT = 64 * 1024 * 1024
"""Bytes that the -wal file keeps after it was restarted; a larger one is cut, so that a burst gives its space back."""
STATEMENTS = 1000
"""Prepared statements kept for each connection; compiled texts per shape of request are far fewer."""

_SWITCHES = (
    # Without these a misspelt or dropped "column" is silently a string, and a rule on it holds for every row (hard-parts §1.4).
    (apsw.SQLITE_DBCONFIG_DQS_DML, 0),
    (apsw.SQLITE_DBCONFIG_DQS_DDL, 0),
    (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
)

_PRAGMAS = f"""
PRAGMA foreign_keys = ON;
PRAGMA recursive_triggers = ON;
PRAGMA secure_delete = ON;
PRAGMA mmap_size = 0;
PRAGMA temp_store = MEMORY;
PRAGMA journal_size_limit = {WAL_KEPT};
"""


class CannotOpen(Unavailable):
    """The file cannot be opened as a database; the message is one sentence for the person at the command line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "the database file cannot be opened")


class Patience:
    """A busy handler: sleeps of 0.3 ms until `limit` seconds have passed.

    SQLite's own back-off sleeps ever longer and so starves one of several writing processes for seconds; this one shares
    fairly (hard-parts §4.2). `limit` may be set between calls.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._until = 0.0

    def __call__(self, attempts: int) -> bool:
        now = time.monotonic()
        if attempts == 0:
            self._until = now + self.limit
        if now >= self._until:
            return False
        time.sleep(0.0003)
        return True


def connect(
    path: str | Path,
    *,
    readonly: bool = False,
    synchronous: Synchronous = "full",
    patience: Patience | None = None,
    wait: float = 5.0,
    cache: int = CACHE,
    vfs: str | None = None,
) -> apsw.Connection:
    """A ready connection to the database at `path`, which is created unless `readonly`.

    readonly: refuses to change anything (query_only) and needs the file to exist. patience: the busy handler, else one of
    `wait` seconds; 0 answers busy at once, which is what the event loop needs. cache: mebibytes. vfs: a virtual file system, for
    tests.
    Nothing is checkpointed by itself on it: only the engine's writer does that. Raises CannotOpen.
    """
    name = os.fspath(path)
    _check_place(name, readonly)
    flags = apsw.SQLITE_OPEN_READWRITE if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(name, flags=flags, vfs=vfs, statementcachesize=STATEMENTS)
    except apsw.Error as error:
        raise CannotOpen(f"cannot open {name}: {error}") from error
    try:
        _prepare(connection, name, readonly, synchronous, patience or Patience(wait))
        connection.execute(f"PRAGMA cache_size = {-1024 * cache}")
        functions.register(connection)
    except apsw.NotADBError as error:
        connection.close(True)
        raise CannotOpen(f"{name} is not a SQLite database") from error
    except apsw.Error as error:
        connection.close(True)
        raise CannotOpen(f"cannot open {name}: {error}") from error
    except BaseException:
        connection.close(True)
        raise
    return connection


def _check_place(name: str, readonly: bool) -> None:
    """Say what is wrong in words; SQLite's own message for all of these is `unable to open database file`."""
    if name == MEMORY:
        return
    path = Path(name)
    folder = path.parent
    if path.is_dir():
        raise CannotOpen(f"{name} is a folder, not a database file")
    if not folder.is_dir():
        raise CannotOpen(f"the folder {folder} does not exist")
    if readonly:
        if not path.exists():
            raise CannotOpen(f"there is no database at {name}")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotOpen(f"the folder {folder} is not writable")
    if not path.exists():
        _make(path)
    if not os.access(path, os.W_OK):
        raise CannotOpen(f"{name} is not writable")


def _make(path: Path) -> None:
    """Make the file so that only its owner may read the records. Exclusively: to open and close a file that a connection of this
    process holds would drop that connection's locks (hard-parts §5.4)."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _journal(connection: apsw.Connection, patience: Patience) -> str:
    """Switch to a write-ahead log and give the mode.

    Several that do so for a new file at once find each other busy without a call of the busy handler, so this tries again for as
    long as the handler would.
    """
    end = time.monotonic() + patience.limit
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchall()[0][0])
        except apsw.BusyError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.005)


def _prepare(connection: apsw.Connection, name: str, readonly: bool, synchronous: Synchronous, patience: Patience) -> None:
    for switch, value in _SWITCHES:
        connection.config(switch, value)
    if patience.limit > 0:
        connection.set_busy_handler(patience)
    connection.wal_autocheckpoint(0)
    connection.execute(_PRAGMAS).fetchall()  # some of them answer, and only a drained cursor goes on to the next
    if readonly:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    else:
        mode = _journal(connection, patience)
        if mode != "wal" and name != MEMORY:
            raise CannotOpen(f"{name} lies on a file system that cannot hold a write-ahead log (journal mode is {mode})")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
