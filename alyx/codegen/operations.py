"""The operations of the API: six for each collection, then those of the server itself.

Pure; called by `describe`. What each one takes and every status it may answer with (contract §3). What the operator may
set comes in as the record API's own limits.
"""

from __future__ import annotations

from collections.abc import Iterable

from alyx.codegen import codes, parameters
from alyx.codegen.shapes import Answer, Anything, Body, Many, Named, OneOf, Operation, Scalar
from alyx.records.limits import Limits
from alyx.schema.model import Collection, Schema

SERVER = "Server"
"""The group of the routes that belong to no collection; collections' names are lower case, so none can be called so."""

_TEXT = Scalar("string")
_ALL = ("BAD_REQUEST", "RATE_LIMITED", "URI_TOO_LONG", "REQUEST_HEADER_FIELDS_TOO_LARGE", "INTERNAL")
_CALLER = ("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "FORBIDDEN", "COLLECTION_NOT_FOUND", "OVERLOADED")
_READ = (*_ALL, *_CALLER, "INVALID_QUERY", "QUERY_TIMEOUT")
_WRITE = (*_READ, "IDEMPOTENCY_CONFLICT", "FOREIGN_KEY_VIOLATION", "DATABASE_UNAVAILABLE")
_UPLOAD = ("PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "REQUEST_TIMEOUT")
_BODY = ("INVALID_JSON", "VALIDATION_ERROR", "UNIQUE_VIOLATION", *_UPLOAD)


def errors(names: Iterable[str]) -> tuple[Answer, ...]:
    """One answer for each status among the codes, by status."""
    by_status: dict[int, list[str]] = {}
    for name in codes.ERRORS:
        if name in names:
            by_status.setdefault(codes.ERRORS[name][0], []).append(name)
    return tuple(_error(status, found) for status, found in sorted(by_status.items()))


def _error(status: int, names: list[str]) -> Answer:
    text = "\n".join(f"- `{name}`: {codes.ERRORS[name][1]}" for name in names)
    headers = {426: ("Upgrade",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    return Answer(status, text, headers=headers, error=True, codes=tuple(names))


def records(schema: Schema, collection: Collection, limits: Limits) -> list[Operation]:
    """list, create, get, update, replace, delete of one collection."""
    return [
        _list(schema, collection),
        _create(collection, limits),
        _get(schema, collection),
        _update(collection),
        _replace(collection),
        _delete(collection),
    ]


def _many(collection: Collection) -> str:
    return f"/api/collections/{collection.name}"


def _one(collection: Collection) -> str:
    return f"/api/collections/{collection.name}/{{id}}"


def _list(schema: Schema, collection: Collection) -> Operation:
    name = collection.name
    return Operation(
        f"list_{name}",
        "get",
        _many(collection),
        name,
        f"List {name}",
        "The records that the caller may read and that fit the question. Asked with `Accept: text/event-stream`, the answer is a"
        " stream of events: a snapshot, then its changes; `Last-Event-ID` or `since` resumes it.",
        (
            Answer(200, "A page of records.", Body(Named(f"{name}.list")), instead=Body(_TEXT, "text/event-stream")),
            *errors(_READ),
        ),
        (*parameters.listing(schema, collection), parameters.AS_ADMIN),
    )


def _create(collection: Collection, limits: Limits) -> Operation:
    name = collection.name
    created = OneOf((Named(name), Named(f"{name}.key"), Named(f"{name}.created")))
    several = Many(Named(f"{name}.create"), most=limits.create_many)
    return Operation(
        f"create_{name}",
        "post",
        _many(collection),
        name,
        f"Create {name}",
        f"One record, or a list of at most {limits.create_many} of which all are created or none. Who may not read what was"
        " created is told the key alone.",
        (Answer(201, "Created.", Body(created), ("Location", "ETag")), *errors((*_WRITE, *_BODY))),
        (parameters.IDEMPOTENCY, parameters.AS_ADMIN),
        Body(OneOf((Named(f"{name}.create"), several))),
    )


def _get(schema: Schema, collection: Collection) -> Operation:
    name = collection.name
    query = (parameters.fields(collection), *parameters.expand(schema, collection))
    return Operation(
        f"get_{name}",
        "get",
        _one(collection),
        name,
        f"Read one of {name}",
        "One record by its key.",
        (
            Answer(200, "The record.", Body(Named(name)), ("ETag",)),
            Answer(304, "`If-None-Match` still fits.", headers=("ETag",)),
            *errors((*_READ, "DOCUMENT_NOT_FOUND")),
        ),
        (parameters.key(collection), *query, parameters.IF_NONE_MATCH, parameters.AS_ADMIN),
    )


def _update(collection: Collection) -> Operation:
    name = collection.name
    return Operation(
        f"update_{name}",
        "patch",
        _one(collection),
        name,
        f"Change one of {name}",
        'Only the members given change; a number may be changed by `{"$inc": 1}`.',
        (*_changed(name), *errors((*_WRITE, *_BODY, "DOCUMENT_NOT_FOUND", "CONFLICT"))),
        (parameters.key(collection), parameters.IF_MATCH, parameters.IDEMPOTENCY, parameters.AS_ADMIN),
        Body(Named(f"{name}.patch")),
    )


def _replace(collection: Collection) -> Operation:
    name = collection.name
    created = Answer(201, "Created, with `upsert=true`.", Body(OneOf((Named(name), Named(f"{name}.key")))), ("Location", "ETag"))
    return Operation(
        f"replace_{name}",
        "put",
        _one(collection),
        name,
        f"Replace one of {name}",
        "Absent members take their default or null; the key and what the server keeps stay.",
        (*_changed(name), created, *errors((*_WRITE, *_BODY, "DOCUMENT_NOT_FOUND", "CONFLICT"))),
        (
            parameters.key(collection),
            parameters.UPSERT,
            parameters.IF_MATCH,
            parameters.IDEMPOTENCY,
            parameters.AS_ADMIN,
        ),
        Body(Named(f"{name}.replace")),
    )


def _delete(collection: Collection) -> Operation:
    return Operation(
        f"delete_{collection.name}",
        "delete",
        _one(collection),
        collection.name,
        f"Delete one of {collection.name}",
        "Records that refer to it go, stay with null, or stand in the way, as schema.yaml says.",
        (Answer(204, "Deleted."), *errors((*_WRITE, "DOCUMENT_NOT_FOUND", "CONFLICT"))),
        (parameters.key(collection), parameters.IF_MATCH, parameters.IDEMPOTENCY, parameters.AS_ADMIN),
    )


def _changed(name: str) -> tuple[Answer, ...]:
    return (
        Answer(200, "The record as it is now.", Body(Named(name)), ("ETag",)),
        Answer(204, "Done; the caller may not read the record as it is now."),
    )


def server(limits: Limits) -> list[Operation]:
    """The routes that every schema has."""
    return [
        _batch(limits),
        _explain(),
        *_realtime(),
        _status("health", "/health", "Health of the parts", "Health", "Healthy.", ("OVERLOADED",)),
        _status("health_live", "/health/live", "Whether the process answers", "Status", "It does."),
        _status("health_ready", "/health/ready", "Whether it takes requests", "Status", "It does.", unready=True),
        Operation(
            "metrics",
            "get",
            "/metrics",
            SERVER,
            "Metrics for Prometheus",
            "Absent when `metrics.enabled` is false; with `metrics.token` set, that token is the bearer token here.",
            (Answer(200, "Metrics as text.", Body(_TEXT, "text/plain")), *errors((*_ALL, "UNAUTHORIZED", "NOT_FOUND"))),
        ),
        Operation(
            "openapi",
            "get",
            "/api/openapi.json",
            SERVER,
            "This description",
            "Follows schema.yaml; `/docs` shows it to people.",
            (
                Answer(200, "OpenAPI 3.1.", Body(Anything()), ("ETag",)),
                Answer(304, "`If-None-Match` still fits.", headers=("ETag",)),
                *errors(_ALL),
            ),
            (parameters.IF_NONE_MATCH,),
            token=False,
        ),
    ]


def _batch(limits: Limits) -> Operation:
    wanted = (*_WRITE, *_BODY, "DOCUMENT_NOT_FOUND", "CONFLICT")
    return Operation(
        "batch",
        "post",
        "/api/batch",
        SERVER,
        "Several writes, all or none",
        f"At most {limits.batch} operations in one transaction. When one fails nothing is done, and the answer is that"
        " operation's error with its index as `operation`.",
        (Answer(200, "What each operation answered.", Body(Named("BatchResults"))), *errors(wanted)),
        (parameters.IDEMPOTENCY, parameters.AS_ADMIN),
        Body(Named("Batch")),
    )


def _explain() -> Operation:
    wanted = (*_ALL, *_CALLER, "INVALID_JSON", "VALIDATION_ERROR", "DOCUMENT_NOT_FOUND", "QUERY_TIMEOUT")
    return Operation(
        "explain",
        "post",
        "/api/admin/rules/explain",
        SERVER,
        "Why a rule allows or refuses",
        "For admins: judges an operation for any caller and record, changes nothing, and shows which part of which rule decided.",
        (Answer(200, "Every rule that was judged.", Body(Named("Explanation"))), *errors((*wanted, *_UPLOAD))),
        body=Body(Named("Explain")),
    )


def _realtime() -> list[Operation]:
    signed_in = ("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "NOT_FOUND")
    connect = Operation(
        "connect",
        "get",
        "/api/realtime",
        SERVER,
        "Live queries over a WebSocket",
        "A WebSocket handshake (RFC 6455). Absent when `realtime.enabled` is false.",
        (
            Answer(101, "The WebSocket is open.", headers=("Upgrade",)),
            *errors((*_ALL, *signed_in, "FORBIDDEN", "UPGRADE_REQUIRED")),
        ),
        (parameters.TICKET,),
    )
    ticket = Operation(
        "create_ticket",
        "post",
        "/api/realtime/ticket",
        SERVER,
        "A ticket for a browser's WebSocket or EventSource",
        "Good once, within 30 seconds, as `?ticket=` on `/api/realtime` and on event streams. Needs a token.",
        (Answer(200, "The ticket.", Body(Named("Ticket"))), *errors((*_ALL, *signed_in, "OVERLOADED", "DATABASE_UNAVAILABLE"))),
    )
    return [connect, ticket]


def _status(
    name: str, path: str, summary: str, shape: str, good: str, bad: tuple[str, ...] = (), *, unready: bool = False
) -> Operation:
    body = Body(Named(shape))
    down = (Answer(503, "Not now.", body),) if unready or bad else ()
    return Operation(name, "get", path, SERVER, summary, "", (Answer(200, good, body), *down, *errors(_ALL)), token=False)
