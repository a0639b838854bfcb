"""`alyx db reset`: a database without records, built anew from the migrations and the schema."""

from __future__ import annotations

from pathlib import Path

import apsw

from alyx.app import build
from alyx.app.build import Source
from alyx.app.refusal import Refusal
from alyx.config import Config
from alyx.database.sqlite.connection import CannotOpen, connect


def reset(config: Config, source: Source) -> None:
    """Remove the database and make it again. Raises Refusal if anybody has it open, MigrationError if it cannot be made."""
    path = config.database_path
    if path.exists():
        _require_alone(path)
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
    build.migrator(config).apply(source.schema, yes=True, accept_data_loss=True)


def _require_alone(path: Path) -> None:
    """Only a connection that is alone may leave the write-ahead log, which makes that the test."""
    try:
        connection = connect(path, wait=0.3)
    except CannotOpen as error:
        raise Refusal(str(error), "if it is no database of Alyx, move it away") from error
    try:
        mode = str(connection.execute("PRAGMA journal_mode = DELETE").fetchall()[0][0])
    except apsw.BusyError:
        mode = "wal"
    finally:
        connection.close(True)
    if mode != "delete":
        raise Refusal(f"{path} is in use", "stop `alyx dev` or `alyx serve` first")
