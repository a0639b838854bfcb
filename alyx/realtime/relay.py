"""The relay over a Unix socket: joins the processes of one machine that serve the same database file.

Made by `app`, used by channels through `peers.Relay`. One process holds the lock file and serves the socket; the others connect,
and it passes on what they send each other. When it ends, the next one takes the lock, which the kernel frees with the process. It
never raises to its user and never waits for a peer: one that is slow, silent or malformed is cut off, and comes again by itself.

A frame is its length in four bytes, most significant first, and as much JSON: first `{"hello": version, "peer": id}` from the
one that connects and `{"welcome": version, "peer": id, "peers": [id, ...]}` back, then lists: `["to", peer|null, body]` to
the one that serves, and `["from", peer, body]`, `["came", peer]`, `["gone", peer]` from it; `["still"]` keeps a connection alive.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from alyx.realtime import lair
from alyx.realtime.peers import Ears

LARGEST_FRAME = 1_048_576
"""Bytes. A client's message has at most 64 kB, members are told in pieces of 32 kB."""
LARGEST_BACKLOG = 16 * 1_048_576
"""Bytes that may wait for a peer; one for which more wait is cut off."""
MOST_PEERS = 256
GRACE = 2.0
"""Seconds that a process may be out of reach before it is taken for dead, so that an election shows nowhere."""
_VERSION = 1
_LARGE = 8_192
_SPAN = 0.0005
"""Seconds for which frames that are there already are read before others have their turn."""
_HANDSHAKE = 2.0
_PULSE = 5.0
_SILENCE = 15.0
_SHORTEST, _LONGEST = 0.02, 2.0
"""Seconds between two attempts to connect or to serve."""

_log = logging.getLogger("alyx.realtime")
_random = secrets.SystemRandom()


class _Malformed(Exception):
    """A peer sent what is no frame of ours."""


class _Link:
    """One connection to another process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = ""
        self.heard = time.monotonic()
        self._turn = 0.0
        self._cut = False

    def write(self, frame: bytes) -> None:
        """Send a frame, or cut off a peer that does not take them."""
        if self._cut or self._writer.is_closing():
            return
        self._writer.write(frame)
        if self._writer.transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self.cut("does not read")

    def cut(self, why: str = "") -> None:
        """End the connection now."""
        if why:
            _log.warning("relay: a process is cut off, because it %s", why)
        self._cut = True
        self._writer.transport.abort()

    async def read(self) -> Any:
        """The next frame. Raises _Malformed, or EOFError or OSError when the connection has ended."""
        size = int.from_bytes(await self._reader.readexactly(4))
        if not 0 < size <= LARGEST_FRAME:
            raise _Malformed
        data = await self._reader.readexactly(size)
        self.heard = time.monotonic()
        if size > _LARGE or self.heard - self._turn > _SPAN:
            await asyncio.sleep(0)  # what is there already is read without waiting, so others would have no turn
            self._turn = time.monotonic()
        try:
            return orjson.loads(data)
        except ValueError:
            raise _Malformed from None


class UnixRelay:
    """A relay beside a database file. Started and stopped on one event loop; a stopped one is not started again."""

    def __init__(self, database: str | Path, *, grace: float = GRACE) -> None:
        """database: its file; the socket is `<database>.relay`, the lock `<database>.relay.lock`. grace: see GRACE."""
        self._lair = lair.Lair(database)
        self._grace = grace
        self._me = secrets.token_hex(8)
        self._ears: Ears | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._conversations: set[asyncio.Task[None]] = set()
        self._links: dict[str, _Link] = {}
        self._hub: _Link | None = None
        self._reachable: set[str] = set()
        self._away: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self._warned = False

    # What channels call -----------------------------------------------------------------------------------------------------

    async def start(self, ears: Ears) -> None:
        """Look for the others. Where there are no Unix sockets, this process stays alone."""
        self._ears = ears
        reason = self._lair.unusable()
        if reason is not None:
            _log.warning("channels show only the members of this process: %s", reason)
            return
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._beat())]

    def send(self, body: object, to: str | None = None) -> None:
        """See peers.Relay."""
        if not self._reachable or (to is not None and to not in self._reachable):
            return
        if self._hub is not None:
            self._write([self._hub], ["to", to, body])
        else:
            self._write(self._chosen(to), ["from", self._me, body])

    async def stop(self) -> None:
        """Leave the others; they elect anew if this process served."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._away.values():
            timer.cancel()
        self._away.clear()
        self._reachable.clear()
        self._lair.close()

    def numbers(self) -> Mapping[str, float]:
        """Figures for metrics."""
        return {"relay_peers": float(len(self._reachable))}

    # Elections --------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Follow whoever serves, else serve; whatever ends, begin again, after a time that grows while nothing works."""
        wait = _SHORTEST
        while True:
            try:
                worked = await self._follow() or await self._serve()
            except OSError as error:
                worked = False
                if not self._warned:
                    _log.warning("channels show only the members of this process, for the relay fails: %s", error)
                self._warned = True
            wait = _SHORTEST if worked else min(wait * 2, _LONGEST)
            await asyncio.sleep(wait * _random.uniform(0.5, 1.5))

    async def _follow(self) -> bool:
        """Be connected until that ends; False if nobody serves."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._lair.address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        link = _Link(reader, writer)
        try:
            if not lair.is_own(writer.get_extra_info("socket")):
                raise PermissionError("the socket beside the database belongs to another user")
            link.write(_frame({"hello": _VERSION, "peer": self._me}))
            async with asyncio.timeout(_HANDSHAKE):
                others = _welcomed(await link.read())
            self._hub = link
            for peer in others:
                self._came(peer)
            while True:
                self._followed(await link.read())
        except PermissionError:
            raise
        except (_Malformed, EOFError, OSError):  # a handshake that takes too long among them
            return self._hub is not None
        finally:
            self._hub = None
            link.cut()
            for peer in list(self._reachable):
                self._gone(peer)

    async def _serve(self) -> bool:
        """Hold the lock and the socket until they are lost; False if another process has the lock."""
        if not self._lair.seize():
            return False
        try:
            with self._lair.listen() as listener:
                self._warned = False
                try:
                    await self._watch(listener)
                finally:
                    asyncio.get_running_loop().remove_reader(listener)
                    tasks = list(self._conversations)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._lair.leave()
        return True

    async def _watch(self, listener: socket.socket) -> None:
        """Take connections until somebody has removed or replaced the socket."""
        while not self._lair.is_vacant():
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)
            await asyncio.sleep(_PULSE)

    async def _beat(self) -> None:
        """Keep connections alive, and cut off those that have fallen silent."""
        frame = _frame(["still"])
        while True:
            await asyncio.sleep(_PULSE)
            for link in [self._hub] if self._hub is not None else list(self._links.values()):
                if time.monotonic() - link.heard > _SILENCE:
                    link.cut("is silent")
                else:
                    link.write(frame)

    # Frames -----------------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection in. Not by asyncio's server, which lets those go on that come while it closes."""
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # such as too many open files: the socket would stay ready, so wait for the next beat
            _log.warning("relay: a connection is not taken: %s", error)
            asyncio.get_running_loop().remove_reader(listener)
            return
        connection.setblocking(False)
        task = asyncio.create_task(self._converse(connection))
        self._conversations.add(task)
        task.add_done_callback(lambda done: self._end(done, connection))

    def _end(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._conversations.discard(task)
        connection.close()  # a task that was cancelled before its first step has not done so

    async def _converse(self, connection: socket.socket) -> None:
        """The serving side of one connection."""
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        link = _Link(reader, writer)
        try:
            if not lair.is_own(writer.get_extra_info("socket")) or len(self._links) >= MOST_PEERS:
                return
            async with asyncio.timeout(_HANDSHAKE):
                link.peer = _greeted(await link.read())
            self._enter(link)
            while True:
                frame = await link.read()
                if self._links.get(link.peer) is not link:
                    return
                self._passed_on(link, frame)
        except _Malformed:
            _log.warning("relay: a process is cut off, because it does not speak as this one does")
        except (EOFError, TimeoutError, OSError):
            pass
        finally:
            link.cut()
            self._exit(link)

    def _enter(self, link: _Link) -> None:
        """Take a connection in; it stands for the former one of the same process, whose end may not have been noticed yet."""
        if link.peer == self._me:
            raise _Malformed
        former = self._links.pop(link.peer, None)
        if former is not None:
            former.cut()
        link.write(_frame({"welcome": _VERSION, "peer": self._me, "peers": list(self._links)}))
        self._write(self._links.values(), ["came", link.peer])
        self._links[link.peer] = link
        self._came(link.peer)

    def _exit(self, link: _Link) -> None:
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._write(self._links.values(), ["gone", link.peer])
            self._gone(link.peer)

    def _passed_on(self, link: _Link, frame: Any) -> None:
        match frame:
            case ["to", None, body]:
                self._write((other for other in self._links.values() if other is not link), ["from", link.peer, body])
                self._hear(link.peer, body)
            case ["to", str(peer), body] if peer == self._me:
                self._hear(link.peer, body)
            case ["to", str(peer), body]:
                self._write(self._chosen(peer), ["from", link.peer, body])
            case ["still"]:
                pass
            case _:
                raise _Malformed

    def _followed(self, frame: Any) -> None:
        match frame:
            case ["from", str(peer), body]:
                self._hear(peer, body)
            case ["came", str(peer)]:
                self._came(peer)
            case ["gone", str(peer)]:
                self._gone(peer)
            case ["still"]:
                pass
            case _:
                raise _Malformed

    def _chosen(self, to: str | None) -> Iterable[_Link]:
        if to is None:
            return list(self._links.values())
        return [self._links[to]] if to in self._links else []

    def _write(self, links: Iterable[_Link], value: object) -> None:
        try:
            frame = _frame(value)
        except ValueError as error:
            _log.warning("relay: a message is not sent: %s", error)
            return
        for link in links:
            link.write(frame)

    # What the user of this relay hears --------------------------------------------------------------------------------------

    def _came(self, peer: str) -> None:
        timer = self._away.pop(peer, None)
        if timer is not None:
            timer.cancel()
        self._reachable.add(peer)
        self._warned = False
        if self._ears is not None:
            self._guarded(self._ears.came, peer)

    def _gone(self, peer: str) -> None:
        self._reachable.discard(peer)
        if peer not in self._away and not self._stopped:
            self._away[peer] = asyncio.get_running_loop().call_later(self._grace, self._lost, peer)

    def _lost(self, peer: str) -> None:
        del self._away[peer]
        if self._ears is not None:
            self._guarded(self._ears.lost, peer)

    def _hear(self, peer: str, body: Any) -> None:
        if self._ears is not None:
            self._guarded(self._ears.heard, peer, body)

    def _guarded(self, call: Callable[..., None], *values: Any) -> None:
        """A message that nobody understands ends no connection: whoever passed it on may be in order."""
        try:
            call(*values)
        except ValueError as error:
            _log.warning("relay: a message is not understood: %s", error)
        except Exception:
            _log.exception("relay: a message could not be worked on")


def _frame(value: object) -> bytes:
    """Raises ValueError for one that is too large."""
    data = orjson.dumps(value)
    if len(data) > LARGEST_FRAME:
        raise ValueError(f"it has {len(data):,} bytes")
    return len(data).to_bytes(4) + data


def _greeted(frame: Any) -> str:
    match frame:
        case {"hello": int(version), "peer": str(peer)} if version == _VERSION and 0 < len(peer) <= 64:
            return peer
    raise _Malformed


def _welcomed(frame: Any) -> list[str]:
    """The one that serves, and the others that are connected to it."""
    match frame:
        case {"welcome": int(version), "peer": str(peer), "peers": list(peers)} if version == _VERSION:
            return [peer, *(item for item in peers if isinstance(item, str))]
    raise _Malformed
