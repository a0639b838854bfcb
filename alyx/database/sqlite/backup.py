"""A copy of a database that is in use, by SQLite's backup API.

Called by the engine and the command line. A plain copy of the file would miss the write-ahead log, and inside the server's
process it would drop SQLite's locks (hard-parts §5.4).
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from alyx.database.sqlite.connection import CannotOpen, connect

_PAGES = 1_000


def copy(source: str | Path, target: str | Path) -> None:
    """Write the database at `source`, as it is at this moment, to `target`; blocks while it runs, writers do not wait.

    The copy is made beside the target and moved there when it is whole. Raises CannotOpen if the target stands already, or is
    the source.
    """
    path = Path(target)
    if path.exists():
        raise CannotOpen(f"{path} stands already; a backup overwrites nothing")
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    if not path.parent.is_dir():
        raise CannotOpen(f"the folder {path.parent} does not exist")
    origin = connect(source, readonly=True)
    try:
        copied = apsw.Connection(str(part))
        try:
            origin.execute("BEGIN; SELECT count(*) FROM sqlite_schema").fetchall()  # one snapshot for the whole copy
            with copied.backup("main", origin, "main") as backup:
                while not backup.done:
                    backup.step(_PAGES)
        finally:
            copied.close(True)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        origin.close(True)
    os.replace(part, path)
