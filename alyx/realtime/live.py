"""Live queries of one process: connections, their questions, and the tasks that keep them true (design «Realtime»).

Made by `app`, called by the routes of `http`. Joins the parts: a question becomes a place in a view, a snapshot and its number in
the change log come from one read transaction, the pump judges what comes after, the refresher asks anew where images cannot say.
The promise is in contract §5, the reasons in DESIGN.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from alyx.base import clock, ids
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.database.work import DatabaseError
from alyx.realtime import question
from alyx.realtime.asker import Asker
from alyx.realtime.deltas import Delta
from alyx.realtime.listener import Listener
from alyx.realtime.outlet import Client, Outlet
from alyx.realtime.places import Places
from alyx.realtime.pump import Pump
from alyx.realtime.refresher import Refresher
from alyx.realtime.session import TOO_MANY, Channels, Session, room
from alyx.realtime.settings import Settings
from alyx.realtime.stage import Database, Stage
from alyx.realtime.views import Group, Subscription, too_large
from alyx.realtime.wire import Events
from alyx.records.limits import Limits
from alyx.records.plan import Planner

GONE = 1001
EXPIRED = 4401
LATE = 10.0
"""Seconds of lag from which on /health tells of it."""
BEAT = 0.5
"""Seconds between two looks at tokens that end."""
_log = logging.getLogger("alyx.realtime")
_audit = logging.getLogger("alyx.audit")


class Live:
    """All live queries of one process. Everything is called on one event loop."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        authenticate: Callable[[str], tuple[Identity, float | None]],
        planner: Planner,
        limits: Limits,
        channels: Channels | None = None,
    ) -> None:
        """authenticate: a token -> who it names and when it ends (Unix seconds). planner: of the schema that is served."""
        self._database = database
        self._settings = settings
        self._authenticate = authenticate
        self._limits = limits
        self._channels = channels
        self._listeners: dict[Listener, None] = {}
        self._places = Places(settings)
        stage = self._stage_of(planner)
        self._refresher = Refresher(database, settings.pause, tell=self._tell, failed=self._failed)
        self._refresher.stage = stage
        self._pump = Pump(
            database,
            stage,
            stale=self._refresher.stale,
            grown=self._grown,
            lost=self._start_over,
            heard=self._heard,
            expected=self._refresher.expect,
        )
        self._asker = Asker(database, self._pump, self._refresher, idle=self._rest)
        self._counting: set[Group] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shut = False

    # --- connections

    def connect(self, outlet: Outlet, client: Client) -> Session:
        """A WebSocket. Where a limit is reached, or the server stops, it is closed at once."""
        session = Session(self, outlet, client, self._settings, self._authenticate, self._channels)
        if self._shut:
            session.close(GONE, "the server stops")
        elif (reason := self._places.take(session, client)) is not None:
            session.close(TOO_MANY, reason)
        else:
            self._listeners[session] = None
            session.greet()
        return session

    async def stream(
        self, outlet: Outlet, client: Client, collection: str, query: str, since: str | None, as_admin: bool
    ) -> EventStream:
        """An event stream of one list. query: its URL's, less `since` and `ticket`. Raises AlyxError before anything is sent."""
        if self._shut:
            raise AlyxError("OVERLOADED", "The server stops.", retry_after=1)
        stream = EventStream(self, outlet, client)
        reason = self._places.take(stream, client)
        if reason is not None:
            raise AlyxError("RATE_LIMITED", f"This is one connection too many: {reason}.", retry_after=5)
        self._listeners[stream] = None
        try:
            read = partial(self._read_url, collection, query, as_admin)
            await self._begin(stream, read, None, since)
        except BaseException:
            self.disconnected(stream)
            raise
        return stream

    def _read_url(self, collection: str, query: str, as_admin: bool) -> question.Question:
        return question.parse_url(self._pump.stage.planner.schema, collection, query, self._limits, as_admin=as_admin)

    async def subscribe(self, listener: Listener, payload: Mapping[str, Any], message_id: object, since: str | None) -> None:
        """One more question of a WebSocket; see session.Live."""

        def read() -> question.Question:
            return question.parse(self._pump.stage.planner.schema, payload, self._limits)

        self._audit_admin(listener.client, payload.get("as_admin") is True, str(payload.get("collection"))[:64])
        try:
            await self._begin(listener, read, message_id, since)
        except AlyxError as error:
            raise _as_filter(error) from None

    async def _begin(
        self,
        listener: Listener,
        read: Callable[[], question.Question],
        message_id: object,
        since: str | None,
    ) -> None:
        subscription = Subscription(ids.random_id(), listener, read)
        subscription.question = read()
        listener.subscriptions[subscription.id] = subscription
        try:
            await self._asker.ask(subscription, listener, message_id, since, reset=False)
        except BaseException:
            self.unsubscribe(listener, subscription)
            raise

    def unsubscribe(self, listener: Listener, subscription: Subscription) -> None:
        """No more deltas for it."""
        subscription.closed = True
        listener.subscriptions.pop(subscription.id, None)
        listener.forget(subscription)
        self._asker.leave(subscription)
        self._rest()

    def hold_back(self, listener: Listener) -> None:
        """Send nothing more by the rights that a connection has had so far."""
        for subscription in listener.subscriptions.values():
            waiting = subscription.waiting
            listener.forget(subscription)
            subscription.hold_back(waiting)

    async def become(self, listener: Listener) -> None:
        """Judge all subscriptions of a connection that are held back anew, for who its client is now."""
        for subscription in list(listener.subscriptions.values()):
            question = subscription.question
            if subscription.closed or question is None:
                continue
            self._audit_admin(listener.client, question.as_admin, question.collection.name)
            try:
                await self._asker.move(subscription, listener)
            except AlyxError as error:
                self._end(subscription, error)
            except Exception:  # with the former rights it must not go on
                _log.exception("a live query could not be judged anew")
                self._end(subscription, AlyxError("OVERLOADED", "The live query could not be judged anew; subscribe again."))

    def disconnected(self, listener: Listener) -> None:
        """The connection is gone."""
        listener.end()
        self._listeners.pop(listener, None)
        self._places.give_back(listener)
        for subscription in list(listener.subscriptions.values()):
            self.unsubscribe(listener, subscription)

    # --- the life of it

    async def start(self) -> None:
        """Begin to follow and to look after tokens."""
        self._follow_for_channels()
        self._spawn(self._pump.run())
        self._spawn(self._refresher.run())
        self._spawn(self._look_after())

    def shut(self) -> None:
        """Take no new connections: the server stops. Those that are open are closed by the transport."""
        self._shut = True

    async def stop(self) -> None:
        """End all tasks."""
        self._shut = True
        self._pump.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._refresher.stop()

    def serve(self, planner: Planner, limits: Limits, channels: Channels | None = None) -> None:
        """Another schema or other rules are in force: every subscription gets a snapshot with `reset`, unless nothing differs."""
        self._channels = channels
        former, stage = self._pump.stage, self._stage_of(planner)
        same = (stage.planner.schema, stage.generation, limits) == (former.planner.schema, former.generation, self._limits)
        if same and stage.generation is not None:
            return
        self._limits = limits
        self._enter(stage)

    def _stage_of(self, planner: Planner) -> Stage:
        try:
            reader = self._database.feed()
        except DatabaseError:  # not open yet, or busy; the pump finds it out when somebody listens
            return Stage(planner, self._limits.expand_rows, None)
        generation = reader.position.generation
        reader.close()
        return Stage(planner, self._limits.expand_rows, generation)

    def _start_over(self) -> None:
        """The history has a gap: everybody gets a snapshot with `reset`."""
        self._enter(self._stage_of(self._pump.stage.planner))

    def _enter(self, stage: Stage) -> None:
        self._pump.close()
        self._pump.stage = self._refresher.stage = stage
        self._refresher.clear()
        self._follow_for_channels()
        waiting = []
        for listener in list(self._listeners):
            for subscription in listener.subscriptions.values():
                listener.forget(subscription)
                subscription.group = None
                subscription.pending = []
                if not self._asker.asks(subscription):
                    waiting.append((listener, subscription))
        if waiting:
            self._spawn(self._ask_all(stage, waiting))

    async def _ask_all(self, stage: Stage, waiting: list[tuple[Listener, Subscription]]) -> None:
        slow: dict[Listener, list[Subscription]] = {}
        for listener, subscription in waiting:
            if listener in slow or not listener.is_free():
                slow.setdefault(listener, []).append(subscription)
            else:
                await self._ask_again(stage, listener, subscription)
                await asyncio.sleep(0)
        for listener, subscriptions in slow.items():  # nobody waits for those who do not read
            self._spawn(self._ask_slowly(stage, listener, subscriptions))

    async def _ask_slowly(self, stage: Stage, listener: Listener, subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            await room(listener)
            await self._ask_again(stage, listener, subscription)

    async def _ask_again(self, stage: Stage, listener: Listener, subscription: Subscription) -> None:
        """Send a snapshot with `reset`, unless somebody else has done so meanwhile."""
        taken = subscription.closed or self._asker.asks(subscription) or subscription.group is not None
        if taken or stage is not self._pump.stage:
            return
        try:
            await self._asker.ask(subscription, listener, None, None, reset=True)
        except AlyxError as error:
            self._end(subscription, error)
        except Exception:
            _log.exception("a live query could not start over")
            self._end(subscription, AlyxError("OVERLOADED", "The live query could not be asked again; subscribe anew."))

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            now = clock.seconds()
            for listener in list(self._listeners):
                expires = listener.client.expires
                if expires is not None and expires <= now:
                    listener.close(EXPIRED, "the token has expired")

    def _rest(self) -> None:
        """Stop following the feed when nobody listens any more."""
        if not self._pump.stage.registry.views and not self._asker.is_busy and not self._watched:
            self._pump.close()

    def _follow_for_channels(self) -> None:
        """Rules of channels that look into collections are judged again when these change, whoever listens."""
        if self._watched:
            try:
                self._pump.open()
            except DatabaseError as error:
                _log.warning("changes cannot be followed for channels now: %s", error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the tasks call

    async def _tell(self, group: Group, delta: Delta, newcomer: Subscription | None) -> None:
        await self._pump.tell(group, delta, newcomer)

    @property
    def _watched(self) -> frozenset[str]:
        """The collections that rules of channels look into."""
        return self._channels.watched if self._channels is not None else frozenset()

    def _heard(self, collections: Iterable[str]) -> None:
        changed = self._watched.intersection(collections)
        if changed and self._channels is not None:
            self._channels.elsewhere_changed(set(changed))

    def _grown(self, group: Group) -> None:
        if group not in self._counting:
            self._counting.add(group)
            self._spawn(self._count(group))

    async def _count(self, group: Group) -> None:
        """More rows than a set may have, by the count that was kept; the database knows."""
        try:
            await self._asker.count(group)
            if group.seems_too_large:
                self._failed(group, too_large(group.view.question.asked.limit))
        except DatabaseError as error:  # the next change has it counted again
            _log.warning("a live query could not be counted: %s", error)
        finally:
            self._counting.discard(group)

    def _failed(self, group: Group, error: AlyxError) -> None:
        """A question can no longer be answered. Who has no snapshot yet finds that out by itself."""
        for subscription in list(group.members):
            if subscription.pending is None:
                self._end(subscription, error)

    def _end(self, subscription: Subscription, error: AlyxError) -> None:
        listener = subscription.owner
        assert isinstance(listener, Listener)
        listener.fail(None, error if isinstance(listener, EventStream) else _as_filter(error), subscription)
        self.unsubscribe(listener, subscription)
        if isinstance(listener, EventStream):
            listener.close(GONE, "the live query has ended")

    def _audit_admin(self, client: Client, as_admin: bool, collection: str) -> None:
        if as_admin and client.identity.is_admin:
            who = {"user_id": client.identity.id, "request_id": client.request_id, "collection": collection}
            _audit.info("rules bypassed by an admin in a live query", extra=who)

    # --- numbers

    def numbers(self) -> dict[str, float]:
        """For metrics. All but `_total` are of now."""
        registry, pump = self._pump.stage.registry, self._pump
        return {
            "realtime_connections": float(len(self._listeners)),
            "realtime_subscriptions": float(sum(len(listener.subscriptions) for listener in self._listeners)),
            "realtime_classes": float(len(registry.views)),
            "realtime_groups": float(sum(len(view.groups) for view in registry.views.values())),
            "realtime_changes_total": float(pump.changes),
            "realtime_judgements_total": float(pump.judgements),
            "realtime_requeries_total": float(self._refresher.queries),
            "realtime_requeries_waiting": float(self._refresher.waiting),
            "realtime_deliveries_total": float(pump.deliveries),
            "realtime_queue_bytes": float(sum(listener.queued for listener in self._listeners)),
            "realtime_slow_clients": float(sum(listener.queued > 0 for listener in self._listeners)),
            "changes_lag_seconds": pump.lag,
        }

    def health(self) -> dict[str, Any]:
        """A part of /health. Degraded: changes are told late, or not at all because the tables are of another schema."""
        subscriptions = sum(len(listener.subscriptions) for listener in self._listeners)
        told = {"connections": len(self._listeners), "subscriptions": subscriptions}
        if self._pump.lag > LATE:
            return {"status": "degraded", "reason": "changes reach live queries late", **told}
        return {"status": "healthy", **told}


class EventStream(Listener):
    """An event stream: one subscription, from its URL."""

    def __init__(self, live: Live, outlet: Outlet, client: Client) -> None:
        super().__init__(outlet, Events(), client)
        self._live = live

    def receive(self, text: str) -> None:
        """An event stream hears nothing; see outlet.Session."""

    def lost(self) -> None:
        """The connection is gone; see outlet.Session."""
        self._live.disconnected(self)


def _as_filter(error: AlyxError) -> AlyxError:
    """What the record API calls INVALID_QUERY is INVALID_FILTER over a WebSocket (contract §5)."""
    if error.code != "INVALID_QUERY":
        return error
    return AlyxError("INVALID_FILTER", error.message, hint=error.hint)
