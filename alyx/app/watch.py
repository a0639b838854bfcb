"""Tells which of the project's files have changed on disk. Called by dev mode; reads none of them.

The truth is a comparison of the files' times and sizes; the system's notifications only say when to look. So nothing is lost
between reading a file and watching it, and an edit is found a moment later where there are no notifications (network mounts).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

State: TypeAlias = Mapping[Path, tuple[int, int, int]]
"""Path -> modification time in nanoseconds, size, inode; a file that is missing is left out."""

_DEBOUNCE_MS = 100
"""An editor's save is several events (write, rename, chmod); what comes within this time is one change."""
_STEP_MS = 20
_LOOK_MS = 500


def look(files: Iterable[Path], folders: Iterable[Path]) -> State:
    """The state of these files and of the YAML files in these folders."""
    found: dict[Path, tuple[int, int, int]] = {}
    below = [path for folder in folders if folder.is_dir() for path in folder.glob("*.y*ml")]
    for path in [*files, *below]:
        try:
            entry = path.stat()
        except OSError:
            continue
        found[path] = (entry.st_mtime_ns, entry.st_size, entry.st_ino)
    return found


async def changes(files: list[Path], folders: list[Path], since: State, stop: asyncio.Event) -> AsyncIterator[set[Path]]:
    """Sets of paths that changed: first against the state `since`. Folders may come and go. Ends when `stop` is set."""
    from watchfiles import awatch

    before = since
    while not stop.is_set():
        watched = sorted({path.absolute().parent for path in files} | {path.absolute() for path in folders if path.is_dir()})
        # Folders and not files, since editors replace a file by another of the same name.
        async for _ in awatch(
            *watched,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            stop_event=stop,
            recursive=False,
        ):
            now = look(files, folders)
            changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
            before = now
            if changed:
                yield changed
            if any(path.is_dir() != (path.absolute() in watched) for path in folders):
                break  # a folder has come or gone: watch anew
