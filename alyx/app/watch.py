"""Tells which of the project's files have changed on disk. Called by dev mode; reads none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

_DEBOUNCE_MS = 120
"""An editor's save is several events (write, rename, chmod); what comes within this time is one change."""
_STEP_MS = 20


async def changes(files: Iterable[Path], folders: Iterable[Path], stop: asyncio.Event) -> AsyncIterator[set[Path]]:
    """Sets of paths that changed: these files, and whatever is in these folders, which may come and go.

    Folders are watched and not files, since editors replace a file by another of the same name. Ends when `stop` is set.
    """
    from watchfiles import Change, awatch

    wanted = {path.absolute() for path in files}
    below = {path.absolute() for path in folders}

    def is_ours(_: Change, name: str) -> bool:
        path = Path(name)
        return path in wanted or path in below or (path.parent in below and path.suffix in (".yaml", ".yml"))

    while not stop.is_set():
        watched = {path.parent for path in wanted | below} | {path for path in below if path.is_dir()}
        async for found in awatch(
            *sorted(path for path in watched if path.is_dir()),
            watch_filter=is_ours,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=stop,
            recursive=False,
            raise_interrupt=False,
        ):
            paths = {Path(name) for _, name in found}
            yield paths
            if paths & below:
                break  # a folder has come or gone: watch anew
