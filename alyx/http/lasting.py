"""A connection that outlives its request: what WebSockets and event streams have in common.

Made by the routes of `realtime`, given the transport by `connection` once the head of the answer is said. From then on nothing of
HTTP is kept, so that ten thousand idle subscribers cost little. It owns the bytes on their way out: they leave at the end of
the loop's pass together with all others', and the session is told when a client that lagged has caught up. It never reads
what it carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from math import inf
from typing import Any, Final

from alyx.http.outbox import Round
from alyx.realtime.outlet import Session

QUIET: Final = 25.0
"""Seconds of silence after which a client is asked, or shown, that the line is alive."""
STALL: Final = 20.0
"""Seconds for which a client may take no byte while something waits for it."""
LEAST: Final = 1_024
"""Bytes per second that a client takes at least, over a minute in which more waits for it than may wait for any slow one."""
FAREWELL: Final = 3.0
"""Seconds that a client has to take the last bytes and to go."""
_MOST: Final = 65_536
"""Bytes that wait for the end of the pass; more are handed on at once, so that the transport can say when it holds them."""

_MINUTE: Final = 60.0

_log = logging.getLogger("alyx.http")


class _Nowhere:
    """Where bytes wait before there is a connection: nobody writes them."""

    def add_lasting(self, connection: object) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class Lasting(asyncio.Protocol):
    """The server's side of such a connection; `realtime.outlet.Outlet` with what the transport asks of a protocol.

    session: set by whoever makes the connection, at the latest in `begin`.
    """

    __slots__ = (
        "_asked",
        "_blocked",
        "_connections",
        "_due",
        "_ending",
        "_given",
        "_lost",
        "_marked",
        "_moved",
        "_progress",
        "_round",
        "_since",
        "_transport",
        "_unsaid",
        "session",
    )

    def __init__(self) -> None:
        self.session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._connections: set[Any] | None = None
        self._round: Round | _Nowhere = _NOWHERE
        self._unsaid = b""
        self._ending = False
        self._lost = False
        # Whether the transport holds bytes; then how many it was given meanwhile, how many of them it got rid of, and when.
        self._blocked = False
        self._given = 0
        self._progress = 0
        self._moved = 0.0
        # When a minute began, and how many bytes it had got rid of then.
        self._marked = (inf, 0)
        # Whether the session has seen that something waits, and so has to hear when nothing does.
        self._asked = False
        self._since = 0.0
        self._due = inf

    # --- taking over from HTTP

    def adopt(self, transport: asyncio.Transport, around: Round, connections: set[Any], unsaid: bytes, behind: bytes) -> None:
        """Carry on with a connection whose head has been made.

        around: the loop's pass. connections: the server's, which this joins and leaves. unsaid: what HTTP had not written yet.
        behind: what the client sent behind its request.
        """
        self._transport = transport
        self._connections = connections
        connections.add(self)
        # With no room in the transport, it says at once when the kernel does not take everything.
        transport.set_write_buffer_limits(high=0, low=0)
        transport.set_protocol(self)
        if transport.get_write_buffer_size():
            self.pause_writing()  # it was said to whoever had the connection before, and is not said twice
        waiting, self._unsaid = self._unsaid, b""
        self._round = around
        self.say(unsaid + waiting)
        if self._ending:
            self._finish()
        else:
            self.begin(behind)

    def begin(self, behind: bytes) -> None:
        """The connection stands. behind: what the client has sent already."""

    def drop(self) -> None:
        """The client went away before the connection could be taken over."""
        self._ending = True
        self._tell_lost()

    # --- the outlet

    def say(self, piece: bytes) -> None:
        """Have bytes written at the end of the pass."""
        if self._unsaid:
            self._unsaid += piece
        else:
            self._unsaid = piece
            self._round.add_lasting(self)
        if len(self._unsaid) > _MOST:
            self.flush()

    def buffered(self) -> int:
        """Bytes that were handed over and that the kernel has not taken yet."""
        waiting = len(self._unsaid)
        if self._blocked and self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        if waiting:
            self._asked = True
        return waiting

    def close(self, code: int, reason: str) -> None:
        """End the connection; what was handed over before still goes out, if the client takes it soon."""
        if not self._ending:
            self._ending = True
            if self._transport is not None:
                self._finish()

    def _finish(self) -> None:
        """Say the last bytes and go."""
        self.flush()
        self._leave()

    def _leave(self) -> None:
        """Close when the last bytes are out, or when the time for that is over."""
        self._set_due()
        if self._transport is not None:
            self._transport.close()

    def _set_due(self) -> None:
        self._ending = True
        if self._due == inf:
            self._due = asyncio.get_running_loop().time() + FAREWELL

    def flush(self) -> None:
        """Called at the end of the pass: write what waits."""
        transport = self._transport
        if transport is None:
            return
        data, self._unsaid = self._unsaid, b""
        if data and not transport.is_closing():
            if self._blocked:
                self._given += len(data)
            transport.write(data)
        if self._asked and not self._blocked:
            self._tell_drained()

    # --- what the transport tells

    def pause_writing(self) -> None:
        """The kernel has not taken everything."""
        self._blocked = True
        self._given = self._transport.get_write_buffer_size() if self._transport is not None else 0
        self._progress = 0
        self._moved = 0.0
        self._marked = (inf, 0)

    def resume_writing(self) -> None:
        """The kernel has everything now."""
        self._blocked = False
        if self._unsaid:
            self._asked = True
        else:
            self._tell_drained()

    def eof_received(self) -> bool:
        """The client says no more: for us that is the end."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ending = True
        if self._connections is not None:
            self._connections.discard(self)
        self._tell_lost()
        self._transport = self._connections = None
        self._round = _NOWHERE
        self._unsaid = b""

    # --- what the session hears

    def _tell_drained(self) -> None:
        self._asked = False
        if self.session is not None and not self._ending:
            self.guard(self.session.drained)

    def _tell_lost(self) -> None:
        session, self.session = self.session, None
        if session is not None and not self._lost:
            self._lost = True
            self.guard(session.lost)

    def guard(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call a session; a fault there ends this connection and no other."""
        try:
            call(*arguments)
        except Exception as error:
            _log.error("a live connection failed", exc_info=error)
            self.close(1011, "a fault of the server")

    # --- the server's sweep and its end

    def check(self, now: float) -> None:
        """Called by the sweep, about once a second. now: the loop's time."""
        transport = self._transport
        if transport is None:
            return
        if self._ending:
            if now >= self._due:
                transport.abort()
        elif self._blocked:
            self._check_progress(transport, now)
        else:
            self.keep_alive(now)

    def _check_progress(self, transport: asyncio.Transport, now: float) -> None:
        waiting = transport.get_write_buffer_size()
        progress = self._given - waiting
        self._check_rate(progress, waiting, now)
        if progress > self._progress or not self._moved:
            self._progress = progress
            self._moved = now
        elif now - self._moved > STALL:
            self.close(4408, "the client takes nothing")

    def _check_rate(self, progress: int, waiting: int, now: float) -> None:
        since, before = self._marked
        if waiting <= _MOST or since == inf:
            self._marked = (now if waiting > _MOST else inf, progress)
        elif now - since >= _MINUTE:
            self._marked = (now, progress)
            if progress - before < LEAST * _MINUTE:
                self.close(4408, "the client takes too little")

    def keep_alive(self, now: float) -> None:
        """Called by the sweep while nothing waits: say that the line is alive where it is time for that."""

    def shutdown(self) -> None:
        """The server stops."""
        self.close(1001, "the server stops")

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _half_close(self, transport: asyncio.Transport) -> None:
        """Say that no more comes, and let the client's last bytes run out: closing at once would make the kernel answer them with
        a reset, which can overtake what was said."""
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone already
            transport.write_eof()
