"""`alyx serve`: the program in production, in this process or in several that share one socket.

With workers the parent binds the socket, starts them, passes signals on and waits; it opens no database while they run. A worker
that dies ends the rest with an error: restarting is for whoever supervises `alyx serve`. Called by the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from alyx.app import build, secret, upgrade
from alyx.app.follow import Follower
from alyx.app.refusal import Refusal
from alyx.app.screen import Screen, Started
from alyx.config import Config
from alyx.config import load as load_config
from alyx.http import log, server

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_log = logging.getLogger("alyx.app")
_READY = b"ready"
_STOPPED = (0, -signal.SIGTERM, -signal.SIGINT)
"""How a worker ends when it is told to; by the bare signal if it was only starting."""


def run(config: Config, screen: Screen, *, migrate: bool, began: float) -> int:
    """Serve until a signal comes. began: `time.monotonic()` of the start. Gives the exit code.

    Raises SourceError, MigrationError or Refusal if it cannot start.
    """
    chosen = secret.for_production(config)
    source = build.read_source(config)
    sock = bind(config)
    with contextlib.closing(sock):
        upgrade.for_production(config, source, screen, migrate=migrate)
        for text in build.remarks(config, source):
            screen.remark(text)
        workers: int = config.values["server.workers"]
        facts = started(config, source, sock, workers=workers, watched=())
        if workers > 1:
            return _parent(config, sock, workers, screen, facts, began)
        server.run(_serve(config, source, chosen, sock, lambda: screen.started(timed(facts, began))))
    return 0


def bind(config: Config) -> socket.socket:
    """The socket of `server.host` and `server.port`. Raises Refusal that says what stands in the way."""
    host, port = config.values["server.host"], config.values["server.port"]
    try:
        return server.bind(host, port)
    except socket.gaierror as error:
        raise Refusal(f"server.host {host} is not an address of this machine", "use 127.0.0.1, 0.0.0.0 or ::") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"another `alyx dev`? Stop it, or choose another port: --port {port + 1}"
            raise Refusal(f"port {port} on {host} is in use already", hint) from error
        if error.errno == errno.EACCES:
            raise Refusal(f"port {port} may not be used by this account", "ports from 1024 on are free for all") from error
        raise Refusal(f"cannot listen on {host} port {port}: {error.strerror}", "server.host and server.port set it") from error


def started(config: Config, source: build.Source, sock: socket.socket, *, workers: int, watched: tuple[str, ...]) -> Started:
    """What there is to tell once it serves."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # only named
    return Started(
        url=f"http://{shown}:{port}",
        docs=config.values["docs.enabled"],
        live=config.values["docs.enabled"] and config.values["realtime.enabled"],
        database=str(config.database_path),
        collections=tuple(source.schema.collections),
        watched=watched,
        workers=workers,
        seconds=0.0,
    )


def timed(facts: Started, began: float) -> Started:
    """The same facts with the time since the command began."""
    return replace(facts, seconds=time.monotonic() - began)


async def _serve(
    config: Config,
    source: build.Source,
    chosen: str,
    sock: socket.socket,
    tell: Callable[[], None],
    stop: asyncio.Event | None = None,
) -> None:
    access, lines = log.setup(config.logging(dev=False))
    try:
        async with build.database(config) as engine:
            program = build.Program(config, source, engine, chosen, observers=[access.record], dev=False)
            follower = Follower(config, program, engine)
            program.health.components["schema"] = follower.health

            def started(serving: server.Serving) -> None:
                program.attach(serving)
                tell()
                for text in program.remarks():
                    _log.warning(text)

            following = asyncio.create_task(follower.run())
            try:
                async with program.running():
                    await server.serve(
                        program.edge,
                        sock,
                        config.server(),
                        started=started,
                        draining=program.drain,
                        stop=stop,
                        writing=engine.is_writing,
                    )
            finally:
                following.cancel()
                await asyncio.wait([following])
    finally:
        lines.close()


def _parent(config: Config, sock: socket.socket, count: int, screen: Screen, facts: Started, began: float) -> int:
    """Start the workers and wait for them; gives 0 if they ended because they were told to."""
    workers = _Workers()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: workers.stop())
    workers.start(count, config.file, sock)
    lost = workers.wait(lambda: screen.started(timed(facts, began)))
    if lost is None:
        return 0
    screen.failed(Refusal(f"{lost.name} ended (exit code {lost.exitcode}); the others are stopped"))
    workers.stop()
    workers.join()
    return 1


class _Workers:
    """The processes that serve, seen from the one that started them."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        # Workers hold the reading end: when this process is gone, however it went, they see its end and stop.
        self._alive, self._held = self._context.Pipe(duplex=False)
        self._processes: list[SpawnProcess] = []
        self._told: list[Connection] = []
        self._stopping = False

    def start(self, count: int, file: Path | None, sock: socket.socket) -> None:
        """Start them one after another."""
        for index in range(count):
            mine, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(
                target=_worker, args=(file, sock, self._alive, theirs), name=f"alyx worker {index + 1}"
            )
            # What is ignored here is ignored there, until the worker listens: Ctrl-C must not kill one that is only starting.
            former = signal.signal(signal.SIGINT, signal.SIG_IGN)
            process.start()
            signal.signal(signal.SIGINT, former)
            theirs.close()
            self._processes.append(process)
            self._told.append(mine)
        if self._stopping:
            self.stop()

    def stop(self) -> None:
        """Tell them to stop gently; a second time means at once."""
        self._stopping = True
        for process in self._processes:
            if process.is_alive():
                process.terminate()

    def join(self) -> None:
        """Wait until all have ended."""
        for process in self._processes:
            process.join()

    def wait(self, ready: Callable[[], None]) -> SpawnProcess | None:
        """Wait until they end; gives the one that ended by itself, with the others still running, None if they were told to.

        ready: called once all of them serve.
        """
        first = self._first_to_end(ready)
        if not self._stopping:
            first.join()
            return first
        self.join()
        return next((process for process in self._processes if process.exitcode not in _STOPPED), None)

    def _first_to_end(self, ready: Callable[[], None]) -> SpawnProcess:
        waiting = set(self._told)
        by_sentinel: dict[object, SpawnProcess] = {process.sentinel: process for process in self._processes}
        while True:
            for item in wait([*(process.sentinel for process in self._processes), *waiting]):
                if not isinstance(item, Connection):
                    return by_sentinel[item]
                waiting.discard(item)
                with contextlib.suppress(EOFError, OSError):
                    item.recv_bytes()
                    if not waiting and not self._stopping:
                        ready()


def _worker(file: Path | None, sock: socket.socket, alive: Connection, tell: Connection) -> None:
    """One of several processes on one socket; reads the project for itself."""
    if hasattr(os, "setpgid"):
        # Ctrl-C reaches the whole group of the terminal; the parent passes it on, and twice would mean "at once".
        os.setpgid(0, 0)
    config = load_config(file)
    source = build.read_source(config)

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive.fileno(), stop.set)

        def ready() -> None:
            with contextlib.suppress(OSError):
                tell.send_bytes(_READY)

        await _serve(config, source, secret.for_production(config), sock, ready, stop)

    server.run(main())
