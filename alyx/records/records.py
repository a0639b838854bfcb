"""The record API: one method for each call of contract §3. Joins parse -> plan -> execute -> shape; each method is one walk.

Called by `http`; calls down into rules and database. Knows nothing of sockets, and of accounts only the Identity.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.database.work import Work
from alyx.records import batch as batches
from alyx.records import explaining, hints, idempotency, query, reading, shape, writing
from alyx.records.access import Access, Known
from alyx.records.answer import Answer, Call
from alyx.records.explaining import Judgement, Question
from alyx.records.limits import Limits
from alyx.records.plan import Planner, PreparedList
from alyx.records.row import Writable
from alyx.records.writing import Prepared, Target
from alyx.rules.book import RuleBook
from alyx.schema import text as texts
from alyx.schema.model import OPERATIONS, Collection, Field, Schema, Type
from alyx.schema.readers import from_text
from alyx.schema.values import Validator

T = TypeVar("T")
Body: TypeAlias = Callable[[], Awaitable[bytes]]
"""Gives the body of a request; asked only once the collection is there and open, so that these come first (contract §3)."""
_log = logging.getLogger("alyx.records")
_PREPARED_KEPT = 2_000
_REMARKS = 200
_IDENTITIES_KEPT = 10_000
_INLINE = 64_000
"""Bytes of a body that is judged on the event loop: at most about 5 ms of it."""
_SOMEBODY = Identity({"id": "-", "email": "-", "role": "-", "verified": True, "claims": {}})
"""Any signed-in caller, for plans that depend on which of its values are null."""
_LONGEST_KEPT = 512


class Database(Protocol):
    """What the record API needs of an engine: run work in one transaction and give its result, or raise what it raised."""

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run in one read transaction."""
        ...

    async def write(self, work: Callable[[], Work[T]]) -> T:
        """Run in one write transaction; done means that it is on disk."""
        ...

    def scans(self, sql: str) -> Sequence[str]:
        """The lines of a query plan in which a whole table or index is read."""
        ...


class Records:
    """The records of one schema. Made anew whenever schema or rules change."""

    def __init__(
        self,
        schema: Schema,
        book: RuleBook,
        metadata: sa.MetaData,
        database: Database,
        limits: Limits,
        apart: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        """apart: runs a function on a thread, so that a large body holds nobody else up."""
        self._apart = apart
        self._schema = schema
        self._book = book
        self._database = database
        self._limits = limits
        self.planner = Planner(schema, book, metadata)
        self._writable = {name: Writable(each) for name, each in schema.collections.items()}
        self._keys = {name: _key_reader(each.key) for name, each in schema.collections.items()}
        self._validators = {name: Validator(each, max_depth=limits.json_depth) for name, each in schema.collections.items()}
        self._prepared: dict[tuple[str, str], PreparedList] = {}
        self._remarked: set[str] = set()
        self._known: dict[Identity, Known] = {}

    # --- reads ----------------------------------------------------------------------------------------------------------------

    async def list(self, call: Call, name: str, text: str) -> Answer:
        """`GET /{c}`: a page of documents. text: the raw query string."""
        collection = self._collection(name)
        access = self._access(call)
        access.require(self._book.of(name).read, name)
        prepared = self._prepare_list(collection, text)
        work = partial(reading.list_documents, self.planner, prepared, access, self._limits.expand_rows)
        started = perf_counter()
        body = await self._database.read(work)
        if perf_counter() - started < hints.SLOW:
            return Answer(200, body)
        return Answer(200, body, hint=self._remark(prepared, access))

    async def get(self, call: Call, name: str, key_text: str, text: str) -> Answer:
        """`GET /{c}/{id}`: one document with its ETag, or 304."""
        collection = self._collection(name)
        access = self._access(call)
        rule = self._book.of(name).read
        access.require(rule, name)
        fields, expand = query.parse_single(self._schema, collection, text) if text else ((), ())
        key = self._key(name, key_text)
        planned = self.planner.plan_get(collection, fields, expand, access)
        bound = access.binds(rule)
        bound["key"] = key
        statement = planned.bind(bound)
        if expand:
            work = partial(reading.get_expanded, self.planner, statement, expand, access, self._limits.expand_rows)
            return Answer(200, (await self._database.read(work)).encode())
        document = await self._database.read(partial(reading.get_document, statement))
        if fields:
            return Answer(200, document.encode())
        etag = shape.etag(document)
        if call.if_none_match is not None and shape.names(call.if_none_match, etag):
            return Answer(304, etag=etag)
        return Answer(200, document.encode(), etag=etag)

    def _remark(self, prepared: PreparedList, access: Access) -> str | None:
        """Why a list was slow, where its plan says so; logged once for each kind of list."""
        plan, _ = self.planner.plan_list(prepared, access)
        hint = hints.of_list(prepared.collection.name, prepared.asked, self._database.scans(plan.page.sql))
        if hint is not None and hint not in self._remarked and len(self._remarked) < _REMARKS:
            self._remarked.add(hint)
            _log.warning(hint)
        return hint

    def scanning_rules(self) -> Sequence[str]:
        """Sentences about rules that read a whole other collection each time they are judged; for the operator, at start."""
        access = Access(_SOMEBODY)
        found: list[str | None] = []
        for name in self._schema.collections:
            rules = self._book.of(name)
            for operation in OPERATIONS:
                rule = rules[operation]
                if rule.looks_elsewhere and not (operation == "update_check" and rule is rules.update):
                    scans = self._database.scans(self.planner.plan_rule(rule, access).sql)
                    found.append(hints.of_rule(name, operation, rule.elsewhere, scans))
        return [text for text in found if text is not None]

    # --- writes ---------------------------------------------------------------------------------------------------------------

    async def create(self, call: Call, name: str, read_body: Body, text: str = "") -> Answer:
        """`POST /{c}`: one document, or a list of them, all or none."""
        target = self._target(call, name)
        target.access.require(self._book.of(name).create, name)
        query.parse_flags(text, ())
        body = await read_body()
        given = await self._aside(body, lambda: self._validators[name].create_many(body, self._limits.create_many))
        path = f"/api/collections/{name}"
        if isinstance(given, dict):
            prepared = writing.prepare_create(target, given)
            return await self._write(call, path, body, lambda: _answer_one(path, prepared))
        several = batches.prepare_all([partial(writing.prepare_create, self._target(call, name), each) for each in given])
        return await self._write(call, path, body, lambda: _answer_many(several))

    async def update(self, call: Call, name: str, key_text: str, read_body: Body, text: str = "") -> Answer:
        """`PATCH /{c}/{id}`: change some fields."""
        target = self._target(call, name)
        self._require_open(target, "update")
        query.parse_flags(text, ())
        body = await read_body()
        patch = await self._aside(body, lambda: self._validators[name].patch(body))
        prepared = writing.prepare_update(target, self._key(name, key_text), patch, call.if_match)
        return await self._write_one(call, f"/api/collections/{name}", f"{key_text}?{text}", body, prepared)

    async def replace(self, call: Call, name: str, key_text: str, read_body: Body, text: str = "") -> Answer:
        """`PUT /{c}/{id}`: replace a document; with `?upsert=true` create a missing one."""
        target = self._target(call, name)
        upsert = query.parse_flags(text, ("upsert",)).get("upsert", False)
        if not upsert:
            self._require_open(target, "update")
        body = await read_body()
        given = await self._aside(body, lambda: self._validators[name].replace(body))
        key = self._key(name, key_text)
        if upsert:
            self._validators[name].check_key(key)
        prepared = writing.prepare_replace(target, key, given, call.if_match, upsert=upsert)
        return await self._write_one(call, f"/api/collections/{name}", f"{key_text}?{text}", body, prepared)

    async def delete(self, call: Call, name: str, key_text: str, text: str = "") -> Answer:
        """`DELETE /{c}/{id}`."""
        target = self._target(call, name)
        self._require_open(target, "delete")
        query.parse_flags(text, ())
        prepared = writing.prepare_delete(target, self._key(name, key_text), call.if_match)
        return await self._write_one(call, f"/api/collections/{name}", key_text, b"", prepared)

    async def batch(self, call: Call, read_body: Body, text: str = "") -> Answer:
        """`POST /api/batch`: all or none."""
        query.parse_flags(text, ())
        body = await read_body()

        def prepare() -> batches.Batch:
            return batches.prepare([partial(self._prepare, call, each) for each in batches.parse(body, self._limits)])

        prepared = await self._aside(body, prepare)
        return await self._write(call, "/api/batch", body, lambda: _answer_batch(prepared))

    async def explain(self, body: bytes) -> Answer:
        """Which rule, and which part of it, decides about an operation; for admins, who the caller must have checked."""
        asked = explaining.parse(body, self._limits.json_depth)
        collection = self._collection(asked.collection)
        judged = await self._database.read(lambda: self._judge(collection, asked))
        shown = {
            "collection": collection.name,
            "operation": asked.operation,
            "allowed": all(each.allowed for each in judged),
            "rules": [each.document() for each in judged],
        }
        return Answer(200, json.dumps(shown))

    def _judge(self, collection: Collection, asked: explaining.Asked) -> Work[Sequence[Judgement]]:
        writable, validator = self._writable[collection.name], self._validators[collection.name]
        after = None
        if asked.operation == "create":
            doc = writable.complete(validator.check_create(asked.data))
        else:
            record = yield from writing.stored(self.planner, collection, self._key(collection.name, asked.id or ""))
            if record is None:
                raise reading.not_found()
            doc = record[1]
        if asked.operation == "update":
            after = doc | writable.change(doc, validator.check_patch(asked.data))
        question = Question(asked.operation, asked.auth, doc, after, asked.request)
        return (yield from explaining.explain(self._book.of(collection.name), question))

    def _prepare(self, call: Call, operation: batches.Operation) -> Prepared:
        """One operation of a batch, judged and validated as if it came alone."""
        name = operation.collection
        target = self._target(call, name, operation.method)
        validator = self._validators[name]
        if operation.method == "POST":
            target.access.require(self._book.of(name).create, name)
            return writing.prepare_create(target, validator.check_create(operation.data))
        self._require_open(target, "delete" if operation.method == "DELETE" else "update")
        key = self._key(name, operation.id or "")
        if operation.method == "DELETE":
            return writing.prepare_delete(target, key, None)
        if operation.method == "PATCH":
            return writing.prepare_update(target, key, validator.check_patch(operation.data), None)
        return writing.prepare_replace(target, key, validator.check_replace(operation.data), None, upsert=False)

    async def _aside(self, body: bytes, work: Callable[[], T]) -> T:
        """Judge a body: at once, or on a thread where it is so large that everybody else would wait for it."""
        return work() if len(body) <= _INLINE else await self._apart(work)

    # --- what they share ------------------------------------------------------------------------------------------------------

    def _collection(self, name: str) -> Collection:
        collection = self._schema.collections.get(name)
        if collection is None:
            raise AlyxError("COLLECTION_NOT_FOUND", "There is no such collection.")
        return collection

    def _key(self, name: str, text: str) -> Any:
        """The key of a path in stored form; one that cannot be is a record that does not exist (hard-parts §1.5)."""
        try:
            return self._keys[name](text)
        except ValueError:
            raise reading.not_found() from None

    def _access(self, call: Call, method: str | None = None) -> Access:
        known = self._known.get(call.identity)
        if known is None:
            if len(self._known) >= _IDENTITIES_KEPT:
                self._known.clear()
            known = self._known[call.identity] = {}
        return Access(call.identity, method=method or call.method, ip=call.ip, as_admin=call.as_admin, known=known)

    def _target(self, call: Call, name: str, method: str | None = None) -> Target:
        collection = self._collection(name)
        return Target(self.planner, collection, self._writable[name], self._access(call, method))

    def _require_open(self, target: Target, operation: str) -> None:
        rules = self._book.of(target.collection.name)
        target.access.require(rules.update if operation == "update" else rules.delete, target.collection.name)
        target.access.require(rules.read, target.collection.name)

    def _prepare_list(self, collection: Collection, text: str) -> PreparedList:
        """Parse a list's text; the last ones are kept, since clients ask the same again and again."""
        kept = self._prepared.get((collection.name, text))
        if kept is not None:
            return kept
        prepared = self.planner.prepare_list(collection, query.parse_list(self._schema, collection, text, self._limits))
        if len(text) < _LONGEST_KEPT:
            if len(self._prepared) >= _PREPARED_KEPT:
                self._prepared.clear()
            self._prepared[collection.name, text] = prepared
        return prepared

    async def _write_one(self, call: Call, base: str, rest: str, body: bytes, prepared: Prepared) -> Answer:
        return await self._write(call, f"{base}/{rest}", body, lambda: _answer_one(base, prepared))

    async def _write(self, call: Call, path: str, body: bytes, work: Callable[[], Work[Answer]]) -> Answer:
        """Hand the work to the writer, once per Idempotency-Key if there is one."""
        if call.idempotency_key is None:
            return await self._database.write(work)
        idempotency.check_key(call.idempotency_key)
        scope = idempotency.scope_of(call.identity, call.ip)
        fingerprint = idempotency.fingerprint_of(call.method, path, call.if_match, str(call.as_admin), body)
        outcome = await self._database.write(partial(idempotency.once, scope, call.idempotency_key, fingerprint, work))
        if isinstance(outcome, AlyxError):
            raise outcome
        return outcome


def _key_reader(field: Field) -> Callable[[str], Any]:
    """How a key stands in a path; chosen once, for it is on the way of every read by id."""
    direct = {Type.ID: texts.record_id, Type.UUID: texts.uuid, Type.INT: texts.integer}.get(field.value_type)
    return direct or partial(from_text, field)


def _answer_one(base: str, prepared: Prepared) -> Work[Answer]:
    return shape.one(base, (yield from prepared()))


def _answer_many(several: Sequence[Prepared]) -> Work[Answer]:
    return shape.many((yield from batches.run_all(several)))


def _answer_batch(batch: batches.Batch) -> Work[Answer]:
    return shape.batch((yield from batches.run(batch)))
