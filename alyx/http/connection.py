"""One client connection: uvicorn's httptools protocol with the deadlines and limits that it lacks.

uvicorn 0.54 waits for ever on idle, trickling and body-less connections, takes heads of any size and queues pipelined requests
without bound (hard-parts §7). Here every phase has an end, kept as one number per connection that a sweep looks at once a
second or so, because a timer per request costs more. Made by `server`; knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from math import inf
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from alyx.base import ids
from alyx.base.errors import AlyxError
from alyx.http import envelope, settings
from alyx.http.exchange import CONTINUE, Exchange
from alyx.http.lasting import Lasting
from alyx.http.message import OFFER
from alyx.http.outbox import Outbox, Round

MAX_PIPELINED: Final = 100
LINGER: Final = 2.0
_READ_SIZE: Final = 256 * 1024
_PROBE: Final = 0.1
"""Seconds until a client that has closed its half is asked whether it is still there; then twice as many, and so on."""


class Guard:
    """What all connections of a server share: the limits, the head that every answer carries, and what was refused.

    refused: how often, by code, for the metrics. stopping: set at shutdown; answers then close their connection.
    """

    def __init__(self, options: settings.Server, writing: Callable[[], bool] = lambda: False) -> None:
        """writing: whether a write is being made just now."""
        self.options = options
        self.deadlines = options.deadlines
        self.default_head = b""
        self.stopping = False
        self.refused: dict[str, int] = {}
        self.round = Round(asyncio.get_running_loop(), writing)

    def refuse(self, code: str, message: str) -> bytes:
        """A whole answer for what cannot reach the application; it closes the connection."""
        self.refused[code] = self.refused.get(code, 0) + 1
        request_id = ids.request_id()
        response = envelope.build(AlyxError(code, message, retry_after=1 if code == "OVERLOADED" else None), request_id)
        lines = [
            STATUS_LINE[response.status] + self.default_head + b"connection: close\r\nx-content-type-options: nosniff",
            b"content-security-policy: " + response.policy,
            b"referrer-policy: no-referrer\r\ncontent-type: application/json\r\nx-request-id: " + request_id.encode(),
            b"content-length: %d" % len(response.body),
            *(name + b": " + value for name, value in response.headers or []),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + response.body


class Connection(HttpToolsProtocol):
    """A connection with limits. guard: shared by all connections of the server."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        guard: Guard,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard
        self._due = inf
        self._in_head = True
        self._hosts = 0
        self._codings: list[bytes] = []
        self._upgrading = False
        # What came behind a request that offers a WebSocket: HTTP or not, which its answer will say. None without an offer.
        self._behind: bytes | None = None
        self._fed = 0
        self._chunk = 0
        self._content = 0
        self._running: Exchange | None = None
        self._ignoring = False
        self._unsent = 0
        self._stalled = inf

    # --- what the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own signature
        """A new client: the head of its first request has a deadline from now on."""
        super().connection_made(Outbox(transport, self._guard.round))
        self._due = self._stalled = self.loop.time()
        self._due += self._guard.deadlines.head
        if len(self.connections) > self._guard.options.max_connections:
            self._refuse("OVERLOADED", "The server has too many connections.")

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; refused where they pass a limit or are no HTTP."""
        if self._ignoring:
            return
        if self._behind is not None:
            self._behind += data
            self.flow.pause_reading()
            return
        self._chunk = len(data)
        self._fed += self._chunk
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not self._ignoring:
                self._refuse("BAD_REQUEST", "That is not a valid HTTP request.")
            return
        if self._ignoring:
            return
        if self._in_head:
            if self._fed > self._guard.options.max_header_size:
                self._refuse("REQUEST_HEADER_FIELDS_TOO_LARGE", self._too_large())
        elif self._fed > 8 * self._content + self._guard.options.max_header_size + _READ_SIZE:
            # Chunk extensions and trailers are bytes too, and nobody waits for them.
            self._refuse("BAD_REQUEST", "The body of the request is mostly not a body.")

    def _parse(self, data: bytes) -> None:
        """Feed the parser. An Upgrade may be ignored (RFC 9110 §7.8), and there is no protocol here to change to but one; yet
        the parser takes all behind such a head, its body included, for another protocol. So the head is read again without the
        offer. What follows the offer of a WebSocket waits for the answer."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
                if self._behind is not None:
                    self._behind = rest
                    return
                data = self._without_upgrade() + rest
                self._renew_parser()

    def _renew_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does, for the same reason

    def _offers_websocket(self) -> bool:
        """Whether the head is that of a WebSocket's handshake (RFC 6455 §4.2.1), as far as it concerns the connection."""
        if self.parser.get_method() != b"GET" or self.parser.get_http_version() != "1.1" or self._codings:
            return False
        upgrade = [value for name, value in self.headers if name == b"upgrade"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return len(upgrade) == 1 and upgrade[0].strip().lower() == b"websocket" and lengths in ([], [b"0"])

    def _without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token for token in value.split(b",") if token.strip().lower() != b"upgrade"]
                value = b",".join(tokens)
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: the running request hears of it, and what was queued behind it is forgotten."""
        if self._running is not None and not self._running.response_complete:
            self._running.abandon()
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # True keeps our half open, which uvicorn's never does
        """The client sends no more: a request that came whole is still answered, for as long as a head may take."""
        cycle = self.cycle
        if not self._busy() or cycle.more_body or self._ignoring:
            return False
        cycle.keep_alive = False
        self._ignoring = True
        self._due = self.loop.time() + self._guard.deadlines.head
        self.loop.call_later(_PROBE, self._probe, _PROBE)
        return True

    def _probe(self, pause: float) -> None:
        """Ask a client that has closed its half whether it has closed both, which looks the same from here: its machine refuses
        what comes for a connection that is gone. What we say is an interim answer that every client passes over (RFC 9110 §15.2).
        """
        if self.transport.is_closing() or not self._busy():
            return
        running = self._running
        if running is not None and running.is_read and not running.response_started and running.scope["http_version"] != "1.0":
            self.transport.write(CONTINUE)
        self.loop.call_later(2 * pause, self._probe, 2 * pause)

    # --- what the parser tells

    def on_message_begin(self) -> None:
        """The first byte of a request: its head has a deadline."""
        super().on_message_begin()
        self._in_head = True
        self._upgrading = False
        self._hosts = 0
        self._codings = []
        if not self._busy():
            self._due = self.loop.time() + self._guard.deadlines.head

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers are dropped: they come after the request was judged, and must not change it."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding":
            self._codings.append(value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: start the application, or queue behind the request that is being answered."""
        self._in_head = False
        if self._ignoring:
            raise RuntimeError("nothing more is read from this connection")
        limit = self._guard.options.max_header_size
        # The bytes fed are the upper bound that is cheap to have; only where they pass the limit is the head itself measured.
        if (self._fed > limit or self._chunk > limit) and self._head_size() > limit:
            self._refuse("REQUEST_HEADER_FIELDS_TOO_LARGE", self._too_large())
            raise RuntimeError("the head is too large")
        fault = self._doubt()
        if fault is not None:
            self._refuse("BAD_REQUEST", fault)
            raise RuntimeError("the head is in doubt")
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            if not self._offers_websocket():
                self._upgrading = True  # _parse reads this head again
                return
            self._behind = b""
        # What was fed so far belongs to heads; from here on the bytes of a body are counted.
        self._fed = self._content = 0
        self._due = inf
        self._complete_scope()
        if self._behind is not None:
            cast("dict[str, Any]", self.scope)[OFFER] = True
        # An answer that the client has not taken holds up the next one, else it could ask for any number and read none.
        busy = self._busy() or self.flow.write_paused
        exchange = Exchange(
            self.scope,
            self.transport,
            self.flow,
            default_head=self._guard.default_head,
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.parser.should_keep_alive() and not self._guard.stopping,
            finished=self._finished,
        )
        self.cycle = exchange
        if not busy:
            self._running = exchange
            self._start(exchange, self.app)
            return
        self.flow.pause_reading()
        self.pipeline.appendleft((exchange, self.app))
        if len(self.pipeline) >= MAX_PIPELINED:
            # Answer what is queued and close: a client may repeat what got no answer.
            exchange.keep_alive = False
            self._ignoring = True

    def _doubt(self) -> str | None:
        """What leaves open whom the request is for or where it ends (RFC 9112 §3.2, §6.1); servers that each decide it in their
        own way can be played off against each other."""
        old = self.parser.get_http_version() == "1.0"
        if self.parser.get_method() == b"CONNECT":
            return "This server is no proxy, and makes no tunnels."
        if self._hosts != 1 and not (old and not self._hosts):
            return "A request must have exactly one Host header."
        if self._codings and (old or len(self._codings) > 1 or self._codings[0].strip().lower() != b"chunked"):
            return "The only Transfer-Encoding that is understood is chunked, and only in HTTP/1.1."
        return None

    def _complete_scope(self) -> None:
        scope: Any = self.scope
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = self.parser.get_http_version()
        scope["raw_path"] = raw_path
        path = raw_path.decode("latin-1")
        # The edge decodes parameters from raw_path, segment by segment; this is for applications that ask for `path`.
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; what comes next is the head of another."""
        if self._upgrading:
            return
        super().on_message_complete()
        self._fed = self._content = 0
        self._in_head = True

    # --- the end of an answer

    def _finished(self, exchange: Exchange) -> None:
        self.server_state.total_requests += 1
        if exchange.lasting is not None:
            self._hand_over(exchange.lasting)
            return
        if self.transport.is_closing():
            return
        partial = self._in_head and self._fed
        deadlines = self._guard.deadlines
        self._due = self.loop.time() + (deadlines.head if partial else deadlines.keep_alive)
        if not exchange.keep_alive:
            if exchange.more_body or self._ignoring:
                self._linger()
            else:
                self.transport.close()
            return
        if self.pipeline and self.flow.write_paused:
            self._due = inf  # `resume_writing` goes on; a client that takes nothing is cut off by the sweep
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_next()
        elif self._behind is not None:
            self._go_on_in_http()

    def _start_next(self) -> None:
        queued, app = self.pipeline.pop()
        following = cast(Exchange, queued)
        self._due = inf
        self._running = following
        self._start(following, app)

    def resume_writing(self) -> None:
        """The client has taken what was answered: the next request that it sent meanwhile has its turn."""
        super().resume_writing()
        running = self._running
        if self.pipeline and (running is None or running.response_complete) and not self.transport.is_closing():
            self.flow.resume_reading()
            self._start_next()

    def _go_on_in_http(self) -> None:
        """The offer of a WebSocket was not taken; what came behind it is the next request."""
        rest, self._behind = self._behind, None
        self._renew_parser()
        if rest:
            self.data_received(rest)

    def _hand_over(self, lasting: Lasting) -> None:
        """Another protocol has the connection from here on; nothing of this one is kept."""
        transport = cast(Outbox, self.transport)
        self._due = inf
        if self._ignoring or self._guard.stopping or transport.is_closing():
            lasting.drop()
            transport.close()
            return
        self.flow.resume_reading()
        raw, unsaid = transport.release()
        self.connections.discard(self)
        self.pipeline.clear()
        behind = self._behind or b""
        # The parser holds this object, and the latest exchange the transport: without these all of it goes at once.
        self.parser = self.cycle = None  # type: ignore[assignment]  # as uvicorn does at the end of a connection
        self._running = None
        lasting.adopt(raw, self._guard.round, self.connections, unsaid, behind)

    def _start(self, exchange: Exchange, app: Any) -> None:
        task = exchange.task = self.loop.create_task(exchange.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def shutdown(self) -> None:
        """The server stops: close when idle, else after the answer."""
        if not self._busy():
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    # --- limits

    def check(self, now: float) -> None:
        """Called by the sweep. now: the loop's time. Ends what is overdue, and clients that take nothing of their answer."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._stalled = now
        self._unsent = unsent
        if now - self._stalled > self._guard.deadlines.send:
            self._count("SEND_TIMEOUT")
            self.transport.abort()
        elif now >= self._due:
            if unsent and not (self._in_head and self._fed):
                # It still takes the last answer, however long that is: it is neither idle nor done.
                self._due = now + (LINGER if self._ignoring or self.transport.is_closing() else self._guard.deadlines.keep_alive)
            else:
                self._end_overdue()

    def _end_overdue(self) -> None:
        if self._ignoring or self.transport.is_closing():
            self.transport.abort()
        elif self._in_head and self._fed and not self._busy():
            self._refuse("REQUEST_TIMEOUT", "The head of the request came too slowly.")
        else:
            self._count("IDLE_TIMEOUT")
            self._due = self.loop.time() + LINGER
            self.transport.close()

    def _refuse(self, code: str, message: str) -> None:
        """Answer from here and close; behind an answer in flight only close after it, so that answers keep their order."""
        self._ignoring = True
        running = self._running
        if running is None or (running.response_complete and not self.pipeline):
            self.transport.write(self._guard.refuse(code, message))
            self._linger()
            return
        if not running.more_body:
            self._close_behind(code)
            return
        # The request in flight is the bad one: its application hears that the client is gone.
        running.disconnected = True
        running.message_event.set()
        if running.response_started:
            self._count(code)
        else:
            self.transport.write(self._guard.refuse(code, message))
        self._linger()

    def _close_behind(self, code: str) -> None:
        """Give the whole requests that wait their answers, forget one that is only half here, and close after the last."""
        self._count(code)
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else cast(Exchange, self._running)
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self._linger()

    def _linger(self) -> None:
        """Close in two steps: say that no more comes, then throw away what the client still sends, for at most two seconds.

        Closing at once would make the kernel answer those bytes with a reset, which can overtake the answer.
        """
        self._ignoring = True
        self._due = self.loop.time() + LINGER
        self.flow.resume_reading()
        if not self.transport.is_closing():
            with contextlib.suppress(OSError):  # the client has gone already
                self.transport.write_eof()

    def _busy(self) -> bool:
        """Whether a request waits for its answer; `cycle` is the latest one, which is answered last."""
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, code: str) -> None:
        refused = self._guard.refused
        refused[code] = refused.get(code, 0) + 1

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_large(self) -> str:
        return f"The head of the request is larger than {self._guard.options.max_header_size} bytes."
