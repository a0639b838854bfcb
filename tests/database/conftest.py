"""A blog's database in a temporary folder, and engines on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alyx.database.sqlite.engine import Engine, Settings
from tests.database import made

Running = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file with the blog's tables and triggers."""
    file = tmp_path / "alyx.db"
    made.create(file).close()
    return file


@pytest.fixture
def running(path: Path) -> Running:
    """`async with running() as engine`: an engine on the blog's database."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Engine]:
        engine = Engine.open(Settings(str(path), **settings))
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()

    return start
