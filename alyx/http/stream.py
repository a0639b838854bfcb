"""An event stream (server-sent events, WHATWG HTML §9.2) as the body of an answer that does not end by itself.

Made by the routes of `realtime` before the head is said, so that a refusal is still a plain answer; what is sent before waits.
In HTTP/1.1 each message is a chunk, in HTTP/1.0 the end of the connection ends the body. Carried by `lasting`; the text of events
is the session's.
"""

from __future__ import annotations

from typing import Final

from alyx.http.lasting import QUIET, Lasting

_ALIVE: Final = b": ping\n\n"


class Stream(Lasting):
    """One event stream. chunked: whether the client speaks HTTP/1.1."""

    __slots__ = ("_chunked",)

    def __init__(self, *, chunked: bool) -> None:
        super().__init__()
        self._chunked = chunked

    def send(self, data: bytes) -> None:
        """The whole text of one or more events. Ignored once the stream ends."""
        if self._ending or not data:
            return
        self.say(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _finish(self) -> None:
        if self._chunked:
            self.say(b"0\r\n\r\n")
        super()._finish()

    def keep_alive(self, now: float) -> None:
        """A comment now and then: without it a proxy ends what is quiet, and a client that is gone would never be noticed."""
        if not self._since:
            self._since = now
        elif now - self._since >= QUIET:
            self._since = now
            self.send(_ALIVE)
