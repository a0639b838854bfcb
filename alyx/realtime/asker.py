"""How a subscription comes to what it shows: snapshot, resume, and the change to another identity.

Called by `live`. In each, a subscription first takes its place among those who hear of changes, with all that comes kept aside;
then one read transaction gives rows and their number in the log; then what was kept and is newer follows. So there is no gap, and
nothing comes twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from alyx.base.errors import AlyxError
from alyx.realtime import asking, tokens
from alyx.realtime.deltas import Delta, Step, merge
from alyx.realtime.listener import Listener
from alyx.realtime.outlet import Client
from alyx.realtime.pump import Pump
from alyx.realtime.question import Question
from alyx.realtime.refresher import Refresher
from alyx.realtime.registry import watched
from alyx.realtime.stage import Database, Stage
from alyx.realtime.views import Group, Subscription, View, too_large
from alyx.realtime.windows import difference, hashes
from alyx.records.access import Access
from alyx.records.selecting import Selection
from alyx.rules.book import Rule

_TRIES = 200
_PAUSE = 0.05
"""How long, and how often, a subscribe waits for a schema that is being changed: ten seconds in all."""


@dataclass(slots=True)
class _Ask:
    """A question on its way. message_id: of the message that is answered. token: where its client says it was. reset: it has
    something that is not what it would get now."""

    stage: Stage
    subscription: Subscription
    listener: Listener
    client: Client
    group: Group
    access: Access
    message_id: object
    token: tokens.Token | None
    reset: bool

    def fits(self, generation: int) -> bool:
        """Whether what was read belongs to what is served, and to whom the client is."""
        same = generation == self.stage.generation and self.client is self.listener.client
        return same and not self.subscription.closed


class Asker:
    """Brings subscriptions into views."""

    def __init__(self, database: Database, pump: Pump, refresher: Refresher, *, idle: Callable[[], None]) -> None:
        """idle: called when no subscription is on its way any more."""
        self._idle = idle
        self._asking: dict[Subscription, asyncio.Event] = {}
        self._database = database
        self._pump = pump
        self._refresher = refresher

    @property
    def is_busy(self) -> bool:
        """Whether any subscription is on its way."""
        return bool(self._asking)

    def asks(self, subscription: Subscription) -> bool:
        """Whether this one is on its way: then it sees by itself that the schema has changed."""
        return subscription in self._asking

    # --- asking

    async def ask(
        self, subscription: Subscription, listener: Listener, message_id: object, since: str | None, *, reset: bool
    ) -> None:
        """Send a snapshot, or `resumed` and what was missed, and deltas from then on. reset: the client has something else.

        Raises AlyxError, and what the database raises; then the subscription is in no view.
        """
        with self._busy(subscription):
            for _ in range(_TRIES):
                stage = self._pump.stage
                subscription.question = question = subscription.parse()
                client = listener.client
                access = _access(client, question)
                group = self._enter(stage, subscription, question, access)
                token = tokens.parse(since) if since is not None else None
                again = reset or since is not None
                if token is not None and token.mark.encode() != group.mark:
                    token = None
                try:
                    self._pump.open()
                    told = await self._tell(_Ask(stage, subscription, listener, client, group, access, message_id, token, again))
                    if told and stage is self._pump.stage:
                        return
                    again = again or told
                except BaseException:
                    self.leave(subscription)
                    raise
                self.leave(subscription)
                if subscription.closed:
                    return
                # Schema and tables are on their way to each other.
                reset, since = again, None
                await asyncio.sleep(_PAUSE)
        raise AlyxError("OVERLOADED", "The schema is being changed; try again.")

    async def _tell(self, ask: _Ask) -> bool:
        """False where what was read belongs to another stage than what is served."""
        if ask.group.window is None:
            return await self._answer(ask)
        async with self._asking_in_turn(ask.group):
            return await self._answer(ask)

    async def _answer(self, ask: _Ask) -> bool:
        if ask.token is not None:
            told = await self._resume(ask, ask.token)
            if told is not None:
                return told
        return await self._snapshot(ask)

    async def _snapshot(self, ask: _Ask) -> bool:
        group, view = ask.group, ask.group.view
        work = partial(asking.snapshot, ask.stage.planner, view, ask.access.again(), ask.stage.expand_rows, counted=True)
        found = await self._database.read(work)
        if not self._fits(ask, found.position.generation):
            return False
        _check_size(view, found.selection)
        seq = found.position.seq
        place = tokens.place(found.position.epoch, seq, found.position.nonce)
        texts = found.selection.texts
        ask.listener.snapshot(ask.message_id, ask.subscription, texts, found.total, place, reset=ask.reset)
        if group.window is None:
            self._recount(group, len(texts), seq, ask.subscription)
        ask.subscription.settle(seq)
        if group.window is not None:
            await self._refresher.take(group, found, ask.subscription)
        return True

    async def _resume(self, ask: _Ask, token: tokens.Token) -> bool | None:
        """None where the token is of no use any more."""
        group, view = ask.group, ask.group.view
        work = partial(asking.resume, ask.stage.planner, group, ask.access.again(), token, watched(view), ask.stage.expand_rows)
        found = await self._database.read(work)
        if found is None:
            return None
        if not self._fits(ask, found.position.generation):
            return False
        seq = found.position.seq
        _check_size(view, found.selection, found.total)
        delta = Delta(found.steps, tokens.place(found.position.epoch, seq, found.position.nonce))
        here = tokens.place(token.epoch, token.seq, token.nonce) if delta.steps else delta.place
        ask.listener.resumed(ask.message_id, ask.subscription, here + ask.subscription.mark.decode())
        ask.listener.deliver(ask.subscription, delta)
        if found.total is not None:
            self._recount(group, found.total, seq, ask.subscription)
        ask.subscription.settle(seq)
        if found.selection is not None:
            await self._refresher.take(
                group, asking.Snapshot(found.position, found.selection, 0, found.soonest), ask.subscription
            )
        return True

    def _recount(self, group: Group, rows: int, seq: int, subscription: Subscription) -> None:
        group.recount(rows, seq, subscription.missed(seq))
        self._pump.check_size(group)

    async def count(self, group: Group) -> None:
        """Count the rows of a group anew, by the database. Raises DatabaseError."""
        group.since = []
        try:
            work = partial(asking.count, self._pump.stage.planner, group.view, group.access.again())
            position, rows = await self._database.read(work)
            group.recount(rows, position.seq, group.since)
        finally:
            group.since = None

    # --- another identity

    async def move(self, subscription: Subscription, listener: Listener) -> None:
        """Judge a subscription that is held back anew for who its client is now, and send the difference.

        Raises AlyxError if it cannot go on.
        """
        if subscription in self._asking:  # a change of the schema at the same moment, which sees the new client by itself
            await self._asking[subscription].wait()
        group, question, client = subscription.group, subscription.question, listener.client
        if group is None or question is None or subscription.closed or subscription.unsaid is None:
            return
        with self._busy(subscription):
            access = _access(client, question)
            stage = self._pump.stage
            view = self._view(stage, question, access, required=False)
            if view is group.view and view.values(access.auth) == group.values:
                self._go_on(subscription, listener)
                return
            ask = _Ask(stage, subscription, listener, client, group, access, None, None, reset=True)
            moved = await (self._move_known(ask, view) if group.window is not None else self._move_unknown(ask, view))
            moved = moved and stage is self._pump.stage
        if not moved and not subscription.closed:
            await self.ask(subscription, listener, None, None, reset=True)

    def _go_on(self, subscription: Subscription, listener: Listener) -> None:
        """The new rights are the old ones: what was held back is said."""
        unsaid = subscription.unsaid
        subscription.unsaid = None
        if unsaid:
            listener.deliver(subscription, merge(unsaid))
        subscription.settle(subscription.floor)

    async def _move_unknown(self, ask: _Ask, view: View) -> bool:
        """Out of a view that images decide: what the client holds is not known here. So both views are read at one moment, and
        the difference is sent after what the old one still had to say."""
        former, subscription, stage = ask.group, ask.subscription, ask.stage
        entrant = Subscription(subscription.id, ask.listener, subscription.parse)
        entrant.pending = []
        group = self._join(stage, entrant, view, ask.access)
        access, other = former.access.again(), ask.access.again()
        try:
            async with self._asking_in_turn(group):
                work = partial(asking.both, stage.planner, former.view, access, view, other, stage.expand_rows)
                before, found = await self._database.read(work)
                seq = found.position.seq
                await self._pump.reached(seq)
                if not self._fits(ask, found.position.generation) or before.more:
                    self.leave(entrant)
                    self.leave(subscription)
                    return False
                _check_size(view, found.selection)
                unsaid = subscription.unsaid_steps()
                unsaid += [step for step in subscription.missed(subscription.floor) if step.seq <= seq]
                held = hashes(before)
                self._replace(subscription, entrant, group)
                await self._arrive(ask.listener, subscription, group, found, [*unsaid, *difference(held, found.selection, seq)])
        except BaseException:
            self.leave(entrant)
            raise
        return True

    async def _move_known(self, ask: _Ask, view: View) -> bool:
        """Out of a view that is asked anew: its window says what the client holds."""
        subscription, former = ask.subscription, ask.group
        assert former.window is not None
        async with self._refresher.turn(former):  # then all of its members have what its window says
            held, unsaid = dict(former.window.held), subscription.unsaid_steps()
            self.leave(subscription)
        subscription.pending, subscription.unsaid = [], None
        group = self._join(ask.stage, subscription, view, ask.access)
        async with self._asking_in_turn(group):
            work = partial(asking.snapshot, ask.stage.planner, view, ask.access.again(), ask.stage.expand_rows, counted=False)
            found = await self._database.read(work)
            if not self._fits(ask, found.position.generation):
                self.leave(subscription)
                return False
            _check_size(view, found.selection)
            steps = [*unsaid, *difference(held, found.selection, found.position.seq)]
            await self._arrive(ask.listener, subscription, group, found, steps)
        return True

    async def _arrive(
        self, listener: Listener, subscription: Subscription, group: Group, found: asking.Snapshot, steps: list[Step]
    ) -> None:
        """Send the steps that lead to an answer, and go on from there."""
        seq = found.position.seq
        delta = Delta(steps, tokens.place(found.position.epoch, seq, found.position.nonce))
        listener.deliver(subscription, delta)
        if group.window is None:
            self._recount(group, len(found.selection.keys), seq, subscription)
        subscription.settle(seq)
        await self._refresher.take(group, found, subscription)

    # --- places in views

    def leave(self, subscription: Subscription) -> None:
        """Out of its view, which is forgotten with its last member."""
        group = subscription.group
        if group is None:
            return
        view = group.view
        view.leave(subscription)
        if not group.members:
            self._refresher.forget(group)
        if not view.groups:
            self._pump.stage.registry.remove(view)

    def _enter(self, stage: Stage, subscription: Subscription, question: Question, access: Access) -> Group:
        subscription.pending, subscription.unsaid = [], None
        return self._join(stage, subscription, self._view(stage, question, access, required=True), access)

    def _join(self, stage: Stage, subscription: Subscription, view: View, access: Access) -> Group:
        standing = stage.registry.views.get(view.key)  # another may have brought it in meanwhile
        if standing is None:
            stage.registry.add(view)
        return (standing or view).join(subscription, access)

    def _replace(self, subscription: Subscription, entrant: Subscription, group: Group) -> None:
        """Let a subscription stand where `entrant` stands, with what was kept aside for that."""
        self.leave(subscription)
        subscription.pending, subscription.unsaid = entrant.pending, None
        subscription.group = group
        group.members[subscription] = None
        group.members.pop(entrant, None)

    def _view(self, stage: Stage, question: Question, access: Access, *, required: bool) -> View:
        """The view of this question and these rights: one that stands, or a new one that nobody is in yet.

        required: whether a collection that is closed to the caller is an error; else it shows nothing.
        """
        planner, name = stage.planner, question.collection.name
        read = planner.book.of(name).read
        if required:
            access.require(read, name)
        where = planner.book.where(name, question.asked.where) if question.asked.where else None
        rules: tuple[Rule, ...] = () if access.as_admin or read.constant is True else (read,)
        if where is not None and where.constant is not True:
            rules = (*rules, where)
        targets = tuple(planner.book.of(each.collection).read for each in question.asked.expand)
        audiences = stage.audiences(rules, () if access.as_admin else targets)
        shape = tuple(audience.shape(access.auth) for audience in audiences)
        ip = access.ip if any("ip" in audience.request_fields for audience in audiences) else None
        key = (question.key, access.as_admin, shape, ip)
        view = stage.registry.views.get(key)
        if view is None:
            texts = (question.key, access.as_admin, read.text, *(rule.text for rule in targets), stage.generation, ip)
            prepared = planner.prepare_list(question.collection, question.asked)
            view = View(key, question, prepared, rules, audiences, shape, texts)
        return view

    @asynccontextmanager
    async def _asking_in_turn(self, group: Group) -> AsyncIterator[None]:
        async with self._refresher.turn(group):
            with group.window.being_asked() if group.window is not None else nullcontext():
                yield

    def _fits(self, ask: _Ask, generation: int) -> bool:
        return ask.stage is self._pump.stage and ask.fits(generation)

    @contextmanager
    def _busy(self, subscription: Subscription) -> Iterator[None]:
        done = self._asking[subscription] = asyncio.Event()
        try:
            yield
        finally:
            done.set()
            self._asking.pop(subscription, None)
            if not self._asking:
                self._idle()


def _check_size(view: View, selection: Selection | None, total: int | None = None) -> None:
    """Raise AlyxError RESULT_TOO_LARGE for a view without a limit that has more rows than one may have."""
    most = view.question.asked.limit
    if not view.question.limited and ((selection is not None and selection.more) or (total or 0) > most):
        raise too_large(most)


def _access(client: Client, question: Question) -> Access:
    return Access(client.identity, ip=client.ip, as_admin=question.as_admin)
