"""What one connection has yet to hear: a bounded queue, merged while it waits (contract §5, back-pressure).

Base of the WebSocket session and of the event stream. Nothing is queued while the client keeps up; else deltas of a subscription
are folded into one, and where even that is too much the connection is closed, so that its client resumes. No I/O: it talks to an
Outlet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from alyx.base.errors import AlyxError
from alyx.realtime.deltas import Delta, merge
from alyx.realtime.outlet import Client, Outlet
from alyx.realtime.views import Subscription
from alyx.realtime.wire import Wire

FREE: Final = 16_384
"""Bytes that may be on their way to a client before its deltas wait here."""
WAITING: Final = 49_152
"""Bytes of deltas that may wait here besides; folded, if there are more."""
_MOST: Final = 1_048_576
"""Bytes of large messages that may be under way one behind another."""
SLOW: Final = 4408


class Listener:
    """One connection's subscriptions and queue. client: who it is now. queued: bytes that wait here."""

    def __init__(self, outlet: Outlet, wire: Wire, client: Client) -> None:
        self.client = client
        self.subscriptions: dict[str, Subscription] = {}
        self.queued = 0
        self.closed = False
        self._outlet = outlet
        self._wire = wire
        self._behind: dict[Subscription, None] = {}
        self._large = 0
        """Bytes of the last message that went out on a free line."""
        self._calls: list[Callable[[], None]] = []

    # --- what the views give

    def deliver(self, subscription: Subscription, delta: Delta) -> None:
        """Send a delta, or keep it until the client has taken what was sent before."""
        if self.closed or not delta.steps:
            return
        if self._behind or not self.is_free():
            subscription.waiting.append(delta)
            self._behind[subscription] = None
            self.queued += delta.size
            if self.queued > WAITING:
                self._compact()
            return
        self._say(self._wire.delta(subscription.id_bytes, delta, subscription.mark))

    def snapshot(
        self, message_id: object, subscription: Subscription, texts: Sequence[str], total: int, place: str, *, reset: bool
    ) -> None:
        """Send all documents of a view; what waited for it is in them."""
        self.forget(subscription)
        if not self.closed:
            cursor = place + subscription.mark.decode()
            self._say(self._wire.snapshot(message_id, subscription.id, texts, total, cursor, reset=reset))

    def resumed(self, message_id: object, subscription: Subscription, cursor: str) -> None:
        """Say that a token was good."""
        if not self.closed:
            self._say(self._wire.resumed(message_id, subscription.id, cursor))

    def fail(self, message_id: object, error: AlyxError, subscription: Subscription | None = None) -> None:
        """Say what went wrong. subscription: the one that has ended by it."""
        extra = {} if error.hint is None else {"hint": error.hint}
        if subscription is not None:
            extra["subscription_id"] = subscription.id
        if not self.closed:
            self._say(self._wire.error(message_id, error.code, error.message, extra))

    def _say(self, data: bytes) -> None:
        """Send, and remember how much may be under way for it: what goes out on a free line may be large, and takes its time."""
        if self._outlet.buffered() <= FREE:
            self._large = len(data)
        elif len(data) > FREE:  # such as what has changed in a channel, right behind its list of members
            self._large = min(self._large + len(data), max(self._large, _MOST))
        self._outlet.send(data)

    # --- the queue

    def drained(self) -> None:
        """The client has taken everything: what waits goes out, as one delta for each subscription."""
        self._call()
        while self._behind and not self.closed and self._outlet.buffered() <= FREE:
            subscription = next(iter(self._behind))
            waiting = subscription.waiting
            self.forget(subscription)
            delta = waiting[0] if len(waiting) == 1 else merge(waiting)
            if delta.steps:
                self._say(self._wire.delta(subscription.id_bytes, delta, subscription.mark))

    def is_free(self) -> bool:
        """Whether the client has taken what it was sent, or is gone: a large answer is not made for one who does not read."""
        return self.closed or self._outlet.buffered() <= FREE

    def when_free(self, call: Callable[[], None]) -> None:
        """Call this once, when `is_free` may have become true."""
        self._calls.append(call)

    def end(self) -> None:
        """The connection is gone."""
        self.closed = True
        self._call()

    def _call(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    def forget(self, subscription: Subscription) -> None:
        """Drop what waits for a subscription."""
        if subscription in self._behind:
            del self._behind[subscription]
            self.queued -= sum(delta.size for delta in subscription.waiting)
            subscription.waiting = []

    def close(self, code: int, reason: str) -> None:
        """End the connection from this side."""
        if not self.closed:
            self.closed = True
            self._behind.clear()
            self.queued = 0
            self._outlet.close(code, reason)
            self._call()

    def is_flooded(self) -> bool:
        """Whether the client asks without reading; then it is closed."""
        if self._outlet.buffered() > WAITING + FREE + self._large:
            self.close(SLOW, "too much waits to be read")
        return self.closed

    def _compact(self) -> None:
        """Merge what waits; too much even so ends the connection, and its client resumes when it is faster."""
        self.queued = 0
        for subscription in self._behind:
            subscription.waiting = [merge(subscription.waiting)]
            self.queued += subscription.waiting[0].size
        if self.queued > WAITING:
            self.close(SLOW, "the client reads too slowly")
