"""Readers of the change log: each with a cursor of its own, woken when something may have been committed.

Opened through the engine by whoever wants to know of changes. All of it runs on the event loop. Readers of this process are
woken at commit; commits of other processes show in SQLite's data_version, which is asked for every few milliseconds while
anybody reads. A wake-up only says that it is worth looking: what is new, the log alone tells. It never writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from alyx.database import feed
from alyx.database.feed import Change, Mark, Position
from alyx.database.work import Unavailable, Work

T = TypeVar("T")


class _Reads(Protocol):
    def __call__(self, work: Callable[[], Work[T]], /) -> Awaitable[T]: ...


class Watch:
    """Who reads the feed in this process, and the look at what other processes do.

    version: gives SQLite's data_version, which differs after another connection's commit. interval: seconds between two looks.
    Nothing is lost where a look falls into a snapshot that is already held: it then says what that snapshot says, and the next
    look, or the one after, says the rest.
    """

    def __init__(self, version: Callable[[], int], interval: float) -> None:
        self._version = version
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._readers: set[Reader] = set()
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reader: Reader) -> None:
        """Wake this reader from now on."""
        self._readers.add(reader)
        if self._timer is None:
            self._seen = self._version()
            self._timer = self._loop.call_later(self._interval, self._look)

    def discard(self, reader: Reader) -> None:
        """Wake it no more; without readers nothing is looked at."""
        self._readers.discard(reader)
        if not self._readers:
            self._rest()

    def wake(self) -> None:
        """Something may have been committed."""
        for reader in self._readers:
            reader.wake()

    def stop(self) -> None:
        """Look no more, and wake all so that they find the engine closed."""
        self._rest()
        self.wake()
        self._readers.clear()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._look)
        version = self._version()
        if version != self._seen:
            self._seen = version
            self.wake()


class Reader:
    """An ordered, resumable reader of the change log, for one task.

    mark: the last line handed out, or where reading began; whoever keeps it can go on from there with `Engine.feed(mark)`, in
    another process too. position: where the log stood at the last read.
    """

    def __init__(self, read: _Reads, watch: Watch, position: Position, mark: Mark) -> None:
        self.position = position
        self.mark = mark
        self._read = read
        self._watch = watch
        self._news = asyncio.Event()
        self._news.set()
        self._closed = False
        watch.add(self)

    @property
    def cursor(self) -> int:
        """The number of the last line handed out, or where reading began."""
        return self.mark.seq

    async def read(self, limit: int = 256) -> list[Change]:
        """The next lines in order, from cursor + 1 without a gap, at most `limit`; [] when nothing is new.

        Fewer come when they are large. Raises HistoryLost, and then again at every call; and what Engine.read raises: then
        nothing is lost, and it may be called again.
        """
        if self._closed:
            raise Unavailable("the reader of the feed is closed")
        self._news.clear()  # before the snapshot is taken: what is committed later wakes again
        try:
            position, lines = await self._read(lambda: feed.follow(self.mark, limit))
        except BaseException:
            self._news.set()
            raise
        self.position = position
        if lines:
            self.mark = Mark(lines[-1].seq, position.epoch, lines[-1].nonce)
        elif self.mark.epoch is None:
            self.mark = Mark(position.seq, position.epoch, position.nonce)
        if self.mark.seq < position.seq:
            self._news.set()
        return lines

    async def wait(self) -> None:
        """Return when something may have been committed since the last read; at once if that did not reach the end.

        Also when the reader is closed or the engine stops: the next read then raises Unavailable.
        """
        await self._news.wait()

    def wake(self) -> None:
        """Called by the watch."""
        self._news.set()

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        self._watch.discard(self)
        self._news.set()
