"""What realtime needs of a connection, and what it tells the connection: the seam between protocol and transport.

`http` implements Outlet for WebSocket and for event streams, and calls the Session that it is given. No I/O, no loop here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from alyx.base.identity import ANONYMOUS, Identity


@dataclass(slots=True)
class Client:
    """Who connected. expires: Unix seconds at which the token ends, None for an anonymous caller. ip: the client's address behind
    trusted proxies. request_id: of the request that opened the connection."""

    identity: Identity = ANONYMOUS
    expires: float | None = None
    ip: str = ""
    request_id: str = ""


class Outlet(Protocol):
    """One connection, seen from above. All of it is called on the event loop and returns at once."""

    def send(self, data: bytes) -> None:
        """Hand over one message: the UTF-8 text of a WebSocket frame, or the whole text of an event. Ignored after `close`."""
        ...

    def buffered(self) -> int:
        """Bytes that were handed over and that the kernel has not taken yet."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection: a WebSocket close frame with this code; an event stream simply ends."""
        ...


class Session(Protocol):
    """The other side of an outlet: what the transport tells."""

    def receive(self, text: str) -> None:
        """One text message of the client; never called for an event stream."""
        ...

    def drained(self) -> None:
        """`buffered()` has become 0 after it was more: what waits may go out."""
        ...

    def lost(self) -> None:
        """The connection is gone, however it ended; called once, and nothing is called after it."""
        ...
