"""The codes and operators of the REST API (contract §3), each with its status and a sentence: the one table of them.

`describe` builds the answers of an operation from it, `http` takes the status of an error from it, a test holds docs/api.md to
it. Never builds an answer itself.
"""

from __future__ import annotations

from alyx.records import query
from alyx.schema.model import Field, Type

ERRORS: dict[str, tuple[int, str]] = {
    "INVALID_JSON": (400, "The body is not JSON as Alyx takes it (syntax, duplicate keys, depth, numbers beyond 64 bit)."),
    "VALIDATION_ERROR": (400, "The body does not fit the collection; `details` names every fault."),
    "INVALID_QUERY": (400, "A query parameter, field, operator or value is unknown or malformed; the message names it."),
    "BAD_REQUEST": (400, "The request itself is malformed: a header, the path or the shape of a batch."),
    "RESULT_TOO_LARGE": (400, "A live query without a limit has more than 1,000 records; ask for fewer, or for a window."),
    "UNAUTHORIZED": (401, "The token is missing where one is needed, or it is not valid."),
    "TOKEN_EXPIRED": (401, "The token was valid once; get a new one."),
    "TOKEN_REVOKED": (401, "The session of this token was ended."),
    "FORBIDDEN": (403, "A rule refuses, or the collection is closed to the caller."),
    "NOT_FOUND": (404, "There is no such route."),
    "COLLECTION_NOT_FOUND": (404, "schema.yaml has no such collection."),
    "DOCUMENT_NOT_FOUND": (404, "There is no such record, or the caller may not read it."),
    "METHOD_NOT_ALLOWED": (405, "The route does not take this method; `Allow` lists those it takes."),
    "REQUEST_TIMEOUT": (408, "The body came too slowly."),
    "CONFLICT": (412, "`If-Match` does not fit the record as it is now."),
    "UNIQUE_VIOLATION": (409, "Another record has this value already; `details` names the field."),
    "FOREIGN_KEY_VIOLATION": (409, "A reference points to nothing that the caller may read, or the record is still referred to."),
    "IDEMPOTENCY_CONFLICT": (409, "This `Idempotency-Key` was used with another request."),
    "PAYLOAD_TOO_LARGE": (413, "The body is larger than `server.max_body_size`."),
    "URI_TOO_LONG": (414, "Path and query are longer than 16 kB."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "A body must be `application/json`."),
    "UPGRADE_REQUIRED": (426, "The route speaks WebSocket only; `Upgrade` names it."),
    "RATE_LIMITED": (429, "Too many requests; come back after `Retry-After` seconds."),
    "REQUEST_HEADER_FIELDS_TOO_LARGE": (431, "The headers are larger than `limits.headers`."),
    "INTERNAL": (500, "A fault of the server; the log has it under the request id."),
    "QUERY_TIMEOUT": (503, "The statement took longer than `limits.statement`."),
    "OVERLOADED": (503, "The queue is full; come back after `Retry-After` seconds."),
    "DATABASE_UNAVAILABLE": (503, "The database cannot take the write (disk full or failing); nothing was stored."),
}
"""Every `code` of the envelope: its status and what it says."""


def status(code: str) -> int:
    """The status of a code; 500 for one that the table does not know, so that a slip is seen and not hidden."""
    found = ERRORS.get(code)
    return 500 if found is None else found[0]


DETAILS: dict[str, str] = {
    "required": "is missing, or null where null is not allowed",
    "invalid_type": "has another JSON type, or holds NUL or a lone surrogate",
    "min_length": "is shorter than `minLength`",
    "max_length": "is longer than `maxLength`",
    "min_value": "is below `min`",
    "max_value": "is above `max`, or a sum leaves 64 bit",
    "pattern": "does not match `pattern`",
    "enum": "is none of `enum`",
    "invalid_email": "is no e-mail address",
    "invalid_url": "is no absolute URL",
    "invalid_uuid": "is no UUID",
    "invalid_id": "is not 15 characters of a-z, A-Z, 0-9",
    "invalid_date": "is no date of the form YYYY-MM-DD",
    "invalid_timestamp": "is no RFC 3339 timestamp with an offset",
    "invalid_select": "is none of the select's values",
    "max_select": "has more values than `maxSelect`",
    "unknown_field": "is no field of the collection",
    "read_only": "is kept by the server and differs from the stored value",
    "unique": "is taken already (with 409 `UNIQUE_VIOLATION`)",
    "foreign_key": "refers to no record that the caller may read, or is still referred to (with 409 `FOREIGN_KEY_VIOLATION`)",
}
"""Every `code` inside `details`: what is wrong with the field's value."""

OPERATORS: dict[str, str] = {
    "eq": "equal",
    "ne": "not equal; the complement of eq, so null counts as not equal",
    "gt": "greater",
    "gte": "greater or equal",
    "lt": "less",
    "lte": "less or equal",
    "like": "pattern with % (any text) and _ (one character), escape \\; letters a-z without case",
    "in": "one of several values, separated by commas",
    "contains": "holds the text, exactly as written",
    "starts_with": "begins with the text, exactly as written",
    "is_null": "is null; takes no value",
    "not_null": "is not null; takes no value",
}
"""Every operator of `filter`: what it asks."""


def operators(field: Field) -> tuple[str, ...]:
    """The operators that a field takes, in the order of the table; those of a JSON member are all of them."""
    taken = query.NULL_OPERATORS | _with_value(field)
    return tuple(name for name in OPERATORS if name in taken)


def _with_value(field: Field) -> frozenset[str]:
    if field.is_list:
        return frozenset({"contains"})
    if field.type is Type.JSON:
        return frozenset()
    if field.value_type is Type.BLOB:
        return frozenset({"eq", "ne"})
    return query.OPERATORS if field.value_type in query.TEXTS else query.COMPARISONS
