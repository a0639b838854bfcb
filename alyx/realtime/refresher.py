"""Asks the questions anew that images cannot decide: the groups that are stale, the longest-waiting first.

Started by `live`. A group is asked at most once per pause, however many changes concern it; a few questions run at once, so that
a slow one holds nobody else up. What time alone changes is looked at when it is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from weakref import WeakKeyDictionary

from alyx.base import clock
from alyx.base.errors import AlyxError
from alyx.database.work import DatabaseError
from alyx.realtime import asking, tokens
from alyx.realtime.deltas import Delta
from alyx.realtime.stage import Database, Stage
from alyx.realtime.views import Group, Subscription, too_large

AT_ONCE = 4
AGAIN = 0.5
"""Seconds until a question that the database could not answer is asked again."""
LOOK = 10.0
"""Seconds after which a view that depends on the time is looked at, even if no row says when it changes."""
OFTEN = 1.0
"""The same, where the rule does more with the time than compare a column with it."""
_log = logging.getLogger("alyx.realtime")


class Refresher:
    """Keeps groups fresh. queries: a counter."""

    def __init__(
        self,
        database: Database,
        pause: float,
        *,
        tell: Callable[[Group, Delta, Subscription | None], Awaitable[None]],
        failed: Callable[[Group, AlyxError], None],
    ) -> None:
        """tell: hand a delta to the members, but for one. failed: the question can no longer be answered."""
        self.queries = 0
        self.stage: Stage | None = None
        self._database = database
        self._pause = pause
        self._tell = tell
        self._failed = failed
        self._queue: dict[Group, float] = {}
        self._timed: dict[Group, float] = {}
        self._asked: WeakKeyDictionary[Group, float] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[Group, asyncio.Lock] = WeakKeyDictionary()
        self._running: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Groups that are to be asked."""
        return len(self._queue)

    def clear(self) -> None:
        """Forget everything: the groups are of another stage."""
        self._queue.clear()
        self._timed.clear()

    def turn(self, group: Group) -> asyncio.Lock:
        """Answers to a group are taken one after another, each handed to all before the next: so deltas keep their order."""
        return self._turns.setdefault(group, asyncio.Lock())

    def forget(self, group: Group) -> None:
        """A group is gone."""
        self._queue.pop(group, None)
        self._timed.pop(group, None)

    def stale(self, group: Group) -> None:
        """Have a group asked anew, as soon as its pause is over."""
        if group not in self._queue:
            now = asyncio.get_running_loop().time()
            self._queue[group] = max(now, self._asked.get(group, 0.0) + self._pause)
            self._news.set()

    def look_at(self, group: Group, soonest: str | None) -> None:
        """A group that depends on the time was asked; soonest: the next moment that its rows name (API form)."""
        view = group.view
        if not view.uses_time:
            return
        wait = OFTEN if any(audience.uses_time and audience.times is None for audience in view.audiences) else LOOK
        if len(view.audiences) > 1 or view.audience.elsewhere:
            wait = OFTEN  # moments of other collections' rows are not looked for
        self._timed[group] = asyncio.get_running_loop().time() + wait
        if soonest is not None:
            self.expect(group, soonest)
        self._news.set()

    def expect(self, group: Group, moment: str) -> None:
        """Time will change what a group sees, at a moment (API form) that a record names."""
        try:
            wait = max(0.0, datetime.fromisoformat(moment).timestamp() - clock.seconds())
        except (ValueError, OverflowError):  # no moment: another program may have written anything
            return
        due = asyncio.get_running_loop().time() + wait
        if due < self._timed.get(group, due + 1.0):
            self._timed[group] = due
            self._news.set()

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            now = loop.time()
            for group in [group for group, moment in self._timed.items() if moment <= now]:
                del self._timed[group]
                if group.window is not None:
                    group.window.due = True
                    self.stale(group)
            self._start_ready(now)
            moments = [*self._queue.values()] if len(self._running) < AT_ONCE else []
            moments += self._timed.values()
            wait = max(0.0, min(moments) - now) if moments else None
            # Not wait_for, which in Python 3.11 can swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def stop(self) -> None:
        """End what runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start_ready(self, now: float) -> None:
        for group, moment in list(self._queue.items()):
            if len(self._running) >= AT_ONCE:
                return
            if moment <= now:
                del self._queue[group]
                task = asyncio.get_running_loop().create_task(self._ask(group))
                self._running.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()

    async def _ask(self, group: Group) -> None:
        try:
            async with self.turn(group):
                stage, window = self.stage, group.window
                if stage is None or window is None or not group.members or not window.is_stale:
                    return
                self._asked[group] = asyncio.get_running_loop().time()
                with window.being_asked():
                    found = await self._answer(stage, group)
                if found is not None and stage is self.stage and group.members:
                    await self.take(group, found)
        except AlyxError as error:
            self._failed(group, error)
        except Exception:  # its members would hear nothing more, and not know it
            _log.exception("a live query could not be asked anew")
            self._failed(group, AlyxError("INTERNAL", "Something went wrong in the server; subscribe again."))

    async def _answer(self, stage: Stage, group: Group) -> asking.Snapshot | None:
        """Ask the database; None where there is nothing to take, which has been seen to."""
        self.queries += 1
        work = partial(asking.snapshot, stage.planner, group.view, group.access.again(), stage.expand_rows, counted=False)
        try:
            found = await self._database.read(work)
        except DatabaseError as error:
            _log.warning("a live query of %s could not be asked anew: %s", group.view.collection.name, error)
            if stage is self.stage:
                self._queue[group] = asyncio.get_running_loop().time() + AGAIN
            return None
        # At another generation the tables have moved: the pump sees it, too, and everybody is about to start over.
        return found if found.position.generation == stage.generation else None

    async def take(self, group: Group, found: asking.Snapshot, newcomer: Subscription | None = None) -> None:
        """An answer for a group, in its turn: what is new in it goes to all who are in it.

        newcomer: has it already. Time changes an answer without a change in the log, so their numbers tell nothing here.
        """
        window, question = group.window, group.view.question
        if window is None:
            return
        if found.selection.more and not question.limited:
            self._failed(group, too_large(question.asked.limit))
            return
        seq = found.position.seq
        steps = window.replace(found.selection, seq, question.asked.limit)
        self.look_at(group, found.soonest)
        if window.is_stale:
            self.stale(group)
        if steps:
            place = tokens.place(found.position.epoch, seq, found.position.nonce)
            await self._tell(group, Delta(steps, place), newcomer)
