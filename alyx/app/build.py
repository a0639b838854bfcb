"""Joins the parts of the running program, in layer order; the one place that knows them all.

Called by dev mode, `serve`, and the commands that need the schema or the database. Decides nothing itself; no part receives the
whole configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from alyx import __version__
from alyx.app.live import LiveQueries
from alyx.app.refusal import Refusal
from alyx.auth.tokens import Verifier
from alyx.base.errors import SourceError, SourceFault
from alyx.config import Config
from alyx.database import tables
from alyx.database.migrations.migrator import Migrator
from alyx.database.sqlite.connection import CannotOpen
from alyx.database.sqlite.engine import Engine
from alyx.http import admin, client, docs, health, metrics
from alyx.http import records as record_routes
from alyx.http.edge import Edge, Observer
from alyx.http.routes import Routes
from alyx.http.server import Serving
from alyx.realtime.relay import UnixRelay
from alyx.records.records import Records
from alyx.rules.book import RuleBook, syntax_fault
from alyx.schema import load as schemas
from alyx.schema import yaml
from alyx.schema.model import CHANNEL_OPERATIONS, JUDGED, OPERATIONS, Operation, Schema
from alyx.schema.yaml import Faults, Node

_A_DAY = 86_400.0
_GAUGES = frozenset({"write_queue", "read_queue", "wal_bytes", "largest_group"})
"""Of the engine's numbers; the others only ever grow."""


@dataclass(frozen=True)
class Source:
    """schema.yaml, checked with all its rules, and the tables that it means."""

    schema: Schema
    metadata: sa.MetaData
    book: RuleBook


def read_source(config: Config) -> Source:
    """Read and check schema.yaml. Raises SourceError with every fault; Refusal if there is no such file."""
    schema = _schema(require_schema_file(config))
    metadata = tables.build(schema)
    return Source(schema, metadata, RuleBook.load(schema, metadata))


def require_schema_file(config: Config) -> Path:
    """The schema file; a folder without one is no project, and nothing is to be made there. Raises Refusal."""
    file = config.schema_file
    if not file.exists():
        raise Refusal(f"there is no {file}", "start a project with `alyx init`, or name another file with --config")
    return file


def _schema(file: Path) -> Schema:
    """The schema; where it is faulty, what is wrong with the text of its rules is told together with that."""
    try:
        return schemas.load(file)
    except SourceError as error:
        found = [*error.faults, *_faults_of_rules(file)]
        raise SourceError(sorted(found, key=lambda fault: (fault.line, fault.column))) from None


def _faults_of_rules(file: Path) -> list[SourceFault]:
    """Every rule that cannot be read, as far as the file itself can be; what rules refer to needs a good schema."""
    try:
        root = yaml.parse(yaml.read_text(file), Faults(str(file)))
    except SourceError:
        return []
    return [
        *_faults_below(file, root, "collections", lambda collection: collection.get("rules"), OPERATIONS, "rules."),
        *_faults_below(file, root, "channels", lambda channel: channel, CHANNEL_OPERATIONS, ""),
    ]


def _faults_below(
    file: Path, root: Node, section: str, rules_of: Callable[[Node], Node | None], operations: Sequence[str], between: str
) -> list[SourceFault]:
    entries = root.get(section)
    found = []
    for name, entry in entries.entries() if entries else ():
        rules = rules_of(entry)
        for operation, node in rules.entries() if rules else ():
            if operation in operations and isinstance(node.value, str) and node.value.strip():
                fault = syntax_fault(node.value)
                if fault is not None:
                    place = f"{section}.{name}.{between}{operation}"
                    found.append(SourceFault(str(file), node.line, node.column, place, fault.sentence(node.value), fault.hint))
    return found


def remarks(config: Config, source: Source) -> list[str]:
    """What to tell at start: rules that are missing, keys that do nothing yet, variables that nobody knows."""
    return [*remarks_on_schema(source), *remarks_on_settings(config), *config.warnings]


def remarks_on_schema(source: Source) -> list[str]:
    """Rules that are missing in schema.yaml, and keys that do nothing yet."""
    closed = []
    for collection in source.schema.collections.values():
        missing = [operation for operation in JUDGED if operation not in collection.rules]
        if missing:
            closed.append(f"{collection.name} has no rule for {_and(missing)}: closed to all but admins")
    for channel in source.schema.channels.values():
        without = [operation for operation in CHANNEL_OPERATIONS if getattr(channel, operation) is None]
        if without:
            closed.append(f"channel {channel.name} has no rule for {' and '.join(without)}: closed to all but admins")
    return [*closed, *schemas.later_keys(source.schema)]


def remarks_on_settings(config: Config) -> list[str]:
    """Keys of alyx.yaml that do nothing yet."""
    return [f"{name} in alyx.yaml does nothing yet: its feature comes with a later version" for name in config.later]


def migrator(config: Config) -> Migrator:
    """The migrator of this project's database, whose folder is made if it is missing."""
    _make_folder(config.database_path)
    return Migrator(config.database_path, config.migrations_folder, _observed)


def _observed(schema: Schema) -> Callable[[str], frozenset[str]]:
    """Which columns the rules of a schema read, for the change log's images."""
    return RuleBook.load(schema, tables.build(schema)).observed


@asynccontextmanager
async def database(config: Config, *, patient: bool = False) -> AsyncIterator[Engine]:
    """The engine, started, for as long as the block runs. patient: for a command, whose reads may take as long as they need.

    Raises Refusal if the file cannot be opened.
    """
    _make_folder(config.database_path)
    try:
        settings = config.engine()
        engine = Engine.open(replace(settings, statement_timeout=_A_DAY) if patient else settings)
    except CannotOpen as error:
        raise Refusal(str(error), "`alyx doctor` tells more") from error
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def record_api(config: Config, source: Source, engine: Engine) -> Records:
    """The record API over an engine."""
    return Records(source.schema, source.book, source.metadata, engine, config.limits(), asyncio.to_thread)


class Program:
    """The running program: an ASGI application over an engine, whose routes can be replaced while it serves."""

    def __init__(
        self, config: Config, source: Source, engine: Engine, secret: str, *, observers: Sequence[Observer], dev: bool
    ) -> None:
        self._config = config
        self._engine = engine
        self._verifier = Verifier(config.tokens(secret))
        self._metrics = metrics.Metrics([metrics.prefixed("database_", engine.counters, _GAUGES)])
        self.health = health.Health(__version__, {"database": engine.health})
        edge = config.edge(dev=dev)
        self._records = record_api(config, source, engine)
        self._live = self._make_live(shared=not dev)
        self._realtime = self._live.routes(edge.cors) if self._live is not None else None
        self.edge = Edge(
            self._routes(source),
            edge,
            identify=self._verifier.identify,
            observers=[self._metrics.record, *observers],
        )

    def swap(self, source: Source) -> None:
        """Serve another schema from the next request on; requests in flight finish on the old one."""
        self._engine.forget()
        self._records = record_api(self._config, source, self._engine)
        self.edge.routes = self._routes(source)
        if self._live is not None:
            self._live.adopt(self._records)

    def running(self) -> AbstractAsyncContextManager[None]:
        """`async with program.running():` live queries follow the changes for as long as the block runs."""
        return self._live.running() if self._live is not None else nullcontext()

    def drain(self) -> None:
        """The server stops: it is not ready any more, and takes no new live queries."""
        self.health.drain()
        if self._live is not None:
            self._live.drain()

    def attach(self, serving: Serving) -> None:
        """Show the server's own numbers among the metrics; called when it runs."""
        self._metrics.sources = (*self._metrics.sources, serving.numbers)

    def remarks(self) -> Sequence[str]:
        """What only the database could tell: rules that read whole collections."""
        return self._records.scanning_rules()

    def _make_live(self, *, shared: bool) -> LiveQueries | None:
        """The live queries, if they are wanted. shared: whether other processes serve the same database."""
        settings = self._config.realtime()
        if settings is None:
            return None
        relay = UnixRelay(self._config.database_path) if shared else None
        live = LiveQueries(settings, self._engine, self._verifier, self._records, self._config.limits(), relay)
        self._metrics.sources = (*self._metrics.sources, live.numbers)
        self.health.components["realtime"] = live.health
        return live

    def _routes(self, source: Source) -> Routes:
        realtime = self._realtime
        return Routes(
            [
                *record_routes.routes(self._records, realtime.stream if realtime is not None else None),
                *(realtime.routes() if realtime is not None else []),
                *admin.routes(self._records),
                *self.health.routes(),
                *metrics.routes(self._metrics, self._config.metrics()),
                *docs.routes(source.schema, self._config.limits(), self._config.docs()),
                *client.routes(live=self._config.docs().enabled),
            ]
        )


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"the folder {file.parent} cannot be made: {error.strerror}", "database.url says where it is") from error


def _and(words: list[Operation]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def require_migrated(config: Config, source: Source) -> None:
    """For commands that read or write records. Raises Refusal if the tables are not those of the schema."""
    if not migrator(config).plan(source.schema).empty:
        raise Refusal(f"the database is not at {config.schema_file.name}", "run `alyx migrate apply` (or `alyx dev`) first")
