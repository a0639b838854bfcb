"""Import, export, dump and seed: `records.transfer` run against an engine. Called by the command line's `db`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from alyx.base import json
from alyx.base.errors import SourceFault
from alyx.database.work import Work
from alyx.records import transfer
from alyx.records.transfer import Fault, Incoming, Outgoing, Refused, Row
from alyx.schema import yaml
from alyx.schema.model import Schema

T = TypeVar("T")

FAULTS_MOST = 100
"""Faults that are collected before the reading ends."""


class Database(Protocol):
    """What is needed of an engine."""

    async def read(self, work: Callable[[], Work[T]]) -> T: ...
    async def write(self, work: Callable[[], Work[T]]) -> T: ...


@dataclass(slots=True)
class Report:
    """What came in. With faults, `inserted` is what stands in the database all the same (0 when it was all or nothing)."""

    inserted: int = 0
    skipped: int = 0
    faults: list[Fault] = field(default_factory=list)


async def bring_in(
    database: Database, rows: Iterable[Row | list[Fault]], *, atomic: bool = False, skip_existing: bool = False
) -> Report:
    """Insert rows as they come, `transfer.CHUNK` to a transaction; with `atomic` all in one, for which they are held in memory.

    After the first fault nothing more is written, and the rest is only checked, so that one run tells all that is wrong.
    """
    report = Report()
    chunk: list[Row] = []
    for row in rows:
        if isinstance(row, list):
            report.faults += row
            if len(report.faults) >= FAULTS_MOST:
                break
        elif not report.faults:
            chunk.append(row)
            if len(chunk) >= transfer.CHUNK and not atomic:
                chunk = await _flush(database, chunk, report, skip_existing, whole=False)
    if chunk and not (report.faults and atomic):
        await _flush(database, chunk, report, skip_existing, whole=True)
    return report


async def _flush(database: Database, chunk: list[Row], report: Report, skip_existing: bool, *, whole: bool) -> list[Row]:
    """One transaction; gives the rows that still wait for the records they refer to."""
    try:
        done = await database.write(lambda: transfer.insert(chunk, skip_existing=skip_existing, whole=whole))
    except Refused as refused:
        report.faults += refused.faults
        return []
    report.inserted += done.inserted
    report.skipped += done.skipped
    return list(done.waiting)


async def lines_out(database: Database, outgoing: Outgoing, format: str) -> AsyncIterator[str]:
    """A collection as lines of CSV or JSON, in the order of the key, a page per transaction."""
    if format == "csv":
        yield outgoing.csv_header()
    after: Any = None
    while True:
        texts, after = await database.read(lambda after=after: outgoing.page(after))  # type: ignore[misc]  # mypy has no type for it
        for text in texts:
            yield outgoing.csv_line(text) if format == "csv" else text + "\n"
        if after is None:
            return


async def dump(database: Database, schema: Schema, metadata: sa.MetaData, take: Callable[[str, list[str]], None]) -> int:
    """Every collection in one snapshot; `take` gets a collection's name and JSON texts. Gives the number of records."""
    collections = [Outgoing(collection, metadata) for collection in schema.collections.values()]
    return await database.read(lambda: transfer.dump(collections, lambda outgoing, texts: take(outgoing.collection.name, texts)))


class SeedReader:
    """Reads seed files: YAML or JSON with `collection: [rows]`, and dumps (`.jsonl`).

    faults: what is wrong with the files themselves, file by file; `without_key`: rows that will be made anew each time.
    """

    def __init__(self, schema: Schema, metadata: sa.MetaData) -> None:
        self._schema = schema
        self._metadata = metadata
        self._into: dict[str, Incoming] = {}
        self.faults: list[SourceFault] = []
        self.without_key = 0

    def read(self, path: Path) -> list[Row]:
        """The rows of one file that are good. Raises SourceError for a file that cannot be read at all."""
        found = self._dump(path) if path.suffix in (".jsonl", ".ndjson") else self._map(path)
        rows: list[Row] = []
        for name, line, given in found:
            incoming = self._incoming(name)
            if incoming is None:
                known = self._schema.collections
                self._fault(path, line, name, "there is no such collection", yaml.did_you_mean(name, known))
                continue
            if not isinstance(given, dict) or given.get(incoming.collection.key.name) is None:
                self.without_key += 1
            row = incoming.check(line, given)
            if isinstance(row, Row):
                rows.append(row)
            else:
                for fault in row:
                    self._fault(path, line, yaml.join(name, fault.field) if fault.field else name, fault.message)
        return rows

    def _incoming(self, name: str) -> Incoming | None:
        if name not in self._into and name in self._schema.collections:
            self._into[name] = Incoming(self._schema.collections[name], self._metadata)
        return self._into.get(name)

    def _fault(self, path: Path, line: int, place: str, message: str, hint: str | None = None) -> None:
        self.faults.append(SourceFault(str(path), line, 0, place, message, hint))

    def _map(self, path: Path) -> Iterator[tuple[str, int, Any]]:
        root = yaml.read(yaml.read_text(path), str(path))
        if root.value is not None and not root.is_map:
            self._fault(path, root.line, "", "a map of collections is needed: `posts: [{...}, ...]`")
        for name, rows in root.entries():
            if not rows.is_list:
                self._fault(path, rows.line, name, "a list of records is needed")
                continue
            for row in rows.items:
                yield name, row.line, row.value

    def _dump(self, path: Path) -> Iterator[tuple[str, int, Any]]:
        with path.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                if not text.strip():
                    continue
                try:
                    entry = json.parse(text)
                    yield entry["collection"], number, entry["doc"]
                except (json.InvalidJSON, KeyError, TypeError):
                    self._fault(path, number, "", 'not a line of a dump: `{"collection": "posts", "doc": {...}}`')
