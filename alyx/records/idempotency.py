"""Idempotency-Key: the same key and body give the first answer again (contract §3).

The first outcome is written in the transaction of the write itself, refusals of the transaction included; what was refused
before it (a body that is not valid) was never begun and is not kept. Scoped to the identity, or to the address of an
anonymous caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import sqlalchemy as sa

from alyx.base import clock, json
from alyx.base.errors import AlyxError, Detail
from alyx.base.identity import Identity
from alyx.database.compile import compile_query
from alyx.database.work import Statement, Work
from alyx.records.answer import Answer

_TABLE = sa.Table(
    "_alyx_idempotency",
    sa.MetaData(),
    *(sa.Column(name) for name in ("scope", "key", "fingerprint", "status", "headers", "body", "created_at")),
)
_FIND = compile_query(
    sa.select(_TABLE.c.fingerprint, _TABLE.c.status, _TABLE.c.headers, _TABLE.c.body).where(
        _TABLE.c.scope == sa.bindparam("scope"), _TABLE.c.key == sa.bindparam("key")
    )
)
_KEEP = compile_query(sa.insert(_TABLE).values({column.name: sa.bindparam(column.name) for column in _TABLE.columns}))


def scope_of(identity: Identity, ip: str) -> str:
    """Whose keys these are: nobody is ever given another's answer."""
    return f"user:{identity.id}" if identity.id is not None else f"ip:{ip}"


def fingerprint_of(*parts: str | bytes | None) -> bytes:
    """What has to be the same for the first answer to be given again: method, path, conditions, body."""
    digest = hashlib.sha256()
    for part in parts:
        data = b"" if part is None else part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def check_key(key: str) -> None:
    """Raises AlyxError BAD_REQUEST unless the key has 1 to 255 printable ASCII characters."""
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise AlyxError("BAD_REQUEST", "Idempotency-Key must have 1 to 255 printable ASCII characters.")


def once(scope: str, key: str, fingerprint: bytes, work: Callable[[], Work[Answer]]) -> Work[Answer | AlyxError]:
    """Run the work unless it ran before. A refusal comes back as a value, so that the transaction that keeps it commits."""
    found = yield _FIND.bind({"scope": scope, "key": key})
    if found:
        kept_fingerprint, status, headers, body = found[0]
        if kept_fingerprint != fingerprint:
            raise AlyxError("IDEMPOTENCY_CONFLICT", "This Idempotency-Key was used for another request.")
        return _restore(status, json.loads(headers), body)
    yield Statement("SAVEPOINT alyx_once")
    outcome: Answer | AlyxError
    try:
        outcome = yield from work()
    except AlyxError as error:
        yield Statement("ROLLBACK TO alyx_once")
        outcome = error
    yield Statement("RELEASE alyx_once")
    status, headers, body = _dump(outcome)
    values = {"scope": scope, "key": key, "fingerprint": fingerprint, "status": status, "headers": json.dumps(headers).decode()}
    yield _KEEP.bind(values | {"body": body, "created_at": clock.now()})
    return outcome


def _dump(outcome: Answer | AlyxError) -> tuple[int, dict[str, object], bytes]:
    """Status, headers and body as kept; a refusal has status 0 and its parts as the body."""
    if isinstance(outcome, Answer):
        return outcome.status, {"etag": outcome.etag, "location": outcome.location}, outcome.body
    details = [[detail.field, detail.code, detail.message] for detail in outcome.details]
    parts = [outcome.code, outcome.message, details, outcome.hint, outcome.operation]
    return 0, {}, json.dumps(parts)


def _restore(status: int, headers: dict[str, str | None], body: bytes) -> Answer | AlyxError:
    if status:
        return Answer(status, bytes(body), etag=headers["etag"], location=headers["location"], replayed=True)
    code, message, details, hint, operation = json.loads(bytes(body))
    error = AlyxError(code, message, details=[Detail(*detail) for detail in details], hint=hint)
    error.operation = operation
    error.replayed = True
    return error
