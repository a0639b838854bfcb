"""Hands one text to many connections without holding up the loop. Pure: the loop's `call_later` and the clock are given.

What is handed over keeps its order. Whoever has gone in the meantime gets nothing more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

AT_ONCE = 64
"""A text for no more receivers than these goes out in the same step, if nothing else waits."""
SLICE = 0.001
"""Seconds of work after which the loop is let go."""
MOST_WAITING = 200_000
"""Texts, one for each receiver, that may wait before `full` says so."""
MOST_BYTES = 32 * 2**20
"""Bytes of texts, counted once however many receive them, that may wait before `full` says so."""
_STEP = 32

CallLater: TypeAlias = Callable[[float, Callable[[], None]], object]


class Receiver(Protocol):
    """Somebody who may have gone when it is their turn."""

    live: bool

    def send(self, text: bytes) -> None:
        """Take a text; returns at once."""
        ...


class Fanout:
    """A queue of texts with their receivers."""

    def __init__(self, call_later: CallLater, now: Callable[[], float]) -> None:
        """now: seconds of a clock that only goes forward."""
        self._call_later = call_later
        self._now = now
        self._queue: deque[tuple[bytes, Sequence[Receiver]]] = deque()
        self._done = 0
        self._bytes = 0
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether so much waits that no more should be taken of what may be lost."""
        return self._is_beyond(1)

    @property
    def overfull(self) -> bool:
        """Whether twice that much waits, so that what can wait elsewhere should. Broadcasts end at the half: however many come,
        they leave room for what nobody may miss."""
        return self._is_beyond(2)

    def push(self, text: bytes, receivers: Sequence[Receiver]) -> None:
        """Send a text to all of them. The sequence must not change any more."""
        if not receivers:
            return
        if not self._queue and len(receivers) <= AT_ONCE:
            _send(text, receivers)
            return
        self._queue.append((text, receivers))
        self.waiting += len(receivers)
        self._bytes += len(text)
        if len(self._queue) == 1:
            self._call_later(0, self._work)

    def _is_beyond(self, times: int) -> bool:
        return self.waiting >= times * MOST_WAITING or self._bytes >= times * MOST_BYTES

    def _work(self) -> None:
        until = self._now() + SLICE
        while self._queue:
            text, receivers = self._queue[0]
            part = receivers[self._done : self._done + _STEP]
            _send(text, part)
            self._done += len(part)
            self.waiting -= len(part)
            if self._done >= len(receivers):
                self._queue.popleft()
                self._done = 0
                self._bytes -= len(text)
            if self._queue and self._now() >= until:
                self._call_later(0, self._work)
                return


def _send(text: bytes, receivers: Sequence[Receiver]) -> None:
    for receiver in receivers:
        if receiver.live:
            receiver.send(text)
