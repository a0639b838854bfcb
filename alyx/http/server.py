"""Runs an ASGI application on a bound socket, by uvicorn, until it is told to stop.

Called by `app` and by tests. Owns the life of the server: the sweep over deadlines, the Date header, signals,
and a stop that finishes requests in flight. Knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from email.utils import formatdate
from functools import partial
from typing import Any, Final, TypeVar, cast

import uvicorn
from uvicorn.server import ServerState

from alyx.base import clock
from alyx.http import settings
from alyx.http.connection import Connection, Guard
from alyx.http.lasting import Lasting

T = TypeVar("T")

_log = logging.getLogger("alyx.http")
_GRACE: Final = 0.05
_POLL: Final = 0.02
_AT_ONCE: Final = 500
"""Connections that are looked at in one pass of the loop."""
_FAREWELLS: Final = 1_000
"""WebSockets and event streams that are closed in a second when the server stops."""
_LONGEST_FAREWELL: Final = 10.0


class Serving:
    """A handle on a running server, for metrics: what is open and what was refused."""

    def __init__(self, guard: Guard, state: ServerState) -> None:
        self._guard = guard
        self._state = state

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._state.connections)

    @property
    def refused(self) -> dict[str, int]:
        """How many requests and connections were refused or ended before the application heard of them, by code."""
        return self._guard.refused

    def numbers(self) -> dict[str, float]:
        """A source for metrics: open connections, and what was refused, by code."""
        refused = {f"http_refused_{code.lower()}_total": float(count) for code, count in self.refused.items()}
        return {"http_connections": float(self.connections), **refused}


def bind(host: str, port: int) -> socket.socket:
    """A bound socket for `serve`; port 0 takes a free one.

    Raises OSError when the address is taken or is not one of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop: uvloop where there is one, else asyncio's."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(
    app: Any,
    sock: socket.socket,
    options: settings.Server | None = None,
    *,
    started: Callable[[Serving], None] | None = None,
    draining: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
    told: Callable[[], None] | None = None,
    writing: Callable[[], bool] = lambda: False,
    signals: bool = True,
) -> None:
    """Serve until `stop` is set or SIGTERM or SIGINT comes, then finish what is in flight.

    app: an ASGI application. sock: bound, as by `bind`; closed at the end. started: called once connections are taken.
    draining: called once it begins to stop, before the last requests are answered. stop: setting it ends the server gently,
    within `deadlines.shutdown` seconds. told: called at each such signal. writing: whether a write is
    being made just now, by a thread that needs the interpreter. signals: whether to listen for SIGTERM and SIGINT (only
    possible in the main thread); a second one ends the server at once. Whoever gives it the signals gives it the process: the
    garbage collector is then set up for serving.
    """
    chosen = options or settings.Server()
    stopping = stop if stop is not None else asyncio.Event()
    guard = Guard(chosen, writing)
    server = _Server(app, guard, stopping, started, draining)
    _raise_file_limit(chosen.max_connections)
    if signals:
        _settle_memory()
    with _signals(stopping, server.hurry, told) if signals else contextlib.nullcontext():
        await server.serve(sockets=[sock])


class _Server(uvicorn.Server):
    """uvicorn's server with our protocol, our sweep, and our way to stop."""

    def __init__(
        self,
        app: Any,
        guard: Guard,
        stopping: asyncio.Event,
        started: Callable[[Serving], None] | None,
        draining: Callable[[], None] | None,
    ) -> None:
        protocol = cast("type[asyncio.Protocol]", partial(Connection, guard=guard))
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=guard.options.backlog,
        )
        super().__init__(config)
        self.hurry = asyncio.Event()
        self._guard = guard
        self._stopping = stopping
        self._started = started
        self._draining = draining

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again at the end, before the database is closed."""
        yield

    async def main_loop(self) -> None:
        """Keep the Date header fresh and look at every connection's deadline, until told to stop."""
        deadlines = self._guard.deadlines
        pause = min(1.0, deadlines.head / 4, deadlines.keep_alive / 4, deadlines.send / 4)
        self._refresh_date()
        if self._started is not None:
            self._started(Serving(self._guard, self.server_state))
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            self._refresh_date()
            await self._sweep()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, answer what was asked, close what is idle; after the hard limit cut the rest."""
        self._guard.stopping = True
        if self._draining is not None:
            self._draining()
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        # What is in the kernel's buffers already was asked before the stop: read it once more before closing.
        await asyncio.sleep(_GRACE)
        state = self.server_state
        end = asyncio.get_running_loop().time() + self._guard.deadlines.shutdown
        for connection in list(state.connections):
            if isinstance(connection, Connection):
                connection.shutdown()
        await self._close_lasting(end)
        while (state.connections or state.tasks) and not self.hurry.is_set():
            now = asyncio.get_running_loop().time()
            if now >= end:
                _log.warning("%d requests did not finish in time and were cut", len(state.tasks))
                break
            await self._sweep()
            await asyncio.sleep(_POLL)
        await self._cut()

    async def _close_lasting(self, end: float) -> None:
        """Say farewell to WebSockets and event streams, spread so that their clients do not all return at one moment. end: the
        loop's time at which the last has to be told."""
        now = asyncio.get_running_loop().time
        lasting: list[Any] = [each for each in list(self.server_state.connections) if isinstance(each, Lasting)]
        seconds = min(len(lasting) / _FAREWELLS, _LONGEST_FAREWELL, max(0.0, end - now()))
        began = now()
        told = 0
        while told < len(lasting) and not self.hurry.is_set():
            passed = now() - began + _POLL
            until = len(lasting) if passed >= seconds else int(len(lasting) * passed / seconds)
            for each in lasting[told:until]:
                each.shutdown()
            told = until
            if told < len(lasting):
                await asyncio.sleep(_POLL)

    async def _cut(self) -> None:
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.transport.abort()
            elif isinstance(connection, Lasting):
                connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    async def _sweep(self) -> None:
        """Look at every connection; thousands of them in several passes, so that no request waits for it."""
        now = asyncio.get_running_loop().time()
        connections = self.server_state.connections
        for number, connection in enumerate(list(connections), 1):
            if isinstance(connection, Connection | Lasting) and connection in connections:
                connection.check(now)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)

    def _refresh_date(self) -> None:
        date = formatdate(clock.seconds(), usegmt=True).encode()
        self.server_state.default_headers = [(b"date", date)]
        self._guard.default_head = b"date: " + date + b"\r\n"


@contextlib.contextmanager
def _signals(stopping: asyncio.Event, hurry: asyncio.Event, told: Callable[[], None] | None) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops gently, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if told is not None:
            told()
        (hurry if stopping.is_set() else stopping).set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    try:
        for number in numbers:
            loop.add_signal_handler(number, heard)
    except NotImplementedError:  # Windows: Ctrl-C arrives as KeyboardInterrupt
        yield
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the server, and let it look less often: 10 % of the CPU of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _raise_file_limit(connections: int) -> None:
    """Each connection is an open file; the soft limit is often 1024, and the hard one is what the administrator meant."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ceiling), hard))
