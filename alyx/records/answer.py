"""What the record API is asked and what it answers, in terms of HTTP's meaning but without its machinery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alyx.base.identity import ANONYMOUS, Identity


@dataclass(slots=True)
class Call:
    """Who asks, and the conditions of the request. ip: the caller's address, for rules and for an anonymous Idempotency-Key."""

    identity: Identity = ANONYMOUS
    method: str = "GET"
    ip: str = ""
    as_admin: bool = False
    if_match: str | None = None
    if_none_match: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body (JSON, or empty) and the headers that carry meaning. replayed: this is a kept answer given again.
    hint: a remark for the log of slow requests."""

    status: int
    body: bytes = b""
    etag: str | None = None
    location: str | None = None
    replayed: bool = False
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What one write came to: status, key, and the public document; text is None where the caller may not read the result."""

    status: int
    key: Any
    text: str | None
