"""rules_tests.yaml: cases of who may do what, run against the rules of schema.yaml without touching the database.

Called by `alyx rules test`. A case is judged as `records.explaining` judges a question: an update or a delete of what may not be
read is denied by the read rule. Rules that look into other collections are asked in a database in memory, which holds what the
case gives. A file is a list of cases (or a map with `tests:`), each:

    - name: authors read their drafts
      collection: posts
      operation: read            # create, read, update, delete
      auth: { id: ..., role: user }          # left out: nobody
      doc: { status: draft, author_id: ... } # the record; what is left out has its default, or null
      change: { title: new }                 # of an update: what it sets
      given: { users: [{ id: ... }] }        # records of other collections
      request: { method: GET, ip: 127.0.0.1 }
      expect: allow              # or deny
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from alyx.app.build import Source
from alyx.base.errors import AlyxError, SourceError, SourceFault
from alyx.database.compile import compile_query
from alyx.database.sqlite.connection import MEMORY, connect
from alyx.database.work import Rows, Statement, drive
from alyx.records import explaining
from alyx.records.explaining import Question
from alyx.records.row import Writable
from alyx.records.transfer import without_secrets
from alyx.schema import yaml
from alyx.schema.model import JUDGED, Collection, Operation
from alyx.schema.readers import Read
from alyx.schema.values import Validator
from alyx.schema.yaml import Faults, Node

FILE = "rules_tests.yaml"
_KEYS = ("name", "collection", "operation", "auth", "doc", "change", "given", "request", "expect")


@dataclass(frozen=True)
class Case:
    """One case, checked. given: records of other collections, in full."""

    name: str
    line: int
    collection: str
    question: Question
    given: Mapping[str, list[dict[str, Any]]]
    allowed: bool


@dataclass(frozen=True)
class Outcome:
    """What a case came to. rule: the text of the rule that decided; a missing rule is the admin rule."""

    case: Case
    allowed: bool
    operation: Operation
    rule: str

    @property
    def passed(self) -> bool:
        """Whether it came as expected."""
        return self.allowed == self.case.allowed


def read(path: Path, source: Source) -> list[Case]:
    """The cases of a file. Raises SourceError with every fault."""
    faults = Faults(str(path))
    root = yaml.parse(yaml.read_text(path), faults)
    listed = root.get("tests") if root.is_map else root
    if root.is_map:
        faults.unknown_keys(root, "", ("tests",))
    if listed is None or not listed.is_list:
        faults.add(root, "", "a list of cases is needed")
    reader = _Reader(source, faults)
    found = [reader.case(node, index) for index, node in enumerate(listed.items if listed is not None else ())]
    faults.raise_any()
    return [case for case in found if case is not None]


class _Reader:
    """Reads cases, checking every value against the schema; faults are collected."""

    def __init__(self, source: Source, faults: Faults) -> None:
        self._collections = source.schema.collections
        self._faults = faults
        self._validators: dict[str, Validator] = {}

    def case(self, node: Node, index: int) -> Case | None:
        before = len(self._faults.found)
        if not node.is_map:
            self._faults.add(node, str(index), "a case is a map")
            return None
        self._faults.unknown_keys(node, str(index), _KEYS)
        self._word(node, index, "collection", tuple(self._collections))
        self._word(node, index, "operation", JUDGED)
        self._word(node, index, "expect", ("allow", "deny"))
        auth = self._members(node, index, "auth", explaining.AUTH)
        request = self._members(node, index, "request", explaining.REQUEST)
        given = {name: self._records(name, rows, index) for name, rows in self._entries(node, index, "given")}
        if len(self._faults.found) > before:
            return None
        return self._joined(node, index, auth, request, given)

    def _joined(
        self, node: Node, index: int, auth: dict[str, Any], request: dict[str, Any], given: dict[str, list[dict[str, Any]]]
    ) -> Case | None:
        collection = self._collections[node["collection"].value]
        doc = self._record(collection, node.get("doc"), f"{index}.doc")
        change = self._record(collection, node.get("change"), f"{index}.change")
        if doc is None or change is None:
            return None
        operation: Operation = node["operation"].value
        whole = Writable(collection).complete(doc)
        name = node.get("name")
        return Case(
            name=str(name.value) if name is not None else f"{collection.name}: {operation} ({index + 1})",
            line=node.line,
            collection=collection.name,
            question=Question(
                operation,
                explaining.caller(auth),
                doc=whole,
                after=whole | change if operation == "update" else None,
                request=explaining.call(operation, {"create": doc, "update": change}.get(operation), request),
            ),
            given=given,
            allowed=node["expect"].value == "allow",
        )

    def _word(self, node: Node, index: int, key: str, known: tuple[str, ...]) -> None:
        found = node.get(key)
        if found is None:
            self._faults.add(node, f"{index}.{key}", f"one of {', '.join(known)} is needed")
        elif found.value not in known:
            self._faults.add(
                found, f"{index}.{key}", f"`{found.value}` is none of these", yaml.did_you_mean(str(found.value), known)
            )

    def _members(self, node: Node, index: int, key: str, readers: Mapping[str, Read]) -> dict[str, Any]:
        found = node.get(key)
        if found is None or found.value is None:
            return {}
        given, faults = explaining.members(key, found.value, readers)
        for fault in faults:
            place = found.get(fault.field.partition(".")[2]) if found.is_map else None
            self._faults.add(place or found, f"{index}.{fault.field}", fault.message)
        return given

    def _entries(self, node: Node, index: int, key: str) -> Iterator[tuple[str, Node]]:
        found = node.get(key)
        if found is not None and found.value is not None and not found.is_map:
            self._faults.add(found, f"{index}.{key}", "a map is needed")
        for name, rows in found.entries() if found is not None else ():
            if name not in self._collections or not rows.is_list:
                hint = yaml.did_you_mean(name, self._collections)
                self._faults.add(rows, f"{index}.{key}.{name}", "a collection with a list of records is needed", hint)
            else:
                yield name, rows

    def _records(self, name: str, rows: Node, index: int) -> list[dict[str, Any]]:
        collection = self._collections[name]
        found = [self._record(collection, row, f"{index}.given.{name}.{n}") for n, row in enumerate(rows.items)]
        return [Writable(collection).complete(row) for row in found if row is not None]

    def _record(self, collection: Collection, node: Node | None, path: str) -> dict[str, Any] | None:
        """The fields that a case gives, in the API's form; None if they are wrong."""
        if node is None or node.value is None:
            return {}
        validator = self._validators.setdefault(collection.name, Validator(without_secrets(collection)))
        try:
            return validator.check_patch(node.value)
        except AlyxError as error:
            for detail in error.details:
                place = node.get(detail.field.split(".")[0]) or node
                self._faults.add(place, yaml.join(path, detail.field), detail.message)
            if not error.details:
                self._faults.add(node, path, error.message)
            return None


def run(cases: list[Case], source: Source) -> list[Outcome]:
    """Judge every case."""
    return [_judge(case, source) for case in cases]


def _judge(case: Case, source: Source) -> Outcome:
    connection = _memory(case, source)

    def execute(statement: Statement) -> Rows:
        return connection.execute(statement.sql, list(statement.params)).fetchall()

    try:
        judged = drive(explaining.explain(source.book.of(case.collection), case.question), execute)
    finally:
        connection.close()
    decisive = judged[-1]
    if decisive.allowed:  # by all of them; shown is the operation's own
        decisive = next(each for each in judged if each.operation == case.question.operation)
    return Outcome(case, decisive.allowed, decisive.operation, decisive.rule)


def _memory(case: Case, source: Source) -> apsw.Connection:
    connection = connect(MEMORY)
    # A case gives the records that its rule looks at and no more.
    connection.execute("PRAGMA foreign_keys = OFF")
    for table in source.metadata.tables.values():
        connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
    for name, rows in case.given.items():
        collection = source.schema.collections[name]
        values: dict[str, Any] = {field: sa.bindparam(f"v_{field}") for field in collection.fields}
        insert = compile_query(sa.insert(source.metadata.tables[name]).values(values))
        for row in rows:
            statement = insert.bind(Writable(collection).parameters(row))
            try:
                connection.execute(statement.sql, list(statement.params))
            except apsw.Error as error:
                connection.close()
                raise SourceError([_unfit(case, name, str(error))]) from error
    return connection


def _unfit(case: Case, name: str, reason: str) -> SourceFault:
    return SourceFault(FILE, case.line, 0, f"given.{name}", f"this record cannot be stored: {reason}")
