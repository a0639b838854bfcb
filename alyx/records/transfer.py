"""Records in and out of files: CSV and JSON lines, read and written as streams. Called by the command line's `db`.

Pure but for the work that it hands to the database: texts in, checked rows out, and statements. No rule is judged here, since
whoever may open the database may do everything; internal fields are part of a file for the same reason. It opens no file.

CSV tells null and the empty string apart as PostgreSQL's COPY does: an empty cell is null (of a field that is not nullable:
absent, so that its default applies), a cell of two quotes `""` is the empty string. JSON values stand as JSON text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.database import documents, tables
from alyx.database.compile import compile_query
from alyx.database.work import ConstraintViolation, ForeignKeyViolation, UniqueViolation, Work
from alyx.records.row import Writable
from alyx.schema.model import Collection
from alyx.schema.readers import from_text
from alyx.schema.values import Validator

CHUNK = 1000
"""Rows of one transaction, and of one page of an export."""
RECORD_MOST = 64 * 1024 * 1024
"""Bytes of one CSV record or JSON line; beyond it a quote was left open, most likely."""

_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|\Z)')
_QUOTED = re.compile(r'[",\r\n]|^\s|\s$|^$')


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row: the line where it begins (from 1), the field ("" for the whole row), and a sentence."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.message}" if self.field else f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file that passed every check: in full, defaults filled in, in the API's form; `into` is where it goes."""

    into: Incoming
    line: int
    values: dict[str, Any]


class Incoming:
    """How rows come into one collection: checked like a create, but with internal fields and the server's own taken as given."""

    def __init__(self, collection: Collection, metadata: sa.MetaData) -> None:
        self.collection = collection
        self._fields = collection.fields
        self._validator = Validator(without_secrets(collection))
        self._writable = Writable(collection)
        table = metadata.tables[collection.name]
        values: dict[str, Any] = {name: sa.bindparam(f"v_{name}") for name in collection.fields}
        self._insert = compile_query(sa.insert(table).values(values))
        key = table.c[collection.key.name]
        self._standing = compile_query(sa.select(key).where(key == sa.bindparam("key")))

    def check(self, line: int, given: Any) -> Row | list[Fault]:
        """One document of a file -> a row, or every fault of it."""
        try:
            return Row(self, line, self._writable.complete(self._validator.check_create(given)))
        except AlyxError as error:
            found = [Fault(line, detail.field, detail.message) for detail in error.details]
            return found or [Fault(line, "", error.message)]

    def json_lines(self, lines: Iterable[bytes]) -> Iterator[Row | list[Fault]]:
        """The rows of a file with one JSON object on each line; blank lines are skipped."""
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            if len(text) > RECORD_MOST:
                yield [Fault(number, "", f"the line is longer than {RECORD_MOST} bytes")]
                continue
            try:
                given = json.parse(text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text)
            except json.InvalidJSON as error:
                yield [Fault(number, "", str(error))]
                continue
            yield self.check(number, given)

    def csv(self, lines: Iterable[bytes]) -> Iterator[Row | list[Fault]]:
        """The rows of a CSV file with a line of names. A fault in that line ends the reading: nothing after it has a meaning."""
        records = _records(lines)
        header = next(records, None)
        if header is None:
            return
        if isinstance(header, Fault):
            yield [header]
            return
        names = [cell or "" for cell in header[1]]
        faults = self._check_header(header[0], names)
        if faults:
            yield faults
            return
        for record in records:
            if isinstance(record, Fault):
                yield [record]
                return
            yield self._from_cells(record[0], names, record[1])

    def _check_header(self, line: int, names: list[str]) -> list[Fault]:
        found = [Fault(line, name, "the collection has no such field") for name in names if name not in self._fields]
        return found + [Fault(line, name, "the column stands twice") for name in sorted(set(names)) if names.count(name) > 1]

    def _from_cells(self, line: int, names: list[str], cells: list[str | None]) -> Row | list[Fault]:
        if len(cells) != len(names):
            return [Fault(line, "", f"{len(cells)} cells, but the first line names {len(names)} columns")]
        given: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, cell in zip(names, cells, strict=True):
            field = self._fields[name]
            if cell is None:
                if field.nullable:
                    given[name] = None
                continue
            try:
                given[name] = json.parse(cell.encode()) if tables.stores_json(field) else from_text(field, cell)
            except ValueError as error:
                faults.append(Fault(line, name, str(error)))
        if faults:
            return faults
        return self.check(line, given)

    def insert_one(self, row: Row, *, skip_existing: bool) -> Work[bool | None]:
        """Insert a row. True: done. False: its key stands already. None: it refers to a record that is not there.

        Raises Refused for any other violation.
        """
        key = row.values[self.collection.key.name]
        if skip_existing and key is not None and (yield self._standing.bind({"key": key})):
            return False
        try:
            yield self._insert.bind(self._writable.parameters(row.values))
        except ForeignKeyViolation:
            return None
        except UniqueViolation as error:
            raise Refused([Fault(row.line, ", ".join(error.fields), "a record with this value exists already")]) from None
        except ConstraintViolation as error:
            raise Refused([Fault(row.line, "", f"the database refuses this row: {error}")]) from None
        return True


@dataclass(frozen=True, slots=True)
class Inserted:
    """What an insert did. waiting: rows that refer to records that are not there."""

    inserted: int
    skipped: int
    waiting: tuple[Row, ...]


class Refused(Exception):
    """Rows cannot be inserted; nothing of their transaction was."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


def insert(rows: Sequence[Row], *, skip_existing: bool, whole: bool) -> Work[Inserted]:
    """Insert rows in one transaction. One whose reference does not exist yet is tried again after the others while that helps.

    whole: what then still waits is Refused; else it comes back, to be tried with later rows. skip_existing: leave out rows whose
    key stands already. Raises Refused.
    """
    waiting, inserted, skipped = list(rows), 0, 0
    while waiting:
        tried, waiting = waiting, []
        for row in tried:
            outcome = yield from row.into.insert_one(row, skip_existing=skip_existing)
            if outcome is None:
                waiting.append(row)
            elif outcome:
                inserted += 1
            else:
                skipped += 1
        if len(waiting) == len(tried):
            break
    if whole and waiting:
        raise Refused([Fault(row.line, "", "refers to a record that does not exist") for row in waiting])
    return Inserted(inserted, skipped, tuple(waiting))


class Outgoing:
    """How a collection goes out: page after page by its key, so that no page holds the database for long."""

    def __init__(self, collection: Collection, metadata: sa.MetaData) -> None:
        self.collection = collection
        self._fields = tuple(collection.fields.values())
        table = metadata.tables[collection.name]
        key = table.c[collection.key.name]
        page = sa.select(key, documents.document(table, self._fields)).order_by(key).limit(sa.literal_column(str(CHUNK)))
        self._first = compile_query(page)
        self._next = compile_query(page.where(key > sa.bindparam("key")))

    def page(self, after: Any = None) -> Work[tuple[list[str], Any]]:
        """Read one page: the documents as JSON texts, and the key to go on after (None at the end)."""
        rows = yield self._first.bind({}) if after is None else self._next.bind({"key": after})
        return [row[1] for row in rows], rows[-1][0] if len(rows) == CHUNK else None

    def csv_header(self) -> str:
        """The line of names."""
        return ",".join(field.name for field in self._fields) + "\n"

    def csv_line(self, document: str) -> str:
        """A document as one CSV record, with its line end."""
        values = json.loads(document)
        return ",".join(_cell_text(values[field.name], tables.stores_json(field)) for field in self._fields) + "\n"


def dump(collections: Sequence[Outgoing], take: Callable[[Outgoing, list[str]], None]) -> Work[int]:
    """Read these collections in one transaction, so that they fit together; `take` gets page after page. Gives the count."""
    count = 0
    for outgoing in collections:
        after: Any = None
        while True:
            texts, after = yield from outgoing.page(after)
            take(outgoing, texts)
            count += len(texts)
            if after is None:
                break
    return count


def _cell_text(value: Any, as_json: bool) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) and not as_json else json.dumps(value).decode()
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _records(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str | None]] | Fault]:
    """The records of a CSV text with the line each begins at: a cell is None when empty, "" when written as two quotes."""
    # The lines of one record are kept apart until it is whole, and each is looked at once: a record may have very many.
    held: list[str] = []
    begin = quotes = size = 0
    for number, raw in enumerate(lines, 1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            yield Fault(number, "", "not valid UTF-8")
            return
        begin = begin if held else number
        held.append(text)
        quotes += text.count('"')
        size += len(text)
        if quotes % 2:
            if size > RECORD_MOST:
                break
            continue
        record = "".join(held).removesuffix("\n").removesuffix("\r")
        held, quotes, size = [], 0, 0
        if record:
            cells = _cells(record)
            yield (
                Fault(begin, "", 'a quote stands in the wrong place; write `""` inside quotes')
                if cells is None
                else (begin, cells)
            )
    if held:
        yield Fault(begin, "", "a quote that opens here is never closed")


def _cells(record: str) -> list[str | None] | None:
    cells: list[str | None] = []
    position = 0
    while match := _CELL.match(record, position):
        quoted, bare, end = match.groups()
        cells.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        if end == "":
            return cells
        position = match.end()
    return None


def without_secrets(collection: Collection) -> Collection:
    """The collection with every field public, since `internal` hides fields from clients and not from their owner."""
    fields = {name: dataclasses.replace(field, internal=False) for name, field in collection.fields.items()}
    return dataclasses.replace(collection, fields=fields)
