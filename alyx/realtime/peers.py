"""What channels need of the other processes that serve the same database. No I/O here: `relay` has the one over a Unix socket.

Messages of one process reach each other one in the order in which they were sent, and each at most once: what is sent while there
is no connection is lost, and `came` tells that one is there (again), so that everything can be told anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Ears(Protocol):
    """Who listens. Called on the event loop; each call returns at once."""

    def came(self, peer: str) -> None:
        """A process can be reached: for the first time, or again after a connection was lost."""
        ...

    def heard(self, peer: str, body: Any) -> None:
        """A message. Raises ValueError for one that it does not understand."""
        ...

    def lost(self, peer: str) -> None:
        """A process has been out of reach for so long that it is taken for dead."""
        ...


class Relay(Protocol):
    """The way to the other processes. Its trouble is its own: no call raises because of it, or waits for it."""

    async def start(self, ears: Ears) -> None:
        """Look for the others, from now on."""
        ...

    def send(self, body: object, to: str | None = None) -> None:
        """Send a value that becomes JSON to one of them, or to all that can be reached now."""
        ...

    async def stop(self) -> None:
        """Leave the others."""
        ...

    def numbers(self) -> Mapping[str, float]:
        """Figures for metrics."""
        ...


class Alone:
    """The relay of a process that is the only one."""

    async def start(self, ears: Ears) -> None:
        """Nobody to look for."""

    def send(self, body: object, to: str | None = None) -> None:
        """Nobody to tell."""

    async def stop(self) -> None:
        """Nothing to end."""

    def numbers(self) -> Mapping[str, float]:
        """No peers."""
        return {"relay_peers": 0.0}
