"""What can be told about a project without serving it: each check is ok, a warning, or a failure with its mend.

Called by `alyx doctor`. Changes nothing: a database that is not Alyx's, or of an older release, is looked at and left as it is;
of one that is, an empty transaction shows whether it takes writes.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import apsw

from alyx.app import build, secret
from alyx.app.refusal import Refusal
from alyx.base.errors import SourceError
from alyx.config import MIN_SECRET, Config
from alyx.database.migrations.errors import MigrationError
from alyx.database.sqlite import internal
from alyx.database.sqlite.connection import CannotOpen, connect

_WAL_LARGE = 256 * 1024 * 1024
_FREE_FAIL, _FREE_WARN = 100 * 1024 * 1024, 1024 * 1024 * 1024
_CLOCK_LEAST = 1_767_225_600
"""2026-01-01: a clock before it makes ids and tokens of the past."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was found, and what would mend it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    mend: str | None = None


def examine(config: Config) -> Iterator[Finding]:
    """Every check, in the order in which one depends on another."""
    yield Finding("config", "ok", str(config.file) if config.file else "no alyx.yaml: every setting has its default")
    yield from (Finding("config", "warn", text) for text in build.remarks_on_settings(config))
    for warning in config.warnings:
        yield Finding("environment", "warn", warning)
    source: build.Source | None = None
    try:
        source = build.read_source(config)
        yield Finding("schema", "ok", f"{config.schema_file.name}: {len(source.schema.collections)} collections, rules checked")
    except (SourceError, Refusal) as error:
        yield Finding("schema", "fail", str(error), "mend the file; `alyx dev` shows each place")
    if source is not None:
        yield from (Finding("schema", "warn", text) for text in build.remarks_on_schema(source))
    state = _release(config.database_path)
    if isinstance(state, Finding):
        yield state
    else:
        yield from _database(config)
        if source is not None:
            yield from _migrations(config, source)
    yield _secret(config)
    yield from _secret_file(config)
    yield _port(config)
    yield _disk(config.database_path)
    yield _clock()


def _release(path: Path) -> Finding | None:
    """What keeps the file from being looked into as ours; None for a database of this release."""
    if not path.exists():
        folder = _existing(path.parent)
        if os.access(folder, os.W_OK | os.X_OK):
            return Finding("database", "ok", f"{path} is not there yet; `alyx dev` or `alyx migrate apply` makes it")
        return Finding("database", "fail", f"{folder} is not writable", "give this account the right to write there")
    try:
        connection = connect(path, readonly=True, wait=2.0)
    except CannotOpen as error:
        return Finding("database", "fail", str(error), "restore a backup, or look at the rights of the file and its folder")
    try:
        found, newest = internal.version(connection), len(internal.STEPS)
    finally:
        connection.close(True)
    if found == 0:
        return Finding("database", "warn", f"{path} holds nothing of Alyx yet", "`alyx migrate apply` adds its tables")
    if found < newest:
        return Finding("database", "warn", f"{path} is of an older release", "`alyx migrate apply` or a start brings it up")
    if found > newest:
        return Finding("database", "fail", f"{path} was written by a newer Alyx", "update Alyx, or restore an older backup")
    return None


def _database(config: Config) -> Iterator[Finding]:
    path = config.database_path
    try:
        connection = connect(path, wait=2.0)
    except CannotOpen as error:
        yield Finding("database", "fail", str(error), "restore a backup, or look at the rights of the file and its folder")
        return
    try:
        yield from _inside(connection, path)
    except apsw.Error as error:
        yield Finding("database", "fail", f"{path}: {error}", "restore a backup")
    finally:
        connection.close(True)


def _inside(connection: apsw.Connection, path: Path) -> Iterator[Finding]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        yield Finding("database", "ok", f"{path} is reachable and writable")
    except apsw.BusyError:
        yield Finding("database", "warn", f"{path} is being written for longer than 2 s", "look for a process that holds it")
    except apsw.ReadOnlyError:
        yield Finding("database", "fail", f"{path} is read only", "give this account the right to write the file and its folder")
    yield Finding(
        "sqlite", "ok", f"SQLite {apsw.sqlite_lib_version()} is built in; other tools should be 3.51.3 or newer to write"
    )
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    good = problems == ["ok"]
    yield Finding("integrity", "ok" if good else "fail", "; ".join(problems), None if good else "restore a backup")
    dangling = list(islice(connection.execute("PRAGMA foreign_key_check"), 5))
    if dangling:
        where = ", ".join(f"{row[0]} (row {row[1]}) -> {row[2]}" for row in dangling)
        yield Finding("references", "fail", f"records refer to others that are gone: {where}", "delete or mend these records")
    else:
        yield Finding("references", "ok", "every reference has its record")
    # By its name only: opening the file beside SQLite would drop the locks of this process (hard-parts §5.4).
    log = Path(f"{path}-wal")
    size = log.stat().st_size if log.exists() else 0
    state: Literal["ok", "warn"] = "warn" if size > _WAL_LARGE else "ok"
    mend = "a long read keeps it from being restarted: end it, or restart Alyx" if state == "warn" else None
    yield Finding("write-ahead log", state, _bytes(size), mend)


def _migrations(config: Config, source: build.Source) -> Iterator[Finding]:
    try:
        migrator = build.migrator(config)
        plan = migrator.plan(source.schema)
        for file in plan.pending:
            yield Finding("migrations", "warn", f"{file.path.name} is not applied", "alyx migrate apply")
        for item in plan.changes:
            yield Finding("migrations", "warn", f"schema.yaml differs: {item.title}", "alyx migrate plan")
        for remark in plan.remarks:
            yield Finding("migrations", "warn", remark)
        drift = migrator.drift(source.schema if plan.empty else None).found if not plan.pending else ()
        for text in drift:
            yield Finding("drift", "fail", text, "undo what was done by hand, or write a migration file for it")
        if plan.empty and not drift:
            yield Finding("migrations", "ok", "files, schema and database agree")
    except (SourceError, MigrationError, CannotOpen) as error:
        yield Finding("migrations", "fail", str(error), "alyx migrate status")


def _secret(config: Config) -> Finding:
    chosen = secret.configured(config)
    mend = "make one with `openssl rand -base64 32` and set ALYX_AUTH_JWT_SECRET"
    if chosen is None:
        return Finding("secret", "warn", "auth.jwt.secret is not set: `alyx dev` makes its own, `alyx serve` will refuse", mend)
    length = len(chosen.encode())
    if length < MIN_SECRET:
        return Finding("secret", "fail", f"auth.jwt.secret has {length} bytes, {MIN_SECRET} are needed", mend)
    return Finding("secret", "ok", f"auth.jwt.secret has {length} bytes")


def _secret_file(config: Config) -> Iterator[Finding]:
    """Whether others of this machine may read what only the server should."""
    private: list[tuple[Path, Callable[[int], int]]] = [
        (secret.file_of(config), lambda mode: mode & (stat.S_IRWXG | stat.S_IRWXO)),
        (config.database_path, lambda mode: mode & stat.S_IRWXO),
    ]
    for path, excess in private:
        if path.exists() and os.name == "posix":
            mode = stat.S_IMODE(path.stat().st_mode)
            if excess(mode):
                yield Finding("permissions", "warn", f"{path} has mode {mode:o}: others may get at it", f"chmod 600 {path}")
            else:
                yield Finding("permissions", "ok", f"{path} has mode {mode:o}")


def _port(config: Config) -> Finding:
    host, port = config.values["server.host"], config.values["server.port"]
    try:
        with socket.create_connection(("127.0.0.1" if host in ("0.0.0.0", "::") else host, port), timeout=0.5):  # noqa: S104
            return Finding(
                "port",
                "warn",
                f"something answers on {host} port {port} already",
                "fine if that is Alyx; else choose another with --port",
            )
    except OSError:
        return Finding("port", "ok", f"{host} port {port} is free")


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(_existing(path.parent)).free
    mend = "make room: a full disk refuses writes"
    if free < _FREE_FAIL:
        return Finding("disk", "fail", f"{_bytes(free)} free", mend)
    return Finding("disk", "warn" if free < _FREE_WARN else "ok", f"{_bytes(free)} free", mend if free < _FREE_WARN else None)


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _CLOCK_LEAST:
        return Finding("clock", "fail", f"it is set to {shown}", "set the clock: ids and tokens carry the time")
    return Finding("clock", "ok", shown)


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _bytes(count: int) -> str:
    number = float(count)
    for unit in ("bytes", "KB", "MB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GB"
