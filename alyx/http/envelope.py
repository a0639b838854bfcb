"""Every error as the contract's envelope (§3): one form, no SQL, no path, no stack.

Called by the edge for what routes raise, and by the server for what is refused before there is a request.
"""

from __future__ import annotations

from typing import Any

from alyx.base import clock, json
from alyx.base.errors import AlyxError
from alyx.codegen import codes
from alyx.database import work
from alyx.http.message import JSON, Header, Response

MAX_DETAILS = 100
RETRY_SECONDS = 1


def build(error: AlyxError, request_id: str) -> Response:
    """The answer for an error: status by its code, at most 100 details, Retry-After and WWW-Authenticate where they belong."""
    status = codes.status(error.code)
    body: dict[str, Any] = {"error": error.message, "code": error.code}
    if error.details:
        body["details"] = [
            {"field": detail.field, "code": detail.code, "message": detail.message} for detail in error.details[:MAX_DETAILS]
        ]
    if error.hint:
        body["hint"] = error.hint
    if error.operation is not None:
        body["operation"] = error.operation
    body["request_id"] = request_id
    body["timestamp"] = clock.now()
    headers: list[Header] = [(b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, error.retry_after)))
    if error.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Response(status, json.dumps(body), JSON, headers)


def translate(error: work.DatabaseError) -> AlyxError | None:
    """A database error that no layer explained, in the contract's words; None where it is a fault of ours (500)."""
    if isinstance(error, work.Timeout):
        return AlyxError(
            "QUERY_TIMEOUT",
            "The query took too long.",
            hint="Filter and sort by indexed fields, or ask for fewer rows; count=none leaves out the total.",
            retry_after=RETRY_SECONDS,
        )
    if isinstance(error, work.Overloaded):
        return AlyxError("OVERLOADED", "Too many writes are waiting.", hint="Try again shortly.", retry_after=RETRY_SECONDS)
    if isinstance(error, work.Unavailable):
        return AlyxError(
            "DATABASE_UNAVAILABLE",
            "The database cannot be used now; nothing was written.",
            hint="GET /health tells the operator why.",
            retry_after=5,
        )
    if isinstance(error, work.SchemaMoved):
        return AlyxError(
            "DATABASE_UNAVAILABLE",
            "The schema has just changed; nothing was written.",
            hint="Try again shortly.",
            retry_after=RETRY_SECONDS,
        )
    if isinstance(error, work.UniqueViolation):
        return AlyxError("UNIQUE_VIOLATION", "A value that must be unique is taken already.")
    if isinstance(error, work.ForeignKeyViolation):
        return AlyxError("FOREIGN_KEY_VIOLATION", "A reference points to a record that does not exist, or one is still in use.")
    if isinstance(error, work.ConstraintViolation):
        return AlyxError("VALIDATION_ERROR", "A value does not fit the collection.")
    return None


def internal() -> AlyxError:
    """What a client hears of a fault of ours: nothing but that it happened."""
    return AlyxError(
        "INTERNAL", "Something went wrong on the server.", hint="The server's log holds the cause under this request_id."
    )
