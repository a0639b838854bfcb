"""The codes of the contract and their HTTP status: the only place that knows both (contract §3, §6).

Read by the envelope, and by `codegen` through the document that it is given. Never builds an answer.
"""

from __future__ import annotations

STATUS: dict[str, int] = {
    # what the edge itself says
    "BAD_REQUEST": 400,
    "INVALID_JSON": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "PAYLOAD_TOO_LARGE": 413,
    "URI_TOO_LONG": 414,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "REQUEST_HEADER_FIELDS_TOO_LARGE": 431,
    "INTERNAL": 500,
    "OVERLOADED": 503,
    # records
    "VALIDATION_ERROR": 400,
    "INVALID_QUERY": 400,
    "INVALID_FILTER": 400,
    "FORBIDDEN": 403,
    "COLLECTION_NOT_FOUND": 404,
    "DOCUMENT_NOT_FOUND": 404,
    "CONFLICT": 412,
    "UNIQUE_VIOLATION": 409,
    "FOREIGN_KEY_VIOLATION": 409,
    "IDEMPOTENCY_CONFLICT": 409,
    "QUERY_TIMEOUT": 503,
    "DATABASE_UNAVAILABLE": 503,
    # who is asking
    "UNAUTHORIZED": 401,
    "TOKEN_EXPIRED": 401,
    "TOKEN_REVOKED": 401,
    "INVALID_TOKEN": 401,
    "INVALID_CREDENTIALS": 401,
    "SESSION_NOT_FOUND": 401,
    "EMAIL_REQUIRED": 400,
    "INVALID_EMAIL": 400,
    "PASSWORD_REQUIRED": 400,
    "PASSWORD_TOO_SHORT": 400,
    "PASSWORD_TOO_COMMON": 400,
    "REFRESH_TOKEN_REQUIRED": 400,
    "REGISTRATION_CLOSED": 403,
    "EMAIL_NOT_VERIFIED": 403,
    "USER_EXISTS": 409,
    "TOO_MANY_ATTEMPTS": 429,
}


def of(code: str) -> int:
    """The status of a code; 500 for one that the contract does not know, so that a slip is seen and not hidden."""
    return STATUS.get(code, 500)
