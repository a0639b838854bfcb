"""One request on a connection and the answer to it: ASGI's `receive` and `send` over uvicorn's transport.

Made by `connection`. It replaces uvicorn's own cycle because that one checks every header by two regular expressions and writes
head and body apart, which costs more than all of our own work on a read. Knows no route and no limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from alyx.http.lasting import Lasting
from alyx.http.message import TAKEOVER, WHOLE_BODY

_log = logging.getLogger("alyx.http")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = frozenset((204, 304))
_READS: Final = frozenset(("GET", "HEAD"))


class _Signal:
    """An asyncio.Event for one waiter that makes its future only when somebody waits: most requests never do."""

    __slots__ = ("_future", "_set")

    def __init__(self) -> None:
        self._set = False
        self._future: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        if not self._set:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None


class Exchange(RequestResponseCycle):
    """One request and its answer.

    finished: called once when the answer is complete. default_head: lines such as `date: ...\\r\\n` that every answer carries.
    body, more_body, disconnected, keep_alive, response_complete are shared with the connection, as uvicorn's are.
    lasting: what takes the connection over after this answer, if anything.
    """

    lasting: Lasting | None = None

    def __init__(
        self,
        scope: Any,
        transport: asyncio.Transport,
        flow: FlowControl,
        *,
        default_head: bytes,
        expect_100_continue: bool,
        keep_alive: bool,
        finished: Callable[[Exchange], None],
    ) -> None:
        # uvicorn's own initialiser is left out on purpose: it would make what this class does not use.
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.message_event = _Signal()  # type: ignore[assignment]  # the connection only calls set() on it
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self.task: asyncio.Task[None] | None = None
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self._default_head = default_head
        self._finished: Callable[[Exchange], None] | None = finished
        self._head = b""
        self._chunked = False
        self._left = -1
        self._ended = False

    async def run_asgi(self, app: Any) -> None:
        """Run the application. The edge answers for every error itself, so what is raised here cuts the connection."""
        scope: Any = self.scope
        scope[WHOLE_BODY] = self.whole_body
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.abort()
        except BaseException as error:
            _log.error("the application failed outside of its own error handling", exc_info=error)
            self.transport.abort()
            if not isinstance(error, Exception):
                raise
        else:
            if not self.response_complete and not self.disconnected:
                self.transport.abort()
        finally:
            self._finished = None
            # Else scope and exchange would hold each other, and every request would be left to the garbage collector.
            scope.pop(WHOLE_BODY, None)

    @property
    def is_read(self) -> bool:
        """Whether the request changes nothing, by its method (RFC 9110 §9.2.1)."""
        return self.scope["method"] in _READS

    def abandon(self) -> None:
        """The client has gone: the application hears of it when it asks, and a read that still waits for rows is cancelled, which
        frees its thread of the database. What changes something is never cancelled: it was asked for, and is done to its end."""
        self.disconnected = True
        self.message_event.set()
        if self.task is not None and self.is_read and not self.response_started:
            self.task.cancel()

    async def receive(self) -> Any:
        """ASGI receive: a piece of the body, or http.disconnect when the client went away or the answer is complete."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(CONTINUE)
            self.waiting_for_100_continue = False
        while not self.disconnected and not self.response_complete:
            if self.body or not (self.more_body or self._ended):
                self._ended = not self.more_body
                body, self.body = bytes(self.body), bytearray()
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        return {"type": "http.disconnect"}

    def whole_body(self) -> bytes | None:
        """The body, if all of it is here already and nothing of it was taken: then nobody has to set a deadline for it."""
        if self.more_body or self._ended or self.disconnected:
            return None
        self._ended = True
        body, self.body = bytes(self.body), bytearray()
        return body

    async def send(self, message: Any) -> None:
        """ASGI send. The head waits for the first piece of the body and goes out with it in one write."""
        if self.disconnected:
            if message["type"] == TAKEOVER:
                message["lasting"].drop()
            return
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("the answer was started twice")
            self.response_started = True
            self._start(message["status"], message["headers"])
            return
        if not self.response_started or self.response_complete:
            if message["type"] == TAKEOVER and not self.response_started:
                self._hand_over(message["status"], message["headers"], message["lasting"])
                return
            raise RuntimeError("a piece of the answer came before its start or after its end")
        self._write(message.get("body", b""), message.get("more_body", False))
        if self.flow.write_paused and not self.response_complete:
            await self.flow.drain()

    def _hand_over(self, status: int, headers: list[tuple[bytes, bytes]], lasting: Lasting) -> None:
        """Say a head of our own routes; the connection gives what follows to `lasting`."""
        self.response_started = True
        block = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self.transport.write(STATUS_LINE[status] + self._default_head + block + b"\r\n")
        self.lasting = lasting
        self.response_complete = True
        self.message_event.set()
        if self._finished is not None:
            self._finished(self)

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        lines = [name + b": " + value for name, value in headers]
        block = b"\n".join(lines)
        # One look at the whole block instead of one per header: no value may end its own line.
        if block.count(b"\n") != max(0, len(lines) - 1) or b"\r" in block or b"\0" in block:
            raise RuntimeError("a header of the answer holds a line break")
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        if self.more_body:
            # The rest of the body will not be read; the connection cannot serve another request.
            self.keep_alive = False
        head = STATUS_LINE[status] + self._default_head + block.replace(b"\n", b"\r\n")
        if lines:
            head += b"\r\n"
        if not self.keep_alive:
            head += b"connection: close\r\n"
        bare = self.scope["method"] == "HEAD" or status in _NO_BODY
        if bare:
            self._left = 0
        self._chunked = self._left < 0
        self._head = head

    def _write(self, body: bytes, more: bool) -> None:
        head, self._head = self._head, b""
        if self._chunked and head and not more:
            head += b"content-length: %d\r\n" % len(body)
            self._chunked, self._left = False, len(body)
        if head:
            head += b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self.transport.write(head + piece + (b"" if more else b"0\r\n\r\n"))
        elif self.scope["method"] == "HEAD":
            self.transport.write(head)
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer is not as long as its Content-Length says")
            self.transport.write(head + body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if self._finished is not None:
                self._finished(self)
