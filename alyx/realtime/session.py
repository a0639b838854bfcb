"""One WebSocket connection's side of the protocol (contract §5): messages in, answers out, in the order in which they came.

Made by `live` for each connection; the transport calls `receive`, `drained` and `lost`. It judges the form of messages and leaves
what they mean to `live` and `channels`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from alyx.base import ids
from alyx.base.bucket import Bucket
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.base.units import Rate
from alyx.database.work import DatabaseError
from alyx.realtime import wire
from alyx.realtime.listener import Listener
from alyx.realtime.messages import Message, Unreadable, read_message
from alyx.realtime.outlet import Client, Outlet
from alyx.realtime.rooms import Party
from alyx.realtime.settings import Settings
from alyx.realtime.views import Subscription

TOO_MANY: Final = 4429
PROTOCOL: Final = 1
_INBOX = 262_144
"""Characters of messages that may wait behind one that takes long."""
_PING = 256
"""Characters of a message that is looked at at once, as it may be a ping."""
_log = logging.getLogger("alyx.realtime")


class Channels(Protocol):
    """Presence and broadcast, as a session needs them."""

    async def receive(self, party: Party, kind: str, message_id: str | None, payload: Mapping[str, Any]) -> None:
        """One of join, leave, state, broadcast."""
        ...

    def gone(self, party: Party) -> None:
        """The connection is lost."""
        ...

    async def judge_again(self, party: Party) -> None:
        """The party is somebody else now."""
        ...

    def elsewhere_changed(self, collections: set[str]) -> None:
        """Records have changed that rules of channels look at."""
        ...

    @property
    def watched(self) -> frozenset[str]:
        """The collections that rules of channels look into."""
        ...


class Live(Protocol):
    """What a session asks of `live`."""

    async def subscribe(self, listener: Listener, payload: Mapping[str, Any], message_id: object, since: str | None) -> None:
        """Read the question, send its snapshot, and deltas from then on. Raises AlyxError."""
        ...

    def unsubscribe(self, listener: Listener, subscription: Subscription) -> None:
        """No more deltas."""
        ...

    def hold_back(self, listener: Listener) -> None:
        """Send nothing more by the rights of now."""
        ...

    async def become(self, listener: Listener) -> None:
        """Judge all subscriptions anew for who the client is now."""
        ...

    def disconnected(self, session: Session) -> None:
        """The connection is gone."""
        ...


async def room(listener: Listener) -> None:
    """Wait until a client has taken what it was sent, or is gone."""
    while not listener.is_free():
        free = asyncio.Event()
        listener.when_free(free.set)
        await free.wait()


class Session(Listener):
    """A WebSocket connection."""

    def __init__(
        self,
        live: Live,
        outlet: Outlet,
        client: Client,
        settings: Settings,
        authenticate: Callable[[str], tuple[Identity, float | None]],
        channels: Channels | None,
    ) -> None:
        """authenticate: a token -> who it names and when it ends; raises AlyxError UNAUTHORIZED or TOKEN_EXPIRED."""
        super().__init__(outlet, wire.Frames(), client)
        self.client_id = ids.random_id()
        self._live = live
        self._settings = settings
        self._authenticate = authenticate
        self._channels = channels
        self._inbox: deque[str] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._allowed = _Allowance(settings.messages) if settings.messages is not None else None

    # --- as a party of channels

    @property
    def identity(self) -> Identity:
        """Who it is now."""
        return self.client.identity

    @property
    def ip(self) -> str:
        """The client's address."""
        return self.client.ip

    def send(self, message: bytes) -> None:
        """Send a message that nobody repeats; a client that does not read is closed rather than waited for."""
        if not self.is_flooded():
            self._say(message)

    # --- what the transport tells

    def greet(self) -> None:
        """The first message."""
        self.send(wire.message("connected", {"client_id": self.client_id, "protocol": PROTOCOL}))

    def receive(self, text: str) -> None:
        """One message of the client; see outlet.Session."""
        if self.is_flooded():
            return
        if self._allowed is not None and not self._allowed.take(asyncio.get_running_loop().time()):
            if self._allowed.is_abused:
                self.close(TOO_MANY, "too many messages")
            else:
                self.fail(None, AlyxError("RATE_LIMITED", "Too many messages; this one was not read."))
            return
        if '"ping"' in text and len(text) < _PING and self._pong(text):
            return
        self._waiting += len(text)
        if self._waiting > _INBOX:
            self.close(TOO_MANY, "too many messages wait")
            return
        # As text: what it says may take many times as much memory, and nobody needs it before its turn.
        self._inbox.append(text)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def _pong(self, text: str) -> bool:
        """Answer a ping at once, so that a client which waits for a long answer knows that the line stands."""
        try:
            message = read_message(text)
        except Unreadable:
            return False
        if message.kind != "ping":
            return False
        self.send(wire.message("pong", None, message.id))
        return True

    def lost(self) -> None:
        """The connection is gone; see outlet.Session."""
        self.end()
        self._inbox.clear()
        if self._task is not None:
            self._task.cancel()
        if self._channels is not None:
            self._channels.gone(self)
        self._live.disconnected(self)

    # --- one message after another

    async def _work(self) -> None:
        try:
            while self._inbox and not self.closed:
                await room(self)
                if self.closed:
                    return
                text = self._inbox.popleft()
                self._waiting -= len(text)
                await self._answer(text)
        finally:
            self._task = None

    async def _answer(self, text: str) -> None:
        try:
            message = read_message(text)
        except Unreadable as unreadable:
            self.fail(unreadable.id, unreadable.error)
            return
        try:
            if message.kind not in _KINDS:
                raise AlyxError("INVALID_MESSAGE", "There is no such type of message.", hint=_KNOWN)
            await _KINDS[message.kind](self, message)
        except AlyxError as error:
            self.fail(message.id, error)
        except DatabaseError as error:
            _log.warning("the database refused a %s: %s", message.kind, error)
            self.fail(message.id, AlyxError("OVERLOADED", "The database could not answer now; try again."))
        except Exception:
            _log.exception("a message of type %s failed", message.kind)
            self.fail(message.id, AlyxError("INTERNAL", "Something went wrong in the server."))

    async def _ping(self, message: Message) -> None:
        self.send(wire.message("pong", None, message.id))

    async def _subscribe(self, message: Message) -> None:
        if len(self.subscriptions) >= self._settings.max_subscriptions:
            text = f"A connection may have {self._settings.max_subscriptions} subscriptions."
            raise AlyxError("SUBSCRIPTION_LIMIT_REACHED", text)
        since = message.payload.get("since")
        await self._live.subscribe(self, message.payload, message.id, since if isinstance(since, str) else None)

    async def _unsubscribe(self, message: Message) -> None:
        wanted = message.payload.get("subscription_id")
        if not isinstance(wanted, str):
            raise AlyxError("INVALID_PAYLOAD", "subscription_id must be a text.")
        subscription = self.subscriptions.get(wanted)
        if subscription is None:
            raise AlyxError("INVALID_PAYLOAD", "There is no such subscription.")
        self._live.unsubscribe(self, subscription)
        self.send(wire.message("unsubscribed", {"subscription_id": wanted}, message.id))

    async def _auth(self, message: Message) -> None:
        if "token" not in message.payload:
            raise AlyxError("INVALID_PAYLOAD", "token is missing; null signs out.")
        token = message.payload["token"]
        if token is not None and not isinstance(token, str):
            raise AlyxError("INVALID_PAYLOAD", "token must be a text, or null to sign out.")
        identity, expires = (ANONYMOUS, None) if token is None else self._verified(token)
        client = Client(identity, expires, self.client.ip, self.client.request_id)
        self._live.hold_back(self)
        self.client = client
        self.send(wire.message("authenticated", {"user_id": identity.id}, message.id))
        try:
            await self._live.become(self)
        finally:
            if self._channels is not None:
                await self._channels.judge_again(self)

    def _verified(self, token: str) -> tuple[Identity, float | None]:
        try:
            return self._authenticate(token)
        except AlyxError as error:
            raise AlyxError("UNAUTHORIZED", error.message, hint=error.hint) from None

    async def _channel(self, message: Message) -> None:
        if self._channels is None:
            raise AlyxError("FORBIDDEN", "That channel is not open to you.")
        await self._channels.receive(self, message.kind, message.id, message.payload)


_KINDS: dict[str, Callable[[Session, Message], Awaitable[None]]] = {
    "ping": Session._ping,
    "auth": Session._auth,
    "subscribe": Session._subscribe,
    "unsubscribe": Session._unsubscribe,
    "join": Session._channel,
    "leave": Session._channel,
    "state": Session._channel,
    "broadcast": Session._channel,
}
_KNOWN = f"Known: {', '.join(sorted(_KINDS))}."


class _Allowance:
    """The messages that a client may send. is_abused: it goes on although it is told."""

    def __init__(self, rate: Rate) -> None:
        self._bucket = Bucket(rate.count / rate.seconds, float(rate.count))
        self._patience = 2 * rate.count
        self._refused = 0

    @property
    def is_abused(self) -> bool:
        return self._refused > self._patience

    def take(self, now: float) -> bool:
        taken = self._bucket.take(now)
        self._refused = 0 if taken else self._refused + 1
        return taken
