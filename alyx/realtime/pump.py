"""The feed -> the views: one task per process that takes every change in order and says what it means to whom.

Started by `live`. Changes come in batches; of one batch a view makes one delta. It gives the loop back after 0.3 ms, and rests
while a write is being made, so that no request waits behind a delivery to thousands. A view that images cannot decide is only
marked here, and asked anew by the refresher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

from alyx.base import clock
from alyx.database.feed import Change, HistoryLost
from alyx.database.work import DatabaseError, Work
from alyx.realtime import asking, concern, tokens
from alyx.realtime.deltas import Batch, Delta, Kind, Step
from alyx.realtime.images import Document, Image
from alyx.realtime.stage import Database, Reader, Stage
from alyx.realtime.views import Group, Subscription, View
from alyx.schema.model import Collection

T = TypeVar("T")
BATCH = 256
"""Lines of the log that are judged before any of them is delivered."""
SLICE = 0.0003
"""Seconds that the loop may be held."""
_REST = 0.001
"""Seconds to be idle between two slices while a write is being made, whose thread needs the interpreter."""
_EACH = 16
_TRIES = 40
_AGAIN = 0.25
"""How often, and after how many seconds each time, the database is asked again when it cannot answer."""
_log = logging.getLogger("alyx.realtime")


class _Closed(Exception):
    """The feed that was followed is followed no more."""


class Pump:
    """Follows the feed while anybody listens.

    stage: what the changes mean. judgements, changes, deliveries: counters.
    """

    def __init__(
        self,
        database: Database,
        stage: Stage,
        *,
        stale: Callable[[Group], None],
        grown: Callable[[Group], None],
        lost: Callable[[], None],
        heard: Callable[[Iterable[str]], None],
        expected: Callable[[Group, str], None],
    ) -> None:
        """stale: a group must be asked anew. grown: it may have too many rows. lost: the history has a gap, and all must start
        over. heard: collections have changed. expected: a group will see something else from a moment on."""
        self.stage = stage
        self.judgements = 0
        self.changes = 0
        self.deliveries = 0
        self._oldest: float | None = None
        self._database = database
        self._stale = stale
        self._grown = grown
        self._lost = lost
        self._heard = heard
        self._expected = expected
        self._reader: Reader | None = None
        self._wanted = asyncio.Event()
        self._closed = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._read_ahead: dict[tuple[str, str], _Ahead] = {}
        self._done = 0
        self._until = 0.0

    # --- following

    def open(self) -> None:
        """Follow from now on, before the first snapshot is taken. Raises Unavailable."""
        if self._reader is None:
            self._reader = self._database.feed()
            if self.stage.generation is None:
                self.stage.generation = self._reader.position.generation
            self._done = self._reader.cursor
            self._closed = asyncio.Event()
            self._wanted.set()

    def close(self) -> None:
        """Stop following: nobody listens."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self._wanted.clear()
            self._oldest = None
            self._closed.set()
            self._read_ahead.clear()
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    @property
    def lag(self) -> float:
        """Seconds since the oldest change that is read and not yet told, 0 where there is none."""
        return max(0.0, clock.seconds() - self._oldest) if self._oldest is not None else 0.0

    async def reached(self, seq: int) -> None:
        """Return when all changes up to this one have been judged and delivered."""
        if self._reader is not None and self._done < seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((seq, future))
            await future

    async def run(self) -> None:
        """Follow for ever; whatever goes wrong is logged, and makes everybody start over."""
        while True:
            await self._wanted.wait()
            reader = self._reader
            if reader is None:
                continue
            try:
                await self._follow(reader)
            except _Closed:
                continue
            except HistoryLost as error:
                _log.warning("the change log has lost the place of the live queries (%s): all of them start over", error.reason)
                self._start_over()
            except Exception:  # what has been read cannot be read again, so nobody may go on from there
                _log.exception("changes could not be judged: all live queries start over")
                await asyncio.sleep(_AGAIN)
                self._start_over()

    def _start_over(self) -> None:
        self.close()
        self._lost()

    async def _follow(self, reader: Reader) -> None:
        closed = self._closed
        while True:
            await reader.wait()
            await asyncio.sleep(0)  # the answer to the write goes out first
            more = True
            while more:
                if reader is not self._reader:
                    return
                lines = await self._patiently(partial(reader.read, BATCH))
                if reader is not self._reader:
                    return
                self._oldest = lines[0].at / 1000 if lines else None
                if reader.position.generation != self.stage.generation:
                    # The tables are not those that are served: the stage is about to change, which makes everybody start over.
                    await closed.wait()
                    return
                if lines:
                    await self._process(lines, reader.position.epoch)
                self._oldest = None
                if reader is self._reader:
                    self._settle(reader.cursor)
                more = reader.cursor < reader.position.seq
                if more:
                    await asyncio.sleep(0)  # what was said goes out before the next batch finds it still here

    async def _ask(self, work: Callable[[], Work[T]]) -> T:
        return await self._patiently(lambda: self._database.read(work))

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read, and again while the database cannot answer: a change must not be passed over because the server is busy."""
        reader = self._reader
        for attempt in range(_TRIES):
            try:
                return await read()
            except DatabaseError as error:
                if reader is not self._reader:
                    raise _Closed from None
                if attempt == 0:
                    _log.warning("live queries wait for the database: %s", error)
                await asyncio.sleep(_AGAIN)
        return await read()

    def _settle(self, seq: int) -> None:
        self._done = max(self._done, seq)
        if self._read_ahead:
            self._read_ahead = {key: ahead for key, ahead in self._read_ahead.items() if ahead.until > seq}
        if self._waiting:
            ready = [future for until, future in self._waiting if until <= self._done]
            self._waiting = [item for item in self._waiting if item[0] > self._done]
            for future in ready:
                if not future.done():
                    future.set_result(None)

    # --- one batch

    async def _process(self, lines: list[Change], epoch: str) -> None:
        stage, batch = self.stage, _Judged()
        self._until = perf_counter() + SLICE
        names: dict[str, None] = {}
        for change in lines:
            self.changes += 1
            names[change.collection] = None
            if stage.registry.concerns(change.collection):
                await self._judge(stage, batch, change)
                await self._breathe()
            if stage is not self.stage:
                return
        self._heard(names)
        last = lines[-1]
        ahead = any(each.until > last.seq for each in self._read_ahead.values())
        # A client that has a newer record than its place says must not go on from there: it would not hear of the record's past.
        place = tokens.place(epoch, last.seq, ~last.nonce if ahead else last.nonce)
        for view, found in batch.views.items():
            if stage is not self.stage:
                return
            await self._deliver(view, found, place)

    async def _judge(self, stage: Stage, batch: _Judged, change: Change) -> None:
        collection = stage.planner.schema.collections.get(change.collection)
        if collection is None:
            return
        image = Image(change, collection.key.name)
        above, seq = await self._complete(stage, collection, image)
        views = list(stage.registry.find(image))
        self.judgements += len(views)
        for view in views:
            if view.by_images:
                batch.add(view, image, above)
            else:
                await self._mark(await self._concerned(stage, view, image), seq)
            await self._breathe()
        for view in list(stage.registry.watchers.get(change.collection, ())):
            await self._mark(concern.by_other_change(view, image), seq)

    async def _complete(self, stage: Stage, collection: Collection, image: Image) -> tuple[int, int]:
        """Read a record that was too large for the log as it stands now. Gives `Step.above`, and up to which change the image is
        then true.

        It may be newer than the change: then who is told this is told all of its changes up to there. Each of those is only for
        clients whose snapshot lies between it and the one before, and they are told the same.
        """
        change = image.change
        place = (change.collection, change.doc_id)
        ahead = self._read_ahead.get(place)
        if ahead is not None and change.seq <= ahead.until:
            image.read(ahead.document, ahead.text)
            above, ahead.last = ahead.last, change.seq
            return above, ahead.until
        if not image.holes or not any(view.needs(image) for view in stage.registry.find(image)):
            return 0, change.seq
        seq, document, text = await self._ask(partial(asking.stored, stage.planner, collection, image.key))
        image.read(document, text)
        if seq > change.seq:
            self._read_ahead[place] = _Ahead(change.seq, seq, document, text)
        return 0, seq

    async def _concerned(self, stage: Stage, view: View, image: Image) -> Iterable[Group]:
        """The groups of a view that is asked anew which a change of one of its records may concern."""
        if view.is_unknown(image):
            return list(view.groups.values())
        if not (view.audience.elsewhere or view.audience.uses_time):
            return concern.by_own_change(view, image)
        if not (view.passes(image.old) or view.passes(image.new)):
            return ()
        for moment in concern.moments(view, image, clock.now()):
            for group in view.groups.values():
                self._expected(group, moment)
        groups = dict.fromkeys(concern.holding(view, image))
        if view.passes(image.new) and image.new is not None:
            ip = next(iter(view.groups.values())).access.ip if view.groups else ""
            try:
                found = await self._database.read(partial(asking.audience, stage.planner, view, image.new, ip))
            except DatabaseError as error:  # then it may concern anybody; to wait would hold up all others
                _log.warning("whom a change concerns could not be asked: %s", error)
                found = None
            if found is None:
                return list(view.groups.values())
            groups |= dict.fromkeys(concern.by_audience(view, image, found))
        return groups

    async def _mark(self, groups: Iterable[Group], seq: int) -> None:
        for number, group in enumerate(groups):
            if group.window is not None and group.window.mark(seq):
                self._stale(group)
            if not number % _EACH:
                await self._breathe()

    async def _deliver(self, view: View, found: _Found, place: str) -> None:
        common = Batch(found.steps, place) if found.steps else None
        groups = list(view.groups.values()) if common is not None else list(found.odd)
        for group in groups:
            own = found.odd.get(group)
            batch = common if own is None else Batch(own, place) if own else None
            if batch is not None:
                await self._give(group, batch)

    async def _give(self, group: Group, batch: Batch) -> None:
        """Hand a batch to the members of a group that images decide about."""
        group.add_up(batch.steps)
        self.check_size(group)
        for number, subscription in enumerate(list(group.members)):
            if subscription.group is group:  # it may have left while others were told
                subscription.take(batch)
                self.deliveries += 1
            if not number % _EACH:
                await self._breathe()

    def check_size(self, group: Group) -> None:
        """Have a group counted that seems to have more rows than it may."""
        if group.seems_too_large:
            self._grown(group)

    async def tell(self, group: Group, delta: Delta, newcomer: Subscription | None) -> None:
        """Hand an answer to the members of a group that was asked anew. Who has no snapshot yet gets it after this one."""
        for number, subscription in enumerate(list(group.members)):
            if subscription is not newcomer and subscription.group is group:
                subscription.hear(delta)
                self.deliveries += 1
            if not number % _EACH:
                await self._breathe()

    async def _breathe(self) -> None:
        """Let others run if this has taken its share."""
        if perf_counter() > self._until:
            await asyncio.sleep(_REST if self._database.is_writing() else 0)
            self._until = perf_counter() + SLICE


@dataclass(slots=True)
class _Ahead:
    """A record that was read from the table. last: of its changes that were judged. until: up to which change it is true."""

    last: int
    until: int
    document: Document | None
    text: str | None


class _Found:
    """What a batch means to a view: the steps of everybody, and those of the groups to which anything meant something else."""

    __slots__ = ("odd", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.odd: dict[Group, list[Step]] = {}


class _Judged:
    """What a batch of changes means to the views that images decide."""

    def __init__(self) -> None:
        self.views: dict[View, _Found] = {}

    def add(self, view: View, image: Image, above: int) -> None:
        """Judge one change for one view. above: see Step."""
        judged = view.judge(image)
        if judged is None:
            return
        default, odd = judged
        found = self.views.get(view)
        if found is None:
            found = self.views[view] = _Found()
        made: dict[Kind, Step] = {}

        def step(kind: Kind) -> Step:
            if kind not in made:
                made[kind] = view.step(image, kind, above)
            return made[kind]

        now = dict(odd)
        if default is not None:
            for group, steps in found.odd.items():
                if group not in now:
                    steps.append(step(default))
        for group, kind in odd:
            own = found.odd.setdefault(group, list(found.steps))
            if kind is not None:
                own.append(step(kind))
        if default is not None:
            found.steps.append(step(default))
