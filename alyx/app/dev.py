"""`alyx dev`: serves a project and follows its files.

A saved schema is checked, the database is brought to it as far as the person agrees, and the routes are swapped under the open
connections. A broken file changes nothing: the last good state goes on serving. Called by the command line; never decides by
itself to lose data.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from alyx.app import build, follow, secret, serve, upgrade, watch
from alyx.app.build import Program, Source
from alyx.app.follow import History
from alyx.app.refusal import Refusal
from alyx.app.screen import Screen
from alyx.app.upgrade import Consent
from alyx.base.errors import SourceError
from alyx.config import FILE, Config
from alyx.config import load as load_config
from alyx.database.migrations.errors import MigrationError
from alyx.database.sqlite.connection import CannotOpen
from alyx.http import log, server

_log = logging.getLogger("alyx.app")
Unusable = (SourceError, Refusal, MigrationError, CannotOpen)
"""What can be wrong with a project; anything else is a fault of Alyx."""


def run(config: Config, screen: Screen, consent: Consent, *, named: Path | None, began: float) -> None:
    """Serve until a signal comes. consent: what it may do. named: the --config option. began: `time.monotonic()` of the start.

    Raises SourceError, MigrationError or Refusal if it cannot even start.
    """
    server.run(_sessions(config, screen, consent, named, began))


async def _sessions(config: Config, screen: Screen, consent: Consent, named: Path | None, began: float) -> None:
    """One session after another, each with the settings of its time; one that cannot start gives way to the one before.

    What was served last goes on being served, so that a schema.yaml that is broken or waits for a yes ends nothing.
    """
    access, lines = log.setup(config.logging(dev=True))
    former: Config | None = None
    chosen: Config | None = config
    good: _Good | None = None
    try:
        while chosen is not None:
            session = _Session(chosen, screen, consent, named, access, good)
            try:
                following = await session.run(began)
            except Unusable as error:
                if former is None:
                    raise
                screen.failed(error, still="The former settings are in force again.")
                chosen, former = former, None
            else:
                former, chosen = chosen, following
                good = session.good
            began = time.monotonic()
    finally:
        lines.close()


@dataclass(frozen=True)
class _Good:
    """What was served last, and under which settings."""

    config: Config
    source: Source

    def fits(self, config: Config) -> bool:
        """Whether these settings mean the same files."""
        places = ("schema_file", "database_path", "migrations_folder")
        return all(getattr(config, name) == getattr(self.config, name) for name in places)


class _Session:
    """A server with one set of settings, and the watch over its files. good: what the session before it served at its end."""

    def __init__(
        self,
        config: Config,
        screen: Screen,
        consent: Consent,
        named: Path | None,
        access: log.AccessLog,
        good: _Good | None,
    ) -> None:
        self.good = good if good is not None and good.fits(config) else None
        self._config = config
        self._screen = screen
        self._named = named
        self._consent = consent
        self._access = access
        self._stop = asyncio.Event()
        self._next: Config | None = None
        self._ended = False
        self._reloading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def run(self, began: float) -> Config | None:
        """Serve until told to stop; gives the settings to go on with, None at the end."""
        config, screen = self._config, self._screen
        seen = watch.look(*self._places())
        resumed = self.good is not None
        source = self.good.source if self.good else await asyncio.to_thread(build.read_source, config)
        with contextlib.closing(serve.bind(config)) as sock:
            chosen, made = secret.for_development(config)
            if made is not None:
                screen.note(f"Made a secret that signs tokens on this machine: {made}")
            self._remark(source)
            if not resumed:
                await upgrade.for_development(config, source, screen, self._consent)
            async with build.database(config) as engine:
                program = build.Program(config, source, engine, chosen, observers=[self._access.record], dev=True)
                facts = serve.started(config, source, sock, workers=1, watched=self._watched())

                def started(serving: server.Serving) -> None:
                    program.attach(serving)
                    screen.started(serve.timed(facts, began))
                    for text in program.remarks():
                        screen.remark(text)

                reload = _Reload(config, screen, program, source, self._consent, facts.url, History(engine))
                watching = asyncio.create_task(self._watch(reload, seen, at_once=resumed))
                try:
                    async with program.running():
                        await server.serve(
                            program.edge,
                            sock,
                            config.server(),
                            started=started,
                            draining=program.drain,
                            stop=self._stop,
                            told=self._end,
                            writing=engine.is_writing,
                        )
                finally:
                    self._stop.set()
                    watching.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await watching
                    self.good = _Good(config, reload.source)
        return None if self._ended else self._next

    def _end(self) -> None:
        """A signal: nothing comes after this session, also if it was about to give way to other settings."""
        self._ended = True

    def _remark(self, source: Source) -> None:
        for text in [*build.remarks(self._config, source), *secret.remarks(self._config)]:
            self._screen.remark(text)

    @property
    def _file(self) -> Path:
        return self._named or Path(FILE)

    def _watched(self) -> tuple[str, ...]:
        if not self._config.values["dev.watch"]:
            return ()
        return self._config.schema_file.name, self._file.name, f"{self._config.migrations_folder.name}/"

    def _places(self) -> tuple[list[Path], list[Path]]:
        return [self._config.schema_file, self._file], [self._config.migrations_folder]

    async def _watch(self, reload: _Reload, seen: watch.State, *, at_once: bool) -> None:
        """Take up what is saved, and what another process migrates. at_once: the files may differ from what is served."""
        following = asyncio.create_task(self._follow(reload))
        try:
            if at_once:
                await self._start(reload)
            if not self._config.values["dev.watch"]:
                await following
            async for paths in watch.changes(*self._places(), seen, self._stop):
                await self._settle(reload)
                if self._file in paths and self._take_settings():
                    return
                await self._start(reload)
        finally:
            tasks = [task for task in (following, self._reloading) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _follow(self, reload: _Reload) -> None:
        while True:
            if await reload.history.has_moved():
                await self._start(reload)
            await asyncio.sleep(follow.EACH)

    async def _start(self, reload: _Reload) -> None:
        async with self._turn:
            await self._settle(reload)
            self._reloading = asyncio.create_task(reload.run())

    async def _settle(self, reload: _Reload) -> None:
        """Wait for the reload that runs; a question that still waits for its answer is given up: what it is about has changed."""
        task = self._reloading
        if task is None:
            return
        if reload.asking:
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    def _take_settings(self) -> bool:
        """Look at the saved alyx.yaml; True when the session ends for it."""
        try:
            config = load_config(self._named)
            if (config.values, config.given) == (self._config.values, self._config.given):
                return False
            if any(config.values[name] != self._config.values[name] for name in ("server.host", "server.port")):
                serve.bind(config).close()
        except Unusable as error:
            self._screen.failed(error, still="The former settings stay in force.")
            return False
        names = sorted(name for name in config.values if config.values[name] != self._config.values.get(name))
        self._screen.note(f"{self._file.name} changed ({', '.join(names) or 'nothing that does anything'}): starting anew")
        self._next = config
        self._stop.set()
        return True


class _Reload:
    """Brings a saved schema into force.

    asking: it waits for an answer from the keyboard. source: what is served. history: that of the database.
    """

    def __init__(
        self,
        config: Config,
        screen: Screen,
        program: Program,
        source: Source,
        consent: Consent,
        url: str,
        history: History,
    ) -> None:
        self.asking = False
        self.source = source
        self.history = history
        self._config = config
        self._screen = screen
        self._program = program
        self._url = url
        self._ask = consent.ask
        self._consent = replace(consent, ask=self._ask_and_tell)
        self._told = ""
        self._scanning = program.remarks()

    async def run(self) -> None:
        """Read, migrate, swap; whatever is wrong is shown once, and the last good state goes on."""
        try:
            began = time.monotonic()
            source = await asyncio.to_thread(build.read_source, self._config)
            migrated = await upgrade.for_development(self._config, source, self._screen, self._consent)
            # At once: until then requests for the former tables are told to come again.
            self._program.swap(source)
            if migrated:
                await self.history.has_moved()  # by this very step
            changed = migrated or source.schema != self.source.schema
            made = [name for name in source.schema.collections if name not in self.source.schema.collections]
            known = build.remarks(self._config, self.source)
            self.source = source
            scanning, self._scanning = self._scanning, self._program.remarks()
            if changed or self._told:
                milliseconds = (time.monotonic() - began) * 1000
                self._screen.done(f"{self._config.schema_file.name} is in force ({milliseconds:.0f} ms)")
                for name in made:
                    self._screen.note(f"  {self._url}/api/collections/{name}")
                for text in [*build.remarks(self._config, source), *self._scanning]:
                    if text not in known and text not in scanning:
                        self._screen.remark(text)
            self._told = ""
        except Unusable as error:
            if str(error) != self._told:
                self._screen.failed(error, still="Still serving the last good state.")
            self._told = str(error)
        except Exception as error:  # whatever it is, the next save must be heard
            _log.exception("taking up the files failed")
            self._screen.failed(
                Refusal(f"unexpected: {type(error).__name__}: {error}"), still="Still serving the last good state."
            )

    async def _ask_and_tell(self, question: str) -> bool | None:
        self.asking = True
        try:
            return await self._ask(question)
        finally:
            self.asking = False
