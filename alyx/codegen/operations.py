"""The operations of the API: six for each collection, then those of the server itself.

Pure; called by `describe`. What each one takes and every status it may answer with (contract §3).
"""

from __future__ import annotations

from collections.abc import Iterable

from alyx.codegen import codes, parameters
from alyx.codegen.shapes import Answer, Anything, Body, Many, Member, Named, Object, OneOf, Operation, Scalar
from alyx.schema.model import Collection, Schema

MAX_CREATE = 1000
MAX_BATCH = 100
SERVER = "Server"
"""The group of the routes that belong to no collection; collections' names are lower case, so none can be called so."""

_TEXT = Scalar("string")
_ALL = ("BAD_REQUEST", "RATE_LIMITED", "URI_TOO_LONG", "REQUEST_HEADER_FIELDS_TOO_LARGE", "INTERNAL")
_CALLER = ("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "FORBIDDEN", "COLLECTION_NOT_FOUND", "OVERLOADED")
_READ = (*_ALL, *_CALLER, "INVALID_QUERY", "QUERY_TIMEOUT")
_WRITE = (*_READ, "IDEMPOTENCY_CONFLICT", "FOREIGN_KEY_VIOLATION", "DATABASE_UNAVAILABLE")
_BODY = ("INVALID_JSON", "VALIDATION_ERROR", "UNIQUE_VIOLATION", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "REQUEST_TIMEOUT")


def errors(names: Iterable[str]) -> tuple[Answer, ...]:
    """One answer for each status among the codes, by status."""
    by_status: dict[int, list[str]] = {}
    for name in codes.ERRORS:
        if name in names:
            by_status.setdefault(codes.ERRORS[name][0], []).append(name)
    return tuple(_error(status, found) for status, found in sorted(by_status.items()))


def _error(status: int, names: list[str]) -> Answer:
    text = "\n".join(f"- `{name}`: {codes.ERRORS[name][1]}" for name in names)
    headers = ("Retry-After",) if status in (429, 503) else ()
    return Answer(status, text, headers=headers, error=True, codes=tuple(names))


def records(schema: Schema, collection: Collection) -> list[Operation]:
    """list, create, get, update, replace, delete of one collection."""
    return [
        _list(schema, collection),
        _create(collection),
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
        "The records that the caller may read and that fit the question.",
        (Answer(200, "A page of records.", Body(Named(f"{name}.list"))), *errors(_READ)),
        (*parameters.listing(schema, collection), parameters.AS_ADMIN),
    )


def _create(collection: Collection) -> Operation:
    name = collection.name
    created = OneOf((Named(name), Named(f"{name}.key"), Named(f"{name}.created")))
    several = Many(Named(f"{name}.create"), most=MAX_CREATE)
    return Operation(
        f"create_{name}",
        "post",
        _many(collection),
        name,
        f"Create {name}",
        f"One record, or a list of at most {MAX_CREATE} of which all are created or none. Who may not read what was created is"
        " told the key alone.",
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


def server() -> list[Operation]:
    """The routes that every schema has."""
    return [
        _batch(),
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


def _batch() -> Operation:
    wanted = (*_WRITE, *_BODY, "DOCUMENT_NOT_FOUND", "CONFLICT")
    return Operation(
        "batch",
        "post",
        "/api/batch",
        SERVER,
        "Several writes, all or none",
        f"At most {MAX_BATCH} operations in one transaction. When one fails nothing is done, and the answer is that operation's"
        " error with its index as `operation`.",
        (Answer(200, "What each operation answered.", Body(Named("BatchResults"))), *errors(wanted)),
        (parameters.IDEMPOTENCY, parameters.AS_ADMIN),
        Body(Named("Batch")),
    )


def _status(
    name: str, path: str, summary: str, shape: str, good: str, bad: tuple[str, ...] = (), *, unready: bool = False
) -> Operation:
    body = Body(Named(shape))
    down = (Answer(503, "Not now.", body),) if unready or bad else ()
    return Operation(name, "get", path, SERVER, summary, "", (Answer(200, good, body), *down, *errors(_ALL)), token=False)


def common(schema: Schema) -> dict[str, Object]:
    """The objects that belong to no collection; their names begin with a capital, so none can meet a collection's."""
    detail = Object(
        (
            Member("field", _TEXT, True, description="The field, with an index before it in a list: `0.title`."),
            Member("code", Scalar("string", values=tuple(codes.DETAILS)), True, description=_table(codes.DETAILS)),
            Member("message", _TEXT, True),
        ),
        "One fault of a body.",
    )
    error = Object(
        (
            Member("error", _TEXT, True, description="What is wrong, in a sentence."),
            Member("code", Scalar("string", values=tuple(codes.ERRORS)), True),
            Member("details", Many(Named("Fault"), most=100)),
            Member("hint", _TEXT, description="What would mend it."),
            Member("operation", Scalar("integer", minimum=0), description="Which operation of a batch failed, counting from 0."),
            Member("request_id", _TEXT, True),
            Member("timestamp", Scalar("string", "date-time"), True),
        ),
        "Every error has this form.",
        example={
            "error": "The body has 1 fault.",
            "code": "VALIDATION_ERROR",
            "details": [{"field": "title", "code": "required", "message": "is required"}],
            "request_id": "5f2c8a90d1e34b7f6a8c9d0e",
            "timestamp": "2026-03-01T08:00:00.123456Z",
        },
    )
    return {"Error": error, "Fault": detail, **_batches(schema), **_states()}


def _table(words: dict[str, str]) -> str:
    return "\n".join(f"- `{word}`: {text}" for word, text in words.items())


def _batches(schema: Schema) -> dict[str, Object]:
    operation = Object(
        (
            Member("method", Scalar("string", values=("POST", "PATCH", "PUT", "DELETE")), True),
            Member("collection", Scalar("string", values=tuple(schema.collections)), True),
            Member("id", _TEXT, description="The record's key; not with POST."),
            Member("data", Anything(), description="The body that the single request would have."),
        ),
        closed=True,
    )
    first = next(iter(schema.collections))
    example = {"operations": [{"method": "DELETE", "collection": first, "id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e"}]}
    result = Object(
        (
            Member("status", Scalar("integer"), True),
            Member("data", Anything(), description="What the single request would answer."),
        )
    )
    return {
        "Batch": Object((Member("operations", Many(operation, least=1, most=MAX_BATCH), True),), closed=True, example=example),
        "BatchResults": Object((Member("results", Many(result), True),), "In the order of the operations."),
    }


def _states() -> dict[str, Object]:
    return {
        "Status": Object((Member("status", _TEXT, True),)),
        "Health": Object(
            (
                Member("status", Scalar("string"), True, description="`healthy`, or what it is instead."),
                Member("version", _TEXT, True),
                Member("uptime", Scalar("number"), True, description="Seconds."),
                Member("components", Anything(), True, description="Each part with its `status`."),
            )
        ),
    }
