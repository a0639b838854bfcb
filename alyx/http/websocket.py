"""The server's side of a WebSocket (RFC 6455), after its handshake.

Frames of the client are read by the protocol of the `websockets` library. What goes out is text in one frame without a mask or an
extension, with a head of two to ten bytes; that is made here, because it is the path of every delivery. Made by the routes of
`realtime`, carried by `lasting`. Knows no message: what a text means is the session's.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from struct import Struct
from time import monotonic, perf_counter
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from alyx.base.bucket import Bucket
from alyx.http.lasting import QUIET, Lasting
from alyx.realtime.outlet import Outlet, Session

MAX_MESSAGE: Final = 65_536
"""Bytes of a client's message; a larger one closes the connection with 1009."""
PONG: Final = 20.0
"""Seconds in which a client has to answer a ping, by anything."""
FRAMES: Final = 1_000.0
"""Per second, and twice that at once: pings, pongs and parts of messages, which the session never sees and so cannot count."""
_AT_ONCE: Final = 512
"""Bytes that are read between two looks at the clock: six can be a frame, and reading a frame takes several microseconds."""
_SPAN: Final = 0.001
"""Seconds for which one client's bytes are read before others have their turn."""
_REASON: Final = 123
_SHORT: Final = tuple(bytes((0x81, size)) for size in range(126))
_MIDDLE: Final = Struct("!BBH").pack
_LONG: Final = Struct("!BBQ").pack
_PING: Final = b"\x89\x00"
_UTF8: Final = codecs.getincrementaldecoder("utf-8")


class WebSocket(Lasting):
    """One WebSocket. open: called when the connection stands; gives the session that it belongs to."""

    __slots__ = ("_behind", "_frames", "_heard", "_open", "_parser", "_partial", "_parts", "_pinged", "_reading")

    def __init__(self, open: Callable[[Outlet], Session]) -> None:
        super().__init__()
        self._open: Callable[[Outlet], Session] | None = open
        self._parser = Protocol(SERVER, state=State.OPEN, max_size=MAX_MESSAGE)
        # A message that comes in several frames: the bytes that are there, and the decoder that has judged them.
        self._parts = bytearray()
        self._partial: codecs.IncrementalDecoder | None = None
        # Frames that the session does not count.
        self._frames = Bucket(FRAMES, 2 * FRAMES)
        self._heard = True
        self._pinged = False
        self._reading = True
        self._behind = b""

    def begin(self, behind: bytes) -> None:
        """Open the session, then read what came early."""
        self.guard(self._connect)
        if behind:
            self.data_received(behind)

    def _connect(self) -> None:
        opening, self._open = self._open, None
        if opening is not None:
            self.session = opening(self)

    # --- out

    def send(self, data: bytes) -> None:
        """One message, as text in UTF-8. Ignored once the connection ends."""
        if self._ending:
            return
        size = len(data)
        if size < 126:
            head = _SHORT[size]
        elif size < 65_536:
            head = _MIDDLE(0x81, 126, size)
        else:
            head = _LONG(0x81, 127, size)
        if self._unsaid:
            self.say(head + data)
        else:  # as `say` does, without the call: this is the path of every delivery
            self._unsaid = head + data
            self._round.add_lasting(self)

    def close(self, code: int, reason: str) -> None:
        """Begin to close: say the code, and wait a moment for the client to say the same."""
        if self._ending:
            return
        if self._parser.state is State.OPEN:  # else the client was faster, and its close is answered already
            self._parser.send_close(code, reason.encode()[:_REASON].decode(errors="ignore"))
        self._set_due()
        self._say_replies()
        self.flush()

    # --- in

    def data_received(self, data: bytes) -> None:
        """Bytes of frames. A large piece is read bit by bit, and others come in between."""
        self._heard = True
        if self._behind:
            self._behind += data
            return
        if len(data) > _AT_ONCE:
            self._behind = data
            self._read_on()
        else:
            self._read(data)

    def _read_on(self) -> None:
        """Read what came, for as long as it is this client's turn."""
        data, done = self._behind, 0
        end = perf_counter() + _SPAN
        while self._transport is not None and done < len(data):
            self._read(data[done : done + _AT_ONCE])
            done += _AT_ONCE
            if perf_counter() >= end:
                break
        self._behind = data[done:] if self._transport is not None else b""
        if self._behind:
            self._pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)
        elif not self._blocked:
            self._resume_reading()

    def _read(self, data: bytes) -> None:
        parser = self._parser
        parser.receive_data(data)
        events = parser.events_received()
        if parser.writes and parser.state is State.OPEN:
            self._say_replies()  # pongs first; but a farewell comes behind the answers to what was asked before it
        for event in events:
            if isinstance(event, Frame) and not self._ending:
                self._take(event)
        if parser.writes:
            self._say_replies()
        if self._blocked and self.buffered() > MAX_MESSAGE // 2:
            # A client that asks and asks and takes no answer is not listened to until it does.
            self._pause_reading()

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT and frame.fin:
            try:
                text = str(frame.data, "utf-8")
            except UnicodeDecodeError:
                self.fail(1007, "the text is not UTF-8")
                return
            self._give(text)
        elif opcode is not Opcode.BINARY and not self._frames.take(monotonic()):
            self.fail(4429, "too many frames")
        elif opcode is Opcode.TEXT or opcode is Opcode.CONT:
            self._take_part(frame)
        elif opcode is Opcode.BINARY:
            self.take_binary(frame)

    def _take_part(self, frame: Frame) -> None:
        if self._partial is None:
            self._partial = _UTF8()
        try:
            self._partial.decode(bytes(frame.data), frame.fin)
        except UnicodeDecodeError:
            self.fail(1007, "the text is not UTF-8")
            return
        self._parts += frame.data  # as bytes: kept as texts, small parts would take many times their size
        if frame.fin:
            text = self._parts.decode()
            self._parts, self._partial = bytearray(), None
            self._give(text)

    def _give(self, text: str) -> None:
        if self.session is not None:
            self.guard(self.session.receive, text)

    def take_binary(self, frame: Frame) -> None:
        """A binary frame, which has no meaning here."""
        self.fail(1003, "messages are text")

    def fail(self, code: int, reason: str) -> None:
        """The client broke the protocol: say so and listen no more (RFC 6455 §7.1.7)."""
        self._parser.fail(code, reason)
        self._set_due()

    def _say_replies(self) -> None:
        """What the protocol has to answer: pongs, the closing frame, and the end."""
        for piece in self._parser.data_to_send():
            if piece:
                self.say(piece)
                continue
            self.flush()
            if self._parser.close_rcvd is not None:
                self._leave()
            else:
                self._set_due()
                if self._transport is not None:
                    self._half_close(self._transport)

    def _pause_reading(self) -> None:
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._behind and self._transport is not None and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def resume_writing(self) -> None:
        """The client has caught up: it is listened to again."""
        super().resume_writing()
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._behind = b""
        # The parser and its generator hold each other, and would be left to the garbage collector.
        self._parser.parser.close()

    # --- the sweep

    def keep_alive(self, now: float) -> None:
        """Ask a client that was not heard for a while; one that does not answer is gone."""
        if self._heard or not self._since:
            self._heard = self._pinged = False
            self._since = now
        elif self._pinged:
            if now - self._since > PONG:
                self.close(1011, "no answer to a ping")
        elif now - self._since >= QUIET:
            self._pinged = True
            self._since = now
            self.say(_PING)
