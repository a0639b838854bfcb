"""Notices that another process has migrated the database under a running program, and takes the new tables up.

Dev mode asks `History` and reloads; in production `Follower` does it: it swaps to the schema.yaml of now if that is what the
database has, else it says so in /health/ready. Started by `dev` and `serve`; migrates nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from alyx.app import build, watch
from alyx.app.build import Program, Source
from alyx.app.refusal import Refusal
from alyx.base.errors import SourceError
from alyx.config import Config
from alyx.database.migrations.errors import MigrationError
from alyx.database.sqlite.connection import CannotOpen
from alyx.database.sqlite.engine import Engine
from alyx.database.work import DatabaseError, Statement, Work

EACH = 1.0
"""Seconds between two looks at the history: one step in one small tree."""

_log = logging.getLogger("alyx.app")
_MOVED = "another process has migrated the database, and schema.yaml is not at it"


def _newest() -> Work[int]:
    # Numbers are never used twice, so that the last one tells whether anything was done or taken back.
    ((number,),) = yield Statement("SELECT coalesce(max(id), 0) FROM _alyx_migrations", light=True)
    return int(number)


class History:
    """The number of the last migration, as last seen."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: int | None = None

    async def has_moved(self) -> bool:
        """Whether anything was migrated or rolled back since the last call; the first call only remembers."""
        try:
            newest = await self._engine.read(_newest)
        except DatabaseError:
            return False  # busy or gone for the moment; /health tells of that
        before, self._seen = self._seen, newest
        return before is not None and before != newest


class Follower:
    """Keeps a program in production at its database."""

    def __init__(self, config: Config, program: Program, engine: Engine) -> None:
        self._config = config
        self._program = program
        self._history = History(engine)
        self._trouble: str | None = None

    def health(self) -> dict[str, Any]:
        """A part of /health: unhealthy while the tables are not those that are served."""
        return {"status": "healthy"} if self._trouble is None else {"status": "unhealthy", "reason": _MOVED}

    async def run(self) -> None:
        """Look each second, until cancelled. What failed is tried again when a file of the project has changed."""
        await self._history.has_moved()
        tried = self._files()
        while True:
            await asyncio.sleep(EACH)
            moved = await self._history.has_moved()
            files = self._files()
            if moved or (self._trouble is not None and files != tried):
                tried = files
                await self.take_up()

    async def take_up(self) -> None:
        """Serve the schema.yaml of now if the database is at it; else go on, and say so once."""
        try:
            source = await asyncio.to_thread(self._matching)
        except (SourceError, Refusal, MigrationError, CannotOpen) as error:
            if str(error) != self._trouble:
                _log.error("%s: %s", _MOVED, error)
            self._trouble = str(error)
            return
        self._program.swap(source)
        self._trouble = None
        _log.info("another process has migrated the database: its schema is in force")

    def _matching(self) -> Source:
        source = build.read_source(self._config)
        build.require_migrated(self._config, source)
        return source

    def _files(self) -> watch.State:
        return watch.look([self._config.schema_file], [self._config.migrations_folder])
